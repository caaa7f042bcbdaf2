"""The engine's end of the service for asyncio; `serve_app.client.engine` says what each method does."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from serve_app.client import answers, calls, keyed
from serve_app.client.answers import Allocation, Budget, PlanPrice, Release
from serve_app.client.batching import Batching
from serve_app.client.calls import Call
from serve_app.client.client import POLICY, AsyncPrivacyClient, Token
from serve_app.client.errors import PrivacyEngineError
from serve_app.client.holds import AsyncHold
from serve_app.client.journal import Journal, Unfinished
from serve_app.client.keyed import Keyed, end, ends, read_by, typed
from serve_app.client.many import Many, Result
from serve_app.client.requests import Apply, Plan, Select, Spend
from serve_app.client.retries import RetryPolicy
from serve_app.client.steps import AsyncPrivateSteps

T = TypeVar("T")
R = TypeVar("R")


class AsyncPrivacyEngine:
    """The same for asyncio. Use as an async context manager, or await `close`. What each method does: `PrivacyEngine`.

    A caller that is cancelled while a call is on its way does not know its outcome; the journal keeps the key.
    """

    def __init__(
        self,
        base_url: str,
        token: Token,
        *,
        journal: Journal | Path | str | None = None,
        timeout: float = 30.0,
        retries: RetryPolicy = POLICY,
    ) -> None:
        self._journal = Journal(journal) if isinstance(journal, Path | str) else journal
        self._client = AsyncPrivacyClient(base_url, token, timeout=timeout, retries=retries)
        self._retries = retries
        self._background: set[asyncio.Task[Any]] = set()

    async def allocate(self, request: Spend, *, key: str | None = None) -> Allocation:
        """Spends budget. Read the data after it has returned, not before."""
        return await self._ask(keyed.spend(request, key))

    async def allocate_many(self, requests: Sequence[Spend]) -> list[Result]:
        """Spends many times; each has its own outcome, in the order of the requests."""
        return await self._ask_many([keyed.spend(request, None) for request in requests])

    def batching(self) -> Batching:
        """Gathers allocations that are made concurrently into few calls, while an ``async with`` block runs."""
        return Batching(self._ask_many)

    def reserve(self, request: Spend, *, ttl_seconds: int | None = None, key: str | None = None) -> AsyncHold:
        """Budget to hold while an ``async with`` block runs: held when it is entered, committed when it is left."""
        return AsyncHold(self, request, ttl_seconds, key)

    async def hold(self, request: Spend, *, ttl_seconds: int | None = None, key: str | None = None) -> Allocation:
        """Holds budget without a block; end it by `commit` or `void`, else it counts as spent."""
        return await self._ask(keyed.hold(request, ttl_seconds, key))

    async def commit(self, allocation_id: str, *, steps: int | None = None, tenant_id: str | None = None) -> Allocation:
        """Commits a hold; of a repeated event only `steps` repetitions, where that is sound."""
        return await self._ask(keyed.commit(allocation_id, steps, tenant_id))

    async def void(self, allocation_id: str, *, tenant_id: str | None = None) -> Allocation:
        """Takes back a hold. By calling it you state that no data was read."""
        return await self._ask(keyed.void(allocation_id, tenant_id))

    async def apply(self, request: Apply, *, key: str | None = None) -> Release:
        """Releases a statistic with noise."""
        return await self._ask(keyed.apply(request, key))

    async def select(self, request: Select, *, key: str | None = None) -> Release:
        """Chooses the best candidates by private scores."""
        return await self._ask(keyed.select(request, key))

    async def plan(self, request: Plan) -> PlanPrice:
        """Prices steps before anything is spent. Nothing is charged."""
        return read_by(await self._client.send(calls.plan(request.body())), answers.plan_price)

    async def budget(self, tenant_id: str) -> Budget:
        """How a tenant's budget stands."""
        return read_by(await self._client.send(calls.budget(tenant_id)), answers.budget)

    async def proof(self, job_id: str) -> bytes:
        """The signed proof of a job, for a file that ``privacy-engine verify`` checks."""
        return (await self._client.send_raw(calls.proof(job_id))).content

    async def send(self, call: Call) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to any other call of `serve_app.client.calls`. It is not written to the journal."""
        return await self._client.send(call)

    def private_steps(
        self, step: Spend, *, steps: int, ttl_seconds: int | None = None
    ) -> Callable[[Callable[..., R]], AsyncPrivateSteps[R]]:
        """A decorator for a training step, which may be a coroutine function."""
        return lambda function: AsyncPrivateSteps(self, step, steps, ttl_seconds, function)

    def unfinished(self) -> list[Unfinished]:
        """What was begun and has no known outcome, oldest first."""
        return [] if self._journal is None else self._journal.unfinished()

    async def resume(self) -> list[tuple[Unfinished, Any]]:
        """Repeats what is unfinished, with the same keys."""
        return [(one, await self._resumed(one)) for one in self.unfinished()]

    def in_background(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Work that goes on when its caller is cancelled; `close` waits for it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_ended)
        return task

    async def close(self) -> None:
        """Closes connections, and the journal, after what is still on its way for callers that were cancelled."""
        while self._background:
            await asyncio.wait(self._background)
        await self._client.close()
        if self._journal is not None:
            self._journal.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _background_ended(self, task: "asyncio.Task[Any]") -> None:
        self._background.discard(task)
        if not task.cancelled():
            # Looked at, so that nobody is told of an error that its caller no longer waits for.
            task.exception()

    async def _resumed(self, one: Unfinished) -> Any:  # noqa: ANN401 - JSON
        call = one.call()
        if call is None:
            return None
        try:
            return await self._ask(Keyed(one.key, call, lambda document, _: document))
        except PrivacyEngineError as error:
            return error

    async def _ask(self, asked: Keyed[T]) -> T:
        if self._journal is not None:
            await asyncio.to_thread(self._journal.begin, [(asked.key, asked.call)])
        try:
            answer = typed(asked, await self._client.send_raw(asked.call))
        except PrivacyEngineError as error:
            error.key = asked.key
            end(self._journal, [(asked.key, error)])
            raise
        end(self._journal, [(asked.key, None)])
        return answer

    async def _ask_many(self, asked: Sequence[Keyed[Allocation]]) -> list[Result]:
        many, began = Many(asked, self._retries), time.monotonic()
        if self._journal is not None:
            await asyncio.to_thread(self._journal.begin, [(one.key, one.call) for one in asked])
        while True:
            while (call := many.next_call()) is not None:
                try:
                    many.answered(await self._client.send(call))
                except PrivacyEngineError as error:
                    many.failed(error)
            pause = many.next_round(time.monotonic() - began, random.random())
            if pause is None:
                break
            await asyncio.sleep(pause)
        results = many.results()
        end(self._journal, ends(asked, results))
        return results
