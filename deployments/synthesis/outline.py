"""Outlines as JSON-ready data: columns as in a schema, and columns of which values or bins are to be found."""

from collections.abc import Mapping
from typing import Any

from accounting.values import InvalidValueError
from deployments.synthesis import wire
from deployments.synthesis.discovery_plan import Outline, UnknownCategory, UnknownNumber, roughly
from deployments.synthesis.schema import Category, Column, Number, column_from_wire, column_to_wire


def outline_to_wire(outline: Outline) -> dict[str, Any]:
    """The outline as JSON-ready data."""
    return {"columns": [_to_wire(column) for column in outline]}


def outline_from_wire(data: object, path: str = "schema") -> Outline:
    """The outline that the data describes.

    Args:
        data: An object with ``columns``, each with a ``kind``: "category" and "number" as in a schema;
            "unknown_category" with a name alone; "unknown_number" with ``lower``, ``upper`` and ``bins``.
        path: Where the data stands, for messages.

    Raises:
        InvalidValueError: If something is missing, superfluous, of the wrong type or out of range.
    """
    found = wire.members(data, path, {"columns"})
    columns = wire.listed(found["columns"], f"{path}.columns")
    outline = tuple(_from_wire(column, f"{path}.columns[{at}]") for at, column in enumerate(columns))
    try:
        roughly(outline)
    except InvalidValueError as error:
        raise InvalidValueError(f"{path}.{error.field}", error.reason) from None
    return outline


def is_complete(outline: Outline) -> bool:
    """Whether nothing has to be found."""
    return all(isinstance(column, Category | Number) for column in outline)


def _to_wire(column: Column | UnknownCategory | UnknownNumber) -> dict[str, Any]:
    if isinstance(column, UnknownCategory):
        return {"kind": "unknown_category", "name": column.name}
    if isinstance(column, UnknownNumber):
        return {
            "kind": "unknown_number",
            "name": column.name,
            "lower": column.lower,
            "upper": column.upper,
            "bins": column.bins,
            "whole": column.whole,
            "missing": column.missing,
        }
    return column_to_wire(column)


def _from_wire(data: object, path: str) -> Column | UnknownCategory | UnknownNumber:
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if kind == "unknown_category":
        found = wire.members(data, path, {"kind", "name"})
        return UnknownCategory(wire.typed(found["name"], str, f"{path}.name", "text"))
    if kind == "unknown_number":
        optional = frozenset({"whole", "missing"})
        found = wire.members(data, path, {"kind", "name", "lower", "upper", "bins"}, optional)
        lower, upper = (wire.number(found[name], f"{path}.{name}") for name in ("lower", "upper"))
        whole, missing = (
            wire.typed(found.get(name, False), bool, f"{path}.{name}", "true or false")
            for name in sorted(optional)[::-1]
        )
        bins = wire.typed(found["bins"], int, f"{path}.bins", "a whole number")
        return UnknownNumber(wire.typed(found["name"], str, f"{path}.name", "text"), lower, upper, bins, whole, missing)
    return column_from_wire(data, path)
