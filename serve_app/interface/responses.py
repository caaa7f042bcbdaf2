"""How operations answer: the one schema of all problems, and by rule which problems an operation may answer with."""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from serve_app.interface.operations import EVENTS, JSON, Operation
from serve_app.problems import Code, Problem

PROBLEM = "application/problem+json"
_SHARED = "#/components/responses/"
_REQUEST_ID = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
_WAIT = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
_HEADERS = {
    401: {"WWW-Authenticate": {"$ref": "#/components/headers/Authenticate"}},
    429: _WAIT,
    503: _WAIT,
}
HEADERS: dict[str, Any] = {
    "RequestId": {
        "description": "Names the request in logs and traces: what was sent as X-Request-ID, else a new name.",
        "schema": {"type": "string", "minLength": 1},
        "required": True,
    },
    "RetryAfter": {
        "description": "Seconds to wait before repeating.",
        "schema": {"type": "integer", "minimum": 0},
        "required": True,
    },
    "Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}, "required": True},
    "Replayed": {
        "description": "There where the request was answered before: this is the first answer again.",
        "schema": {"const": "true"},
    },
}
PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "An error (RFC 9457). `code` is stable; `detail` says what was wrong and what to do.",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"enum": [code.value for code in Code]},
        "error_code": {"enum": [code.value.upper() for code in Code]},
        "field": {"type": "string", "description": "The parameter, header or member that was wrong."},
    },
    "required": ["type", "title", "status", "detail", "code", "error_code"],
}
_ALWAYS = frozenset({Code.INTERNAL, Code.UNAVAILABLE})
_SECURED = frozenset({Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.RATE_LIMITED, Code.INVALID_REQUEST})


def responses(operation: Operation, status: str, *, secured: bool, has_body: bool, schema: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """All responses of an operation, by status.

    Args:
        operation: Its row.
        status: Of its success.
        secured: Whether it needs a token. Every secured operation may be told a tenant, and so a wrong one.
        has_body: Whether it reads a body.
        schema: Of its JSON.
    """
    codes = operation.codes | _ALWAYS
    if secured:
        codes |= _SECURED
    if has_body:
        codes |= {Code.TOO_LARGE}
    content = {media: {"schema": schema} if media == JSON else _file(media) for media in operation.media}
    success: dict[str, Any] = {"description": "Done.", "headers": dict(_REQUEST_ID), "content": content}
    if operation.replays:
        success["headers"]["Idempotency-Replayed"] = {"$ref": "#/components/headers/Replayed"}
    if operation.links:
        success["links"] = {link.to: _link(link.to, link.given, link.body) for link in operation.links}
    return {status: success} | _problems(codes)


def _file(media: str) -> dict[str, Any]:
    return {"schema": {"type": "string"}} if media in (EVENTS, "text/html", "image/svg+xml") else {}


def _link(to: str, given: Any, body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    link: dict[str, Any] = {"operationId": to}
    if given:
        link["parameters"] = {name: f"$response.body#{pointer}" for name, pointer in given.items()}
    if body:
        link["requestBody"] = {name: f"$response.body#{pointer}" for name, pointer in body.items()}
    return link


def _problems(codes: Iterable[Code]) -> dict[str, Any]:
    """The problem responses of these codes, by status: references, since many operations share them."""
    by_status: dict[int, list[Code]] = {}
    for code in sorted(codes, key=list(Code).index):
        by_status.setdefault(Problem(code, "").status, []).append(code)
    return {str(status): {"$ref": f"{_SHARED}{'.'.join(found)}"} for status, found in sorted(by_status.items())}


def shared_problems(paths: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The problem responses that operations refer to, by name: their codes."""
    told = (
        one
        for operations in paths.values()
        for operation in operations.values()
        for one in operation["responses"].values()
    )
    names = sorted({one["$ref"].removeprefix(_SHARED) for one in told if "$ref" in one})
    return {name: _problem([Code(code) for code in name.split(".")]) for name in names}


def _problem(codes: Sequence[Code]) -> dict[str, Any]:
    """A problem with one of these codes, all of one status. Whoever accepts plain JSON alone gets it as that."""
    status = Problem(codes[0], "").status
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": [code.value for code in codes]}}}
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, narrowed]}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}.",
        "headers": _REQUEST_ID | _HEADERS.get(status, {}),
        "content": {PROBLEM: {"schema": schema}, JSON: {"schema": schema}},
    }
