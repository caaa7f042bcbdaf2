"""Bounds from canaries: never above the truth but as often as they say, near it where they can be, 0 without a sign.

Scores and coins are simulated with fixed seeds, so a test either always passes or never does.
"""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from accounting.events import PoissonGaussianEvent, SelfComposedEvent
from accounting.plans import price_plan
from accounting.values import InvalidValueError
from deployments.auditing.gaussian_canaries import FEWEST, area_limit, canary_bound, gaussian_epsilon
from deployments.auditing.one_run import Guesses, guess, likelihood, one_run_bound

DELTA, CONFIDENCE, REPEATS = 1e-5, 0.95, 400
ALLOWED = int(stats.binom.ppf(0.999, REPEATS, 1 - CONFIDENCE))
"""In so many of the repeats a bound that errs with probability 0.05 may err."""


def truthful(epsilon: float) -> float:
    """How often randomized response of that epsilon tells the truth."""
    return 1 / (1 + math.exp(-epsilon))


def exact_likelihood(guesses: Guesses, right: Fraction, delta: Fraction) -> Fraction:
    """Theorem 5.2 in rational numbers, term by term, over all i."""

    def tail(least: int) -> Fraction:
        return sum(
            (math.comb(guesses.made, k) * right**k * (1 - right) ** (guesses.made - k))
            for k in range(max(least, 0), guesses.made + 1)
        ) or Fraction(0)

    last = tail(guesses.correct)
    steepest = max((tail(guesses.correct - i) - last) / i for i in range(1, guesses.canaries + 1))
    return min(Fraction(1), last + 2 * guesses.canaries * delta * steepest)


@st.composite
def some_guesses(draw: st.DrawFn) -> Guesses:
    """Few enough for exact arithmetic."""
    canaries = draw(st.integers(1, 25))
    made = draw(st.integers(1, canaries))
    return Guesses(made, draw(st.integers(0, made)), canaries)


@given(some_guesses(), st.fractions(0, Fraction(1, 10), max_denominator=1000), st.integers(1, 50))
def test_the_probability_is_the_theorems(guesses: Guesses, delta: Fraction, odds: int) -> None:
    """The incomplete beta function gives what exact fractions give."""
    expected = exact_likelihood(guesses, Fraction(odds, odds + 1), delta)
    assert likelihood(guesses, math.log(odds), float(delta)) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@given(some_guesses(), st.floats(0, 0.05), st.floats(0.5, 0.999))
def test_a_positive_bound_refutes_itself(guesses: Guesses, delta: float, confidence: float) -> None:
    """At the bound itself such luck is improbable enough, so every smaller epsilon is refuted through it."""
    bound = one_run_bound(guesses, delta, confidence)
    assert bound >= 0
    if bound > 0:
        assert likelihood(guesses, bound, delta) <= 1 - confidence


@given(some_guesses(), st.floats(0, 0.05))
def test_a_delta_only_lowers_the_bound(guesses: Guesses, delta: float) -> None:
    """What a delta may explain is not held against epsilon."""
    assert one_run_bound(guesses, delta, 0.9) <= one_run_bound(guesses, 0.0, 0.9)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_randomized_response_is_bounded_from_below_and_nearly(epsilon: float) -> None:
    """Two thousand answers of known epsilon: above it as rarely as promised, and on average within a fourth of it."""
    rng = np.random.default_rng(20231)
    correct = rng.binomial(2000, truthful(epsilon), REPEATS)
    known = {int(v): one_run_bound(Guesses(2000, int(v), 2000), DELTA, CONFIDENCE) for v in set(correct.tolist())}
    bounds = np.array([known[int(v)] for v in correct])
    assert np.count_nonzero(bounds > epsilon) <= ALLOWED
    assert bounds.mean() > 0.75 * epsilon


