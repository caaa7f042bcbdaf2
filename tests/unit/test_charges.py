"""An event's price follows from the event, covers what it really costs, and costs add up in every currency."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import permutations

import pytest
from dp_accounting import get_epsilon_gaussian
from hypothesis import given
from hypothesis import strategies as st

from accounting.charges import (
    LARGEST_RHO,
    SMALLEST_RHO,
    Cost,
    Currency,
    PricingDisagreementError,
    cost,
    loss_across,
    own_cost,
    price,
)
from accounting.conversion import COST_PLACES, gaussian_delta, rho_to_epsilon
from accounting.events import (
    Adjacency,
    ClaimEvent,
    ComposedEvent,
    DiscreteGaussianEvent,
    Event,
    ExponentialEvent,
    FixedSizeGaussianEvent,
    GaussianEvent,
    LaplaceEvent,
    ParallelEvent,
    PoissonGaussianEvent,
    SelectionForm,
    SelfComposedEvent,
    ZCdpEvent,
    leaves,
)
from accounting.pure import pure_epsilon
from accounting.renyi import divergence, rho_of
from accounting.values import PRICE_PLACES, ZERO, InvalidValueError, PrivacyLoss
from tests.strategies import additive, claims, events, extreme, operations, small_deltas

ONE = Decimal(1)
GRID = Fraction(1, 10**PRICE_PLACES)
STEP = Fraction(1, 10**COST_PLACES)
ADD, REPLACE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE

COUNTED: list[tuple[Currency, int | None]] = [
    (Currency.RHO, None),
    (Currency.RENYI, 2),
    (Currency.RENYI, 17),
    (Currency.MU_SQUARED, None),
]
"""The currencies with costs of their own; basic composition counts prices."""
counted = st.sampled_from(COUNTED)
multipliers = st.decimals("0.1", 1_000, places=6)
sensitivities = st.decimals("0.1", 1_000, places=6)


def field_of(make: Callable[[], object]) -> str:
    """The field that a refusal names."""
    with pytest.raises(InvalidValueError) as refused:
        make()
    assert refused.value.reason
    return refused.value.field


# Prices of single operations.


@given(claims)
def test_a_claim_costs_what_it_claims(event: ClaimEvent) -> None:
    """A claim's epsilon and delta are charged as they are, without rounding."""
    assert price(event) == PrivacyLoss(event.epsilon, event.delta)


def test_a_delta_beside_a_claim_is_refused_not_dropped() -> None:
    """Charging the claim's own delta while the caller states another would charge too little."""
    assert field_of(lambda: price(ClaimEvent(ONE, ZERO), Decimal("0.5"))) == "delta"


PURE: list[Event] = [
    LaplaceEvent(Decimal(3), ONE),
    ExponentialEvent(Decimal(3), ONE, SelectionForm.GUMBEL, monotonic=False),
    ExponentialEvent(Decimal(3), ONE, SelectionForm.PERMUTE_AND_FLIP, monotonic=True),
]


@pytest.mark.parametrize("event", PURE)
def test_a_pure_mechanism_costs_its_epsilon_and_no_delta(event: Event) -> None:
    """A delta that is stated for it is an error and not ignored."""
    assert price(event) == PrivacyLoss(pure_epsilon(event), ZERO)
    assert field_of(lambda: price(event, Decimal("1e-6"))) == "delta"


@given(multipliers, sensitivities, small_deltas)
def test_a_gaussian_costs_exactly_what_it_loses(multiplier: Decimal, sensitivity: Decimal, delta: Decimal) -> None:
    """At the charged epsilon the exact delta is within the charged one; at a part in 10^9 less it is not."""
    charge = price(GaussianEvent(multiplier * sensitivity, sensitivity), delta)
    mu, epsilon = 1 / Fraction(multiplier), Fraction(charge.epsilon)
    assert charge.delta == delta
    assert gaussian_delta(mu, epsilon) <= Fraction(delta)
    less = epsilon * (1 - Fraction(1, 10**9)) - 80 * GRID
    assert less < 0 or gaussian_delta(mu, less) > Fraction(delta)


