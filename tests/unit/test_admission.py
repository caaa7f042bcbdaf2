"""Admission is a privacy filter: whatever is asked, in whatever order, what is spent stays within the budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.admission import (
    Limits,
    Outcome,
    SetBudget,
    Settle,
    Verdict,
    allocation_id_of,
    decide_allocation,
    decide_budget,
    decide_settlement,
    largest_claim,
)
from accounting.charges import price
from accounting.events import ClaimEvent, GaussianEvent, LaplaceEvent
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind, entry_from_body
from accounting.values import EXACT, NO_LOSS, PrivacyLoss
from tests.ledgers import NOW, WIDE, asked, assert_chained, ended, loss, opened, spent

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
    assert refused_for(decide_allocation(first, first, again, LIMITS, NOW)) is Outcome.KEY_REUSED


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
    assert verdict.remaining == loss("0", "0.00001")


def test_a_charge_that_fits_the_budget_but_not_the_limit_is_refused() -> None:
    """The smallest excess over the limit of one operation is refused, and the limit told."""
    verdict = decide_allocation(opened("t"), None, asked("t", "2.0000000001"), LIMITS, NOW)
    assert refused_for(verdict) is Outcome.OPERATION_LIMIT
    assert verdict.limit == 2


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
    assert (entry.spent, entry.charge) == (loss("0.1", "0.000001"), loss("0.1", "0.000001"))
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
    rest = largest_claim(head)
    assert decide_allocation(head, None, asked("t", rest), LIMITS, NOW).outcome is Outcome.ADMITTED
    more = PrivacyLoss(EXACT.add(rest, Decimal("1e-30")), Decimal(0))
    request = replace(asked("t", rest), charge=more)
    assert refused_for(decide_allocation(head, None, request, LIMITS, NOW)) is Outcome.BUDGET_EXHAUSTED


# Budgets.


def test_a_budget_is_created_raised_and_repeated_but_never_lowered() -> None:
    """Equal values are a replay, either part less is refused, and a raise keeps what was spent."""
    head = opened("t", "1", "0.1")
    head = spent(head, asked("t", "0.5"))
    for same in (loss("1", "0.1"), loss("1.00", "0.10")):
        assert refused_for(decide_budget(head, SetBudget("t", same, "a"), NOW)) is Outcome.REPLAYED
    for lower in (loss("0.9", "0.1"), loss("1", "0.09"), loss("2", "0.09"), loss("0.9", "0.2")):
        assert refused_for(decide_budget(head, SetBudget("t", lower, "a"), NOW)) is Outcome.BUDGET_LOWERED
    raised = decide_budget(head, SetBudget("t", loss("2", "0.1"), "a"), NOW).entries[0]
    assert (raised.spent, raised.operations, raised.period_start) == (head.spent, 1, head.period_start)
    assert raised.remaining() == loss("1.5", "0.1")


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
    assert hold.spent == loss("1", "0.000001")


def test_a_void_gives_the_charge_back() -> None:
    """A voided hold leaves nothing spent and no operation counted, and its entry tells the charge."""
    hold, void = hold_of()
    (entry,) = decide_settlement(hold, void, NOW).entries
    assert (entry.spent, entry.operations, entry.charge) == (NO_LOSS, 0, hold.charge)


def test_a_commit_costs_nothing_more() -> None:
    """A committed hold leaves the spent total as the hold made it, and its entry charges nothing."""
    hold, void = hold_of()
    (entry,) = decide_settlement(hold, replace(void, kind=EntryKind.COMMITTED), NOW).entries
    assert (entry.spent, entry.operations, entry.charge) == (hold.spent, 1, NO_LOSS)


def test_a_hold_whose_time_has_run_out_is_spent_for_good() -> None:
    """Fail closed, from the very instant on; a commit then still says what is true."""
    hold, void = hold_of(ttl=60)
    late, just_in_time = NOW + timedelta(seconds=60), NOW + timedelta(seconds=60, microseconds=-1)
    assert refused_for(decide_settlement(hold, void, late)) is Outcome.HOLD_EXPIRED
    assert decide_settlement(hold, void, just_in_time).outcome is Outcome.ADMITTED
    commit = replace(void, kind=EntryKind.COMMITTED)
    assert decide_settlement(hold, commit, late).entries[0].spent == hold.spent


@pytest.mark.parametrize("first", [EntryKind.COMMITTED, EntryKind.VOIDED])
def test_an_allocation_ends_once(first: EntryKind) -> None:
    """The same end again is a replay and the other is refused, so nothing is given back twice."""
    hold, void = hold_of()
    end = ended(hold, hold, first)
    for kind in (EntryKind.COMMITTED, EntryKind.VOIDED):
        verdict = decide_settlement(end, replace(void, kind=kind, history=(hold, end)), NOW)
        assert refused_for(verdict) is (Outcome.REPLAYED if kind is first else Outcome.ALLOCATION_ENDED)


def test_what_was_consumed_can_be_confirmed_but_not_taken_back() -> None:
    """A commit of a direct charge changes nothing, and a void of it is refused."""
    entry = spent(opened("t"), asked("t", "1"))
    assert entry.allocation_id is not None
    commit = Settle("t", entry.allocation_id, EntryKind.COMMITTED, "engine", (entry,))
    assert refused_for(decide_settlement(entry, commit, NOW)) is Outcome.REPLAYED
    void = replace(commit, kind=EntryKind.VOIDED)
    assert refused_for(decide_settlement(entry, void, NOW)) is Outcome.ALLOCATION_ENDED


def test_an_allocation_that_is_not_there_is_unknown() -> None:
    """An allocation without any history cannot be settled."""
    request = Settle("t", "nothing", EntryKind.COMMITTED, "engine", ())
    assert refused_for(decide_settlement(opened("t"), request, NOW)) is Outcome.UNKNOWN_ALLOCATION


def test_an_allocations_id_follows_from_tenant_and_key_alone() -> None:
    """The same pair gives the same id, and a change of either part gives another."""
    assert allocation_id_of("t", "k") == allocation_id_of("t", "k")
    assert len({allocation_id_of(tenant, key) for tenant in ("t", "u") for key in ("k", "l")}) == 4


# Laws over whole histories.


@dataclass(frozen=True)
class Step:
    """One thing that somebody does: spend, hold, end the n-th allocation, repeat the n-th key, raise the budget."""

    what: str
    epsilon: Decimal
    delta: Decimal
    index: int


steps = st.builds(
    Step,
    st.sampled_from(["spend", "spend", "hold", "commit", "void", "void late", "repeat", "raise"]),
    st.decimals("0.000001", 3, places=12),
    st.one_of(st.just(Decimal(0)), st.decimals(0, "0.00001", places=12)),
    st.integers(0, 20),
)


def act(history: Sequence[Entry], step: Step) -> Verdict:
    """What the filter decides about a step after that history."""
    head = history[-1]
    openings = [entry for entry in history if entry.kind in OPENING_KINDS]
    chosen = openings[step.index % len(openings)] if openings else None
    if step.what == "raise":
        more = head.budget.plus(PrivacyLoss(step.epsilon - 1, step.delta))
        return decide_budget(head, SetBudget("t", more, "admin"), NOW)
    if step.what in ("commit", "void", "void late"):
        kind = EntryKind.COMMITTED if step.what == "commit" else EntryKind.VOIDED
        identity = chosen.allocation_id if chosen and chosen.allocation_id else "nothing"
        own = tuple(entry for entry in history if entry.allocation_id == identity)
        now = NOW + timedelta(days=1) if step.what == "void late" else NOW
        return decide_settlement(head, Settle("t", identity, kind, "engine", own), now)
    key = chosen.idempotency_key if step.what == "repeat" and chosen else f"key-{len(history)}-{step.index}"
    earlier = next((entry for entry in history if entry.idempotency_key == key), None)
    request = asked("t", step.epsilon, step.delta, key=key, ttl=60 if step.what == "hold" else None)
    return decide_allocation(head, earlier, request, Limits(Decimal("2.5")), NOW)


def owed(history: Sequence[Entry]) -> tuple[Fraction, Fraction]:
    """What is spent, counted anew from the allocations alone: all but those that were voided."""
    voided = {entry.allocation_id for entry in history if entry.kind is EntryKind.VOIDED}
    open_charges = [
        entry.charge
        for entry in history
        if entry.kind in OPENING_KINDS and entry.charge and entry.allocation_id not in voided
    ]
    return (
        sum((Fraction(charge.epsilon) for charge in open_charges), Fraction(0)),
        sum((Fraction(charge.delta) for charge in open_charges), Fraction(0)),
    )


@given(st.lists(steps, max_size=40))
def test_any_sequence_of_commands_stays_within_the_budget_at_every_step(commands: list[Step]) -> None:
    """Each entry's balance is exactly what is owed, and a refusal adds no entry."""
    history = [opened("t", "5", "0.00002")]
    for command in commands:
        before = history[-1]
        verdict = act(history, command)
        if verdict.outcome is not Outcome.ADMITTED:
            assert verdict.entries == ()
            continue
        (entry,) = verdict.entries
        history.append(entry)
        assert before.budget.within(entry.budget)
        assert (Fraction(entry.spent.epsilon), Fraction(entry.spent.delta)) == owed(history)
        assert entry.operations == sum(
            {EntryKind.VOIDED: -1, EntryKind.CONSUMED: 1, EntryKind.HELD: 1}.get(e.kind, 0) for e in history
        )
        assert entry_from_body(entry.body).body == entry.body
    assert_chained(history)


@given(st.lists(st.decimals("0.000001", 3, places=20), max_size=12), st.randoms())
def test_charges_that_fit_together_fit_in_every_order(amounts: list[Decimal], chance: object) -> None:
    """Charges whose sum is the budget are all admitted in any order, to the same balance."""
    head = opened("t", str(max(sum(amounts), Decimal(1))))
    shuffled = list(amounts)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
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


@pytest.mark.parametrize(
    "event",
    [
        ClaimEvent(Decimal("0.5"), Decimal("1e-7")),
        LaplaceEvent(Decimal(3), Decimal(1)),
        GaussianEvent(Decimal(5), Decimal("0.1")),
    ],
)
def test_an_entry_survives_its_own_body(event: ClaimEvent | LaplaceEvent | GaussianEvent) -> None:
    """What is read from the ledger is what was decided, to the last digit and microsecond."""
    delta = Decimal("1e-6") if isinstance(event, GaussianEvent) else Decimal(0)
    request = replace(asked("t", "1", ttl=5, engine="image"), event=event, charge=price(event, delta))
    entry = spent(opened("t"), request, NOW + timedelta(microseconds=123456))
    assert entry_from_body(entry.body) == entry
    assert entry_from_body(entry.body).hash == entry.hash
