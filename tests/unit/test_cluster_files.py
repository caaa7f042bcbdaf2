"""The files that describe a cluster: each is what its reader takes, and all of them tell the same."""

import os
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from serve_app.config import Settings
from serve_app.environment import node_environment
from serve_app.service import VERSION

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kubernetes() -> dict[str, dict[str, Any]]:
    """The objects for Kubernetes, by kind."""
    objects = yaml.safe_load_all((ROOT / "ops" / "kuberay" / "rayservice.yaml").read_text())
    return {one["kind"]: one for one in objects}


def test_ray_takes_the_cluster_file() -> None:
    """By the validator that `ray up` uses."""
    validate_config(prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text())))


def test_the_cluster_file_starts_nodes_by_commands_that_there_are() -> None:
    """Head and workers run `privacy-engine node` with options that it knows, and install this release."""
    from typer.main import get_command

    from serve_app.cli.main import app

    known = {name for option in get_command(app).commands["node"].params for name in option.opts}  # type: ignore[attr-defined]
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    for role, option in (("head", "--head"), ("worker", "--join")):
        command = shlex.split(cluster[f"{role}_start_ray_commands"][-1])
        at = command.index("node")
        assert command[at - 1].endswith("/privacy-engine")
        options = {word for word in command[at:] if word.startswith("--")}
        assert option in options
        assert options <= known
    assert any(f"=={VERSION}" in command for command in cluster["setup_commands"])


def test_kubernetes_is_told_the_same_serve_config(kubernetes: dict[str, dict[str, Any]]) -> None:
    """Word for word, but for comments."""
    told = yaml.safe_load(kubernetes["RayService"]["spec"]["serveConfigV2"])
    assert told == yaml.safe_load((ROOT / "serve_config.yaml").read_text())


