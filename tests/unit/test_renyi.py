"""Renyi divergences against direct integration and summation of the densities themselves: never below, and tight."""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import renyi
from accounting.conversion import PricingDisagreementError
from accounting.events import (
    ClaimEvent,
    ComposedEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    FixedSizeGaussianEvent,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    RandomizedResponseEvent,
    SelectionForm,
    ZCdpEvent,
)
from accounting.pure import pure_epsilon
from accounting.renyi import divergence, dp_accounting_divergence, inverse_pure_divergence, rho_of
from accounting.values import InvalidValueError
from tests.strategies import operations

pytestmark = pytest.mark.untraced

ONE, ZERO = Decimal(1), Decimal(0)
ORDERS = [1.5, 2, 3, 7.25, 32]
TIGHT = 1e-8
"""By how much, relatively, an exact divergence may be exceeded."""
GUMBEL, FLIP = SelectionForm.GUMBEL, SelectionForm.PERMUTE_AND_FLIP

Density = Callable[[mpmath.mpf], mpmath.mpf]


def integrated(p: Density, q: Density, order: float, points: Sequence[mpmath.mpf]) -> mpmath.mpf:
    """The divergence of p from q by its definition: ln of the integral of p^order q^(1 - order), over order - 1."""
    with mpmath.workdps(25):
        a = mpmath.mpf(order)
        whole = mpmath.quad(lambda x: p(x) ** a * q(x) ** (1 - a), [mpmath.mpf(x) for x in points])
        return mpmath.log(whole) / (a - 1)


def summed(pairs: Sequence[tuple[mpmath.mpf, mpmath.mpf]], order: float) -> mpmath.mpf:
    """The same for a discrete pair, given as the probabilities of each outcome."""
    a = mpmath.mpf(order)
    return mpmath.log(mpmath.fsum(p**a * q ** (1 - a) for p, q in pairs if p)) / (a - 1)


def normal(mean: mpmath.mpf, sigma: mpmath.mpf) -> Density:
    """The density of Gaussian noise around a mean."""
    return lambda x: mpmath.npdf(x, mean, sigma)


def laplace(mean: mpmath.mpf, scale: mpmath.mpf) -> Density:
    """The density of Laplace noise around a mean."""
    return lambda x: mpmath.exp(-abs(x - mean) / scale) / (2 * scale)


def mixed(rate: float, first: Density, second: Density) -> Density:
    """The first with probability 1 - rate, else the second."""
    return lambda x: (1 - mpmath.mpf(rate)) * first(x) + mpmath.mpf(rate) * second(x)


def assert_exact(ours: Fraction, exact: mpmath.mpf) -> None:
    """Never below, and above by no more than rounding explains."""
    assert_not_below(ours, exact)
    assert float(ours) <= float(exact) * (1 + TIGHT) + 1e-11


def assert_not_below(ours: Fraction, exact: mpmath.mpf) -> None:
    """An upper bound."""
    with mpmath.workdps(22):
        assert exact * (1 - mpmath.mpf("1e-15")) <= mpmath.mpf(ours.numerator) / ours.denominator


# Noise that is added.


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("sigma", "sensitivity"), [("1", "1"), ("5", "0.5"), ("0.7", "1.3")])
def test_gaussian_noise(sigma: str, sensitivity: str, order: float) -> None:
    """The integral of two Gaussians one sensitivity apart."""
    with mpmath.workdps(22):
        s, d = mpmath.mpf(sigma), mpmath.mpf(sensitivity)
        reach = int(60 + order * d / s)
        exact = integrated(normal(d, s), normal(0, s), order, [d / 2 + k * s for k in range(-reach, reach, 6)])
    assert_exact(divergence(GaussianEvent(Decimal(sigma), Decimal(sensitivity)), order), exact)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("sigma", "sensitivity"), [("1", 1), ("3", 2), ("0.5", 1)])
