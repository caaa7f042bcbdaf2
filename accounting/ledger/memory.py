"""The ledger in memory: for tests, simulation and trying things out. Same promises as Postgres except durability."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from accounting.ledger.canonical import GENESIS_HASH
from accounting.ledger.entry import OPENING_KINDS, Entry
from accounting.ledger.store import ConflictError, Tail


class MemoryLedgerStore:
    """A `LedgerStore` in dictionaries."""

    def __init__(self) -> None:
        self._histories: dict[str, list[Entry]] = {}
        self._by_key: dict[tuple[str, str], Entry] = {}
        self._allocations: set[tuple[str, str, bool]] = set()
        """Tenant, allocation, and whether it is its opening or its end."""

    def now(self) -> datetime:
        """The process's clock, in UTC."""
        return datetime.now(UTC)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Stores all entries or none. See `LedgerStore.append`."""
        heads: dict[str, Entry] = {}
        keys: set[tuple[str, str]] = set()
        steps: set[tuple[str, str, bool]] = set()
        for entry in entries:
            head = heads.get(entry.tenant_id) or self._tail(entry.tenant_id, ()).head
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
            if entry.allocation_id is not None:
                step = (entry.tenant_id, entry.allocation_id, entry.kind in OPENING_KINDS)
                if step in self._allocations or step in steps:
                    raise ConflictError(f"allocation {entry.allocation_id} of {entry.tenant_id} has had that step")
                steps.add(step)
        for entry in entries:
            self._histories.setdefault(entry.tenant_id, []).append(entry)
            if entry.idempotency_key is not None:
                self._by_key[entry.tenant_id, entry.idempotency_key] = entry
        self._allocations |= steps

    async def tails(self, wanted: Mapping[str, Collection[str]]) -> dict[str, Tail]:
        """See `LedgerStore.tails`."""
        return {tenant: self._tail(tenant, keys) for tenant, keys in wanted.items()}

    def _tail(self, tenant_id: str, keys: Collection[str]) -> Tail:
        history = self._histories.get(tenant_id)
        found = {key: self._by_key[tenant_id, key] for key in keys if (tenant_id, key) in self._by_key}
        return Tail(history[-1] if history else None, found)

    async def allocation(self, tenant_id: str, allocation_id: str) -> list[Entry]:
        """See `LedgerStore.allocation`."""
        return [entry for entry in self._histories.get(tenant_id, ()) if entry.allocation_id == allocation_id]

    async def job(self, tenant_id: str, job_id: str, limit: int = 1000) -> list[Entry]:
        """See `LedgerStore.job`."""
        return [entry for entry in self._histories.get(tenant_id, ()) if entry.job_id == job_id][:limit]

    async def history(self, tenant_id: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        """See `LedgerStore.history`."""
        return self._histories.get(tenant_id, [])[after : after + limit]
