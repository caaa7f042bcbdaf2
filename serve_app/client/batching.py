"""Group commit on the client's side: allocations made while a call is in flight go into the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from serve_app.client import keyed
from serve_app.client.answers import Allocation
from serve_app.client.keyed import Keyed
from serve_app.client.many import MAX_BATCH, Result
from serve_app.client.requests import Spend

_Waiting = tuple[Keyed[Allocation], "asyncio.Future[Allocation]"]


class Batching:
    """Gathers allocations; made by `AsyncPrivacyEngine.batching`, used as an async context manager.

    Each caller gets its own answer or error, as from `AsyncPrivacyEngine.allocate`. A caller that is cancelled before
    its call has left asks for nothing; afterwards it may be charged, and the others do not notice.
    """

    def __init__(self, send: Callable[[Sequence[Keyed[Allocation]]], Awaitable[list[Result]]]) -> None:
        self._send = send
        self._waiting: list[_Waiting] = []
        self._sender: asyncio.Task[None] | None = None
        self._closed = False

    async def allocate(self, request: Spend, *, key: str | None = None) -> Allocation:
        """Spends budget, together with whoever else asks meanwhile. Arguments and errors as for the engine's."""
        if self._closed:
            raise RuntimeError("this batching has ended: make another by engine.batching()")
        answer: asyncio.Future[Allocation] = asyncio.get_running_loop().create_future()
        self._waiting.append((keyed.spend(request, key), answer))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send_all())
        return await answer

    async def close(self) -> None:
        """Waits for what is on its way."""
        self._closed = True
        if self._sender is not None:
            await asyncio.shield(self._sender)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send_all(self) -> None:
        try:
            while batch := self._next_batch():
                try:
                    results: Sequence[Result | Exception] = await self._send([asked for asked, _ in batch])
                except Exception as error:
                    results = [error] * len(batch)
                for (_, answer), result in zip(batch, results, strict=True):
                    _tell(answer, result)
        finally:
            self._sender = None
            for _, answer in self._waiting:
                answer.cancel()

    def _next_batch(self) -> list[_Waiting]:
        """The next callers that still wait, without two of one key: the second waits for the call after."""
        batch: dict[str, _Waiting] = {}
        later: list[_Waiting] = []
        for one in self._waiting:
            if one[1].done():
                continue
            if one[0].key in batch or len(batch) == MAX_BATCH:
                later.append(one)
            else:
                batch[one[0].key] = one
        self._waiting = later
        return list(batch.values())


def _tell(answer: "asyncio.Future[Allocation]", result: Result | Exception) -> None:
    if answer.done():
        return  # its caller was cancelled
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
