"""The ledger in memory: for tests, simulation and trying things out. Same promises as Postgres except durability."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from accounting.datasets import DatasetState
from accounting.ledger.canonical import GENESIS_HASH
from accounting.ledger.entry import ENDING_KINDS, OPENING_KINDS, Entry, EntryKind
from accounting.ledger.state import TenantState, fold
from accounting.ledger.store import ConflictError, Denial, Tail, Wanted

Step = tuple[str, str, str]
"""A tenant, an allocation, and which of its few steps: each can be taken once."""


class MemoryLedgerStore:
    """A `LedgerStore` in dictionaries."""

    def __init__(self, name: str = "main") -> None:
        self._name = name
        self.committed: list[Entry] = []
        """All tenants' entries, in the order in which they were appended."""
        self.tasks: dict[tuple[str, str], str] = {}
        """What is to be done under holds, by tenant and allocation."""
        self._histories: dict[str, list[Entry]] = {}
        self._states: dict[str, TenantState] = {}
        self._by_key: dict[tuple[str, str], Entry] = {}
        self._steps: set[Step] = set()
        self._denials: dict[str, list[Denial]] = {}

    def now(self) -> datetime:
        """The process's clock, in UTC."""
        return datetime.now(UTC)

    async def database_name(self) -> str:
        """See `accounting.ledger.homes.Database`."""
        return self._name

    async def append(self, entries: Sequence[Entry]) -> None:
        """Stores all entries or none. See `LedgerStore.append`."""
        heads: dict[str, Entry] = {}
        keys: set[tuple[str, str]] = set()
        steps: set[Step] = set()
        for entry in entries:
            head = heads.get(entry.tenant_id) or self._head(entry.tenant_id)
            if entry.seq != (head.seq if head else 0) + 1:
                raise ConflictError(f"position {entry.seq} of {entry.tenant_id} is not the next one")
            if entry.prev_hash != (head.hash if head else GENESIS_HASH):
                raise ConflictError(f"entry {entry.seq} of {entry.tenant_id} does not follow the entry before it")
            heads[entry.tenant_id] = entry
            if entry.idempotency_key is not None:
                key = (entry.tenant_id, entry.idempotency_key)
                if key in self._by_key or key in keys:
                    raise ConflictError(f"key {entry.idempotency_key} of {entry.tenant_id} is taken")
                keys.add(key)
            step = _step(entry)
            if step is not None:
                if step in self._steps or step in steps:
                    raise ConflictError(f"allocation {entry.allocation_id} of {entry.tenant_id} has had that step")
                steps.add(step)
        for entry in entries:
            self._adopt(entry)
        self._steps |= steps

    def _adopt(self, entry: Entry) -> None:
        tenant = entry.tenant_id
        self.committed.append(entry)
        self._histories.setdefault(tenant, []).append(entry)
        known = self._states.get(tenant)
        state = fold([entry]) if known is None else known.after(entry)
        assert state is not None
        self._states[tenant] = state
        if entry.idempotency_key is not None:
            self._by_key[tenant, entry.idempotency_key] = entry
        if entry.task is not None and entry.allocation_id is not None:
            self.tasks[tenant, entry.allocation_id] = entry.task

    async def tails(self, wanted: Mapping[str, Wanted]) -> dict[str, Tail]:
        """See `LedgerStore.tails`."""
        return {tenant: self._tail(tenant, asked) for tenant, asked in wanted.items()}

    def _tail(self, tenant_id: str, asked: Wanted) -> Tail:
        found = {key: self._by_key[tenant_id, key] for key in asked.keys if (tenant_id, key) in self._by_key}
        state = self._states.get(tenant_id)
        known = {} if state is None else state.datasets
        return Tail(self._head(tenant_id), found, {name: known.get(name) for name in asked.datasets})

    def _head(self, tenant_id: str) -> Entry | None:
        state = self._states.get(tenant_id)
        return None if state is None else state.head

    async def allocation(self, tenant_id: str, allocation_id: str) -> list[Entry]:
        """See `LedgerStore.allocation`."""
        return [entry for entry in self._histories.get(tenant_id, ()) if entry.allocation_id == allocation_id]

    async def job(self, tenant_id: str, job_id: str, limit: int = 1000) -> list[Entry]:
        """See `LedgerStore.job`."""
        return [entry for entry in self._histories.get(tenant_id, ()) if entry.job_id == job_id][:limit]

    async def history(self, tenant_id: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        """See `LedgerStore.history`."""
        return self._histories.get(tenant_id, [])[after : after + limit]

    async def datasets(self, tenant_id: str) -> list[DatasetState]:
        """See `LedgerStore.datasets`."""
        state = self._states.get(tenant_id)
        known = {} if state is None else state.datasets
        return [found for _, found in sorted(known.items()) if found is not None]

    async def record_denials(self, denials: Sequence[Denial]) -> None:
        """See `LedgerStore.record_denials`."""
        for denial in denials:
            self._denials.setdefault(denial.tenant_id, []).append(replace(denial, at=self.now()))

    async def denials(self, tenant_id: str, limit: int = 1000) -> list[Denial]:
        """See `LedgerStore.denials`."""
        return self._denials.get(tenant_id, [])[::-1][:limit]


def _step(entry: Entry) -> Step | None:
    if entry.allocation_id is None:
        return None
    if entry.kind in OPENING_KINDS:
        return (entry.tenant_id, entry.allocation_id, "opening")
    if entry.kind in ENDING_KINDS:
        return (entry.tenant_id, entry.allocation_id, "ending")
    assert entry.kind is EntryKind.ADJUSTED
    return (entry.tenant_id, entry.allocation_id, "adjustment")


class MemoryDirectory:
    """A `Directory` in a dictionary."""

    def __init__(self) -> None:
        self._homes: dict[str, str] = {}

    async def home(self, tenant_id: str) -> str | None:
        """See `Directory.home`."""
        return self._homes.get(tenant_id)

    async def settle(self, tenant_id: str, proposed: str) -> str:
        """See `Directory.settle`."""
        return self._homes.setdefault(tenant_id, proposed)
