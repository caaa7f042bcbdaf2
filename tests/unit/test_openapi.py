"""The OpenAPI document says what the routes are, and what it says hangs together."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.specs.openapi.definitions import OPENAPI_31

from serve_app.apps import APPS
from serve_app.config import Settings
from serve_app.identifiers import NAME_PATTERN, TEXT_PATTERN, valid_name, valid_text
from serve_app.interface.operations import OPERATIONS
from serve_app.openapi import openapi_document
from serve_app.problems import Code
from serve_app.routes.hot import HotFirst
from serve_app.service import PREFIX, Service

METHODS = frozenset({"GET", "PUT", "POST", "DELETE"})


@pytest.fixture(scope="module")
def service() -> Service:
    """Settings alone: nothing of it is started."""
    return Service(Settings.model_construct(), "", "")


@pytest.fixture(scope="module")
def document(service: Service) -> dict[str, Any]:
    """The document."""
    front = next(app for app in APPS if not app.prefix).create(service)
    assert isinstance(front, FastAPI)
    return openapi_document(service, front)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation, with its method and path."""
    for path, found in document["paths"].items():
        for method, operation in found.items():
            yield method.upper(), path, operation


def inner(part: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - JSON
    """Every object in a part of the document."""
    if isinstance(part, dict):
        yield part
        for value in part.values():
            yield from inner(value)
    elif isinstance(part, list):
        for value in part:
            yield from inner(value)


def at(document: dict[str, Any], reference: str) -> Any:  # noqa: ANN401 - JSON
    """What a reference leads to."""
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def test_every_route_of_every_app_is_in_the_document(service: Service, document: dict[str, Any]) -> None:
    """And every row of the table is of a route: neither can be forgotten."""
    routes = set()
    for app in APPS:
        made = app.create(service)
        fastapi = made.app if isinstance(made, HotFirst) else made
        for route in iter_route_contexts(fastapi.router.routes):
            if route.path is not None and route.include_in_schema:
                path = f"{app.prefix}{route.path.replace(':path}', '}')}"
                routes |= {(method, path) for method in METHODS & set(route.methods or ())}
        if isinstance(made, HotFirst):
            routes |= {("POST", f"{app.prefix}{path}") for path in made.hot}
    assert {(method, path) for method, path, _ in operations(document)} == routes
    assert {f"{method} {path.removeprefix(PREFIX)}" for method, path in routes} == OPERATIONS.keys()


def test_every_schema_of_the_document_is_one(document: dict[str, Any]) -> None:
    """By the metaschema of JSON Schema 2020-12, which OpenAPI 3.1 takes over."""
    schemas = [part["schema"] for part in inner(document["paths"]) if isinstance(part.get("schema"), dict)]
    assert schemas
    for schema in (*schemas, *document["components"]["schemas"].values()):
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    """By the schema of OpenAPI 3.1, as Schemathesis has it."""
    jsonschema.Draft202012Validator(OPENAPI_31).validate(document)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """To schemas, responses and headers alike."""
    references = [part["$ref"] for part in inner(document) if isinstance(part.get("$ref"), str)]
    assert references
    for reference in references:
        assert isinstance(at(document, reference), dict)


def test_every_operation_is_described_as_openapi_wants_it(document: dict[str, Any]) -> None:
    """A name of its own, the parameters of its path, a tag that exists, and a description of each response."""
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in document["tags"]}
    for _, path, operation in operations(document):
        named = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
        assert sorted(named) == sorted(re.findall(r"\{(\w+)\}", path))
        assert all(one["required"] for one in operation["parameters"] if one["in"] == "path")
        assert set(operation["tags"]) <= tags
        assert operation["summary"]
        for response in operation["responses"].values():
            assert (at(document, response["$ref"]) if "$ref" in response else response)["description"]


def test_links_lead_to_operations_that_take_what_they_give(document: dict[str, Any]) -> None:
    """Parameters by name, and members of the body."""
    targets = {operation["operationId"]: operation for _, _, operation in operations(document)}
    links = [link for part in inner(document["paths"]) for link in part.get("links", {}).values()]
    assert links
    for link in links:
        target = targets[link["operationId"]]
        assert link.get("parameters", {}).keys() <= {one["name"] for one in target["parameters"]}
        if "requestBody" in link:
            reference = target["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            assert link["requestBody"].keys() <= at(document, reference)["properties"].keys()


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    """By the schema that it stands beside."""
    bodies = [part for part in inner(document["paths"]) if "examples" in part]
    assert bodies
    for body in bodies:
        whole = {**body["schema"], "components": document["components"]}
        for example in body["examples"].values():
            jsonschema.Draft202012Validator(whole).validate(example["value"])


def test_whatever_needs_a_token_says_how_it_refuses_one(document: dict[str, Any]) -> None:
    """And whatever needs none does not; every problem has the one schema and codes of the closed set."""
    for _, path, operation in operations(document):
        refusals = {"401", "403", "429"} & operation["responses"].keys()
        assert refusals == ({"401", "403", "429"} if path.startswith(PREFIX) else set())
        assert bool(operation["security"]) == path.startswith(PREFIX)
    for name, response in document["components"]["responses"].items():
        assert set(name.split(".")) <= set(Code)
        (one, _) = response["content"]["application/problem+json"]["schema"]["allOf"]
        assert one == {"$ref": "#/components/schemas/Problem"}


@given(st.text(max_size=140) | st.from_regex(NAME_PATTERN))
def test_the_patterns_of_names_are_the_rules_of_names(text: str) -> None:
    """What the document says of names and texts is what is checked."""
    text = text.removesuffix("\n")  # Python's $ alone stands before one.
    assert valid_name(text) == bool(re.fullmatch(NAME_PATTERN, text))
    assert valid_text(text) == bool(re.fullmatch(TEXT_PATTERN, text) and not re.search("[\ud800-\udfff]", text))
