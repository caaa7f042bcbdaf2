"""What every ledger store promises, in memory and in Postgres alike."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest

from accounting.charges import price
from accounting.events import GaussianEvent
from accounting.filters import standard_budget
from accounting.ledger.canonical import GENESIS_HASH
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.store import ConflictError, LedgerStore, StoreUnavailableError, Wanted
from accounting.storage.migrate import ensure_service_login
from tests.ledgers import asked, assert_chained, ended, loss, opened, opened_under, spent
from tests.support import new_name


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> LedgerStore:
    """A store that may hold other tests' tenants."""
    chosen: LedgerStore = MemoryLedgerStore() if request.param == "memory" else request.getfixturevalue("postgres")
    return chosen


@pytest.fixture
def tenant() -> str:
    """A tenant that nobody has used yet."""
    return new_name("tenant")


async def history_of(store: LedgerStore, tenant: str) -> list[Entry]:
    """All of a tenant's entries."""
    return await store.history(tenant)


async def test_what_was_appended_is_read_back_in_order_to_the_last_digit(store: LedgerStore, tenant: str) -> None:
    """Long decimals, several member filters, text beyond ASCII and hashes all come back unchanged."""
    first = opened_under(tenant, standard_budget(loss("10", "0.00001")))
    event = GaussianEvent(Decimal("5.123456789012345678"), Decimal("0.1"))
    request = replace(
        asked(tenant, "0.100000000000000000000000000001", "1e-30", engine="text", job="Grüße \U0001f600", ttl=9),
        event=event,
        loss=price(event, Decimal("1e-30")),
    )
    second = spent(first, request)
    await store.append([first, second])
    history = await history_of(store, tenant)
    assert [entry.body for entry in history] == [first.body, second.body]
    assert history[1] == second
    assert_chained(history)


async def test_a_tail_is_the_last_entry_and_the_entries_under_the_keys(store: LedgerStore, tenant: str) -> None:
    """Absent keys are left out, unknown tenants have no head, and asking for none gives none."""
    first = opened(tenant)
    second = spent(first, asked(tenant, "1", key="k"))
    third = spent(second, asked(tenant, "1", key="l"))
    other = opened(new_name("tenant"))
    await store.append([first, second, third, other])
    unknown = new_name("tenant")
    tails = await store.tails({tenant: Wanted({"k", "absent"}), unknown: Wanted({"k"}), other.tenant_id: Wanted()})
    assert tails.keys() == {tenant, unknown, other.tenant_id}
    assert tails[tenant].head == third
    assert tails[tenant].by_key == {"k": second}
    assert (tails[unknown].head, tails[unknown].by_key) == (None, {})
    head = tails[other.tenant_id].head
    assert head is not None
    assert head.hash == other.hash
    assert await store.tails({}) == {}


async def test_a_position_is_taken_once(store: LedgerStore, tenant: str) -> None:
    """The fence: of two owners that saw the same last entry, one writes and the other learns of it."""
    first = opened(tenant)
    await store.append([first])
    winner, loser = spent(first, asked(tenant, "1")), spent(first, asked(tenant, "2"))
    await store.append([winner])
    with pytest.raises(ConflictError):
        await store.append([loser])
    assert [entry.hash for entry in await history_of(store, tenant)] == [first.hash, winner.hash]


