"""The empirical audit: its bounds hold as often as they say, mechanisms keep their claims, and bad copies are caught.

Noise is OpenDP's own, from the operating system's entropy, never seeded: only the inputs are fixed. Every audit of a
right mechanism has beta = 1e-9 and there are fewer than 25 of them, so they fail a right build less than once in 4e7
runs. Copies are audited with beta = 1e-3, and the bounds to be expected are six standard errors above their claims.
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

from accounting.events import DiscreteGaussianEvent
from accounting.values import InvalidValueError
from deployments.auditing import pairs
from deployments.auditing.audit import CHOOSING, CHUNK, FEWEST, Draw, Outputs, Pair, audit
from deployments.auditing.bound import Counts, Numbers, epsilon_bound, lower_limit, upper_limit
from deployments.auditing.events import choose
from deployments.auditing.pairs import raised, shifted, spread
from deployments.auditing.scores import COARSEST, along, grain, nearer
from deployments.mechanisms.mechanism import FINE_VALUES, Mechanism, mechanism_for
from deployments.mechanisms.query import DataType, MechanismName, Noise
from deployments.mechanisms.selection import Choice, Selector, selector_for
from serve_app.cli.main import app

pytestmark = pytest.mark.untraced

ONE = Decimal(1)
HONEST, CAUGHT = 1e-9, 1e-3
"""Beta in audits of what is right, and of what is not."""

probabilities = st.floats(0.001, 0.999)
levels = st.floats(1e-12, 0.5)


def noise(
    name: MechanismName,
    epsilon: str = "1",
    *,
    delta: str = "0",
    sensitivity: str = "1",
    data_type: DataType = "float",
    length: int = 1,
) -> Mechanism:
    """A mechanism as it is released."""
    return mechanism_for(Noise(name, Decimal(epsilon), Decimal(delta), Decimal(sensitivity), data_type), length)


def chooser(epsilon: str = "1", k: int = 1, *, monotonic: bool = False) -> Selector:
    """A choice as it is released, of sensitivity 1."""
    return selector_for(Choice(Decimal(epsilon), ONE, k, monotonic))


def simulated(draw: Callable[[np.random.Generator, int], Outputs], seed: int) -> Draw:
    """Simulated outputs, each of one coordinate. They are no noise, only numbers to try the statistics on."""
    generator = np.random.default_rng(seed)
    return lambda count: draw(generator, count)[:, None]


def value(outputs: Outputs) -> Numbers:
    """The only coordinate."""
    return outputs[:, 0].astype(np.float64)


def pair_of(first: Draw, second: Draw) -> Pair:
    """Two simulated mechanisms."""
    return Pair(first, second, {"value": value}, "first", "second")


class TestBound:
    """From counts to epsilon."""

    @settings(deadline=None, max_examples=20)
    @given(probabilities, probabilities, st.sampled_from([0.0, 0.01, 0.2]), st.integers(1, 30), levels)
    def test_it_is_above_the_truth_no_more_often_than_beta(
        self, likely: float, other: float, delta: float, draws: int, beta: float
    ) -> None:
        """The exact probability of a false alarm, summed over everything that could be counted."""
        truth = max(0.0, math.log((likely - delta) / other)) if likely > delta else 0.0
        counts = range(draws + 1)
        here, there = (stats.binom.pmf(counts, draws, probability) for probability in (likely, other))
        wrong = sum(
            here[hits] * there[other_hits]
            for hits in counts
            for other_hits in counts
            if epsilon_bound(Counts(hits, draws, other_hits, draws), delta, beta) > truth
        )
        assert wrong <= beta * (1 + 1e-9)

    @given(st.data(), st.integers(1, 10**7), levels)
    def test_its_limits_are_those_of_clopper_and_pearson(self, data: st.DataObject, draws: int, level: float) -> None:
        """At each limit the tail of the binomial has the level, never more; so says the definition."""
        hits = data.draw(st.integers(0, draws))
        low, high = lower_limit(hits, draws, level), upper_limit(hits, draws, level)
        assert 0 <= low <= hits / draws <= high <= 1
        if hits:
            assert level * 0.999 < stats.binom.sf(hits - 1, draws, low) <= level * (1 + 1e-9)
        if hits < draws:
            assert level * 0.999 < stats.binom.cdf(hits, draws, high) <= level * (1 + 1e-9) or high > 1 - 1e-6

    def test_they_are_those_of_scipy(self) -> None:
        """An interval that was computed in another way."""
        exact = stats.binomtest(120, 1000).proportion_ci(0.98, method="exact")
        assert (lower_limit(120, 1000, 0.01), upper_limit(120, 1000, 0.01)) == pytest.approx((exact.low, exact.high))

    def test_a_wrong_inverse_cannot_raise_the_lower_limit(self) -> None:
        """SciPy 1.17.1 inverts the incomplete beta function to twice the share that was seen."""
        assert lower_limit(1000, 10**9, 0.005) < 1e-6

    def test_what_was_never_seen_may_still_happen(self) -> None:
        """Without a hit elsewhere the bound is finite: ln of what n draws rule out."""
        bound = epsilon_bound(Counts(1000, 1000, 0, 1000), 0, 0.01)
        assert bound == pytest.approx(math.log(0.005 ** (1 / 1000) / (1 - 0.005 ** (1 / 1000))))

    @pytest.mark.parametrize(("hits", "other_hits", "delta"), [(0, 0, 0.0), (0, 50, 0.0), (50, 50, 0.0), (90, 0, 0.95)])
    def test_it_says_nothing_where_nothing_was_found(self, hits: int, other_hits: int, delta: float) -> None:
        """Equal counts, no counts, or no more than delta explains."""
        assert epsilon_bound(Counts(hits, 100, other_hits, 100), delta, 0.01) == 0


class TestStatistics:
    """Whole audits, where the truth is known."""

    @pytest.mark.parametrize(
        "draw",
        [
            lambda generator, count: generator.geometric(0.3, count),
            lambda generator, count: generator.normal(size=count),
        ],
        ids=["whole numbers", "numbers"],
    )
    def test_identical_distributions_give_0_as_often_as_promised(
        self, draw: Callable[[np.random.Generator, int], Outputs]
    ) -> None:
        """With beta = 0.5, at most half of the bounds are above 0; 36 of 60 are if the draws that choose count too."""
        runs, beta = 60, 0.5
        alarms = sum(
            audit(pair_of(simulated(draw, 2 * run), simulated(draw, 2 * run + 1)), 200, 0, beta).epsilon > 0
            for run in range(runs)
        )
        assert alarms <= beta * runs

    def test_randomized_response_is_not_bounded_above_its_epsilon(self) -> None:
        """The truth is told with probability e / (1 + e), so epsilon is 1: at most 30 % of bounds are above it."""
        runs, beta, truth = 200, 0.3, math.e / (1 + math.e)
        found = [
            audit(
                pair_of(
                    simulated(lambda generator, count: generator.binomial(1, truth, count), 2 * run),
                    simulated(lambda generator, count: generator.binomial(1, 1 - truth, count), 2 * run + 1),
                ),
                2_000,
                0,
                beta,
            ).epsilon
            for run in range(runs)
        ]
        assert sum(bound > 1 for bound in found) <= beta * runs
        assert np.mean(found) > 0.85

    def test_delta_is_taken_off(self) -> None:
        """What tells which input it had with probability 0.1, and else nothing, costs (0, 0.1)."""
        first = simulated(lambda generator, count: generator.binomial(1, 0.1, count), 0)
        second = simulated(lambda generator, count: -generator.binomial(1, 0.1, count), 1)
        assert audit(pair_of(first, second), 5_000, 0, CAUGHT).epsilon > 3
        assert audit(pair_of(first, second), 5_000, 0.1, HONEST).epsilon == 0

    @pytest.mark.parametrize(
        ("first", "second", "event"),
        [
            ([0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 1, 1], "value >= 2"),
            ([4, 4, 4, 4, 5, 5], [0, 1, 2, 3, 4, 5], "value <= 3"),
            ([0, 1, 2, 3, 4, 5], [0, 1, 1, 4, 5, 5], "2 <= value <= 3"),
            ([0, 1, 2, 3, 4, 5], [0, 1, 2, 2, 4, 5], "value = 3"),
        ],
    )
    def test_the_event_is_the_one_that_tells_the_inputs_apart(
        self, first: list[int], second: list[int], event: str
    ) -> None:
        """A tail, an interval or a single value, whichever the outputs differ in."""
        here, there = ({"value": np.repeat(np.array(values, dtype=np.float64), 200)} for values in (first, second))
        assert str(choose(here, there, 0, CAUGHT)) == event
        assert str(choose(there, here, 0, CAUGHT)) == event

    def test_one_value_among_many_is_found(self) -> None:
        """More values than thresholds do not hide one that is never answered on the other input."""
        scores = [np.random.default_rng(seed).normal(size=5_000) for seed in (0, 1)]
        scores[0][:100] = 0.5
        event = choose({"value": scores[0]}, {"value": scores[1]}, 0, CAUGHT)
        assert (str(event), event.likelier_on_first) == ("value = 0.5", True)

    @pytest.mark.parametrize(("width", "samples"), [(1, 1_000_000), (100, 2_000), (10**6, FEWEST)])
    def test_memory_does_not_grow_with_the_samples(self, width: int, samples: int) -> None:
        """Draws come in pieces, and no more than a fixed number of them are kept to choose the event."""
        asked: list[int] = []

        def draw(count: int) -> Outputs:
            asked.append(count)
            return np.zeros((count, 1))

        finding = audit(replace(pair_of(draw, draw), width=width), samples, 0, HONEST)
        assert max(asked) == max(1, CHUNK // width)
        assert sum(asked) == 2 * samples
        assert finding.counts.draws == samples - min(samples // 2, CHOOSING)

    @pytest.mark.parametrize(
        ("samples", "delta", "beta", "field"),
        [
            (FEWEST - 1, 0, 0.1, "samples"),
            (10**9, 0, 0.1, "samples"),
            (FEWEST, 1, 0.1, "delta"),
            (FEWEST, 0, 0, "beta"),
        ],
    )
    def test_what_bounds_nothing_is_refused(self, samples: int, delta: float, beta: float, field: str) -> None:
        """Before anything is drawn."""

        def never(count: int) -> Outputs:
            raise AssertionError(count)

        with pytest.raises(InvalidValueError) as caught:
            audit(pair_of(never, never), samples, delta, beta)
        assert caught.value.field == field


class TestScores:
    """What events are made of."""

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_the_grain_is_the_largest_power_of_two_that_divides(self, number: float) -> None:
        """Of any double, the smallest included; 0 is a multiple of all."""
        exponent = grain(np.array([[number]]))[0]
        if number == 0:
            assert exponent == COARSEST
        else:
            assert (Fraction(number) / Fraction(2) ** int(exponent)).numerator % 2 == 1
            assert (Fraction(number) / Fraction(2) ** int(exponent)).denominator == 1

    def test_the_finest_coordinate_counts(self) -> None:
        """One leaking coordinate is enough."""
        assert grain(np.array([[4.0, 0.75, 0.0]]))[0] == -2

    def test_distance_and_nearness_are_taken_from_the_inputs(self) -> None:
        """At either input they are minus or plus the whole difference, or none of it."""
        here, there = np.array([1.0, 1.0]), np.array([4.0, -3.0])
        outputs = np.stack([here, there])
        assert along(here, there)(outputs) == pytest.approx([0, 5])
        assert nearer(here, there)(outputs) == pytest.approx([-7, 7])


class TestInputs:
    """Adjacent inputs."""

    @given(
        st.decimals("0.001", "1000", places=6),
        st.floats(-(2.0**40), 2.0**40),
    )
    def test_a_float_moves_by_no_more_than_the_sensitivity(self, sensitivity: Decimal, start: float) -> None:
        """Not by a unit in the last place, which would be a false alarm; and by no less than the doubles allow."""
        pair = shifted(noise("laplace"), start, sensitivity)
        moved = Fraction(float(pair.second_input)) - Fraction(float(pair.first_input))
        assert 0 < moved <= Fraction(sensitivity)
        assert moved > Fraction(sensitivity) - 2 * Fraction(math.ulp(abs(start) + 1000))

    @pytest.mark.parametrize("data_type", ["float", "integer"])
    @pytest.mark.parametrize(("name", "delta"), [("laplace", "0"), ("gaussian", "0.01")])
    @pytest.mark.parametrize("coordinates", [2, 3, 7])
    def test_a_spread_change_has_the_sensitivity_in_the_norm_of_the_noise(
        self, name: MechanismName, delta: str, data_type: DataType, coordinates: int
    ) -> None:
        """L1 for Laplace and L2 for Gaussian, approached from below."""
        mechanism = noise(name, delta=delta, sensitivity="10", data_type=data_type)
        share = Fraction(spread(mechanism, coordinates).second_input.split(" ")[0])
        power = 2 if name == "gaussian" else 1
        assert coordinates * share**power <= 10**power
        assert coordinates * (share + (1 if data_type == "integer" else Fraction(1, 10**12))) ** power > 10**power

    @pytest.mark.parametrize(
        ("make", "field"),
        [
            (lambda: shifted(noise("gaussian", delta="0.01", sensitivity="0.5", data_type="integer")), "sensitivity"),
            (lambda: shifted(noise("laplace"), 2.0**60), "sensitivity"),
            (lambda: spread(noise("laplace", data_type="integer"), 2), "coordinates"),
            (lambda: spread(noise("laplace"), 1), "coordinates"),
            (lambda: raised(chooser(k=3), 3), "candidates"),
            (lambda: raised(chooser(), 1), "candidates"),
        ],
    )
    def test_inputs_that_cannot_differ_are_refused(self, make: Callable[[], Pair], field: str) -> None:
        """By the name of what leaves no room for a difference."""
        with pytest.raises(InvalidValueError) as caught:
            make()
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("mechanism", "make", "samples"),
    [
        (noise("laplace", data_type="integer"), shifted, 20_000),
        (noise("laplace", "0.1", sensitivity="0.3"), shifted, 5_000),
        (noise("laplace"), lambda mechanism: shifted(mechanism, 2.0**40 + 1 / 3), 5_000),
        (noise("laplace", length=12_000), shifted, 15_000),
        (noise("laplace"), lambda mechanism: spread(mechanism, 3), 2_000),
        (noise("gaussian", delta="0.01"), shifted, 5_000),
        (noise("gaussian", "3", delta="0.00001", data_type="integer"), shifted, 10_000),
        (noise("gaussian", delta="0.01", length=FINE_VALUES + 1), shifted, 10_000),
        (noise("gaussian", delta="0.01", sensitivity="9", data_type="integer"), lambda m: spread(m, 4), 2_000),
        (chooser(), lambda selector: raised(selector, 20), 3_000),
        (chooser(k=2), lambda selector: raised(selector, 10), 3_000),
        (chooser(monotonic=True), lambda selector: raised(selector, 20), 2_000),
    ],
    ids=[
        "Laplace, whole numbers",
        "Laplace, fractions",
        "Laplace, far from 0",
        "Laplace, long vectors",
        "Laplace, spread",
        "Gauss",
        "Gauss, whole numbers",
        "Gauss, long vectors",
        "Gauss, whole numbers, spread",
        "exponential",
        "the best two",
        "exponential, one direction",
    ],
)
def test_every_mechanism_keeps_its_claim(mechanism: Any, make: Callable[[Any], Pair], samples: int) -> None:  # noqa: ANN401
    """What its outputs show is not above what is charged for them."""
    finding = audit(make(mechanism), samples, float(mechanism.charge.delta), HONEST)
    assert finding.epsilon <= mechanism.charge.epsilon


def test_the_bound_of_laplace_noise_is_near_its_claim() -> None:
    """At 10^5 samples it is 0.90 with a standard error of 0.01, though it may be wrong only once in 10^9."""
    assert 0.8 < audit(shifted(noise("laplace")), 100_000, 0, HONEST).epsilon <= 1


def half_the_scale() -> Pair:
    """Laplace noise for epsilon 2."""
    return shifted(noise("laplace", "2", data_type="integer"))


def half_the_sigma() -> Pair:
    """Gaussian noise of half the standard deviation that epsilon 1 at delta 0.01 needs."""
    event = noise("gaussian", delta="0.01", sensitivity="20", data_type="integer").event
    assert isinstance(event, DiscreteGaussianEvent)
    return shifted(
        Mechanism(DiscreteGaussianEvent(round(event.sigma / 2, 6), event.sensitivity), Decimal("0.01"), "integer")
    )


def a_forgotten_sensitivity() -> Pair:
    """Noise for sensitivity 1, though a person changes the statistic by 2.5."""
    return shifted(noise("laplace", length=FINE_VALUES + 1), sensitivity=Decimal("2.5"))


def gaussian_sold_as_pure() -> Pair:
    """Gaussian noise with the scale of Laplace noise for epsilon 1 as its standard deviation."""
    event = DiscreteGaussianEvent(Decimal(10), Decimal(10))
    return shifted(Mechanism(event, Decimal("0.00001"), "integer"))


def noise_shared_by_coordinates() -> Pair:
    """One draw for all four, which any difference of two of them takes away."""
    mechanism = noise("laplace", sensitivity="4", data_type="integer")

    def sharing(values: list[int]) -> Draw:
        return lambda count: np.asarray(mechanism.measurement([0] * count))[:, None] + np.array(values)

    return replace(spread(mechanism, 4), first=sharing([0, 0, 0, 0]), second=sharing([1, -1, 1, -1]))


def scores_without_the_factor() -> Pair:
    """A choice with a third of the scale that epsilon 1 needs."""
    return raised(chooser("3"), 20)


def naive(start: float, seed: int) -> Draw:
    """Laplace noise of scale 1 in floating-point arithmetic."""
    return simulated(lambda generator, count: generator.laplace(start, 1.0, count), seed)


def naive_floats() -> Pair:
    """Values as NumPy would release them. Only their last bits betray them."""
    return replace(shifted(noise("laplace")), first=naive(0.0, 1), second=naive(1.0, 2))


@pytest.mark.parametrize(
    ("copy", "delta", "samples"),
    [
        (half_the_scale, 0, 10_000),
        (half_the_sigma, 0.01, 20_000),
        (a_forgotten_sensitivity, 0, 10_000),
        (gaussian_sold_as_pure, 0, 20_000),
        (noise_shared_by_coordinates, 0, 1_000),
        (scores_without_the_factor, 0, 3_000),
        (naive_floats, 0, 10_000),
    ],
)
def test_a_copy_that_breaks_its_claim_is_caught(copy: Callable[[], Pair], delta: float, samples: int) -> None:
    """Each is sold as epsilon 1."""
    assert audit(copy(), samples, delta, CAUGHT).epsilon > 1


def test_naive_noise_has_another_support_on_each_input_and_ours_has_not() -> None:
    """Near 0, what naive noise makes of 1 has no bit below 2^-53. Ours has, on both grids, as what it makes of 0."""
    fine = -53

    def finer(draw: Draw, count: int) -> int:
        return int(np.count_nonzero(grain(draw(count)) < fine))

    assert finer(naive(0.0, 3), 10_000) > 1_000
    assert finer(naive(1.0, 4), 10_000) == 0
    for length in (1, FINE_VALUES + 1):
        pair = shifted(noise("laplace", length=length))
        assert finer(pair.first, 500) > 0
        assert finer(pair.second, 500) > 0


class TestCommand:
    """``audit-mechanism``."""

    @staticmethod
    def run(*arguments: str) -> Any:  # noqa: ANN401
        """Runs the command with few samples."""
        return CliRunner().invoke(app, ["audit-mechanism", *arguments, "--samples", "1000"])

    def test_it_says_what_was_claimed_found_and_seen_and_what_that_means(self) -> None:
        """Exit status 0, on stdout, and a bound below the claim is called no proof."""
        done = self.run("laplace", "--epsilon", "1", "--integers", "--confidence", "0.999999999")
        assert done.exit_code == 0
        lines = done.stdout.splitlines()
        assert [line.split(" ")[0] for line in lines[:6]] == ["claim", "bound", "event", "seen", "", "took"]
        assert lines[0] == "claim  epsilon 1 at delta 0, by laplace"
        assert "with confidence 0.999999999" in lines[1]
        assert "in 500 draws where the input is" in lines[3]
        assert "no proof" in lines[6]

    @pytest.mark.parametrize(
        "arguments",
        [
            ("gaussian", "--epsilon", "1", "--delta", "0.01", "--integers", "--sensitivity", "4", "--coordinates", "3"),
            ("gaussian", "--epsilon", "1", "--delta", "0.01", "--length", "10001"),
            ("exponential", "--epsilon", "1", "--k", "2", "--candidates", "10", "--monotonic"),
        ],
    )
    def test_every_mechanism_can_be_audited(self, arguments: tuple[str, ...]) -> None:
        """In whichever form it is released; the answer is one JSON object."""
        done = self.run(*arguments, "--json", "--confidence", "0.999999999")
        assert done.exit_code == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["claimed_epsilon"] == "1"
        assert 0 <= report["epsilon_lower_bound"] <= 1
        assert report["draws"] == report["other_draws"] == 500
        assert report["violated"] is False

    def test_a_bound_above_the_claim_is_exit_status_1(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a person can change the statistic by ten times the sensitivity that was claimed."""
        monkeypatch.setattr(pairs, "shifted", lambda mechanism: shifted(mechanism, sensitivity=Decimal(10)))
        done = self.run("laplace", "--epsilon", "1", "--integers")
        assert done.exit_code == 1
        assert "the claim is false" in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("gaussian",), "delta: must be greater than 0 for gaussian"),
            (("laplace", "--delta", "0.1"), "delta: must be 0 for laplace"),
            (("exponential", "--delta", "0.1"), "delta: must be 0 for exponential"),
            (("exponential", "--integers"), "--integers does not go with exponential"),
            (("laplace", "--k", "2"), "--k does not go with laplace"),
            (("exponential", "--k", "9", "--candidates", "9"), "candidates: must be more than are chosen"),
            (("laplace", "--coordinates", "2", "--length", "5"), "--coordinates and --length do not go together"),
            (("laplace", "--confidence", "1"), "confidence: must be greater than 0 and less than 1"),
            (("laplace", "--sensitivity", "-1"), "sensitivity: must be greater than 0"),
            (("laplace", "--samples", "9"), "'--samples'"),
        ],
    )
    def test_what_cannot_be_audited_is_refused(self, arguments: tuple[str, ...], message: str) -> None:
        """Exit status 2, with the option at fault."""
        done = CliRunner().invoke(app, ["audit-mechanism", *arguments, "--epsilon", "1"])
        assert done.exit_code == 2
        assert message in done.stderr

    def test_it_says_what_to_install_where_the_service_is_not(self) -> None:
        """The base installation has no mechanisms to audit."""
        program = (
            "import sys\n"
            "sys.modules.update(dict.fromkeys(['numpy', 'scipy', 'opendp']))\n"
            "from serve_app.cli.main import app\n"
            "app(['audit-mechanism', 'laplace', '--epsilon', '1'])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "install privacy-engine[service]" in done.stderr
