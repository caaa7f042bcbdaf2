"""The distribution of privacy losses, and the second path that confirms it."""

import math
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accounting.conversion import PricingDisagreementError, gaussian_delta
from accounting.events import (
    ClaimEvent,
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
from accounting.pld import MAX_DISTINCT, MAX_WIDTH, UNDERSTATED, confirm, pld_epsilon
from accounting.saddle_point import ACCURACY, OutOfReachError, delta_at, largest_loss, log_moment
from accounting.values import InvalidValueError

pytestmark = pytest.mark.untraced

ONE, DELTA = Decimal(1), Decimal("0.00001")


def laplace(epsilon: str) -> LaplaceEvent:
    """Laplace noise of that pure epsilon."""
    return LaplaceEvent(ONE, Decimal(epsilon))


def sgd(sigma: str, rate: str) -> PoissonGaussianEvent:
    """A step of DP-SGD."""
    return PoissonGaussianEvent(Decimal(sigma), ONE, Decimal(rate))


EVENTS: list[Event] = [
    laplace("0.5"),
    GaussianEvent(Decimal(3), ONE),
    DiscreteLaplaceEvent(Decimal(5), Decimal(2)),
    RandomizedResponseEvent(Decimal("0.6"), 2),
    RandomizedResponseEvent(Decimal("0.4"), 5),
    ClaimEvent(Decimal("0.3"), Decimal(0)),
    ExponentialEvent(Decimal(10), ONE, SelectionForm.GUMBEL, monotonic=False),
    sgd("1", "0.05"),
    PoissonLaplaceEvent(ONE, ONE, Decimal("0.1")),
]
events = st.sampled_from(EVENTS)
plans = st.lists(st.tuples(events, st.integers(1, 20)), min_size=1, max_size=4)


# The second path.


@given(st.sampled_from(["0.01", "0.3", "1", "4"]), st.floats(0, 5))
def test_the_second_path_knows_the_exact_delta_of_gaussian_noise(mu: str, distance: float) -> None:
    """Balle and Wang's closed form, wherever it is no smaller than anybody would promise."""
    epsilon = distance * float(mu)
    exact = float(gaussian_delta(Fraction(mu), Fraction(epsilon)))
    assert delta_at([(GaussianEvent(ONE, Decimal(mu)), 1)], epsilon) == pytest.approx(exact, rel=ACCURACY)


@given(st.sampled_from(["0.1", "1", "3"]), st.floats(0, 0.999))
def test_the_second_path_knows_the_exact_delta_of_laplace_noise(epsilon: str, share: float) -> None:
    """1 - exp((epsilon' - epsilon) / 2)."""
    exact = -math.expm1((share - 1) * float(epsilon) / 2)
    assert delta_at([(laplace(epsilon), 1)], share * float(epsilon)) == pytest.approx(exact, rel=ACCURACY)


@given(st.sampled_from(["0.1", "1", "3"]), st.sampled_from(["0", "0.01"]), st.floats(0, 0.999))
def test_the_second_path_knows_the_exact_delta_of_a_claim(epsilon: str, delta: str, share: float) -> None:
    """Randomized response, unless everything leaks."""
    level = float(epsilon)
    exact = (math.exp(level) - math.exp(share * level)) / (1 + math.exp(level))
    exact = float(delta) + (1 - float(delta)) * exact
    claim = ClaimEvent(Decimal(epsilon), Decimal(delta))
    assert delta_at([(claim, 1)], share * level) == pytest.approx(exact, rel=ACCURACY)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["0.3", "1", "4"]), st.sampled_from(["0.01", "0.2", "0.7"]), st.floats(0.01, 1))
def test_the_second_path_knows_the_exact_delta_of_one_sampled_gaussian(sigma: str, rate: str, share: float) -> None:
    """Amplification is exact (Balle, Barthe and Gaboardi 2018): rate times the Gaussian's delta at its own epsilon."""
    sampling, unsampled = float(rate), share * 3 / float(sigma)
    epsilon = math.log1p(sampling * math.expm1(unsampled))
    exact = sampling * float(gaussian_delta(1 / Fraction(sigma), Fraction(unsampled)))
    try:
        found = delta_at([(sgd(sigma, rate), 1)], epsilon)
    except OutOfReachError:
        assume(False)
    assert found == pytest.approx(exact, rel=ACCURACY)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
