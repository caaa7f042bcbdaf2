"""What ends an allocation, and what is given back: never more than the sum of what was not run, and never twice."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.admission import Outcome, Verdict
from accounting.charges import Cost
from accounting.datasets import DatasetState
from accounting.events import (
    ClaimEvent,
    ComposedEvent,
    Event,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    SelfComposedEvent,
)
from accounting.filters import Budget, Charge, FilterKind, Share, basic_budget, budget, standard_budget
from accounting.ledger.entry import Entry, EntryKind
from accounting.plans import price
from accounting.policy import THE_SERVICE, SetBudget, decide_budget, renewal
from accounting.settlement import Settle, decide_settlement, unspent
from accounting.values import EXACT, ZERO, PrivacyLoss
from tests.ledgers import NOW, asked, dataset_in, ended, loss, opened, opened_under, registered, spent
from tests.strategies import additive, loss_of

LAPLACE = LaplaceEvent(Decimal(10), Decimal(1))
GAUSSIAN = GaussianEvent(Decimal(50), Decimal(1))
SAMPLED = PoissonGaussianEvent(Decimal(2), Decimal(1), Decimal("0.01"))
STANDARD = standard_budget(loss("5", "0.0001"))
ALL = budget(
    loss("5", "0.2"),
    [
        Share(FilterKind.BASIC, Decimal("0.01")),
        *(Share(k, Decimal("0.01"), Decimal("0.05")) for k in list(FilterKind)[1:]),
    ],
)
LATE = NOW + timedelta(days=1)


def repeated(event: Event, count: int = 10, delta: str = "0", ttl: int | None = 60, **more: str) -> "Asked":
    """A request for a repeated event, priced as the service prices it."""
    whole = SelfComposedEvent(event, count)
    return Asked(whole, price(whole, Decimal(delta)), ttl, more)


class Asked:
    """What is asked for in these tests."""

    def __init__(self, event: Event, priced: PrivacyLoss, ttl: int | None, more: dict[str, str]) -> None:
        self.event, self.priced, self.ttl, self.more = event, priced, ttl, more

    def after(self, head: Entry, dataset: DatasetState | None = None) -> Entry:
        """The entry that admits it."""
        request = asked("t", "1", ttl=self.ttl, **self.more)
        return spent(head, replace(request, event=self.event, loss=self.priced), dataset=dataset)


def settle(history: Sequence[Entry], kind: EntryKind, *, late: bool = False, steps: int | None = None) -> Verdict:
    """What is decided about the end of the first allocation of a history."""
    opening = next(entry for entry in history if entry.kind in (EntryKind.CONSUMED, EntryKind.HELD))
    assert opening.allocation_id is not None
    own = tuple(entry for entry in history if entry.allocation_id == opening.allocation_id)
    dataset = None if opening.dataset is None else dataset_in(history, opening.dataset.dataset_id)
    statement = "a signed word" if kind is EntryKind.ADJUSTED else None
    request = Settle("t", opening.allocation_id, kind, "somebody", own, steps, statement)
    return decide_settlement(history[-1], request, LATE if late else NOW, dataset)


def end(history: list[Entry], kind: EntryKind, *, late: bool = False, steps: int | None = None) -> Entry:
    """The entry that ends it, added to the history."""
    (entry,) = settle(history, kind, late=late, steps=steps).entries
    history.append(entry)
    return entry


def amounts(charge: Charge | None) -> list[Decimal]:
    """What each member counts."""
    assert charge is not None
    return [cost.amount for cost in charge.costs]


# Commits of fewer repetitions.


@pytest.mark.parametrize("steps", [0, 1, 9, 10])
def test_an_additive_charge_is_what_was_run(steps: int) -> None:
    """Pure noise costs every member the same each time, so every member gives back what was not run."""
    history = [opened_under("t", ALL), repeated(LAPLACE).after(opened_under("t", ALL))]
    whole, commit = history[1].charge, end(history, EntryKind.COMMITTED, steps=steps)
    assert whole is not None
    assert commit.charge is not None
    for cost, back in zip(whole.costs, commit.charge.costs, strict=True):
        assert back.amount * 10 == cost.amount * (10 - steps)
    assert commit.spent == whole.minus(commit.charge)
    assert (commit.held, commit.lifetime) == (ALL.nothing(), commit.spent)
    assert (commit.operations, commit.details) == (1, {"steps": steps})
    assert (commit.kind, commit.actor) == (EntryKind.COMMITTED, "somebody")


def test_members_give_back_each_by_itself() -> None:
    """Gaussians are priced as a plan under basic, where nothing is given back, and one by one under the others."""
    history = [opened_under("t", ALL), repeated(GAUSSIAN, delta="0.000001").after(opened_under("t", ALL))]
    whole, commit = history[1].charge, end(history, EntryKind.COMMITTED, steps=4)
    back = commit.charge
    assert whole is not None
    assert back is not None
    assert back.costs[0] == Cost(ZERO)
    for cost, less in zip(whole.costs[1:], back.costs[1:], strict=True):
        assert less.amount == cost.amount * 6 / 10 > 0


def test_a_price_by_privacy_loss_distributions_is_never_given_back() -> None:
    """It holds for the whole plan only. The Renyi member counted each step by itself and gives back."""
    history = [opened_under("t", STANDARD), repeated(SAMPLED, 1_000, "0.000001").after(opened_under("t", STANDARD))]
    whole, commit = history[1].charge, end(history, EntryKind.COMMITTED, steps=100)
    assert whole is not None
    assert amounts(commit.charge) == [0, whole.costs[1].amount * 9 / 10]
    assert commit.spent.basic == whole.basic


def test_claims_are_additive_in_epsilon_and_delta() -> None:
    """Ten claims cost ten times one, and six of them six times."""
    held = basic_budget(loss("5", "0.1"))
    event = SelfComposedEvent(ClaimEvent(Decimal("0.1"), Decimal("0.001")), 10)
    whole = Charge((Cost(Decimal(1), Decimal("0.01")),))
    assert unspent(held, whole, event, 4) == Charge((Cost(Decimal("0.6"), Decimal("0.006")),))
    # Had another theorem priced it lower, nothing could be said of a part of it.
    for cheaper in (Cost(Decimal("0.9"), Decimal("0.01")), Cost(Decimal(1), Decimal("0.009"))):
        assert unspent(held, Charge((cheaper,)), event, 4) == held.nothing()


def test_a_repetition_that_has_no_price_of_its_own_is_not_given_back_under_basic() -> None:
    """A composition of several, or what is priced at some delta only."""
    for once in (ComposedEvent((LAPLACE, LAPLACE)), GAUSSIAN, SAMPLED):
        event = SelfComposedEvent(once, 10)
        back = unspent(STANDARD, STANDARD.charge(event, loss("1", "0.00001")), event, 4)
        assert back.costs[0] == Cost(ZERO)
        assert back.costs[1].amount > 0


@given(st.sampled_from([STANDARD, ALL]), additive, st.integers(1, 30), st.data())
def test_nobody_is_left_below_what_the_steps_that_were_run_cost_one_by_one(
    held: Budget, once: Event, count: int, data: st.DataObject
) -> None:
    """For every member and kind of event what stays is the charges of the steps that were run, or all of it."""
    event = SelfComposedEvent(once, count)
    steps = data.draw(st.integers(0, count))
    whole = held.charge(event, loss_of(event))
    left = whole.minus(unspent(held, whole, event, steps))
    for member, kept, all_of_it in zip(held.members, left.costs, whole.costs, strict=True):
        if kept == all_of_it:
            continue
        each = member.cost(once, loss_of(once))
        assert kept == each.times(steps)
        assert each.times(count) == all_of_it


@pytest.mark.parametrize("steps", [-1, 11])
def test_more_or_less_than_was_held_is_not_divisible(steps: int) -> None:
    """Nor is what is no repetition at all."""
    first = opened_under("t", STANDARD)
    verdict = settle([first, repeated(LAPLACE).after(first)], EntryKind.COMMITTED, steps=steps)
    assert (verdict.outcome, verdict.entries) == (Outcome.NOT_DIVISIBLE, ())
    for event in (LAPLACE, ComposedEvent((LAPLACE, LAPLACE))):
        single = Asked(event, loss("0.2"), 60, {}).after(first)
        assert settle([first, single], EntryKind.COMMITTED, steps=1).outcome is Outcome.NOT_DIVISIBLE


def test_after_the_holds_time_nothing_is_given_back() -> None:
    """From the very moment on: nobody can say any more what was run. A plain commit is still taken."""
    first = opened_under("t", STANDARD)
    hold = repeated(LAPLACE).after(first)
    request = Settle("t", hold.allocation_id or "", EntryKind.COMMITTED, "engine", (hold,), 4)
    assert hold.due_at is not None
    assert decide_settlement(hold, request, hold.due_at).outcome is Outcome.HOLD_EXPIRED
    just_in_time = hold.due_at - timedelta(microseconds=1)
    assert decide_settlement(hold, request, just_in_time).outcome is Outcome.ADMITTED
    plain = settle([first, hold], EntryKind.COMMITTED, late=True)
    assert (plain.entries[0].spent, plain.entries[0].charge) == (hold.spent, None)


def test_a_repeated_partial_commit_is_a_replay_and_another_one_a_conflict() -> None:
    """Whoever confirms without naming steps is told what was committed; nothing is given back twice."""
    history = [opened_under("t", STANDARD)]
    history.append(repeated(LAPLACE).after(history[0]))
    commit = end(history, EntryKind.COMMITTED, steps=4)
    for steps, outcome in ((4, Outcome.REPLAYED), (None, Outcome.REPLAYED), (3, Outcome.ALLOCATION_ENDED)):
        verdict = settle(history, EntryKind.COMMITTED, steps=steps)
        assert (verdict.outcome, verdict.entries, verdict.answer) == (outcome, (), commit)
    whole = [*history[:2]]
    end(whole, EntryKind.COMMITTED)
    assert settle(whole, EntryKind.COMMITTED, steps=4).outcome is Outcome.ALLOCATION_ENDED
    consumed = [history[0], repeated(LAPLACE, ttl=None).after(history[0])]
    assert settle(consumed, EntryKind.COMMITTED, steps=4).outcome is Outcome.ALLOCATION_ENDED


def test_each_scope_gives_back_by_its_own_filters() -> None:
    """The tenant's budget knows basic alone, and keeps what the data set's Renyi member gives back."""
    history = [opened("t", "5", "0.001")]
    history.append(registered(history[0], "cohort", STANDARD, "north"))
    request = repeated(GAUSSIAN, delta="0.000001", dataset="cohort", partition="north")
    history.append(request.after(history[-1], dataset_in(history)))
    before = dataset_in(history).spent_on("north")
    commit = end(history, EntryKind.COMMITTED, steps=4)
    assert commit.charge == history[0].budget.nothing()
    assert commit.dataset is not None
    assert (commit.dataset.dataset_id, commit.dataset.partition) == ("cohort", "north")
    assert amounts(commit.dataset.charge) == [0, before.costs[1].amount * 6 / 10]
    assert dataset_in(history).spent_on("north") == before.minus(commit.dataset.charge or STANDARD.nothing())


# Expiry.


def test_a_hold_expires_from_its_moment_on_and_stays_spent() -> None:
    """The service says so, whoever asked; the sum of open holds falls, and nothing else moves."""
    first = opened_under("t", STANDARD)
    hold = repeated(LAPLACE).after(first)
    early = settle([first, hold], EntryKind.EXPIRED_SPENT)
    assert (early.outcome, early.entries, early.answer) == (Outcome.HOLD_NOT_DUE, (), hold)
    history = [first, hold]
    expired = end(history, EntryKind.EXPIRED_SPENT, late=True)
    assert (expired.spent, expired.lifetime, expired.charge) == (hold.spent, hold.lifetime, None)
    assert (expired.held, expired.operations, expired.actor) == (STANDARD.nothing(), 1, THE_SERVICE)
    for kind in (EntryKind.COMMITTED, EntryKind.VOIDED):
        assert settle(history, kind, late=True).outcome is Outcome.ALLOCATION_ENDED
    assert settle(history, EntryKind.EXPIRED_SPENT, late=True).outcome is Outcome.REPLAYED


def test_what_was_spent_at_once_does_not_expire() -> None:
    """It ended when it began."""
    first = opened_under("t", STANDARD)
    history = [first, repeated(LAPLACE, ttl=None).after(first)]
    assert settle(history, EntryKind.EXPIRED_SPENT, late=True).outcome is Outcome.ALLOCATION_ENDED


# Adjustments.


@pytest.mark.parametrize("how", ["consumed", "committed", "expired"])
def test_an_ended_charge_is_taken_back_once(how: str) -> None:
    """By a signed statement, which the entry keeps; a second one changes nothing."""
    first = opened_under("t", STANDARD)
    history = [first, repeated(LAPLACE, ttl=None if how == "consumed" else 60).after(first)]
    if how != "consumed":
        end(history, EntryKind.COMMITTED if how == "committed" else EntryKind.EXPIRED_SPENT, late=how == "expired")
    adjusted = end(history, EntryKind.ADJUSTED)
    assert adjusted.charge == history[1].charge
    assert (adjusted.spent, adjusted.held, adjusted.lifetime) == (STANDARD.nothing(),) * 3
    assert (adjusted.operations, adjusted.details, adjusted.actor) == (0, {"statement": "a signed word"}, "somebody")
    again = settle(history, EntryKind.ADJUSTED)
    assert (again.outcome, again.entries, again.answer) == (Outcome.REPLAYED, (), adjusted)


def test_an_open_hold_and_a_void_are_not_adjusted() -> None:
    """The one is to be voided, the other has nothing left; and what is not there has no charge at all."""
    first = opened_under("t", STANDARD)
    history = [first, repeated(LAPLACE).after(first)]
    still_held = settle(history, EntryKind.ADJUSTED, late=True)
    assert (still_held.outcome, still_held.answer) == (Outcome.STILL_HELD, history[1])
    end(history, EntryKind.VOIDED)
    assert settle(history, EntryKind.ADJUSTED).outcome is Outcome.ALLOCATION_ENDED
    nobody = Settle("t", "nothing", EntryKind.ADJUSTED, "somebody", (), statement="a signed word")
    assert decide_settlement(first, nobody, NOW).outcome is Outcome.UNKNOWN_ALLOCATION


def test_after_a_partial_commit_only_the_rest_is_taken_back() -> None:
    """In every scope: both together are the whole charge."""
    history = [opened("t", "5", "0.001")]
    history.append(registered(history[0], "cohort", STANDARD))
    history.append(repeated(LAPLACE, dataset="cohort").after(history[-1], dataset_in(history)))
    opening, commit, adjusted = (
        history[-1],
        end(history, EntryKind.COMMITTED, steps=4),
        end(history, EntryKind.ADJUSTED),
    )
    assert opening.charge is not None
    assert commit.charge is not None
    assert commit.charge.plus(adjusted.charge or commit.charge) == opening.charge
    assert adjusted.spent == history[0].spent
    state = dataset_in(history)
    assert (state.whole, state.exposure()) == (STANDARD.nothing(), STANDARD.nothing())


def test_an_adjustment_takes_back_what_was_charged_under_a_budget_that_was_raised_since() -> None:
    """The charge is what was counted then."""
    first = opened_under("t", STANDARD)
    history = [first, repeated(LAPLACE, ttl=None).after(first)]
    history += decide_budget(history[-1], SetBudget("t", standard_budget(loss("6", "0.0001")), "admin"), NOW).entries
    assert end(history, EntryKind.ADJUSTED).spent == STANDARD.nothing()


def windowed(days: int | None = 1) -> Entry:
    """The first entry of a budget that renews, or not."""
    request = SetBudget("t", STANDARD, "admin", renewal_days=days, renewal_stated=True)
    (entry,) = decide_budget(None, request, NOW).entries
    return entry


def rewindowed(head: Entry, days: int | None, late: bool = True) -> Entry:
    """The entry that changes the windows."""
    request = SetBudget("t", head.budget, "admin", renewal_days=days, renewal_stated=True)
    (entry,) = decide_budget(head, request, LATE if late else NOW).entries
    return entry


def test_in_a_later_window_only_the_lifetime_falls() -> None:
    """The present window never counted it, and keeps what it did count."""
    first = windowed()
    history = [first, repeated(LAPLACE, ttl=None).after(first)]
    window = renewal(history[-1], LATE)
    assert window is not None
    history += [window, spent(window, asked("t", "0.5"), LATE)]
    adjusted = end(history, EntryKind.ADJUSTED, late=True)
    assert adjusted.spent == history[-2].spent
    assert adjusted.lifetime == adjusted.spent
    assert amounts(adjusted.spent)[0] == Decimal("0.5")


def test_a_hold_that_this_window_took_over_falls_in_both() -> None:
    """It counted in both, so it is taken back from both, wherever it ended."""
    first = windowed()
    history = [first, repeated(LAPLACE, ttl=100 * 86_400).after(first)]
    window = renewal(history[-1], LATE)
    assert window is not None
    history.append(window)
    end(history, EntryKind.COMMITTED, late=True)
    adjusted = end(history, EntryKind.ADJUSTED, late=True)
    assert (adjusted.spent, adjusted.lifetime) == (STANDARD.nothing(), STANDARD.nothing())


@pytest.mark.parametrize("windows", [[None], [None, 1], [7]])
def test_where_one_window_counts_the_whole_past_any_charge_falls_in_it(windows: list[int | None]) -> None:
    """A lifetime budget, and the first window of one that renews again."""
    first = windowed(1 if windows[0] is None else None)
    history = [first, repeated(LAPLACE, ttl=None).after(first)]
    if windows[0] is None:
        window = renewal(history[-1], LATE)
        assert window is not None
        history += [window, spent(window, asked("t", "0.5"), LATE)]
    for days in windows:
        history.append(rewindowed(history[-1], days))
    before = history[-1].spent
    adjusted = end(history, EntryKind.ADJUSTED, late=True)
    assert history[1].charge is not None
    assert adjusted.spent == before.minus(history[1].charge)
    assert adjusted.lifetime == adjusted.spent


# Sums over random ends.


@given(
    st.sampled_from([STANDARD, ALL]),
    st.lists(
        st.tuples(
            st.integers(1, 20),
            st.sampled_from(["commit", "part", "void", "expire", "adjust", "leave"]),
            st.integers(0, 20),
        ),
        max_size=8,
    ),
)
def test_what_stays_is_the_sum_of_what_was_not_given_back(held: Budget, asking: list[tuple[int, str, int]]) -> None:
    """However holds end: held is the sum of those that are open, spent of all that was not given back, never below."""
    history = [opened_under("t", held)]
    open_holds, kept = held.nothing(), held.nothing()
    for count, how, steps in asking:
        head = history[-1]
        request = asked("t", "0.001", ttl=60)
        event = SelfComposedEvent(LaplaceEvent(Decimal(1000), Decimal(1)), count)
        hold = spent(head, replace(request, event=event, loss=price(event)))
        history.append(hold)
        assert hold.charge is not None
        kept = kept.plus(hold.charge)
        if how == "leave":
            open_holds = open_holds.plus(hold.charge)
        elif how in ("commit", "part", "void"):
            kind = EntryKind.VOIDED if how == "void" else EntryKind.COMMITTED
            done = ended(history[-1], hold, kind, steps=min(steps, count) if how == "part" else None)
            history.append(done)
            kept = kept if done.charge is None else kept.minus(done.charge)
        else:
            expired = ended(history[-1], hold, EntryKind.EXPIRED_SPENT, LATE)
            history.append(expired)
            if how == "adjust":
                signed = Settle(
                    "t", hold.allocation_id or "", EntryKind.ADJUSTED, "admin", (hold, expired), None, "word"
                )
                history += decide_settlement(expired, signed, LATE).entries
                kept = kept.minus(hold.charge)
        assert (history[-1].spent, history[-1].held, history[-1].lifetime) == (kept, open_holds, kept)
        assert all(
            EXACT.subtract(cost.amount, part.amount) >= 0
            for cost, part in zip(kept.costs, open_holds.costs, strict=True)
        )
