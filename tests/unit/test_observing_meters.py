"""What is counted arrives at a meter, once, and no meter takes what is not in the catalogue."""

from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.observing.catalogue import (
    ALLOCATE_SECONDS,
    BUDGETS_ENDING,
    DECISIONS,
    FENCE_CONFLICTS,
    RELEASE_SECONDS,
    Metric,
)
from serve_app.observing.meter import Labels, MemoryMeter, Meter
from serve_app.observing.ray_meter import RayMeter
from serve_app.observing.tallies import Tallies, bound_text

METERS = pytest.mark.parametrize("meter_of", [MemoryMeter, RayMeter])


@METERS
def test_every_meter_takes_what_the_catalogue_has(meter_of: Callable[[], Meter]) -> None:
    """Counters, gauges, and the counters of a histogram; each more than once."""
    meter = meter_of()
    for _ in range(2):
        meter.add("privacy_fence_conflicts", (), 2.0)
        meter.add("privacy_decisions", ("admitted", "tabular"), 1.0)
        meter.add("privacy_allocate_seconds_bucket", ("+Inf",), 1.0)
        meter.set("privacy_head_age_seconds", (), 0.0)


@METERS
@pytest.mark.parametrize(
    ("name", "labels", "amount"),
    [
        ("privacy_unheard_of", (), 1.0),
        ("privacy_halted", (), 1.0),
        ("privacy_decisions", ("admitted",), 1.0),
        ("privacy_decisions", ("admitted", "tabular", "some-tenant"), 1.0),
        ("privacy_fence_conflicts", (), 0.0),
        ("privacy_fence_conflicts", (), -1.0),
        ("privacy_fence_conflicts", (), float("nan")),
    ],
)
def test_no_meter_adds_to_what_is_no_such_counter(
    meter_of: Callable[[], Meter], name: str, labels: Labels, amount: float
) -> None:
    """A wrong name, a gauge, labels too few or too many, nothing to add."""
    with pytest.raises(ValueError, match=name):
        meter_of().add(name, labels, amount)


@METERS
def test_no_meter_sets_what_is_no_gauge(meter_of: Callable[[], Meter]) -> None:
    """A counter cannot be set, so it cannot fall."""
    with pytest.raises(ValueError, match="privacy_fence_conflicts"):
        meter_of().set("privacy_fence_conflicts", (), 1.0)


@given(st.lists(st.lists(st.floats(0, 10, allow_nan=False), max_size=20), max_size=5))
def test_a_histogram_arrives_whole_whenever_it_is_handed_over(rounds: list[list[float]]) -> None:
    """However observations fall between hand-overs, each bucket has what is at most its bound, and the sum holds."""
    tallies, meter = Tallies(), MemoryMeter()
    for observations in rounds:
        for value in observations:
            tallies.spread(ALLOCATE_SECONDS).saw(value)
        tallies.hand_over(meter)
    seen = [value for observations in rounds for value in observations]
    for bound in (*ALLOCATE_SECONDS.bounds, inf):
        below = sum(1 for value in seen if value <= bound)
        assert meter.values.get(("privacy_allocate_seconds_bucket", (bound_text(bound),)), 0) == below
    assert meter.values.get(("privacy_allocate_seconds_count", ()), 0) == len(seen)
    assert meter.values.get(("privacy_allocate_seconds_sum", ()), 0) == pytest.approx(sum(seen))


def test_a_count_is_handed_over_once() -> None:
    """What was handed over is not handed over again; each set of labels counts for itself."""
    tallies, meter = Tallies(), MemoryMeter()
    tallies.count(DECISIONS, "admitted", "text").value += 3
    tallies.count(DECISIONS, "replayed", "text").value += 1
    tallies.hand_over(meter)
    tallies.hand_over(meter)
    tallies.count(DECISIONS, "admitted", "text").value += 1
    tallies.hand_over(meter)
    assert meter.values == {
        ("privacy_decisions", ("admitted", "text")): 4,
        ("privacy_decisions", ("replayed", "text")): 1,
    }


def test_gauges_are_read_while_their_owner_lives_and_no_longer() -> None:
    """After the block nobody is asked any more."""
    tallies, meter = Tallies(), MemoryMeter()
    with tallies.gauges(lambda: {(BUDGETS_ENDING, ("1d",)): 2.0}):
        tallies.hand_over(meter)
    assert meter.values == {("privacy_budgets_ending", ("1d",)): 2.0}
    meter.values.clear()
    tallies.hand_over(meter)
    assert meter.values == {}


@pytest.mark.parametrize(
    ("metric", "labels"), [(RELEASE_SECONDS, ()), (DECISIONS, ("admitted",)), (BUDGETS_ENDING, ("1d",))]
)
def test_what_is_no_counter_or_has_other_labels_cannot_be_counted(metric: Metric, labels: tuple[str, ...]) -> None:
    """A mistake in a label is found where it is made."""
    with pytest.raises(ValueError, match=metric.name):
        Tallies().count(metric, *labels)
    assert Tallies().count(FENCE_CONFLICTS).value == 0
