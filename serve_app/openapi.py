"""One OpenAPI document for the whole service, whichever deployment answers a path.

FastAPI describes each app's routes; the hot routes, which are none of FastAPI's, stand beside them. What no signature
says is added by rule: `serve_app.interface` has the rules.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serve_app import schemas
from serve_app.auth.policy import RULES, Action
from serve_app.event_schema import event_schema
from serve_app.interface.members import refined, refined_struct
from serve_app.interface.operations import OPERATIONS, Operation
from serve_app.interface.responses import HEADERS, PROBLEM_SCHEMA, responses, shared_problems
from serve_app.problems import Code
from serve_app.routes.hot import HotFirst
from serve_app.service import PREFIX, VERSION, Service

_REFERENCE = "#/components/schemas/{name}"
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Same key, same request: the first answer again. Default: the body's operation_id, else job_id.",
}
_TAGS = {
    "budget": "Budgets, data sets and allocations.",
    "mechanism": "Statistics with noise, and choices.",
    "composition": "What several operations would cost together.",
    "proof": "Certificates that a stranger checks.",
    "generators": "Rows that are stored, synthetic rows, and what they cost.",
    "training": "Trainings under a hold.",
    "analytics": "How budgets are used.",
    "loss": "Loss over time, drawn.",
    "reports": "Evidence for auditors.",
    "accountant": "Histories for another accountant.",
    "audit": "Who did what.",
    "access": "Who may do what.",
    "log": "The log of all entries, its heads and proofs.",
    "service": "Health, keys and this document; open to everybody.",
}


def openapi_document(service: Service, front: FastAPI) -> dict[str, Any]:
    """The document."""
    # Here, because it brings along what each deployment needs, and because the front is one of them.
    from serve_app.apps import APPS

    apps = [(front, "") if not app.prefix else (_fastapi(app.create(service)), app.prefix) for app in APPS]
    paths: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    for app, prefix in apps:
        part = get_openapi(title=app.title, version=VERSION, routes=app.routes)
        chosen |= {name: one for name, one in part.get("components", {}).get("schemas", {}).items() if "enum" in one}
        paths |= {prefix + path.replace(":path}", "}"): described for path, described in part["paths"].items()}
    paths |= {f"{PREFIX}/budget{path}": described for path, described in _hot_paths().items()}
    components = {
        **chosen,
        "Event": event_schema(),
        "Problem": PROBLEM_SCHEMA,
        **_bodies(),
        **_schemas(*(found.answer for found in OPERATIONS.values() if found.answer is not None)),
    }
    told = {path: dict(_told(path, operations)) for path, operations in paths.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Privacy engine",
            "version": VERSION,
            "description": "Differential-privacy budgets, mechanisms and proofs. Errors are RFC 9457 problem documents "
            f"with a stable `code`: {', '.join(Code)}. Bodies are JSON whatever their media type says; parameters that "
            "are not listed are ignored, members that are not listed are refused.",
        },
        "servers": [{"url": service.settings.base_url}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": sentence} for name, sentence in _TAGS.items()],
        "paths": told,
        "components": {
            "schemas": components,
            "responses": shared_problems(told),
            "headers": HEADERS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _bodies() -> dict[str, Any]:
    """The schemas of all that bodies are made of."""
    found = _schemas(*(one for _, one in inspect.getmembers(schemas, inspect.isclass) if one.__name__.endswith("Body")))
    return {name: refined_struct(name, schema) for name, schema in found.items()}


def _schemas(*types: Any) -> dict[str, Any]:  # noqa: ANN401 - a type
    return msgspec.json.schema_components(types, ref_template=_REFERENCE)[1]


def _told(path: str, operations: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    below = path.removeprefix(PREFIX)
    for method, described in operations.items():
        known = OPERATIONS.get(f"{method.upper()} {below}")
        # The benchmarks' route is in no table: it is served where an operator asks for it, and to nobody else.
        if known is not None:
            yield method, _operation(known, "service" if below == path else below.split("/")[1], described)


def _operation(known: Operation, tag: str, described: dict[str, Any]) -> dict[str, Any]:
    secured = tag != "service"
    (status,) = (status for status in described["responses"] if status.startswith("2"))
    schema = {"type": "object"} if known.answer is None else {"$ref": _REFERENCE.format(name=known.answer.__name__)}
    body = described.get("requestBody")
    told = {
        "operationId": known.name,
        "tags": [tag],
        "summary": described["summary"],
        "parameters": [_parameter((known.name, tag), one) for one in described.get("parameters", ())],
        "responses": responses(known, status, secured=secured, has_body=body is not None, schema=schema),
        "security": described["security"] if secured else [],
    }
    if body is not None:
        told["requestBody"] = body if known.example is None else _with_example(body, known.example)
    return told | (_who_may(described) if secured else {})


def _parameter(owners: tuple[str, str], described: dict[str, Any]) -> dict[str, Any]:
    # A parameter is there or it is not: no query can say null.
    stated = [one for one in described["schema"].get("anyOf", ()) if one.get("type") != "null"]
    schema = stated[0] if len(stated) == 1 else described["schema"]
    return {**described, "schema": refined(owners, described["name"], schema)}


def _with_example(body: dict[str, Any], example: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    content = {media: {**told, "examples": {"works": {"value": example}}} for media, told in body["content"].items()}
    return {**body, "content": content}


def _who_may(operation: dict[str, Any]) -> dict[str, Any]:
    """The action of a route, which its permission names as a scope, and the roles that may."""
    (action,) = {scope for scheme in operation["security"] for scopes in scheme.values() for scope in scopes}
    return {"x-action": action, "x-roles": sorted(RULES[Action(action)].roles)}


def _fastapi(app: FastAPI | HotFirst) -> FastAPI:
    return app.app if isinstance(app, HotFirst) else app


def _hot_paths() -> dict[str, Any]:
    return {
        "/allocate": {"post": _hot("Spend or hold budget", "AllocateBody")},
        "/allocate:batch": {"post": _hot("Many allocations, each with its own outcome", "AllocateBatchBody")},
    }


def _hot(summary: str, body: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(name=body)}}}
    return {
        "summary": summary,
        "security": [{"bearer": [Action.ALLOCATE.value]}],
        "parameters": [_KEY],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {}},
    }
