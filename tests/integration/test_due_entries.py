"""What has fallen due, as Postgres finds it: everything that nothing has ended, a page at a time, by database time."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import astuple, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from accounting.filters import basic_budget
from accounting.ledger.due import Due
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.postgres_recorder import LATEST, SQL, PostgresRecorder
from accounting.policy import SetBudget, decide_budget, renewal
from accounting.storage.urls import DatabaseUrls
from tests.databases import new_database
from tests.ledgers import asked, ended, loss, opened, spent
from tests.support import new_name

PAST = timedelta(hours=1)


@dataclass
class Ledger:
    """A database of this test's own."""

    store: PostgresLedgerStore
    recorder: PostgresRecorder
    admin_url: str
    urls: DatabaseUrls

    def now(self) -> datetime:
        """Database time."""
        return self.store.now()

    async def hold(self, due_in: timedelta, end: EntryKind | None = None, tenant: str | None = None) -> Due:
        """A hold that is due then, ended if an end is named."""
        head = opened(tenant or new_name("tenant"), now=self.now())
        hold = spent(head, asked(head.tenant_id, "1", ttl=60), self.now())
        hold = replace(hold, due_at=self.now() + due_in)
        await self.store.append([head, hold])
        if end is not None:
            await self.store.append([ended(hold, hold, end, self.now())])
        return Due(head.tenant_id, hold.allocation_id)

    async def budget(self, ended_ago: timedelta, days: int = 1, tenant: str | None = None) -> Entry:
        """A renewing budget whose window has ended so long ago."""
        wish = SetBudget(
            tenant or new_name("tenant"), basic_budget(loss("10")), "admin", renewal_days=days, renewal_stated=True
        )
        (entry,) = decide_budget(None, wish, self.now() - timedelta(days=days) - ended_ago).entries
        await self.store.append([entry])
        return entry

    async def open(self, page: int = 100) -> list[Due]:
        """All that is due, page by page."""
        found: list[Due] = []
        mark = None
        while True:
            looked = await self.recorder.due(mark, page)
            found += looked.open
            mark = looked.last
            if mark is None:
                return found


@pytest_asyncio.fixture
async def ledger(admin_url: str) -> AsyncIterator[Ledger]:
    """A fresh ledger."""
    database = await new_database(admin_url)
    store = await PostgresLedgerStore.open(database.urls.service)
    # It knows the time from what it reads.
    await store.tails({})
    recorder = await PostgresRecorder.open(database.urls.recorder)
    yield Ledger(store, recorder, database.admin_url, database.urls)
    await recorder.close()
    await store.close()


async def test_a_hold_is_due_when_its_time_has_passed_and_nothing_has_ended_it(ledger: Ledger) -> None:
    """Whoever ended it, and however."""
    due = await ledger.hold(-PAST)
    await ledger.hold(PAST)
    for end in (EntryKind.COMMITTED, EntryKind.EXPIRED_SPENT):
        await ledger.hold(-PAST, end)
    assert await ledger.open() == [due]


async def test_nothing_due_tells_the_time_all_the_same(ledger: Ledger) -> None:
    """By the database's clock, not by the sweeper's."""
    page = await ledger.recorder.due(None, 10)
    assert (page.open, page.last) == ([], None)
    admin = await asyncpg.connect(ledger.admin_url)
    assert page.now <= await admin.fetchval("SELECT clock_timestamp()") < page.now + timedelta(minutes=1)
    await admin.close()


async def test_a_hold_falls_due_as_database_time_passes(ledger: Ledger) -> None:
    """Not before."""
    due = await ledger.hold(timedelta(seconds=0.5))
    assert await ledger.open() == []
    while not (found := await ledger.open()):
        await asyncio.sleep(0.01)
    assert found == [due]


async def test_a_window_is_due_until_another_one_begins(ledger: Ledger) -> None:
    """Or the budget is set anew, whose entry then is what falls due."""
    entry = await ledger.budget(PAST)
    assert await ledger.open() == [Due(entry.tenant_id, None)]
    raising = SetBudget(entry.tenant_id, basic_budget(loss("20")), "admin")
    (raised,) = decide_budget(entry, raising, entry.at).entries
    await ledger.store.append([raised])
    assert await ledger.open() == [Due(entry.tenant_id, None)]
    begun = renewal(raised, ledger.now())
    assert begun is not None
    await ledger.store.append([begun])
    assert await ledger.open() == []


