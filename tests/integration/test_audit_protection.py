"""The database itself refuses to change the audit log, or to show one tenant another's."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from accounting.ledger.audited import AuditRecord, Deed
from accounting.ledger.postgres_audit import PostgresAudit
from tests.integration.test_database_protection import CHANGES, Change, connected, enter, refused
from tests.support import new_name


@pytest_asyncio.fixture
async def service(service_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The service's own login, past all of our code."""
    async with connected(service_url) as connection:
        yield connection


@pytest_asyncio.fixture
async def audit(service_url: str) -> AsyncIterator[PostgresAudit]:
    """The audit log."""
    store = await PostgresAudit.open(service_url)
    yield store
    await store.close()


def record(tenant: str, outcome: str = "forbidden") -> AuditRecord:
    """Something that was refused."""
    return AuditRecord(Deed(tenant, "ann", "set_budget", "PUT /budget/t", outcome, 403), "request-1", 3)


@pytest_asyncio.fixture
async def tenant(audit: PostgresAudit) -> str:
    """A tenant with a row."""
    name = new_name("tenant")
    await audit.add([record(name)])
    return name


@pytest.mark.parametrize("change", CHANGES, ids=["update", "delete", "truncate"])
async def test_the_service_cannot_change_or_remove_a_row(
    service: asyncpg.Connection, tenant: str, change: Change
) -> None:
    """Not even one that it sees."""
    await enter(service, tenant)
    assert await service.fetchval("SELECT count(*) FROM prv_audit") == 1
    await refused(service.execute(change("prv_audit")))


@pytest.mark.parametrize("change", CHANGES, ids=["update", "delete", "truncate"])
@pytest.mark.usefixtures("tenant")
async def test_not_even_the_owner_changes_or_removes_a_row(admin_url: str, change: Change) -> None:
    """Triggers keep the table append-only even for the superuser."""
    async with connected(admin_url) as admin:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await admin.execute(change("prv_audit"))


async def test_a_row_is_seen_under_its_own_tenant_alone(service: asyncpg.Connection, tenant: str) -> None:
    """With no scope, or another's, there is none."""
    assert await service.fetchval("SELECT count(*) FROM prv_audit") == 0
    await enter(service, new_name("tenant"))
    assert await service.fetchval("SELECT count(*) FROM prv_audit") == 0


async def test_a_row_is_written_under_its_own_tenant_alone(service: asyncpg.Connection, tenant: str) -> None:
    """By plain SQL, past the function that the store uses."""
    await enter(service, new_name("tenant"))
    await refused(
        service.execute(
            "INSERT INTO prv_audit (tenant_id, action, outcome, status, count) VALUES ($1, 'a', 'b', 1, 1)", tenant
        )
    )


async def test_a_recorder_reads_all_rows_and_writes_none(audit: PostgresAudit, recorder_url: str, tenant: str) -> None:
    """Those of nobody too; the newest come first, page by page."""
    await audit.add([record("*", f"to {tenant}"), record(tenant, "not_found")])
    everybodys = await PostgresAudit.open(recorder_url)
    try:
        # Others may write at the same time.
        found = await everybodys.latest_of_all(limit=1_000)
        mine = [one for one in found if one.deed.tenant_id == tenant or one.deed.outcome == f"to {tenant}"]
        last, nobodys, first = mine
        assert [one.deed.outcome for one in mine] == ["not_found", f"to {tenant}", "forbidden"]
        assert await everybodys.latest_of_all(nobodys.id + 1, 1) == [nobodys]
        assert await audit.latest(tenant) == [last, first]
        assert await audit.latest(tenant, last.id, 1) == [first]
        assert (first.deed, first.request_id, first.count) == (record(tenant).deed, "request-1", 3)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await everybodys.add([record(tenant)])
    finally:
        await everybodys.close()