async def test_of_many_writers_at_once_one_wins(store: LedgerStore, tenant: str) -> None:
    """Of rivals for one position all but one get a conflict, and only one entry is added."""
    first = opened(tenant)
    await store.append([first])
    rivals = [spent(first, asked(tenant, "1")) for _ in range(6)]
    outcomes = await asyncio.gather(*(store.append([rival]) for rival in rivals), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError"] * 5 + ["NoneType"]
    assert len(await history_of(store, tenant)) == 2


async def test_writers_of_many_tenants_in_opposite_orders_do_not_lock_each_other(store: LedgerStore) -> None:
    """One of the two is written whole and the other gets a conflict, with no deadlock."""
    entries = [opened(new_name("tenant")) for _ in range(150)]
    outcomes = await asyncio.gather(store.append(entries), store.append(entries[::-1]), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError", "NoneType"]
    tails = await store.tails({entry.tenant_id: Wanted() for entry in entries})
    assert all(tail.head is not None and tail.head.seq == 1 for tail in tails.values())


@pytest.mark.parametrize("gap", [1, 5])
async def test_a_gap_is_refused(store: LedgerStore, tenant: str, gap: int) -> None:
    """Positions follow one another, and a tenant's first is 1, so a missing entry cannot go unnoticed."""
    first = opened(tenant)
    await store.append([first])
    late = replace(spent(first, asked(tenant, "1")), seq=2 + gap)
    with pytest.raises(ConflictError):
        await store.append([late])
    with pytest.raises(ConflictError):
        await store.append([replace(opened(new_name("tenant")), seq=2)])
    assert len(await history_of(store, tenant)) == 1


async def test_an_entry_that_does_not_follow_the_one_before_it_is_refused(store: LedgerStore, tenant: str) -> None:
    """The previous hash is checked against the ledger and within one append alike."""
    first = opened(tenant)
    await store.append([first])
    good = spent(first, asked(tenant, "1"))
    for wrong in (GENESIS_HASH, b"\x01" * 32, good.hash):
        with pytest.raises(ConflictError):
            await store.append([replace(good, prev_hash=wrong)])
    with pytest.raises(ConflictError):
        await store.append([replace(opened(new_name("tenant")), prev_hash=first.hash)])
    after_good = spent(good, asked(tenant, "1"))
    with pytest.raises(ConflictError):
        await store.append([good, replace(after_good, prev_hash=first.hash)])
    assert len(await history_of(store, tenant)) == 1


async def test_a_key_is_taken_once_within_its_tenant(store: LedgerStore, tenant: str) -> None:
    """A second use conflicts, in one append too, while other tenants may use the same key."""
    first = opened(tenant)
    second = spent(first, asked(tenant, "1", key="k"))
    await store.append([first, second])
    with pytest.raises(ConflictError):
        await store.append([spent(second, asked(tenant, "2", key="k"))])
    third = spent(second, asked(tenant, "1", key="l"))
    with pytest.raises(ConflictError):
        await store.append([third, spent(third, asked(tenant, "2", key="l"))])
    other = opened(new_name("tenant"))
    await store.append([other, spent(other, asked(other.tenant_id, "1", key="k"))])
    assert len(await history_of(store, tenant)) == 2


async def test_an_allocation_begins_and_ends_once(store: LedgerStore, tenant: str) -> None:
    """A second end or beginning conflicts, even in the very append that wrote the first."""
    first = opened(tenant)
    hold = spent(first, asked(tenant, "1", ttl=60))
    void = ended(hold, hold, EntryKind.VOIDED)
    await store.append([first, hold, void])
    for again in (EntryKind.COMMITTED, EntryKind.VOIDED):
        with pytest.raises(ConflictError):
            await store.append([ended(void, hold, again)])
    begun_again = replace(spent(void, asked(tenant, "1")), allocation_id=hold.allocation_id)
    with pytest.raises(ConflictError):
        await store.append([begun_again])
    fresh = spent(void, asked(tenant, "1", ttl=60))
    commit = ended(fresh, fresh, EntryKind.COMMITTED)
    with pytest.raises(ConflictError):
        await store.append([fresh, commit, ended(commit, fresh, EntryKind.VOIDED)])
    assert len(await history_of(store, tenant)) == 3


async def test_all_entries_are_written_or_none_across_tenants(store: LedgerStore, tenant: str) -> None:
    """One tenant's conflict leaves the other's ledger empty, whichever comes first."""
    other = new_name("tenant")
    await store.append([opened(other)])
    with pytest.raises(ConflictError):
        await store.append([opened(tenant), opened(other)])
    with pytest.raises(ConflictError):
        await store.append([opened(other), opened(tenant)])
    assert await history_of(store, tenant) == []
    await store.append([opened(tenant)])


async def test_an_allocation_is_read_with_its_end(store: LedgerStore, tenant: str) -> None:
    """Only its own two entries are returned, and nothing for other tenants or malformed ids."""
    first = opened(tenant)
    hold = spent(first, asked(tenant, "1", ttl=60))
    between = spent(hold, asked(tenant, "1"))
    void = ended(between, hold, EntryKind.VOIDED)
    await store.append([first, hold, between, void])
    assert hold.allocation_id is not None
    assert [entry.hash for entry in await store.allocation(tenant, hold.allocation_id)] == [hold.hash, void.hash]
    assert await store.allocation(new_name("tenant"), hold.allocation_id) == []
    for nothing in ("00000000-0000-8000-8000-000000000000", "no uuid", ""):
        assert await store.allocation(tenant, nothing) == []


async def test_a_job_is_read_oldest_first_up_to_the_limit(store: LedgerStore, tenant: str) -> None:
    """Only that tenant's entries of that job are returned, and the limit keeps the oldest."""
    history = [opened(tenant)]
    for number in range(6):
        history.append(spent(history[-1], asked(tenant, "0.1", job=f"job-{number % 2}")))
    await store.append(history)
    assert [entry.seq for entry in await store.job(tenant, "job-1")] == [3, 5, 7]
    assert [entry.seq for entry in await store.job(tenant, "job-0", 2)] == [2, 4]
    assert await store.job(tenant, "job-2") == []
    assert await store.job(new_name("tenant"), "job-1") == []


async def test_a_history_is_read_in_pages(store: LedgerStore, tenant: str) -> None:
    """Pages start after the given position, so they neither overlap nor leave anything out."""
    history = [opened(tenant)]
    for _ in range(6):
        history.append(spent(history[-1], asked(tenant, "0.1")))
    await store.append(history)
    assert [entry.seq for entry in await store.history(tenant, 0, 3)] == [1, 2, 3]
    assert [entry.seq for entry in await store.history(tenant, 3, 3)] == [4, 5, 6]
    assert [entry.seq for entry in await store.history(tenant, 6)] == [7]
    assert await store.history(tenant, 7) == []


async def test_the_clock_goes_forward(store: LedgerStore) -> None:
    """The store's time is in UTC and steps back by no more than a few milliseconds."""
    await store.tails({})
    before = store.now()
    assert before.utcoffset() == timedelta(0)
    await store.append([opened(new_name("tenant"))])
    assert store.now() >= before - timedelta(milliseconds=5)


# What Postgres keeps beside the ledger, and how it fails.


async def test_the_first_release_of_an_allocation_stays(postgres: PostgresLedgerStore, tenant: str) -> None:
    """Whoever comes second gets the first draw of noise, whatever it brings."""
    allocation = "00000000-0000-8000-8000-000000000001"
    assert await postgres.release(tenant, allocation) is None
    assert await postgres.store_release(tenant, allocation, b"first") == b"first"
    assert await postgres.store_release(tenant, allocation, b"second") == b"first"
    assert await postgres.release(tenant, allocation) == b"first"
    assert await postgres.release(new_name("tenant"), allocation) is None


async def test_a_plan_is_its_tenants_alone(postgres: PostgresLedgerStore, tenant: str) -> None:
    """Another tenant that knows a plan's id finds nothing under it."""
    plan = "00000000-0000-8000-8000-000000000002"
    await postgres.store_plan(tenant, plan, "{}")
    assert await postgres.plan(tenant, plan) == "{}"
    assert await postgres.plan(new_name("tenant"), plan) is None


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    """A store is made without one, so that a service can start and say so; each call is the store's own error."""
    store = await PostgresLedgerStore.open("postgresql://nobody@127.0.0.1:1/nothing")
    for call in (
        store.tails({"t": Wanted()}),
        store.append([opened("t")]),
        store.history("t"),
        store.release("t", "a"),
    ):
        with pytest.raises(StoreUnavailableError):
            await call
    with pytest.raises(StoreUnavailableError):
        store.now()
    await store.close()


async def test_a_store_knows_the_time_after_it_first_looked_for_anybody(service_url: str) -> None:
    """Even where it found nobody: whoever decides for a new tenant needs the database's time."""
    store = await PostgresLedgerStore.open(service_url)
    await store.tails({new_name("tenant"): Wanted()})
    assert abs(store.now() - datetime.now(UTC)) < timedelta(minutes=1)
    await store.close()


async def test_a_store_that_was_closed_is_unavailable(service_url: str) -> None:
    """Reads and writes alike fail with the store's own error instead of the driver's."""
    store = await PostgresLedgerStore.open(service_url)
    await store.close()
    for call in (store.tails({"t": Wanted()}), store.append([opened("t")]), store.history("t")):
        with pytest.raises(StoreUnavailableError):
            await call


async def test_connections_that_are_cut_are_unavailable_at_worst_and_replaced(admin_url: str) -> None:
    """Whatever statement is under way, BEGIN and COMMIT included: no other error gets out, and no entry gets lost."""
    login = new_name("cut").replace("-", "_")
    store = await PostgresLedgerStore.open(await ensure_service_login(admin_url, login, "secret1"))
    admin = await asyncpg.connect(admin_url)
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1"
    tenants = [new_name("tenant") for _ in range(10)]
    for tenant in tenants:
        reads = (store.history(tenant) for _ in range(4))
        calls = [store.append([opened(tenant)]), *reads, store.tails({tenant: Wanted()})]
        outcomes = await asyncio.gather(*calls, admin.fetchval(cut, login), return_exceptions=True)
        for outcome in outcomes:
            assert not isinstance(outcome, BaseException) or isinstance(outcome, StoreUnavailableError), outcome
        acknowledged = outcomes[0] is None
        while True:
            try:
                history = await store.history(tenant)
                break
            except StoreUnavailableError:
                continue
        assert not acknowledged or len(history) == 1
    await admin.close()
    await store.close()
