"""Which methods a path has, over all routes that it fits: for ``Allow``, which RFC 9110 wants beside every 405.

A path that stands in the interface as it is, such as ``composition/plan``, is never taken for the name of something,
as in ``composition/{plan_id}``: another method than its own is not allowed there, whoever asks.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.problems import Code, Problem, problem_response


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths of an app, with their methods.

    Attributes:
        exact: Those without a parameter.
        patterns: The others.
    """

    exact: dict[str, frozenset[str]]
    patterns: tuple[tuple[re.Pattern[str], frozenset[str]], ...]

    @classmethod
    def of(cls, routes: Sequence[BaseRoute]) -> "Paths":
        """The paths of these routes, and of the routers that they include."""
        found: dict[str, frozenset[str]] = {}
        for route in iter_route_contexts(routes):
            if route.path is not None and route.methods:
                found[route.path] = found.get(route.path, frozenset()) | frozenset(route.methods)
        exact = {path: methods for path, methods in found.items() if "{" not in path}
        return cls(exact, tuple((compile_path(path)[0], found[path]) for path in found.keys() - exact.keys()))

    def methods(self, path: str) -> frozenset[str]:
        """The methods of a path; none where it fits no route."""
        known = self.exact.get(path)
        if known is not None:
            return known
        return frozenset(method for pattern, methods in self.patterns if pattern.match(path) for method in methods)


class KnownMethods:
    """An ASGI app that answers 405 where a path has no such method, and leaves everything else to the app behind it."""

    def __init__(self, app: ASGIApp, routes: Callable[[], Sequence[BaseRoute]]) -> None:
        """Wraps an app.

        Args:
            app: What answers.
            routes: Its routes; asked for with the first request, when all of them are there.
        """
        self._app = app
        self._routes = routes
        self._paths: Paths | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._paths is None:
            self._paths = Paths.of(self._routes())
        methods = self._paths.methods(scope["path"].removeprefix(scope.get("root_path", "")))
        if not methods or scope["method"] in methods:
            await self._app(scope, receive, send)
        else:
            await not_allowed(scope, methods)(scope, receive, send)


def not_allowed(scope: Scope, methods: frozenset[str]) -> ASGIApp:
    """The answer to a method that a path has not."""
    detail = f"{scope['method']} {scope['path']} is not part of this interface; /openapi.json lists what is."
    accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
    headers = {"Allow": ", ".join(sorted(methods))}
    return problem_response(Problem(Code.METHOD_NOT_ALLOWED, detail, headers=headers), accept)
