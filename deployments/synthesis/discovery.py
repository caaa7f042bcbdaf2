"""A schema out of private rows, where a column's values or bins are not public: found by releases that are charged.

- Unknown values: those that so many rows have that naming them tells of no one (`deployments.mechanisms.threshold`).
  The rest becomes the code for everything else.
- Unknown bins between public bounds: edges with about as many rows between each two. Each is the best of a public grid
  by the exponential mechanism (Smith 2011, "Privacy-preserving statistical estimation with optimal convergence rates").
  The score of a number c as the q-quantile is -|(1 - q) rows below c - q rows from c|; a row moves it by less than 1.

Bounds must be public: they are what clips a number that is far off.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from accounting.calibration import least_noise
from accounting.events import (
    Adjacency,
    ClaimEvent,
    ComposedEvent,
    ExponentialEvent,
    SelectionForm,
    SelfComposedEvent,
)
from accounting.plans import price_plan
from accounting.values import MAX_PLACES, InvalidValueError, PrivacyLoss, round_down, round_up
from deployments.mechanisms.threshold import FrequentValues
from deployments.synthesis.draws import Draws
from deployments.synthesis.schema import MAX_CODES, MAX_TEXT, OTHER, Category, Column, Number, Schema, evenly
from deployments.synthesis.table import Columns, as_numbers, as_text, encode

GRID = 1024
"""Candidates for an edge, evenly spaced between the bounds."""
MAX_BINS = 100
MAX_OPERATIONS = 1_000


@dataclass(frozen=True, slots=True)
class UnknownCategory:
    """A column of text whose values are not public.

    Attributes:
        name: The column's.
    """

    name: str


@dataclass(frozen=True, slots=True)
class UnknownNumber:
    """A column of numbers whose bounds are public and whose bins are to follow the rows.

    Attributes:
        name: The column's.
        lower: The lower bound.
        upper: The upper bound, greater.
        bins: How many are wanted, from 2 to `MAX_BINS`; fewer are made where edges coincide. Where most rows share one
            value, no edge parts them, and some are anywhere: better make a public bin of that value.
        whole: See `schema.Number`.
        missing: Likewise.
    """

    name: str
    lower: float
    upper: float
    bins: int
    whole: bool = False
    missing: bool = False


Outline = tuple[Column | UnknownCategory | UnknownNumber, ...]
"""Columns of which some are to be found."""


@dataclass(frozen=True, slots=True)
class DiscoveryPlan:
    """What `discover` will do, fixed before it sees the rows.

    Attributes:
        outline: The columns.
        delta: At which the plan is priced.
        scale: Of the noise of every choice, in rows. An operation has an epsilon of 2 / scale.
        event: The whole of what is done to the data.
        loss: Its price.

    Raises:
        InvalidValueError: If a column is not as it must be, none is unknown, or the event has no price.
    """

    outline: Outline
    delta: Decimal
    scale: Decimal
    event: ComposedEvent = field(init=False)
    loss: PrivacyLoss = field(init=False)

    def __post_init__(self) -> None:
        _check(self.outline)
        object.__setattr__(self, "event", _event(self.outline, self.delta, self.scale))
        object.__setattr__(self, "loss", price_plan(self.event, self.delta).loss)

    @property
    def naming(self) -> ClaimEvent:
        """The release of one column's frequent values."""
        return _naming(self.outline, self.delta, self.scale)

    @property
    def choice(self) -> ExponentialEvent:
        """The choice of one edge."""
        return _choice(self.scale)


def discovery_plan(outline: Outline, records: int, epsilon: Decimal, delta: Decimal) -> DiscoveryPlan:
    """The plan with the least noise whose tightest price is at most epsilon; each operation has an equal part.

    Args:
        outline: The columns, at least one of which is unknown.
        records: How many rows there are. Public.
        epsilon: What the plan may cost, greater than 0.
        delta: At which it is priced, in [0, 1); greater than 0 where values are to be found.

    Raises:
        InvalidValueError: If something is out of range, no noise has that price, or no value could be frequent enough.
    """
    _check(outline)
    if delta == 0 and _unknown_categories(outline):
        raise InvalidValueError("delta", "must be greater than 0: a value that is named tells that somebody has it")
    plan = DiscoveryPlan(outline, delta, least_noise(lambda scale: _event(outline, delta, scale), epsilon, delta))
    if _unknown_categories(outline):
        needed = FrequentValues(plan.naming).threshold
        if needed > records:
            reason = f"must be at least {needed}: at this epsilon only a value of so many rows is named"
            raise InvalidValueError("records", reason)
    return plan


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


def roughly(outline: Outline) -> Schema:
    """A schema that every table with that outline fits, and that has about as many codes as what is found will have."""

    def rough(column: Column | UnknownCategory | UnknownNumber) -> Column:
        if isinstance(column, UnknownCategory):
            return Category(column.name, ("?",))
        if isinstance(column, UnknownNumber):
            return Number(column.name, _rough_edges(column), column.whole, column.missing)
        return column

    return Schema(tuple(rough(column) for column in outline))


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


def _rough_edges(column: UnknownNumber) -> tuple[float, ...]:
    if not (column.lower < column.upper and 1 <= column.bins <= MAX_BINS):
        # Refused as a schema's edges, or bins, would be.
        return column.lower, column.upper
    edges = evenly(column.lower, column.upper, column.bins)
    return tuple(sorted({float(round(edge)) for edge in edges})) if column.whole else edges


def _check(outline: Outline) -> None:
    roughly(outline)
    for at, column in enumerate(outline):
        if isinstance(column, UnknownNumber):
            most = min(MAX_BINS, int(column.upper - column.lower)) if column.whole else MAX_BINS
            if not 2 <= column.bins <= most:
                raise InvalidValueError(f"columns[{at}].bins", f"must be from 2 to {most}")
    operations = _unknown_categories(outline) + _unknown_edges(outline)
    if not 1 <= operations <= MAX_OPERATIONS:
        reason = f"must leave 1 to {MAX_OPERATIONS} values' lists and edges to be found, not {operations}"
        raise InvalidValueError("columns", reason)


def _unknown_categories(outline: Outline) -> int:
    return sum(isinstance(column, UnknownCategory) for column in outline)


def _unknown_edges(outline: Outline) -> int:
    return sum(column.bins - 1 for column in outline if isinstance(column, UnknownNumber))


def _event(outline: Outline, delta: Decimal, scale: Decimal) -> ComposedEvent:
    return ComposedEvent(tuple(_operations(outline, delta, scale)), adjacency=Adjacency.ADD_REMOVE)


def _operations(outline: Outline, delta: Decimal, scale: Decimal) -> Iterator[SelfComposedEvent]:
    if categories := _unknown_categories(outline):
        yield SelfComposedEvent(_naming(outline, delta, scale), categories)
    if edges := _unknown_edges(outline):
        yield SelfComposedEvent(_choice(scale), edges)


def _naming(outline: Outline, delta: Decimal, scale: Decimal) -> ClaimEvent:
    # Half of delta is left for composition.
    each = round_down(Fraction(delta) / (2 * _unknown_categories(outline)), MAX_PLACES)
    return ClaimEvent(round_up(2 / Fraction(scale)), each)


def _choice(scale: Decimal) -> ExponentialEvent:
    return ExponentialEvent(scale, Decimal(1), SelectionForm.GUMBEL, False)
