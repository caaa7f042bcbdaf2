"""What arrives while a batch is written is decided on it, and again where it was not written (decision 0021)."""

import asyncio
from collections.abc import Sequence

import pytest

from accounting.admission import Outcome
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.store import ConflictError, StoreUnavailableError
from tests.ledgers import asked
from tests.unit.owner_helpers import (
    FailingStore,
    GatedStore,
    assert_whole,
    insist,
    outcomes,
    owning,
)


class CountingStore(GatedStore):
    """Says how many entries each write had."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[int] = []

    async def append(self, entries: Sequence[Entry]) -> None:
        self.writes.append(len(entries))
        await super().append(entries)


async def test_what_arrives_during_a_write_is_decided_on_it_and_written_next() -> None:
    """In one write, with nothing read again; a request of an unknown tenant waits, and is not forgotten."""
    store = CountingStore()
    async with owning(store, lanes=1) as owner:
        await owner.submit(asked("t", "1"))
        store.shut()
        first = owner.enqueue(asked("t", "1"))
        await store.waiting.wait()
        later = [owner.enqueue(asked("t", "1")) for _ in range(3)]
        stranger = owner.enqueue(asked("u", "1"))
        assert not any(one.done() for one in (first, *later))
        store.gate.set()
        verdicts = [await one for one in (first, *later, stranger)]
    assert outcomes(verdicts) == {Outcome.ADMITTED: 5}
    # The tenants' budgets are opened with their first charges.
    assert store.writes == [2, 1, 3, 2]
    await assert_whole(store, "t", verdicts[:4])


@pytest.mark.parametrize(
    "error", [ConflictError("another owner"), StoreUnavailableError("lost"), RuntimeError("a bug")]
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_was_decided_on_a_write_that_failed_is_decided_again(when: str, error: Exception) -> None:
    """Nobody is told what rests on it; each request that is told of as admitted is in the ledger, once."""
    store = FailingStore()
    async with owning(store, lanes=1) as owner:
        await owner.submit(asked("t", "4"))
        requests = [asked("t", "1") for _ in range(4)]
        first = owner.enqueue(requests[0])
        await asyncio.sleep(0)
        store.faults = [(when, error)]
        later = [owner.enqueue(request) for request in requests[1:]]
        await asyncio.gather(first, *later, return_exceptions=True)
        verdicts = [await insist(lambda request=request: owner.submit(request)) for request in requests]  # type: ignore[misc]
        assert (await owner.submit(asked("t", "3"))).outcome is Outcome.BUDGET_EXHAUSTED
    history = await assert_whole(store, "t", verdicts)
    assert sum(entry.kind is EntryKind.CONSUMED for entry in history) == 5
    assert history[-1].spent.basic.epsilon == 8


async def test_a_key_is_used_once_within_a_write_and_what_was_decided_on_it() -> None:
    """The second use is told of the first, and not before that is durable."""
    store = GatedStore()
    async with owning(store, lanes=1) as owner:
        await owner.submit(asked("t", "1"))
        store.shut()
        request = asked("t", "1")
        first = owner.enqueue(request)
        await store.waiting.wait()
        again, reused = owner.enqueue(request), owner.enqueue(asked("t", "2", key=request.key))
        await asyncio.sleep(0.01)
        assert not again.done()
        assert not reused.done()
        store.gate.set()
        assert [(await one).outcome for one in (first, again, reused)] == [
            Outcome.ADMITTED,
            Outcome.REPLAYED,
            Outcome.KEY_REUSED,
        ]
    assert len(await store.history("t")) == 3


async def test_those_who_were_decided_when_the_owner_stops_are_told() -> None:
    """As those who wait in the queue are."""
    store = GatedStore()
    async with owning(store, lanes=1) as owner:
        await owner.submit(asked("t", "1"))
        store.shut()
        first = owner.enqueue(asked("t", "1"))
        await store.waiting.wait()
        later = owner.enqueue(asked("t", "1"))
    for one in (first, later):
        with pytest.raises(StoreUnavailableError, match="stopping"):
            await one