def test_a_mechanism_that_blurts_out_within_its_delta_is_not_accused() -> None:
    """One that tells an answer plainly with probability delta, and else randomizes it, is (epsilon, delta)-private."""
    epsilon, delta, rng = 1.0, 0.01, np.random.default_rng(7)
    plain = rng.binomial(200, delta, REPEATS)
    correct = plain + rng.binomial(200 - plain, truthful(epsilon))
    bounds = [one_run_bound(Guesses(200, int(v), 200), delta, CONFIDENCE) for v in correct]
    assert sum(bound > epsilon for bound in bounds) <= ALLOWED


def test_guesses_by_coins_say_nothing() -> None:
    """Half right is what chance gives."""
    assert one_run_bound(Guesses(1000, 500, 1000), DELTA, CONFIDENCE) == 0.0


def test_the_guesses_are_the_outermost_scores() -> None:
    """The highest are thought to be in, the lowest to be out; the middle is passed over."""
    found = guess(np.array([9.0, 8.0, 1.0, 5.0]), np.array([0.0, 7.0, 2.0, 4.0]), 6)
    # Thought in: 9, 8, 7 (wrong); thought out: 0, 1 (wrong), 2.
    assert found == Guesses(6, 4, 8)


def test_equal_scores_are_no_knowledge() -> None:
    """Were ties broken by their place, a constant score would guess everything rightly."""
    found = guess(np.zeros(500), np.zeros(500), 400)
    assert found.correct == 0
    assert one_run_bound(found, DELTA, CONFIDENCE) == 0.0


@pytest.mark.parametrize(
    ("guesses", "delta", "confidence", "field"),
    [
        (Guesses(0, 0, 0), 0.0, 0.95, "canaries"),
        (Guesses(10, 11, 20), 0.0, 0.95, "guesses"),
        (Guesses(21, 11, 20), 0.0, 0.95, "guesses"),
        (Guesses(10, 9, 20), 1.0, 0.95, "delta"),
        (Guesses(10, 9, 20), math.nan, 0.95, "delta"),
        (Guesses(10, 9, 20), 0.0, 1.0, "confidence"),
    ],
)
def test_numbers_out_of_range_are_refused(guesses: Guesses, delta: float, confidence: float, field: str) -> None:
    """Each by its name."""
    with pytest.raises(InvalidValueError) as caught:
        one_run_bound(guesses, delta, confidence)
    assert caught.value.field == field


def test_an_odd_number_of_guesses_is_refused() -> None:
    """As many are guessed in as out."""
    with pytest.raises(InvalidValueError, match="most"):
        guess(np.zeros(5), np.ones(5), 3)


def test_identical_scores_give_no_alarm() -> None:
    """Without a difference nearly all bounds are exactly 0: no more are above it than the confidence lets be."""
    rng = np.random.default_rng(11)
    bounds = [canary_bound(rng.normal(size=500), rng.normal(size=500), DELTA, CONFIDENCE) for _ in range(REPEATS)]
    assert sum(bound.epsilon > 0 for bound in bounds) <= ALLOWED
    assert sum(bound.epsilon == 0.0 for bound in bounds) >= REPEATS - ALLOWED


def test_scores_the_wrong_way_round_give_no_alarm() -> None:
    """A negative limit on mu is 0, never its absolute value."""
    rng = np.random.default_rng(12)
    bound = canary_bound(rng.normal(-3, 1, 500), rng.normal(size=500), DELTA, CONFIDENCE)
    assert (bound.mu, bound.epsilon) == (0.0, 0.0)


@pytest.mark.parametrize("mu", [0.3, 1.0, 2.5])
def test_a_known_mu_is_approached_from_below(mu: float) -> None:
    """Above it as rarely as promised, and the nearer the more canaries there are."""
    rng = np.random.default_rng(13)

    def limits(canaries: int, repeats: int) -> list[float]:
        pairs = [(rng.normal(mu, 1, canaries), rng.normal(0, 1, canaries)) for _ in range(repeats)]
        return [canary_bound(ours, others, DELTA, CONFIDENCE).mu for ours, others in pairs]

    few = limits(200, REPEATS)
    assert sum(limit > mu for limit in few) <= ALLOWED
    many = limits(20_000, 5)
    assert np.mean(few) < np.mean(many)
    assert np.mean(many) > 0.9 * mu


