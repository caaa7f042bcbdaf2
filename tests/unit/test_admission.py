"""Admission is a privacy filter: whatever is asked, in whatever order, what is spent stays within the budget."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.admission import (
    ACCEPTED,
    Limits,
    Outcome,
    Shortage,
    Verdict,
    allocation_id_of,
    decide_allocation,
    tenant_scope,
)
from accounting.charges import Cost
from accounting.events import Event, FixedSizeGaussianEvent, GaussianEvent, PoissonGaussianEvent
from accounting.filters import (
    Budget,
    Charge,
    FilterKind,
    Share,
    basic_budget,
    budget,
    budget_for_claims,
    largest_claim,
    raised,
    standard_budget,
)
from accounting.ledger.canonical import GENESIS_HASH
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind, entry_from_body
from accounting.policy import SetBudget, decide_budget
from accounting.settlement import Settle, decide_settlement
from accounting.values import EXACT, ZERO, PrivacyLoss
from tests.ledgers import NOW, WIDE, asked, assert_chained, ended, loss, opened, opened_under, spent
from tests.strategies import events, loss_of

LIMITS = Limits(Decimal(2), {"healthcare": Decimal("0.5")})


def refused_for(verdict: Verdict) -> Outcome:
    """The outcome of a refusal, which writes nothing."""
    assert verdict.entries == ()
    return verdict.outcome


# Precedence, one test each.


def test_a_reused_key_is_told_before_anything_else() -> None:
    """Even where the charge fits neither the budget nor the limit."""
    first = spent(opened("t", "1"), asked("t", "1", key="k"))
    again = asked("t", "100", key="k", engine="healthcare")
    verdict = decide_allocation(first, first, again, LIMITS, NOW)
    assert refused_for(verdict) is Outcome.KEY_REUSED
    assert verdict.answer is first


def test_a_replay_is_answered_before_the_budget_is_looked_at() -> None:
    """A repeated key gets its first entry, though the budget and the limit would now refuse it."""
    request = asked("t", "1", key="k")
    first = spent(opened("t", "1"), request)
    verdict = decide_allocation(first, first, request, Limits(Decimal("0.1")), NOW)
    assert refused_for(verdict) is Outcome.REPLAYED
    assert verdict.answer is first


def test_an_exhausted_budget_is_told_before_the_operation_limit() -> None:
    """An engine's contract test asks an exhausted tenant for 10 and expects to hear of the budget."""
    head = spent(opened("t", "1"), asked("t", "1"))
    verdict = decide_allocation(head, None, asked("t", "10"), LIMITS, NOW)
    assert refused_for(verdict) is Outcome.BUDGET_EXHAUSTED
    assert verdict.shortage == Shortage(tenant_scope(head), head.budget, head.spent, Charge((Cost(Decimal(10)),)))


def test_a_charge_that_fits_the_budget_but_not_the_limit_is_refused() -> None:
    """The smallest excess over the limit of one operation is refused, and the limit told."""
    head = opened("t")
    verdict = decide_allocation(head, None, asked("t", "2.0000000001"), LIMITS, NOW)
    assert refused_for(verdict) is Outcome.OPERATION_LIMIT
    assert verdict.limit == 2
    assert decide_allocation(opened("t"), None, asked("t", "2"), LIMITS, NOW).outcome is Outcome.ADMITTED


NO_PRICE = PoissonGaussianEvent(Decimal("0.05"), Decimal(1), Decimal("0.1"))
"""Too little noise for the Renyi filter to price."""


def test_an_event_that_a_member_cannot_price_is_refused_before_the_budget_is_looked_at() -> None:
    """Though basic composition alone would admit it: every member must know what the history costs it."""
    head = opened_under("t", standard_budget(loss("10", "0.00001")))
    for epsilon in ("0.1", "100"):
        verdict = decide_allocation(head, None, replace(asked("t", epsilon), event=NO_PRICE), LIMITS, NOW)
        assert refused_for(verdict) is Outcome.UNPRICED
        assert "sigma" in verdict.reason
    under_basic = decide_allocation(opened("t"), None, replace(asked("t", "0.1"), event=NO_PRICE), LIMITS, NOW)
    assert under_basic.outcome is Outcome.ADMITTED


