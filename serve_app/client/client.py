"""The Python client, synchronous and asynchronous: sends a `Call`, retries what may be, raises what was refused.

Retries repeat a call only with the same idempotency key, and never a refusal: a denial is an answer.
`serve_app.client.engine` builds on it what an engine's author uses.
"""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx

from serve_app.client.calls import Call, ServiceUnreachableError, refused
from serve_app.client.context import context_headers
from serve_app.client.retries import Outcome, RetryPolicy, next_pause, retry_after

POLICY = RetryPolicy()
ATTEMPTS = POLICY.attempts

Token = str | Callable[[], str]
"""A bearer token, or what gives the present one: it is asked before each attempt, and once more after a 401."""


class PrivacyClient:
    """Synchronous. Use as a context manager, or call `close`."""

    def __init__(self, base_url: str, token: Token, *, timeout: float = 30.0, retries: RetryPolicy = POLICY) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=timeout)
        self._token, self._timeout, self._retries = token, timeout, retries

    def send(self, call: Call) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to a call.

        Raises:
            RefusedError: If the service refuses.
            ServiceUnreachableError: If it does not answer, after retries.
        """
        return json_of(self.send_raw(call))

    def send_raw(self, call: Call) -> httpx.Response:
        """The response to a call, for answers that are not JSON. Errors as for `send`."""
        sending = _Sending(call, self._token, self._timeout, self._retries)
        while True:
            result: httpx.Response | httpx.RequestError
            try:
                result = self._http.request(**sending.arguments())
            except httpx.RequestError as error:
                result = error
            pause = sending.pause_after(result)
            if pause is None:
                return _accepted(call, result)
            time.sleep(pause)

    def close(self) -> None:
        """Closes connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncPrivacyClient:
    """Asynchronous. Use as an async context manager, or call `close`."""

    def __init__(
        self,
        base_url: str,
        token: Token | None = None,
        *,
        timeout: float = 30.0,
        retries: RetryPolicy = POLICY,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout)
        self._token, self._timeout, self._retries = token, timeout, retries

    async def send(self, call: Call, *, token: str | None = None) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to a call, in the name of another token if one is given. Errors as for the other client."""
        return json_of(await self.send_raw(call, token=token))

    async def send_raw(self, call: Call, *, token: str | None = None) -> httpx.Response:
        """The response to a call. Errors as for the other client."""
        sending = _Sending(call, self._token if token is None else token, self._timeout, self._retries)
        while True:
            result: httpx.Response | httpx.RequestError
            try:
                result = await self._http.request(**sending.arguments())
            except httpx.RequestError as error:
                result = error
            pause = sending.pause_after(result)
            if pause is None:
                return _accepted(call, result)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Closes connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Sending:
    """One call on its way: what to send next, and whether."""

    def __init__(self, call: Call, token: Token | None, timeout: float, policy: RetryPolicy) -> None:
        self._call, self._token, self._timeout, self._policy = call, token, timeout, policy
        self._began = time.monotonic()
        self._attempt = 0
        self._shown: str | None = None
        self._renewed = False

    def arguments(self) -> dict[str, Any]:
        """What httpx is told for the next attempt. It gets no more time than there is left."""
        call = self._call
        self._shown = self._present_token()
        bearer = {} if self._shown is None else {"Authorization": f"Bearer {self._shown}"}
        left = self._policy.deadline - (time.monotonic() - self._began)
        return {
            "method": call.method,
            "url": call.path,
            "json": call.json,
            "content": call.content,
            "params": dict(call.params),
            "headers": context_headers() | dict(call.headers) | bearer,
            "timeout": max(min(self._timeout, left), 0.001),
        }

    def pause_after(self, result: httpx.Response | httpx.RequestError) -> float | None:
        """Seconds to wait before another attempt; None if the result stands."""
        if self._has_newer_token(result):
            return 0.0
        pause = next_pause(
            self._policy,
            repeatable=self._call.repeatable,
            attempt=self._attempt,
            outcome=_outcome(result),
            elapsed=time.monotonic() - self._began,
            draw=random.random(),
        )
        self._attempt += 1
        return pause

    def _has_newer_token(self, result: httpx.Response | httpx.RequestError) -> bool:
        """Whether a token was refused, for which nothing is charged, and there is another one; asked once a call."""
        if self._renewed or not isinstance(result, httpx.Response) or result.status_code != 401:
            return False
        self._renewed = True
        return self._present_token() != self._shown

    def _present_token(self) -> str | None:
        return self._token() if callable(self._token) else self._token


def json_of(response: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    """The JSON in an answer.

    Raises:
        ServiceUnreachableError: If it is none, so that something else answered.
    """
    try:
        return response.json()
    except ValueError:
        raise ServiceUnreachableError(f"{response.request.url}: what answered there is not the service") from None


def _outcome(result: httpx.Response | httpx.RequestError) -> Outcome:
    if isinstance(result, httpx.Response):
        asked = retry_after(result.headers, datetime.now(UTC))
        return Outcome(result.status_code, genuine=_is_an_answer(result), retry_after=asked)
    # What never reached the service may be repeated whatever it is.
    return Outcome(unsent=isinstance(result, httpx.ConnectError | httpx.ConnectTimeout))


def _is_an_answer(response: httpx.Response) -> bool:
    """Whether the service answered. The load balancer speaks plain text."""
    return response.is_success or "json" in response.headers.get("content-type", "")


def _accepted(call: Call, result: httpx.Response | httpx.RequestError) -> httpx.Response:
    if isinstance(result, httpx.RequestError):
        raise ServiceUnreachableError(f"{call.method} {call.path}: {result or type(result).__name__}") from result
    if result.is_success:
        return result
    if not _is_an_answer(result):
        raise ServiceUnreachableError(f"{result.request.url}: {result.status_code} {result.text[:200]}")
    document = json_of(result)
    raise refused(result.status_code, document if isinstance(document, dict) else {"detail": str(document)})
