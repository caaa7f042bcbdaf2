"""A hold around a block of code: held before it runs, ended when it is left, and never given back without a statement.

How it ends:

- The block ends well: the hold is committed, whole, unless `commit` was called in it.
- The block raises, and `nothing_read` was said in it and no `reading` after that: the hold is voided, which states to
  the ledger that no data was read.
- The block raises otherwise: the hold is left to its time and then counts as spent (fail closed). The exception says
  so in a note.

So a block that says nothing never gets anything back by an exception; one that begins with ``hold.nothing_read()`` and
says ``hold.reading()`` before its first look at the data gets back what was truly not used.
"""

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, Self

from serve_app.client.answers import Allocation
from serve_app.client.errors import (
    CommitUnconfirmedError,
    ConflictError,
    HoldLostError,
    HoldReplayedError,
    InvalidRequestError,
    PrivacyEngineError,
)
from serve_app.client.requests import Spend

if TYPE_CHECKING:
    from serve_app.client.async_engine import AsyncPrivacyEngine
    from serve_app.client.engine import PrivacyEngine


class End(Enum):
    """How a block's hold is ended."""

    COMMIT = auto()
    VOID = auto()
    LEAVE = auto()
    DONE = auto()


def end_of(*, failed: bool, unread: bool, commit_tried: bool, committed: bool) -> End:
    """How a hold is ended.

    Args:
        failed: Whether the block raised.
        unread: Whether it stated that nothing was read, and nothing was since.
        commit_tried: Whether it asked for a commit, with or without an answer.
        committed: Whether that was confirmed.
    """
    if committed:
        return End.DONE
    if not failed:
        return End.COMMIT
    return End.VOID if unread and not commit_tried else End.LEAVE


class _Block:
    """What both kinds of hold know."""

    def __init__(self, request: Spend, ttl_seconds: int | None, key: str | None) -> None:
        self._request, self._ttl_seconds, self._key = request, ttl_seconds, key
        self._allocation: Allocation | None = None
        self._read = False
        self._unread = False
        self._commit_tried = False
        self._committed = False

    @property
    def allocation(self) -> Allocation:
        """The hold.

        Raises:
            RuntimeError: Before the block is entered.
        """
        if self._allocation is None:
            raise RuntimeError("nothing is held yet: use it as `with engine.reserve(...) as hold:`")
        return self._allocation

    def nothing_read(self) -> None:
        """States that no data has been read under this hold, so that an exception from here on takes it back.

        Raises:
            RuntimeError: If `reading` was said before. It cannot be unsaid.
        """
        if self._read:
            raise RuntimeError("data was read under this hold already: nobody can say any more that none was")
        self._unread = True

    def reading(self) -> None:
        """Says that data is about to be read. Say it before the first look: from here on nothing is given back."""
        self._read, self._unread = True, False

    def _entered(self, held: Allocation) -> None:
        if self._key is not None and held.replayed:
            raise HoldReplayedError(held.allocation_id)
        self._allocation = held

    def _check_new(self) -> None:
        if self._allocation is not None:
            raise RuntimeError("a hold is for one block: make another by engine.reserve(...)")

    def _end(self, failed: bool) -> End:
        return end_of(failed=failed, unread=self._unread, commit_tried=self._commit_tried, committed=self._committed)

    def _commit_failed(self, error: PrivacyEngineError) -> PrivacyEngineError:
        if isinstance(error, InvalidRequestError):
            # Refused for what was asked; the hold is as it was.
            return error
        held = self.allocation.allocation_id
        return HoldLostError(held, error) if isinstance(error, ConflictError) else CommitUnconfirmedError(held, error)

    def _left_note(self) -> str:
        held = self.allocation.allocation_id
        return f"The hold {held} was not taken back, since data may have been read: it counts as spent."

    def _void_failed_note(self, error: PrivacyEngineError) -> str:
        return f"The hold {self.allocation.allocation_id} could not be taken back, so it counts as spent: {error}"

    def _voided_note(self) -> str:
        return f"The hold {self.allocation.allocation_id} is taken back: no data was read, nothing is spent."


