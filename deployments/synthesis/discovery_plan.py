"""What finding a schema will do to the data, fixed before it sees them, and what that costs. Free of OpenDP to read."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

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
from deployments.synthesis.schema import Category, Column, Number, Schema, evenly

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

    Raises:
        InvalidValueError: If a column is not as it must be, or none is unknown.
    """

    outline: Outline
    delta: Decimal
    scale: Decimal
    event: ComposedEvent = field(init=False)

    def __post_init__(self) -> None:
        _check(self.outline)
        object.__setattr__(self, "event", _event(self.outline, self.delta, self.scale))

    @property
    def loss(self) -> PrivacyLoss:
        """Its price. Takes some tenths of a second: whoever only reads a plan does without.

        Raises:
            InvalidValueError: If the event has none.
        """
        return price_plan(self.event, self.delta).loss

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
        # OpenDP is loaded where a plan is made, not where one is read.
        from deployments.mechanisms.threshold import FrequentValues

        needed = FrequentValues(plan.naming).threshold
        if needed > records:
            reason = f"must be at least {needed}: at this epsilon only a value of so many rows is named"
            raise InvalidValueError("records", reason)
    return plan


def roughly(outline: Outline) -> Schema:
    """A schema that every table with that outline fits, and that has about as many codes as what is found will have."""

    def rough(column: Column | UnknownCategory | UnknownNumber) -> Column:
        if isinstance(column, UnknownCategory):
            return Category(column.name, ("?",))
        if isinstance(column, UnknownNumber):
            return Number(column.name, _rough_edges(column), column.whole, column.missing)
        return column

    return Schema(tuple(rough(column) for column in outline))


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
