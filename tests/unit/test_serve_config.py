"""What Ray Serve is told to run on a cluster: the shipped file is right, and what is misspelt in a file is refused."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.serve.schema import ServeDeploySchema
from typer.testing import CliRunner

from serve_app.app import ELASTIC, application
from serve_app.apps import APPS
from serve_app.cli.main import app as cli
from serve_app.config import Settings
from serve_app.deploying import DeployError, check_agrees
from serve_app.serve_config import ServeConfigError, checked, read_serve_config

SHIPPED = Path(__file__).parents[2] / "serve_config.yaml"


@pytest.fixture
def shipped() -> dict[str, Any]:
    """The shipped config, to be changed at will."""
    # YAML's anchors make one object of two places.
    return copy.deepcopy(read_serve_config(SHIPPED))


def test_the_shipped_file_is_what_ray_serve_reads(shipped: dict[str, Any]) -> None:
    """Ray's own schema takes it, and finds every application in it."""
    read = ServeDeploySchema.model_validate(shipped)
    assert [one.name for one in read.applications] == [app.name for app in APPS]
    assert read.proxy_location == "EveryNode"


def test_the_shipped_file_and_the_apps_of_one_machine_agree(shipped: dict[str, Any]) -> None:
    """Names, prefixes and elasticity are those of `APPS`; one deployment each, of the same name."""
    for app, written in zip(APPS, shipped["applications"], strict=True):
        assert written["name"] == app.name
        assert written["route_prefix"] == (app.prefix or "/")
        assert written["import_path"] == "serve_app.app:application"
        assert written["args"] == {"app": app.name}
        (deployment,) = written["deployments"]
        assert deployment["name"] == app.name
        assert deployment.get("autoscaling_config") == (ELASTIC if app.elastic else None)
        assert ("num_replicas" in deployment) is not app.elastic


def test_owners_of_budgets_are_on_different_nodes(shipped: dict[str, Any]) -> None:
    """Where a node is lost, an owner is left."""
    (budget,) = (one["deployments"][0] for one in shipped["applications"] if one["name"] == "budget")
    assert budget["num_replicas"] >= 2
    assert budget["max_replicas_per_node"] == 1


@pytest.mark.parametrize("name", [app.name for app in APPS])
def test_what_the_file_names_can_be_built(name: str) -> None:
    """The import path makes each application, with a deployment of its name."""
    assert application({"app": name})._bound_deployment.name == name


def test_an_app_that_is_not_there_is_refused_with_those_that_are() -> None:
    """A misspelt argument fails the deploy with a sentence."""
    with pytest.raises(ValueError, match=r"must be one of front, budget, .*not 'bugdet'"):
        application({"app": "bugdet"})


def _budget(config: dict[str, Any]) -> dict[str, Any]:
    deployment: dict[str, Any] = config["applications"][1]["deployments"][0]
    return deployment


MISSPELT: list[tuple[Callable[[dict[str, Any]], dict[str, Any]], str, str]] = [
    (lambda config: config, "applicatons", "applicatons: Ray Serve knows no such key; did you mean applications?"),
    (
        lambda config: config["http_options"],
        "prot",
        "http_options.prot: Ray Serve knows no such key; did you mean port?",
    ),
    (lambda config: config["logging_config"], "encodin", "logging_config.encodin: "),
    (lambda config: config["applications"][1], "deploymets", "applications[budget].deploymets: "),
    (_budget, "num_replica", "applications[budget].deployments[budget].num_replica: "),
    (
        lambda config: _budget(config)["ray_actor_options"],
        "num_cpu",
        "applications[budget].deployments[budget].ray_actor_options.num_cpu: ",
    ),
    (
        lambda config: config["applications"][3]["deployments"][0]["autoscaling_config"],
        "max_replica",
        "applications[mechanisms].deployments[mechanisms].autoscaling_config.max_replica: ",
    ),
]


@pytest.mark.parametrize(("place", "key", "said"), MISSPELT, ids=[key for _, key, _ in MISSPELT])
def test_a_misspelt_key_is_refused_with_its_place(
    shipped: dict[str, Any], place: Callable[[dict[str, Any]], dict[str, Any]], key: str, said: str
) -> None:
    """At every level; Ray alone would take it and say nothing."""
    place(shipped)[key] = 1
    with pytest.raises(ServeConfigError) as refused:
        checked(shipped)
    assert str(refused.value).startswith(said)


def test_all_faults_are_told_at_once(shipped: dict[str, Any]) -> None:
    """A line for each."""
    shipped["one"] = shipped["http_options"]["two"] = 1
    with pytest.raises(ServeConfigError) as refused:
        checked(shipped)
    assert len(str(refused.value).splitlines()) == 2


def test_a_value_of_the_wrong_kind_is_refused_with_its_place(shipped: dict[str, Any]) -> None:
    """What Ray's schema finds is told in the same form."""
    shipped["http_options"]["port"] = "many"
    with pytest.raises(ServeConfigError, match=r"^http_options\.port: "):
        checked(shipped)


def test_keys_that_are_not_ray_serves_to_know_are_free(shipped: dict[str, Any]) -> None:
    """Arguments, user configs and runtime environments are passed on as they are."""
    shipped["applications"][0]["args"]["anything"] = 1
    shipped["applications"][0]["runtime_env"] = {"env_vars": {"A": "b"}}
    _budget(shipped)["user_config"] = {"anything": 1}
    checked(shipped)


@pytest.mark.parametrize("text", ["[", "a", ""])
def test_what_is_no_config_at_all_is_refused(tmp_path: Path, text: str) -> None:
    """Broken YAML, or YAML of something else."""
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ServeConfigError):
        read_serve_config(tmp_path / "config.yaml")


def test_the_command_line_says_whether_a_config_is_right(tmp_path: Path) -> None:
    """Status 0 or 1, with the reasons; 2 where there is no such file, as for every command."""
    right = CliRunner().invoke(cli, ["check-config", str(SHIPPED)])
    assert right.exit_code == 0, right.output
    (tmp_path / "wrong.yaml").write_text("aplications: []\n")
    wrong = CliRunner().invoke(cli, ["check-config", str(tmp_path / "wrong.yaml")])
    assert wrong.exit_code == 1
    assert "did you mean applications?" in wrong.output
    missing = CliRunner().invoke(cli, ["check-config", str(tmp_path / "missing.yaml")])
    assert missing.exit_code == 2
    assert "does not exist" in missing.output


def test_a_port_that_the_service_itself_does_not_know_is_refused(shipped: dict[str, Any]) -> None:
    """The keeper of the log speaks to the budgets by the port in the settings."""
    check_agrees(shipped, Settings(port=8000))
    with pytest.raises(DeployError, match="8000 and AUMOS_PRIVACY_PORT is 8001"):
        check_agrees(shipped, Settings(port=8001))
