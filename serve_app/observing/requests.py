"""What every request outside of the hot path goes through: its id, its line in the log, its span, its count."""

import re
import time
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.client.context import REQUEST_ID
from serve_app.observing import catalogue
from serve_app.observing.process import TALLIES
from serve_app.observing.request_ids import HEADER, header, request_id
from serve_app.observing.traces import TRACEPARENT_HEADER

if TYPE_CHECKING:
    from serve_app.observing.spans import Tracing

log = structlog.get_logger()

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_PROBES = "/health/"
"""Asked every second or so: no span, and a line only for what goes wrong."""


def begin(given: bytes | None) -> bytes:
    """Names the request that is being answered, for the log and for calls made meanwhile; returns its id.

    Each request runs in a task of its own, so nothing has to be taken back.
    """
    named = request_id(given)
    text = named.decode()
    REQUEST_ID.set(text)
    structlog.contextvars.bind_contextvars(request_id=text)
    return named


def about(*, tenant_id: str | None = None, job_id: str | None = None) -> None:
    """Says in each further line of this request's log whom and what it is about.

    A job's id is the caller's own text; one that is no plain name is left out, for it may name somebody.
    """
    known = {"tenant_id": tenant_id, "job_id": job_id}
    told = {name: value for name, value in known.items() if value is not None and _PLAIN.match(value)}
    structlog.contextvars.bind_contextvars(**told)


def route_of(scope: Scope) -> str:
    """The route's template, never the path: that holds names of the caller's. ``-`` where no route was found."""
    # Of a router that was included, FastAPI gives the route without the router's prefix, and the whole beside it.
    found = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    template: str | None = getattr(found, "path", None)
    return "-" if template is None else f"{scope.get('root_path', '')}{template}"


def _is_probe(scope: Scope) -> bool:
    return bool(scope["path"].startswith(_PROBES))


class Observed:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, name: str, tracing: "Tracing | None" = None) -> None:
        """Wraps an app.

        Args:
            app: What answers.
            name: Of the app, for the log.
            tracing: Makes spans; None where nobody wants them.
        """
        self._app = app
        self._name = name
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        named = begin(header(scope["headers"], HEADER))
        structlog.contextvars.bind_contextvars(app=self._name)
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                if header(headers, HEADER) is None:
                    message["headers"] = [*headers, (HEADER, named)]
            await send(message)

        try:
            if self._tracing is None or _is_probe(scope):
                await self._app(scope, receive, sending)
            else:
                traceparent = header(scope["headers"], TRACEPARENT_HEADER)
                with self._tracing.serving(f"{scope['method']} {self._name}", traceparent) as span:
                    await self._app(scope, receive, sending)
                    self._tracing.tell(span, {"http.response.status_code": status, "http.route": route_of(scope)})
        finally:
            self._tell(scope, status, time.perf_counter() - began)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        TALLIES.count(catalogue.REQUESTS, f"{status // 100}xx").value += 1
        if _is_probe(scope) and status < 500:
            return
        log.info("request", method=scope["method"], route=route_of(scope), status=status, ms=round(seconds * 1000, 1))
