"""Pure epsilons against the exact odds of the mechanisms that have them."""

from decimal import Decimal
from fractions import Fraction

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from accounting.values import MAX_EPSILON, PRICE_PLACES, InvalidValueError

ONE, TWO = Decimal(1), Decimal(2)
GRID = Fraction(1, 10**PRICE_PLACES)
GUMBEL, FLIP = SelectionForm.GUMBEL, SelectionForm.PERMUTE_AND_FLIP

scales = st.decimals("0.01", 100_000, places=8)
sensitivities = st.decimals("0.1", 1_000, places=6)


def assert_is_log_of(epsilon: Decimal, odds: object) -> None:
    """Epsilon is the logarithm of the odds, rounded up by less than two grid steps."""
    with mpmath.workdps(80):
        exact = mpmath.log(odds)
        given_as = mpmath.mpf(str(epsilon))
        # The reference itself is good to some 75 digits.
        assert exact - mpmath.mpf("1e-70") <= given_as < exact + 2 * mpmath.mpf(10) ** -PRICE_PLACES


def mp(value: Decimal | Fraction) -> mpmath.mpf:
    """The number at the precision in force."""
    fraction = Fraction(value)
    return mpmath.mpf(fraction.numerator) / fraction.denominator


@given(st.decimals("1e-30", "0.1", places=30))
def test_a_claim_has_the_epsilon_it_claims(epsilon: Decimal) -> None:
    """To the last digit, unrounded."""
    assert pure_epsilon(ClaimEvent(epsilon, Decimal("0.1"))) == epsilon


@given(scales, sensitivities)
def test_laplace_noise_costs_its_ratio_rounded_up(scale: Decimal, sensitivity: Decimal) -> None:
    """Never below the exact ratio and less than one grid step above it."""
    exact = Fraction(sensitivity) / Fraction(scale)
    assert exact <= Fraction(pure_epsilon(LaplaceEvent(scale, sensitivity))) < exact + GRID


@given(scales, st.integers(1, 1000))
def test_discrete_laplace_noise_costs_the_ratio_of_its_probabilities(scale: Decimal, sensitivity: int) -> None:
    """The odds of an outcome beyond both peaks: exp(-|x| / scale) over exp(-|x + sensitivity| / scale)."""
    epsilon = pure_epsilon(DiscreteLaplaceEvent(scale, Decimal(sensitivity)))
    with mpmath.workdps(80):
        odds = mpmath.exp(-3 / mp(scale)) / mpmath.exp(-(3 + sensitivity) / mp(scale))
    assert_is_log_of(epsilon, odds)


@given(st.decimals("0.000001", "0.999999", places=20), st.integers(2, 1_000_000))
def test_a_response_costs_the_odds_of_truth_against_one_lie(share: Decimal, categories: int) -> None:
    """p over (1 - p) / (k - 1), from nearly no information to nearly all of it."""
    least = Fraction(1, categories)
    truth = Decimal(int((least + Fraction(share) * (1 - least)) * 10**25) + 1).scaleb(-25)
    event = RandomizedResponseEvent(truth, categories)
    lie = (1 - Fraction(event.probability)) / (categories - 1)
    with mpmath.workdps(80):
        odds = mp(Fraction(event.probability) / lie)
    assert_is_log_of(pure_epsilon(event), odds)


def test_a_response_next_to_the_bounds_keeps_its_digits() -> None:
    """Where the odds are 1 but for the last digit, and where they are largest."""
    nearly_nothing = RandomizedResponseEvent(Decimal("0.500000000000000000000000000001"), 2)
    assert pure_epsilon(nearly_nothing) == Decimal("1e-12")
    nearly_all = RandomizedResponseEvent(1 - Decimal("1e-28"), 1_000_000)
    with mpmath.workdps(80):
        odds = mp(Fraction(nearly_all.probability) * 999_999 * 10**28)
    assert_is_log_of(pure_epsilon(nearly_all), odds)


