"""``privacy-engine audit`` on the service: a ledger that came about over HTTP is found to follow from its rules."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from typer.testing import CliRunner

from serve_app.cli.main import app
from serve_app.config import Settings
from serve_app.service import PREFIX, Service
from tests.databases import new_database
from tests.support import Caller, Live, Serving, WholeService, free_port


@pytest.fixture(scope="module")
def service(admin_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service on a database of its own: other tests write entries that no rule would."""
    database = asyncio.run(new_database(admin_url))
    listener = free_port()
    chosen = Settings.model_validate({"home": tmp_path_factory.mktemp("home"), "port": listener.getsockname()[1]})
    running = Service(chosen, database.urls.service, database.urls.recorder)
    with (
        Serving(WholeService(running), listener),
        httpx.Client(base_url=chosen.base_url, timeout=30) as client,
    ):
        yield Live(running, client, database.admin_url)


@pytest.fixture
def engine(service: Live) -> Caller:
    """An engine that has spent, held, committed and voided."""
    engine = service.new(epsilon="10")
    engine.allocate(job_id="job", epsilon="0.25", delta="0.0000001")
    engine.apply(mechanism="laplace", epsilon="0.5", sensitivity=2, data=[1, 2, 3], job_id="job")
    ends = [engine.allocate(job_id="job", operation_id=f"h{n}", epsilon="0.125", mode="reserve") for n in range(3)]
    engine.settle(ends[0].json()["allocation_id"], "commit")
    engine.settle(ends[1].json()["allocation_id"], "void")
    return engine


@pytest.fixture
def run(service: Live) -> Callable[..., tuple[int, str]]:
    """Runs the command against that service."""
    settings = service.service.settings

    def invoke(*arguments: str | Path) -> tuple[int, str]:
        options = ["--url", settings.base_url, "--home", str(settings.folder)]
        result = CliRunner().invoke(app, ["audit", *options, *map(str, arguments)])
        return result.exit_code, result.output

    return invoke


def covered(service: Live, engine: Caller) -> None:
    """Waits until a head covers all that the engine did."""
    auditor = service.caller(engine.tenant, "auditor")
    for _ in range(100):
        head = auditor.get(f"{PREFIX}/log/head")
        entries = auditor.get(f"{PREFIX}/log/entries").json()["entries"]
        if head.status_code == 200 and len(entries) >= 8 and head.json()["size"] > entries[-1]["position"]:
            return
        time.sleep(0.1)
    raise AssertionError("no head covers the entries")


def test_the_whole_log_is_audited_and_saved(
    service: Live, engine: Caller, run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """What is saved is audited offline with the same result, and binds the next audit."""
    covered(service, engine)
    saved = tmp_path / "log.jsonl"
    status, output = run("--save", saved)
    assert (status, output.splitlines()[-1] if output else "") == (0, "VALID"), output
    offline = CliRunner().invoke(app, ["audit", "--file", str(saved), "--json"])
    assert (offline.exit_code, json.loads(offline.output)["found"]) == (0, 0)
    engine.allocate(job_id="job", epsilon="0.25")
    status, output = run("--earlier", saved)
    assert status == 0, output


def test_a_tenants_part_is_audited_with_its_proofs(
    service: Live, engine: Caller, run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """With the tenant's own token, which sees nobody else."""
    covered(service, engine)
    token = service.token(engine.tenant, ["auditor"])
    saved = tmp_path / "part.jsonl"
    status, output = run("--token", token, "--save", saved)
    assert (status, "8 of 1 tenant\n" in output) == (0, True), output
    lines = [json.loads(line) for line in saved.read_text().splitlines()]
    assert {json.loads(line["body"])["tenant_id"] for line in lines if "body" in line} == {engine.tenant}
    assert "inclusion" in lines[-1]
    status, output = run("--token", token, "--earlier", saved)
    assert status == 0, output


def test_a_ledger_that_was_changed_in_the_database_is_found(
    service: Live, engine: Caller, run: Callable[..., tuple[int, str]]
) -> None:
    """By its owner, past the triggers, with the hash made to fit: the log's tree had the entry as it was."""
    covered(service, engine)

    async def tamper() -> None:
        admin = await asyncpg.connect(service.admin_url)
        async with admin.transaction():
            await admin.execute("SET LOCAL session_replication_role = replica")
            await admin.execute(
                "UPDATE prv_ledger SET body = replace(body, '0.25', '0.05'), "
                "hash = sha256(convert_to(replace(body, '0.25', '0.05'), 'UTF8')) WHERE tenant_id = $1 AND seq = 2",
                engine.tenant,
            )
        await admin.close()

    asyncio.run(tamper())
    status, output = run()
    assert (status, output.splitlines()[-1]) == (1, "NOT VALID")
    assert "are not those of the signed head" in output
    assert f"wrong: '{engine.tenant}', entry 3: does not name the hash of the entry before it" in output


def test_who_may_not_see_the_log_is_told(service: Live, run: Callable[..., tuple[int, str]]) -> None:
    """A platform engine speaks for every tenant but reads nobody's log."""
    status, output = run("--token", service.token("*", ["engine"]))
    assert (status, "refused: forbidden" in output) == (4, True), output
