"""Paths that a replica answers right behind its HTTP server, before Ray Serve does anything about the request.

For every request Ray Serve makes two tasks, a queue and a context, and keeps four metrics, which takes longer than an
allocation does (measured in docs/decisions/0003). It also lets an operator wrap the app of each HTTP server that it
starts, by the name of a function (`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`): `middlewares` is that function. What
wraps the app answers the paths that were declared in its process and passes everything else on to Ray Serve. Without
it the same endpoints answer inside their app as ever, only later.
"""

import asyncio
from collections.abc import Mapping

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.observing.request_ids import checked, said_once

_declared: dict[asyncio.AbstractEventLoop, Mapping[str, ASGIApp]] = {}


def answer_directly(endpoints: Mapping[str, ASGIApp]) -> None:
    """Declares endpoints for POST, by their whole paths, on the event loop that is running.

    Servers that start on this loop from now on answer them directly. On another loop (where Ray is told to run the app
    in a thread of its own) they would not be safe to call, and are not.
    """
    _declared[asyncio.get_running_loop()] = endpoints


class DirectAnswers:
    """An ASGI app that answers what was declared on its loop and leaves everything else to the app behind it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._endpoints = _declared.get(asyncio.get_running_loop(), {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        if scope["type"] == "http":
            scope, send = checked(scope), said_once(send)
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """What Ray Serve puts around the app of an HTTP server, outside of its own middleware."""
    return [Middleware(DirectAnswers)]
