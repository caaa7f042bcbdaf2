"""The owner of budgets: nothing acknowledged is lost, nothing is counted twice, no refusal is out of date."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.admission import ACCEPTED, Allocate, Outcome, Verdict
from accounting.filters import basic_budget
from accounting.ledger.entry import OPENING_KINDS, EntryKind
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.store import ConflictError, StoreUnavailableError
from accounting.policy import SetBudget, SetLegalHold
from accounting.settlement import Settle
from deployments.budget.owner import OverloadedError
from tests.ledgers import asked, loss
from tests.unit.owner_helpers import (
    DEFAULT,
    FailingStore,
    GatedStore,
    LateClock,
    SlowStore,
    assert_whole,
    insist,
    outcomes,
    owning,
)


async def test_two_owners_of_one_tenant_never_overspend_and_lose_nothing() -> None:
    """Racing owners admit exactly what the budget holds, and every admission is in the ledger."""
    store = SlowStore()
    async with owning(store) as one, owning(store, lanes=1) as other:
        requests = [asked("t", "0.1") for _ in range(150)]
        verdicts = await asyncio.gather(
            *(insist(lambda r=r, o=o: o.submit(r)) for r, o in zip(requests, [one, other] * 75, strict=True))  # type: ignore[misc]
        )
    assert outcomes(verdicts) == {Outcome.ADMITTED: 100, Outcome.BUDGET_EXHAUSTED: 50}
    history = await assert_whole(store, "t", verdicts)
    assert history[-1].spent.basic == loss("10")
    assert len(history) == 101


async def test_a_refusal_is_never_out_of_date() -> None:
    """One owner has seen the budget exhausted; another raises it; the first then admits."""
    store = SlowStore()
    async with owning(store) as stale, owning(store) as other:
        assert (await stale.submit(asked("t", "10"))).outcome is Outcome.ADMITTED
        assert (await stale.submit(asked("t", "1"))).outcome is Outcome.BUDGET_EXHAUSTED
        await other.submit(SetBudget("t", basic_budget(loss("20", "0.00001")), "admin"))
        assert (await stale.submit(asked("t", "1"))).outcome is Outcome.ADMITTED


async def test_a_refusal_for_a_voided_hold_is_not_out_of_date_either() -> None:
    """Budget that another owner gave back by a void is free at once, not refused from memory."""
    store = SlowStore()
    async with owning(store) as stale, owning(store) as other:
        hold = (await stale.submit(asked("t", "10", ttl=60))).answer
        assert hold is not None
        assert hold.allocation_id is not None
        await other.settle("t", hold.allocation_id, EntryKind.VOIDED, "engine")
        assert (await stale.submit(asked("t", "10"))).outcome is Outcome.ADMITTED


async def test_what_one_owner_reads_is_what_another_has_written() -> None:
    """A balance comes from the ledger, so it includes what was charged through other owners."""
    store = SlowStore()
    async with owning(store) as one, owning(store) as other:
        await one.submit(asked("t", "1"))
        await other.submit(asked("t", "2"))
        head = await one.balance("t", "viewer")
        assert head is not None
        assert head.spent.basic == loss("3")


async def test_a_caller_that_hangs_up_changes_nothing_and_stops_nobody() -> None:
    """A cancelled request is still decided and charged once, and later callers are served."""
    store = GatedStore()
    async with owning(store, lanes=1) as owner:
        store.shut()
        gone = asyncio.create_task(owner.submit(asked("t", "1", key="gone")))
        await store.waiting.wait()
        also_gone = asyncio.create_task(owner.submit(asked("t", "1", key="also gone")))
        await asyncio.sleep(0)
        for task in (gone, also_gone):
            task.cancel()
        await asyncio.gather(gone, also_gone, return_exceptions=True)
        store.gate.set()
        assert (await owner.submit(asked("t", "1"))).outcome is Outcome.ADMITTED
        # Decided all the same: whoever repeats the request is told so.
        assert (await owner.submit(asked("t", "1", key="gone"))).outcome is Outcome.REPLAYED
        assert (await owner.submit(asked("t", "1", key="also gone"))).outcome is Outcome.REPLAYED
    assert (await store.history("t"))[-1].spent.basic == loss("3")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_retry_after_an_unknown_outcome_is_counted_once(when: str) -> None:
    """Whether the failed write happened or not, the same key again leaves exactly one charge."""
    store = FailingStore((when, StoreUnavailableError("the line went dead")))
    async with owning(store) as owner:
        with pytest.raises(StoreUnavailableError):
            await owner.submit(asked("t", "1", key="k"))
        verdict = await owner.submit(asked("t", "1", key="k"))
        assert verdict.outcome is (Outcome.REPLAYED if when == "after" else Outcome.ADMITTED)
    history = await assert_whole(store, "t", [verdict])
    assert history[-1].spent.basic == loss("1")


async def test_a_conflict_while_writing_is_decided_again_without_the_callers_knowing() -> None:
    """Lost races are repeated inside the owner until all are admitted and written once."""
    store = FailingStore(("before", ConflictError("lost a race")), ("before", ConflictError("and another")))
    async with owning(store) as owner:
        verdicts = await asyncio.gather(*(owner.submit(asked(tenant, "1")) for tenant in ("t", "u", "t")))
    assert outcomes(verdicts) == {Outcome.ADMITTED: 3}
    await assert_whole(
        store, "t", [verdict for verdict in verdicts if verdict.answer and verdict.answer.tenant_id == "t"]
    )


async def test_a_ledger_that_never_agrees_is_overload_and_uncharged() -> None:
    """Retries after conflicts are bounded, and the budget is usable once they cease."""
    store = FailingStore(*[("before", ConflictError("again"))] * 100)
    async with owning(store) as owner:
        with pytest.raises(OverloadedError):
            await owner.submit(asked("t", "1"))
        assert store.attempts < 100
        store.faults.clear()
        assert (await owner.submit(asked("t", "1"))).outcome is Outcome.ADMITTED


async def test_a_bug_stops_one_batch_and_not_the_owner() -> None:
    """An unexpected error reaches its callers as unavailability, and the next request is admitted."""
    store = FailingStore(("before", RuntimeError("a bug")))
    async with owning(store) as owner:
        with pytest.raises(StoreUnavailableError):
            await owner.submit(asked("t", "1"))
        assert (await owner.submit(asked("t", "1"))).outcome is Outcome.ADMITTED


async def test_a_key_older_than_memory_is_replayed() -> None:
    """A key that memory forgot is found in the ledger, its answer the same and nothing charged again."""
    store = SlowStore()
    async with owning(store, keys_in_memory=1) as owner:
        first = await owner.submit(asked("t", "1", key="old"))
        for _ in range(3):
            await owner.submit(asked("t", "1"))
        again = await owner.submit(asked("t", "1", key="old"))
        other = await owner.submit(asked("t", "2", key="old"))
    assert (again.outcome, again.answer) == (Outcome.REPLAYED, first.answer)
    assert other.outcome is Outcome.KEY_REUSED
    assert (await store.history("t"))[-1].spent.basic == loss("4")


async def test_a_key_older_than_memory_is_replayed_though_the_budget_is_exhausted() -> None:
    """The refusal that memory alone would give is checked against the ledger, keys included."""
    store = SlowStore()
    async with owning(store, keys_in_memory=1) as owner:
        await owner.submit(asked("t", "9", key="old"))
        await owner.submit(asked("t", "1"))
        assert (await owner.submit(asked("t", "9", key="old"))).outcome is Outcome.REPLAYED
        assert (await owner.submit(asked("t", "9"))).outcome is Outcome.BUDGET_EXHAUSTED


async def test_a_refusal_leaves_its_key_free() -> None:
    """Only charges take a key, so a refused request may be repeated once there is budget."""
    store = SlowStore()
    async with owning(store) as owner:
        assert (await owner.submit(asked("t", "11", key="k"))).outcome is Outcome.BUDGET_EXHAUSTED
        await owner.submit(SetBudget("t", basic_budget(loss("20", "0.00001")), "admin"))
        assert (await owner.submit(asked("t", "11", key="k"))).outcome is Outcome.ADMITTED


async def test_one_key_many_times_in_one_batch_is_charged_once() -> None:
    """Repeats that wait together are replays of the first, and another request is key reuse."""
    store = GatedStore()
    async with owning(store, lanes=1) as owner:
        store.shut()
        first = owner.enqueue(asked("t", "0.5"))
        await store.waiting.wait()
        same = [owner.enqueue(asked("t", "1", key="k")) for _ in range(5)]
        other = owner.enqueue(asked("t", "2", key="k"))
        store.gate.set()
        verdicts = await asyncio.gather(first, *same, other)
    assert outcomes(verdicts) == {Outcome.ADMITTED: 2, Outcome.REPLAYED: 4, Outcome.KEY_REUSED: 1}
    assert (await store.history("t"))[-1].spent.basic == loss("1.5")


async def test_more_than_the_queue_holds_is_refused_uncharged() -> None:
    """Overload turns away the newcomer alone, and those already queued are charged as usual."""
    store = GatedStore()
    async with owning(store, lanes=1, queue_limit=2) as owner:
        store.shut()
        flying = owner.enqueue(asked("t", "1"))
        await store.waiting.wait()
        queued = [owner.enqueue(asked("t", "1")) for _ in range(2)]
        with pytest.raises(OverloadedError):
            await owner.submit(asked("t", "1"))
        store.gate.set()
        await asyncio.gather(flying, *queued)
        assert (await owner.submit(asked("t", "1"))).outcome is Outcome.ADMITTED
    assert (await store.history("t"))[-1].spent.basic == loss("4")


async def test_those_who_wait_when_the_owner_stops_are_told() -> None:
    """Nobody waits for ever: written or queued, each gets an error, and the ledger stays empty."""
    store = GatedStore()
    async with owning(store, lanes=1) as owner:
        store.shut()
        flying = owner.enqueue(asked("t", "1"))
        await store.waiting.wait()
        queued = owner.enqueue(asked("t", "1"))
    for answer in (flying, queued):
        with pytest.raises(StoreUnavailableError):
            await answer
    assert await store.history("t") == []


@pytest.mark.parametrize("owners", [1, 2])
async def test_of_a_commit_and_a_void_at_once_one_ends_the_allocation(owners: int) -> None:
    """One end is written, its repeats are replays, and the other kind is told that it came late."""
    store = SlowStore()
    async with owning(store) as one, owning(store) as other:
        hold = (await one.submit(asked("t", "1", ttl=60))).answer
        assert hold is not None
        identity = hold.allocation_id
        assert identity is not None
        second = other if owners == 2 else one
        kinds = [EntryKind.COMMITTED, EntryKind.VOIDED] * 3
        verdicts = await asyncio.gather(
            *((one, second)[n % 2].settle("t", identity, kind, "engine") for n, kind in enumerate(kinds))
        )
    assert outcomes(verdicts) == {Outcome.ADMITTED: 1, Outcome.REPLAYED: 2, Outcome.ALLOCATION_ENDED: 3}
    history = await assert_whole(store, "t", [])
    assert [entry.kind for entry in history[:2]] == [EntryKind.BUDGET_SET, EntryKind.HELD]
    assert len(history) == 3
    assert history[2].spent.basic == (loss("0") if history[2].kind is EntryKind.VOIDED else loss("1"))


async def test_requests_beside_a_lost_settlement_are_still_answered() -> None:
    """Two voids and a charge in one batch: the second void conflicts, the charge does not suffer for it."""
    store = GatedStore()
    async with owning(store, lanes=1) as owner:
        hold = (await owner.submit(asked("t", "1", ttl=60))).answer
        assert hold is not None
        assert hold.allocation_id is not None
        identity = hold.allocation_id
        store.shut()
        flying = owner.enqueue(asked("t", "2"))
        await store.waiting.wait()
        tasks = [
            asyncio.create_task(owner.settle("t", identity, EntryKind.VOIDED, "engine")),
            asyncio.create_task(owner.settle("t", identity, EntryKind.VOIDED, "engine")),
            asyncio.create_task(owner.submit(asked("t", "3"))),
        ]
        await asyncio.sleep(0)
        store.gate.set()
        verdicts = await asyncio.gather(flying, *tasks)
    assert outcomes(verdicts) == {Outcome.ADMITTED: 3, Outcome.REPLAYED: 1}
    assert (await store.history("t"))[-1].spent.basic == loss("5")


async def test_an_allocation_that_is_not_there_is_unknown() -> None:
    """Settling what was never allocated is an outcome of its own, not an error."""
    async with owning(MemoryLedgerStore()) as owner:
        verdict = await owner.settle("t", "nothing", EntryKind.VOIDED, "engine")
        assert verdict.outcome is Outcome.UNKNOWN_ALLOCATION


async def test_the_default_budget_is_opened_once_however_many_come_first() -> None:
    """First charges and a first read through two owners leave a single budget entry."""
    store = SlowStore()
    async with owning(store) as one, owning(store) as other:
        verdicts = await asyncio.gather(
            *((one, other)[n % 2].submit(asked("t", "0.1")) for n in range(20)), one.balance("t", "x"),
        )  # fmt: skip
    history = await assert_whole(store, "t", [verdict for verdict in verdicts if isinstance(verdict, Verdict)])
    assert [entry.kind for entry in history] == [EntryKind.BUDGET_SET] + [EntryKind.CONSUMED] * 20


async def test_without_a_default_budget_a_tenant_is_unknown_until_it_has_one() -> None:
    """A budget set through another owner is noticed although this one found none before."""
    store = SlowStore()
    async with owning(store, default_budget=None) as one, owning(store, default_budget=None) as other:
        assert (await one.submit(asked("t", "1"))).outcome is Outcome.UNKNOWN_TENANT
        assert await one.balance("t", "x") is None
        await other.submit(SetBudget("t", basic_budget(loss("5")), "admin"))
        assert (await one.submit(asked("t", "1"))).outcome is Outcome.ADMITTED


async def test_tenants_that_left_memory_are_read_again() -> None:
    """With more tenants than memory holds, each still spends up to its own budget and no more."""
    store = SlowStore()
    async with owning(store, tenants_in_memory=2, keys_in_memory=2) as owner:
        for _ in range(3):
            requests = [asked(f"t{n}", "4", key=None) for n in range(6)]
            await asyncio.gather(*(owner.submit(request) for request in requests))
    for n in range(6):
        history = await assert_whole(store, f"t{n}", [])
        assert history[-1].spent.basic == loss("8")


# Anything at once.

actions = st.tuples(
    st.integers(0, 2), st.sampled_from(["a", "b"]), st.integers(0, 12), st.decimals("0.5", 4, places=2), st.booleans()
)
faults = st.lists(st.sampled_from(["never", "before", "after", "conflict"]), max_size=10)


@settings(max_examples=40)
@given(st.lists(actions, min_size=1, max_size=30), faults)
def test_whatever_owners_callers_and_the_database_do_the_ledger_is_right(
    asking: list[tuple[int, str, int, Decimal, bool]], fates: list[str]
) -> None:
    """Three owners, two tenants, keys that come again, answers that get lost, callers that insist."""
    errors = {"conflict": ("before", ConflictError("lost"))}
    store = FailingStore(*(errors.get(fate, (fate, StoreUnavailableError("dead"))) for fate in fates))

    async def scenario() -> list[tuple[Allocate, Verdict]]:
        async with owning(store, keys_in_memory=2) as a, owning(store, lanes=1) as b, owning(store) as c:

            async def one(owner: int, tenant: str, key: int, epsilon: Decimal, hold: bool) -> tuple[Allocate, Verdict]:
                request = asked(tenant, epsilon, key=f"key-{key}", ttl=60 if hold else None)
                return request, await insist(lambda: (a, b, c)[owner].submit(request))

            return await asyncio.gather(*(one(*action) for action in asking))

    answered = asyncio.run(scenario())
    for tenant in ("a", "b"):
        own = [(request, verdict) for request, verdict in answered if request.tenant_id == tenant]
        history = asyncio.run(assert_whole(store, tenant, [verdict for _, verdict in own]))
        charged = {entry.idempotency_key: entry for entry in history if entry.kind in OPENING_KINDS}
        assert len(charged) == max(len(history) - 1, 0)
        for request, verdict in own:
            entry = charged.get(request.key)
            if verdict.outcome in ACCEPTED:
                assert entry == verdict.answer
                assert entry is not None
                assert entry.request_hash == request.request_hash
            elif verdict.outcome is Outcome.BUDGET_EXHAUSTED and entry is None and history:
                # It would not fit now either: no hold was given back in the meantime.
                head = history[-1]
                charge = head.budget.charge(request.event, request.loss)
                assert not head.budget.admits(head.spent.plus(charge))


# What memory knows, and what the ledger says.


async def test_a_window_that_is_seen_to_end_while_a_refusal_is_checked_begins_anew_first() -> None:
    """The second look at the ledger may be what first tells of the time: the refusal was of a window that is over."""
    store = LateClock()
    async with owning(store) as owner:
        await owner.submit(SetBudget("t", DEFAULT, "admin", renewal_days=1, renewal_stated=True))
        assert (await owner.submit(asked("t", "10"))).outcome is Outcome.ADMITTED
        store.shown = timedelta(days=2)
        verdict = await owner.submit(asked("t", "1"))
    assert verdict.outcome is Outcome.ADMITTED
    assert verdict.answer is not None
    assert verdict.answer.spent.basic == loss("1")


async def test_what_is_as_wished_already_is_asked_of_the_ledger() -> None:
    """Another owner has lifted the legal hold: to say that it is in force would be out of date."""
    store = SlowStore()

    def hold(in_force: bool) -> SetLegalHold:
        return SetLegalHold("t", in_force, "a lawsuit", "admin")

    async with owning(store) as stale, owning(store) as other:
        assert (await stale.submit(hold(True))).outcome is Outcome.ADMITTED
        assert (await other.submit(hold(False))).outcome is Outcome.ADMITTED
        assert (await stale.submit(hold(True))).outcome is Outcome.ADMITTED
        again = await stale.submit(hold(True))
        assert again.outcome is Outcome.REPLAYED
    history = await store.history("t")
    assert history[-1].legal_hold
    assert again.answer == history[-1]


async def test_a_refusal_overtaken_in_its_own_flush_is_decided_again() -> None:
    """What is refused when something is given back right after it, in the same write, fits after all."""
    store = MemoryLedgerStore()
    async with owning(store) as owner:
        held = (await owner.submit(asked("t", "10", ttl=60))).answer
        assert held is not None
        assert held.allocation_id is not None
        refused = owner.enqueue(asked("t", "1"))
        voided = owner.enqueue(Settle("t", held.allocation_id, EntryKind.VOIDED, "me", (held,)))
        assert (await voided).outcome is Outcome.ADMITTED
        assert (await refused).outcome is Outcome.ADMITTED
        assert await store.denials("t") == []


async def test_a_refusal_is_recorded_on_an_entry_on_which_it_is_right() -> None:
    """So that an auditor can repeat the decision: here what was admitted beside it came later in the same write."""
    store = MemoryLedgerStore()
    async with owning(store) as owner:
        await owner.submit(asked("t", "9"))
        refused, admitted = owner.enqueue(asked("t", "2")), owner.enqueue(asked("t", "1"))
        assert (await refused).outcome is Outcome.BUDGET_EXHAUSTED
        (denial,) = await store.denials("t")
        last = (await admitted).answer
        assert last is not None
        assert denial.seq == last.seq
