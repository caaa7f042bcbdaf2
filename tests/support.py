"""What the tests stand on: the whole service on a real port without Ray, and people who call it."""

import socket
import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.apps import APPS
from serve_app.auth.tokens import mint_token
from serve_app.routes.hot import HotFirst
from serve_app.service import PREFIX, Service

ALLOCATE = f"{PREFIX}/budget/allocate"
BATCH = f"{PREFIX}/budget/allocate:batch"
APPLY = f"{PREFIX}/mechanism/apply"
PLAN = f"{PREFIX}/composition/plan"
PICTURE = f"{PREFIX}/loss/visualize"


class WholeService:
    """One ASGI app that hands each request to the app of its path prefix, as Ray Serve does."""

    def __init__(self, service: Service) -> None:
        # Longer prefixes first; the front, which has none, comes last.
        self._apps: dict[str, ASGIApp] = {
            app.prefix: app.create(service) for app in sorted(APPS, key=lambda app: -len(app.prefix))
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path = scope["path"]
        prefix = next(prefix for prefix in self._apps if not prefix or path == prefix or path.startswith(f"{prefix}/"))
        # Serve keeps the whole path and says in root_path which part of it has been used up.
        await self._apps[prefix]({**scope, "root_path": prefix}, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as running:
            for app in self._apps.values():
                fastapi = app.app if isinstance(app, HotFirst) else app
                assert isinstance(fastapi, FastAPI)
                await running.enter_async_context(fastapi.router.lifespan_context(fastapi))
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


class _Server(uvicorn.Server):
    """A server that says when it has started."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class Serving:
    """An ASGI app behind a real socket, on a thread with an event loop of its own, for as long as the block runs."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        self._server = _Server(uvicorn.Config(app, lifespan="on", log_level="warning", access_log=False))
        self._thread = threading.Thread(target=self._run, args=(listener,), name="service-under-test")

    def _run(self, listener: socket.socket) -> None:
        try:
            self._server.run(sockets=[listener])
        finally:
            self._server.ready.set()

    def __enter__(self) -> "Serving":
        self._thread.start()
        self._server.ready.wait()
        assert self._server.started, "the service under test did not start; its log says why"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


def free_port() -> socket.socket:
    """A listening socket on a port that nobody else has."""
    return socket.create_server(("127.0.0.1", 0))


@dataclass(frozen=True)
class State:
    """What may not change when a request is refused."""

    seq: int
    spent: str
    spent_delta: str


class Caller:
    """Somebody with a token. Every call is one real HTTP request."""

    def __init__(self, client: httpx.Client, tenant: str, token: str | None) -> None:
        self._client = client
        self.tenant = tenant
        self.token = token
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:  # noqa: ANN401
        """One request in the caller's name."""
        return self._client.request(method, path, headers={**self._headers, **(headers or {})}, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        """A GET."""
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:  # noqa: ANN401
        """A POST."""
        return self.request("POST", path, **more)

    def allocate(self, headers: Mapping[str, str] | None = None, /, **body: Any) -> httpx.Response:  # noqa: ANN401
        """Asks for budget; a job of its own unless the body names one."""
        return self.post(ALLOCATE, headers=headers, json={"job_id": new_name("job"), **body})

    def raw_allocate(self, body: str | bytes, **headers: str) -> httpx.Response:
        """Asks for budget with exactly these bytes."""
        return self.post(ALLOCATE, content=body, headers={"Content-Type": "application/json", **headers})

    def apply(self, headers: Mapping[str, str] | None = None, /, **body: Any) -> httpx.Response:  # noqa: ANN401
        """Asks for a noisy statistic."""
        return self.post(APPLY, headers=headers, json=body)

    def budget(self) -> dict[str, Any]:
        """The tenant's budget as it is now."""
        response = self.get(f"{PREFIX}/budget/{self.tenant}")
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def put_budget(self, **body: Any) -> httpx.Response:  # noqa: ANN401
        """Creates or raises the tenant's budget."""
        return self.request("PUT", f"{PREFIX}/budget/{self.tenant}", json=body)

    def settle(self, allocation_id: str, end: str, **body: Any) -> httpx.Response:  # noqa: ANN401
        """Commits or voids an allocation."""
        return self.post(f"{PREFIX}/budget/allocations/{allocation_id}/{end}", json=body or None)

    def state(self) -> State:
        """The tenant's place in the ledger and what it has spent."""
        budget = self.budget()
        return State(budget["ledger_seq"], budget["exact"]["used_epsilon"], budget["exact"]["used_delta"])


class Live:
    """The service under test."""

    def __init__(self, service: Service, client: httpx.Client, admin_url: str) -> None:
        self.service = service
        self.client = client
        self.admin_url = admin_url
        self._key = service.keys().token_key

    def token(self, tenant: str, roles: Sequence[str] = ("engine",), **claims: Any) -> str:  # noqa: ANN401
        """A token that the service accepts, unless the claims say otherwise."""
        settings = self.service.settings
        arguments = {"issuer": settings.token_issuer, "audience": settings.token_audience, **claims}
        return mint_token(arguments.pop("key", self._key), tenant_id=tenant, roles=roles, **arguments)

    def caller(self, tenant: str, *roles: str, **claims: Any) -> Caller:  # noqa: ANN401
        """Somebody of that tenant; an engine unless roles are named."""
        return Caller(self.client, tenant, self.token(tenant, roles or ("engine",), **claims))

    def new(self, *roles: str, epsilon: str | None = None, delta: str = "0.00001") -> Caller:
        """Somebody of a tenant that nobody has used yet, with that budget if one is named."""
        tenant = new_name("tenant")
        if epsilon is not None:
            created = self.caller(tenant, "admin").put_budget(epsilon=epsilon, delta=delta)
            assert created.status_code == 200, created.text
        return self.caller(tenant, *roles)

    def stranger(self, tenant: str, token: str | None = None) -> Caller:
        """Somebody with that very token, or none."""
        return Caller(self.client, tenant, token)


def new_name(kind: str) -> str:
    """A name that no other test uses."""
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def assert_problem(response: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """The response is a problem document that says what was wrong and nothing of our insides; returns it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["code"] == code
    assert document["error_code"] == code.upper()
    assert document["title"]
    assert document["detail"]
    assert document.get("field") == field
    for inside in ("Traceback", 'File "', "site-packages", "asyncpg", "prv_ledger"):
        assert inside not in response.text
    return document
