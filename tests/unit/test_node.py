"""A node of a cluster and a deploy to it: what they are started with, and what they refuse."""

import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accounting.storage.urls import DatabaseUrls
from serve_app.cli.main import app
from serve_app.cluster import StartError
from serve_app.cluster_service import URLS_FILE, NotDeployedError, leave_urls, service_of_this_node
from serve_app.config import Settings
from serve_app.deploying import DeployError, deploy, prepare
from serve_app.environment import node_environment, node_folder
from serve_app.further import further_databases
from serve_app.node import NodeOptions, run_node, start_command
from serve_app.service import Service

SERVICE, RECORDER = "postgresql://service:one@db/ledger", "postgresql://recorder:two@db/ledger"
UNIX_SOCKET_BYTES = 107


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A node's environment with a data folder, and nothing else that is ours."""
    for name in ("DATABASE_URL", "DATABASE_SERVICE_URL", "DATABASE_RECORDER_URL", "MORE_DATABASES"):
        monkeypatch.delenv(f"AUMOS_PRIVACY_{name}", raising=False)
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUMOS_PRIVACY_HOME", str(tmp_path))
    (tmp_path / "keys").mkdir()


def test_a_replica_finds_the_database_in_its_nodes_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """From secrets, where a file says otherwise, too."""
    leave_urls(Service(Settings(), "postgresql://old", "postgresql://old"))
    monkeypatch.setenv("AUMOS_PRIVACY_DATABASE_SERVICE_URL", SERVICE)
    monkeypatch.setenv("AUMOS_PRIVACY_DATABASE_RECORDER_URL", RECORDER)
    service = service_of_this_node()
    assert (service.database_url, service.recorder_url) == (SERVICE, RECORDER)


def test_a_replica_finds_the_database_in_the_shared_folder(tmp_path: Path) -> None:
    """As the deploy left it, for nobody else to read."""
    leave_urls(Service(Settings(), SERVICE, RECORDER))
    service = service_of_this_node()
    assert (service.database_url, service.recorder_url) == (SERVICE, RECORDER)
    assert (tmp_path / URLS_FILE).stat().st_mode & 0o777 == 0o600


def test_a_replica_does_not_keep_the_owners_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where an operator left it in a node's environment."""
    monkeypatch.setenv("AUMOS_PRIVACY_DATABASE_URL", "postgresql://owner:secret@db/ledger")
    leave_urls(Service(Settings(), SERVICE, RECORDER))
    assert service_of_this_node().settings.database_url is None


def test_a_replica_finds_all_databases_where_it_finds_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file that the deploy left, or in the environment if that has the addresses of all of them."""
    east = DatabaseUrls("postgresql://east", "postgresql://east-log")
    leave_urls(Service(Settings(), SERVICE, RECORDER, {"east": east}))
    assert service_of_this_node().further == {"east": east}
    monkeypatch.setenv("AUMOS_PRIVACY_DATABASE_SERVICE_URL", "postgresql://other")
    monkeypatch.setenv("AUMOS_PRIVACY_DATABASE_RECORDER_URL", "postgresql://other")
    monkeypatch.setenv("AUMOS_PRIVACY_MORE_DATABASES", '{"east": {"url": "postgresql://owner"}}')
    found = service_of_this_node()
    assert (found.database_url, found.further) == (SERVICE, {"east": east})
    assert found.settings.more_databases is None
    addresses = '{"east": {"service_url": "postgresql://a", "recorder_url": "postgresql://b"}}'
    monkeypatch.setenv("AUMOS_PRIVACY_MORE_DATABASES", addresses)
    found = service_of_this_node()
    assert (found.database_url, found.further["east"].service) == ("postgresql://other", "postgresql://a")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "must be a JSON object"),
        ("{", "must be a JSON object"),
        ('{"main": {"url": "postgresql://x"}}', "cannot be the name of a further"),
        ('{"East": {"url": "postgresql://x"}}', "cannot be the name of a further"),
        ('{"east": "postgresql://x"}', "east must have"),
        ('{"east": {}}', "east must have"),
        ('{"east": {"urls": "postgresql://secret"}}', "east must have"),
        ('{"east": {"url": 5}}', "east must have texts"),
        ('{"east": {"service_url": "postgresql://x"}}', "east needs url, or both"),
    ],
)
def test_further_databases_are_named_in_full(text: str, reason: str) -> None:
    """Whatever is not is refused with what is wrong, and without the addresses, which may hold passwords."""
    with pytest.raises(ValueError, match=reason) as refused:
        further_databases(text)
    assert "postgresql" not in str(refused.value)


@pytest.mark.parametrize("text", [None, "", "{}", '{"service": "postgresql://s"}'])
def test_a_replica_that_does_not_find_the_database_says_what_to_do(tmp_path: Path, text: str | None) -> None:
    """No file, or a damaged one; the message does not quote it."""
    if text is not None:
        (tmp_path / URLS_FILE).write_text(text)
    with pytest.raises(NotDeployedError, match="run privacy-engine deploy"):
        service_of_this_node()


def test_the_head_and_the_others_are_started_with_ports_that_are_known() -> None:
    """A firewall's rules can be written before."""
    head = start_command(NodeOptions(None, "10.0.0.1", 7000, cpus=0), Path("/tmp/prv"))
    assert {"--head", "--port=7000", "--num-cpus=0", "--node-ip-address=10.0.0.1", "--block"} <= set(head)
    assert "--dashboard-host=127.0.0.1" in head
    other = start_command(NodeOptions("10.0.0.1:7000", "10.0.0.2", gpus=1), Path("/tmp/prv"))
    assert {"--address=10.0.0.1:7000", "--num-gpus=1", "--node-ip-address=10.0.0.2"} <= set(other)
    assert "--head" not in other
    for command in (head, other):
        assert {"--node-manager-port=6380", "--object-manager-port=6381", "--min-worker-port=10002"} <= set(command)