async def test_a_lifetime_budget_is_never_due(ledger: Ledger) -> None:
    """Nor is one that no longer renews."""
    await ledger.store.append([opened(new_name("tenant"))])
    entry = await ledger.budget(PAST)
    wish = SetBudget(entry.tenant_id, entry.budget, "admin", renewal_stated=True)
    (lifetime,) = decide_budget(entry, wish, entry.at).entries
    assert lifetime.period_end is None
    await ledger.store.append([lifetime])
    assert await ledger.open() == []


@pytest.mark.parametrize("page", [1, 2, 3, 7, 100])
async def test_pages_leave_nothing_out_and_repeat_nothing(ledger: Ledger, page: int) -> None:
    """Whatever their size, and also where many fall due at one moment."""
    moment = timedelta(seconds=-100)
    holds = [await ledger.hold(moment) for _ in range(3)]
    holds += [await ledger.hold(timedelta(seconds=-number)) for number in range(1, 4)]
    await ledger.hold(moment, EntryKind.EXPIRED_SPENT)
    window = await ledger.budget(timedelta(seconds=100))
    found = await ledger.open(page)
    assert len(found) == len(set(found))
    assert set(found) == {*holds, Due(window.tenant_id, None)}
    assert found[:3] == holds[3:]


async def test_a_look_reads_a_page_and_no_more(ledger: Ledger) -> None:
    """The plan looks into an index for each entry of the page, whatever has ended before and however long ago."""
    admin = await asyncpg.connect(ledger.admin_url)
    await admin.execute("SET session_replication_role = replica")
    await admin.execute(
        """
        INSERT INTO prv_ledger (tenant_id, seq, kind, allocation_id, due_at, body, prev_hash, hash)
        SELECT 't' || i % 100, i / 100 * 2 + k, CASE k WHEN 1 THEN 'held' ELSE 'committed' END,
               ('00000000-0000-8000-8000-' || lpad(i::text, 12, '0'))::uuid,
               CASE k WHEN 1 THEN clock_timestamp() - interval '1 second' * i END, '{}', sha256('x'), sha256('{}')
        FROM generate_series(1, 20000) AS i, generate_series(1, 2) AS k
        """
    )
    await admin.execute("ANALYZE prv_ledger")
    await admin.close()
    far_back = (await ledger.recorder.due(None, 10_000)).last
    for mark in (LATEST, far_back):
        assert mark is not None
        async with ledger.recorder._pool.acquire() as connection:
            explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + SQL["due"]
            (plan,) = json.loads(await connection.fetchval(explain, *astuple(mark), 50))
        assert _rows_met(plan["Plan"]) <= 2 * 50, plan


def _rows_met(node: dict[str, Any]) -> float:
    """The most rows that any part of a plan met, whether it kept them or not."""
    each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    own: float = each * node["Actual Loops"]
    return max([own, *(_rows_met(part) for part in node.get("Plans", ()))])


async def test_the_service_may_not_look_at_all_tenants_entries(ledger: Ledger) -> None:
    """What is due is the recorder's business: with the service's login nothing is found."""
    due = await ledger.hold(-PAST)
    assert await ledger.open() == [due]
    while await ledger.recorder.sequence():
        pass
    assert len(await ledger.recorder.read_of(due.tenant_id, 0)) == 2
    outsider = await PostgresRecorder.open(ledger.urls.service)
    assert (await outsider.due(None, 10)).open == []
    assert await outsider.read_of(due.tenant_id, 0) == []
    await outsider.close()


async def test_one_tenants_part_of_the_log_is_read_alone(ledger: Ledger) -> None:
    """At the positions of the whole log, from any of them on, a page at a time."""
    tenants = [(await ledger.hold(PAST)).tenant_id for _ in range(3)]
    while await ledger.recorder.sequence():
        pass
    whole = await ledger.recorder.read(0)
    for tenant in tenants:
        own = [item for item in whole if item.entry.tenant_id == tenant]
        for start in range(len(whole) + 1):
            wanted = [item for item in own if item.position >= start]
            assert await ledger.recorder.read_of(tenant, start) == wanted
            assert await ledger.recorder.read_of(tenant, start, 1) == wanted[:1]
