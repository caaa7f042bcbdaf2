"""An event's price follows from the event, covers what it really costs, and is refused where it could not."""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import dp_accounting
import pytest
from dp_accounting.rdp import RdpAccountant
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from accounting.charges import gaussian_price, price
from accounting.events import ClaimEvent, Event, GaussianEvent, LaplaceEvent, event_from_wire, event_to_wire
from accounting.values import PRICE_PLACES, InvalidValueError, PrivacyLoss

ONE, ZERO = Decimal(1), Decimal(0)
GRID = Fraction(1, 10**PRICE_PLACES)

scales = st.decimals("0.01", 100_000, places=8)
sensitivities = st.decimals("0.1", 1_000, places=6)
small_deltas = st.decimals("0.000000000001", "0.1", places=14)
claims = st.builds(ClaimEvent, st.decimals("0.000001", 100, places=20), st.decimals(0, "0.99", places=20))
events = st.one_of(
    claims, st.builds(LaplaceEvent, scales, sensitivities), st.builds(GaussianEvent, scales, sensitivities)
)

TRAPS = ["NaN", "sNaN", "Infinity", "-Infinity", "-1", "0", "-0", "1e999999", "1e-999999", "0." + "1" * 40, "1" * 40]


def exact_gaussian_delta(epsilon: float, mu: float) -> float:
    """The true delta of a Gaussian at epsilon (Balle and Wang 2018, Theorem 8), by another path than ours."""
    return float(norm.cdf(mu / 2 - epsilon / mu) - math.exp(min(epsilon + norm.logcdf(-mu / 2 - epsilon / mu), 700.0)))


@given(claims)
def test_a_claim_costs_what_it_claims(event: ClaimEvent) -> None:
    """A claim's epsilon and delta are charged as they are, without rounding."""
    assert price(event) == PrivacyLoss(event.epsilon, event.delta)


def test_a_delta_beside_a_claim_is_refused_not_dropped() -> None:
    """Charging the claim's own delta while the caller states another would charge too little."""
    with pytest.raises(InvalidValueError, match=r"^delta: "):
        price(ClaimEvent(ONE, ZERO), Decimal("0.5"))


@given(scales, sensitivities)
def test_laplace_noise_costs_its_ratio_rounded_up(scale: Decimal, sensitivity: Decimal) -> None:
    """Epsilon is never below the exact ratio and less than one grid step above it, and delta is 0."""
    charge = price(LaplaceEvent(scale, sensitivity))
    exact = Fraction(sensitivity) / Fraction(scale)
    assert exact <= Fraction(charge.epsilon) < exact + GRID
    assert charge.delta == 0


def test_a_delta_for_laplace_noise_is_refused() -> None:
    """Laplace noise needs no delta, so one that is stated is an error and not ignored."""
    with pytest.raises(InvalidValueError, match=r"^delta: "):
        price(LaplaceEvent(ONE, ONE), Decimal("0.000001"))


@given(st.decimals("0.1", 1_000, places=6), sensitivities, small_deltas)
def test_a_gaussian_never_costs_less_than_it_truly_loses(
    multiplier: Decimal, sensitivity: Decimal, delta: Decimal
) -> None:
    """At the charged epsilon, the exact delta of the mechanism is at most the charged delta."""
    event = GaussianEvent(multiplier * sensitivity, sensitivity)
    charge = price(event, delta)
    assert charge.delta == delta
    assert exact_gaussian_delta(float(charge.epsilon), 1 / float(multiplier)) <= float(delta) * (1 + 1e-6) + 1e-15


@given(st.decimals("0.1", 1_000, places=6), small_deltas)
def test_a_gaussian_costs_what_googles_accountant_says(multiplier: Decimal, delta: Decimal) -> None:
    """At our order the price is theirs, and over their own orders they find none better."""
    found = gaussian_price(GaussianEvent(multiplier, ONE), delta)
    gaussian = dp_accounting.GaussianDpEvent(float(multiplier))
    at_our_order = RdpAccountant([float(found.order)]).compose(gaussian).get_epsilon(float(delta))
    # Where a bound by another divergence gives epsilon 0 at once, theirs is 0 and ours merely larger.
    if at_our_order > 0:
        assert float(found.epsilon) == pytest.approx(at_our_order, rel=1e-9, abs=2e-12)
    at_their_orders = RdpAccountant().compose(gaussian).get_epsilon(float(delta))
    if at_their_orders > 0:
        assert float(found.epsilon) <= at_their_orders * (1 + 1e-6) + 1e-11


@given(st.decimals("0.1", 1_000, places=6), small_deltas, st.decimals("1.01", 100, places=2))
def test_a_gaussians_price_falls_with_its_noise(multiplier: Decimal, delta: Decimal, factor: Decimal) -> None:
    """More noise at the same sensitivity and delta never costs more."""
    less, more = GaussianEvent(multiplier, ONE), GaussianEvent(multiplier * factor, ONE)
    assert price(more, delta).epsilon <= price(less, delta).epsilon


