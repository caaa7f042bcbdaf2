"""The database keeps the log's role to the log, and the log to what was written."""

from collections.abc import AsyncIterator, Awaitable

import asyncpg
import pytest
import pytest_asyncio

from accounting.ledger.entry import Entry
from accounting.ledger.heads import StoredHead
from accounting.ledger.merkle import root_at
from accounting.ledger.postgres_log import PostgresLog
from accounting.storage.migrate import (
    Role,
    UnsafeRoleError,
    check_recorder_role,
    check_service_role,
    ensure_service_login,
)
from tests.databases import Database, new_database
from tests.ledgers import asked, opened, spent
from tests.support import new_name

TABLES = ["prv_log", "prv_node", "prv_head", "prv_relayed", "prv_log_name"]


@pytest_asyncio.fixture(scope="module")
async def database(admin_url: str) -> Database:
    """A database whose log has something in each of its tables."""
    database = await new_database(admin_url)
    async with database.opened() as (store, log):
        await store.append([opened("tenant-a")])
        await store.append([opened("tenant-b")])
        await log.sequence()
        await log.store_head(StoredHead(2, await root_at(log.nodes, 2), "signed"))
        await log.set_relayed("kafka", 1)
    return database


@pytest_asyncio.fixture
async def recorder(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """The recorder's own login, past all of our code."""
    connection = await asyncpg.connect(database.urls.recorder)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def service(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """The service's own login, past all of our code."""
    connection = await asyncpg.connect(database.urls.service)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def admin(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the tables, a superuser."""
    connection = await asyncpg.connect(database.admin_url)
    yield connection
    await connection.close()


async def refused(statement: Awaitable[object]) -> None:
    """The database refuses the statement for want of privilege."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await statement


UPDATES = {"prv_node": "hash = sha256('x')", "prv_log_name": "log_id = gen_random_uuid()"}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", ["UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {}"])
async def test_nobody_changes_or_removes_a_row(
    admin: asyncpg.Connection, recorder: asyncpg.Connection, service: asyncpg.Connection, table: str, change: str
) -> None:
    """Not the recorder that wrote it, not the service, and not the owner, whom triggers stop."""
    statement = change.format(table, UPDATES.get(table, "recorded_at = now()"))
    await refused(recorder.execute(statement))
    await refused(service.execute(statement))
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await admin.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO prv_log (position, tenant_id, seq) VALUES (2, 'tenant-a', 2)",
        "INSERT INTO prv_node VALUES (0, 2, sha256('x'))",
        "INSERT INTO prv_head (size, root, signed) VALUES (3, sha256('x'), 'x')",
        "INSERT INTO prv_relayed (relay, position) VALUES ('x', 1)",
        "INSERT INTO prv_log_name VALUES (gen_random_uuid(), true)",
        "SELECT * FROM prv_relayed",
    ],
)
async def test_the_service_writes_nothing_of_the_log(service: asyncpg.Connection, statement: str) -> None:
    """The log is the recorder's, whatever tenant the service acts for."""
    await service.execute("SELECT set_config('prv.tenants', '{tenant-a}', false)")
    await refused(service.execute(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO prv_ledger (tenant_id, seq, kind, body, prev_hash, hash) "
        "VALUES ('tenant-c', 1, 'budget_set', 'x', sha256('x'), sha256('x'))",
        "SELECT prv_append('{tenant-c}', '{\"{}\"}')",
        "UPDATE prv_ledger SET recorded_at = now()",
        "DELETE FROM prv_ledger",
        "TRUNCATE prv_ledger",
        "SELECT * FROM prv_release",
        "SELECT * FROM prv_plan",
        "INSERT INTO prv_log_name VALUES (gen_random_uuid(), true)",
        "SELECT prv_resume_order()",
        "SELECT prv_keep('prv_ledger')",
        "CREATE OR REPLACE FUNCTION prv_tx_offset() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 9::bigint'",
        "DROP TRIGGER prv_no_change ON prv_log",
        "ALTER TABLE prv_node DISABLE TRIGGER ALL",
    ],
)
async def test_the_recorder_writes_nothing_but_the_log(recorder: asyncpg.Connection, statement: str) -> None:
    """It reads every tenant's ledger and no tenant's releases or plans."""
    await recorder.execute("SELECT set_config('prv.tenants', '{tenant-a,tenant-c}', false)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await recorder.execute(statement)


async def test_the_recorder_sees_every_tenant_and_the_service_one(
    recorder: asyncpg.Connection, service: asyncpg.Connection
) -> None:
    """Of the ledger, and of where entries stand; the tree and the heads, which name nobody, the service sees whole."""
    places = "SELECT DISTINCT tenant_id FROM {} ORDER BY tenant_id"
    for table in ("prv_ledger", "prv_log"):
        assert [row[0] for row in await recorder.fetch(places.format(table))] == ["tenant-a", "tenant-b"]
        assert await service.fetch(places.format(table)) == []
    await service.execute("SELECT set_config('prv.tenants', '{tenant-b}', false)")
    for table in ("prv_ledger", "prv_log"):
        assert [row[0] for row in await service.fetch(places.format(table))] == ["tenant-b"]
    assert await service.fetchval("SELECT count(*) FROM prv_node") == 2
    assert await service.fetchval("SELECT count(*) FROM prv_head") == 1


async def test_the_service_can_read_what_a_proof_takes(database: Database) -> None:
    """Where a tenant's entry stands, the tree, the heads and the log's name."""
    log = await PostgresLog.open(database.urls.service)
    assert [await log.position(tenant, 1) for tenant in ("tenant-a", "tenant-b", "tenant-c")] == [0, 1, None]
    head = await log.last_head()
    assert head is not None
    assert head == StoredHead(await log.size(), await root_at(log.nodes, 2), "signed")
    assert len(await log.log_id()) == 36
    await log.close()


async def test_a_place_is_taken_once(recorder: asyncpg.Connection) -> None:
    """The fence: neither a position nor an entry is in the log twice, whatever the recorder writes."""
    for place, tenant in ((0, "tenant-c"), (2, "tenant-a")):
        with pytest.raises(asyncpg.UniqueViolationError):
            await recorder.execute("INSERT INTO prv_log (position, tenant_id, seq) VALUES ($1, $2, 1)", place, tenant)


async def test_a_recorder_that_may_write_the_ledger_is_found_out(admin: asyncpg.Connection, database: Database) -> None:
    """A login that passed the check fails it after any one grant too many, and the fault is named."""
    for power, fault in (
        ("ALTER ROLE {role} BYPASSRLS", "rolbypassrls"),
        ("ALTER ROLE {role} SUPERUSER", "rolsuper"),
        ("GRANT INSERT ON prv_ledger TO {role}", "appends"),
        ("GRANT INSERT (body) ON prv_ledger TO {role}", "appends"),
        ("GRANT prv_service TO {role}", "appends"),
        ("GRANT DELETE ON prv_ledger TO {role}", "changes"),
        ("GRANT postgres TO {role}", "owns"),
    ):
        role = new_name("login").replace("-", "_")
        url = await ensure_service_login(database.admin_url, role, "secret1", Role.RECORDER)
        await check_recorder_role(url)
        await admin.execute(power.format(role=role))
        with pytest.raises(UnsafeRoleError, match=fault):
            await check_recorder_role(url)


async def test_a_service_login_that_is_a_recorder_as_well_is_found_out(
    admin: asyncpg.Connection, database: Database
) -> None:
    """It would see every tenant's ledger, so that no policy would confine it."""
    role = new_name("login").replace("-", "_")
    url = await ensure_service_login(database.admin_url, role, "secret1")
    await check_service_role(url)
    await admin.execute(f"GRANT prv_recorder TO {role}")
    with pytest.raises(UnsafeRoleError, match="records"):
        await check_service_role(url)


async def test_entries_of_before_the_log_are_taken_up_too(admin_url: str) -> None:
    """A ledger that was there before this release gets its log, each tenant in its own order."""
    database = await new_database(admin_url)
    histories: list[list[Entry]] = []
    async with database.opened() as (store, _):
        for _ in range(3):
            entries = [opened(new_name("tenant"))]
            entries.append(spent(entries[0], asked(entries[0].tenant_id, "1")))
            await store.append(entries)
            histories.append(entries)
    admin = await asyncpg.connect(database.admin_url)
    # As the migration leaves them: all with the number of its own transaction.
    await admin.execute(
        "ALTER TABLE prv_ledger DISABLE TRIGGER prv_no_change;"
        "UPDATE prv_ledger SET tx = (SELECT max(tx) FROM prv_ledger);"
        "ALTER TABLE prv_ledger ENABLE TRIGGER prv_no_change"
    )
    await admin.close()
    async with database.opened() as (_, log):
        assert await log.sequence() == 6
        logged = [(item.entry.tenant_id, item.entry.seq) for item in await log.read(0)]
    assert logged == sorted((entry.tenant_id, entry.seq) for entries in histories for entry in entries)