def test_discrete_gaussian_noise(sigma: str, sensitivity: int, order: float) -> None:
    """The sum over whole numbers is never above, and for sigma from 1 hardly below, the one proven of rho."""
    s = mpmath.mpf(sigma)
    reach = int(40 * float(s) + (order + 1) * sensitivity)
    pairs = [
        (mpmath.exp(-((x - sensitivity) ** 2) / (2 * s**2)), mpmath.exp(-(x**2) / (2 * s**2)))
        for x in range(-reach, reach + 1)
    ]
    total = mpmath.fsum(q for _, q in pairs)
    exact = summed([(p / total, q / total) for p, q in pairs], order)
    ours = divergence(DiscreteGaussianEvent(Decimal(sigma), Decimal(sensitivity)), order)
    assert float(exact) <= float(ours) * (1 + 1e-12)
    if s >= 1:
        assert float(ours) <= float(exact) * (1 + 1e-4)


@pytest.mark.parametrize("order", [*ORDERS, 1.001, 700])
@pytest.mark.parametrize(("scale", "sensitivity"), [("1", "1"), ("5", "0.5"), ("0.25", "2"), ("900", "1")])
def test_laplace_noise(scale: str, sensitivity: str, order: float) -> None:
    """The integral of two Laplace densities, one piece between the peaks and two beyond them in closed form."""
    with mpmath.workdps(22):
        b, d, a = mpmath.mpf(scale), mpmath.mpf(sensitivity), mpmath.mpf(order)
        beyond = (mpmath.exp((a - 1) * d / b) + mpmath.exp(-a * d / b)) / 2
        p, q = laplace(d, b), laplace(0, b)
        between = mpmath.quad(lambda x: p(x) ** a * q(x) ** (1 - a), [d * k / 16 for k in range(17)])
        exact = mpmath.log(beyond + between) / (a - 1)
    assert_exact(divergence(LaplaceEvent(Decimal(scale), Decimal(sensitivity)), order), exact)


@pytest.mark.parametrize("order", [*ORDERS, 1.001, 700])
@pytest.mark.parametrize(("scale", "sensitivity"), [("1", 1), ("5", 3), ("0.25", 2), ("60", 1), ("2", 40)])
def test_discrete_laplace_noise(scale: str, sensitivity: int, order: float) -> None:
    """The sum over whole numbers, far enough out for all digits of a double."""
    with mpmath.workdps(40):
        a = 1 / mpmath.mpf(scale)
        reach = int(100 * float(scale)) + sensitivity
        norm = mpmath.tanh(a / 2)
        pairs = [
            (norm * mpmath.exp(-abs(x - sensitivity) * a), norm * mpmath.exp(-abs(x) * a))
            for x in range(-reach, reach + sensitivity + 1)
        ]
        exact = summed(pairs, order)
    assert_exact(divergence(DiscreteLaplaceEvent(Decimal(scale), Decimal(sensitivity)), order), exact)


@pytest.mark.parametrize(("scale", "sensitivity"), [("2000", "1"), ("1e6", "3")])
def test_very_little_laplace_is_priced_as_any_pure_mechanism(scale: str, sensitivity: str) -> None:
    """Where the closed form loses digits: above the exact figure, by less than a part in 500."""
    epsilon = mpmath.mpf(sensitivity) / mpmath.mpf(scale)
    for order in ORDERS:
        with mpmath.workdps(60):
            a = mpmath.mpf(order)
            up, down = a / (2 * a - 1) * mpmath.exp((a - 1) * epsilon), (a - 1) / (2 * a - 1) * mpmath.exp(-a * epsilon)
            exact = mpmath.log(up + down) / (a - 1)
        for made in (LaplaceEvent, DiscreteLaplaceEvent):
            ours = divergence(made(Decimal(scale), Decimal(sensitivity)), order)
            assert_not_below(ours, exact)
            assert float(ours) <= float(exact) * 1.002 + 1e-13


# Mechanisms known by their odds alone.


def response(epsilon: float | str, order: float) -> mpmath.mpf:
    """Randomized response between two answers: from it every pure mechanism is obtained."""
    with mpmath.workdps(60 + int(float(epsilon))):
        p = 1 / (1 + mpmath.exp(-mpmath.mpf(epsilon)))
        return summed([(p, 1 - p), (1 - p, p)], order)


