"""What fitting the marginal engine will do to the data, fixed before it sees them, and what that costs.

Three rounds, each the same operation so many times, on a table of d columns (beside the target, where one is declared):

1. Discrete Gaussian noise on the counts of every column, together with the target: d times.
2. The exponential mechanism chooses which column joins the model next, and beside which: d - 1 times.
3. Discrete Gaussian noise on the counts of what was chosen, together with the target: d - 1 times.

What is chosen depends on the data, how often and with which noise does not. So the whole is one composition, priced and
charged as such.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Context, Decimal

from accounting.calibration import least_noise
from accounting.events import (
    Adjacency,
    ComposedEvent,
    DiscreteGaussianEvent,
    ExponentialEvent,
    SelectionForm,
    SelfComposedEvent,
)
from accounting.plans import price_plan
from accounting.values import InvalidValueError, PrivacyLoss, checked_delta, checked_epsilon
from deployments.synthesis.schema import Category, Schema

COUNT_REACH = Decimal(1)
"""One record is in one cell of a marginal: it moves the counts by 1, in the L2 norm."""
SCORE_REACH = Decimal("2.001")
"""The most that one record moves a score. It is 2, see `marginal_structure`; the rest is for the rounding of floats,
which is below 1e-5 for `MAX_RECORDS` records."""
SINGLE_SHARE, CHOICE_SHARE, JOINT_SHARE = 0.2, 0.05, 0.75
"""How the three rounds share the zero-concentrated loss. On the census data 0.1 more or less changes little."""
LEAST_RECORDS = 100
MAX_RECORDS = 10**8
MAX_MARGINAL_COLUMNS = 128
MAX_CELLS = 50_000
"""Of one marginal. Noise takes about 12 us for each."""
MAX_PARENTS = 2
"""Columns beside the target that one may depend on."""
MAX_COUNTED = 10**10
"""Rows that are counted for scores, over all candidates, at 20 ns each. For more there is only one parent."""

_PARAMETER = Context(prec=15, rounding=ROUND_CEILING)


@dataclass(frozen=True, slots=True)
class MarginalPlan:
    """What `marginal.fit` will do.

    Attributes:
        schema: The public columns.
        records: How many rows the table is taken to have. Public; the true number is not looked at.
        delta: At which the plan is priced.
        target: The place of the column that all others are measured with, or None.
        multiplier: All noise is in proportion to it.
        event: The whole of what is done to the data.
        loss: Its price.

    Raises:
        InvalidValueError: If something is out of range, or the event has no price.
    """

    schema: Schema
    records: int
    delta: Decimal
    target: int | None
    multiplier: Decimal
    event: ComposedEvent = field(init=False)
    loss: PrivacyLoss = field(init=False)

    def __post_init__(self) -> None:
        _check(self.schema, self.records, self.target)
        object.__setattr__(self, "event", _event(len(self.columns), self.multiplier))
        object.__setattr__(self, "loss", price_plan(self.event, self.delta).loss)

    @property
    def columns(self) -> tuple[int, ...]:
        """The places of the columns beside the target."""
        return tuple(place for place in range(len(self.schema.columns)) if place != self.target)

    @property
    def beside(self) -> tuple[int, ...]:
        """The target's place as a tuple, empty where there is none."""
        return () if self.target is None else (self.target,)

    @property
    def parents(self) -> int:
        """How many columns beside the target one may depend on."""
        return MAX_PARENTS if 2 * len(self.columns) ** 2 * self.records <= MAX_COUNTED else 1

    @property
    def single(self) -> DiscreteGaussianEvent:
        """One marginal of the first round."""
        return _single(len(self.columns), self.multiplier)

    @property
    def choice(self) -> ExponentialEvent:
        """One choice of the second round; never made where there is only one column."""
        return _choice(len(self.columns), self.multiplier)

    @property
    def joint(self) -> DiscreteGaussianEvent:
        """One marginal of the third round; likewise."""
        return _joint(len(self.columns), self.multiplier)


