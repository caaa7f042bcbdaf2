"""Owners of budgets on ledgers that are slow, shut, late or failing, and what has to hold of what they wrote."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from accounting.admission import ACCEPTED, Outcome, Verdict
from accounting.filters import basic_budget
from accounting.ledger.entry import Entry
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.store import LedgerStore, StoreUnavailableError, Tail, Wanted
from deployments.budget.owner import BudgetOwner, OwnerSettings
from tests.ledgers import WIDE, assert_chained, loss

DEFAULT = basic_budget(loss("10", "0.00001"))
"""Basic composition alone, so that what fits is a plain sum."""


class SlowStore(MemoryLedgerStore):
    """Answers only after everybody else had their turn, so that owners truly meet."""

    async def append(self, entries: Sequence[Entry]) -> None:
        await asyncio.sleep(0)
        await super().append(entries)
        await asyncio.sleep(0)

    async def tails(self, wanted: Mapping[str, Wanted]) -> dict[str, Tail]:
        await asyncio.sleep(0)
        found = await super().tails(wanted)
        await asyncio.sleep(0)
        return found


class GatedStore(MemoryLedgerStore):
    """Writes only while its gate is open, and says when somebody waits before it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()

    def shut(self) -> None:
        """Closes the gate."""
        self.gate.clear()
        self.waiting.clear()

    async def append(self, entries: Sequence[Entry]) -> None:
        self.waiting.set()
        await self.gate.wait()
        await super().append(entries)


class LateClock(MemoryLedgerStore):
    """Learns what its database's clock shows by looking, as the real one does; `shown` is how far that was set."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = self._known = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self._known

    async def tails(self, wanted: Mapping[str, Wanted]) -> dict[str, Tail]:
        self._known = self.shown
        return await super().tails(wanted)


class FailingStore(SlowStore):
    """Fails the next writes, each before or after it happens, with an error of choice."""

    def __init__(self, *faults: tuple[str, Exception]) -> None:
        super().__init__()
        self.faults = list(faults)
        self.attempts = 0

    async def append(self, entries: Sequence[Entry]) -> None:
        self.attempts += 1
        when, error = self.faults.pop(0) if self.faults else ("never", Exception())
        if when == "before":
            raise error
        await super().append(entries)
        if when == "after":
            raise error


@asynccontextmanager
async def owning(store: LedgerStore, **changes: Any) -> AsyncIterator[BudgetOwner]:  # noqa: ANN401
    """A live owner on that store."""
    chosen: dict[str, Any] = {"limits": WIDE, "default_budget": DEFAULT} | changes
    owner = BudgetOwner(store, OwnerSettings(**chosen))
    owner.start()
    try:
        yield owner
    finally:
        await owner.stop()


async def insist(ask: Callable[[], Awaitable[Verdict]]) -> Verdict:
    """What a client does: repeats with the same key until it has an answer."""
    while True:
        try:
            return await ask()
        except StoreUnavailableError:
            continue


def outcomes(verdicts: Sequence[Verdict]) -> dict[Outcome, int]:
    """How often each outcome came."""
    found = [verdict.outcome for verdict in verdicts]
    return {outcome: found.count(outcome) for outcome in set(found)}


async def assert_whole(store: LedgerStore, tenant: str, verdicts: Sequence[Verdict]) -> list[Entry]:
    """Every acknowledged entry is in the ledger, once, and the ledger is whole; returns it."""
    history = await store.history(tenant)
    assert_chained(history)
    hashes = [entry.hash for entry in history]
    for verdict in verdicts:
        if verdict.outcome in ACCEPTED:
            assert verdict.answer is not None
            assert hashes.count(verdict.answer.hash) == 1
    return history
