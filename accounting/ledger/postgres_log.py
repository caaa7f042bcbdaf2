"""The log in Postgres. One statement (`sql/log.sql`) puts entries in order; the tree over them grows here."""

from typing import Self

import asyncpg

from accounting.ledger.connections import open_pool, translated, translation
from accounting.ledger.entry import entry_from_body
from accounting.ledger.heads import StoredHead
from accounting.ledger.log import Logged
from accounting.ledger.merkle import FAN, newly_complete, parents
from accounting.ledger.store import ConflictError, StoreUnavailableError
from accounting.storage.queries import queries

SQL = queries("log")
ATTEMPTS = 10
"""How often a sequencer looks again after another one was first."""


class PostgresLog:
    """An `EntryLog` and its `HeadStore`.

    With a recorder's login everything works. With a service's login what a proof about one tenant takes can be read:
    `size`, `nodes`, `position`, and the heads.
    """

    def __init__(self, pool: asyncpg.Pool, command_timeout: float) -> None:
        self._pool = pool
        self._timeout = command_timeout

    @classmethod
    async def open(cls, url: str, *, connections: int = 2, command_timeout: float = 30.0) -> Self:
        """Makes ready. A database that is not there is told of by each call, until it is.

        Args:
            url: A Postgres URL of a member of ``prv_recorder``; to read only, of ``prv_service``.
            connections: Size of the pool.
            command_timeout: Seconds after which an unanswered statement counts as `StoreUnavailableError`.
        """
        pool = await open_pool(url, "privacy-engine-log", connections=connections, command_timeout=command_timeout)
        return cls(pool, command_timeout)

    async def close(self) -> None:
        """Closes the pool, waiting for statements under way."""
        await self._pool.close()

    async def sequence(self, limit: int = 10_000) -> int:
        """See `EntryLog.sequence`. The entries, their leaves and the nodes that they complete are stored together."""
        for _ in range(ATTEMPTS):
            try:
                return await self._sequence(limit)
            except ConflictError:
                # Another sequencer took the same positions. What it left is taken up from where it stands now.
                continue
        raise StoreUnavailableError("other sequencers were first each time")

    async def _sequence(self, limit: int) -> int:
        with translation():
            async with self._pool.acquire(timeout=self._timeout) as connection, connection.transaction():
                start, stop = await connection.fetchrow(SQL["sequence"], limit)
                for level, run in newly_complete(start, stop):
                    below = await connection.fetch(SQL["nodes"], level - 1, run.start * FAN, run.stop * FAN)
                    complete = parents([row["hash"] for row in below])
                    await connection.execute(SQL["store_nodes"], level, run.start, complete)
        return int(stop - start)

    async def size(self) -> int:
        """See `EntryLog.size`."""
        return int(await translated(self._pool.fetchval(SQL["size"])))

    async def read(self, start: int, limit: int = 1_000) -> list[Logged]:
        """See `EntryLog.read`."""
        rows = await translated(self._pool.fetch(SQL["read"], start, start + limit))
        return [Logged(row["position"], entry_from_body(row["body"])) for row in rows]

    async def position(self, tenant_id: str, seq: int) -> int | None:
        """See `EntryLog.position`."""
        found: int | None = await translated(self._pool.fetchval(SQL["position"], tenant_id, seq))
        return found

    async def nodes(self, level: int, start: int, stop: int) -> list[bytes]:
        """See `EntryLog.nodes`."""
        rows = await translated(self._pool.fetch(SQL["nodes"], level, start, stop))
        return [row["hash"] for row in rows]

    async def relayed(self, relay: str) -> int:
        """See `EntryLog.relayed`."""
        return int(await translated(self._pool.fetchval(SQL["relayed"], relay)))

    async def set_relayed(self, relay: str, position: int) -> None:
        """See `EntryLog.set_relayed`."""
        await translated(self._pool.execute(SQL["set_relayed"], relay, position))

    async def log_id(self) -> str:
        """See `HeadStore.log_id`."""
        return str(await translated(self._pool.fetchval(SQL["log_id"])))

    async def store_head(self, head: StoredHead) -> None:
        """See `HeadStore.store_head`."""
        await translated(self._pool.execute(SQL["store_head"], head.size, head.root, head.signed))

    async def heads(self, after: int = -1, limit: int = 1_000) -> list[StoredHead]:
        """See `HeadStore.heads`."""
        return [_head(row) for row in await translated(self._pool.fetch(SQL["heads"], after, limit))]

    async def last_head(self) -> StoredHead | None:
        """See `HeadStore.last_head`."""
        row = await translated(self._pool.fetchrow(SQL["last_head"]))
        return None if row is None else _head(row)


def _head(row: asyncpg.Record) -> StoredHead:
    return StoredHead(row["size"], row["root"], row["signed"])
