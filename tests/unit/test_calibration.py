"""Calibrated noise keeps what was asked, and adds hardly more than needed."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from accounting.calibration import (
    discrete_gaussian_for,
    discrete_laplace_for,
    exponential_for,
    gaussian_for,
    laplace_for,
    least_noise,
    most_steps,
)
from accounting.charges import price
from accounting.events import (
    ClaimEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    SelectionForm,
    SelfComposedEvent,
)
from accounting.plans import Theorem, price_plan
from accounting.values import InvalidValueError

pytestmark = pytest.mark.untraced

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


def test_the_published_gaussian_noise() -> None:
    """dp-accounting's own test: a third of the sensitivity for epsilon 1 at this delta."""
    assert float(gaussian_for(ONE, Decimal("0.78760074"), ONE).sigma) == pytest.approx(1 / 3, abs=5e-8)


@settings(max_examples=30)
@given(epsilons, deltas, sensitivities)
def test_gaussian_noise_on_a_grid_costs_at_most_what_was_asked(
    epsilon: Decimal, delta: Decimal, sensitivity: Decimal
) -> None:
    """By its rho, which is all that is proven of it, and so it takes no less noise than an exact Gaussian."""
    event = discrete_gaussian_for(epsilon, delta, sensitivity)
    assert price(event, delta).epsilon <= epsilon
    assert event.sigma >= gaussian_for(epsilon, delta, sensitivity).sigma * (1 - Decimal("1e-9"))


@settings(max_examples=30)
@given(epsilons, deltas)
def test_a_millionth_less_noise_on_a_grid_would_not_do(epsilon: Decimal, delta: Decimal) -> None:
    """The noise is hardly more than needed."""
    event = discrete_gaussian_for(epsilon, delta, ONE)
    less = DiscreteGaussianEvent(round(event.sigma * (1 - Decimal("1e-6")), 12), ONE)
    assume(less.sigma > Decimal("0.0025"))
    assert price(less, delta).epsilon > epsilon


@given(epsilons, st.integers(1, 10**6))
def test_discrete_laplace_noise_costs_at_most_what_was_asked(epsilon: Decimal, sensitivity: int) -> None:
    """And hardly less."""
    event = discrete_laplace_for(epsilon, Decimal(sensitivity))
    assert epsilon * (1 - Decimal("1e-8")) <= price(event).epsilon <= epsilon


@given(epsilons, sensitivities, st.sampled_from(list(SelectionForm)), st.booleans())
def test_the_exponential_mechanism_costs_at_most_what_was_asked(
    epsilon: Decimal, sensitivity: Decimal, form: SelectionForm, monotonic: bool
) -> None:
    """In either form, whether or not scores move together; and hardly less."""
    event = exponential_for(epsilon, sensitivity, form, monotonic)
    assert epsilon * (1 - Decimal("1e-8")) <= price(event).epsilon <= epsilon


def test_monotonic_scores_need_half_the_noise() -> None:
    """The scale is 2 sensitivity / epsilon otherwise."""
    assert exponential_for(ONE, ONE, SelectionForm.GUMBEL).scale == 2
    assert exponential_for(ONE, ONE, SelectionForm.GUMBEL, monotonic=True).scale == 1


def laplaces(count: int) -> Callable[[Decimal], Event]:
    """So many queries with Laplace noise of one scale."""
    return lambda scale: SelfComposedEvent(LaplaceEvent(scale, ONE), count)


