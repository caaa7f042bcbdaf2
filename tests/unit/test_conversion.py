"""Conversions between currencies against mpmath and against the definitions: never too low, and tight."""

from decimal import Decimal
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.conversion import (
    COST_PLACES,
    LARGEST_ORDER,
    PricingDisagreementError,
    best_order_for_cap,
    best_order_for_delta,
    best_order_for_epsilon,
    checked_order,
    gaussian_delta,
    mu_squared_cap,
    mu_to_epsilon,
    pure_to_mu_squared,
    renyi_cap,
    renyi_to_delta,
    renyi_to_epsilon,
    rho_to_delta,
    rho_to_epsilon,
)
from accounting.values import PRICE_PLACES, InvalidValueError

pytestmark = pytest.mark.untraced

STEP = Decimal(1).scaleb(-COST_PLACES)
DIGITS = 90

orders = st.one_of(st.integers(2, LARGEST_ORDER).map(Decimal), st.decimals("1.001", 500, places=3))
divergences = st.fractions(0, 50, max_denominator=10**6)
deltas = st.one_of(st.decimals("1e-30", "0.1", places=30), st.sampled_from([Decimal("1e-6"), Decimal("0.9")]))
epsilons = st.decimals("0.001", 100, places=6)
rhos = st.fractions(Fraction(1, 10**6), 20, max_denominator=10**7)
mus = st.fractions(Fraction(1, 1000), 30, max_denominator=10**4)


def mp(value: Decimal | Fraction) -> mpmath.mpf:
    """The number at the precision in force."""
    fraction = Fraction(value)
    return mpmath.mpf(fraction.numerator) / fraction.denominator


def exact(value: mpmath.mpf) -> Fraction:
    """The very number that mpmath holds."""
    sign, mantissa, exponent, _ = value._mpf_
    power: Fraction = Fraction(2) ** exponent
    return (-1 if sign else 1) * int(mantissa) * power


def stated_epsilon(renyi: Fraction, order: Decimal, delta: Decimal) -> Fraction:
    """Canonne, Kamath and Steinke 2020, Proposition 12, as it is printed."""
    with mpmath.workdps(DIGITS):
        a = mp(order)
        return exact(mp(renyi) + mpmath.log((a - 1) / a) - (mpmath.log(mp(delta)) + mpmath.log(a)) / (a - 1))


def stated_delta(renyi: Fraction, order: Decimal, epsilon: Decimal) -> Fraction:
    """The same, solved for delta."""
    with mpmath.workdps(DIGITS):
        a = mp(order)
        logarithm = (a - 1) * (mp(renyi) - mp(epsilon)) - mpmath.log(a - 1) + a * mpmath.log(1 - 1 / a)
        # No delta smaller than exp(-1600) is told; a little less allows for the last digit of that number itself.
        return exact(mpmath.exp(max(logarithm, -1600 - mpmath.mpf("1e-50"))))


def gaussian_hockey_stick(mu: Fraction, epsilon: Decimal) -> mpmath.mpf:
    """Delta of the Gaussian by its definition: the integral of what one density exceeds the other by."""
    with mpmath.workdps(30):
        mean, level = mp(mu), mp(epsilon)
        threshold = level / mean + mean / 2
        far = mpmath.mpf(40)

        def excess(x: mpmath.mpf) -> mpmath.mpf:
            return mpmath.npdf(x, mean, 1) - mpmath.exp(level) * mpmath.npdf(x, 0, 1)

        return mpmath.quad(excess, mpmath.linspace(threshold, max(threshold, mean) + far, 41))


# Renyi divergence at one order.


@pytest.mark.parametrize("order", [2, 3, LARGEST_ORDER])
def test_a_whole_order_in_range_is_accepted(order: int) -> None:
    """Both ends of the range are orders."""
    assert checked_order(order) == order


@pytest.mark.parametrize("order", [1, 0, -2, LARGEST_ORDER + 1, True, 2.0, "2", None])
def test_any_other_order_is_refused(order: int) -> None:
    """Order 1 has no conversion, and a truth value is a mistake."""
    with pytest.raises(InvalidValueError, match=r"^order: must be a whole number from 2 to 1024"):
        checked_order(order)


