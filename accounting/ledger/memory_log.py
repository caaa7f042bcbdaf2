"""The log in memory, over a ledger in memory: for tests, simulation and trying things out."""

from uuid import uuid4

from accounting.ledger.entry import Entry
from accounting.ledger.heads import StoredHead
from accounting.ledger.log import Logged
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.merkle import FAN, leaf_hash, newly_complete, parents


class MemoryLog:
    """An `EntryLog` and its `HeadStore`, in lists."""

    def __init__(self, store: MemoryLedgerStore, log_id: str | None = None) -> None:
        self._store = store
        self._log_id = log_id or str(uuid4())
        self._entries: list[Entry] = []
        self._positions: dict[tuple[str, int], int] = {}
        self._levels: list[list[bytes]] = [[]]
        self._relayed: dict[str, int] = {}
        self._heads: dict[int, StoredHead] = {}

    async def sequence(self, limit: int = 10_000) -> int:
        """See `EntryLog.sequence`."""
        before = len(self._entries)
        fresh = self._store.committed[before : before + limit]
        for entry in fresh:
            self._positions[entry.tenant_id, entry.seq] = len(self._entries)
            self._entries.append(entry)
            self._levels[0].append(leaf_hash(entry.hash))
        for level, run in newly_complete(before, len(self._entries)):
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level] += parents(self._levels[level - 1][run.start * FAN : run.stop * FAN])
        return len(fresh)

    async def size(self) -> int:
        """See `EntryLog.size`."""
        return len(self._entries)

    async def read(self, start: int, limit: int = 1_000) -> list[Logged]:
        """See `EntryLog.read`."""
        return [Logged(start + at, entry) for at, entry in enumerate(self._entries[start : start + limit])]

    async def position(self, tenant_id: str, seq: int) -> int | None:
        """See `EntryLog.position`."""
        return self._positions.get((tenant_id, seq))

    async def nodes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `EntryLog.nodes`."""
        return self._levels[level][start:stop] if level < len(self._levels) else []

    async def relayed(self, relay: str) -> int:
        """See `EntryLog.relayed`."""
        return self._relayed.get(relay, 0)

    async def set_relayed(self, relay: str, position: int) -> None:
        """See `EntryLog.set_relayed`."""
        self._relayed[relay] = max(position, self._relayed.get(relay, 0))

    async def log_id(self) -> str:
        """See `HeadStore.log_id`."""
        return self._log_id

    async def store_head(self, head: StoredHead) -> None:
        """See `HeadStore.store_head`."""
        self._heads.setdefault(head.size, head)

    async def heads(self, after: int = -1, limit: int = 1_000) -> list[StoredHead]:
        """See `HeadStore.heads`."""
        return [self._heads[size] for size in sorted(self._heads) if size > after][:limit]

    async def last_head(self) -> StoredHead | None:
        """See `HeadStore.last_head`."""
        return self._heads[max(self._heads)] if self._heads else None
