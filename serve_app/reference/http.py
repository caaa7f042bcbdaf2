"""The HTTP interface, from the OpenAPI document that the service answers."""

from collections.abc import Iterator, Mapping
from typing import Any

from serve_app.reference.markdown import code, table

_METHODS = ("get", "put", "post", "delete")


def http_page() -> str:
    """Every operation by its path, then the bodies that they take."""
    return described(_document())


def described(document: Mapping[str, Any]) -> str:
    """The same of a given OpenAPI document."""
    operations = list(_operations(document["paths"]))
    rows = [(code(f"{method.upper()} {path}"), _summary(told), _roles(told)) for method, path, told in operations]
    schemas = document["components"]["schemas"]
    return "\n".join(
        [
            "The whole of it, for programs, is at `/openapi.json`. A token goes into `Authorization: Bearer ...`.",
            "Errors are [problem documents](errors.md), `event` is one of [these](events.md).\n",
            table(("operation", "what it does", "roles"), rows),
            *(_operation(method, path, told) for method, path, told in operations if _has_more(told)),
            "## Bodies\n",
            *(_schema(name, schemas[name]) for name in _taken(operations, schemas)),
        ]
    )


def _document() -> Mapping[str, Any]:
    # Here, because it brings along what each deployment needs.
    from serve_app.config import Settings
    from serve_app.openapi import openapi_document
    from serve_app.routes.front import create_front_app
    from serve_app.service import Service

    service = Service(Settings.model_construct(), "", "")
    return openapi_document(service, create_front_app(service))


def _operations(paths: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in sorted(paths):
        for method in _METHODS:
            if method in paths[path]:
                yield method, path, paths[path][method]


def _summary(told: Mapping[str, Any]) -> str:
    return str(told.get("summary", ""))


def _roles(told: Mapping[str, Any]) -> str:
    return ", ".join(told.get("x-roles", ())) or "no token needed"


def _parameters(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in told.get("parameters", ()) if "$ref" not in one]


def _body(told: Mapping[str, Any]) -> str:
    """The name of the schema that the operation takes; empty where it takes none of ours."""
    content = told.get("requestBody", {}).get("content", {})
    return next((_name(each.get("schema", {})) for each in content.values() if _name(each.get("schema", {}))), "")


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _has_more(told: Mapping[str, Any]) -> bool:
    return bool(_parameters(told) or _body(told))


def _operation(method: str, path: str, told: Mapping[str, Any]) -> str:
    lines = [f"### {method.upper()} {path}\n", f"{_summary(told)}.\n"]
    if _parameters(told):
        lines.append(table(("parameter", "in", "needed", "value", "what it is"), map(_parameter, _parameters(told))))
    if _body(told):
        lines.append(f"Body: [{_body(told)}](#{_body(told).lower()}).\n")
    return "\n".join(lines)


def _parameter(one: Mapping[str, Any]) -> tuple[str, ...]:
    needed = "yes" if one.get("required") else ""
    return code(one["name"]), one["in"], needed, _type(one.get("schema", {})), one.get("description", "")


def _taken(operations: list[tuple[str, str, dict[str, Any]]], schemas: Mapping[str, Any]) -> list[str]:
    """The schemas of all bodies, and those inside them."""
    names = {_body(told) for _, _, told in operations} - {""}
    names |= {name for _, _, told in operations for name in _references(_parameters(told))}
    found: set[str] = set()
    while names:
        found |= names
        names = {inner for name in names for inner in _references(schemas[name])} - found
    return sorted(found - {"Event"})


def _references(schema: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield _name(schema)
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    needed = schema.get("required", ())
    rows = [
        (code(member), "yes" if member in needed else "", _type(inner), inner.get("description", ""))
        for member, inner in schema.get("properties", {}).items()
    ]
    told = " ".join(str(schema.get("description", "")).split())
    return f"### {name}\n\n{told}\n\n" + (
        table(("member", "needed", "value", "what it is"), rows) if rows else _type(schema)
    )


def _type(schema: Mapping[str, Any]) -> str:
    if _name(schema) == "Event":
        return "[event](events.md)"
    if "$ref" in schema:
        return f"[{_name(schema)}](#{_name(schema).lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            kinds = [_type(one) for one in schema[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(code(str(choice)) for choice in schema["enum"] if choice is not None)
    if "const" in schema:
        return code(str(schema["const"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    kind = schema.get("type", "anything")
    return str(schema.get("format", kind)) if kind == "string" else str(kind)
