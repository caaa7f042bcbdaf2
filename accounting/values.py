"""Exact numbers of privacy loss, and the limits within which they are accepted.

Rules held here, and nowhere else:

1. Epsilon and delta are decimals from the wire to the disk. No float ever takes part in an admission.
2. Sums and comparisons are exact: the arithmetic context raises rather than rounds.
3. What is not a plain finite number of reasonable size is refused before an accountant sees it.
4. Whatever must be rounded is rounded by a function whose name says which way.
"""

from dataclasses import dataclass
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from fractions import Fraction

ZERO = Decimal(0)
MAX_DIGITS = 30
"""Significant digits that an input may have. A sum of 10^60 of them is still exact in `EXACT`."""
MAX_PLACES = 30
"""Decimal places that an input may have; so the smallest positive input is 1e-30."""
MAX_EPSILON = Decimal(1_000_000)
"""The largest epsilon accepted anywhere. Beyond about 50 it promises nothing; this bound only keeps sums small."""
PRICE_PLACES = 12
"""Decimal places of a computed charge, which is rounded up to them."""

EXACT = Context(prec=120, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
"""Decimal arithmetic that raises `decimal.Inexact` where it would have to round."""


class InvalidValueError(ValueError):
    """An input outside what the service accepts.

    Attributes:
        field: The name of the input, as the caller knows it.
        reason: What was wrong and what would be right.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PrivacyLoss:
    """A pair (epsilon, delta), exact. Used for charges, caps and sums alike.

    Attributes:
        epsilon: At least 0.
        delta: At least 0. A sum of deltas may exceed 1; it is then merely vacuous.
    """

    epsilon: Decimal
    delta: Decimal

    def plus(self, other: "PrivacyLoss") -> "PrivacyLoss":
        """The sum of both, exact (basic composition: Dwork and Roth 2014, Theorem 3.16)."""
        return PrivacyLoss(EXACT.add(self.epsilon, other.epsilon), EXACT.add(self.delta, other.delta))

    def minus(self, other: "PrivacyLoss") -> "PrivacyLoss":
        """The difference of both, exact. May be negative in either part."""
        return PrivacyLoss(EXACT.subtract(self.epsilon, other.epsilon), EXACT.subtract(self.delta, other.delta))

    def within(self, cap: "PrivacyLoss") -> bool:
        """Whether neither part exceeds the cap's."""
        return self.epsilon <= cap.epsilon and self.delta <= cap.delta


NO_LOSS = PrivacyLoss(ZERO, ZERO)


def checked_epsilon(value: Decimal, field: str = "epsilon") -> Decimal:
    """Accepts an epsilon: positive, finite, at most `MAX_EPSILON`, within `MAX_DIGITS` and `MAX_PLACES`.

    Raises:
        InvalidValueError: Otherwise.
    """
    _check_shape(value, field)
    if value <= 0:
        raise InvalidValueError(field, f"must be greater than 0, not {decimal_text(value)}")
    if value > MAX_EPSILON:
        raise InvalidValueError(field, f"must be at most {MAX_EPSILON}")
    return value


def checked_delta(value: Decimal, field: str = "delta") -> Decimal:
    """Accepts a delta: at least 0 and less than 1, within `MAX_DIGITS` and `MAX_PLACES`.

    Raises:
        InvalidValueError: Otherwise.
    """
    _check_shape(value, field)
    if value < 0:
        raise InvalidValueError(field, f"must be at least 0, not {decimal_text(value)}")
    if value >= 1:
        raise InvalidValueError(field, "must be less than 1")
    return value


def checked_positive(value: Decimal, field: str, largest: Decimal) -> Decimal:
    """Accepts a positive parameter (a scale, a sensitivity) up to `largest`, within the digit limits.

    Raises:
        InvalidValueError: Otherwise.
    """
    _check_shape(value, field)
    if value <= 0:
        raise InvalidValueError(field, f"must be greater than 0, not {decimal_text(value)}")
    if value > largest:
        raise InvalidValueError(field, f"must be at most {decimal_text(largest)}")
    return value


def _check_shape(value: Decimal, field: str) -> None:
    if not value.is_finite():
        raise InvalidValueError(field, "must be a finite number")
    _, digits, exponent = value.as_tuple()
    # The exponent comes first: printing or adding 1e999999 would cost a million digits.
    if not isinstance(exponent, int) or exponent > MAX_DIGITS or exponent < -MAX_PLACES:
        raise InvalidValueError(field, f"must be written with at most {MAX_PLACES} decimal places and no huge exponent")
    if len(digits) > MAX_DIGITS:
        raise InvalidValueError(field, f"must have at most {MAX_DIGITS} significant digits, not {len(digits)}")


def decimal_text(value: Decimal) -> str:
    """The one way a decimal is written in entries and certificates: plain notation, no needless zeros.

    >>> decimal_text(Decimal("1E-7")), decimal_text(Decimal("2.50")), decimal_text(Decimal("-0"))
    ('0.0000001', '2.5', '0')
    """
    text = str(value)
    if "E" in text:
        text = format(value, "f")
    if text[-1] == "0" and "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def round_up(value: Fraction, places: int = PRICE_PLACES) -> Decimal:
    """The smallest decimal of that many places that is not below `value`: for charges."""
    return _to_grid(value, places, ROUND_CEILING)


def round_down(value: Fraction, places: int = PRICE_PLACES) -> Decimal:
    """The largest decimal of that many places that is not above `value`: for budgets and what remains of them."""
    return _to_grid(value, places, ROUND_FLOOR)


def _to_grid(value: Fraction, places: int, rounding: str) -> Decimal:
    scaled = value * 10**places
    whole = -((-scaled.numerator) // scaled.denominator) if rounding == ROUND_CEILING else int(scaled // 1)
    return Decimal(whole).scaleb(-places, EXACT)