@pytest.mark.parametrize("removed", [True, False])
def test_moments_are_those_of_a_privacy_loss(event: Event, removed: bool) -> None:
    """E[exp(-L)] over the data set is 1 and K is convex, so K(s) / s, a Renyi divergence, grows to the largest loss."""
    orders = np.array([0.001, 0.5, 1.0, 5.0, 20.0])
    divergences = [float(log_moment(event, np.array([s + 0j]), removed)[0].real) / s for s in orders]
    assert 0 <= divergences[0]
    assert divergences == sorted(divergences)
    assert divergences[-1] <= largest_loss(event, removed)


@given(plans)
@settings(deadline=None, max_examples=40)
def test_delta_falls_with_epsilon_and_ends_at_the_largest_loss(parts: list[tuple[Event, int]]) -> None:
    """From at most 1; and is 0 where no loss is larger."""
    try:
        deltas = [delta_at(parts, epsilon) for epsilon in (0.1, 0.5, 2.0, 8.0)]
    except OutOfReachError:
        return
    assert deltas[0] <= 1 + ACCURACY
    assert all(a * (1 + 2 * ACCURACY) + 1e-12 >= b for a, b in pairwise(deltas))
    most = sum(count * largest_loss(event) for event, count in parts)
    assert math.isinf(most) or delta_at(parts, most * (1 + 1e-9)) == 0


@given(st.lists(st.sampled_from(["0.1", "0.25", "1", "2"]), min_size=2, max_size=4), st.floats(0, 0.95))
def test_laplace_noise_on_several_coordinates_is_covered_by_one(parts: list[str], share: float) -> None:
    """With the same total sensitivity, on which the price of Laplace noise rests, whole numbers too."""
    total = sum(Decimal(part) for part in parts)
    apart = delta_at([(laplace(part), 1) for part in parts], share * float(total))
    assert apart <= delta_at([(laplace(str(total)), 1)], share * float(total)) * (1 + 2 * ACCURACY)
    steps = [DiscreteLaplaceEvent(ONE, Decimal(part) * 100) for part in ("0.01", "0.02", "0.03")]
    apart = delta_at([(step, 1) for step in steps], share * 6)
    assert apart <= delta_at([(DiscreteLaplaceEvent(ONE, Decimal(6)), 1)], share * 6) * (1 + 2 * ACCURACY)


@pytest.mark.parametrize(
    "event",
    [ZCdpEvent(ONE), DiscreteGaussianEvent(ONE, ONE), FixedSizeGaussianEvent(ONE, ONE, 1, 10)],
    ids=lambda event: event.kind,
)
def test_what_has_no_distribution_has_no_moments(event: Event) -> None:
    """Nor a price."""
    with pytest.raises(TypeError):
        delta_at([(event, 1)], 1.0)
    with pytest.raises(InvalidValueError, match="no privacy loss distribution"):
        pld_epsilon([(event, 1)], DELTA)


# The price.


@pytest.mark.parametrize(
    ("parts", "delta", "expected", "tolerance"),
    [
        ([(sgd("1", "0.01"), 10_000)], "0.00001", 6.1877, 1e-4),
        ([(GaussianEvent(Decimal("0.7"), ONE), 2)], "0.00001", 10.1224946, 5e-8),
        ([(sgd("0.7", "0.01"), 120)], "0.00001", 2.4612381, 1e-7),
        ([(laplace("1"), 3), (laplace("0.5"), 2)], "1e-14", 4.0, 1e-6),
        (
            [(sgd("0.8", "0.005"), 100), (GaussianEvent(Decimal(8), ONE), 200), (laplace("0.1"), 100)],
            "1e-6",
            11.1492,
            1e-3,
        ),
    ],
    ids=["DP-SGD", "TFP Gaussian", "TFP sampled", "dp-accounting Laplace", "PRV mix"],
)
def test_published_values(parts: list[tuple[Event, int]], delta: str, expected: float, tolerance: float) -> None:
    """What libraries and papers say."""
    assert float(pld_epsilon(parts, Decimal(delta))) == pytest.approx(expected, abs=tolerance)


