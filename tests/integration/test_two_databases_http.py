"""The service with tenants in two databases: budgets hold in each, and one that is away stops nobody else."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import pytest
from typer.testing import CliRunner

from accounting.ledger.homes import MAIN
from accounting.ledger.postgres_homes import PostgresDirectory
from accounting.storage.migrate import name_database
from accounting.storage.urls import DatabaseUrls
from proofs.checker import verify_document
from proofs.heads import read_head
from serve_app.cli.main import app
from serve_app.config import Settings
from serve_app.service import PREFIX, Service
from tests.databases import Database, new_database
from tests.support import (
    BATCH,
    PICTURE,
    PLAN,
    Caller,
    Live,
    Serving,
    WholeService,
    assert_problem,
    free_port,
    new_name,
)

EAST = "east"


@dataclass(frozen=True)
class Two:
    """A service on two databases, and both of them by name."""

    live: Live
    databases: dict[str, Database]

    async def entries(self, name: str) -> set[str]:
        """The tenants that have entries in a database."""
        admin = await asyncpg.connect(self.databases[name].admin_url)
        try:
            return {row["tenant_id"] for row in await admin.fetch("SELECT DISTINCT tenant_id FROM prv_ledger")}
        finally:
            await admin.close()


@pytest.fixture(scope="module")
async def both(admin_url: str) -> dict[str, Database]:
    """Two databases, prepared and named as at a start."""
    found = {}
    for name in (MAIN, EAST):
        found[name] = await new_database(admin_url)
        await name_database(found[name].admin_url, name)
    return found


def service_on(both: dict[str, Database], home: Path, port: int, **urls: DatabaseUrls) -> Service:
    """The service on these databases, or on others under their names."""
    chosen = Settings.model_validate({"home": home, "port": port})
    main, east = (urls.get(name, both[name].urls) for name in (MAIN, EAST))
    return Service(chosen, main.service, main.recorder, {EAST: east})


@pytest.fixture(scope="module")
def two(both: dict[str, Database], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """The service over HTTP."""
    listener = free_port()
    service = service_on(both, tmp_path_factory.mktemp("two"), listener.getsockname()[1])
    with Serving(WholeService(service), listener), httpx.Client(base_url=service.settings.base_url, timeout=30) as http:
        yield Two(Live(service, http, both[MAIN].admin_url), both)


@pytest.fixture(scope="module")
async def callers(two: Two) -> dict[str, Caller]:
    """An engine for each database, by its name: new tenants are opened until both have some."""
    found: dict[str, Caller] = {}
    while len(found) < 2:
        caller = two.live.new()
        answer = caller.allocate(epsilon="1")
        assert answer.status_code == 200, answer.text
        for name in two.databases:
            if caller.tenant in await two.entries(name):
                found.setdefault(name, caller)
    return found


async def test_every_tenant_lives_in_one_database(two: Two, callers: dict[str, Caller]) -> None:
    """No tenant has entries in both."""
    assert set(callers) == {MAIN, EAST}
    assert not await two.entries(MAIN) & await two.entries(EAST)


@pytest.mark.parametrize("name", [MAIN, EAST])
def test_budgets_hold_wherever_a_tenant_lives(callers: dict[str, Caller], name: str) -> None:
    """What is spent is spent, the rest is refused, and a repeated request is answered again."""
    caller = callers[name]
    key = {"Idempotency-Key": f"again-{name}"}
    first, again = (caller.allocate(key, job_id="job", epsilon="2") for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert again.headers["Idempotency-Replayed"] == "true"
    assert [caller.allocate(epsilon="2").status_code for _ in range(6)] == [200] * 3 + [402] * 3
    assert caller.state().spent == "9"


def test_a_platform_engine_spends_for_tenants_of_both_in_one_batch(two: Two) -> None:
    """Each allocation is decided by the owner of its tenant's database, each with its own outcome."""
    tenants = [new_name("tenant") for _ in range(8)]
    items = [
        {"tenant_id": tenant, "job_id": "batch", "operation_id": f"{tenant}-{turn}", "epsilon": "2"}
        for tenant in tenants
        for turn in range(6)
    ]
    results = two.live.caller("*", "engine").post(BATCH, json={"allocations": items}).json()["results"]
    by_tenant = [[one["status_code"] for one in results[at : at + 6]] for at in range(0, len(results), 6)]
    assert by_tenant == [[200] * 5 + [402]] * len(tenants)


@pytest.mark.parametrize("name", [MAIN, EAST])
async def test_a_proof_stands_in_the_log_of_the_tenants_database(
    two: Two, callers: dict[str, Caller], name: str
) -> None:
    """It is checked like any other, and its head is of that database's log."""
    caller = callers[name]
    log = None
    for _ in range(100):
        document = caller.get(f"{PREFIX}/proof/", params={"history": "true"}).json()
        log = document.get("log")
        if log is not None:
            break
        await asyncio.sleep(0.1)
    assert log is not None, "no head was published"
    report = verify_document(json.dumps(document), two.live.client.get("/.well-known/jwks.json").json()["keys"])
    assert report.valid, report.reasons
    async with two.databases[name].opened() as (_, kept):
        assert read_head(log["head"], [log["key"]]).log_id == await kept.log_id()