@pytest.mark.parametrize("order", [*ORDERS, 1.001, 700])
@pytest.mark.parametrize("epsilon", ["0.000001", "0.01", "0.5", "3", "40"])
def test_a_pure_claim_is_randomized_response(epsilon: str, order: float) -> None:
    """Exactly, from the smallest to those that all but reach epsilon."""
    ours = divergence(ClaimEvent(Decimal(epsilon), Decimal("0.1")), order)
    assert_exact(ours, response(epsilon, order))
    assert float(ours) <= float(epsilon) * (1 + 1e-9) + 1e-13


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("probability", "categories"), [("0.75", 2), ("0.5001", 2), ("0.5", 3), ("0.9", 40)])
def test_randomized_response(probability: str, categories: int, order: float) -> None:
    """Exact for two answers; for more a bound, since other lies carry no information."""
    with mpmath.workdps(60):
        p = mpmath.mpf(probability)
        lie = (1 - p) / (categories - 1)
        exact = summed([(p, lie), (lie, p), *[(lie, lie)] * (categories - 2)], order)
    ours = divergence(RandomizedResponseEvent(Decimal(probability), categories), order)
    if categories == 2:
        assert_exact(ours, exact)
    else:
        assert_not_below(ours, exact)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("monotonic", [False, True])
@pytest.mark.parametrize("scale", ["0.5", "2", "20"])
def test_selection_by_gumbel_noise(scale: str, monotonic: bool, order: float) -> None:
    """A bound for every pair of scores one sensitivity apart, near the largest of them."""
    b = mpmath.mpf(scale)
    ours = divergence(ExponentialEvent(Decimal(scale), ONE, GUMBEL, monotonic), order)
    largest = mpmath.mpf(0)
    for others in range(1, 30):
        for lead in (-6, -3, -1, 0, 1, 2, 4):
            first, rest = mpmath.exp((lead + 1) / b), others * (1 if monotonic else mpmath.exp(-1 / b))
            before = (mpmath.exp(lead / b) / (mpmath.exp(lead / b) + others), others / (mpmath.exp(lead / b) + others))
            after = (first / (first + rest), rest / (first + rest))
            for p, q in ((before, after), (after, before)):
                exact = summed(list(zip(p, q, strict=True)), order)
                assert_not_below(ours, exact)
                largest = max(largest, exact)
    epsilon = float(pure_epsilon(ExponentialEvent(Decimal(scale), ONE, GUMBEL, monotonic)))
    assert float(ours) <= min(order * epsilon**2 / 8, epsilon) * (1 + TIGHT)
    if order * epsilon < 1:
        assert float(ours) < float(largest) * 1.1


def test_permute_and_flip_has_no_bounded_range() -> None:
    """It is priced as any pure mechanism: its odds may move all the way in either direction."""
    flip = ExponentialEvent(Decimal(4), ONE, FLIP, monotonic=False)
    assert divergence(flip, 5) == divergence(ClaimEvent(Decimal("0.5"), ZERO), 5)
    assert divergence(ExponentialEvent(Decimal(4), ONE, GUMBEL, monotonic=False), 5) < divergence(flip, 5)


# Sampled noise, in both directions.


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("scale", "rate"), [("1", "0.1"), ("0.5", "0.5"), ("3", "0.01"), ("2", "1")])
def test_poisson_sampled_laplace_noise(scale: str, rate: str, order: float) -> None:
    """A bound on what a unit's part in a sample adds or takes away, by integration."""
    b, q = mpmath.mpf(scale), mpmath.mpf(rate)
    without, with_unit = laplace(0, b), mixed(q, laplace(0, b), laplace(1, b))
    grid = [-80 * b, -20 * b, -5 * b, *[k / 16 for k in range(17)], 1 + 5 * b, 1 + 20 * b, 1 + 80 * b]
    ours = divergence(PoissonLaplaceEvent(Decimal(scale), ONE, Decimal(rate)), order)
    for one, other in ((without, with_unit), (with_unit, without)):
        assert_not_below(ours, integrated(one, other, order, grid))


POISSON = [("1", "0.01"), ("0.8", "0.3"), ("5", "0.001"), ("2", "0.9"), ("0.3", "0.02"), ("1.5", "1")]


