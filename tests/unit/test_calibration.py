"""Calibrated noise keeps what was asked, and adds hardly more than needed."""

from decimal import Decimal

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from accounting.calibration import gaussian_for, laplace_for
from accounting.charges import price
from accounting.events import GaussianEvent, LaplaceEvent
from accounting.values import InvalidValueError

epsilons = st.decimals("0.001", 50, places=9)
sensitivities = st.decimals("0.001", 100_000, places=6)
deltas = st.decimals("0.000000000001", "0.4", places=12)

ONE, DELTA = Decimal(1), Decimal("0.00001")
NOT_EPSILONS = ["NaN", "sNaN", "Infinity", "-Infinity", "0", "-1", "1e999999", "1e-31", "1" * 40, "1000001"]


@given(epsilons, sensitivities)
def test_laplace_noise_for_an_epsilon_costs_at_most_it(epsilon: Decimal, sensitivity: Decimal) -> None:
    """The price never exceeds what was asked, and falls short of it by 1e-8 at most."""
    event = laplace_for(epsilon, sensitivity)
    assert event.sensitivity == sensitivity
    assert epsilon * (1 - Decimal("1e-8")) <= price(event).epsilon <= epsilon


@settings(max_examples=30)
@given(epsilons, deltas, sensitivities)
def test_gaussian_noise_for_an_epsilon_costs_at_most_it(epsilon: Decimal, delta: Decimal, sensitivity: Decimal) -> None:
    """At the delta asked for, the price never exceeds the epsilon asked for."""
    event = gaussian_for(epsilon, delta, sensitivity)
    assert event.sensitivity == sensitivity
    assert price(event, delta).epsilon <= epsilon


@settings(max_examples=30)
@example(Decimal("0.001"), Decimal("0.3"))
@given(epsilons, deltas)
def test_a_millionth_less_gaussian_noise_would_not_do(epsilon: Decimal, delta: Decimal) -> None:
    """The noise is hardly more than needed: a sigma a millionth smaller costs too much."""
    event = gaussian_for(epsilon, delta, ONE)
    less = GaussianEvent(round(event.sigma * (1 - Decimal("1e-6")), 12), ONE)
    assume(less.sigma > Decimal("0.0025"))
    assert price(less, delta).epsilon > epsilon


@given(epsilons, sensitivities)
def test_the_noise_is_a_double_as_it_stands(epsilon: Decimal, sensitivity: Decimal) -> None:
    """At most 15 significant digits, so the noise that is drawn is the noise that was priced."""
    assert len(laplace_for(epsilon, sensitivity).scale.as_tuple().digits) <= 15


@pytest.mark.parametrize("trap", NOT_EPSILONS)
def test_no_noise_exists_for_an_epsilon_that_is_none(trap: str) -> None:
    """Neither mechanism is calibrated for an improper epsilon, and the error names it."""
    with pytest.raises(InvalidValueError, match=r"^epsilon: "):
        laplace_for(Decimal(trap), ONE)
    with pytest.raises(InvalidValueError, match=r"^epsilon: "):
        gaussian_for(Decimal(trap), DELTA, ONE)


@pytest.mark.parametrize("trap", ["NaN", "sNaN", "Infinity", "-1", "0", "1", "1e-31", "1e999999"])
def test_no_gaussian_noise_exists_without_a_proper_delta(trap: str) -> None:
    """Gaussian noise needs a delta strictly between zero and one, and the error names it."""
    with pytest.raises(InvalidValueError, match=r"^delta: "):
        gaussian_for(ONE, Decimal(trap), ONE)


def test_an_epsilon_below_the_grid_of_prices_is_refused() -> None:
    """It would be charged as a whole step of the grid, more than was asked."""
    for calibrate in (lambda: laplace_for(Decimal("1e-13"), ONE), lambda: gaussian_for(Decimal("1e-13"), DELTA, ONE)):
        with pytest.raises(InvalidValueError, match=r"^epsilon: "):
            calibrate()


def test_an_epsilon_that_no_gaussian_in_range_reaches_is_refused() -> None:
    """Where even the widest noise allowed costs too much, none is given."""
    with pytest.raises(InvalidValueError, match=r"^epsilon: "):
        gaussian_for(Decimal("1e-9"), Decimal("1e-20"), ONE)


def test_the_textbook_laplace_scale() -> None:
    """The scale is the sensitivity divided by epsilon, as the textbooks have it."""
    assert laplace_for(Decimal("0.1"), ONE) == LaplaceEvent(Decimal(10), ONE)
