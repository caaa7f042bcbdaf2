"""A training run as it is charged: fixed in advance, from numbers that are public.

The number of records is public here; so is the expected batch. Under add/remove adjacency a run that may not tell its
number of records would have to release it with noise first.
"""

import math
from dataclasses import dataclass
from decimal import Decimal

from accounting.calibration import least_noise
from accounting.events import PoissonGaussianEvent, SelfComposedEvent
from accounting.values import EXACT, InvalidValueError, checked_positive

SAMPLING_GRID = 2**24
"""A sampler draws multiples of 2^-24 (single-precision uniforms), so a record is in with a probability of that grid."""
MAX_RECORDS = 10**9
MAX_STEPS = 1_000_000
MOST = Decimal(10**6)
"""Bound on clipping norm and noise multiplier."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """DP-SGD with Poisson sampling (Abadi et al. 2016; Mironov, Talwar and Zhang 2019), to its exact number of steps.

    Attributes:
        records: Rows to draw from, one a privacy unit; at least 2. Public.
        batch: Rows that a step draws on average, from 1 to `records`.
        steps: Noisy steps, from 1.
        clip: L2 norm to which each row's gradient is clipped.
        multiplier: Standard deviation of the noise on the sum of clipped gradients, in units of `clip`.
    """

    records: int
    batch: int
    steps: int
    clip: Decimal
    multiplier: Decimal

    def __post_init__(self) -> None:
        check_sizes(self.records, self.batch, self.steps)
        checked_positive(self.clip, "clip", MOST)
        checked_positive(self.multiplier, "multiplier", MOST)

    @property
    def probability(self) -> Decimal:
        """With which a row takes part in a step, exactly as it is drawn: `batch / records` rounded up to the grid."""
        return sampling_probability(self.records, self.batch)

    @property
    def event(self) -> SelfComposedEvent:
        """What is charged. The clipping norm cancels out."""
        return training_event(self.records, self.batch, self.steps, self.multiplier)


def check_sizes(records: int, batch: int, steps: int) -> None:
    """Refuses sizes that no run can have.

    Raises:
        InvalidValueError: With what to change.
    """
    if not 2 <= records <= MAX_RECORDS:
        raise InvalidValueError("records", f"must be from 2 to {MAX_RECORDS}, not {records}")
    if not 1 <= batch <= records:
        reason = f"must be from 1 to the number of records, {records}: there are too few rows for {batch} a step"
        raise InvalidValueError("batch_size", reason)
    if not 1 <= steps <= MAX_STEPS:
        raise InvalidValueError("steps", f"must be from 1 to {MAX_STEPS}, not {steps}")


def sampling_probability(records: int, batch: int) -> Decimal:
    """`batch / records`, rounded up to the grid on which it is drawn."""
    ticks = -(-batch * SAMPLING_GRID // records)
    return EXACT.divide(Decimal(ticks), Decimal(SAMPLING_GRID))


def training_event(records: int, batch: int, steps: int, multiplier: Decimal) -> SelfComposedEvent:
    """The event of so many steps."""
    step = PoissonGaussianEvent(multiplier, Decimal(1), sampling_probability(records, batch))
    return SelfComposedEvent(step, steps)


def steps_of(records: int, batch: int, epochs: Decimal) -> int:
    """How many steps see each row `epochs` times on average, rounded up.

    Raises:
        InvalidValueError: If the number of epochs is out of range.
    """
    checked_positive(epochs, "epochs", Decimal(MAX_STEPS))
    return max(1, math.ceil(EXACT.multiply(epochs, Decimal(records)) / batch))


def recipe_for(records: int, batch: int, steps: int, clip: Decimal, epsilon: Decimal, delta: Decimal) -> Recipe:
    """The run with the least noise, to ten digits, whose tightest price at delta is at most epsilon.

    Takes some seconds: every candidate is priced for this exact number of steps by two accountants.

    Raises:
        InvalidValueError: If a number is out of range or no noise has that price.
    """
    check_sizes(records, batch, steps)
    checked_positive(clip, "clip", MOST)
    if delta == 0:
        raise InvalidValueError("delta", "must be greater than 0: Gaussian noise has no pure epsilon")
    multiplier = least_noise(lambda sigma: training_event(records, batch, steps, sigma), epsilon, delta)
    return Recipe(records, batch, steps, clip, multiplier)
