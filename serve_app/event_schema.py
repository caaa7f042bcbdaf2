"""The kinds of events as JSON Schemas, made from the very classes that read them."""

import dataclasses
import inspect
import re
import types
from decimal import Decimal
from enum import StrEnum
from typing import Any, Union, get_args, get_origin, get_type_hints

from accounting import events
from accounting.event_wire import EVENT_VERSION

_NUMBER = {"anyOf": [{"type": "string", "format": "decimal"}, {"type": "number"}]}
_PLAIN: dict[type, dict[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    str: {"type": "string"},
    Decimal: _NUMBER,
}
_REFERENCE = {"$ref": "#/components/schemas/Event"}
_LINE = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def event_schema() -> dict[str, Any]:
    """What ``event`` may be in a request: one of the kinds, told apart by ``kind``."""
    return {
        "title": "Event",
        "description": "What will be done to the data. What it costs is computed here. Numbers are exact decimals, "
        "best written as strings.",
        "oneOf": [_kind(made) for made in get_args(events.Event)],
    }


def _kind(made: type[events.Event]) -> dict[str, Any]:
    text = inspect.getdoc(made) or ""
    summary = " ".join(text.partition("\n\nAttributes:")[0].split())
    told = {name: " ".join(words.split()) for name, words in _LINE.findall(text)}
    hints = get_type_hints(made, vars(events))
    properties = {
        field.name: _schema(hints[field.name]) | ({"description": told[field.name]} if field.name in told else {})
        for field in dataclasses.fields(made)
    }
    return {
        "type": "object",
        "title": made.kind,
        "description": summary,
        "properties": {"kind": {"const": made.kind}, "version": {"const": EVENT_VERSION}} | properties,
        "required": ["kind", *(field.name for field in dataclasses.fields(made) if _needed(field))],
        "additionalProperties": False,
    }


def _needed(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING


def _schema(hint: Any) -> dict[str, Any]:  # noqa: ANN401 - a type hint
    """The schema of a value of that type, for the few types that events are made of."""
    if get_origin(hint) in (Union, types.UnionType):
        stated = [part for part in get_args(hint) if part is not type(None)]
        return _REFERENCE if len(stated) > 1 else _schema(stated[0])
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if inner[-1] is Ellipsis:
            return {"type": "array", "items": _schema(inner[0]), "minItems": 1, "maxItems": events.MAX_LEAVES}
        return {"type": "array", "prefixItems": [_schema(part) for part in inner], "minItems": len(inner)}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return {"enum": [choice.value for choice in hint]}
    return _PLAIN[hint]
