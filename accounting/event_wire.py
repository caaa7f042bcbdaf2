"""Events as JSON-ready data: kind, version, decimals as strings, parts nested. Everything that is read is checked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from enum import StrEnum
from typing import Any

from accounting.events import CLASSES, LARGEST_PARAMETER, MAX_DEPTH, MAX_LEAVES, Adjacency, Event, SelectionForm
from accounting.values import InvalidValueError, decimal_text

EVENT_VERSION = 1


def event_to_wire(event: Event) -> dict[str, Any]:
    """The event as JSON-ready data: kind, version, decimals as strings, parts nested."""
    return {"kind": event.kind, "version": EVENT_VERSION} | {
        name: _to_wire(value) for name, value in event.parameters().items()
    }


def event_from_wire(data: object, field: str = "event") -> Event:
    """The event that the data describes. Numbers may be decimals, whole numbers or decimal strings, never floats.

    Args:
        data: A mapping with ``kind``, optionally ``version``, and the values of that kind.
        field: Where the data stands, for messages.

    Raises:
        InvalidValueError: If the kind is unknown, a value is missing, superfluous or out of range, or the whole is
            larger than a composition may be.
    """
    if _depth(data) > MAX_DEPTH:
        raise InvalidValueError(field, f"may nest compositions at most {MAX_DEPTH} deep")
    return _from_wire(data, field)


def _from_wire(data: object, field: str) -> Event:
    if not isinstance(data, Mapping):
        raise InvalidValueError(field, "must be an object with a kind")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in _EVENTS:
        raise InvalidValueError(f"{field}.kind", f"must be one of {', '.join(sorted(_EVENTS))}")
    version = data.get("version", EVENT_VERSION)
    if type(version) is not int or version != EVENT_VERSION:
        raise InvalidValueError(f"{field}.version", f"must be {EVENT_VERSION}")
    make, readers = _EVENTS[kind]
    given = data.keys() - {"kind", "version"}
    needed = readers.keys() - _OPTIONAL.keys()
    for name in sorted(needed - given):
        raise InvalidValueError(f"{field}.{name}", f"is missing: a {kind} event has {', '.join(sorted(needed))}")
    for name in sorted(given - readers.keys()):
        raise InvalidValueError(f"{field}.{name}", f"is not known: a {kind} event has {', '.join(sorted(needed))}")
    values = {name: readers[name](data[name], f"{field}.{name}") for name in given}
    try:
        return make(**values)
    except InvalidValueError as error:
        raise InvalidValueError(f"{field}.{error.field}", error.reason) from None


def _to_wire(value: object) -> object:
    match value:
        case Decimal():
            return decimal_text(value)
        case StrEnum():
            return value.value
        case tuple():
            return [_to_wire(item) for item in value]
        case _ if isinstance(value, CLASSES):
            return event_to_wire(value)
        case _:
            return value


def _depth(data: object) -> int:
    """How deep compositions are nested in the data; never deeper than one level above what is allowed."""
    level, here = -1, [data]
    while here and level <= MAX_DEPTH:
        level += 1
        here = [inner for item in here if isinstance(item, Mapping) for inner in _inside(item)]
    return level


def _inside(item: Mapping[str, object]) -> Iterator[object]:
    if isinstance(item.get("event"), Mapping):
        yield item["event"]
    events = item.get("events")
    if isinstance(events, Sequence) and not isinstance(events, str):
        yield from events
    parts = item.get("parts")
    if isinstance(parts, Sequence) and not isinstance(parts, str):
        for part in parts:
            if isinstance(part, Sequence) and not isinstance(part, str):
                yield from part


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


def _whole(value: object, field: str) -> int:
    number = _number(value, field)
    if not number.is_finite() or number.adjusted() > 18 or number != number.to_integral_value():
        raise InvalidValueError(field, "must be a whole number")
    return int(number)


def _flag(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidValueError(field, "must be true or false")
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidValueError(field, "must be text")
    return value


def _choice(choices: type[StrEnum]) -> Callable[[object, str], StrEnum]:
    def read(value: object, field: str) -> StrEnum:
        try:
            return choices(str(value) if isinstance(value, str) else "")
        except ValueError:
            raise InvalidValueError(field, f"must be one of {', '.join(choices)}") from None

    return read


def _list(value: object, field: str) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidValueError(field, "must be a list")
    if len(value) > MAX_LEAVES:
        raise InvalidValueError(field, f"must hold at most {MAX_LEAVES}, not {len(value)}")
    return value


def _events(value: object, field: str) -> tuple[Event, ...]:
    return tuple(_from_wire(item, f"{field}[{at}]") for at, item in enumerate(_list(value, field)))


def _parts(value: object, field: str) -> tuple[tuple[str, Event], ...]:
    found = []
    for at, item in enumerate(_list(value, field)):
        pair = _list(item, f"{field}[{at}]")
        if len(pair) != 2:
            raise InvalidValueError(f"{field}[{at}]", "must be a pair: the partition's name and an event")
        found.append((_text(pair[0], f"{field}[{at}]"), _from_wire(pair[1], f"{field}[{at}]")))
    return tuple(found)


def _fields(made: type[Event]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(made))


_Reader = Callable[[object, str], Any]
_OPTIONAL: dict[str, _Reader] = {"unit": _text, "adjacency": _choice(Adjacency)}
_SPECIAL: dict[str, _Reader] = {
    "categories": _whole,
    "count": _whole,
    "event": _from_wire,
    "events": _events,
    "form": _choice(SelectionForm),
    "monotonic": _flag,
    "parts": _parts,
    "population": _whole,
    "sample_size": _whole,
}
"""How values are read that are not plain numbers."""
_EVENTS: dict[str, tuple[Callable[..., Event], dict[str, _Reader]]] = {
    made.kind: (made, {name: _OPTIONAL.get(name) or _SPECIAL.get(name, _number) for name in _fields(made)})
    for made in CLASSES
}
KINDS = frozenset(_EVENTS)
"""All kinds of events."""
