"""Paths that a replica answers right behind its HTTP server."""

import asyncio

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.direct import DirectAnswers, answer_directly, middlewares


class Answer:
    """An ASGI app that remembers whether it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked += 1


async def ask(app: ASGIApp, scope: Scope) -> None:
    """Send a request that nobody reads or answers."""

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(_: object) -> None:
        """Takes anything."""

    await app(scope, receive, send)


async def test_a_declared_path_is_answered_and_ray_never_hears_of_it() -> None:
    """A POST of a declared path goes to its endpoint alone."""
    endpoint, ray = Answer(), Answer()
    answer_directly({"/budget/allocate": endpoint})

    await ask(DirectAnswers(ray), {"type": "http", "method": "POST", "path": "/budget/allocate", "headers": []})

    assert (endpoint.asked, ray.asked) == (1, 0)


@pytest.mark.parametrize(
    "scope",
    [
        {"type": "http", "method": "GET", "path": "/budget/allocate", "headers": []},
        {"type": "http", "method": "POST", "path": "/budget/allocate/", "headers": []},
        {"type": "http", "method": "POST", "path": "/-/healthz", "headers": []},
        {"type": "websocket", "path": "/budget/allocate"},
        {"type": "lifespan"},
    ],
)
async def test_everything_else_goes_to_ray(scope: Scope) -> None:
    """Another path, method or protocol is passed on as it came."""
    endpoint, ray = Answer(), Answer()
    answer_directly({"/budget/allocate": endpoint})

    await ask(DirectAnswers(ray), scope)

    assert (endpoint.asked, ray.asked) == (0, 1)


async def test_an_endpoint_of_another_loop_is_left_to_ray() -> None:
    """An endpoint is called on the loop that its app runs on and on no other, where its futures would not be safe."""
    endpoint, ray = Answer(), Answer()
    answer_directly({"/budget/allocate": endpoint})

    def serve_elsewhere() -> None:
        async def serve() -> None:
            await ask(DirectAnswers(ray), {"type": "http", "method": "POST", "path": "/budget/allocate", "headers": []})

        asyncio.run(serve())

    await asyncio.to_thread(serve_elsewhere)

    assert (endpoint.asked, ray.asked) == (0, 1)


async def test_what_ray_is_given_is_an_app_that_uvicorn_speaks_asgi_3_with() -> None:
    """Ray wraps the app by class and hands it to uvicorn, which looks at the class to find out which ASGI it speaks."""
    (middleware,) = middlewares()
    config = uvicorn.Config(middleware.cls(Answer(), *middleware.args, **middleware.kwargs))
    config.load()

    assert config.interface == "asgi3"
