"""A schema that is not public is found at the price that was charged."""

from collections import Counter
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.events import Event, leaves
from accounting.plans import price_plan
from accounting.values import InvalidValueError
from deployments.synthesis import discovery
from deployments.synthesis.discovery import discover
from deployments.synthesis.discovery_plan import DiscoveryPlan, Outline, UnknownCategory, UnknownNumber, discovery_plan
from deployments.synthesis.draws import Draws
from deployments.synthesis.schema import OTHER, Category, Number
from deployments.synthesis.table import encode

DELTA = Decimal("0.000001")
ROWS = 4000
SEX = Category("sex", ("f", "m"))
OUTLINE: Outline = (SEX, UnknownCategory("town"), UnknownNumber("age", 0, 120, 4, whole=True, missing=True))


@cache
def columns() -> dict[str, list[Any]]:
    """Three frequent towns, one with a single row, some names that no schema can list, and ages from 20 to 59."""
    towns = ["Ulm", " Bonn", "Jena "] * 1300 + ["Hamlet", OTHER, "", "a\nb"] + [None] * 96
    return {"sex": ["f", "m"] * 2000, "town": towns, "age": [*(20 + at % 40 for at in range(3990)), *[None] * 10]}


@cache
def plan_for(epsilon: str) -> DiscoveryPlan:
    """A plan for those rows."""
    return discovery_plan(OUTLINE, ROWS, Decimal(epsilon), DELTA)


@pytest.mark.parametrize("epsilon", ["0.5", "3"])
def test_a_plan_costs_what_was_asked_for_and_hardly_less(epsilon: str) -> None:
    """The tightest price of its event, names and edges together."""
    plan = plan_for(epsilon)
    assert plan.loss == price_plan(plan.event, DELTA).loss
    assert Decimal(epsilon) * Decimal("0.999") <= plan.loss.epsilon <= Decimal(epsilon)


def test_edges_alone_need_no_delta() -> None:
    """The exponential mechanism is purely private."""
    plan = discovery_plan(OUTLINE[2:], ROWS, Decimal(1), Decimal(0))
    assert plan.loss.delta == 0
    assert plan.loss.epsilon <= 1


def test_the_frequent_values_and_the_quantiles_are_found() -> None:
    """Towns with many rows, ages that part the rows evenly; what was public stays."""
    schema = discover(columns(), plan_for("5"))
    sex, town, age = schema.columns
    assert sex == SEX
    assert town == Category("town", ("Bonn", "Jena", "Ulm"))
    assert isinstance(age, Number)
    assert (age.whole, age.missing, age.edges[0], age.edges[-1]) == (True, True, 0, 120)
    assert age.edges[1:-1] == pytest.approx((30, 40, 50), abs=2)
    counts = np.bincount(encode(columns(), schema).codes[:, 1])
    assert counts.tolist() == [1300, 1300, 1300, 100]


def test_what_is_drawn_is_the_plans_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every operation as often as charged, and no other."""
    drawn = Counter[Event]()

    class Watched(Draws):
        def _take(self, leaf: Event) -> None:
            super()._take(leaf)
            drawn[leaf] += 1

    monkeypatch.setattr(discovery, "Draws", Watched)
    discover(columns(), plan_for("1"))
    assert drawn == Counter(dict(leaves(plan_for("1").event)))


@given(st.lists(st.integers(0, 120), max_size=30), st.integers(0, 120), st.sampled_from([0.01, 0.25, 0.5, 0.99]))
def test_one_row_moves_a_quantiles_score_by_less_than_is_charged(rows: list[int], added: int, share: float) -> None:
    """By the larger of the shares below and above, at every candidate."""
    grid = np.arange(1, 120)
    one, other = (
        np.array(discovery._quantile_scores(np.searchsorted(np.sort(those), grid), len(those), share))
        for those in (rows, [*rows, added])
    )
    assert np.abs(one - other).max() <= max(share, 1 - share) + 1e-9 < plan_for("1").choice.sensitivity


def test_where_no_value_is_frequent_every_value_is_other() -> None:
    """The column stays, with one value that nobody has."""
    plan = discovery_plan((UnknownCategory("name"),), ROWS, Decimal(1), DELTA)
    schema = discover({"name": [f"person {at}" for at in range(ROWS)]}, plan)
    assert schema.columns == (Category("name", ("?",)),)


def test_edges_that_coincide_are_one() -> None:
    """Two in five rows have a 0, the others a 1: that is where both thirds part best."""
    plan = discovery_plan((UnknownNumber("gain", 0, 3, 3, whole=True),), ROWS, Decimal(50), DELTA)
    (gain,) = discover({"gain": [0, 0, 1, 1, 1] * 800}, plan).columns
    assert gain == Number("gain", (0.0, 1.0, 3.0), whole=True)


@pytest.mark.parametrize(
    ("outline", "records", "delta", "field"),
    [
        ((SEX,), ROWS, DELTA, "columns"),
        ((), ROWS, DELTA, "columns"),
        ((SEX, UnknownCategory("sex")), ROWS, DELTA, "columns[1].name"),
        ((UnknownNumber("age", 5, 5, 3),), ROWS, DELTA, "columns[0].edges[1]"),
        ((UnknownNumber("age", 0, 5, 1),), ROWS, DELTA, "columns[0].bins"),
        ((UnknownNumber("age", 0, 5, 6, whole=True),), ROWS, DELTA, "columns[0].bins"),
        ((UnknownNumber("age", 0, 5, 101),), ROWS, DELTA, "columns[0].bins"),
        (tuple(UnknownNumber(f"n{at}", 0, 5, 100) for at in range(11)), ROWS, DELTA, "columns"),
        ((UnknownCategory("town"),), 5, DELTA, "records"),
        ((UnknownCategory("town"),), ROWS, Decimal(0), "delta"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(outline: Outline, records: int, delta: Decimal, field: str) -> None:
    """Nothing to find, bounds or bins that are none, too much to find, or too few rows for any value to be named."""
    with pytest.raises(InvalidValueError) as refused:
        discovery_plan(outline, records, Decimal(1), delta)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"age": [121] * ROWS}, "age[0]"), ({"town": ["Ulm"]}, "town"), ({"age": ["old"] * ROWS}, "age[0]")],
)
def test_values_that_do_not_fit_are_refused_before_any_noise(
    changed: dict[str, list[Any]], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nothing needs to be charged for them."""
    made: list[Draws] = []
    monkeypatch.setattr(discovery, "Draws", lambda event, delta: made.append(Draws(event, delta)))
    with pytest.raises(InvalidValueError) as refused:
        discover(columns() | changed, plan_for("1"))
    assert (refused.value.field, made) == (field, [])
