"""A recipe is charged to its exact steps and probability, with the least noise that its price allows."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from accounting.events import PoissonGaussianEvent
from accounting.plans import price
from accounting.values import InvalidValueError
from deployments.training.recipe import SAMPLING_GRID, Recipe, recipe_for, sampling_probability, steps_of

ONE = Decimal(1)
DELTA = Decimal("1e-5")
RECORDS, BATCH, STEPS = 2_700, 300, 90


def test_steps_are_those_that_epochs_take() -> None:
    """With 93 batches an epoch there are 93 steps: 1 / (1 / 93) is a little less in floating point, and not floored."""
    assert int(1 / (1 / 93)) == 92
    assert steps_of(93, 1, ONE) == 93
    assert steps_of(9_300, 100, ONE) == 93
    assert steps_of(9_301, 100, ONE) == 94
    assert steps_of(1_000, 100, Decimal("0.001")) == 1


@given(some.integers(2, 10**9), some.data())
def test_the_probability_is_on_the_grid_and_not_below_the_rate(records: int, data: some.DataObject) -> None:
    """A single-precision uniform is below it exactly so often, and no row takes part more often than is charged."""
    batch = data.draw(some.integers(1, records))
    probability = sampling_probability(records, batch)
    ticks = probability * SAMPLING_GRID
    assert ticks == int(ticks)
    assert 0 <= ticks * records - batch * SAMPLING_GRID < records
    assert probability <= 1


def test_the_event_has_the_very_steps_and_the_very_probability() -> None:
    """What is priced is what is done."""
    recipe = Recipe(RECORDS, BATCH, STEPS, Decimal("0.7"), Decimal("1.5"))
    assert recipe.event.count == STEPS
    step = recipe.event.event
    assert isinstance(step, PoissonGaussianEvent)
    assert step.sampling_probability == recipe.probability
    assert step.sigma == Decimal("1.5")


@pytest.mark.parametrize(("epsilon", "multiplier"), [(1, "4.145993003"), (3, "1.747718082")])
def test_a_recipe_costs_at_most_what_was_asked_for(epsilon: int, multiplier: str) -> None:
    """And with a thousandth less noise it would cost more."""
    recipe = recipe_for(RECORDS, BATCH, STEPS, ONE, Decimal(epsilon), DELTA)
    assert recipe.multiplier == pytest.approx(Decimal(multiplier), rel=Decimal("1e-8"))
    assert price(recipe.event, DELTA).epsilon <= epsilon
    less = Recipe(RECORDS, BATCH, STEPS, ONE, recipe.multiplier * Decimal("0.999"))
    assert price(less.event, DELTA).epsilon > epsilon


@pytest.mark.parametrize(
    ("field", "records", "batch", "steps"),
    [
        ("records", 1, 1, 1),
        ("records", 10**9 + 1, 1, 1),
        ("batch_size", 100, 0, 1),
        ("batch_size", 100, 101, 1),
        ("steps", 100, 10, 0),
        ("steps", 100, 10, 1_000_001),
    ],
)
def test_sizes_that_no_run_can_have_are_refused(field: str, records: int, batch: int, steps: int) -> None:
    """With the field that is wrong."""
    with pytest.raises(InvalidValueError) as refused:
        Recipe(records, batch, steps, ONE, ONE)
    assert refused.value.field == field


@pytest.mark.parametrize("wrong", [Decimal(0), Decimal(-1), Decimal(10**6 + 1), Decimal("NaN")])
@pytest.mark.parametrize("field", ["clip", "multiplier"])
def test_a_recipe_has_noise_and_a_clip(field: str, wrong: Decimal) -> None:
    """Neither is nothing, without bound, or no number."""
    numbers = {"clip": ONE, "multiplier": ONE, field: wrong}
    with pytest.raises(InvalidValueError, match=field):
        Recipe(100, 10, 1, **numbers)


def test_a_pure_price_is_refused() -> None:
    """Gaussian noise has none."""
    with pytest.raises(InvalidValueError, match="delta"):
        recipe_for(RECORDS, BATCH, STEPS, ONE, ONE, Decimal(0))


def test_epochs_out_of_range_are_refused() -> None:
    """None is no run."""
    with pytest.raises(InvalidValueError, match="epochs"):
        steps_of(100, 10, Decimal(0))
