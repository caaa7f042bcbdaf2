"""What a caller asks to have released: a statistic, its sensitivity and the privacy that it wants.

Nothing here repeats a value of the statistic, neither in a message nor in a `repr`: both end up in logs.
"""

import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, get_args

from accounting.events import LARGEST_PARAMETER
from accounting.values import InvalidValueError, checked_delta, checked_epsilon, checked_positive

MechanismName = Literal["laplace", "gaussian"]
DataType = Literal["float", "integer"]

MAX_VALUES = 100_000
"""The longest statistic. So many exact Gaussian samples take OpenDP about five seconds."""
LARGEST_VALUE = 2**53
"""Bound on the magnitude of a value, whole or not.

OpenDP adds noise to any finite double exactly. Beyond 2^53 two things end: a JSON number no longer holds every whole
number, and a double no longer resolves one unit, so the sensitivity that the caller computed would be a fiction.
"""


@dataclass(frozen=True, slots=True)
class Query:
    """A statistic to be released with noise.

    `data_type` is public and must not depend on the data. It is never guessed from the values: a mean that happened to
    be 3 would be answered with whole numbers and a mean of 3.01 with fractions, which tells the two apart for certain.

    Attributes:
        mechanism: "laplace" or "gaussian".
        epsilon: Greater than 0.
        delta: 0 for Laplace; in (0, 1) for Gaussian.
        sensitivity: The most that one privacy unit can change the statistic, in its own unit: in the L1 norm for
            Laplace, in the L2 norm for Gaussian. In (0, 1e18].
        data: One value (a scalar) or up to `MAX_VALUES` (a vector), finite and within `LARGEST_VALUE`. Their number is
            public. Whole numbers become floats unless `data_type` is "integer".
        data_type: "float" answers floats; "integer" accepts only whole numbers and answers such.

    Raises:
        InvalidValueError: If anything is out of range; `field` names what.
    """

    mechanism: MechanismName
    epsilon: Decimal
    delta: Decimal
    sensitivity: Decimal
    data: tuple[float, ...] | tuple[int, ...] = field(repr=False)
    data_type: DataType = "float"

    def __post_init__(self) -> None:
        check_mechanism(self.mechanism)
        checked_epsilon(self.epsilon)
        checked_delta(self.delta)
        if self.mechanism == "laplace" and self.delta != 0:
            raise InvalidValueError("delta", "must be 0 for laplace, which is purely epsilon-differentially private")
        if self.mechanism == "gaussian" and self.delta == 0:
            raise InvalidValueError("delta", "must be greater than 0 for gaussian, which has no pure epsilon")
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)
        if self.data_type not in get_args(DataType):
            raise InvalidValueError("data_type", "must be float or integer")
        object.__setattr__(self, "data", _checked_data(self.data, self.data_type))


def check_mechanism(name: str) -> None:
    """Accepts the name of a mechanism that releases values.

    Raises:
        InvalidValueError: If there is no such mechanism here.
    """
    available = get_args(MechanismName)
    if name not in available:
        raise InvalidValueError("mechanism", f"must be one of {', '.join(available)}: no other releases values here")


def _checked_data(
    data: tuple[float, ...] | tuple[int, ...], data_type: DataType
) -> tuple[float, ...] | tuple[int, ...]:
    if not data:
        raise InvalidValueError("data", "must hold at least one value")
    if len(data) > MAX_VALUES:
        raise InvalidValueError("data", f"must hold at most {MAX_VALUES} values, not {len(data)}")
    for index, value in enumerate(data):
        # To Python a bool is a whole number; to a caller it is a mistake.
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidValueError(f"data[{index}]", "must be a number")
        if data_type == "integer" and not isinstance(value, int):
            raise InvalidValueError(f"data[{index}]", "must be a whole number, as data_type is integer")
        # OpenDP itself would take a NaN, even where its domain excludes it, and answer noise around 0.
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidValueError(f"data[{index}]", "must be a finite number")
        if abs(value) > LARGEST_VALUE:
            raise InvalidValueError(f"data[{index}]", "must be at most 2^53 in magnitude")
    return tuple(map(int, data)) if data_type == "integer" else tuple(map(float, data))