def test_an_event_on_which_two_accountants_disagree_is_refused() -> None:
    """Here dp-accounting loses all digits at the committed order."""
    shares = [Share(FilterKind.BASIC, ZERO), Share(FilterKind.RENYI, ZERO, Decimal("1e-6"), 64)]
    head = opened_under("t", budget(loss("1", "1e-6"), shares))
    event = FixedSizeGaussianEvent(Decimal(100), Decimal(1), 50, 100)
    verdict = decide_allocation(head, None, replace(asked("t", "0.1"), event=event), LIMITS, NOW)
    assert refused_for(verdict) is Outcome.UNPRICED
    assert "has a divergence of" in verdict.reason


def test_an_engine_has_its_own_smaller_limit() -> None:
    """An engine's own limit can tighten the general one but never loosen it."""
    head = opened("t")
    assert refused_for(decide_allocation(head, None, asked("t", "1", engine="healthcare"), LIMITS, NOW))
    assert decide_allocation(head, None, asked("t", "1", engine="text"), LIMITS, NOW).outcome is Outcome.ADMITTED
    assert Limits(Decimal("0.1"), {"text": Decimal(9)}).for_engine("text") == Decimal("0.1")


def test_a_charge_that_fits_is_admitted_with_the_balance_after_it() -> None:
    """The one new entry carries the request, the spent total and the hash of the head."""
    head, request = opened("t"), asked("t", "0.1", "0.000001", key="k", engine="text", job="j")
    verdict = decide_allocation(head, None, request, LIMITS, NOW)
    assert verdict.outcome is Outcome.ADMITTED
    (entry,) = verdict.entries
    assert verdict.answer is entry
    assert (entry.seq, entry.kind, entry.operations) == (2, EntryKind.CONSUMED, 1)
    assert (entry.spent.basic, entry.charge) == (loss("0.1", "0.000001"), entry.spent)
    assert (entry.budget, entry.event, entry.actor) == (head.budget, request.event, "engine")
    assert (entry.tenant_id, entry.period_start, entry.at) == ("t", head.period_start, NOW)
    assert entry.details == {"purpose": "a test"}
    assert entry.allocation_id == allocation_id_of("t", "k")
    assert entry.request_hash == request.request_hash
    assert (entry.job_id, entry.source_engine, entry.idempotency_key) == ("j", "text", "k")
    assert entry.prev_hash == head.hash


@pytest.mark.parametrize(("epsilon", "delta"), [("0.1000000000000000000001", "0"), ("0.05", "0.0000100000000001")])
def test_the_smallest_excess_of_either_part_is_refused(epsilon: str, delta: str) -> None:
    """Epsilon and delta are each held to the budget exactly, with no tolerance for rounding."""
    head = spent(opened("t", "1"), asked("t", "0.9"))
    verdict = decide_allocation(head, None, asked("t", epsilon, delta), LIMITS, NOW)
    assert refused_for(verdict) is Outcome.BUDGET_EXHAUSTED


def test_what_is_said_to_remain_can_be_spent_to_the_last_digit() -> None:
    """The stated rest is admitted whole, and refused with its last digit one higher."""
    head = spent(opened("t", "1"), asked("t", "0.123456789012345678901234567891"))
    rest = largest_claim(head.budget, head.spent)
    assert decide_allocation(head, None, asked("t", rest), LIMITS, NOW).outcome is Outcome.ADMITTED
    more = PrivacyLoss(EXACT.add(rest, Decimal("1e-30")), ZERO)
    request = replace(asked("t", rest), loss=more)
    assert refused_for(decide_allocation(head, None, request, LIMITS, NOW)) is Outcome.BUDGET_EXHAUSTED


def test_another_member_admits_what_basic_composition_no_longer_would() -> None:
    """And the entry says what each of them has counted."""
    head = opened_under("t", standard_budget(loss("1", "0.00001")))
    event = GaussianEvent(Decimal(200), Decimal(1))
    for _ in range(60):
        head = spent(head, replace(asked("t", "1"), event=event, loss=loss("0.02", "1e-8")))
    assert head.spent.basic.epsilon == Decimal("1.2")
    assert head.budget.admits(head.spent)
    assert head.spent.costs[1] == Cost(60 * Decimal(head.budget.members[1].order or 0) / 80000)
    claim = decide_allocation(head, None, asked("t", "0.9"), LIMITS, NOW)
    assert refused_for(claim) is Outcome.BUDGET_EXHAUSTED