async def test_an_auditor_of_all_reads_each_log(two: Two, callers: dict[str, Caller]) -> None:
    """The main one without a word, another by its name; a name that there is not is told, with those there are."""
    auditor = two.live.caller("*", "auditor")
    for name, caller in callers.items():
        head = auditor.get(f"{PREFIX}/log/head", params={"database": name}).json()
        assert head == caller.get(f"{PREFIX}/log/head").json()
        page = auditor.get(f"{PREFIX}/log/entries", params={"database": name}).json()["entries"]
        assert {json.loads(one["body"])["tenant_id"] for one in page} <= await two.entries(name)
    assert auditor.get(f"{PREFIX}/log/health").json()["databases"] == [MAIN, EAST]
    missing = auditor.get(f"{PREFIX}/log/head", params={"database": "west"})
    assert "only main, east" in assert_problem(missing, 404, "not_found", "database")["detail"]


@pytest.mark.parametrize("name", [MAIN, EAST])
def test_each_log_is_audited_by_its_name(two: Two, callers: dict[str, Caller], name: str) -> None:
    """Every balance is derived again, and every head continues the one before; of one tenant, too."""
    settings = two.live.service.settings
    for who in ((), ("--tenant", callers[name].tenant)):
        token = two.live.token(who[1] if who else "*", ("auditor",))
        place = ("--url", settings.base_url, "--token", token)
        audited = CliRunner().invoke(app, ["audit", "--database", name, *who, *place, "--json"])
        assert audited.exit_code == 0, audited.output
        assert json.loads(audited.stdout)["found"] == 0


async def test_an_auditor_of_all_who_names_a_stranger_leaves_nothing_behind(two: Two) -> None:
    """Neither a budget nor a home is written down for a tenant that nobody knows."""
    auditor, stranger = two.live.caller("*", "auditor"), new_name("stranger")
    for path in (
        f"budget/{stranger}",
        f"analytics/budget-summary?tenant_id={stranger}",
        f"proof/job?tenant_id={stranger}",
    ):
        assert auditor.get(f"{PREFIX}/{path}").status_code == 404
    directory = await PostgresDirectory.open(two.databases[MAIN].urls.service)
    assert await directory.home(stranger) is None
    await directory.close()


def test_all_tenants_are_listed_together(two: Two, callers: dict[str, Caller]) -> None:
    """By name, whichever database they live in, a page at a time."""
    auditor = two.live.caller("*", "auditor")
    listed: list[str] = []
    after = ""
    while True:
        page = auditor.get(f"{PREFIX}/analytics/tenants", params={"after": after, "limit": "3"}).json()
        listed += [one["tenant_id"] for one in page["tenants"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert listed == sorted(set(listed))
    assert {caller.tenant for caller in callers.values()} <= set(listed)


@pytest.mark.parametrize("name", [MAIN, EAST])
def test_looking_back_and_planning_work_wherever_a_tenant_lives(callers: dict[str, Caller], name: str) -> None:
    """Summary, operations, evidence, export, plans and pictures are read from the tenant's own database."""
    caller = callers[name]
    assert caller.get(f"{PREFIX}/analytics/budget-summary").json()["budget"]["used_epsilon"] == 9
    assert len(caller.get(f"{PREFIX}/analytics/operations").json()["operations"]) == 5
    assert caller.post(f"{PREFIX}/reports/generate", json={"framework": "gdpr", "format": "json"}).status_code == 200
    exported = caller.post(f"{PREFIX}/accountant/export", json={}).json()
    assert len(exported["events"]) == 5
    step = {"step_name": "one", "mechanism": "laplace", "epsilon": 1, "sensitivity": 1}
    planned = caller.post(PLAN, json={"name": "plan", "steps": [step]}).json()
    # The Renyi filter holds where basic composition has no more room.
    assert 0 <= planned["remaining_budget_after"] < 0.001
    assert caller.get(f"{PREFIX}/composition/{planned['plan_id']}").status_code == 200
    assert caller.get(PICTURE, params={"format": "json"}).status_code == 200


async def test_a_database_that_is_away_stops_its_own_tenants_and_no_others(
    both: dict[str, Database], callers: dict[str, Caller], tmp_path: Path
) -> None:
    """They are answered 503 and charged nothing; the others spend on; who has no home yet is given none."""
    listener = free_port()
    nowhere = DatabaseUrls("postgresql://nobody@127.0.0.1:1/none", "postgresql://nobody@127.0.0.1:1/none")
    service = service_on(both, tmp_path, listener.getsockname()[1], east=nowhere)
    with Serving(WholeService(service), listener), httpx.Client(base_url=service.settings.base_url, timeout=30) as http:
        live = Live(service, http, both[MAIN].admin_url)
        assert live.caller(callers[MAIN].tenant).allocate(epsilon="1").status_code == 200
        assert_problem(live.caller(callers[EAST].tenant).allocate(epsilon="1"), 503, "unavailable")
        assert_problem(live.new().allocate(epsilon="1"), 503, "unavailable")
    assert callers[EAST].state().spent == "9"
    assert callers[MAIN].state().spent == "10"


async def test_addresses_that_changed_places_admit_nothing(
    both: dict[str, Database], callers: dict[str, Caller], tmp_path: Path
) -> None:
    """In the wrong database every tenant would be found without a history, and could spend all of it again."""
    listener = free_port()
    swapped = {MAIN: both[EAST].urls, EAST: both[MAIN].urls}
    service = service_on(both, tmp_path, listener.getsockname()[1], **swapped)
    before = [caller.state() for caller in callers.values()]
    with Serving(WholeService(service), listener), httpx.Client(base_url=service.settings.base_url, timeout=30) as http:
        live = Live(service, http, both[MAIN].admin_url)
        for tenant in [*(caller.tenant for caller in callers.values()), new_name("tenant")]:
            assert live.caller(tenant).allocate(epsilon="0.1").status_code == 503
    assert [caller.state() for caller in callers.values()] == before
