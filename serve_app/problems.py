"""Errors as callers see them: RFC 9457 problem documents with a stable code.

Whatever goes wrong leaves through `Problem`; nothing else reaches a caller. Codes are part of the interface.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from serve_app.client.context import REQUEST_ID

log = structlog.get_logger()


class Code(StrEnum):
    """Stable error codes."""

    INVALID_REQUEST = "invalid_request"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    BUDGET_EXHAUSTED = "budget_exhausted"
    OPERATION_LIMIT = "operation_limit"
    UNKNOWN_TENANT = "unknown_tenant"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    INTERNAL = "internal"


_STATUS: dict[Code, tuple[int, str]] = {
    Code.INVALID_REQUEST: (422, "The request is not valid"),
    Code.IDEMPOTENCY_MISMATCH: (422, "The idempotency key belongs to another request"),
    Code.BUDGET_EXHAUSTED: (402, "The privacy budget does not hold this charge"),
    Code.OPERATION_LIMIT: (422, "One operation may not cost that much"),
    Code.UNKNOWN_TENANT: (404, "The tenant has no budget"),
    Code.NOT_FOUND: (404, "There is nothing here"),
    Code.CONFLICT: (409, "The state of the allocation does not allow this"),
    Code.FORBIDDEN: (403, "The token does not allow this"),
    Code.UNAUTHENTICATED: (401, "A valid token is needed"),
    Code.TOO_LARGE: (413, "The request is too large"),
    Code.RATE_LIMITED: (429, "Too many requests"),
    Code.UNAVAILABLE: (503, "The service cannot answer now"),
    Code.METHOD_NOT_ALLOWED: (405, "The method is not allowed here"),
    Code.INTERNAL: (500, "The service failed"),
}


_OWN_MEMBERS = frozenset({"type", "title", "status", "detail", "code", "error_code"})
"""What every problem document has."""


@dataclass
class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """An error to answer with.

    Attributes:
        code: What went wrong, from the closed set.
        detail: What was wrong and what to do, for people.
        extra: Further members of the document, such as ``field`` or ``remaining_budget``.
        headers: Further headers of the response.
    """

    code: Code
    detail: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return _STATUS[self.code][0]

    def document(self) -> dict[str, Any]:
        """The problem document."""
        status, title = _STATUS[self.code]
        return {
            "type": f"urn:privacy-engine:problem:{self.code}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "code": self.code.value,
            "error_code": self.code.value.upper(),
            **self.extra,
        }


def invalid(name: str, reason: str) -> Problem:
    """A problem with one input."""
    return Problem(Code.INVALID_REQUEST, f"{name}: {reason}", {"field": name})


def unavailable(detail: str) -> Problem:
    """A passing problem of ours: nothing was acknowledged, the caller repeats with the same idempotency key."""
    return Problem(Code.UNAVAILABLE, f"{detail}. Repeat with the same idempotency key.", headers={"Retry-After": "1"})


def rate_limited(seconds: int) -> Problem:
    """More requests than the tenant or the token may send: nothing was looked at and nothing was charged."""
    detail = f"More requests came than may come at once. Nothing was charged; wait {seconds} s and repeat."
    headers = {"Retry-After": str(seconds)}
    return Problem(Code.RATE_LIMITED, detail, {"retry_after_seconds": seconds}, headers)


def overloaded() -> Problem:
    """A passing problem of load: nothing was charged."""
    return unavailable("The budget is busy with other requests; nothing was charged")


def halted(reason: str) -> Problem:
    """The ledger may not be decided on, for a reason that an operator has to look into; nothing was charged."""
    detail = f"Nothing is decided and nothing was charged, until an operator has looked into it. {reason.rstrip('.')}."
    return Problem(Code.UNAVAILABLE, detail, headers={"Retry-After": "10"})


def relayed(document: Mapping[str, Any]) -> Problem:
    """A refusal by another of the service's own apps, passed on to the caller as it is."""
    code = document.get("code")
    if code not in list(Code):
        return unavailable("A part of the service did not answer")
    extra = {name: value for name, value in document.items() if name not in _OWN_MEMBERS}
    wait = extra.get("retry_after_seconds", 1 if code == Code.UNAVAILABLE else None)
    headers = {} if wait is None else {"Retry-After": str(wait)}
    return Problem(Code(code), str(document.get("detail", "")), extra, headers)


def problem_response(problem: Problem, accept: str = "") -> Response:
    """The response to a problem; plain ``application/json`` for a caller that accepts only that."""
    plain = "application/json" in accept and "application/problem+json" not in accept
    headers = dict(problem.headers)
    if problem.code is Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    named = REQUEST_ID.get()
    if named is not None:
        headers["X-Request-ID"] = named
    return Response(
        json.dumps(problem.document()),
        problem.status,
        headers,
        "application/json" if plain else "application/problem+json",
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Makes every error of the app leave as a problem document."""

    @app.exception_handler(Problem)
    async def on_problem(request: Request, error: Problem) -> Response:
        return problem_response(error, request.headers.get("accept", ""))

    @app.exception_handler(RequestValidationError)
    async def on_validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return problem_response(invalid(place or "body", first["msg"]), request.headers.get("accept", ""))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        code = {404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED}.get(error.status_code, Code.INVALID_REQUEST)
        detail = f"{request.method} {request.url.path} is not part of this interface; /openapi.json lists what is."
        return problem_response(Problem(code, detail, headers=error.headers or {}), request.headers.get("accept", ""))

    @app.exception_handler(Exception)
    async def on_bug(request: Request, error: Exception) -> Response:
        log.exception("unhandled_error", exc_info=error)
        return problem_response(Problem(Code.INTERNAL, "Nothing was acknowledged. The service's log says more."))
