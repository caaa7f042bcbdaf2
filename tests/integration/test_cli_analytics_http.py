"""``privacy-engine burn-rate``, ``operations``, ``tenants``, ``evidence``, ``export``: what they print and write."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serve_app.cli.main import app
from serve_app.client import calls
from serve_app.client.client import PrivacyClient
from tests.support import Caller, Live

pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")

Invoke = Callable[..., Result]


@pytest.fixture(scope="module")
def engine(live: Live) -> Caller:
    """An engine whose tenant has two operations."""
    caller = live.new("admin", epsilon="4")
    caller.allocate(job_id="ages", epsilon="0.75", source_engine="tabular")
    caller.allocate(job_id="names", epsilon="0.5", delta="0.000001", source_engine="text")
    return caller


@pytest.fixture
def run(live: Live) -> Invoke:
    """Runs a command against the service under test."""
    settings = live.service.settings

    def invoke(*arguments: str) -> Result:
        where = ["--url", settings.base_url, "--home", str(settings.home)]
        return CliRunner().invoke(app, [*arguments, *where])

    return invoke


def test_burn_rate_prints_days_and_engines(run: Invoke, engine: Caller) -> None:
    """What was charged, what is left, when it ends, by day and by engine; and all of it as JSON."""
    done = run("burn-rate", "--tenant", engine.tenant, "--days", "3")
    assert done.exit_code == 0
    for part in ("epsilon 1.25 in 3 days", "not in sight", "tabular", "0.75", "second day"):
        assert part in done.stdout
    told = json.loads(run("burn-rate", "--tenant", engine.tenant, "--json").stdout)
    assert told["exact"]["epsilon"] == "1.25"


def test_operations_are_listed_latest_first(run: Invoke, engine: Caller) -> None:
    """Page by page, with how to ask for the next."""
    done = run("operations", "--tenant", engine.tenant, "--limit", "1")
    assert done.exit_code == 0
    assert "names" in done.stdout
    assert "ages" not in done.stdout
    assert "--before 3" in done.stdout


def test_tenants_are_listed_with_the_local_key_and_with_a_token(run: Invoke, live: Live, engine: Caller) -> None:
    """An auditor of all sees each tenant; a tenant's own token is refused, with what it would take."""
    after = engine.tenant[:-1]
    for more in ([], ["--token", live.token("*", ["auditor"])]):
        done = run("tenants", "--after", after, "--limit", "1", *more)
        assert done.exit_code == 0, done.output
        assert engine.tenant in done.stdout
    refused = run("tenants", "--token", live.token(engine.tenant, ["auditor"]))
    assert refused.exit_code == 4
    assert "forbidden" in refused.stderr


def test_evidence_and_export_are_written_to_a_file(run: Invoke, engine: Caller, tmp_path: Path) -> None:
    """A page, and a document that is JSON."""
    page, exported = tmp_path / "evidence.html", tmp_path / "export.json"
    asked = ["--framework", "gdpr", "--format", "html", "--tenant", engine.tenant]
    assert run("evidence", *asked, "-o", str(page)).exit_code == 0
    assert "Evidence for GDPR controls" in page.read_text()
    assert run("export", "--tenant", engine.tenant, "-o", str(exported)).exit_code == 0
    document = json.loads(exported.read_text())
    assert [one["job_id"] for one in document["events"]] == ["ages"]
    assert [one["job_id"] for one in document["not_exported"]] == ["names"]


def test_what_is_refused_is_told_with_the_field(run: Invoke, engine: Caller) -> None:
    """The exit status is that of a refusal."""
    done = run("evidence", "--framework", "gdpr", "--since", "yesterday", "--tenant", engine.tenant)
    assert done.exit_code == 1
    assert "since" in done.stderr


def test_the_client_asks_for_all_of_it(live: Live, engine: Caller) -> None:
    """Each call reaches its route with what it says."""
    with PrivacyClient(live.service.settings.base_url, engine.token or "") as client:
        assert client.send(calls.budget_summary())["budget"]["exact"]["used_epsilon"] == "1.25"
        assert client.send(calls.burn_rate(engine.tenant, days=2))["window_days"] == 2
        assert len(client.send(calls.operations(limit=1))["operations"]) == 1
        assert client.send(calls.generate_report({"framework": "ccpa"}))["framework"] == "ccpa"
        assert client.send(calls.export_accountant({}))["tenant_id"] == engine.tenant
    with PrivacyClient(live.service.settings.base_url, live.token("*", ["auditor"])) as client:
        assert client.send(calls.tenants(engine.tenant[:-1], 1))["next"] == engine.tenant