@given(divergences, orders, deltas)
def test_a_divergence_converts_to_the_stated_epsilon(renyi: Fraction, order: Decimal, delta: Decimal) -> None:
    """Never below the theorem's figure, above it by less than 1e-38, and never negative."""
    ours, stated = Fraction(renyi_to_epsilon(renyi, order, delta)), stated_epsilon(renyi, order, delta)
    assert max(stated, Fraction(0)) <= ours <= max(stated + Fraction(1, 10**38), Fraction(0))


@given(divergences, orders, epsilons)
def test_a_divergence_converts_to_the_stated_delta(renyi: Fraction, order: Decimal, epsilon: Decimal) -> None:
    """Never below the theorem's figure, relatively within 1e-30 of it, and at most 1."""
    ours, stated = Fraction(renyi_to_delta(renyi, order, epsilon)), stated_delta(renyi, order, epsilon)
    assert min(stated, Fraction(1)) <= ours <= min(stated * (1 + Fraction(1, 10**30)), Fraction(1))


@given(epsilons, st.integers(2, LARGEST_ORDER).map(Decimal), deltas)
def test_a_cap_keeps_its_promise_and_the_next_step_breaks_it(epsilon: Decimal, order: Decimal, delta: Decimal) -> None:
    """The largest divergence converts back to at most epsilon; a grid step more does not."""
    cap = Fraction(renyi_cap(epsilon, order, delta))
    assert stated_epsilon(cap, order, delta) <= epsilon < stated_epsilon(cap + Fraction(STEP), order, delta)


@given(epsilons, st.integers(2, LARGEST_ORDER).map(Decimal), deltas)
def test_a_cap_holds_in_delta_too(epsilon: Decimal, order: Decimal, delta: Decimal) -> None:
    """At the promised epsilon the cap's delta is at most the conversion's."""
    cap = renyi_cap(epsilon, order, delta)
    assert cap < 0 or Fraction(renyi_to_delta(cap, order, epsilon)) <= Fraction(delta)


# Zero-concentrated DP.


@given(rhos, deltas)
def test_rho_converts_at_an_order_that_no_other_beats(rho: Fraction, delta: Decimal) -> None:
    """The figure is that of a valid order; over a grid of orders none is lower by a part in a million."""
    ours = Fraction(rho_to_epsilon(rho, delta))
    assert ours >= stated_epsilon(rho * Fraction(_order_of(rho, delta)), _order_of(rho, delta), delta)
    for order in ("1.02", "1.1", "1.5", "2", "3", "5", "9", "17", "40", "100", "1000", "100000"):
        other = stated_epsilon(rho * Fraction(order), Decimal(order), delta)
        assert ours <= max(other, Fraction(0)) * (1 + Fraction(1, 10**6)) + Fraction(1, 10**12)


def _order_of(rho: Fraction, delta: Decimal) -> Decimal:
    return best_order_for_epsilon(float(rho), float(delta))


@given(rhos, epsilons)
def test_rho_converts_to_a_delta_that_no_order_beats(rho: Fraction, epsilon: Decimal) -> None:
    """Likewise for delta at a given epsilon."""
    ours = Fraction(rho_to_delta(rho, epsilon))
    order = best_order_for_delta(float(rho), float(epsilon))
    assert ours >= min(stated_delta(rho * Fraction(order), order, epsilon), Fraction(1))
    for text in ("1.02", "1.1", "1.5", "2", "3", "5", "9", "17", "40", "100", "1000"):
        other = stated_delta(rho * Fraction(text), Decimal(text), epsilon)
        assert ours <= other * (1 + Fraction(1, 10**6))


@given(epsilons, deltas)
def test_the_order_of_a_cap_leaves_the_most_room(epsilon: Decimal, delta: Decimal) -> None:
    """No order of a grid has room for a larger rho."""
    best = best_order_for_cap(float(epsilon), float(delta))
    room = Fraction(renyi_cap(epsilon, best, delta)) / Fraction(best)
    for text in ("1.1", "1.5", "2", "3", "5", "9", "17", "40", "100", "1000"):
        other = Fraction(renyi_cap(epsilon, Decimal(text), delta)) / Fraction(text)
        assert room >= other - abs(other) / 10**6 - Fraction(1, 10**14)


