"""Filters count exactly, admit what fits and nothing else, and need no more room for a long history than a short."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accounting.charges import Cost, price
from accounting.conversion import (
    LARGEST_ORDER,
    gaussian_delta,
    mu_squared_cap,
    renyi_cap,
    renyi_to_epsilon,
    rho_to_epsilon,
)
from accounting.events import (
    ClaimEvent,
    ComposedEvent,
    Event,
    FixedSizeGaussianEvent,
    GaussianEvent,
    LaplaceEvent,
    ParallelEvent,
    PoissonGaussianEvent,
    SelfComposedEvent,
    ZCdpEvent,
)
from accounting.filters import (
    CURRENCIES,
    THEOREMS,
    Budget,
    Charge,
    FilterKind,
    Member,
    Share,
    basic_budget,
    best_order,
    budget,
    budget_for_claims,
    raised,
    standard_budget,
    standings,
)
from accounting.pure import pure_epsilon
from accounting.renyi import divergence, rho_of
from accounting.values import EXACT, MAX_EPSILON, ZERO, InvalidValueError, PrivacyLoss, decimal_text
from tests.ledgers import loss
from tests.strategies import additive, budgets, claims, events, loss_of, operations
from tests.unit.filter_helpers import (
    ALL_MEMBERS,
    BASIC,
    EVERY,
    GDP,
    HALF,
    ONE,
    RENYI,
    ZCDP,
    charge_of,
    claim,
    field_of,
    promised_deltas,
    promised_epsilons,
    reached,
)

pytestmark = pytest.mark.untraced

# Building budgets.


@pytest.mark.parametrize(
    ("promise", "shares", "field"),
    [
        (loss("0"), [Share(BASIC, ZERO)], "epsilon"),
        (loss("NaN"), [Share(BASIC, ZERO)], "epsilon"),
        (loss("1000001"), [Share(BASIC, ZERO)], "epsilon"),
        (loss("1", "1"), [Share(BASIC, ZERO)], "delta"),
        (loss("1", "-0.1"), [Share(BASIC, ZERO)], "delta"),
        (loss("1", "NaN"), [Share(BASIC, ZERO)], "delta"),
        (loss("1", "1e-999999999"), [Share(BASIC, ZERO)], "delta"),
        (HALF, [], "filters"),
        (HALF, [Share(RENYI, ZERO, Decimal("0.1"))], "filters"),
        (HALF, [EVERY[1], EVERY[0]], "filters"),
        (HALF, [EVERY[0], EVERY[0]], "filters"),
        (HALF, [EVERY[0], EVERY[1], EVERY[1]], "filters"),
        (HALF, [Share(BASIC, Decimal("0.5000000000000000000000000001"))], "filters"),
        (HALF, [*EVERY[:3], Share(GDP, Decimal("0.05"), Decimal("0.0500000000000000000000000001"))], "filters"),
        (HALF, [Share(BASIC, Decimal("-0.1"))], "filters.basic.delta"),
        (HALF, [Share(BASIC, ONE)], "filters.basic.delta"),
        (HALF, [Share(BASIC, Decimal("sNaN"))], "filters.basic.delta"),
        (HALF, [Share(BASIC, Decimal("1e-31"))], "filters.basic.delta"),
        (HALF, [Share(BASIC, Decimal("1e-999999999"))], "filters.basic.delta"),
        (HALF, [Share(BASIC, ZERO, Decimal("0.1"))], "filters.basic.conversion_delta"),
        (HALF, [EVERY[0], Share(ZCDP, ZERO)], "filters.zcdp.conversion_delta"),
        (HALF, [EVERY[0], Share(GDP, ZERO, Decimal("Infinity"))], "filters.gdp.conversion_delta"),
        (HALF, [EVERY[0], Share(RENYI, ZERO, Decimal("-1e-9"))], "filters.renyi.conversion_delta"),
        (HALF, [Share(BASIC, ZERO, order=3)], "filters.basic.order"),
        (HALF, [EVERY[0], Share(ZCDP, ZERO, Decimal("0.1"), 3)], "filters.zcdp.order"),
        (HALF, [EVERY[0], Share(RENYI, ZERO, Decimal("0.1"), 1)], "order"),
        (HALF, [EVERY[0], Share(RENYI, ZERO, Decimal("0.1"), LARGEST_ORDER + 1)], "order"),
        (HALF, [EVERY[0], Share(RENYI, ZERO, Decimal("1e-9"), 2)], "filters.renyi"),
        (loss("1e-30", "0.5"), [EVERY[0], Share(RENYI, ZERO, Decimal("1e-30"))], "filters.renyi"),
        (loss("1e-30", "0.5"), [EVERY[0], Share(ZCDP, ZERO, Decimal("1e-30"))], "filters.zcdp"),
        (loss("1e-30", "0.5"), [EVERY[0], Share(GDP, ZERO, Decimal("1e-30"))], "filters.gdp"),
    ],
)
def test_a_budget_that_could_not_keep_its_promise_is_refused(
    promise: PrivacyLoss, shares: list[Share], field: str
) -> None:
    """Every number out of range, a member that comes twice or not first, more shares than delta, a dead member."""
    assert field_of(lambda: budget(promise, shares)) == field


def test_shares_that_are_too_much_are_told_in_numbers() -> None:
    """Both of them, in plain notation."""
    with pytest.raises(InvalidValueError, match=r"shares of delta of 0\.6, more than the promised 0\.5$"):
        budget(HALF, [Share(BASIC, Decimal("0.6"))])


def test_shares_may_use_the_promised_delta_up() -> None:
    """To the last digit, whatever remains unused being nobody's."""
    assert sum(member.share() for member in ALL_MEMBERS.members) == HALF.delta
    assert [member.kind for member in ALL_MEMBERS.members] == list(FilterKind)
    assert {member.currency for member in ALL_MEMBERS.members} == set(CURRENCIES.values())
    assert THEOREMS.keys() == set(FilterKind)