@pytest.mark.parametrize("order", [1.1, 1.5, 2, 3, 4.5, 12])
@pytest.mark.parametrize(("sigma", "rate"), POISSON)
def test_poisson_sampled_gaussian_noise(sigma: str, rate: str, order: float) -> None:
    """The larger of both directions, by integration; the one that dp-accounting computes too, but not so tightly."""
    with mpmath.workdps(22):
        s, q = mpmath.mpf(sigma), mpmath.mpf(rate)
        without, with_unit = normal(0, s), mixed(q, normal(0, s), normal(1, s))
        reach = int(24 + order / s)
        grid = [k * s for k in range(-reach, reach + 1, 4)]
        taken, added = integrated(with_unit, without, order, grid), integrated(without, with_unit, order, grid)
        assert added <= taken * (1 + mpmath.mpf("1e-15"))
    event = PoissonGaussianEvent(Decimal(sigma), ONE, Decimal(rate))
    theirs = dp_accounting_divergence(event, order)
    if math.isfinite(theirs):
        assert_exact(divergence(event, order), taken)
        assert float(divergence(event, order)) <= theirs * (1 + TIGHT) + 1e-11
    else:
        assert_not_below(divergence(event, order), taken)


@pytest.mark.parametrize("rate", ["0.5", "0.001", "1e-30"])
@pytest.mark.parametrize("order", [2.05, 2.5, 5.5])
def test_sampled_noise_at_the_smallest_multiplier(rate: str, order: float) -> None:
    """Where powers of the ratio leave the doubles, between whole orders: no NaN and no infinity, but the figure."""
    with mpmath.workdps(22):
        s, q, a = mpmath.mpf("0.1"), mpmath.mpf(rate), mpmath.mpf(order)
        grid = [k * s for k in range(-24, int(order * 10) + 25, 4)]
        whole = mpmath.quad(
            lambda x: mpmath.npdf(x, 0, s) * (1 - q + q * mpmath.exp((2 * x - 1) / (2 * s**2))) ** a, grid
        )
        exact = mpmath.log(whole) / (a - 1)
    assert_exact(divergence(PoissonGaussianEvent(Decimal("0.1"), ONE, Decimal(rate)), order), max(exact, mpmath.mpf(0)))


def test_where_nobody_confirms_the_integral_a_chord_stands_above_it() -> None:
    """dp-accounting's series does not converge here; the bound between whole orders is convex, so still a bound."""
    event = PoissonGaussianEvent(Decimal(30), ONE, Decimal("0.5"))
    assert math.isinf(dp_accounting_divergence(event, 1.01))
    exact = integrated(
        mixed(0.5, normal(0, 30), normal(1, 30)), normal(0, 30), 1.01, [k * 30 for k in range(-40, 41, 2)]
    )
    ours = divergence(event, 1.01)
    assert_not_below(ours, exact)
    assert float(ours) < 3 * float(exact)