class Hold(_Block):
    """A hold around a ``with`` block; made by `PrivacyEngine.reserve`."""

    def __init__(self, engine: "PrivacyEngine", request: Spend, ttl_seconds: int | None, key: str | None) -> None:
        super().__init__(request, ttl_seconds, key)
        self._engine = engine

    def commit(self, *, steps: int | None = None) -> Allocation:
        """Commits now, and not at the end of the block.

        Args:
            steps: Of a repeated event, how many repetitions were begun; the rest is given back where that is sound.

        Raises:
            CommitUnconfirmedError: If nobody confirmed it.
            HoldLostError: If the hold had ended before.
            InvalidRequestError: If it cannot be divided so. It is still held.
        """
        held = self.allocation
        self._commit_tried = True
        try:
            ended = self._engine.commit(held.allocation_id, steps=steps, tenant_id=self._request.tenant_id)
        except PrivacyEngineError as error:
            raise self._commit_failed(error) from error
        self._committed = True
        return ended

    def __enter__(self) -> Self:
        self._check_new()
        self._entered(self._engine.hold(self._request, ttl_seconds=self._ttl_seconds, key=self._key))
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        match self._end(error is not None):
            case End.COMMIT:
                self.commit()
            case End.VOID if error is not None:
                error.add_note(self._void())
            case End.LEAVE if error is not None:
                error.add_note(self._left_note())

    def _void(self) -> str:
        try:
            self._engine.void(self.allocation.allocation_id, tenant_id=self._request.tenant_id)
        except PrivacyEngineError as error:
            return self._void_failed_note(error)
        return self._voided_note()


class AsyncHold(_Block):
    """A hold around an ``async with`` block; made by `AsyncPrivacyEngine.reserve`.

    A commit, or a void, that was begun goes on when the task around it is cancelled; closing the engine waits for it. A
    task that is cancelled before the block begins gives back what it was about to hold.
    """

    def __init__(self, engine: "AsyncPrivacyEngine", request: Spend, ttl_seconds: int | None, key: str | None) -> None:
        super().__init__(request, ttl_seconds, key)
        self._engine = engine

    async def commit(self, *, steps: int | None = None) -> Allocation:
        """Commits now, and not at the end of the block. Arguments and errors as for `Hold.commit`."""
        held = self.allocation
        self._commit_tried = True
        asking = self._engine.commit(held.allocation_id, steps=steps, tenant_id=self._request.tenant_id)
        try:
            ended = await asyncio.shield(self._engine.in_background(asking))
        except PrivacyEngineError as error:
            raise self._commit_failed(error) from error
        self._committed = True
        return ended

    async def __aenter__(self) -> Self:
        self._check_new()
        asking = self._engine.in_background(
            self._engine.hold(self._request, ttl_seconds=self._ttl_seconds, key=self._key)
        )
        try:
            self._entered(await asyncio.shield(asking))
        except asyncio.CancelledError:
            # The block will not run, so it is true that nothing was read.
            self._engine.in_background(self._never_used(asking))
            raise
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        match self._end(error is not None):
            case End.COMMIT:
                await self.commit()
            case End.VOID if isinstance(error, asyncio.CancelledError):
                # Who cancels does not wait for the network.
                error.add_note(self._voided_note())
                self._engine.in_background(self._void())
            case End.VOID if error is not None:
                error.add_note(await asyncio.shield(self._engine.in_background(self._void())))
            case End.LEAVE if error is not None:
                error.add_note(self._left_note())

    async def _void(self) -> str:
        try:
            await self._engine.void(self.allocation.allocation_id, tenant_id=self._request.tenant_id)
        except PrivacyEngineError as error:
            return self._void_failed_note(error)
        return self._voided_note()

    async def _never_used(self, asking: "asyncio.Task[Allocation]") -> None:
        held = await asking
        if self._key is None or not held.replayed:
            await self._engine.void(held.allocation_id, tenant_id=self._request.tenant_id)
