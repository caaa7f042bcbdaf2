"""Windows of renewing budgets: what each holds, what the lifetime keeps, and what administrators may change."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.admission import Outcome, decide_allocation, tenant_scope
from accounting.charges import Cost
from accounting.filters import Charge, basic_budget
from accounting.ledger.entry import Entry, EntryKind, entry_from_body
from accounting.policy import (
    THE_SERVICE,
    SetBudget,
    SetLegalHold,
    decide_budget,
    decide_legal_hold,
    renewal,
)
from tests.ledgers import NOW, WIDE, asked, ended, loss, opened, spent

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)


def wished(days: int | None, *, epsilon: str = "10", stated: bool = True) -> SetBudget:
    """A request for a budget with windows of that many days, or without any."""
    held = basic_budget(loss(epsilon))
    return SetBudget("t", held, "admin", delta_stated=False, renewal_days=days, renewal_stated=stated)


def renewing(days: int = 1, now: datetime = NOW) -> Entry:
    """The first entry of a budget that renews."""
    (entry,) = decide_budget(None, wished(days), now).entries
    return entry


def set_to(head: Entry, days: int | None, now: datetime = NOW, epsilon: str = "10") -> Entry:
    """The entry that changes the windows."""
    (entry,) = decide_budget(head, wished(days, epsilon=epsilon), now).entries
    return entry


def renewed(head: Entry, now: datetime) -> Entry:
    """The entry that begins the window that `now` is in."""
    entry = renewal(head, now)
    assert entry is not None
    return entry


def epsilons(entry: Entry) -> tuple[Any, Any, Any]:
    """Spent in the window, held of that, and over the lifetime."""
    return entry.spent.basic.epsilon, entry.held.basic.epsilon, entry.lifetime.basic.epsilon


# Boundaries.


def test_a_lifetime_budget_never_renews() -> None:
    """However much time passes."""
    head = spent(opened("t"), asked("t", "1"))
    assert (head.period_end, renewal(head, NOW + 10_000 * DAY)) == (None, None)
    assert tenant_scope(head) == "tenant lifetime"


def test_a_window_ends_at_its_very_end() -> None:
    """A microsecond earlier it lasts; at the moment itself the next one begins, where this one ended."""
    head = spent(renewing(7), asked("t", "1"))
    end = NOW + 7 * DAY
    assert head.period_end == end
    assert renewal(head, end - MICROSECOND) is None
    after = renewed(head, end)
    assert (after.kind, after.seq, after.prev_hash, after.actor) == (EntryKind.RENEWED, 3, head.hash, THE_SERVICE)
    assert (after.period_start, after.period_end, after.due_at) == (end, end + 7 * DAY, end + 7 * DAY)
    assert (after.at, after.renewal_days, after.budget) == (end, 7, head.budget)
    assert epsilons(after) == (0, 0, 1)
    assert (after.operations, after.charge, after.event, after.allocation_id) == (1, None, None, None)
    assert tenant_scope(after) == "tenant window"
    assert renewal(after, end) is None


@given(st.integers(1, 40), st.integers(0, 10**14))
def test_the_present_window_begins_a_whole_number_of_windows_after_the_first(days: int, microseconds: int) -> None:
    """However many were skipped, by one entry; and the moment is inside it."""
    first = renewing(days)
    now = NOW + timedelta(microseconds=microseconds)
    entry = renewal(first, now)
    window = entry or first
    assert window.period_end is not None
    assert window.period_start <= now < window.period_end
    assert (window.period_start - NOW) % (days * DAY) == timedelta(0)
    assert (entry is None) == (now < NOW + days * DAY)
    assert renewal(window, now) is None


def test_a_new_window_holds_the_whole_budget_again() -> None:
    """And not a digit more."""
    head = renewed(spent(renewing(), asked("t", "10")), NOW + DAY)
    refused = decide_allocation(head, None, asked("t", "10.0000001"), WIDE, NOW + DAY)
    assert refused.shortage is not None
    assert (refused.outcome, refused.shortage.scope) == (Outcome.BUDGET_EXHAUSTED, "tenant window")
    again = spent(head, asked("t", "10"), NOW + DAY)
    assert epsilons(again) == (10, 0, 20)
    assert decide_allocation(again, None, asked("t", "0.1"), WIDE, NOW + DAY).outcome is Outcome.BUDGET_EXHAUSTED


def test_an_exhaustion_is_told_again_in_each_window() -> None:
    """Once for each crossing."""
    head = spent(renewing(), asked("t", "9.5"))
    assert head.crossed == ("tenant window",)
    assert spent(head, asked("t", "0.1")).crossed == ()
    after = spent(renewed(head, NOW + DAY), asked("t", "9.5"), NOW + DAY)
    assert after.crossed == ("tenant window",)


# Holds across a boundary.


@pytest.mark.parametrize("windows", [1, 3])
@pytest.mark.parametrize("end", [EntryKind.COMMITTED, EntryKind.VOIDED, EntryKind.EXPIRED_SPENT])
def test_a_hold_that_is_open_across_a_boundary_counts_in_both_windows(windows: int, end: EntryKind) -> None:
    """And in those between; its end moves each sum once."""
    head = spent(renewing(), asked("t", "1"))
    hold = spent(head, asked("t", "2", ttl=10 * 86_400))
    assert epsilons(hold) == (3, 2, 3)
    now, after = NOW, hold
    for _ in range(windows):
        now += DAY
        after = renewed(after, now)
        assert epsilons(after) == (2, 2, 3)
    at = NOW + 11 * DAY if end is EntryKind.EXPIRED_SPENT else now
    settled = ended(after, hold, end, at)
    gone = end is EntryKind.VOIDED
    assert epsilons(settled) == (0 if gone else 2, 0, 1 if gone else 3)
    later = renewed(settled, NOW + 12 * DAY)
    assert epsilons(later) == (0, 0, 1 if gone else 3)


def test_an_open_hold_leaves_less_of_the_next_window() -> None:
    """Nobody spends twice what was reserved once."""
    head = renewed(spent(renewing(), asked("t", "4", ttl=10 * 86_400)), NOW + DAY)
    assert decide_allocation(head, None, asked("t", "6.1"), WIDE, NOW + DAY).outcome is Outcome.BUDGET_EXHAUSTED
    assert decide_allocation(head, None, asked("t", "6"), WIDE, NOW + DAY).outcome is Outcome.ADMITTED


def test_holds_of_a_ledger_that_did_not_count_them_are_all_that_was_spent() -> None:
    """Versions 1 and 2 had no such sum: what they spent may be held still, so it counts in the next windows too."""
    head = replace(spent(opened("t"), asked("t", "3", ttl=60)), version=2)
    old = entry_from_body(head.body)
    assert old.held == old.spent == old.lifetime
    after = renewed(set_to(old, 1), NOW + DAY)
    assert epsilons(after) == (3, 3, 3)


# The lifetime.

steps = st.lists(
    st.tuples(
        st.sampled_from(["spend", "hold", "pass", "lifetime", "daily", "weekly", "raise"]),
        st.decimals("0.1", 4, places=3),
        st.integers(1, 200),
    ),
    max_size=15,
)


@given(steps)
def test_the_lifetime_is_the_sum_of_all_charges_and_never_falls_with_time(
    commands: list[tuple[str, Decimal, int]],
) -> None:
    """Whatever windows come and go. What is held is part of the window, and the window of the lifetime."""
    head, now, charged = opened("t", "10", "0"), NOW, Decimal(0)
    for what, amount, hours in commands:
        now += timedelta(hours=hours) if what == "pass" else MICROSECOND
        before = head
        head = renewal(head, now) or head
        if what in ("spend", "hold"):
            request = asked("t", amount, ttl=100 * 86_400 if what == "hold" else None)
            verdict = decide_allocation(head, None, request, WIDE, now)
            charged += amount if verdict.entries else 0
        elif what == "raise":
            verdict = decide_budget(head, wished(None, epsilon=str(head.budget.promise.epsilon + 1), stated=False), now)
        elif what != "pass":
            days = {"lifetime": None, "daily": 1, "weekly": 7}[what]
            verdict = decide_budget(head, wished(days, epsilon=str(head.budget.promise.epsilon)), now)
        head = head if what == "pass" or not verdict.entries else verdict.entries[-1]
        window, held, lifetime = epsilons(head)
        assert lifetime == charged >= before.lifetime.basic.epsilon
        assert held <= window <= lifetime
        assert (head.renewal_days is not None) or window == lifetime
        reread = entry_from_body(head.body)
        assert (epsilons(reread), reread.body) == (epsilons(head), head.body)


def test_a_lifetime_budget_that_begins_to_renew_keeps_what_it_spent_in_its_first_window() -> None:
    """The window begins with the change, not with the budget."""
    head = spent(opened("t"), asked("t", "4"))
    later = NOW + 100 * DAY
    after = set_to(head, 30, later)
    assert epsilons(after) == (4, 0, 4)
    assert (after.period_start, after.period_end, after.due_at) == (later, later + 30 * DAY, later + 30 * DAY)
    assert epsilons(renewed(after, later + 30 * DAY)) == (0, 0, 4)


def test_a_budget_that_no_longer_renews_counts_all_that_was_ever_spent() -> None:
    """Which may leave nothing, or less than nothing: then only a raise helps."""
    head = renewing()
    for day in range(1, 4):
        head = renewed(spent(head, asked("t", "5"), head.at), NOW + day * DAY)
    after = set_to(head, None, NOW + 3 * DAY)
    assert epsilons(after) == (15, 0, 15)
    assert (after.renewal_days, after.due_at) == (None, None)
    assert decide_allocation(after, None, asked("t", "0.1"), WIDE, NOW).outcome is Outcome.BUDGET_EXHAUSTED
    raised = set_to(after, None, NOW + 3 * DAY, epsilon="16")
    assert decide_allocation(raised, None, asked("t", "1"), WIDE, NOW).outcome is Outcome.ADMITTED


def test_turning_windows_off_and_on_again_frees_nothing() -> None:
    """The first window of a budget that renews again counts its whole past."""
    head = renewed(spent(renewing(), asked("t", "5")), NOW + DAY)
    off = set_to(head, None, NOW + DAY)
    on = set_to(off, 1, NOW + DAY)
    assert epsilons(on) == (5, 0, 5)


def test_a_window_that_is_changed_keeps_its_beginning() -> None:
    """A shorter one may be over at once; what was spent in it stays spent until then."""
    head = spent(renewing(30), asked("t", "5"))
    longer, shorter = set_to(head, 60, NOW + 10 * DAY), set_to(head, 7, NOW + 10 * DAY)
    for entry, days in ((longer, 60), (shorter, 7)):
        assert (entry.period_start, entry.period_end) == (NOW, NOW + days * DAY)
        assert entry.due_at == entry.period_end
        assert epsilons(entry) == (5, 0, 5)
    assert renewal(longer, NOW + 10 * DAY) is None
    assert renewed(shorter, NOW + 10 * DAY).period_start == NOW + 7 * DAY


def test_windows_that_nobody_speaks_of_stay() -> None:
    """And stating the same ones is a replay."""
    head = renewing(7)
    raised = decide_budget(head, wished(None, epsilon="11", stated=False), NOW)
    assert raised.entries[-1].renewal_days == 7
    assert decide_budget(head, wished(7), NOW).outcome is Outcome.REPLAYED
    assert decide_budget(head, wished(None, stated=False), NOW).outcome is Outcome.REPLAYED
    lower = decide_budget(head, wished(1, epsilon="9"), NOW)
    assert (lower.outcome, lower.present) == (Outcome.BUDGET_LOWERED, head.budget)


# Legal holds.


def test_a_legal_hold_is_kept_by_every_entry_until_it_is_lifted() -> None:
    """Whatever happens meanwhile; placing it twice is a replay."""

    def asked_for(in_force: bool) -> SetLegalHold:
        return SetLegalHold("t", in_force, "a lawsuit", "admin")

    head = spent(renewing(), asked("t", "1", ttl=60))
    assert decide_legal_hold(head, asked_for(False), NOW).outcome is Outcome.REPLAYED
    (locked,) = decide_legal_hold(head, asked_for(True), NOW).entries
    assert (locked.kind, locked.details, locked.actor) == (
        EntryKind.RETENTION_LOCKED,
        {"reason": "a lawsuit"},
        "admin",
    )
    assert epsilons(locked) == epsilons(head)
    assert decide_legal_hold(locked, asked_for(True), NOW).outcome is Outcome.REPLAYED
    charged = spent(locked, asked("t", "1"))
    void = ended(charged, head, EntryKind.VOIDED)
    window = renewed(void, NOW + DAY)
    raised = set_to(window, 1, NOW + DAY, epsilon="11")
    assert all(entry.legal_hold for entry in (locked, charged, void, window, raised))
    (lifted,) = decide_legal_hold(raised, asked_for(False), NOW).entries
    assert (lifted.kind, lifted.legal_hold) == (EntryKind.RETENTION_RELEASED, False)


def test_a_window_of_several_members_is_counted_member_by_member() -> None:
    """Nothing but the sums of each is carried over."""
    held = Charge((Cost(Decimal(2)),))
    head = renewed(spent(renewing(), asked("t", "2", ttl=10 * 86_400)), NOW + DAY)
    assert (head.spent, head.held, head.lifetime) == (held, held, held)