@given(multipliers, small_deltas)
def test_a_gaussian_costs_what_googles_accountant_says(multiplier: Decimal, delta: Decimal) -> None:
    """Their exact figure and ours agree to nine digits."""
    theirs = get_epsilon_gaussian(float(multiplier), float(delta))
    assert float(price(GaussianEvent(multiplier, ONE), delta).epsilon) == pytest.approx(theirs, rel=1e-9, abs=1e-10)


@given(multipliers, small_deltas)
def test_what_is_proven_only_in_rho_costs_the_best_of_its_orders(multiplier: Decimal, delta: Decimal) -> None:
    """Discrete Gaussians and claims of rho alike, rounded up by less than a step; exact Gaussians cost no more."""
    discrete = price(DiscreteGaussianEvent(multiplier, ONE), delta)
    bound = Fraction(rho_to_epsilon(1 / Fraction(multiplier) ** 2 / 2, delta))
    assert bound <= Fraction(discrete.epsilon) < bound + GRID
    assert price(GaussianEvent(multiplier, ONE), delta).epsilon <= discrete.epsilon
    claimed = ZCdpEvent(multiplier)
    bound = Fraction(rho_to_epsilon(Fraction(multiplier), delta))
    assert bound <= Fraction(price(claimed, delta).epsilon) < bound + GRID


def test_a_published_price_in_rho() -> None:
    """OpenDP's figure for Gaussian noise of scale 10 at delta 1e-6, rounded up."""
    found = price(DiscreteGaussianEvent(Decimal(10), ONE), Decimal("1e-6"))
    assert Decimal("0.429941468836") < found.epsilon <= Decimal("0.429941468838")


@given(multipliers, small_deltas, st.decimals("1.01", 100, places=2))
def test_a_gaussians_price_falls_with_its_noise(multiplier: Decimal, delta: Decimal, factor: Decimal) -> None:
    """More noise at the same sensitivity and delta never costs more."""
    for made in (GaussianEvent, DiscreteGaussianEvent):
        assert price(made(multiplier * factor, ONE), delta).epsilon <= price(made(multiplier, ONE), delta).epsilon


@given(st.decimals("0.5", 100, places=3), st.decimals("0.1", 100, places=3), small_deltas)
def test_the_unit_of_a_statistic_does_not_change_its_price(sigma: Decimal, unit: Decimal, delta: Decimal) -> None:
    """Scaling sigma and sensitivity alike leaves the price the same to the last digit."""
    for made in (GaussianEvent, DiscreteGaussianEvent):
        assert price(made(sigma * unit, unit), delta) == price(made(sigma, ONE), delta)


CONCENTRATED: list[Event] = [GaussianEvent(ONE, ONE), DiscreteGaussianEvent(ONE, ONE), ZCdpEvent(ONE)]


@pytest.mark.parametrize("delta", ["1", "-0.1", "2", "NaN", "sNaN", "Infinity", "1e-31", "1e-999999"])
@pytest.mark.parametrize("event", [*CONCENTRATED, *PURE, ClaimEvent(ONE, ZERO)])
def test_a_delta_that_is_none_is_refused_for_every_event(event: Event, delta: str) -> None:
    """Before anything is compared with it: a signalling NaN would raise another error, a NaN would compare unequal."""
    assert field_of(lambda: price(event, Decimal(delta))) == "delta"


@pytest.mark.parametrize("delta", ["0", "0.000"])
@pytest.mark.parametrize("event", CONCENTRATED)
def test_a_gaussian_without_a_proper_delta_has_no_price(event: Event, delta: str) -> None:
    """At a delta of 0 its epsilon is infinite."""
    assert field_of(lambda: price(event, Decimal(delta))) == "delta"