def test_kubernetes_is_told_the_same_environment(
    kubernetes: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `privacy-engine node` sets it; the token is KubeRay's."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    given = kubernetes["ConfigMap"]["data"]
    settings = Settings(home=Path(given["AUMOS_PRIVACY_HOME"]), port=int(given["AUMOS_PRIVACY_PORT"]))
    expected = node_environment(settings, Path("/tmp/privacy-engine"))
    rays = {name: value for name, value in given.items() if name.startswith("RAY_")}
    assert rays == {name: value for name, value in expected.items() if not name.startswith("RAY_AUTH_")}


def _object(required: str, **properties: Any) -> dict[str, Any]:  # noqa: ANN401 - schemas
    """A schema that knows these members only."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


_POD = _object(
    "metadata spec",
    metadata=_object("labels", labels={"type": "object", "required": ["app"]}),
    spec={"type": "object", "required": ["containers", "securityContext"]},
)
_RAY_SERVICE = _object(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayService"},
    metadata={"type": "object", "required": ["name"]},
    spec=_object(
        "serveConfigV2 rayClusterConfig",
        upgradeStrategy=_object("type", type={"enum": ["NewCluster", "NewClusterWithIncrementalUpgrade", "None"]}),
        excludeHeadPodFromServeSvc={"type": "boolean"},
        serveConfigV2={"type": "string"},
        rayClusterConfig=_object(
            "rayVersion authOptions gcsFaultToleranceOptions headGroupSpec workerGroupSpecs",
            rayVersion={"type": "string"},
            authOptions=_object("mode", mode={"enum": ["disabled", "token"]}, secretName={"type": "string"}),
            gcsFaultToleranceOptions=_object(
                "redisAddress redisPassword", redisAddress={"type": "string"}, redisPassword={"type": "object"}
            ),
            enableInTreeAutoscaling={"type": "boolean"},
            headGroupSpec=_object(
                "rayStartParams template",
                rayStartParams={"type": "object", "additionalProperties": {"type": "string"}},
                template=_POD,
            ),
            workerGroupSpecs={
                "type": "array",
                "items": _object(
                    "groupName replicas minReplicas maxReplicas rayStartParams template",
                    groupName={"type": "string"},
                    replicas={"type": "integer"},
                    minReplicas={"type": "integer"},
                    maxReplicas={"type": "integer"},
                    rayStartParams={"type": "object", "additionalProperties": {"type": "string"}},
                    template=_POD,
                ),
            },
        ),
    ),
)
"""The members of KubeRay's RayService (ray.io/v1) that are used here, as its custom resource definition has them."""


def test_kuberay_knows_every_member(kubernetes: dict[str, dict[str, Any]]) -> None:
    """The structure is that of a RayService, with token authentication and a head that may be lost."""
    jsonschema.validate(kubernetes["RayService"], _RAY_SERVICE)
    cluster = kubernetes["RayService"]["spec"]["rayClusterConfig"]
    assert cluster["authOptions"]["mode"] == "token"
    assert f'"ray[serve,default]=={cluster["rayVersion"]}"' in (ROOT / "pyproject.toml").read_text()


def test_all_pods_are_of_one_image_of_this_release_and_unprivileged(kubernetes: dict[str, dict[str, Any]]) -> None:
    """No tag that moves, no root, no secret of the database's owner where requests are served."""
    cluster = kubernetes["RayService"]["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    serving = [group["template"]["spec"] for group in groups]
    for pod in (*serving, kubernetes["Job"]["spec"]["template"]["spec"]):
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["image"].endswith(f"/privacy-engine:{VERSION}")
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        volumes = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
        mounted = {volumes[mount["name"]]: mount["mountPath"] for mount in container["volumeMounts"]}
        claim = kubernetes["PersistentVolumeClaim"]["metadata"]["name"]
        assert mounted == {claim: kubernetes["ConfigMap"]["data"]["AUMOS_PRIVACY_HOME"]}
        assert {"configMapRef": {"name": kubernetes["ConfigMap"]["metadata"]["name"]}} in container["envFrom"]
    assert "database-owner" not in str(serving)
    assert "database-owner" in str(kubernetes["Job"])


def test_what_selects_pods_finds_them(kubernetes: dict[str, dict[str, Any]]) -> None:
    """The budget of disruptions finds the pods that serve; the policy finds all pods and opens one port to others."""
    cluster = kubernetes["RayService"]["spec"]["rayClusterConfig"]
    groups = {group["groupName"]: group["template"]["metadata"]["labels"] for group in cluster["workerGroupSpecs"]}
    wanted = kubernetes["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items()
    assert [name for name, labels in groups.items() if wanted <= labels.items()] == ["serving"]
    policy = kubernetes["NetworkPolicy"]["spec"]
    everybody = policy["podSelector"]["matchLabels"].items()
    for labels in (*groups.values(), cluster["headGroupSpec"]["template"]["metadata"]["labels"]):
        assert everybody <= labels.items()
    (opened,) = (rule for rule in policy["ingress"] if "from" not in rule)
    assert [port["port"] for port in opened["ports"]] == [int(kubernetes["ConfigMap"]["data"]["AUMOS_PRIVACY_PORT"])]
    assert not everybody <= kubernetes["Job"]["spec"]["template"]["metadata"]["labels"].items()


def _instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows them, with continued lines put together."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    found = [line.partition(" ") for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()]
    return [(word, rest) for word, _, rest in found]


def test_the_image_is_made_of_what_is_there_and_runs_as_nobody_special() -> None:
    """Each source exists and is not ignored; the base is pinned; the last user is not root; health is asked for."""
    instructions = _instructions()
    (base,) = (rest for word, rest in instructions if word == "FROM")
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [source for word, rest in instructions if word == "COPY" for source in rest.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in allowed, source
    assert [rest for word, rest in instructions if word == "USER"] == ["privacy"]
    (health,) = (rest for word, rest in instructions if word == "HEALTHCHECK")
    assert "/health/ready" in health
