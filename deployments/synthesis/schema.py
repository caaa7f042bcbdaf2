"""What is public of a table: its columns, the values a column may take, and the bins that numbers fall into.

A schema is an input, never a finding: a list of categories or a bound that is read off private rows would tell of them.
Where one is not public, `discovery` finds it by a private release that is charged.

Every column has a fixed, finite number of codes, so that a table is a table of small whole numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from accounting.values import InvalidValueError
from deployments.synthesis import wire

OTHER = "OTHER"
"""What a category that is not in the schema is called when it is written out."""
MAX_COLUMNS = 500
MAX_CODES = 10_000
"""Values, or bins, of one column."""
MAX_TEXT = 200
"""Characters of a column's name or of a value."""
LARGEST_EDGE = 1e300
LARGEST_WHOLE = 2**53
"""Up to here a double holds every whole number."""


@dataclass(frozen=True, slots=True)
class Category:
    """A column of text out of a public list.

    Codes are 0 to len(values) - 1 in the list's order, then one for everything else.

    Attributes:
        name: The column's.
        values: Every value once, without space around it. `OTHER` may not be among them.
    """

    name: str
    values: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many codes there are, the one for everything else included."""
        return len(self.values) + 1


@dataclass(frozen=True, slots=True)
class Number:
    """A column of numbers in public bins.

    Codes are the bins from the lowest, then, where values may be missing, one for a missing value. A bin holds its
    lower edge; the last one holds its upper edge too.

    Attributes:
        name: The column's.
        edges: Increasing; the first and the last are the bounds of the values.
        whole: Whether there are whole numbers only. The edges are then whole too, so no bin is empty.
        missing: Whether a value may be missing.
    """

    name: str
    edges: tuple[float, ...]
    whole: bool = False
    missing: bool = False

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return len(self.edges) - 1

    @property
    def size(self) -> int:
        """How many codes there are, the one for a missing value included."""
        return self.bins + self.missing


Column = Category | Number


@dataclass(frozen=True, slots=True)
class Schema:
    """The public columns of a table, in order.

    Attributes:
        columns: From 1 to `MAX_COLUMNS`, with different names.

    Raises:
        InvalidValueError: If a column is not as it must be; `field` says where, as in ``columns[3].edges``.
    """

    columns: tuple[Column, ...]
    _places: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.columns) <= MAX_COLUMNS:
            raise InvalidValueError("columns", f"must be 1 to {MAX_COLUMNS}, not {len(self.columns)}")
        for at, column in enumerate(self.columns):
            _check_column(column, f"columns[{at}]")
        places: dict[str, int] = {}
        for at, column in enumerate(self.columns):
            if column.name in places:
                reason = f"is the name of columns[{places[column.name]}] too: name every column differently"
                raise InvalidValueError(f"columns[{at}].name", reason)
            places[column.name] = at
        object.__setattr__(self, "_places", places)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each column has."""
        return tuple(column.size for column in self.columns)

    def index(self, name: str) -> int:
        """The place of a column, from 0.

        Raises:
            InvalidValueError: If there is none of that name.
        """
        if name not in self._places:
            raise InvalidValueError("column", f"{name!r} is not in the schema: it has {', '.join(self.names)}")
        return self._places[name]


def evenly(lower: float, upper: float, bins: int) -> tuple[float, ...]:
    """Edges of bins that are equally wide.

    Args:
        lower: The lower bound.
        upper: The upper bound, greater.
        bins: How many, from 1 to `MAX_CODES`.

    Raises:
        InvalidValueError: If a number is out of range.
    """
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise InvalidValueError("upper", "must be greater than lower, and both finite")
    if not 1 <= bins <= MAX_CODES:
        raise InvalidValueError("bins", f"must be from 1 to {MAX_CODES}")
    return (*(lower + (upper - lower) * at / bins for at in range(bins)), float(upper))


def schema_to_wire(schema: Schema) -> dict[str, Any]:
    """The schema as JSON-ready data."""
    return {"columns": [column_to_wire(column) for column in schema.columns]}