def test_rho_converts_as_opendp_does() -> None:
    """A published figure: Gaussian noise of scale 10 on sensitivity 1, at delta 1e-6."""
    assert float(rho_to_epsilon(Fraction(1, 200), Decimal("1e-6"))) == pytest.approx(0.42994146883694934, rel=1e-9)


@given(mus, deltas)
def test_what_rho_promises_covers_the_gaussian_that_has_it(mu: Fraction, delta: Decimal) -> None:
    """At the converted epsilon the exact delta is within the promise; and the converted delta covers the exact one."""
    rho = mu**2 / 2
    epsilon = rho_to_epsilon(rho, delta)
    assert gaussian_delta(mu, Fraction(epsilon)) <= Fraction(delta)
    told = Fraction(rho_to_delta(rho, Decimal(1)))
    assert gaussian_delta(mu, Decimal(1)) <= told


# Gaussian DP.


@pytest.mark.parametrize("mu", [Fraction(1, 50), Fraction(1, 2), Fraction(1), Fraction(3), Fraction(12)])
@pytest.mark.parametrize("epsilon", ["0", "0.001", "0.5", "1", "8"])
def test_the_exact_delta_is_the_integral_of_its_definition(mu: Fraction, epsilon: str) -> None:
    """The closed formula agrees with numerical integration of the hockey-stick to 15 digits."""
    integrated = gaussian_hockey_stick(mu, Decimal(epsilon))
    ours = gaussian_delta(mu, Decimal(epsilon))
    with mpmath.workdps(30):
        assert mpmath.almosteq(mp(ours), integrated, 1e-15, mpmath.mpf("1e-40"))


@pytest.mark.parametrize("mu", ["1e-12", "1e-7", "0.001", "1", "30"])
@pytest.mark.parametrize("deviations", ["0", "1e-9", "1", "30", "59.9"])
def test_the_exact_delta_keeps_its_digits_where_its_terms_are_close(mu: str, deviations: str) -> None:
    """Against the same formula with hundreds of digits more."""
    epsilon = Fraction(mu) * (Fraction(deviations) + Fraction(mu) / 2)
    with mpmath.workdps(2000):
        m, e = mp(Fraction(mu)), mp(epsilon)
        much = exact(mpmath.ncdf(m / 2 - e / m) - mpmath.exp(e) * mpmath.ncdf(-m / 2 - e / m))
    assert abs(gaussian_delta(Fraction(mu), epsilon) - much) <= much / 10**40


@pytest.mark.parametrize(("mu", "epsilon"), [("1e-12", "1"), ("1e-6", "1000000"), ("1", "60.51")])
def test_a_delta_too_small_to_be_written_out_is_rounded_up(mu: str, epsilon: str) -> None:
    """Its exact digits would fill the memory; what stands for it is above it and below any delta accepted."""
    assert gaussian_delta(Fraction(mu), Decimal(epsilon)) == Fraction(1, 10**700)
    assert mpmath.ncdf(-60) < mpmath.mpf(10) ** -700


@given(st.one_of(mus, st.fractions(Fraction(1, 10**7), Fraction(1, 10), max_denominator=10**9)), deltas)
def test_mu_converts_to_the_least_epsilon(mu: Fraction, delta: Decimal) -> None:
    """Its exact delta is within the promise; at an epsilon lower by a part in 10^9 it is not."""
    epsilon = Fraction(mu_to_epsilon(mu, delta))
    assert gaussian_delta(mu, epsilon) <= Fraction(delta)
    less = epsilon * (1 - Fraction(1, 10**9)) - Fraction(80, 10**PRICE_PLACES)
    assert less < 0 or gaussian_delta(mu, less) > Fraction(delta)


def test_a_gaussian_that_doubles_cannot_price_is_refused() -> None:
    """dp-accounting takes this delta for 1 and answers an epsilon of 0; the exact formula does not agree."""
    with pytest.raises(PricingDisagreementError, match=r"has a larger delta"):
        mu_to_epsilon(Fraction(100), 1 - Decimal("1e-28"))


