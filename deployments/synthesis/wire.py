"""Reads JSON-ready data member by member; each fault is told by its path."""

from collections.abc import Mapping
from typing import TypeVar

from accounting.values import InvalidValueError

T = TypeVar("T")


def members(data: object, path: str, needed: set[str], optional: frozenset[str] = frozenset()) -> Mapping[str, object]:
    """The members of an object: all that are needed, none that is not known.

    Raises:
        InvalidValueError: If the data are another thing.
    """
    if not isinstance(data, Mapping):
        raise InvalidValueError(path, "must be an object")
    for name in sorted(needed - set(data)):
        raise InvalidValueError(f"{path}.{name}", "is missing")
    for name in sorted(str(name) for name in set(data) - needed - optional):
        raise InvalidValueError(f"{path}.{name}", "is not known here: leave it out")
    return data


def listed(data: object, path: str) -> list[object] | tuple[object, ...]:
    """The data, which must be a list.

    Raises:
        InvalidValueError: If they are another thing.
    """
    if not isinstance(data, list | tuple):
        raise InvalidValueError(path, "must be a list")
    return data


def typed(data: object, kind: type[T], path: str, named: str) -> T:
    """The data, which must be of that type; `named` is what the message calls it.

    Raises:
        InvalidValueError: If they are another thing.
    """
    # To Python a bool is a number; to a caller it is a mistake.
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise InvalidValueError(path, f"must be {named}")
    return data


def number(data: object, path: str) -> float:
    """The data, which must be a number that a double holds.

    Raises:
        InvalidValueError: If they are another thing.
    """
    try:
        return float(data if isinstance(data, float) else typed(data, int, path, "a number"))
    except OverflowError:
        raise InvalidValueError(path, "must be a number of reasonable size") from None