def test_only_two_outcomes_are_a_yes() -> None:
    """Whoever asks whether the data may be touched asks this set."""
    assert {Outcome.ADMITTED, Outcome.REPLAYED} == ACCEPTED


# Budgets.


def asked_to_set(held: Budget, *, delta_stated: bool = True, filters_stated: bool = False) -> SetBudget:
    """A request for a budget."""
    return SetBudget("t", held, "admin", delta_stated, filters_stated)


def test_a_budget_is_created_raised_and_repeated_but_never_lowered() -> None:
    """Equal values are a replay, either part less is refused, and a raise keeps what was spent."""
    created = decide_budget(None, asked_to_set(basic_budget(loss("1", "0.1"))), NOW)
    assert created.outcome is Outcome.ADMITTED
    (head,) = created.entries
    assert created.answer is head
    assert (head.tenant_id, head.at, head.period_start, head.prev_hash) == ("t", NOW, NOW, GENESIS_HASH)
    assert (head.seq, head.kind, head.operations, head.actor) == (1, EntryKind.BUDGET_SET, 0, "admin")
    head = spent(head, asked("t", "0.5"))
    for same in (loss("1", "0.1"), loss("1.00", "0.10")):
        verdict = decide_budget(head, asked_to_set(basic_budget(same)), NOW)
        assert refused_for(verdict) is Outcome.REPLAYED
        assert verdict.answer is head
    for lower in (loss("0.9", "0.1"), loss("1", "0.09"), loss("2", "0.09"), loss("0.9", "0.2"), loss("2", "0")):
        verdict = decide_budget(head, asked_to_set(basic_budget(lower)), NOW)
        assert refused_for(verdict) is Outcome.BUDGET_LOWERED
        assert verdict.answer is head
    later = NOW + timedelta(days=1)
    verdict = decide_budget(head, asked_to_set(basic_budget(loss("2", "0.1"))), later)
    (after,) = verdict.entries
    assert verdict.answer is after
    assert (after.tenant_id, after.at) == ("t", later)
    assert (after.spent, after.operations, after.period_start) == (head.spent, 1, head.period_start)
    assert (after.seq, after.prev_hash, after.kind) == (3, head.hash, EntryKind.BUDGET_SET)
    assert (after.charge, after.event, after.actor) == (None, None, "admin")
    assert after.budget == basic_budget(loss("2", "0.1"))


@pytest.mark.parametrize(
    "held",
    [standard_budget(loss("1", "0.1")), budget_for_claims(Decimal(1), Decimal("0.1")), basic_budget(loss("1"))],
)
def test_any_budget_is_raised_in_its_own_members_and_refused_lower_ones(held: Budget) -> None:
    """Even ones so low that their members could not exist: that is a refusal, not a failure."""
    head = opened_under("t", held)
    higher = PrivacyLoss(held.promise.epsilon * 2, held.promise.delta)
    (after,) = decide_budget(head, asked_to_set(basic_budget(higher)), NOW).entries
    assert after.budget == raised(held, higher)
    assert [member.kind for member in after.budget.members] == [member.kind for member in held.members]
    for lower in (loss("0.000001", "0.2"), loss("0.5"), PrivacyLoss(Decimal("0.9"), held.promise.delta)):
        assert refused_for(decide_budget(head, asked_to_set(basic_budget(lower)), NOW)) is Outcome.BUDGET_LOWERED


def test_a_raise_that_would_lower_a_cap_in_its_last_digits_is_refused() -> None:
    """Doubles tell these two promises hardly apart, and the second one's Gaussian cap comes out a little lower."""
    shares = [Share(FilterKind.BASIC, ZERO), Share(FilterKind.GDP, ZERO, Decimal("0.00001"))]
    held = budget(loss("12.83528429579944508", "0.00001"), shares)
    wish = basic_budget(PrivacyLoss(EXACT.add(held.promise.epsilon, Decimal("1e-14")), held.promise.delta))
    assert not raised(held, wish.promise).covers(held)
    head = opened_under("t", held)
    verdict = decide_budget(head, asked_to_set(wish), NOW)
    assert refused_for(verdict) is Outcome.BUDGET_LOWERED
    assert verdict.answer is head