@given(budgets())
def test_the_shares_of_any_budget_sum_to_at_most_its_delta(held: Budget) -> None:
    """The whole of the soundness argument for admitting while any member holds."""
    shares = [Fraction(member.cap.delta) + Fraction(member.conversion_delta) for member in held.members]
    assert sum(shares) <= Fraction(held.promise.delta)
    assert held.members[0].cap.amount == held.promise.epsilon
    assert held.members[0].kind is BASIC


@given(budgets())
def test_every_cap_converts_back_to_the_promise(held: Budget) -> None:
    """At the member's conversion delta the cap's epsilon is at most the promised one."""
    epsilon = held.promise.epsilon
    for member in held.members[1:]:
        cap, delta = Fraction(member.cap.amount), member.conversion_delta
        assert cap > 0
        if member.kind is GDP:
            assert member.cap.amount == mu_squared_cap(epsilon, delta)
            root = Fraction(member.cap.amount.sqrt()) * (1 - Fraction(1, 10**20))
            assert gaussian_delta(root, epsilon) <= delta
        elif member.kind is RENYI:
            assert member.order is not None
            assert member.cap.amount == renyi_cap(epsilon, Decimal(member.order), delta)
            assert renyi_to_epsilon(cap, Decimal(member.order), delta) <= epsilon
        else:
            # Some order keeps the promise: the committed cap came from one of them.
            assert rho_to_epsilon(cap, delta) <= epsilon + Decimal("1e-12")


@given(promised_epsilons, promised_deltas)
def test_the_best_order_leaves_the_most_room_of_all(epsilon: Decimal, delta: Decimal) -> None:
    """Against every order there is: none has a larger cap for Gaussians."""
    found = best_order(epsilon, delta)
    rooms = {
        order: renyi_cap(epsilon, Decimal(order), delta) / order for order in [*range(2, 80), *range(80, 1025, 27)]
    }
    best = max(rooms.values())
    if found is None:
        assert best <= 0
    else:
        room = renyi_cap(epsilon, Decimal(found), delta) / found
        assert room >= best - abs(best) * Decimal("1e-12")
        assert room > 0


