"""Published numbers of others, read from `accounting_cases.json`: what was computed, by whom, and how exactly.

A case is read whole or not at all. Whatever the reader does not know, a parameter that no answer looked at included,
is an `UnknownCaseError`: a case that is quietly skipped, or answered without one of its parameters, proves nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from accounting.event_wire import parse_decimal
from accounting.values import InvalidValueError

FILE = Path(__file__).with_name("accounting_cases.json")

_CASE_KEYS = {"id", "source", "mechanism", "params", "expect", "note"}
_EXPECT_KEYS = {"quantity", "value", "direction", "abs_tol", "rel_tol", "tol_origin"}


class UnknownCaseError(Exception):
    """A case says something that has no answer here. Extend `tests.reference.answers`; never skip the case."""


class Parameters:
    """A case's parameters, which remembers what was read, so that nothing a case says is ignored."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self._read: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether the case says this; a null says nothing, and counts as read."""
        if name in self._values and self._values[name] is None:
            self._read.add(name)
        return self._values.get(name) is not None

    def first_of(self, *names: str) -> str | None:
        """Which of these names for one thing the case uses; None if none.

        Raises:
            UnknownCaseError: If it uses several.
        """
        used = [name for name in names if self.has(name)]
        if len(used) > 1:
            raise UnknownCaseError(f"{used} are names for one thing")
        return used[0] if used else None

    def number(self, name: str) -> Decimal:
        """A number exactly as it is written; NaN and infinities too.

        Raises:
            UnknownCaseError: If it is missing or no number.
        """
        return self._number(self.value(name), name)

    def number_or(self, name: str, default: Decimal) -> Decimal:
        """The number, or what it is where the case does not say."""
        return self.number(name) if self.has(name) else default

    def numbers(self, name: str) -> list[Decimal]:
        """A list of numbers.

        Raises:
            UnknownCaseError: If it is anything else.
        """
        return [self._number(item, name) for item in self.items(name)]

    def items(self, name: str) -> list[object]:
        """A list of anything.

        Raises:
            UnknownCaseError: If it is no list.
        """
        value = self.value(name)
        if not isinstance(value, list):
            raise UnknownCaseError(f"{name} must be a list, not {value!r}")
        return value

    def whole(self, name: str) -> int:
        """A whole number.

        Raises:
            UnknownCaseError: If it is anything else.
        """
        number = self.number(name)
        if not number.is_finite() or number != number.to_integral_value():
            raise UnknownCaseError(f"{name} must be a whole number, not {number}")
        return int(number)

    def text_or(self, name: str, default: str) -> str:
        """A text, or what it is where the case does not say."""
        if not self.has(name):
            return default
        value = self.value(name)
        if not isinstance(value, str):
            raise UnknownCaseError(f"{name} must be text, not {value!r}")
        return value

    def flag(self, name: str) -> bool:
        """True where the case says so; false where it does not.

        Raises:
            UnknownCaseError: If it is neither true nor false.
        """
        value = self.value(name) if self.has(name) else False
        if not isinstance(value, bool):
            raise UnknownCaseError(f"{name} must be true or false, not {value!r}")
        return value

    def value(self, name: str) -> object:
        """What the case says, as it is.

        Raises:
            UnknownCaseError: If it says nothing.
        """
        if not self.has(name):
            raise UnknownCaseError(f"{name} is missing")
        self._read.add(name)
        return self._values[name]

    def check_all_read(self) -> None:
        """Raises `UnknownCaseError` if a parameter was never looked at."""
        unread = sorted(self._values.keys() - self._read)
        if unread:
            raise UnknownCaseError(f"nobody looked at the parameters {unread}")

    @staticmethod
    def _number(value: object, name: str) -> Decimal:
        try:
            if isinstance(value, Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
                return Decimal(value)
            if isinstance(value, str):
                return parse_decimal(value, name)
        except InvalidValueError as error:
            raise UnknownCaseError(str(error)) from None
        raise UnknownCaseError(f"{name} must be a number, not {value!r}")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a source says the answer is.

    Attributes:
        quantity: What was computed: epsilon, delta, rdp, scale, ...
        value: The number; None where the source says there is none, or that the input must be rejected.
        direction: ``==``, ``<=`` or ``>=``: how an answer stands to the value.
        tolerance: How far it may be on the other side of it.
    """

    quantity: str
    value: Decimal | None
    direction: str
    tolerance: Decimal

    def met_by(self, got: Decimal | None) -> bool:
        """Whether an answer is what the source says."""
        if self.value is None or got is None:
            return self.value is got
        if got.is_nan():
            return False
        if self.value.is_infinite() or got.is_infinite():
            above, below = got >= self.value, got <= self.value
        else:
            above, below = got >= self.value - self.tolerance, got <= self.value + self.tolerance
        return {"==": above and below, "<=": below, ">=": above}[self.direction]

    def __str__(self) -> str:
        return f"{self.quantity} {self.direction} {self.value} (± {self.tolerance:.3g})"


@dataclass(frozen=True, slots=True)
class Case:
    """One published number.

    Attributes:
        id: Short name, unique.
        source: Who says so: repository, version, test or paper.
        mechanism: What the number is about.
        params: Its parameters.
        expect: The number.
    """

    id: str
    source: str
    mechanism: str
    params: Parameters
    expect: Expectation

    def __str__(self) -> str:
        return f"{self.id} [{self.source}]"


def load(path: Path = FILE) -> list[Case]:
    """All cases, numbers as they are written in the file.

    Raises:
        UnknownCaseError: If a case has a key that is not known or lacks one.
    """
    return [case_from(data) for data in json.loads(path.read_text(), parse_float=Decimal, parse_constant=Decimal)]


def case_from(data: Mapping[str, object]) -> Case:
    """The case that one object of the file describes.

    Raises:
        UnknownCaseError: If it has a key that is not known or lacks one.
    """
    unknown = data.keys() - _CASE_KEYS
    params, expect = data.get("params"), data.get("expect")
    if unknown or not isinstance(params, dict) or not isinstance(expect, dict):
        raise UnknownCaseError(f"{data.get('id')} must have params and expect, and has unknown keys {sorted(unknown)}")
    return Case(str(data["id"]), str(data["source"]), str(data["mechanism"]), Parameters(params), _expectation(expect))


def _expectation(expect: Mapping[str, object]) -> Expectation:
    unknown = expect.keys() - _EXPECT_KEYS
    if unknown:
        raise UnknownCaseError(f"an expectation has the unknown keys {sorted(unknown)}")
    said = Parameters(expect)
    quantity = said.text_or("quantity", "")
    value = said.number("value") if said.has("value") else None
    direction = said.text_or("direction", "==")
    if direction not in ("==", "<=", ">="):
        raise UnknownCaseError(f"an expectation has the unknown direction {direction!r}")
    tolerance = said.number_or("abs_tol", Decimal(0))
    if value is not None and value.is_finite():
        tolerance = max(tolerance, said.number_or("rel_tol", Decimal(0)) * abs(value))
    return Expectation(quantity, value, direction, tolerance)
