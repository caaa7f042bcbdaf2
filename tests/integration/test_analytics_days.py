"""Looking back over days that have passed: sums from the index, balances from the entries, one answer from both."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest_asyncio

from accounting.filters import basic_budget
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.postgres_analytics import PostgresAnalytics
from accounting.policy import SetBudget, decide_budget, renewal
from deployments.analytics.burn import Days, burn
from serve_app.routes.analytics import left_each_day
from tests.ledgers import asked, dataset_in, ended, loss, opened, registered, spent
from tests.support import new_name

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=1, microsecond=0)
NOW = TODAY + timedelta(seconds=1)
KEPT = """
INSERT INTO prv_ledger (tenant_id, seq, kind, allocation_id, job_id, idempotency_key, epsilon, delta, dataset_id,
                        partition, due_at, source_engine, body, prev_hash, hash, recorded_at)
SELECT j ->> 'tenant_id', (j ->> 'seq')::bigint, j ->> 'kind', (j ->> 'allocation_id')::uuid, j ->> 'job_id',
       j ->> 'idempotency_key', (j #>> '{charge,basic,epsilon}')::numeric, (j #>> '{charge,basic,delta}')::numeric,
       j #>> '{dataset,dataset_id}', j #>> '{dataset,partition}', (j ->> 'due_at')::timestamptz,
       coalesce(j ->> 'source_engine', ''), body, decode(j ->> 'prev_hash', 'hex'),
       sha256(convert_to(body, 'UTF8')), (j ->> 'at')::timestamptz
FROM (SELECT text AS body, text::jsonb AS j FROM unnest($1::text[]) AS text) AS entry
"""


def days_ago(count: int) -> datetime:
    """A moment of the day so many days before today."""
    return TODAY - timedelta(days=count)


def history(tenant: str) -> list[Entry]:
    """A week: a data set, charges on several days by two engines, and a hold that is voided two days later."""
    entries = [opened(tenant, "10", now=days_ago(5))]
    entries.append(registered(entries[-1], "cohort", basic_budget(loss("3")), now=days_ago(5)))
    first = asked(tenant, "1", engine="tabular", dataset="cohort")
    entries.append(spent(entries[-1], first, days_ago(4), dataset_in(entries)))
    entries.append(spent(entries[-1], asked(tenant, "2", engine="text", ttl=10**6), days_ago(3)))
    held = entries[-1]
    entries.append(spent(entries[-1], asked(tenant, "0.5", engine="text"), days_ago(3)))
    entries.append(ended(entries[-1], held, EntryKind.VOIDED, days_ago(1)))
    entries.append(spent(entries[-1], asked(tenant, "0.25"), TODAY))
    return entries


@pytest_asyncio.fixture
async def reader(service_url: str) -> AsyncIterator[PostgresAnalytics]:
    """With the service's own login."""
    found = await PostgresAnalytics.open(service_url)
    yield found
    await found.close()


async def keep(admin_url: str, entries: Sequence[Entry]) -> None:
    """Writes entries as if they had been written when they say, which only the owner of the tables can."""
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(KEPT, [entry.body for entry in entries])
    finally:
        await connection.close()


async def test_days_add_up_to_the_ledgers_own_sum(admin_url: str, reader: PostgresAnalytics) -> None:
    """A charge stands on its day, what was taken back on its own; the sum is the growth of the lifetime's sum."""
    tenant = new_name("tenant")
    entries = history(tenant)
    await keep(admin_url, entries)
    async with reader.of(tenant) as found:
        window = Days(NOW, 5, await found.known_since())
        burned = burn(await found.charged(window.since, window.now), window)
        left = await left_each_day(found, window)
    told = [share.epsilon for share in burned.daily]
    assert told == [Decimal(1), Decimal("2.5"), Decimal(0), Decimal(-2), Decimal("0.25")]
    assert burned.total.epsilon == entries[-1].lifetime.basic.epsilon - entries[1].lifetime.basic.epsilon
    engines = {engine: share.epsilon for engine, share in burned.by_engine}
    assert engines == {"tabular": Decimal(1), "text": Decimal("0.5"), None: Decimal("0.25")}
    assert [left[day] for day in window.dates] == [Decimal(one) for one in ("9", "6.5", "6.5", "8.5", "8.25")]


async def test_a_data_set_has_days_of_its_own(admin_url: str, reader: PostgresAnalytics) -> None:
    """Its charges alone, and what its own budget had left after each day that it was known."""
    tenant = new_name("tenant")
    await keep(admin_url, history(tenant))
    async with reader.of(tenant) as found:
        window = Days(NOW, 7, await found.known_since())
        burned = burn(await found.charged(window.since, window.now, "cohort"), window)
        left = await left_each_day(found, window, "cohort")
    assert burned.total.epsilon == Decimal(1)
    assert [left.get(day) for day in window.dates] == [None, *(Decimal(one) for one in (3, 2, 2, 2, 2, 2))]


async def test_a_renewal_that_was_due_is_counted_from_its_day(admin_url: str, reader: PostgresAnalytics) -> None:
    """A day after the window's end has the new window's budget, whether or not an entry says so yet."""
    tenant = new_name("tenant")
    first = opened_renewing(tenant)
    charged = spent(first, asked(tenant, "4"), days_ago(5))
    assert renewal(charged, days_ago(1)) is not None
    await keep(admin_url, [first, charged])
    async with reader.of(tenant) as found:
        window = Days(NOW, 5, await found.known_since())
        left = await left_each_day(found, window)
    assert [left[day] for day in window.dates] == [Decimal(one) for one in ("6", "10", "10", "10", "10")]


async def test_nobody_sees_another_tenants_rows(admin_url: str, reader: PostgresAnalytics) -> None:
    """The database itself shows one tenant's rows: asked for another's in its place, it has none."""
    theirs, ours = new_name("tenant"), new_name("tenant")
    await keep(admin_url, history(theirs))
    async with reader.of(ours) as found:
        found.tenant_id = theirs
        window = Days(NOW, 7, days_ago(6))
        assert await found.head() is None
        assert await found.charged(window.since, window.now) == []
        assert await found.operations(100, 100) == []
        assert await found.closings(window.ends) == {}
        assert await found.bodies(0, 100) == []


async def test_the_service_may_not_list_tenants(admin_url: str, reader: PostgresAnalytics, recorder_url: str) -> None:
    """With its login the list is empty; with the recorder's it has each tenant once, by name."""
    one, other = sorted((new_name("tenant"), new_name("tenant")))
    for tenant in (one, other):
        await keep(admin_url, history(tenant))
    assert await reader.tenants("", days_ago(6), 10) == []
    recorder = await PostgresAnalytics.open(recorder_url)
    try:
        found = await recorder.tenants(one[:-1], days_ago(2), 1000)
    finally:
        await recorder.close()
    told = {reading.head.tenant_id: reading for reading in found}
    assert list(told) == sorted(told)
    assert {one, other} <= told.keys()
    before = told[one].before
    assert before is not None
    assert before.seq == 5


def opened_renewing(tenant: str) -> Entry:
    """A budget of ten in windows of three days, created six days ago."""
    request = SetBudget(tenant, basic_budget(loss("10", "0.00001")), "admin", renewal_days=3)
    (entry,) = decide_budget(None, request, days_ago(6)).entries
    return entry