def test_a_delta_that_is_not_wished_for_stays() -> None:
    """Who raises epsilon alone does not lower delta by saying nothing of it."""
    head = opened_under("t", standard_budget(loss("1", "0.1")))
    wish = asked_to_set(standard_budget(loss("2")), delta_stated=False)
    (after,) = decide_budget(head, wish, NOW).entries
    assert after.budget == raised(head.budget, loss("2", "0.1"))
    assert refused_for(decide_budget(head, replace(wish, delta_stated=True), NOW)) is Outcome.BUDGET_LOWERED
    same = asked_to_set(standard_budget(loss("1", "0.2")), delta_stated=False)
    assert refused_for(decide_budget(head, same, NOW)) is Outcome.REPLAYED


def test_member_filters_cannot_be_changed() -> None:
    """A new one could not know what the history costs it; stating the ones there are is no change."""
    head = opened_under("t", standard_budget(loss("1", "0.1")))
    other = asked_to_set(basic_budget(loss("1", "0.1")), filters_stated=True)
    verdict = decide_budget(head, other, NOW)
    assert refused_for(verdict) is Outcome.FILTERS_CHANGED
    assert verdict.answer is head
    assert refused_for(decide_budget(head, replace(other, filters_stated=False), NOW)) is Outcome.REPLAYED
    same = asked_to_set(standard_budget(loss("1", "0.1")), filters_stated=True)
    assert refused_for(decide_budget(head, same, NOW)) is Outcome.REPLAYED
    lower = asked_to_set(basic_budget(loss("0.5", "0.1")), filters_stated=True)
    assert refused_for(decide_budget(head, lower, NOW)) is Outcome.BUDGET_LOWERED
    higher = asked_to_set(raised(head.budget, loss("2", "0.1")), filters_stated=True)
    assert decide_budget(head, higher, NOW).outcome is Outcome.ADMITTED


# Holds.


def hold_of(ttl: int = 60) -> tuple[Entry, Settle]:
    """A hold, and the request to void it."""
    hold = spent(opened("t"), asked("t", "1", "0.000001", ttl=ttl))
    assert hold.allocation_id is not None
    return hold, Settle("t", hold.allocation_id, EntryKind.VOIDED, "engine", (hold,))


def test_a_hold_counts_as_spent_at_once() -> None:
    """A reservation takes its whole charge from the budget before it is settled."""
    hold, _ = hold_of()
    assert hold.kind is EntryKind.HELD
    assert hold.spent.basic == loss("1", "0.000001")
    assert hold.details == {"purpose": "a test"}
    assert hold.due_at == hold.at + timedelta(seconds=60)


def test_a_void_gives_the_charge_back() -> None:
    """A voided hold leaves nothing spent and no operation counted, and its entry tells the charge."""
    hold, void = hold_of()
    hold, later = replace(hold, source_engine="text"), NOW + timedelta(seconds=1)
    verdict = decide_settlement(hold, replace(void, history=(hold,), actor="somebody"), later)
    (entry,) = verdict.entries
    assert verdict.answer is entry
    assert (entry.tenant_id, entry.at, entry.source_engine, entry.actor) == ("t", later, "text", "somebody")
    assert (entry.spent, entry.operations, entry.charge) == (hold.budget.nothing(), 0, hold.charge)
    assert (entry.kind, entry.seq, entry.prev_hash) == (EntryKind.VOIDED, 3, hold.hash)
    assert (entry.allocation_id, entry.job_id, entry.budget) == (hold.allocation_id, "job", hold.budget)
    assert (entry.idempotency_key, entry.event, entry.period_start) == (None, None, hold.period_start)


def test_a_commit_costs_nothing_more() -> None:
    """A committed hold leaves the spent total as the hold made it, and its entry charges nothing."""
    hold, void = hold_of()
    (entry,) = decide_settlement(hold, replace(void, kind=EntryKind.COMMITTED), NOW).entries
    assert (entry.spent, entry.operations, entry.charge) == (hold.spent, 1, None)


def test_a_hold_whose_time_has_run_out_is_spent_for_good() -> None:
    """Fail closed, from the very instant on; a commit then still says what is true."""
    hold, void = hold_of(ttl=60)
    late, just_in_time = NOW + timedelta(seconds=60), NOW + timedelta(seconds=60, microseconds=-1)
    verdict = decide_settlement(hold, void, late)
    assert refused_for(verdict) is Outcome.HOLD_EXPIRED
    assert verdict.answer is hold
    assert decide_settlement(hold, void, just_in_time).outcome is Outcome.ADMITTED
    commit = replace(void, kind=EntryKind.COMMITTED)
    assert decide_settlement(hold, commit, late).entries[0].spent == hold.spent


