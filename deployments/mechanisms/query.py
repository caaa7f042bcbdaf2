"""What a caller asks to have released: a statistic, its sensitivity and the privacy, or the noise, that it wants.

Nothing here repeats a value of the statistic, neither in a message nor in a `repr`: both end up in logs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, get_args

from accounting.events import LARGEST_PARAMETER
from accounting.values import InvalidValueError, checked_delta, checked_epsilon, checked_positive

MechanismName = Literal["laplace", "gaussian"]
DataType = Literal["float", "integer"]

MAX_VALUES = 1_000_000
"""The longest statistic. So many exact Gaussian samples take OpenDP about 12 seconds."""
LARGEST_VALUE = 2**53
"""Bound on the magnitude of a value, whole or not.

OpenDP adds noise to any finite double exactly. Beyond 2^53 two things end: a JSON number no longer holds every whole
number, and a double no longer resolves one unit, so the sensitivity that the caller computed would be a fiction.
"""


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise that a caller wants for a statistic: all of a query that is public.

    Attributes:
        mechanism: "laplace" or "gaussian".
        epsilon: What the release may cost, greater than 0; None where the scale is given.
        delta: 0 for Laplace; in (0, 1) for Gaussian.
        sensitivity: The most that one privacy unit can change the statistic, in its own unit: in the L1 norm for
            Laplace, in the L2 norm for Gaussian. In (0, 1e18].
        data_type: "float" answers floats; "integer" accepts only whole numbers and answers such.
        scale: The noise itself, in the statistic's unit: scale of a Laplace, standard deviation of a Gaussian. In
            (0, 1e18]; None where epsilon is given.

    Raises:
        InvalidValueError: If anything is out of range; `field` names what.
    """

    mechanism: MechanismName
    epsilon: Decimal | None
    delta: Decimal
    sensitivity: Decimal
    data_type: DataType = "float"
    scale: Decimal | None = None

    def __post_init__(self) -> None:
        check_mechanism(self.mechanism)
        check_privacy_or_noise(self.epsilon, self.scale)
        checked_delta(self.delta)
        if self.mechanism == "laplace" and self.delta != 0:
            raise InvalidValueError("delta", "must be 0 for laplace, which is purely epsilon-differentially private")
        if self.mechanism == "gaussian" and self.delta == 0:
            raise InvalidValueError("delta", "must be greater than 0 for gaussian, which has no pure epsilon")
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)
        if self.data_type not in get_args(DataType):
            raise InvalidValueError("data_type", "must be float or integer")


@dataclass(frozen=True, slots=True)
class Query:
    """A statistic to be released with noise.

    `data_type` is public and must not depend on the data. It is never guessed from the values: a mean that happened to
    be 3 would be answered with whole numbers and a mean of 3.01 with fractions, which tells the two apart for certain.

    Attributes:
        mechanism: See `Noise`, also for epsilon, delta, sensitivity, data_type and scale.
        data: One value (a scalar) or up to `MAX_VALUES` (a vector), finite and within `LARGEST_VALUE`. Their number is
            public. Whole numbers become floats unless `data_type` is "integer".

    Raises:
        InvalidValueError: If anything is out of range; `field` names what.
    """

    mechanism: MechanismName
    epsilon: Decimal | None
    delta: Decimal
    sensitivity: Decimal
    data: tuple[float, ...] | tuple[int, ...] = field(repr=False)
    data_type: DataType = "float"
    scale: Decimal | None = None
    noise: Noise = field(init=False, repr=False)

    def __post_init__(self) -> None:
        noise = Noise(self.mechanism, self.epsilon, self.delta, self.sensitivity, self.data_type, self.scale)
        object.__setattr__(self, "noise", noise)
        values = checked_numbers(self.data, "data", MAX_VALUES, whole=self.data_type == "integer")
        object.__setattr__(self, "data", values)


def check_mechanism(name: str) -> None:
    """Accepts the name of a mechanism that releases values.

    Raises:
        InvalidValueError: If there is no such mechanism here.
    """
    available = get_args(MechanismName)
    if name not in available:
        raise InvalidValueError("mechanism", f"must be one of {', '.join(available)}: no other releases values here")


def check_privacy_or_noise(epsilon: Decimal | None, scale: Decimal | None) -> None:
    """Accepts an epsilon or a scale, and not both: one follows from the other.

    Raises:
        InvalidValueError: If both or neither are given, or the one is out of range.
    """
    if epsilon is not None and scale is not None:
        raise InvalidValueError("scale", "is computed from epsilon: give one of them")
    if epsilon is not None:
        checked_epsilon(epsilon)
    elif scale is not None:
        checked_positive(scale, "scale", LARGEST_PARAMETER)
    else:
        raise InvalidValueError("epsilon", "is missing: say what it may cost, or give the scale of the noise instead")


def check_length(length: int) -> None:
    """Accepts the length of a statistic, from 1 to `MAX_VALUES`.

    Raises:
        InvalidValueError: Otherwise.
    """
    if not 1 <= length <= MAX_VALUES:
        raise InvalidValueError("length", f"must be from 1 to {MAX_VALUES}")


def checked_numbers(
    values: Sequence[float], name: str, most: int, *, whole: bool = False
) -> tuple[float, ...] | tuple[int, ...]:
    """Accepts numbers that OpenDP can take without changing them. No message repeats one of them.

    Args:
        values: From 1 to `most` numbers, finite and within `LARGEST_VALUE`.
        name: The field that they stand in.
        most: How many there may be.
        whole: Whether only whole numbers are accepted, and left such.

    Returns:
        The same, all whole numbers or all floats.

    Raises:
        InvalidValueError: Otherwise; `field` names the place.
    """
    if not values:
        raise InvalidValueError(name, "must hold at least one value")
    if len(values) > most:
        raise InvalidValueError(name, f"must hold at most {most} values, not {len(values)}")
    for index, value in enumerate(values):
        # To Python a bool is a whole number; to a caller it is a mistake.
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidValueError(f"{name}[{index}]", "must be a number")
        if whole and not isinstance(value, int):
            raise InvalidValueError(f"{name}[{index}]", "must be a whole number, as data_type is integer")
        # OpenDP itself would take a NaN, even where its domain excludes it, and answer noise around 0.
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidValueError(f"{name}[{index}]", "must be a finite number")
        if abs(value) > LARGEST_VALUE:
            raise InvalidValueError(f"{name}[{index}]", "must be at most 2^53 in magnitude")
    return tuple(map(int, values)) if whole else tuple(map(float, values))


def tail_of(confidence: Decimal) -> float:
    """What a confidence leaves over: 1 - confidence.

    Raises:
        InvalidValueError: If the confidence is not in (0, 1), or written with more than 30 decimal places.
    """
    checked_positive(confidence, "confidence", Decimal(1))
    if confidence == 1:
        raise InvalidValueError("confidence", "must be less than 1: noise has no largest value")
    return float(1 - confidence)