@given(scales, sensitivities, st.sampled_from(SelectionForm))
def test_selection_costs_twice_its_ratio_unless_scores_move_together(
    scale: Decimal, sensitivity: Decimal, form: SelectionForm
) -> None:
    """Rounded up by less than a step, in both forms alike."""
    ratio = Fraction(sensitivity) / Fraction(scale)
    for monotonic, exact in ((False, 2 * ratio), (True, ratio)):
        epsilon = Fraction(pure_epsilon(ExponentialEvent(scale, sensitivity, form, monotonic)))
        assert exact <= epsilon < exact + GRID


def gumbel(scores: list[Fraction]) -> list[mpmath.mpf]:
    """The chance of each candidate under Gumbel noise of scale 1."""
    weights = [mpmath.exp(mp(score)) for score in scores]
    total = mpmath.fsum(weights)
    return [weight / total for weight in weights]


def flip(scores: list[Fraction]) -> list[mpmath.mpf]:
    """The chance of each candidate by permute-and-flip at scale 1: the sum over all subsets of those that refuse.

    A random order is tried, each candidate accepted with exp(score - best); by inclusion and exclusion over the others
    that came earlier (McKenna and Sheldon 2020, Proposition 5).
    """
    best = max(scores)
    accept = [mpmath.exp(mp(score - best)) for score in scores]
    chances = []
    for chosen, rate in enumerate(accept):
        others = [a for at, a in enumerate(accept) if at != chosen]
        # Coefficients of the product of (1 - t a) in t, integrated over the moment t at which the chosen one is tried.
        polynomial = [mpmath.mpf(1)]
        for a in others:
            padded = [*polynomial, mpmath.mpf(0)]
            polynomial = [c - a * (padded[at - 1] if at else 0) for at, c in enumerate(padded)]
        chances.append(rate * mpmath.fsum(c / (at + 1) for at, c in enumerate(polynomial)))
    return chances


def test_the_chances_of_both_selections_sum_to_one() -> None:
    """The reference itself is right: distributions, in the order of the scores, alike where scores are."""
    scores = [Fraction(0), Fraction(1), Fraction(1), Fraction(5, 2)]
    for draw in (gumbel, flip):
        chances = draw(scores)
        assert mpmath.almosteq(mpmath.fsum(chances), 1, 1e-12)
        assert chances[0] < chances[1] == chances[2] < chances[3]


@given(
    st.lists(st.fractions(-3, 3, max_denominator=20), min_size=2, max_size=5),
    st.lists(st.fractions(-1, 1, max_denominator=20), min_size=5, max_size=5),
    st.sampled_from(SelectionForm),
    st.booleans(),
)
def test_no_odds_of_a_selection_exceed_its_epsilon(
    scores: list[Fraction], moves: list[Fraction], form: SelectionForm, monotonic: bool
) -> None:
    """Whatever the scores and however a privacy unit moves them within the sensitivity."""
    shifted = [s + (abs(m) if monotonic else m) for s, m in zip(scores, moves, strict=False)]
    epsilon = mp(pure_epsilon(ExponentialEvent(ONE, ONE, form, monotonic)))
    draw = gumbel if form is GUMBEL else flip
    for one, other in zip(draw(scores), draw(shifted), strict=True):
        assert abs(mpmath.log(one / other)) <= epsilon + mpmath.mpf("1e-12")


@pytest.mark.parametrize("monotonic", [False, True])
def test_the_odds_of_a_selection_come_as_near_as_they_are_said(monotonic: bool) -> None:
    """Permute-and-flip between two candidates reaches its epsilon; the Gumbel form among many comes near."""
    raised, lowered = Fraction(1), Fraction(0 if monotonic else -1)
    flipped = flip([Fraction(-9), Fraction(0)])[0] / flip([-9 + lowered, raised])[0]
    epsilon = pure_epsilon(ExponentialEvent(ONE, ONE, FLIP, monotonic))
    assert abs(mpmath.log(flipped) - mp(epsilon)) < 1e-9
    many = 5000
    before = gumbel([Fraction(0)] * many)[0]
    after = gumbel([raised] + [lowered] * (many - 1))[0]
    assert mpmath.log(after / before) > mp(pure_epsilon(ExponentialEvent(ONE, ONE, GUMBEL, monotonic))) - 0.01


