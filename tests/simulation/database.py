"""The one true database, which is the shipped store in memory with a clock, and what processes see of it."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from accounting.datasets import DatasetState
from accounting.ledger.due import Due, DuePage, Mark
from accounting.ledger.entry import ENDING_KINDS, Entry, EntryKind, entry_from_body
from accounting.ledger.log import Logged
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.memory_log import MemoryLog
from accounting.ledger.store import Denial, Tail, Wanted
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Link, at_once
from tests.simulation.plan import Fault

T = TypeVar("T")

BEGINNING = datetime(2026, 11, 21, tzinfo=UTC)


class Database:
    """The ledger, its log, and their clock."""

    def __init__(self, loop: SimulatedLoop, store: MemoryLedgerStore) -> None:
        self.store = store
        self.log = MemoryLog(store, "the simulated log")
        self.skew = 0.0
        """Seconds by which jumps have moved the clock."""
        self.on_append: Callable[[], None] = lambda: None
        self._loop = loop

    def clock(self) -> datetime:
        """Database time."""
        return BEGINNING + timedelta(seconds=self._loop.time() + self.skew)

    def append(self, entries: Sequence[Entry]) -> None:
        """Stores what the entries' bodies say, for that is all that a database is sent."""
        at_once(self.store.append([entry_from_body(entry.body) for entry in entries]))
        self.on_append()

    def due(self, before: Mark | None, limit: int) -> DuePage:
        """What has fallen due, from the latest back: as `PostgresRecorder.due`."""
        now = self.clock()
        ended = {(entry.tenant_id, entry.allocation_id) for entry in self.store.committed if entry.kind in ENDING_KINDS}
        windows = {
            entry.tenant_id: entry.seq
            for entry in self.store.committed
            if entry.kind in (EntryKind.BUDGET_SET, EntryKind.RENEWED)
        }
        fallen = sorted(
            (
                (Mark(entry.due_at, entry.tenant_id, entry.seq), entry)
                for entry in self.store.committed
                if entry.due_at is not None and entry.due_at <= now
            ),
            key=lambda pair: pair[0],
            reverse=True,
        )
        seen = [pair for pair in fallen if before is None or pair[0] < before][:limit]
        still_open = [
            Due(entry.tenant_id, entry.allocation_id)
            for _, entry in seen
            if (
                windows[entry.tenant_id] == entry.seq
                if entry.allocation_id is None
                else (entry.tenant_id, entry.allocation_id) not in ended
            )
        ]
        return DuePage(now, still_open, seen[-1][0] if len(seen) == limit else None)


class Connection:
    """What an owner has of the database: a `LedgerStore` whose every statement crosses the network."""

    def __init__(self, link: Link, database: Database) -> None:
        self._link = link
        self._database = database
        self._store = database.store

    def now(self) -> datetime:
        """See `LedgerStore.now`."""
        return self._link.clock.now()

    async def append(self, entries: Sequence[Entry]) -> None:
        """See `LedgerStore.append`."""
        written = list(entries)
        await self._link.ask("append", lambda: self._database.append(written), writes=True)

    async def tails(self, wanted: Mapping[str, Wanted]) -> dict[str, Tail]:
        """See `LedgerStore.tails`: heads, keys and data sets may be read at three different moments."""
        asked = {tenant: Wanted(set(more.keys), set(more.datasets)) for tenant, more in wanted.items()}
        heads = keys = datasets = await self._read("tails", lambda: self._store.tails(asked))
        if self._link.strikes(Fault.SPLIT_READ):
            keys = await self._read("keys", lambda: self._store.tails(asked))
            datasets = await self._read("data sets", lambda: self._store.tails(asked))
        return {
            tenant: Tail(
                heads[tenant].head,
                # Sets have an order that changes from process to process; what follows from it must not.
                dict(sorted(keys[tenant].by_key.items())),
                dict(sorted(datasets[tenant].datasets.items())),
            )
            for tenant in asked
        }

    async def datasets(self, tenant_id: str) -> list[DatasetState]:
        """See `LedgerStore.datasets`."""
        return await self._read("data sets", lambda: self._store.datasets(tenant_id))

    async def record_denials(self, denials: Sequence[Denial]) -> None:
        """See `LedgerStore.record_denials`."""
        written = list(denials)
        await self._read("denials", lambda: self._store.record_denials(written))

    async def denials(self, tenant_id: str, limit: int = 1000) -> list[Denial]:
        """See `LedgerStore.denials`."""
        return await self._read("read denials", lambda: self._store.denials(tenant_id, limit))

    async def allocation(self, tenant_id: str, allocation_id: str) -> list[Entry]:
        """See `LedgerStore.allocation`."""
        return await self._read("allocation", lambda: self._store.allocation(tenant_id, allocation_id))

    async def job(self, tenant_id: str, job_id: str, limit: int = 1000) -> list[Entry]:
        """See `LedgerStore.job`."""
        return await self._read("job", lambda: self._store.job(tenant_id, job_id, limit))

    async def history(self, tenant_id: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        """See `LedgerStore.history`."""
        return await self._read("history", lambda: self._store.history(tenant_id, after, limit))

    async def _read(self, what: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._link.ask(what, lambda: at_once(work()))


class LogConnection:
    """What the log's process has of the database: an `EntryLog`, and `DueEntries`."""

    def __init__(self, link: Link, database: Database) -> None:
        self._link = link
        self._database = database
        self._log = database.log

    async def sequence(self, limit: int = 10_000) -> int:
        """See `EntryLog.sequence`."""
        return await self._do("sequence", lambda: self._log.sequence(limit), writes=True)

    async def size(self) -> int:
        """See `EntryLog.size`."""
        return await self._do("size", lambda: self._log.size())

    async def read(self, start: int, limit: int = 1_000) -> list[Logged]:
        """See `EntryLog.read`."""
        return await self._do("read log", lambda: self._log.read(start, limit))

    async def position(self, tenant_id: str, seq: int) -> int | None:
        """See `EntryLog.position`."""
        return await self._do("position", lambda: self._log.position(tenant_id, seq))

    async def nodes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `EntryLog.nodes`."""
        return await self._do("nodes", lambda: self._log.nodes(level, start, stop))

    async def relayed(self, relay: str) -> int:
        """See `EntryLog.relayed`."""
        return await self._do("relayed", lambda: self._log.relayed(relay))

    async def set_relayed(self, relay: str, position: int) -> None:
        """See `EntryLog.set_relayed`."""
        await self._do("set relayed", lambda: self._log.set_relayed(relay, position), writes=True)

    async def due(self, before: Mark | None, limit: int) -> DuePage:
        """See `DueEntries.due`."""
        return await self._link.ask("due", lambda: self._database.due(before, limit))

    async def _do(self, what: str, work: Callable[[], Coroutine[Any, Any, T]], *, writes: bool = False) -> T:
        return await self._link.ask(what, lambda: at_once(work()), writes=writes)
