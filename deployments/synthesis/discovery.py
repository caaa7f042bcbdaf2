"""A schema out of private rows, where a column's values or bins are not public: found by releases that are charged.

- Unknown values: those that so many rows have that naming them tells of no one (`deployments.mechanisms.threshold`).
  The rest becomes the code for everything else.
- Unknown bins between public bounds: edges with about as many rows between each two. Each is the best of a public grid
  by the exponential mechanism (Smith 2011, "Privacy-preserving statistical estimation with optimal convergence rates").
  The score of a number c as the q-quantile is -|(1 - q) rows below c - q rows from c|; a row moves it by less than 1.

Bounds must be public: they are what clips a number that is far off.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deployments.synthesis.discovery_plan import DiscoveryPlan, UnknownCategory, UnknownNumber, roughly
from deployments.synthesis.draws import Draws
from deployments.synthesis.schema import MAX_CODES, MAX_TEXT, OTHER, Category, Column, Number, Schema
from deployments.synthesis.table import Columns, as_numbers, as_text, encode

GRID = 1024
"""Candidates for an edge, evenly spaced between the bounds."""


def discover(columns: Columns, plan: DiscoveryPlan) -> Schema:
    """Finds the schema. Every call is one release of `plan.event`: charge each of them.

    Args:
        columns: The private values, by column name.
        plan: Says what to find.

    Returns:
        The outline's columns, in its order. A column of which no value is frequent gets "?" as its only value.

    Raises:
        InvalidValueError: If the values do not fit the outline. No noise has been drawn then.
        PricingDisagreementError: If OpenDP cannot confirm the price of a step.
    """
    encode(columns, roughly(plan.outline))
    draws = Draws(plan.event, plan.delta)
    return Schema(tuple(_found(column, columns, plan, draws) for column in plan.outline))


def _found(
    column: Column | UnknownCategory | UnknownNumber, columns: Columns, plan: DiscoveryPlan, draws: Draws
) -> Column:
    if isinstance(column, UnknownCategory):
        named = draws.frequent(plan.naming, _countable(columns[column.name]))
        return Category(column.name, tuple(named[: MAX_CODES - 1]) or ("?",))
    if isinstance(column, UnknownNumber):
        numbers = as_numbers(columns[column.name], column.name)
        below = np.searchsorted(np.sort(numbers[~np.isnan(numbers)]), _grid(column), side="left")
        known = int((~np.isnan(numbers)).sum())
        edges = {float(column.lower), float(column.upper)}
        for part in range(1, column.bins):
            place = draws.choose(plan.choice, _quantile_scores(below, known, part / column.bins))
            edges.add(float(_grid(column)[place]))
        return Number(column.name, tuple(sorted(edges)), column.whole, column.missing)
    return column


def _countable(values: Sequence[object]) -> Counter[str]:
    """How many rows have each value, of those that a schema can list. A row is counted once, or not at all."""
    texts = (as_text(value) for value in values)
    return Counter(text for text in texts if len(text) <= MAX_TEXT and text.isprintable() and text not in ("", OTHER))


def _quantile_scores(below: npt.NDArray[np.int64], rows: int, share: float) -> list[float]:
    """For each candidate, how far it is from having that share of the rows below it; 0 is best."""
    scores: list[float] = (-np.abs((1 - share) * below - share * (rows - below))).tolist()
    return scores


def _grid(column: UnknownNumber) -> npt.NDArray[np.float64]:
    """The candidates for an edge, increasing, all within the bounds."""
    points = np.linspace(column.lower, column.upper, GRID + 2)[1:-1]
    return np.unique(np.clip(np.round(points), column.lower + 1, column.upper - 1)) if column.whole else points
