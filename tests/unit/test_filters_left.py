"""What would still fit into a budget, to the last digit, and which filter refused what does not."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.charges import Cost, price
from accounting.conversion import (
    PricingDisagreementError,
)
from accounting.events import (
    Event,
    GaussianEvent,
)
from accounting.filters import (
    Budget,
    Charge,
    Member,
    Share,
    basic_budget,
    binding,
    budget,
    largest_claim,
    largest_delta,
    largest_epsilon,
    standard_budget,
    standings,
)
from accounting.values import EXACT, MAX_EPSILON, ZERO, PrivacyLoss, round_down
from tests.ledgers import loss
from tests.strategies import budgets, operations
from tests.unit.filter_helpers import ALL_MEMBERS, BASIC, EVERY, HALF, ONE, ZCDP, charge_of, claim, reached

pytestmark = pytest.mark.untraced


@settings(max_examples=300)
@given(budgets(), st.lists(operations, max_size=10), st.sampled_from(["0", "0.0000001", "0.01"]))
def test_the_largest_claim_is_admitted_and_slightly_more_is_not(held: Budget, history: list[Event], delta: str) -> None:
    """Exactly where basic composition decides; else within a part in 10^7."""
    spent = reached(held, history)
    found = largest_claim(held, spent, Decimal(delta))
    assert found >= 0
    told = round_down(Fraction(found))
    assert told == 0 or held.admits(spent.plus(charge_of(held, claim(told, delta))))
    more = min(found * Decimal("1.0000001") + Decimal("1e-11"), MAX_EPSILON)
    if more > found:
        assert not held.admits(spent.plus(charge_of(held, claim(Decimal(f"{more:.24f}"), delta))))


def test_what_is_left_in_basic_composition_is_told_to_the_last_digit() -> None:
    """Though it has more digits than a claim may have; and other members do not stumble over them."""
    for held in (basic_budget(loss("10", "0.00001")), standard_budget(loss("10", "0.00001"))):
        spent = charge_of(held, claim("0.123456789012345678901234567891"))
        assert largest_claim(held, spent) == Decimal("9.876543210987654321098765432109")


def test_the_largest_claim_comes_from_whichever_member_has_room() -> None:
    """Basic composition while it has more, another member once it is used up; 0 once all are."""
    held = budget(loss("1", "0.5"), [Share(BASIC, ZERO), *EVERY[1:]])
    assert largest_claim(held, held.nothing()) == 1
    assert 0 < largest_claim(held, held.nothing(), Decimal("0.05")) < 1
    assert largest_claim(held, held.nothing(), Decimal("0.051")) == 0
    full = Charge(tuple(member.cap for member in held.members))
    assert largest_claim(held, full) == 0
    for at, member in enumerate(held.members):
        room = list(full.costs)
        room[at] = Cost(member.cap.amount / 2)
        left = largest_claim(held, Charge(tuple(room)))
        assert left > 0
        assert held.admits(Charge(tuple(room)).plus(charge_of(held, claim(left))))


def test_the_largest_claim_is_an_epsilon() -> None:
    """Never above the largest that a claim may have."""
    held = budget(PrivacyLoss(MAX_EPSILON, Decimal("0.5")), EVERY)
    assert largest_claim(held, held.nothing()) == MAX_EPSILON
    for at, member in enumerate(held.members[1:], 1):
        room = [m.cap for m in held.members]
        room[at] = Cost(ZERO)
        left = largest_claim(held, Charge(tuple(room)))
        assert 1000 < left <= MAX_EPSILON, member


def test_a_member_with_next_to_nothing_left_admits_no_claim() -> None:
    """Where even the smallest claim on the grid costs more than the room there is."""
    for at in range(1, len(ALL_MEMBERS.members)):
        costs = [Cost(member.cap.amount) for member in ALL_MEMBERS.members]
        costs[at] = Cost(EXACT.subtract(costs[at].amount, Decimal("1e-15")))
        left = largest_claim(ALL_MEMBERS, Charge(tuple(costs)))
        assert left == 0 or ALL_MEMBERS.admits(Charge(tuple(costs)).plus(charge_of(ALL_MEMBERS, claim(left))))
        assert left < Decimal("1e-6")


@given(budgets(), st.lists(operations, max_size=10))
def test_the_largest_delta_is_admitted_and_slightly_more_is_not(held: Budget, history: list[Event]) -> None:
    """With the smallest epsilon there is, wherever that fits."""
    spent = reached(held, history)
    found = largest_delta(held, spent)
    assert found >= 0
    tiny = Decimal("1e-12")
    assert not held.admits(
        spent.plus(held.charge(claim(tiny, found + Decimal("1e-13")), loss(tiny, found + Decimal("1e-13"))))
    )
    if largest_claim(held, spent, found) > Decimal("1e-6"):
        assert held.admits(spent.plus(charge_of(held, claim(tiny, found))))


def test_no_delta_is_left_where_no_epsilon_is() -> None:
    """A claim of delta alone is none; a member with room for deltas but none for amounts takes no claim."""
    full = Charge(tuple(Cost(member.cap.amount) for member in ALL_MEMBERS.members))
    assert largest_delta(ALL_MEMBERS, full) == 0
    assert largest_delta(ALL_MEMBERS, ALL_MEMBERS.nothing()) == Decimal("0.1")


def gaussian_of(delta: Decimal) -> Callable[[Decimal], tuple[Event, PrivacyLoss]]:
    """The Gaussian of the analytic calibration by hand: sigma = 5 / epsilon, its price what it is."""

    def family(epsilon: Decimal) -> tuple[Event, PrivacyLoss]:
        event = GaussianEvent(round_down(5 / Fraction(epsilon)), ONE)
        return event, price(event, delta)

    return family


@given(st.sampled_from([ALL_MEMBERS, standard_budget(HALF), basic_budget(HALF)]), st.integers(0, 40))
def test_the_largest_epsilon_of_a_family_is_admitted_and_slightly_more_is_not(held: Budget, count: int) -> None:
    """For Gaussians, whichever member decides, after a history of other things."""
    spent = reached(held, [claim("0.02")] * count)
    family = gaussian_of(Decimal("0.001"))
    found = largest_epsilon(held, spent, family)
    assert held.admits(spent.plus(held.charge(*family(found))))
    more = found * Decimal("1.00001")
    assert not held.admits(spent.plus(held.charge(*family(more))))


def test_the_largest_epsilon_is_nothing_where_nothing_fits() -> None:
    """In a full budget, for a family without members, and for one that accountants disagree on."""
    full = Charge(tuple(member.cap for member in ALL_MEMBERS.members))
    assert largest_epsilon(ALL_MEMBERS, full, gaussian_of(Decimal("0.001"))) == 0

    def refused(epsilon: Decimal) -> tuple[Event, PrivacyLoss]:
        return claim(ZERO - epsilon), loss("1")

    def disputed(epsilon: Decimal) -> tuple[Event, PrivacyLoss]:
        raise PricingDisagreementError(str(epsilon))

    for family in (refused, disputed):
        assert largest_epsilon(ALL_MEMBERS, ALL_MEMBERS.nothing(), family) == 0


def test_fewer_halvings_find_a_smaller_epsilon() -> None:
    """Never one that does not fit."""
    held, family = basic_budget(loss("1")), lambda epsilon: (claim(epsilon), loss(epsilon))
    assert largest_epsilon(held, held.nothing(), family, steps=2) == 1
    assert largest_epsilon(held, held.nothing(), family, steps=1) == 0
    assert largest_epsilon(held, charge_of(held, claim("0.1")), family, steps=3) == Decimal("0.5")
    assert largest_epsilon(held, charge_of(held, claim("0.1")), family) == pytest.approx(
        Decimal("0.9"), abs=Decimal("1e-9")
    )


# Who refused.


@given(budgets(), st.lists(operations, max_size=10), operations)
def test_the_binding_member_refuses_and_none_binds_where_one_admits(
    held: Budget, history: list[Event], event: Event
) -> None:
    """It is told as it stands before the charge, and no other member came closer."""
    spent, charge = reached(held, history), charge_of(held, event)
    found = binding(held, spent, charge)
    assert (found is None) == held.admits(spent.plus(charge))
    if found is not None:
        at = held.members.index(found.member)
        assert found == standings(held, spent)[at]
        after = spent.plus(charge).costs
        assert not after[at].within(found.member.cap)
        assert excess(after[at], found.member) == min(
            excess(cost, member) for cost, member in zip(after, held.members, strict=True)
        )


def excess(cost: Cost, member: Member) -> Fraction:
    """By what factor the member's cap would have to grow."""
    amount = Fraction(cost.amount) / Fraction(member.cap.amount)
    if member.cap.delta == 0:
        return max(amount, Fraction(10**40) if cost.delta else Fraction(0))
    return max(amount, Fraction(cost.delta) / Fraction(member.cap.delta))


def test_a_member_without_delta_binds_last_for_a_claim_with_one() -> None:
    """No growth of its cap would do."""
    held = budget(loss("1", "0.5"), [Share(BASIC, ZERO), Share(ZCDP, Decimal("0.01"), Decimal("0.1"))])
    found = binding(held, held.nothing(), charge_of(held, claim("0.5", "0.02")))
    assert found is not None
    assert found.member.kind is ZCDP
    found = binding(held, held.nothing(), charge_of(held, claim("20", "0.02")))
    assert found is not None
    assert found.member.kind is ZCDP
    found = binding(held, held.nothing(), charge_of(held, claim("5")))
    assert found is not None
    assert found.member.kind is BASIC
