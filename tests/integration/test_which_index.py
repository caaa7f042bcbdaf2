"""Which indexes the planner may choose: an append reads one entry, a sum reads no entry, however long the history."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from accounting.ledger.entry import Entry
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.storage.queries import queries
from tests.ledgers import asked, opened, spent
from tests.support import new_name

LAST = "SELECT body FROM prv_ledger WHERE tenant_id = $1 ORDER BY seq DESC LIMIT 1"
BEFORE = "SELECT hash FROM prv_ledger WHERE tenant_id = $1 AND seq = $2 - 1"
BEGINNING, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@pytest_asyncio.fixture
async def admin(admin_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the tables, in a transaction that is taken back. It reads whole tables only where it has to."""
    connection = await asyncpg.connect(admin_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SET LOCAL enable_seqscan = off")
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest_asyncio.fixture
async def entries(postgres: PostgresLedgerStore) -> list[Entry]:
    """A tenant's history."""
    first = opened(new_name("tenant"))
    history = [first, spent(first, asked(first.tenant_id, "1"))]
    await postgres.append(history)
    return history


async def _scans(connection: asyncpg.Connection, query: str, *arguments: object) -> list[dict[str, Any]]:
    """The parts of a plan that read something."""
    (plan,) = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments))
    found, left = [], [plan["Plan"]]
    while left:
        node = left.pop()
        left.extend(node.get("Plans", ()))
        if "Scan" in node["Node Type"]:
            found.append(node)
    return found


@pytest.mark.parametrize(("query", "of"), [(LAST, 1), (BEFORE, 2)], ids=["the last entry", "the entry before"])
async def test_an_entry_is_found_by_its_position_through_the_fence_alone(
    admin: asyncpg.Connection, entries: list[Entry], query: str, of: int
) -> None:
    """Statistics may be old or wrong: without the fence no index is left that the planner could take for it.

    But that of the log's order, which begins with the transaction: to skip through all of them is always dearer.
    """
    arguments = (entries[0].tenant_id, 2)[:of]
    assert [scan.get("Index Name") for scan in await _scans(admin, query, *arguments)] == ["prv_ledger_fence"]
    await admin.execute("ALTER TABLE prv_ledger DROP CONSTRAINT prv_ledger_fence")
    await admin.execute("DROP INDEX prv_ledger_order")
    assert not [scan for scan in await _scans(admin, query, *arguments) if "Index Cond" in scan]


async def test_sums_are_read_from_their_index_alone(admin: asyncpg.Connection, entries: list[Entry]) -> None:
    """No entry itself is read, which would take seconds where there are a million."""
    charged = queries("analytics")["charged"]
    (scan,) = await _scans(admin, charged, entries[0].tenant_id, BEGINNING, END, None)
    assert (scan["Index Name"], scan["Node Type"]) == ("prv_ledger_charged", "Index Only Scan")