def test_the_best_order_stays_within_its_bounds() -> None:
    """A promise of a huge epsilon wants the least order, one of a tiny epsilon the largest."""
    assert best_order(Decimal(1_000_000), Decimal("0.1")) == 2
    assert best_order(Decimal("0.02"), Decimal("1e-9")) == LARGEST_ORDER
    assert best_order(Decimal("0.000001"), Decimal("1e-9")) is None
    with pytest.raises(InvalidValueError):
        best_order(ZERO, Decimal("0.1"))


def test_the_standard_budget_is_nine_tenths_basic_and_one_tenth_renyi() -> None:
    """Half of the tenth pays for the conversion, half is a cap for claims, and the order is the best one."""
    held = standard_budget(loss("1", "0.00001"))
    basic, renyi = held.members
    assert held.promise == loss("1", "0.00001")
    assert basic == Member(BASIC, Cost(ONE, Decimal("0.000009")))
    assert (renyi.kind, renyi.order, renyi.cap.delta, renyi.conversion_delta) == (
        RENYI, best_order(ONE, Decimal("5e-7")), Decimal("5e-7"), Decimal("5e-7"),
    )  # fmt: skip
    assert (renyi.order, renyi.cap.amount) == (23, renyi_cap(ONE, Decimal(23), Decimal("5e-7")))


def test_a_promise_without_delta_is_kept_by_basic_composition_alone() -> None:
    """So is one whose delta or epsilon is too small to share."""
    for promise in (loss("1"), loss("0.0000001", "1e-6"), loss("1", "1e-30")):
        assert standard_budget(promise) == basic_budget(promise)
        assert standard_budget(promise).members == (Member(BASIC, Cost(promise.epsilon, promise.delta)),)
    assert len(standard_budget(loss("1", "2e-29")).members) == 2
    tiny = standard_budget(loss("1", "1.9e-29"))
    assert [member.share() for member in tiny.members] == [Decimal("1.7e-29"), Decimal("2e-30")]


@given(promised_epsilons, promised_deltas)
def test_the_budget_for_claims_holds_exactly_those_claims(epsilon: Decimal, delta: Decimal) -> None:
    """Claims may sum to what was asked, no further; the promise is a ninth of delta more where a second one has it."""
    assume(delta < Decimal("0.89"))
    held = budget_for_claims(epsilon, delta)
    assert held.promise.epsilon == epsilon
    half = Decimal(int(epsilon * 5000)).scaleb(-4)
    pieces = [claim(half, delta), claim(epsilon - half)]
    assert reached(held, pieces).basic == PrivacyLoss(epsilon, delta)
    too_much = Cost(epsilon, EXACT.add(delta, Decimal("1e-30")))
    assert not held.admits(Charge((too_much, *[Cost(MAX_EPSILON, ONE)] * (len(held.members) - 1))))
    if len(held.members) == 1:
        # So small a promise is kept by basic composition alone, and nothing more is promised.
        assert held == basic_budget(PrivacyLoss(epsilon, delta))
    else:
        assert 0 <= Fraction(delta) * 10 / 9 - Fraction(held.promise.delta) < Fraction(1, 10**29)


def test_the_budget_for_claims_has_a_renyi_member_where_one_could_admit_anything() -> None:
    """What a tenant gets by default: basic with the whole delta of its claims, Renyi with a ninth of it more."""
    held = budget_for_claims(Decimal(10), Decimal("9e-6"))
    assert [member.kind for member in held.members] == [BASIC, RENYI]
    assert [member.share() for member in held.members] == [Decimal("9e-6"), Decimal("1e-6")]
    assert held.promise == loss("10", "1e-5")


@pytest.mark.parametrize("delta", ["1", "-1", "NaN", "sNaN", "0.95", "1e-999999999"])
def test_budgets_of_no_proper_delta_are_refused(delta: str) -> None:
    """By name, in every way of building one; a delta so large that a ninth more leaves nothing too."""
    assert field_of(lambda: budget_for_claims(ONE, Decimal(delta))) == "delta"
    if delta != "0.95":
        for make in (standard_budget, basic_budget, lambda promise: raised(ALL_MEMBERS, promise)):
            assert field_of(lambda make=make: make(PrivacyLoss(ONE, Decimal(delta)))) == "delta"  # type: ignore[misc]