def test_a_score_that_is_not_gaussian_is_held_to_the_same_curve() -> None:
    """Any increasing function of the scores gives the very same bound: only their order counts."""
    rng = np.random.default_rng(14)
    ours, others = rng.normal(1, 1, 300), rng.normal(0, 1, 300)
    plain, twisted = (canary_bound(f(ours), f(others), DELTA, CONFIDENCE) for f in (np.array, np.exp))
    assert plain == twisted


def test_half_the_noise_is_an_alarm() -> None:
    """A trainer that claims mu = 1 and has 2 is found out; the one that has 1 is not."""
    rng = np.random.default_rng(15)
    claim = gaussian_epsilon(1.0, DELTA)
    kept, broken = (canary_bound(rng.normal(mu, 1, 1000), rng.normal(0, 1, 1000), DELTA, 0.99) for mu in (1.0, 2.0))
    assert kept.epsilon < claim < broken.epsilon


def test_a_subsampled_run_keeps_below_its_claim_and_one_with_half_the_noise_does_not() -> None:
    """Ninety steps of DP-SGD at a rate of 1/9, simulated for 2,000 canaries, each on a coordinate of its own."""
    multiplier, steps, rate, rng = 1.75, 90, 1 / 9, np.random.default_rng(16)
    step = PoissonGaussianEvent(Decimal("1.75"), Decimal(1), Decimal("0.111111111111112"))
    claim = float(price_plan(SelfComposedEvent(step, steps), Decimal(str(DELTA))).loss.epsilon)

    def bound(noise: float) -> float:
        included = rng.random(2000) < 0.5
        scores = rng.binomial(steps, rate, 2000) * included + rng.normal(0, noise * math.sqrt(steps), 2000)
        return canary_bound(scores[included], scores[~included], DELTA, CONFIDENCE).epsilon

    assert 0.4 * claim < bound(multiplier) < claim < bound(multiplier / 2)


def test_canaries_told_apart_for_certain_give_a_finite_bound() -> None:
    """All pairs ranked rightly is strong evidence, and not of an infinite epsilon."""
    bound = canary_bound(np.ones(1000), np.zeros(1000), DELTA, CONFIDENCE)
    assert bound.area == 1.0
    assert 10 < bound.epsilon < math.inf


def test_the_bound_says_that_it_is_no_proof() -> None:
    """Whoever reads the value alone reads that too."""
    bound = canary_bound(np.zeros(FEWEST), np.zeros(FEWEST), DELTA, CONFIDENCE)
    assert bound.meaning.startswith("An alarm, not a proof")
    assert "no sign of privacy" in bound.meaning


@given(st.floats(0, 1), st.integers(FEWEST, 10_000), st.floats(0.51, 0.999))
def test_the_limit_is_below_the_area(area: float, smaller: int, confidence: float) -> None:
    """And a share all the same."""
    assert 0 <= area_limit(area, smaller, confidence) <= area


@pytest.mark.parametrize(
    ("included", "delta", "confidence", "field"),
    [
        (np.zeros(FEWEST - 1), DELTA, 0.95, "included"),
        (np.zeros((FEWEST, 2)), DELTA, 0.95, "included"),
        (np.full(FEWEST, np.nan), DELTA, 0.95, "included"),
        (np.zeros(FEWEST), 0.0, 0.95, "delta"),
        (np.zeros(FEWEST), DELTA, 0.5, "confidence"),
    ],
)
def test_what_gives_no_bound_is_refused(included: np.ndarray, delta: float, confidence: float, field: str) -> None:
    """Each by its name."""
    with pytest.raises(InvalidValueError) as caught:
        canary_bound(included, np.zeros(FEWEST), delta, confidence)
    assert caught.value.field == field