@given(st.decimals("0.5", 100, places=3), st.decimals("0.1", 100, places=3), small_deltas)
def test_the_unit_of_a_statistic_does_not_change_its_price(sigma: Decimal, unit: Decimal, delta: Decimal) -> None:
    """Scaling sigma and sensitivity alike leaves the price the same to the last digit."""
    assert price(GaussianEvent(sigma * unit, unit), delta) == price(GaussianEvent(sigma, ONE), delta)


@pytest.mark.parametrize("delta", ["0", "1", "-0.1", "2", "NaN", "sNaN", "Infinity", "1e-31", "1e-999999"])
def test_a_gaussian_without_a_proper_delta_has_no_price(delta: str) -> None:
    """A delta that is not strictly between 0 and 1, or is too fine to be kept, is refused by name."""
    with pytest.raises(InvalidValueError, match=r"^delta: "):
        price(GaussianEvent(ONE, ONE), Decimal(delta))


@pytest.mark.parametrize(("sigma", "sensitivity"), [("1e-18", "1"), ("1e-9", "1000"), ("1e18", "1e-12")])
def test_a_gaussian_far_out_of_range_is_refused(sigma: str, sensitivity: str) -> None:
    """Neither a price of nothing nor seconds of computing."""
    with pytest.raises(InvalidValueError, match=r"^event\.sigma: "):
        price(GaussianEvent(Decimal(sigma), Decimal(sensitivity)), Decimal("1e-6"))


def test_a_price_beyond_all_sense_is_refused() -> None:
    """Each number is valid alone, but noise this small for its sensitivity protects nobody."""
    with pytest.raises(InvalidValueError, match=r"^event: "):
        price(LaplaceEvent(Decimal("1e-9"), Decimal(1000)))


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize(
    ("kind", "name"),
    [("claim", "epsilon"), ("laplace", "scale"), ("laplace", "sensitivity"), ("gaussian", "sigma"),
     ("gaussian", "sensitivity")],
)  # fmt: skip
def test_every_fail_open_number_is_refused_in_every_event(kind: str, name: str, trap: str) -> None:
    """As a decimal and as text: an event with such a number cannot exist."""
    wire = {
        "claim": {"epsilon": "1", "delta": "0"},
        "laplace": {"scale": "1", "sensitivity": "1"},
        "gaussian": {"sigma": "1", "sensitivity": "1"},
    }[kind]
    for value in (trap, Decimal(trap)):
        with pytest.raises(InvalidValueError) as refused:
            event_from_wire({"kind": kind, **wire, name: value})
        assert refused.value.field == f"event.{name}"


@pytest.mark.parametrize("trap", [trap for trap in TRAPS if trap not in ("0", "-0")] + ["1", "1.5"])
def test_every_fail_open_delta_of_a_claim_is_refused(trap: str) -> None:
    """A claim's delta is below 1, and only zero is allowed of what other numbers refuse."""
    with pytest.raises(InvalidValueError, match=r"^event\.delta: "):
        event_from_wire({"kind": "claim", "epsilon": "1", "delta": trap})


@pytest.mark.parametrize(
    "value",
    [0.1, True, None, [], {}, "", " 1", "1 ", "1_0", "\u0661", "one", "0x10", "1" * 65, "1e99999999999999999999",
     10**19],
)  # fmt: skip
def test_what_is_not_plainly_a_decimal_is_refused(value: object) -> None:
    """Floats above all: 0.1 as a float is not one tenth."""
    with pytest.raises(InvalidValueError, match=r"^event\.scale: "):
        event_from_wire({"kind": "laplace", "scale": value, "sensitivity": "1"})


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"scale": "1", "sensitivity": "1"}, "event.kind"),
        ({"kind": "exponential", "scale": "1"}, "event.kind"),
        ({"kind": ["laplace"]}, "event.kind"),
        ({"kind": "laplace", "scale": "1"}, "event.sensitivity"),
        ({"kind": "laplace", "scale": "1", "sensitivity": "1", "count": 2}, "event.count"),
        ({"kind": "laplace", "scale": "1", "sensitivity": "1", "sigma": "1"}, "event.sigma"),
        ({"kind": "laplace", "version": 2, "scale": "1", "sensitivity": "1"}, "event.version"),
    ],
)
def test_an_event_that_is_not_fully_understood_is_refused(data: dict[str, Any], field: str) -> None:
    """A member that were passed over could be the one that makes it dearer."""
    with pytest.raises(InvalidValueError) as refused:
        event_from_wire(data)
    assert refused.value.field == field


@given(events)
def test_an_event_survives_the_wire(event: Event) -> None:
    """Writing an event and reading it again gives an equal event, to the last digit."""
    assert event_from_wire(event_to_wire(event)) == event


def test_whole_numbers_are_numbers_too() -> None:
    """Integers and decimals are exact, so they are read like the text that says the same."""
    assert event_from_wire({"kind": "laplace", "scale": 2, "sensitivity": Decimal(1)}) == LaplaceEvent(Decimal(2), ONE)