def test_a_hold_that_does_not_say_how_long_is_spent_for_good() -> None:
    """Fail closed: no such entry is written, but one that is read is not given back."""
    hold, void = hold_of()
    nameless = replace(hold, due_at=None)
    verdict = decide_settlement(nameless, replace(void, history=(nameless,)), NOW)
    assert refused_for(verdict) is Outcome.HOLD_EXPIRED


@pytest.mark.parametrize("first", [EntryKind.COMMITTED, EntryKind.VOIDED])
def test_an_allocation_ends_once(first: EntryKind) -> None:
    """The same end again is a replay and the other is refused, so nothing is given back twice."""
    hold, void = hold_of()
    end = ended(hold, hold, first)
    for kind in (EntryKind.COMMITTED, EntryKind.VOIDED):
        verdict = decide_settlement(end, replace(void, kind=kind, history=(hold, end)), NOW)
        assert refused_for(verdict) is (Outcome.REPLAYED if kind is first else Outcome.ALLOCATION_ENDED)
        assert verdict.answer is end


def test_what_was_consumed_can_be_confirmed_but_not_taken_back() -> None:
    """A commit of a direct charge changes nothing, and a void of it is refused."""
    entry = spent(opened("t"), asked("t", "1"))
    assert entry.allocation_id is not None
    commit = Settle("t", entry.allocation_id, EntryKind.COMMITTED, "engine", (entry,))
    void = replace(commit, kind=EntryKind.VOIDED)
    for request, outcome in ((commit, Outcome.REPLAYED), (void, Outcome.ALLOCATION_ENDED)):
        verdict = decide_settlement(entry, request, NOW)
        assert refused_for(verdict) is outcome
        assert verdict.answer is entry


def test_an_allocation_that_is_not_there_is_unknown() -> None:
    """An allocation without any history cannot be settled."""
    request = Settle("t", "nothing", EntryKind.COMMITTED, "engine", ())
    assert refused_for(decide_settlement(opened("t"), request, NOW)) is Outcome.UNKNOWN_ALLOCATION


def test_a_void_gives_back_what_each_member_counted() -> None:
    """After other charges between, and under a budget that was raised meanwhile."""
    first = opened_under("t", standard_budget(loss("1", "0.1")))
    hold = spent(first, asked("t", "0.5", "0.01", ttl=60))
    between = spent(hold, asked("t", "0.1"))
    wish = asked_to_set(standard_budget(loss("2", "0.1")), delta_stated=False)
    (higher,) = decide_budget(between, wish, NOW).entries
    void = ended(higher, hold, EntryKind.VOIDED)
    assert void.spent == spent(first, asked("t", "0.1")).spent
    assert (void.budget, void.operations) == (higher.budget, 1)


def test_an_allocations_id_follows_from_tenant_and_key_alone() -> None:
    """The same pair gives the same id, a change of either part another; a literal, since ledgers hold it."""
    assert allocation_id_of("t", "k") == allocation_id_of("t", "k") == "f31e38a4-251c-88e3-8c5d-3af84b76d674"
    assert len({allocation_id_of(tenant, key) for tenant in ("t", "u") for key in ("k", "l")}) == 4


@given(st.text(), st.text())
def test_an_allocations_id_is_the_hash_in_the_form_of_a_uuid(tenant: str, key: str) -> None:
    """Version 8 of RFC 9562, in lower case; all digits but those six bits are the hash's own."""
    told = allocation_id_of(tenant, key)
    digest = hashlib.sha256(f"{tenant}\x00{key}".encode()).digest()[:16]
    known = uuid.UUID(told)
    assert str(known) == told
    assert (known.version, known.variant) == (8, uuid.RFC_4122)
    mask = uuid.UUID("ffffffff-ffff-0fff-3fff-ffffffffffff").int
    assert known.int & mask == int.from_bytes(digest) & mask


# Laws over whole histories.


@dataclass(frozen=True)
class Step:
    """One thing that somebody does: spend, hold, end the n-th allocation, repeat the n-th key, raise the budget."""

    what: str
    epsilon: Decimal
    delta: Decimal
    index: int
    event: Event | None = None