def schema_from_wire(data: object, path: str = "schema") -> Schema:
    """The schema that the data describes.

    Args:
        data: An object with ``columns``, each with ``kind`` ("category" or "number"), ``name`` and what that kind has.
        path: Where the data stands, for messages.

    Raises:
        InvalidValueError: If something is missing, superfluous, of the wrong type or out of range.
    """
    found = wire.members(data, path, {"columns"})
    columns = wire.listed(found["columns"], f"{path}.columns")
    made = tuple(column_from_wire(column, f"{path}.columns[{at}]") for at, column in enumerate(columns))
    try:
        return Schema(made)
    except InvalidValueError as error:
        raise InvalidValueError(f"{path}.{error.field}", error.reason) from None


def column_to_wire(column: Column) -> dict[str, Any]:
    """A column as JSON-ready data."""
    if isinstance(column, Category):
        return {"kind": "category", "name": column.name, "values": list(column.values)}
    return {
        "kind": "number",
        "name": column.name,
        "edges": list(column.edges),
        "whole": column.whole,
        "missing": column.missing,
    }


def column_from_wire(data: object, path: str) -> Column:
    """The column that the data describes; checked as a whole by `Schema`.

    Raises:
        InvalidValueError: If something is missing, superfluous or of the wrong type.
    """
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if kind == "category":
        found = wire.members(data, path, {"kind", "name", "values"})
        values = wire.listed(found["values"], f"{path}.values")
        texts = tuple(wire.typed(value, str, f"{path}.values[{at}]", "text") for at, value in enumerate(values))
        return Category(wire.typed(found["name"], str, f"{path}.name", "text"), texts)
    if kind == "number":
        found = wire.members(data, path, {"kind", "name", "edges"}, frozenset({"whole", "missing"}))
        edges = wire.listed(found["edges"], f"{path}.edges")
        numbers = tuple(wire.number(edge, f"{path}.edges[{at}]") for at, edge in enumerate(edges))
        whole, missing = (
            wire.typed(found.get(name, False), bool, f"{path}.{name}", "true or false") for name in ("whole", "missing")
        )
        return Number(wire.typed(found["name"], str, f"{path}.name", "text"), numbers, whole, missing)
    raise InvalidValueError(f"{path}.kind", "must be category or number")


def _check_column(column: Column, path: str) -> None:
    _check_text(column.name, f"{path}.name")
    if not column.name:
        raise InvalidValueError(f"{path}.name", "must not be empty")
    if isinstance(column, Category):
        _check_values(column.values, f"{path}.values")
    else:
        _check_edges(column, f"{path}.edges")


def _check_values(values: tuple[str, ...], path: str) -> None:
    if not 1 <= len(values) < MAX_CODES:
        raise InvalidValueError(path, f"must be 1 to {MAX_CODES - 1} values, not {len(values)}")
    for at, value in enumerate(values):
        _check_text(value, f"{path}[{at}]")
        if value == OTHER:
            raise InvalidValueError(f"{path}[{at}]", f"must not be {OTHER}: that is what any unlisted value is called")
    if len(set(values)) < len(values):
        twice = next(at for at, value in enumerate(values) if value in values[:at])
        raise InvalidValueError(f"{path}[{twice}]", "is listed before: list every value once")


def _check_edges(column: Number, path: str) -> None:
    edges = column.edges
    if not 2 <= len(edges) <= MAX_CODES:
        raise InvalidValueError(path, f"must be 2 to {MAX_CODES} numbers, not {len(edges)}")
    largest = float(LARGEST_WHOLE) if column.whole else LARGEST_EDGE
    for at, edge in enumerate(edges):
        if not abs(edge) <= largest:
            raise InvalidValueError(f"{path}[{at}]", f"must be a finite number, of magnitude at most {largest:g}")
        if column.whole and edge != int(edge):
            raise InvalidValueError(f"{path}[{at}]", "must be a whole number, as the column has whole numbers only")
    for at, (lower, upper) in enumerate(pairwise(edges), start=1):
        if lower >= upper:
            raise InvalidValueError(f"{path}[{at}]", "must be greater than the edge before it")


def _check_text(text: str, path: str) -> None:
    if len(text) > MAX_TEXT or not text.isprintable():
        raise InvalidValueError(path, f"must have at most {MAX_TEXT} characters, all printable")
    if text != text.strip():
        raise InvalidValueError(path, "must have no space around it: cells are read without it")