# Raising.


@given(budgets(), st.decimals(0, 50, places=3), st.decimals(1, 4, places=3))
def test_a_raised_budget_admits_whatever_was_admitted(held: Budget, more: Decimal, factor: Decimal) -> None:
    """Kinds and orders stay, no cap is lower, and shares still sum to at most the promise."""
    promise = PrivacyLoss(held.promise.epsilon + more, min(held.promise.delta * factor, Decimal("0.99")))
    after = raised(held, promise)
    assert after.promise == promise
    assert [(m.kind, m.order) for m in after.members] == [(m.kind, m.order) for m in held.members]
    assert after.covers(held)
    assert sum(Fraction(m.share()) for m in after.members) <= Fraction(promise.delta)
    for before, now in zip(held.members, after.members, strict=True):
        assert before.cap.within(now.cap)
        # In proportion, to the last decimal place.
        assert (
            0
            <= Fraction(before.cap.delta) * Fraction(promise.delta) / Fraction(held.promise.delta)
            - Fraction(now.cap.delta)
            < Fraction(1, 10**30)
        )


@given(budgets(), st.lists(operations, max_size=12), st.decimals(0, 5, places=3))
def test_raising_a_budget_never_makes_a_history_inadmissible(held: Budget, history: list[Event], more: Decimal) -> None:
    """What any member admitted, the same member of the raised budget admits."""
    spent = reached(held, history)
    assert raised(held, PrivacyLoss(held.promise.epsilon + more, held.promise.delta)).admits(spent)


def test_raising_by_nothing_changes_nothing() -> None:
    """The very same budget, so the ledger has nothing to write."""
    for held in (ALL_MEMBERS, standard_budget(loss("3", "0.00001")), basic_budget(loss("3"))):
        assert raised(held, held.promise) == held
        assert held.covers(held)


def test_a_budget_without_delta_puts_a_new_one_into_basic_composition() -> None:
    """There are no other members to share it with."""
    assert raised(basic_budget(loss("1")), loss("2", "0.1")) == basic_budget(loss("2", "0.1"))


def test_a_budget_covers_only_what_it_admits_wholly() -> None:
    """Another member, another order, or any part of any cap lower: not covered."""
    two = [Share(BASIC, Decimal("0.1")), Share(RENYI, Decimal("0.1"), Decimal("0.1"), 5)]
    held = budget(HALF, two)
    assert budget(loss("2", "0.5"), two).covers(held)
    assert budget(loss("1", "0.6"), two).covers(held)
    for other in (
        basic_budget(HALF),
        budget(HALF, [two[0], Share(RENYI, Decimal("0.1"), Decimal("0.1"), 6)]),
        budget(HALF, [Share(BASIC, Decimal("0.09")), two[1]]),
        budget(HALF, [two[0], Share(RENYI, Decimal("0.09"), Decimal("0.1"), 5)]),
        budget(HALF, [two[0], Share(RENYI, Decimal("0.1"), Decimal("0.09"), 5)]),
        budget(loss("0.9", "0.5"), two),
        budget(loss("1", "0.4"), two),
        Budget(HALF, (held.members[0], Member(RENYI, held.members[1].cap, Decimal("0.09"), 5))),
    ):
        assert not other.covers(held)


# Counting.


def exact_amounts(event: Event, member: Member) -> tuple[Fraction, Fraction]:
    """What a member's theorem counts for an event, unrounded, by fractions alone: the amount, and deltas of claims."""
    match event:
        case SelfComposedEvent():
            amount, delta = exact_amounts(event.event, member)
            return amount * event.count, delta * event.count
        case ComposedEvent():
            found = [exact_amounts(part, member) for part in event.events]
            return sum((a for a, _ in found), Fraction(0)), sum((d for _, d in found), Fraction(0))
        case ParallelEvent():
            found = [exact_amounts(part, member) for _, part in event.parts]
            most = 1 if event.adjacency == "add_remove" else 2
            amounts, deltas = (sorted(part, reverse=True)[:most] for part in zip(*found, strict=True))
            return sum(amounts, Fraction(0)), sum(deltas, Fraction(0))
        case _:
            delta = Fraction(event.delta) if isinstance(event, ClaimEvent) else Fraction(0)
            return exact_amount(event, member), delta


