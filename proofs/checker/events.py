"""What an event in the ledger says: the checker's own reading of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from proofs.certificate import MalformedError, checked_decimal
from proofs.checker.values import number

MAX_NESTING = 5
"""How deep compositions may be nested."""
_DECIMALS: Mapping[str, tuple[str, ...]] = {
    "claim": ("epsilon", "delta"),
    "zcdp": ("rho",),
    "laplace": ("scale", "sensitivity"),
    "discrete_laplace": ("scale", "sensitivity"),
    "gaussian": ("sigma", "sensitivity"),
    "discrete_gaussian": ("sigma", "sensitivity"),
    "exponential": ("scale", "sensitivity"),
    "randomized_response": ("probability",),
    "poisson_gaussian": ("sigma", "sensitivity", "sampling_probability"),
    "poisson_laplace": ("scale", "sensitivity", "sampling_probability"),
    "fixed_size_gaussian": ("sigma", "sensitivity"),
    "self_composed": (),
    "composed": (),
    "parallel": (),
}
_WHOLES: Mapping[str, tuple[str, ...]] = {
    "randomized_response": ("categories",),
    "fixed_size_gaussian": ("sample_size", "population"),
    "self_composed": ("count",),
}
_OTHERS: Mapping[str, tuple[str, ...]] = {
    "exponential": ("form", "monotonic"),
    "self_composed": ("event",),
    "composed": ("events",),
    "parallel": ("parts",),
}
_ADJACENCIES = ("add_remove", "replace_one")
_NEEDED = {
    "poisson_gaussian": "add_remove",
    "poisson_laplace": "add_remove",
    "fixed_size_gaussian": "replace_one",
}
"""The adjacency that an event's theorem needs."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the ledger.

    Attributes:
        kind: One of `_DECIMALS`.
        numbers: Its numbers by name, all greater than 0 but a claim's delta.
        gumbel: Whether an exponential mechanism draws by Gumbel noise.
        monotonic: Whether a privacy unit moves all scores of an exponential mechanism in one direction.
        adjacency: What neighbouring data sets are, None where nobody said so.
        unit: Whose data is protected, None where nobody said so.
        parts: The events that a composition is made of.
    """

    kind: str
    numbers: Mapping[str, Fraction]
    gumbel: bool
    monotonic: bool
    adjacency: str | None
    unit: str | None
    parts: tuple["Event", ...]


def read_event(data: object, depth: int = 0) -> Event:
    """The event that a body holds.

    Raises:
        MalformedError: If it is none of a kind that this checker knows, in range.
    """
    if depth > MAX_NESTING:
        raise MalformedError(f"the body's event is nested more than {MAX_NESTING} deep")
    if not isinstance(data, dict):
        raise MalformedError("the body's event is not an object")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in _DECIMALS:
        raise MalformedError("the body's event is none that this checker knows")
    decimals, wholes, others = _DECIMALS[kind], _WHOLES.get(kind, ()), _OTHERS.get(kind, ())
    if data.keys() - {"unit", "adjacency"} != {"kind", "version", *decimals, *wholes, *others}:
        raise MalformedError("the body's event is none that this checker knows")
    if data["version"] != 1 or type(data["version"]) is not int:
        raise MalformedError("the body's event is of a version that this checker does not know")
    numbers = {name: number(checked_decimal(data[name], f"the body's event.{name}")) for name in decimals}
    numbers |= {name: Fraction(_whole(data[name])) for name in wholes}
    if any(number == 0 for name, number in numbers.items() if name != "delta"):
        raise MalformedError("a number of the body's event is not greater than 0")
    if kind in _IN_RANGE and not _IN_RANGE[kind](numbers):
        raise MalformedError("a number of the body's event is out of range")
    event = Event(
        kind=kind,
        numbers=numbers,
        gumbel=_one_of(data.get("form", "gumbel"), ("gumbel", "permute_and_flip")) == "gumbel",
        monotonic=_one_of(data.get("monotonic", False), (True, False)),
        adjacency=_one_of(data.get("adjacency"), (None, *_ADJACENCIES)),
        unit=_text(data["unit"]) if "unit" in data else None,
        parts=_parts(kind, data, depth),
    )
    if event.adjacency != _NEEDED.get(kind, event.adjacency):
        raise MalformedError("the body's event does not have the adjacency that its theorem needs")
    for part in event.parts:
        if part.adjacency not in (None, event.adjacency) or part.unit not in (None, event.unit):
            raise MalformedError("the parts of the body's event do not speak of the same neighbours")
    return event


_IN_RANGE: Mapping[str, Callable[[Mapping[str, Fraction]], bool]] = {
    "discrete_laplace": lambda n: n["sensitivity"].denominator == 1,
    "randomized_response": lambda n: 1 < n["probability"] * n["categories"] and n["probability"] < 1,
    "poisson_gaussian": lambda n: n["sampling_probability"] <= 1,
    "poisson_laplace": lambda n: n["sampling_probability"] <= 1,
    "fixed_size_gaussian": lambda n: n["sample_size"] <= n["population"],
}


def _parts(kind: str, data: Mapping[str, Any], depth: int) -> tuple[Event, ...]:
    if kind == "self_composed":
        return (read_event(data["event"], depth + 1),)
    if kind == "composed":
        return tuple([read_event(item, depth + 1) for item in _list(data["events"])])
    if kind != "parallel":
        return ()
    pairs = [_list(pair) for pair in _list(data["parts"])]
    if any(len(pair) != 2 for pair in pairs):
        raise MalformedError("the body's event has a part that is no pair of a name and an event")
    names = [_text(pair[0]) for pair in pairs]
    if len(set(names)) < len(names):
        raise MalformedError("the body's event names a partition twice")
    return tuple([read_event(pair[1], depth + 1) for pair in pairs])


def _list(data: object) -> list[Any]:
    if not isinstance(data, list) or not data:
        raise MalformedError("the body's event has parts that are no list, or an empty one")
    return data


def _whole(data: object) -> int:
    if type(data) is not int or data < 1:
        raise MalformedError("a number of the body's event is not a whole number from 1")
    return data


def _text(data: object) -> str:
    if not isinstance(data, str):
        raise MalformedError("a name in the body's event is not text")
    return data


def _one_of(data: Any, choices: tuple[Any, ...]) -> Any:  # noqa: ANN401 - text, truth values or None
    # The types are compared as well: to Python 1 is True.
    if not any(data is choice or (isinstance(data, str) and data == choice) for choice in choices):
        raise MalformedError("the body's event says something that this checker does not know")
    return data