def test_a_nodes_sockets_have_room_for_their_names() -> None:
    """Whatever its address and data folder are. Ray adds its own id, and HAProxy a number while it starts."""
    settings = Settings(home=Path("/srv/" + "long/" * 30))
    folder = node_folder(settings, "2001:0db8:85a3:0000:0000:8a2e:0370:7334")
    socket = Path(node_environment(settings, folder)["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    assert len(str(socket.parent / ("f" * 56) / socket.name)) + len(".1234567.tmp") <= UNIX_SOCKET_BYTES


def test_two_nodes_of_one_folder_have_sockets_of_their_own() -> None:
    """Where they run on one machine."""
    settings = Settings()
    assert node_folder(settings, "10.0.0.1") != node_folder(settings, "10.0.0.2")


def test_a_node_that_does_not_share_the_heads_folder_is_told_so(tmp_path: Path) -> None:
    """It would be refused by the head for want of the token, without a word."""
    with pytest.raises(StartError, match="must be the folder that the head has, shared by all nodes"):
        run_node(Settings(home=tmp_path), NodeOptions("10.0.0.1:6379", "10.0.0.2"), threading.Event())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either --head or --join"),
        (["--head", "--join", "10.0.0.1:6379"], "either --head or --join"),
        (["--join", "10.0.0.1"], "is not host:port"),
    ],
)
def test_a_node_is_the_head_or_joins_one(arguments: list[str], said: str) -> None:
    """Anything else is a usage error."""
    result = CliRunner().invoke(app, ["node", *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_a_deploy_without_a_database_is_refused() -> None:
    """The embedded one is on one machine."""
    with pytest.raises(DeployError, match="needs a PostgreSQL that all nodes reach"):
        prepare(Settings())


def test_a_deploy_to_a_database_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """In a sentence, and nothing is left for the nodes."""
    settings = Settings.model_validate({"database_url": f"postgresql://owner@/ledger?host={tmp_path}"})
    with pytest.raises(DeployError, match="the databases of AUMOS_PRIVACY_DATABASE_URL"):
        prepare(settings)
    assert not (tmp_path / URLS_FILE).exists()


def test_a_deploy_without_rays_token_is_refused() -> None:
    """Before anything is sent."""
    with pytest.raises(DeployError, match="must be the folder that the head has"):
        deploy(Settings(), {"applications": []}, "http://127.0.0.1:9", 0.1, print)


def test_a_deploy_where_no_ray_answers_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it has waited for a head that may just be starting."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
    with pytest.raises(DeployError, match=r"dashboard at http://127\.0\.0\.1:9 did not take it"):
        deploy(Settings(), {"applications": []}, "http://127.0.0.1:9", 0.1, print)