def exact_amount(event: Event, member: Member) -> Fraction:
    """The same of a single operation."""
    if member.kind is ZCDP:
        rho = rho_of(event)
        assert rho is not None
        return rho
    if member.kind is RENYI:
        assert member.order is not None
        return divergence(event, member.order)
    if isinstance(event, GaussianEvent):
        return (Fraction(event.sensitivity) / Fraction(event.sigma)) ** 2
    # From below: mu^2 of a pure epsilon is at least 2 epsilon^2 / pi for small and epsilon at all epsilons from 5.
    epsilon = Fraction(pure_epsilon(event))
    return min(epsilon**2 * Fraction(3, 2), epsilon)


def holds_exactly(held: Budget, history: Sequence[Event], at: int) -> bool:
    """Whether the member's exact sums over a history are within its cap."""
    member = held.members[at]
    if member.kind is BASIC:
        losses = [loss_of(event) for event in history]
        amount = sum((Fraction(x.epsilon) for x in losses), Fraction(0))
        delta = sum((Fraction(x.delta) for x in losses), Fraction(0))
    else:
        found = [exact_amounts(event, member) for event in history]
        amount, delta = sum((a for a, _ in found), Fraction(0)), sum((d for _, d in found), Fraction(0))
    return amount <= Fraction(member.cap.amount) and delta <= Fraction(member.cap.delta)


proven_everywhere = st.one_of(claims, additive).filter(
    lambda event: (
        not isinstance(event, ZCdpEvent | PoissonGaussianEvent | FixedSizeGaussianEvent)
        and event.kind != "discrete_gaussian"
    )
)
"""Operations with a cost of their own in every currency."""


@settings(max_examples=300)
@given(budgets(), st.lists(proven_everywhere, max_size=40))
def test_whatever_is_admitted_some_members_exact_sum_is_within_its_cap(held: Budget, asked: list[Event]) -> None:
    """At every step, the sums recomputed from the events by fractions; and a refusal leaves everything as it was."""
    history: list[Event] = []
    spent = held.nothing()
    for event in asked:
        before = spent
        after = spent.plus(charge_of(held, event))
        if held.admits(after):
            history.append(event)
            spent = after
            assert any(holds_exactly(held, history, at) for at in range(len(held.members)))
        assert spent is after or spent is before


@given(budgets(), st.lists(events, max_size=8))
def test_the_sum_of_charges_is_the_charge_of_the_sum(held: Budget, history: list[Event]) -> None:
    """Member by member, in any order, by exact rational sums."""
    charges = [charge_of(held, event) for event in history]
    total = held.nothing()
    for charge in charges:
        total = total.plus(charge)
    for at in range(len(held.members)):
        assert Fraction(total.costs[at].amount) == sum((Fraction(c.costs[at].amount) for c in charges), Fraction(0))
        assert Fraction(total.costs[at].delta) == sum((Fraction(c.costs[at].delta) for c in charges), Fraction(0))
    back = held.nothing()
    for charge in reversed(charges):
        back = back.plus(charge)
    assert back == total


@given(budgets(), st.lists(operations, min_size=1, max_size=4))
def test_what_fits_in_one_order_fits_in_every_order(held: Budget, asked: list[Event]) -> None:
    """Whether the whole is admitted does not depend on who comes first."""
    ends = set()
    for order in permutations(asked):
        total = held.nothing()
        for event in order:
            total = total.plus(charge_of(held, event))
        ends.add((total, held.admits(total)))
    assert len(ends) == 1


@given(budgets(), st.lists(operations, max_size=8), operations)
def test_composing_never_lowers_a_loss(held: Budget, history: list[Event], event: Event) -> None:
    """No charge is negative, so no history becomes admissible by going on."""
    spent = reached(held, history)
    after = spent.plus(charge_of(held, event))
    assert all(one.within(other) for one, other in zip(spent.costs, after.costs, strict=True))
    assert held.admits(spent) or not held.admits(after)