steps = st.builds(
    Step,
    st.sampled_from(["spend", "spend", "hold", "commit", "void", "void late", "repeat", "raise"]),
    st.decimals("0.000001", 3, places=12),
    st.one_of(st.just(Decimal(0)), st.decimals(0, "0.00001", places=12)),
    st.integers(0, 20),
    st.one_of(st.none(), events),
)


def act(history: Sequence[Entry], step: Step) -> Verdict:
    """What the filter decides about a step after that history."""
    head = history[-1]
    openings = [entry for entry in history if entry.kind in OPENING_KINDS]
    chosen = openings[step.index % len(openings)] if openings else None
    if step.what == "raise":
        more = head.budget.promise.plus(PrivacyLoss(EXACT.subtract(step.epsilon, Decimal("0.5")), step.delta))
        return decide_budget(head, SetBudget("t", basic_budget(more), "admin"), NOW)
    if step.what in ("commit", "void", "void late"):
        kind = EntryKind.COMMITTED if step.what == "commit" else EntryKind.VOIDED
        identity = chosen.allocation_id if chosen and chosen.allocation_id else "nothing"
        own = tuple(entry for entry in history if entry.allocation_id == identity)
        now = NOW + timedelta(days=1) if step.what == "void late" else NOW
        return decide_settlement(head, Settle("t", identity, kind, "engine", own), now)
    key = chosen.idempotency_key if step.what == "repeat" and chosen else f"key-{len(history)}-{step.index}"
    earlier = next((entry for entry in history if entry.idempotency_key == key), None)
    request = asked("t", step.epsilon, step.delta, key=key, ttl=60 if step.what == "hold" else None)
    if step.event is not None:
        request = replace(request, event=step.event, loss=loss_of(step.event))
    return decide_allocation(head, earlier, request, Limits(Decimal("2.5")), NOW)


def owed(history: Sequence[Entry]) -> list[tuple[Fraction, Fraction]]:
    """What each member is owed, counted anew from the allocations alone: all but those that were voided."""
    voided = {entry.allocation_id for entry in history if entry.kind is EntryKind.VOIDED}
    charges = [
        entry.charge.costs
        for entry in history
        if entry.kind in OPENING_KINDS and entry.charge and entry.allocation_id not in voided
    ]
    return [
        (
            sum((Fraction(costs[at].amount) for costs in charges), Fraction(0)),
            sum((Fraction(costs[at].delta) for costs in charges), Fraction(0)),
        )
        for at in range(len(history[0].budget.members))
    ]


BUDGETS = [
    basic_budget(loss("5", "0.00002")),
    standard_budget(loss("5", "0.00002")),
    budget(
        loss("2", "0.2"),
        [Share(FilterKind.BASIC, ZERO), *(Share(k, Decimal("0.01"), Decimal("0.05")) for k in list(FilterKind)[1:])],
    ),
]


@given(st.sampled_from(BUDGETS), st.lists(steps, max_size=40))
def test_any_sequence_of_commands_stays_within_the_budget_at_every_step(held: Budget, commands: list[Step]) -> None:
    """Each entry's balance is exactly what is owed to every member, and a refusal adds no entry."""
    history = [opened_under("t", held)]
    for command in commands:
        before = history[-1]
        verdict = act(history, command)
        if verdict.outcome is not Outcome.ADMITTED:
            assert verdict.entries == ()
            continue
        (entry,) = verdict.entries
        history.append(entry)
        assert entry.budget.covers(before.budget)
        assert [(Fraction(cost.amount), Fraction(cost.delta)) for cost in entry.spent.costs] == owed(history)
        assert entry.operations == sum(
            {EntryKind.VOIDED: -1, EntryKind.CONSUMED: 1, EntryKind.HELD: 1}.get(e.kind, 0) for e in history
        )
        assert entry_from_body(entry.body).body == entry.body
    assert_chained(history)


@given(st.lists(st.decimals("0.000001", 3, places=20), max_size=12), st.randoms())
def test_charges_that_fit_together_fit_in_every_order(amounts: list[Decimal], chance: Random) -> None:
    """Charges whose sum is the budget are all admitted in any order, to the same balance."""
    head = opened("t", str(max(sum(amounts), Decimal(1))))
    shuffled = list(amounts)
    chance.shuffle(shuffled)
    balances = []
    for order in (amounts, shuffled):
        last = head
        for amount in order:
            last = spent(last, asked("t", amount))
        balances.append(last.spent)
    assert balances[0] == balances[1]