@given(st.decimals("0.05", 500, places=6), st.decimals("1e-12", 1, places=12))
def test_sampled_laplace_noise_costs_its_worst_odds(scale: Decimal, rate: Decimal) -> None:
    """The mixture with the unit's part against the noise without it, on the side where the odds are constant."""
    base = pure_epsilon(LaplaceEvent(scale, ONE))
    epsilon = pure_epsilon(PoissonLaplaceEvent(scale, ONE, rate))
    with mpmath.workdps(80):
        with_unit = 1 - mp(rate) + mp(rate) * mpmath.exp(mp(base))
        without = 1 / (1 - mp(rate) + mp(rate) * mpmath.exp(-mp(base)))
        assert with_unit >= without - mpmath.mpf("1e-70")
    assert_is_log_of(epsilon, with_unit)


def test_sampling_never_costs_anything() -> None:
    """Where the formula would leave the decimals, the noise's own epsilon stands; all sampled is no sample."""
    strong = Decimal("0.0001")
    assert pure_epsilon(PoissonLaplaceEvent(strong, ONE, Decimal("0.5"))) == 10_000
    assert pure_epsilon(PoissonLaplaceEvent(TWO, ONE, ONE)) == Decimal("0.5")
    at_the_bound = pure_epsilon(PoissonLaplaceEvent(Decimal("0.001"), ONE, Decimal("0.5")))
    assert Decimal("999.3") < at_the_bound < Decimal("999.31")
    assert pure_epsilon(PoissonLaplaceEvent(TWO, ONE, Decimal("1e-30"))) == Decimal("1e-12")


@pytest.mark.parametrize(
    "event",
    [
        LaplaceEvent(Decimal("1e-9"), Decimal(1000)),
        DiscreteLaplaceEvent(Decimal("1e-9"), Decimal(1000)),
        ExponentialEvent(Decimal("1e-9"), Decimal(1000), GUMBEL, monotonic=False),
        PoissonLaplaceEvent(Decimal("1e-9"), Decimal(1000), Decimal("0.001")),
    ],
)
def test_a_price_beyond_all_sense_is_refused(event: Event) -> None:
    """Each number is valid alone, but noise this small for its sensitivity protects nobody."""
    with pytest.raises(InvalidValueError, match=r"^event: costs an epsilon of [12]000000000000, more than 1000000"):
        pure_epsilon(event)


def test_the_largest_price_is_the_largest_epsilon() -> None:
    """The bound itself is a price."""
    assert pure_epsilon(LaplaceEvent(ONE, MAX_EPSILON)) == MAX_EPSILON
    with pytest.raises(InvalidValueError):
        pure_epsilon(LaplaceEvent(ONE, MAX_EPSILON + Decimal("1e-12")))


@pytest.mark.parametrize(
    "event",
    [
        GaussianEvent(ONE, ONE),
        DiscreteGaussianEvent(ONE, ONE),
        ZCdpEvent(ONE),
        PoissonGaussianEvent(ONE, ONE, Decimal("0.1")),
        FixedSizeGaussianEvent(ONE, ONE, 1, 10),
        ComposedEvent((ClaimEvent(ONE, Decimal(0)),)),
    ],
)
def test_what_has_no_pure_epsilon_is_refused(event: Event) -> None:
    """Answering some number would be a claim that no theorem makes."""
    with pytest.raises(InvalidValueError, match=rf"^event: of kind {event.kind} has no pure epsilon"):
        pure_epsilon(event)