def marginal_plan(
    schema: Schema, records: int, epsilon: Decimal, delta: Decimal, target: str | None = None
) -> MarginalPlan:
    """The plan with the least noise whose tightest price is at most epsilon.

    Args:
        schema: The public columns, at most `MAX_MARGINAL_COLUMNS`.
        records: How many rows the table has, from `LEAST_RECORDS`. Public.
        epsilon: What the plan may cost, greater than 0.
        delta: At which it is priced, in (0, 1 / records).
        target: A category that the synthetic rows will be used to predict: every column is measured together with it.

    Raises:
        InvalidValueError: If something is out of range, the rows are too few, or no noise in range has that price.
    """
    checked_epsilon(epsilon)
    if checked_delta(delta) == 0:
        raise InvalidValueError("delta", "must be greater than 0: the counts get Gaussian noise")
    place = None if target is None else _target(schema, target)
    _check(schema, records, place)
    if delta * records >= 1:
        reason = f"must be less than 1 / {records}: whoever publishes one of the rows as it is keeps a larger one"
        raise InvalidValueError("delta", reason)
    number = len(schema.columns) - (place is not None)
    multiplier = least_noise(lambda noise: _event(number, noise), epsilon, delta)
    return MarginalPlan(schema, records, delta, place, multiplier)


def _target(schema: Schema, name: str) -> int:
    try:
        place = schema.index(name)
    except InvalidValueError as error:
        raise InvalidValueError("target", error.reason) from None
    if not isinstance(schema.columns[place], Category):
        raise InvalidValueError("target", "must be a category: declare the column as one, or leave the target out")
    if len(schema.columns) == 1:
        raise InvalidValueError("target", "is the only column: leave the target out")
    return place


def _check(schema: Schema, records: int, target: int | None) -> None:
    if not LEAST_RECORDS <= records <= MAX_RECORDS:
        raise InvalidValueError("records", f"must be from {LEAST_RECORDS} to {MAX_RECORDS}, not {records}")
    if len(schema.columns) > MAX_MARGINAL_COLUMNS:
        reason = f"must be at most {MAX_MARGINAL_COLUMNS} for marginals, not {len(schema.columns)}"
        raise InvalidValueError("columns", reason)
    if len(schema.columns) ** 2 * records > 2 * MAX_COUNTED:
        reason = f"times the square of the columns' number must be at most {2 * MAX_COUNTED}: leave columns out"
        raise InvalidValueError("records", reason)
    beside = 1 if target is None else schema.sizes[target]
    for place, (name, size) in enumerate(zip(schema.names, schema.sizes, strict=True)):
        # With less than a row for each cell, noise is most of what is measured.
        if place != target and size * beside > min(records, MAX_CELLS):
            named = f"{size} codes" if target is None else f"{size * beside} cells together with the target"
            reason = f"has {named}, more than {min(records, MAX_CELLS)}: give it fewer values or wider bins"
            raise InvalidValueError(name, reason)


def _event(columns: int, multiplier: Decimal) -> ComposedEvent:
    return ComposedEvent(tuple(_rounds(columns, multiplier)), adjacency=Adjacency.ADD_REMOVE)


def _rounds(columns: int, multiplier: Decimal) -> Iterator[SelfComposedEvent]:
    yield SelfComposedEvent(_single(columns, multiplier), columns)
    if columns > 1:
        yield SelfComposedEvent(_choice(columns, multiplier), columns - 1)
        yield SelfComposedEvent(_joint(columns, multiplier), columns - 1)


# With a rho of 1 / (2 multiplier^2) in all, a Gaussian of rho r has sigma = sqrt(1 / 2r), and a choice, of epsilon
# 2 reach / scale and a rho of epsilon^2 / 8, has scale = reach sqrt(1 / 2r).


def _single(columns: int, multiplier: Decimal) -> DiscreteGaussianEvent:
    share = SINGLE_SHARE if columns > 1 else 1.0
    return DiscreteGaussianEvent(_noise(multiplier, columns, share, COUNT_REACH), COUNT_REACH)


def _choice(columns: int, multiplier: Decimal) -> ExponentialEvent:
    scale = _noise(multiplier, columns - 1, CHOICE_SHARE, SCORE_REACH)
    return ExponentialEvent(scale, SCORE_REACH, SelectionForm.GUMBEL, False)


def _joint(columns: int, multiplier: Decimal) -> DiscreteGaussianEvent:
    return DiscreteGaussianEvent(_noise(multiplier, columns - 1, JOINT_SHARE, COUNT_REACH), COUNT_REACH)


def _noise(multiplier: Decimal, times: int, share: float, reach: Decimal) -> Decimal:
    return _PARAMETER.multiply(_PARAMETER.multiply(multiplier, reach), Decimal(math.sqrt(max(times, 1) / share)))