@given(st.decimals("0.001", 3, places=9), st.integers(1, 12), st.decimals("0.001", 3, places=9))
def test_splitting_a_charge_gains_nothing(whole: Decimal, parts: int, budget: Decimal) -> None:
    """The pieces of a charge are admitted one and all exactly where the whole is."""
    head = opened("t", str(budget))
    piece = (whole / parts).quantize(Decimal("1e-12"))
    rest = whole - piece * (parts - 1)
    at_once = decide_allocation(head, None, asked("t", whole), WIDE, NOW).outcome is Outcome.ADMITTED
    last, all_admitted = head, True
    for amount in [piece] * (parts - 1) + [rest]:
        verdict = decide_allocation(last, None, asked("t", amount), WIDE, NOW)
        all_admitted = all_admitted and verdict.outcome is Outcome.ADMITTED
        last = verdict.entries[-1] if verdict.entries else last
    assert all_admitted == at_once


@given(st.sampled_from(BUDGETS), events)
def test_an_entry_survives_its_own_body(held: Budget, event: Event) -> None:
    """What is read from the ledger is what was decided, to the last digit and microsecond."""
    request = replace(asked("t", "1", ttl=5, engine="image"), event=event, loss=loss_of(event))
    verdict = decide_allocation(opened_under("t", held), None, request, WIDE, NOW + timedelta(microseconds=123456))
    if verdict.outcome is Outcome.ADMITTED:
        (entry,) = verdict.entries
        assert entry_from_body(entry.body) == entry
        assert entry_from_body(entry.body).hash == entry.hash


def test_a_budget_is_written_under_the_names_of_its_members() -> None:
    """A literal, since ledgers hold these very bytes."""
    shares = [
        Share(FilterKind.BASIC, Decimal("0.1")),
        Share(FilterKind.RENYI, Decimal("0.05"), Decimal("0.1"), 5),
        Share(FilterKind.GDP, ZERO, Decimal("0.1")),
    ]
    entry = spent(opened_under("t", budget(loss("1", "0.5"), shares)), asked("t", "0.25", "0.05"))
    data = json.loads(entry.body)
    assert data["v"] == 3
    assert data["budget"] == {
        "promise": {"epsilon": "1", "delta": "0.5"},
        "basic": {"epsilon": "1", "delta": "0.1"},
        "renyi": {"renyi": "1.049856756174223", "delta": "0.05", "conversion_delta": "0.1", "order": 5},
        "gdp": {"mu_squared": "0.848082533900154", "delta": "0", "conversion_delta": "0.1"},
    }
    assert (
        data["charge"]
        == data["spent"]
        == {
            "basic": {"epsilon": "0.25", "delta": "0.05"},
            "renyi": {"renyi": "0.131066784772593", "delta": "0.05"},
            "gdp": {"mu_squared": "0.097956167115363", "delta": "0.05"},
        }
    )


VERSION_1 = (
    '{"actor":"admin","allocation_id":null,"at":"2026-11-21T04:37:00.000000Z",'
    '"budget":{"basic":{"delta":"0.00001","epsilon":"10"}},"charge":null,"details":{},"event":null,'
    '"idempotency_key":null,"job_id":null,"kind":"budget_set","operations":0,'
    '"period_start":"2026-11-21T04:37:00.000000Z",'
    f'"prev_hash":"{GENESIS_HASH.hex()}","request_hash":null,"seq":1,'
    '"source_engine":null,"spent":{"basic":{"delta":"0","epsilon":"0"}},"tenant_id":"t","v":1}'
)


def test_entries_of_the_first_version_are_still_read() -> None:
    """They knew basic composition alone, whose cap was the promise; their bytes stay, and charges go on after them."""
    head = entry_from_body(VERSION_1)
    assert head.body == VERSION_1
    assert (head.budget, head.spent) == (opened("t").budget, opened("t").spent)
    after = spent(head, asked("t", "10", "0.00001"))
    assert after.spent.basic == loss("10", "0.00001")
    assert json.loads(after.body)["v"] == 3
    assert_chained([head, after])


def test_an_entry_of_a_later_version_is_not_guessed_at() -> None:
    """A release that does not know its meaning must not spend on it."""
    with pytest.raises(ValueError, match="entry version 4 is not known"):
        entry_from_body(VERSION_1.replace('"v":1', '"v":4'))