@pytest.mark.parametrize(("sigma", "sensitivity"), [("1e-18", "1"), ("1e-9", "1000"), ("1e18", "1e-12")])
@pytest.mark.parametrize("made", [GaussianEvent, DiscreteGaussianEvent])
def test_a_gaussian_far_out_of_range_is_refused(
    made: type[GaussianEvent | DiscreteGaussianEvent], sigma: str, sensitivity: str
) -> None:
    """Neither a price of nothing nor seconds of computing."""
    event = made(Decimal(sigma), Decimal(sensitivity))
    assert field_of(lambda: price(event, Decimal("1e-6"))) == "event.sigma"


def test_the_range_of_rho_is_the_one_documented() -> None:
    """Both ends have a price, and next to them there is none."""
    smallest, largest = Decimal("1e-14"), Decimal("100000")
    assert (Fraction(smallest), Fraction(largest)) == (SMALLEST_RHO, LARGEST_RHO)
    for rho in (smallest, largest):
        assert price(ZCdpEvent(rho), Decimal("1e-30")).epsilon > 0
    for rho in (Decimal("9.999e-15"), Decimal("100000.001")):
        assert field_of(lambda rho=rho: price(ZCdpEvent(rho), Decimal("1e-6"))) == "event.rho"  # type: ignore[misc]
    assert 105_000 < price(ZCdpEvent(largest), Decimal("1e-30")).epsilon < 106_000


@pytest.mark.parametrize(
    "event",
    [
        PoissonGaussianEvent(ONE, ONE, Decimal("0.1")),
        FixedSizeGaussianEvent(ONE, ONE, 1, 10),
        SelfComposedEvent(PURE[0], 2),
        ComposedEvent((PURE[0],)),
        ParallelEvent((("a", PURE[0]),)),
    ],
)
def test_what_needs_a_plan_has_no_price_of_its_own(event: Event) -> None:
    """Answering anything here would be a sum that no theorem was named for; asking is a mistake in the program."""
    with pytest.raises(TypeError, match=f"{event.kind} is not a single operation"):
        price(event)


def test_epsilon_is_no_currency_of_own_costs() -> None:
    """An epsilon needs a delta and a theorem; asking for it is a mistake in the program."""
    with pytest.raises(TypeError, match="priced by"):
        own_cost(PURE[0], Currency.EPSILON)


# Costs of single operations.


@given(operations)
def test_costs_are_the_divergences_rounded_up(event: Event) -> None:
    """In each currency, by less than a grid step; the deltas of claims stand beside, all else has none."""
    delta = event.delta if isinstance(event, ClaimEvent) else ZERO
    for order in (2, 17):
        found = own_cost(event, Currency.RENYI, order)
        assert found is not None
        assert divergence(event, order) <= Fraction(found.amount) < divergence(event, order) + STEP
        assert found.delta == delta
    rho, found = rho_of(event), own_cost(event, Currency.RHO)
    assert (rho is None) == (found is None)
    if rho is not None and found is not None:
        assert rho <= Fraction(found.amount) < rho + STEP
        assert found.delta == delta


@given(multipliers, sensitivities)
def test_a_gaussians_squared_mu_is_exact(multiplier: Decimal, sensitivity: Decimal) -> None:
    """(sensitivity / sigma)^2, rounded up by less than a step."""
    found = own_cost(GaussianEvent(multiplier * sensitivity, sensitivity), Currency.MU_SQUARED)
    assert found is not None
    assert 1 / Fraction(multiplier) ** 2 <= Fraction(found.amount) < 1 / Fraction(multiplier) ** 2 + STEP


