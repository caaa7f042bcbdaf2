"""Services that are broken on purpose, each in one way: the simulation has to notice every one of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from accounting.admission import ACCEPTED, Allocate, Verdict
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.state import TenantState
from accounting.ledger.store import ConflictError, LedgerStore, StoreUnavailableError
from accounting.settlement import Settle
from deployments.budget.draft import Draft
from deployments.budget.lane import Command, Decided, Waiting
from deployments.budget.owner import BudgetOwner, OwnerSettings


class NoFence(MemoryLedgerStore):
    """Takes an entry at a position that is taken, whatever it follows."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """Stores everything but keys that were used."""
        if any((entry.tenant_id, entry.idempotency_key) in self._by_key for entry in entries):
            raise ConflictError("a key is taken")
        for entry in entries:
            self._adopt(entry)


class NextPosition(NoFence):
    """Gives every entry the next position, whatever it was decided on."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """Stores everything but keys that were used."""
        for entry in entries:
            head = self._head(entry.tenant_id)
            await super().append([entry if head is None else replace(entry, seq=head.seq + 1, prev_hash=head.hash)])


class LastOneWins(MemoryLedgerStore):
    """Replaces the entry at a position that is taken."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """Stores everything, over what is there."""
        for entry in entries:
            history = self._histories.get(entry.tenant_id, [])
            for rival in history[entry.seq - 1 :]:
                self.committed.remove(rival)
            del history[entry.seq - 1 :]
            self._adopt(entry)


class Forgetful(MemoryLedgerStore):
    """Acknowledges every tenth write without making it."""

    def __init__(self) -> None:
        super().__init__()
        self._writes = 0

    async def append(self, entries: Sequence[Entry]) -> None:
        """Stores the entries, mostly."""
        self._writes += 1
        if self._writes % 10:
            await super().append(entries)


class KeysTwice(MemoryLedgerStore):
    """Knows no keys: neither refuses a second use nor finds the first."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """Stores the entries."""
        self._by_key.clear()
        self._steps = {step for step in self._steps if step[2] != "opening"}
        await super().append(entries)


class EndsTwice(MemoryLedgerStore):
    """Takes a second end of an allocation."""

    async def append(self, entries: Sequence[Entry]) -> None:
        """Stores the entries."""
        self._steps = {step for step in self._steps if step[2] != "ending"}
        await super().append(entries)


class AnswersEarly(BudgetOwner):
    """Answers before its entries are durable."""

    def __init__(self, store: LedgerStore, settings: OwnerSettings, chance: Random | None = None) -> None:
        super().__init__(_WriteBehind(store), settings, chance)


class _WriteBehind:
    """A store that returns from a write at once."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._writing: set[asyncio.Future[None]] = set()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._store, name)

    async def append(self, entries: Sequence[Entry]) -> None:
        self._writing.add(asyncio.ensure_future(self._write(list(entries))))

    async def _write(self, entries: Sequence[Entry]) -> None:
        try:
            await self._store.append(entries)
        except (ConflictError, StoreUnavailableError):
            pass


class RefusesFromMemory(BudgetOwner):
    """Lets refusals go without asking whether they are still right."""

    async def _answer(self, decided: Sequence[Decided]) -> list[Waiting]:
        for waiting, verdict, _ in decided:
            waiting.reply(verdict)
        return []


class RepeatsFromMemory(BudgetOwner):
    """Says of what is set already that it is, without asking whether it still is."""

    async def _answer(self, decided: Sequence[Decided]) -> list[Waiting]:
        refused = []
        for waiting, verdict, seq in decided:
            if verdict.outcome in ACCEPTED:
                waiting.reply(verdict)
            else:
                refused.append(Decided(waiting, verdict, seq))
        return await super()._answer(refused)


class ReadsInParts(BudgetOwner):
    """Reads only what it does not know yet, and forgets thereby what it knew beside it."""

    async def _read(self, batch: Sequence[Waiting]) -> None:
        await super()._read([waiting for waiting in batch if self._unread(waiting)] or batch)


class ReadsFromMemory(BudgetOwner):
    """Tells a balance as it remembers it."""

    async def balance(self, tenant_id: str, actor: str) -> Entry | None:
        """The last entry known here."""
        known = self._states.get(tenant_id)
        return await super().balance(tenant_id, actor) if known is None else known.head


class VoidsTooLate(BudgetOwner):
    """Takes a hold back however long its time has passed."""

    def _decide_on(self, state: TenantState, command: Command, draft: Draft, now: datetime) -> Verdict:
        if isinstance(command, Settle) and command.kind is EntryKind.VOIDED:
            opening = command.history[0]
            now = min(now, opening.at + timedelta(microseconds=1))
        return super()._decide_on(state, command, draft, now)


class ChargesOneScope(BudgetOwner):
    """Charges the tenant alone where a data set is named."""

    def _decide_on(self, state: TenantState, command: Command, draft: Draft, now: datetime) -> Verdict:
        if isinstance(command, Allocate):
            command = replace(command, dataset_id=None, partition=None)
        return super()._decide_on(state, command, draft, now)


@dataclass(frozen=True, slots=True)
class Service:
    """What is simulated."""

    store: type[MemoryLedgerStore] = MemoryLedgerStore
    owner: type[BudgetOwner] = BudgetOwner


WHOLE = Service()
BROKEN = {
    "fence": Service(store=NoFence),
    "positions": Service(store=NextPosition),
    "overwriting": Service(store=LastOneWins),
    "forgetful": Service(store=Forgetful),
    "keys": Service(store=KeysTwice),
    "ends": Service(store=EndsTwice),
    "early": Service(owner=AnswersEarly),
    "refusals": Service(owner=RefusesFromMemory),
    "repeats": Service(owner=RepeatsFromMemory),
    "parts": Service(owner=ReadsInParts),
    "reads": Service(owner=ReadsFromMemory),
    "voids": Service(owner=VoidsTooLate),
    "scopes": Service(owner=ChargesOneScope),
}
"""By the name of what is broken."""
