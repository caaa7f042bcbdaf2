"""What was done to the data, as closed, versioned values.

An event is complete mathematics: two equal events cost the same, always. The meaning of a class is never edited; a new
meaning is a new class with a new kind. What an event costs is computed in `accounting.charges`, never by a caller.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from accounting.values import (
    InvalidValueError,
    checked_delta,
    checked_epsilon,
    checked_positive,
    decimal_text,
)

LARGEST_PARAMETER = Decimal(10) ** 18
"""Bound on scales and sensitivities."""


@dataclass(frozen=True, slots=True)
class ClaimEvent:
    """A caller's own statement that an operation is (epsilon, delta)-differentially private.

    Attributes:
        epsilon: Greater than 0.
        delta: In [0, 1).
    """

    epsilon: Decimal
    delta: Decimal

    kind = "claim"

    def __post_init__(self) -> None:
        checked_epsilon(self.epsilon)
        checked_delta(self.delta)

    def parameters(self) -> dict[str, Decimal]:
        """The numbers that define the event, by name."""
        return {"epsilon": self.epsilon, "delta": self.delta}


@dataclass(frozen=True, slots=True)
class LaplaceEvent:
    """Laplace noise of density exp(-|x| / scale) / (2 scale), added to each coordinate of a statistic.

    Attributes:
        scale: Greater than 0, in the statistic's own unit.
        sensitivity: The most that one privacy unit can change the statistic, in the L1 norm and the same unit.
    """

    scale: Decimal
    sensitivity: Decimal

    kind = "laplace"

    def __post_init__(self) -> None:
        checked_positive(self.scale, "scale", LARGEST_PARAMETER)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)

    def parameters(self) -> dict[str, Decimal]:
        """The numbers that define the event, by name."""
        return {"scale": self.scale, "sensitivity": self.sensitivity}


@dataclass(frozen=True, slots=True)
class GaussianEvent:
    """Gaussian noise of standard deviation sigma, added to each coordinate of a statistic.

    Attributes:
        sigma: Greater than 0, in the statistic's own unit.
        sensitivity: The most that one privacy unit can change the statistic, in the L2 norm and the same unit.
    """

    sigma: Decimal
    sensitivity: Decimal

    kind = "gaussian"

    def __post_init__(self) -> None:
        checked_positive(self.sigma, "sigma", LARGEST_PARAMETER)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)

    def parameters(self) -> dict[str, Decimal]:
        """The numbers that define the event, by name."""
        return {"sigma": self.sigma, "sensitivity": self.sensitivity}


Event = ClaimEvent | LaplaceEvent | GaussianEvent

EVENT_VERSION = 1
_EVENTS: dict[str, tuple[Callable[..., Event], frozenset[str]]] = {
    "claim": (ClaimEvent, frozenset({"epsilon", "delta"})),
    "laplace": (LaplaceEvent, frozenset({"scale", "sensitivity"})),
    "gaussian": (GaussianEvent, frozenset({"sigma", "sensitivity"})),
}


def event_to_wire(event: Event) -> dict[str, Any]:
    """The event as JSON-ready data: kind, version and decimal strings."""
    numbers = {name: decimal_text(value) for name, value in event.parameters().items()}
    return {"kind": event.kind, "version": EVENT_VERSION, **numbers}


def event_from_wire(data: Mapping[str, Any]) -> Event:
    """The event that the data describes. Numbers may be decimals, whole numbers or decimal strings, never floats.

    Raises:
        InvalidValueError: If the kind is unknown, a number is missing, superfluous or out of range.
    """
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in _EVENTS:
        raise InvalidValueError("event.kind", f"must be one of {', '.join(sorted(_EVENTS))}")
    version = data.get("version", EVENT_VERSION)
    if version != EVENT_VERSION:
        raise InvalidValueError("event.version", f"must be {EVENT_VERSION}")
    make, names = _EVENTS[kind]
    given = data.keys() - {"kind", "version"}
    for name in sorted(names - given):
        raise InvalidValueError(f"event.{name}", f"is missing: a {kind} event has {', '.join(sorted(names))}")
    for name in sorted(given - names):
        raise InvalidValueError(f"event.{name}", f"is not known: a {kind} event has {', '.join(sorted(names))}")
    numbers = {name: _number(data[name], f"event.{name}") for name in names}
    try:
        return make(**numbers)
    except InvalidValueError as error:
        raise InvalidValueError(f"event.{error.field}", error.reason) from None


def _number(value: object, field: str) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidValueError(field, "must be a number, best written as a decimal string")
    if isinstance(value, int):
        if abs(value) > LARGEST_PARAMETER:
            raise InvalidValueError(field, f"must be at most {LARGEST_PARAMETER}")
        return Decimal(value)
    return parse_decimal(value, field)


def parse_decimal(text: str, field: str) -> Decimal:
    """A decimal from text in ASCII digits, such as ``0.1`` or ``1e-5``.

    Raises:
        InvalidValueError: If the text is anything else, or longer than 64 characters.
    """
    if len(text) > 64 or not text.isascii() or "_" in text or text != text.strip():
        raise InvalidValueError(field, "must be a plain decimal number such as 0.1")
    try:
        return Decimal(text)
    except ArithmeticError:
        raise InvalidValueError(field, "must be a plain decimal number such as 0.1") from None