@pytest.mark.parametrize(
    ("family", "epsilon", "delta", "expected", "tolerance"),
    [
        (laplaces(20), "1", "0.0001", 13.6, 0.1),
        (laplaces(1), "1", "0", 1, 1e-9),
        (lambda x: SelfComposedEvent(DiscreteLaplaceEvent(x, Decimal(2)), 5), "3", "0", 1 / 0.3, 1e-8),
        (lambda x: SelfComposedEvent(GaussianEvent(x, ONE), 4), "1", "0.78760074", 2 / 3, 1e-7),
    ],
    ids=["twenty", "one", "whole numbers", "Gaussians"],
)
def test_the_least_noise_of_a_plan_is_the_published_one(
    family: Callable[[Decimal], Event], epsilon: str, delta: str, expected: float, tolerance: float
) -> None:
    """dp-accounting's own tests of its calibration; and a billionth less would not do."""
    least = least_noise(family, Decimal(epsilon), Decimal(delta))
    assert float(least) == pytest.approx(expected, abs=tolerance)
    assert price_plan(family(least), Decimal(delta)).loss.epsilon <= Decimal(epsilon)
    less = round(least * (1 - Decimal("1e-8")), 14)
    assert price_plan(family(less), Decimal(delta)).loss.epsilon > Decimal(epsilon)


def test_the_least_noise_of_sampled_gaussians() -> None:
    """dp-accounting's test has 3.2095650 on a coarser grid of losses, so ours is a few parts in a million less."""

    def family(sigma: Decimal) -> Event:
        return SelfComposedEvent(PoissonGaussianEvent(sigma, Decimal(6), Decimal("0.001")), 25)

    least = least_noise(family, ONE, DELTA)
    assert 3.20955 < least < Decimal("3.20956502598") + Decimal("5e-8")
    assert price_plan(family(least), DELTA).loss.epsilon <= 1


@pytest.mark.parametrize("family", [lambda _: ClaimEvent(Decimal(2), Decimal(0)), lambda x: GaussianEvent(x, ONE)])
def test_where_no_noise_would_do_none_is_given(family: Callable[[Decimal], Event]) -> None:
    """A claim has no noise; a Gaussian none without a delta."""
    with pytest.raises(InvalidValueError, match=r"^epsilon: "):
        least_noise(family, ONE, Decimal(0))


def test_where_any_noise_would_do_none_is_given() -> None:
    """What is asked is nothing."""
    with pytest.raises(InvalidValueError, match=r"^epsilon: "):
        least_noise(lambda _: ClaimEvent(ONE, Decimal(0)), Decimal(2), Decimal(0))


@pytest.mark.parametrize(
    ("event", "epsilon", "delta", "expected"),
    [
        (LaplaceEvent(Decimal(10), ONE), "1", "0", 10),
        (LaplaceEvent(Decimal(10), ONE), "0.999999", "0", 9),
        (LaplaceEvent(ONE, ONE), "0.5", "0", 0),
        (GaussianEvent(Decimal(50), ONE), "1", "0.000001", 140),
    ],
)
def test_as_many_steps_as_fit(event: Event, epsilon: str, delta: str, expected: int) -> None:
    """Exact Gaussians of sigma 50 within (1, 1e-6) are 140; one more than what fits does not."""
    steps = most_steps(event, Decimal(epsilon), Decimal(delta))
    assert steps == expected
    assert price_plan(SelfComposedEvent(event, steps + 1), Decimal(delta)).loss.epsilon > Decimal(epsilon)


def test_no_step_fits_where_there_is_no_price() -> None:
    """A Gaussian without a delta."""
    assert most_steps(GaussianEvent(ONE, ONE), ONE, Decimal(0)) == 0


@settings(max_examples=8)
@given(st.decimals("0.6", 4, places=2), st.sampled_from(["0.001", "0.01", "0.2", "1"]), st.integers(1, 2_000))
def test_optimal_composition_never_prices_gaussian_noise_tightest(sigma: Decimal, rate: str, steps: int) -> None:
    """Where the distribution of losses has a price, it is the lower one: a search need not ask for the other."""
    step = GaussianEvent(sigma, ONE) if rate == "1" else PoissonGaussianEvent(sigma, ONE, Decimal(rate))
    found = price_plan(SelfComposedEvent(step, steps), DELTA)
    optimal, tightest = found.price(Theorem.OPTIMAL).loss, found.price(Theorem.PLD).loss
    assert tightest is None or optimal is None or optimal.epsilon >= tightest.epsilon
