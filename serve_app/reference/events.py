"""The kinds of events that are priced, from the classes that read them."""

from typing import Any

from accounting import events
from accounting.event_wire import EVENT_VERSION
from serve_app.event_schema import event_schema
from serve_app.reference.markdown import code, table


def events_page() -> str:
    """Every kind with its members, which it must have, and their meaning."""
    return "\n".join([_INTRODUCTION, *(_kind(kind) for kind in event_schema()["oneOf"])])


_ADJACENCIES = " or ".join(map(code, events.Adjacency))
_INTRODUCTION = f"""What is done to data, as `event` in `allocate`, `allocate:batch` and plans. What it costs is
computed, never stated. Numbers are exact decimals, best written as strings. Every event may say its privacy `unit`, its
`adjacency` ({_ADJACENCIES}) and its `version`, which is {EVENT_VERSION}. A sensitivity is meant under the event's
adjacency: a sum of vectors clipped to norm C has C under add/remove and 2C under replace-one.

At most {events.MAX_COUNT:,} operations, written with at most {events.MAX_LEAVES:,} events, nested at most
{events.MAX_DEPTH} deep.
"""


def _kind(kind: dict[str, Any]) -> str:
    own = {name: schema for name, schema in kind["properties"].items() if name not in ("kind", "version", "unit")}
    if "description" not in own.get("adjacency", {}):
        own.pop("adjacency", None)
    rows = [
        (code(name), "yes" if name in kind["required"] else "", _type(schema), schema.get("description", ""))
        for name, schema in own.items()
    ]
    return f"## {kind['title']}\n\n{kind['description']}\n\n" + table(("member", "needed", "value", "what it is"), rows)


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return "decimal"
    if "enum" in schema:
        return ", ".join(code(choice) for choice in schema["enum"])
    if "$ref" in schema:
        return "event"
    if schema["type"] == "array":
        pairs = schema["items"].get("prefixItems")
        return "list of pairs of a name and an event" if pairs else "list of events"
    return {"integer": "whole number", "boolean": "true or false", "string": "text"}[schema["type"]]