def test_three_gaussians_of_root_three_are_one() -> None:
    """Together they are a Gaussian of mu 1, whose delta at epsilon 1 is 0.126937."""
    root = Decimal(3).sqrt().quantize(Decimal("1e-20"))
    assert float(pld_epsilon([(GaussianEvent(root, ONE), 3)], Decimal("0.126936737507"))) == pytest.approx(1, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(plans, st.sampled_from(["0.01", "0.000001"]))
def test_a_price_is_never_below_the_truth(parts: list[tuple[Event, int]], delta: str) -> None:
    """At the price the second path finds no more than the delta asked for."""
    try:
        epsilon = pld_epsilon(parts, Decimal(delta))
        assert delta_at(parts, float(epsilon)) <= float(delta) * (1 + UNDERSTATED)
    except (InvalidValueError, OutOfReachError):
        return


@settings(deadline=None, max_examples=15)
@given(plans, st.randoms())
def test_order_and_grouping_change_no_digit(parts: list[tuple[Event, int]], random: object) -> None:
    """A count is that many listed, in any order."""
    listed = [(event, 1) for event, count in parts for _ in range(count)]
    random.shuffle(listed)  # type: ignore[attr-defined]
    try:
        assert pld_epsilon(listed, DELTA) == pld_epsilon(parts, DELTA)
    except InvalidValueError as refused:
        with pytest.raises(InvalidValueError, match=refused.reason[:20]):
            pld_epsilon(parts, DELTA)


def test_narrow_losses_are_not_drowned_by_the_grid() -> None:
    """Ten thousand tiny Laplace noises: on dp-accounting's own grid they would come out nearly twice as dear."""
    epsilon = float(pld_epsilon([(LaplaceEvent(Decimal(30_000), ONE), 10_000)], DELTA))
    assert delta_at([(LaplaceEvent(Decimal(30_000), ONE), 10_000)], epsilon * 0.95) > float(DELTA)


# Disagreement.


PLAN: list[tuple[Event, int]] = [(sgd("1", "0.01"), 1000)]


def test_a_price_below_the_truth_is_denied() -> None:
    """An epsilon too small by a thousandth has a delta that the second path sees."""
    right = float(pld_epsilon(PLAN, DELTA))
    confirm(PLAN, right, float(DELTA))
    with pytest.raises(PricingDisagreementError, match="has a delta of"):
        confirm(PLAN, right * 0.999, float(DELTA))


def test_a_price_far_above_the_truth_is_denied() -> None:
    """One of twice the size."""
    right = float(pld_epsilon(PLAN, DELTA))
    with pytest.raises(InvalidValueError, match="far above"):
        confirm(PLAN, right * 2, float(DELTA))


@pytest.mark.parametrize("wrong", [math.nan, -1.0])
def test_a_price_that_is_no_number_is_denied(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever dp-accounting might answer."""
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

    monkeypatch.setattr(PrivacyLossDistribution, "get_epsilon_for_delta", lambda *_: wrong)
    with pytest.raises(PricingDisagreementError):
        pld_epsilon(PLAN, DELTA)


def test_a_wrong_answer_of_dp_accounting_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a library to lose the count, as one version does, nothing would be charged by it."""
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

    monkeypatch.setattr(PrivacyLossDistribution, "self_compose", lambda self, *_: self)
    with pytest.raises(PricingDisagreementError):
        pld_epsilon(PLAN, DELTA)


# Bounds.


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([(GaussianEvent(Decimal("0.03"), ONE), 1)], str(MAX_WIDTH)),
        ([(sgd("0.001", "0.01"), 1)], str(MAX_WIDTH)),
        ([(laplace("1000000"), 1)], str(MAX_WIDTH)),
        ([(sgd("0.05", "0.01"), 10_000_000)], "too wide"),
        ([(laplace("1"), 10_000_000)], "too wide"),
        ([(DiscreteLaplaceEvent(Decimal(10**12), Decimal(10**12)), 1)], "enumerate"),
        ([(laplace(f"0.{number + 100}"), 1) for number in range(MAX_DISTINCT + 1)], str(MAX_DISTINCT)),
    ],
    ids=["little noise", "less noise", "huge epsilon", "many samples", "many", "whole numbers", "unlike"],
)
def test_what_would_take_too_long_is_left_out(parts: list[tuple[Event, int]], reason: str) -> None:
    """The bound is in the message."""
    with pytest.raises(InvalidValueError, match=reason):
        pld_epsilon(parts, DELTA)


def test_a_delta_below_the_resolution_is_left_out() -> None:
    """Where doubles cannot tell, there is no price, and no denial either."""
    with pytest.raises(InvalidValueError, match=r"^delta: "):
        pld_epsilon([(sgd("1", "0.01"), 10_000)], Decimal("1e-13"))