@given(budgets(), st.lists(operations, max_size=8), operations)
def test_a_void_restores_exactly(held: Budget, history: list[Event], event: Event) -> None:
    """To the last digit of every member, so nothing builds up over holds that come and go."""
    spent = reached(held, history)
    charge = charge_of(held, event)
    assert spent.plus(charge).minus(charge) == spent


@given(budgets(), st.lists(events, max_size=6))
def test_a_budget_admits_exactly_while_any_member_holds(held: Budget, history: list[Event]) -> None:
    """The standing of each member says the same as its caps, and what remains is cap less spent."""
    total = held.nothing()
    for event in history:
        total = total.plus(charge_of(held, event))
    told = standings(held, total)
    assert held.admits(total) == any(standing.holds for standing in told)
    for standing, member, counted in zip(told, held.members, total.costs, strict=True):
        assert (standing.member, standing.spent) == (member, counted)
        assert standing.holds == (standing.remaining.amount >= 0 and standing.remaining.delta >= 0)
        assert standing.remaining.plus(counted) == member.cap
    assert total.basic == PrivacyLoss(total.costs[0].amount, total.costs[0].delta)


def test_charges_of_other_budgets_do_not_mix() -> None:
    """A sum over different members is a mistake in the program and no shorter charge."""
    short, long = basic_budget(HALF).nothing(), ALL_MEMBERS.nothing()
    for mix in (long.plus, long.minus):
        with pytest.raises(ValueError, match="shorter"):
            mix(short)
    for ask in (ALL_MEMBERS.admits, lambda spent: standings(ALL_MEMBERS, spent)):
        with pytest.raises(ValueError, match="shorter"):
            ask(Charge((Cost(MAX_EPSILON),)))


def test_a_history_of_any_length_takes_the_room_of_one_operation() -> None:
    """After 10^5 operations there are as many numbers as after one, and hardly longer ones."""
    held = ALL_MEMBERS
    charge = charge_of(held, GaussianEvent(Decimal(5000), ONE))
    spent = held.nothing()
    for _ in range(100_000):
        spent = spent.plus(charge)
    assert len(spent.costs) == len(charge.costs) == len(held.members)
    assert spent == Charge(tuple(cost.times(100_000) for cost in charge.costs))
    for one, many in zip(charge.costs, spent.costs, strict=True):
        assert len(decimal_text(many.amount)) <= len(decimal_text(one.amount)) + 5


# Published counts.


def admitted(held: Budget, event: Event, price_at: str) -> int:
    """How many of the event in a row a budget admits."""
    charge, spent, count = held.charge(event, price(event, Decimal(price_at))), held.nothing(), 0
    while held.admits(spent.plus(charge)):
        spent, count = spent.plus(charge), count + 1
    return count


@pytest.mark.parametrize(("kind", "count"), [(ZCDP, 121), (RENYI, 121), (GDP, 140)])
def test_as_many_gaussians_fit_as_published(kind: FilterKind, count: int) -> None:
    """Sigma 50 under (1, 1e-6), all of delta for the conversion."""
    held = budget(loss("1", "1e-6"), [Share(BASIC, ZERO), Share(kind, ZERO, Decimal("1e-6"))])
    assert admitted(held, GaussianEvent(Decimal(50), ONE), "1e-8") == count


def test_basic_composition_admits_ten_of_them() -> None:
    """Each priced at a hundredth of delta."""
    assert admitted(basic_budget(loss("1", "1e-6")), GaussianEvent(Decimal(50), ONE), "1e-8") == 10


def test_ten_tenths_fit_and_no_eleventh() -> None:
    """OpenDP's own filter stops at nine: in doubles ten tenths are more than one."""
    assert admitted(basic_budget(loss("1")), LaplaceEvent(Decimal(10), ONE), "0") == 10


def test_the_standard_budget_admits_more_gaussians_than_basic_composition() -> None:
    """What the second member is for."""
    event, promise = GaussianEvent(Decimal(50), ONE), loss("1", "1e-6")
    assert admitted(standard_budget(promise), event, "1e-8") > 5 * admitted(basic_budget(promise), event, "1e-8")
