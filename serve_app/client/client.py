"""The Python client, synchronous and asynchronous: sends a `Call`, retries what may be, raises what was refused.

Retries repeat a call only with the same idempotency key, and never a refusal: a denial is an answer.
"""

import asyncio
import random
import time
from types import TracebackType
from typing import Any, Self

import httpx

from serve_app.client.calls import Call, ServiceUnreachableError, refused

ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.2
_PASSING = frozenset({429, 500, 502, 503, 504})
"""Statuses that may pass by themselves. The load balancer's own 502 to 504 arrive as 500."""


class PrivacyClient:
    """Synchronous. Use as a context manager, or call `close`."""

    def __init__(self, base_url: str, token: str, *, timeout: float = 30.0) -> None:
        self._http = httpx.Client(base_url=base_url, headers=_headers(token), timeout=timeout)

    def send(self, call: Call) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to a call.

        Raises:
            RefusedError: If the service refuses.
            ServiceUnreachableError: If it does not answer, after retries.
        """
        return self.send_raw(call).json()

    def send_raw(self, call: Call) -> httpx.Response:
        """The response to a call, for answers that are not JSON. Errors as for `send`."""
        for attempt in range(ATTEMPTS):
            try:
                response = self._http.request(**_arguments(call))
            except httpx.TransportError as error:
                _give_up_or_go_on(call, attempt, error)
            else:
                if not _again(call, attempt, response):
                    return _accepted(response)
            time.sleep(_pause(attempt))
        raise AssertionError("the last attempt either returns or raises")

    def close(self) -> None:
        """Closes connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncPrivacyClient:
    """Asynchronous. Use as an async context manager, or call `close`."""

    def __init__(self, base_url: str, token: str | None = None, *, timeout: float = 30.0) -> None:
        headers = _headers(token) if token is not None else {}
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=timeout)

    async def send(self, call: Call, *, token: str | None = None) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to a call, in the name of another token if one is given. Errors as for the other client."""
        return (await self.send_raw(call, token=token)).json()

    async def send_raw(self, call: Call, *, token: str | None = None) -> httpx.Response:
        """The response to a call. Errors as for the other client."""
        arguments = _arguments(call)
        if token is not None:
            arguments["headers"] |= _headers(token)
        for attempt in range(ATTEMPTS):
            try:
                response = await self._http.request(**arguments)
            except httpx.TransportError as error:
                _give_up_or_go_on(call, attempt, error)
            else:
                if not _again(call, attempt, response):
                    return _accepted(response)
            await asyncio.sleep(_pause(attempt))
        raise AssertionError("the last attempt either returns or raises")

    async def close(self) -> None:
        """Closes connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _arguments(call: Call) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.path,
        "json": call.json,
        "content": call.content,
        "params": dict(call.params),
        "headers": dict(call.headers),
    }


def _again(call: Call, attempt: int, response: httpx.Response) -> bool:
    passing = response.status_code in _PASSING or not _is_an_answer(response)
    return call.repeatable and passing and attempt + 1 < ATTEMPTS


def _is_an_answer(response: httpx.Response) -> bool:
    """Whether the service answered. The load balancer speaks plain text, and says 404 before it knows the service."""
    return response.is_success or "json" in response.headers.get("content-type", "")


def _give_up_or_go_on(call: Call, attempt: int, error: httpx.TransportError) -> None:
    # What never reached the service may be repeated whatever it is.
    safe = call.repeatable or isinstance(error, httpx.ConnectError)
    if not safe or attempt + 1 == ATTEMPTS:
        raise ServiceUnreachableError(f"{call.method} {call.path}: {error or type(error).__name__}") from error


def _pause(attempt: int) -> float:
    return float(FIRST_PAUSE_SECONDS * 2**attempt * (0.5 + random.random()))


def _accepted(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    if not _is_an_answer(response):
        raise ServiceUnreachableError(f"{response.request.url}: {response.status_code} {response.text[:200]}")
    document = response.json()
    raise refused(response.status_code, document if isinstance(document, dict) else {"detail": str(document)})