@pytest.mark.parametrize(
    "event",
    [
        DiscreteGaussianEvent(ONE, ONE),
        ZCdpEvent(ONE),
        PoissonGaussianEvent(ONE, ONE, Decimal("0.1")),
        FixedSizeGaussianEvent(ONE, ONE, 1, 10),
        ComposedEvent((PURE[0], ZCdpEvent(ONE))),
        SelfComposedEvent(ZCdpEvent(ONE), 2),
        ParallelEvent((("a", PURE[0]), ("b", ZCdpEvent(ONE)))),
    ],
)
def test_what_is_not_proven_gaussian_has_no_squared_mu(event: Event) -> None:
    """Then nothing made of it has one either; its price is counted instead, as a claim's would be."""
    assert own_cost(event, Currency.MU_SQUARED) is None
    loss = PrivacyLoss(Decimal("0.7"), Decimal("1e-7"))
    claimed = own_cost(ClaimEvent(loss.epsilon, loss.delta), Currency.MU_SQUARED)
    assert cost(event, loss, Currency.MU_SQUARED) == claimed
    assert claimed is not None
    assert (claimed.amount > Decimal("0.7"), claimed.delta) == (True, loss.delta)
    assert cost(event, PrivacyLoss(ZERO, loss.delta), Currency.MU_SQUARED) == Cost(ZERO, loss.delta)


@given(events)
def test_basic_composition_counts_the_price_as_it_is(event: Event) -> None:
    """Whatever the event, and nothing else is looked at."""
    assert cost(event, PrivacyLoss(Decimal(7), Decimal("0.3")), Currency.EPSILON) == Cost(Decimal(7), Decimal("0.3"))


@given(events, counted)
def test_an_events_own_cost_counts_where_it_has_one(event: Event, currency: tuple[Currency, int | None]) -> None:
    """The price then makes no difference."""
    own = own_cost(event, *currency)
    if own is not None:
        assert cost(event, PrivacyLoss(Decimal(7), Decimal("0.3")), *currency) == own


@given(extreme, counted)
def test_any_event_has_a_cost_of_at_least_nothing_or_is_refused(
    event: Event, currency: tuple[Currency, int | None]
) -> None:
    """At any parameters that the classes accept: no NaN, no infinity, no negative cost, no other error."""
    try:
        found = own_cost(event, *currency)
    except (InvalidValueError, PricingDisagreementError):
        return
    assert found is None or (found.amount.is_finite() and found.amount > 0 and found.delta >= 0)


@given(claims, counted)
def test_a_plain_claim_costs_at_least_as_much_as_its_pure_part(
    event: ClaimEvent, currency: tuple[Currency, int | None]
) -> None:
    """Its delta is beside, not instead: without it the amount is the same."""
    without = own_cost(ClaimEvent(event.epsilon, ZERO), *currency)
    found = own_cost(event, *currency)
    assert without is not None
    assert found == Cost(without.amount, event.delta)


@given(st.decimals("0.001", 5, places=6), st.decimals("0.000001", 1, places=6), counted)
def test_a_larger_claim_never_costs_less(
    epsilon: Decimal, more: Decimal, currency: tuple[Currency, int | None]
) -> None:
    """In every currency."""
    smaller = own_cost(ClaimEvent(epsilon, ZERO), *currency)
    larger = own_cost(ClaimEvent(epsilon + more, ZERO), *currency)
    assert smaller is not None
    assert larger is not None
    assert smaller.amount <= larger.amount


# Laws of composition.


def summed(parts: list[Cost]) -> Cost:
    """The sum of costs, by rational arithmetic."""
    amount = sum((Fraction(part.amount) for part in parts), Fraction(0))
    delta = sum((Fraction(part.delta) for part in parts), Fraction(0))
    return Cost(_decimal(amount), _decimal(delta))


def _decimal(value: Fraction) -> Decimal:
    scaled = value * 10**40
    assert scaled.denominator == 1
    return Decimal(scaled.numerator).scaleb(-40)