def fixed_size_bound(sigma: str, rate: Fraction, order: int) -> mpmath.mpf:
    """Wang, Balle and Kasiviswanathan 2019, Theorem 27, as it is printed, with moments by integration."""
    with mpmath.workdps(25):
        s, q = mpmath.mpf(sigma), mpmath.mpf(rate.numerator) / rate.denominator

        def moment(power: int) -> mpmath.mpf:
            return mpmath.quad(
                lambda x: mpmath.npdf(x, 0, s) * (mpmath.exp((2 * x - 1) / (2 * s**2)) - 1) ** power,
                [k * s for k in range(-24, 25 + int(power / s), 4)],
            )

        total = mpmath.mpf(1)
        for j in range(2, order + 1):
            plain = 2 * mpmath.exp((j - 1) * j / (2 * s**2))
            root = mpmath.sqrt(moment(2 * (j // 2)) * moment(2 * ((j + 1) // 2)))
            total += mpmath.binomial(order, j) * q**j * min(plain, 4 * root)
        return mpmath.log(total) / (order - 1)


FIXED = [("1", 10, 100), ("4", 100, 1000), ("0.6", 1, 50)]


@pytest.mark.parametrize("order", [2, 3, 6])
@pytest.mark.parametrize(("sigma", "sample", "population"), FIXED)
def test_fixed_size_sampled_gaussian_noise_is_the_theorems_bound(
    sigma: str, sample: int, population: int, order: int
) -> None:
    """To nine digits; our own path keeps those that dp-accounting loses."""
    ours = divergence(FixedSizeGaussianEvent(Decimal(sigma), ONE, sample, population), order)
    assert_exact(ours, fixed_size_bound(sigma, Fraction(sample, population), order))


@pytest.mark.parametrize("order", [1.5, 2, 4.5])
@pytest.mark.parametrize(("sigma", "sample", "population"), FIXED)
def test_fixed_size_sampled_gaussian_noise_costs_what_replacing_a_unit_shows(
    sigma: str, sample: int, population: int, order: float
) -> None:
    """A bound in both directions, wherever the two values of the unit lie, by integration."""
    s, q = mpmath.mpf(sigma), mpmath.mpf(sample) / population
    ours = divergence(FixedSizeGaussianEvent(Decimal(sigma), ONE, sample, population), order)
    reach = int(24 + 2 * order / s)
    grid = [k * s for k in range(-reach, reach + 1, 4)]
    for old, new in ((0.0, 1.0), (1.0, 0.0), (-0.5, 0.5), (-0.2, 0.8)):
        before, after = (mixed(q, normal(0, s), normal(at, s)) for at in (old, new))
        assert_not_below(ours, integrated(before, after, order, grid))


def test_orders_beyond_those_with_moments_are_priced_too() -> None:
    """Both accountants then use the plainer terms, which cost more."""
    event = FixedSizeGaussianEvent(Decimal(20), ONE, 1, 100)
    assert divergence(event, 257) > divergence(event, 256)
    assert float(divergence(event, 257)) >= dp_accounting_divergence(event, 257)


def test_sampling_all_is_no_sampling() -> None:
    """A rate of one is the Gaussian itself, whatever the order."""
    for order in ORDERS:
        plain = float(divergence(GaussianEvent(Decimal("1.5"), ONE), order))
        for event in (
            PoissonGaussianEvent(Decimal("1.5"), ONE, ONE),
            FixedSizeGaussianEvent(Decimal("1.5"), ONE, 7, 7),
        ):
            assert float(divergence(event, order)) == pytest.approx(plain, rel=1e-9)
            assert float(divergence(event, order)) >= plain


@pytest.mark.parametrize("sigma", ["0.0999", "10000000.1"])
def test_sampled_noise_out_of_range_is_refused(sigma: str) -> None:
    """Less noise promises nothing and takes long; more costs nothing anyone could count."""
    for event in (
        PoissonGaussianEvent(Decimal(sigma), ONE, Decimal("0.1")),
        FixedSizeGaussianEvent(Decimal(sigma), ONE, 1, 10),
    ):
        with pytest.raises(InvalidValueError, match=r"^event\.sigma: is out of range"):
            divergence(event, 2)


def test_the_range_of_sampled_noise_includes_its_ends() -> None:
    """And is meant relative to the sensitivity."""
    assert divergence(PoissonGaussianEvent(Decimal("0.2"), Decimal(2), Decimal("0.1")), 2) > 0
    assert divergence(PoissonGaussianEvent(Decimal(10_000_000), ONE, Decimal("0.1")), 2) > 0


# Two accountants.


@pytest.mark.parametrize("theirs", [math.inf, math.nan, 1.00001, 0.99999])
def test_a_disagreement_denies(theirs: float) -> None:
    """Neither figure may be charged where they differ, or one is no number."""
    event = PoissonGaussianEvent(ONE, ONE, Decimal("0.1"))
    with pytest.raises(PricingDisagreementError, match="has a divergence of 1"):
        renyi._agreed(theirs, 1.0, event, 2)


def test_of_two_figures_that_agree_the_larger_counts() -> None:
    """In whichever accountant it is."""
    event = PoissonGaussianEvent(ONE, ONE, Decimal("0.1"))
    assert renyi._agreed(1 + 1e-10, 1.0, event, 2) == 1 + 1e-10
    assert renyi._agreed(1.0, 1 + 1e-10, event, 2) == 1 + 1e-10


@pytest.mark.parametrize("theirs", [math.inf, math.nan, 0.99999])
def test_a_tighter_path_that_comes_out_larger_denies(theirs: float) -> None:
    """Between whole orders ours may be below theirs, never above."""
    event = PoissonGaussianEvent(ONE, ONE, Decimal("0.1"))
    with pytest.raises(PricingDisagreementError, match="has a divergence of 1"):
        renyi._not_above(theirs, 1.0, event, 2.5)
    assert renyi._not_above(1.5, 1.0, event, 2.5) == 1.0


@pytest.mark.parametrize("value", [math.inf, math.nan, -1e-9])
def test_a_figure_that_is_no_divergence_denies(value: float) -> None:
    """A NaN would compare as within any budget."""
    with pytest.raises(PricingDisagreementError, match="came out as"):
        renyi._widened(value)


# Laws.


@given(operations, st.sampled_from([(1.25, 2), (2, 2.5), (2, 3), (5, 16), (16, 17)]))
def test_a_divergence_does_not_fall_with_the_order(event: Event, orders: tuple[float, float]) -> None:
    """Van Erven and Harremoes 2014, Theorem 3; up to the bounds' own slack where they are not exact."""
    lower, higher = (divergence(event, order) for order in orders)
    slack = (
        Fraction(11, 10) if isinstance(event, FixedSizeGaussianEvent | PoissonGaussianEvent) else 1 + Fraction(1, 10**8)
    )
    assert lower <= higher * slack + Fraction(1, 10**12)


@given(operations, st.sampled_from([1.5, 2, 17]))
def test_zero_concentrated_dp_covers_every_order(event: Event, order: float) -> None:
    """What a single operation has in rho is at least what it has at any order, divided by that order."""
    rho = rho_of(event)
    if rho is not None:
        assert divergence(event, order) <= rho * Fraction(order) * (1 + Fraction(1, 10**8)) + Fraction(1, 10**12)


def test_rho_of_each_kind() -> None:
    """The published constants: half the squared epsilon, an eighth for bounded range, half the squared ratio."""
    half = Fraction(1, 2)
    assert rho_of(ZCdpEvent(Decimal("0.3"))) == Fraction(3, 10)
    assert rho_of(GaussianEvent(Decimal(4), Decimal(2))) == Fraction(1, 8)
    assert rho_of(DiscreteGaussianEvent(Decimal(4), Decimal(2))) == Fraction(1, 8)
    assert rho_of(LaplaceEvent(Decimal(2), ONE)) == half * half**2
    assert rho_of(DiscreteLaplaceEvent(Decimal(2), ONE)) == half * half**2
    assert rho_of(ClaimEvent(Decimal("0.5"), Decimal("0.1"))) == half * half**2
    assert rho_of(ExponentialEvent(Decimal(2), ONE, GUMBEL, monotonic=False)) == Fraction(1, 8)
    assert rho_of(ExponentialEvent(Decimal(2), ONE, GUMBEL, monotonic=True)) == Fraction(1, 32)
    assert rho_of(ExponentialEvent(Decimal(2), ONE, FLIP, monotonic=False)) == half
    sampled = PoissonLaplaceEvent(Decimal(2), ONE, Decimal("0.1"))
    assert rho_of(sampled) == Fraction(pure_epsilon(sampled)) ** 2 / 2
    told = RandomizedResponseEvent(Decimal("0.75"), 2)
    assert rho_of(told) == Fraction(pure_epsilon(told)) ** 2 / 2
    assert rho_of(PoissonGaussianEvent(ONE, ONE, Decimal("0.1"))) is None
    assert rho_of(FixedSizeGaussianEvent(ONE, ONE, 1, 10)) is None


def test_a_composition_is_no_single_operation() -> None:
    """Asking for its rho or divergence here is a mistake in the program, and answered by no number."""
    whole = ComposedEvent((GaussianEvent(ONE, ONE),))
    with pytest.raises(TypeError, match="composed is not a single operation"):
        rho_of(whole)
    with pytest.raises(InvalidValueError, match="has no pure epsilon"):
        divergence(whole, 2)


def test_the_inverse_ends_though_it_has_not_arrived() -> None:
    """So small a target takes more than a hundred steps: what is answered then lies above."""
    assert 1e-60 < inverse_pure_divergence(1e-120, 2) < 1e-20


@given(st.floats(1e-12, 900), st.one_of(st.integers(2, 1024), st.floats(1.1, 60)))
def test_a_divergence_tells_which_pure_epsilon_has_it(target: float, order: float) -> None:
    """The inverse, to nine digits."""
    epsilon = inverse_pure_divergence(target, order)
    assert float(response(epsilon, order)) == pytest.approx(target, rel=1e-8)