@given(epsilons, deltas)
def test_a_gaussian_cap_keeps_its_promise_and_little_more_breaks_it(epsilon: Decimal, delta: Decimal) -> None:
    """The largest squared mu is within the exact delta; a part in 10^9 and a few grid steps more is not."""
    cap = Fraction(mu_squared_cap(epsilon, delta))
    with mpmath.workdps(DIGITS):
        above = exact(mpmath.sqrt(mp(cap))) * (1 + Fraction(1, 10**60))
        beyond = exact(mpmath.sqrt(mp(cap * (1 + Fraction(1, 10**9)) + 80 * Fraction(STEP))))
    assert cap == 0 or gaussian_delta(above, epsilon) <= Fraction(delta)
    assert gaussian_delta(beyond, epsilon) > Fraction(delta)


def test_a_promise_too_small_for_any_gaussian_has_a_cap_of_zero() -> None:
    """Nothing on the grid fits, which is no disagreement."""
    assert mu_squared_cap(Decimal("1e-30"), Decimal("1e-30")) == 0


def test_a_delta_that_doubles_take_for_one_has_no_cap() -> None:
    """dp-accounting answers a sigma of 0, that is: no noise at all."""
    with pytest.raises(PricingDisagreementError, match=r"was given a sigma of 0"):
        mu_squared_cap(Decimal(1), 1 - Decimal("1e-28"))


def test_a_delta_next_to_one_that_doubles_cannot_tell_apart_has_no_cap() -> None:
    """dp-accounting's sigma is that of another delta, and the exact formula does not agree with it."""
    with pytest.raises(PricingDisagreementError, match=r"no Gaussian near sigma"):
        mu_squared_cap(Decimal(1), Decimal("0.999999999999999"))


# Pure epsilon as Gaussian DP.


def test_an_epsilon_beyond_the_doubles_has_no_gaussian() -> None:
    """An infinite mu is no figure to charge."""
    with pytest.raises(PricingDisagreementError, match=r"no Gaussian was found"):
        pure_to_mu_squared(Decimal("1e400"))


@given(st.one_of(st.decimals("1e-12", 1, places=12), st.decimals(1, 1_000, places=6)))
def test_a_pure_epsilon_is_the_gaussian_whose_curve_passes_its_corner(epsilon: Decimal) -> None:
    """mu solves Phi(-mu/2) = 1 / (1 + exp(epsilon)); the square is never below and within a part in 10^8."""
    ours = Fraction(pure_to_mu_squared(epsilon))
    less = ours * (1 - Fraction(1, 10**8)) - 2 * Fraction(STEP)
    with mpmath.workdps(60):
        corner = 1 / (1 + mpmath.exp(mp(epsilon)))
        assert mpmath.ncdf(-mpmath.sqrt(mp(ours)) / 2) <= corner
        assert less < 0 or mpmath.ncdf(-mpmath.sqrt(mp(less)) / 2) > corner


@pytest.mark.parametrize("epsilon", ["0.001", "0.1", "0.5", "1", "3", "10", "30"])
def test_no_test_tells_a_pure_mechanism_apart_better_than_its_gaussian(epsilon: str) -> None:
    """The trade-off function of randomized response lies nowhere below the Gaussian's: both errors, on a grid."""
    with mpmath.workdps(50):
        mu, odds = mpmath.sqrt(mp(pure_to_mu_squared(Decimal(epsilon)))), mpmath.exp(mp(Decimal(epsilon)))
        corner = 1 / (1 + odds)
        grid = [mpmath.mpf(at) / 200 for at in range(1, 200)] + [corner * scale for scale in (0.5, 0.999, 1, 1.001)]
        touching = mpmath.inf
        for alpha in grid:
            response = max(1 - odds * alpha, (1 - alpha) / odds)
            quantile = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * alpha)
            gaussian = mpmath.ncdf(quantile - mu)
            assert gaussian <= response
            touching = min(touching, response - gaussian)
        assert touching < mpmath.mpf("1e-6")