@given(events, st.integers(1, 1000), counted)
def test_a_count_is_as_many_compositions(event: Event, count: int, currency: tuple[Currency, int | None]) -> None:
    """count = n costs n times one, exactly, in whatever way the count is written."""
    once = own_cost(event, *currency)
    times = own_cost(SelfComposedEvent(event, count), *currency)
    if once is None:
        assert times is None
        return
    assert times is not None
    assert Fraction(times.amount) == count * Fraction(once.amount)
    assert Fraction(times.delta) == count * Fraction(once.delta)
    if count <= 20:
        assert times == summed([once] * count) == own_cost(ComposedEvent((event,) * count), *currency)
    if count % 2 == 0:
        assert own_cost(SelfComposedEvent(SelfComposedEvent(event, count // 2), 2), *currency) == times


@given(st.lists(additive, min_size=1, max_size=4), counted)
def test_order_and_grouping_change_nothing(parts: list[Event], currency: tuple[Currency, int | None]) -> None:
    """Every permutation and every split of a sequence costs the same, and never less than a part of it."""
    whole = own_cost(ComposedEvent(tuple(parts)), *currency)
    for order in permutations(parts):
        assert own_cost(ComposedEvent(order), *currency) == whole
    for at in range(1, len(parts)):
        split = ComposedEvent((ComposedEvent(tuple(parts[:at])), ComposedEvent(tuple(parts[at:]))))
        assert own_cost(split, *currency) == whole
        fewer = own_cost(ComposedEvent(tuple(parts[:at])), *currency)
        assert whole is None or (fewer is not None and fewer.within(whole) and fewer.amount < whole.amount)


@given(events, counted)
def test_a_composition_costs_the_sum_of_its_leaves(event: Event, currency: tuple[Currency, int | None]) -> None:
    """However deep they are nested."""
    found = own_cost(event, *currency)
    parts = [(own_cost(leaf, *currency), count) for leaf, count in leaves(event)]
    known = [part.times(count) for part, count in parts if part is not None]
    if len(known) < len(parts):
        assert found is None
    else:
        assert found == summed(known)


three = st.lists(st.one_of(claims, st.builds(LaplaceEvent, st.decimals(1, 9, places=2), st.just(ONE))), min_size=1)


@given(three, counted)
def test_partitions_cost_the_largest_under_add_remove(
    parts: list[Event], currency: tuple[Currency, int | None]
) -> None:
    """One privacy unit is in one partition: amounts and deltas are each the largest of any part."""
    costs = [own_cost(part, *currency) for part in parts]
    named = tuple((str(at), part) for at, part in enumerate(parts))
    known = [part for part in costs if part is not None]
    found = own_cost(ParallelEvent(named, adjacency=ADD), *currency)
    assert found == Cost(max(part.amount for part in known), max(part.delta for part in known))
    losses = [price(part) for part in parts]
    assert loss_across(losses, ADD) == PrivacyLoss(max(x.epsilon for x in losses), max(x.delta for x in losses))


@given(three, counted, st.sampled_from([REPLACE, None]))
def test_partitions_cost_the_two_largest_where_a_unit_may_move(
    parts: list[Event], currency: tuple[Currency, int | None], adjacency: Adjacency | None
) -> None:
    """Under replace-one, or where nobody says, a unit may leave one partition for another."""
    costs = [own_cost(part, *currency) for part in parts]
    named = tuple((str(at), part) for at, part in enumerate(parts))
    known = [part for part in costs if part is not None]
    found = own_cost(ParallelEvent(named, adjacency=adjacency), *currency)
    assert found is not None
    assert Fraction(found.amount) == sum(sorted(Fraction(part.amount) for part in known)[-2:])
    assert Fraction(found.delta) == sum(sorted(Fraction(part.delta) for part in known)[-2:])
    losses = [price(part) for part in parts]
    across = loss_across(losses, adjacency)
    assert Fraction(across.epsilon) == sum(sorted(Fraction(x.epsilon) for x in losses)[-2:])
    assert Fraction(across.delta) == sum(sorted(Fraction(x.delta) for x in losses)[-2:])


def test_costs_are_within_a_cap_when_both_parts_are() -> None:
    """Neither part makes up for the other, and a cost is within itself."""
    cap = Cost(ONE, Decimal("0.1"))
    assert cap.within(cap)
    assert not Cost(ONE + Decimal("1e-15"), ZERO).within(cap)
    assert not Cost(ZERO, Decimal("0.100000000000000000000000000001")).within(cap)
    assert cap.plus(cap).minus(cap) == cap
    assert cap.times(3) == cap.plus(cap).plus(cap)
