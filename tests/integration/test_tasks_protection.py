"""The database itself refuses what would part a task from its hold, or change what became of it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
import pytest_asyncio

from accounting.ledger.entry import Entry
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.postgres_tasks import PostgresTasks
from accounting.ledger.store import ConflictError
from tests.integration.test_database_protection import CHANGES, Change, connected, enter, refused
from tests.support import new_name
from tests.training_tasks import document_for, held, with_task

TABLES = ["prv_task", "prv_task_state", "prv_file"]
NEW_TASK = "INSERT INTO prv_task (tenant_id, allocation_id, body) VALUES ($1, $2, $3)"


@pytest_asyncio.fixture
async def service(service_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The service's own login, past all of our code."""
    async with connected(service_url) as connection:
        yield connection


@pytest_asyncio.fixture
async def recorder(recorder_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The login that reads all tenants'."""
    async with connected(recorder_url) as connection:
        yield connection


@pytest_asyncio.fixture
async def admin(admin_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the tables, a superuser."""
    async with connected(admin_url) as connection:
        yield connection


@pytest_asyncio.fixture
async def tasks(service_url: str) -> AsyncIterator[PostgresTasks]:
    """The store of tasks."""
    store = await PostgresTasks.open(service_url, connections=1)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def hold(postgres: PostgresLedgerStore, tasks: PostgresTasks) -> Entry:
    """A hold with a task that has a state, beside a file of rows."""
    entries = with_task(new_name("tenant"))
    await postgres.append(entries)
    last = entries[-1]
    assert last.allocation_id is not None
    await tasks.advance(last.tenant_id, last.allocation_id, 1, "{}", over=False)
    await tasks.add_file(last.tenant_id, "people", "{}")
    return last


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", CHANGES, ids=["update", "delete", "truncate"])
async def test_the_service_cannot_change_or_remove_a_row(
    service: asyncpg.Connection, hold: Entry, table: str, change: Change
) -> None:
    """The service's login lacks the right to change even the rows that it sees."""
    await enter(service, hold.tenant_id)
    assert await service.fetchval(f"SELECT count(*) FROM {table}") == 1
    await refused(service.execute(change(table)))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", CHANGES, ids=["update", "delete", "truncate"])
@pytest.mark.usefixtures("hold")
async def test_not_even_the_owner_changes_or_removes_a_row(
    admin: asyncpg.Connection, table: str, change: Change
) -> None:
    """Triggers keep the tables append-only even for the superuser, whom no missing right stops."""
    statement = change(table) + (" CASCADE" if change(table) == "TRUNCATE prv_task" else "")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await admin.execute(statement)


@pytest.mark.parametrize("table", TABLES)
async def test_without_a_scope_no_row_is_seen(service: asyncpg.Connection, hold: Entry, table: str) -> None:
    """Rows show only under their own tenant's scope; with none, or another's, there are none."""
    assert await service.fetchval(f"SELECT count(*) FROM {table}") == 0
    await enter(service, new_name("tenant"))
    assert await service.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_nothing_is_written_into_another_tenants_tables(service: asyncpg.Connection, hold: Entry) -> None:
    """By plain SQL, past the functions that the stores use."""
    await enter(service, new_name("tenant"))
    tenant, task = hold.tenant_id, hold.allocation_id
    await refused(service.execute("INSERT INTO prv_task_state VALUES ($1, $2, 2, false, '{}')", tenant, task))
    await refused(service.execute("INSERT INTO prv_file VALUES ($1, 'people', 2, '{}')", tenant))
    # A row that is not one's own cannot even be looked up, so no hold is found that names the task.
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.IntegrityConstraintViolationError)):
        await service.execute(NEW_TASK, tenant, task, document_for().text)


async def test_a_task_under_a_hold_that_was_made_for_another_is_refused(
    service: asyncpg.Connection, postgres: PostgresLedgerStore
) -> None:
    """A hold has its task's digest; without one, or with another's, none can be put under it, then or later."""
    tenant = new_name("tenant")
    first, plain = with_task(tenant)
    bare = replace(plain, details={"purpose": "no task"}, task=None)
    await postgres.append([first, bare])
    await enter(service, tenant)
    for allocation in (bare.allocation_id, "00000000-0000-8000-8000-000000000009"):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=r"no hold of .* names this task"):
            await service.execute(NEW_TASK, tenant, allocation, document_for().text)


async def test_a_hold_and_its_task_are_written_together_or_not_at_all(
    service: asyncpg.Connection, postgres: PostgresLedgerStore, tasks: PostgresTasks
) -> None:
    """A task that is not the one of the digest takes its hold with it."""
    tenant = new_name("tenant")
    first, _ = with_task(tenant)
    await postgres.append([first])
    forged = held(first, document_for().text, digest="0" * 64)
    assert forged.allocation_id is not None
    with pytest.raises(ConflictError, match="prv_task_held"):
        await postgres.append([forged])
    assert [entry.seq for entry in await postgres.history(tenant)] == [1]
    assert await tasks.task(tenant, forged.allocation_id) is None


async def test_a_conflict_in_the_ledger_leaves_no_task(
    postgres: PostgresLedgerStore, tasks: PostgresTasks, admin: asyncpg.Connection
) -> None:
    """Whoever comes second to a place has written neither a hold nor a task."""
    tenant = new_name("tenant")
    first, winner = with_task(tenant)
    await postgres.append([first, winner])
    loser = held(first, document_for(dispatched=False).text)
    with pytest.raises(ConflictError, match="prv_ledger"):
        await postgres.append([loser])
    rows = await admin.fetch("SELECT allocation_id::text FROM prv_task WHERE tenant_id = $1", tenant)
    assert [row["allocation_id"] for row in rows] == [winner.allocation_id]


async def test_a_second_task_under_a_hold_is_refused(service: asyncpg.Connection, hold: Entry) -> None:
    """Even the same one."""
    await enter(service, hold.tenant_id)
    with pytest.raises(asyncpg.UniqueViolationError):
        await service.execute(NEW_TASK, hold.tenant_id, hold.allocation_id, document_for().text)


async def test_a_state_without_a_task_is_refused(service: asyncpg.Connection, hold: Entry) -> None:
    """Nothing becomes of what was never ordered."""
    await enter(service, hold.tenant_id)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await service.execute(
            "INSERT INTO prv_task_state VALUES ($1, gen_random_uuid(), 1, false, '{}')", hold.tenant_id
        )


async def test_the_recorder_reads_open_tasks_and_writes_none(recorder: asyncpg.Connection, hold: Entry) -> None:
    """Of all tenants; of files of rows it knows nothing."""
    tenant, task = hold.tenant_id, hold.allocation_id
    seen = "SELECT count(*) FROM {} WHERE tenant_id = $1"
    for table in ("prv_task", "prv_task_state"):
        assert await recorder.fetchval(seen.format(table), tenant) == 1
    await refused(recorder.fetch("SELECT * FROM prv_file"))
    await enter(recorder, tenant)
    await refused(recorder.execute(NEW_TASK, tenant, task, document_for().text))
    await refused(recorder.execute("INSERT INTO prv_task_state VALUES ($1, $2, 2, false, '{}')", tenant, task))
    for table in ("prv_task", "prv_task_state"):
        for change in CHANGES:
            await refused(recorder.execute(change(table)))
