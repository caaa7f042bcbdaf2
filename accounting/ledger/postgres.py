"""The ledger in Postgres. Every guarantee it gives is enforced by the database; this module only speaks to it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from accounting.datasets import DatasetState
from accounting.ledger.canonical import canonical_json
from accounting.ledger.clock import DatabaseClock
from accounting.ledger.connections import open_pool, translated, translation
from accounting.ledger.entry import Entry, entry_from_body
from accounting.ledger.state import dataset_of
from accounting.ledger.store import Denial, Tail, Wanted
from accounting.storage.queries import queries

SQL = queries("ledger")


class PostgresLedgerStore:
    """A `LedgerStore` on a pool of connections that log in as the service's own, powerless role."""

    def __init__(self, pool: asyncpg.Pool, command_timeout: float) -> None:
        self._pool = pool
        self._timeout = command_timeout
        self._clock = DatabaseClock()
        # Connections between two writes. To take one from the pool and hand it back takes several turns of the event
        # loop, in each of which everybody else has theirs, while the next write waits.
        self._writers: list[PoolConnectionProxy] = []

    @classmethod
    async def open(cls, url: str, *, connections: int = 4, command_timeout: float = 10.0) -> "PostgresLedgerStore":
        """Makes ready. A database that is not there is told of by each call, until it is.

        Args:
            url: A Postgres URL of a member of ``prv_service``.
            connections: Size of the pool.
            command_timeout: Seconds after which an unanswered statement counts as `StoreUnavailableError`.
        """
        pool = await open_pool(url, "privacy-engine", connections=connections, command_timeout=command_timeout)
        return cls(pool, command_timeout)

    async def close(self) -> None:
        """Closes the pool, waiting for statements under way."""
        for connection in self._writers:
            await self._pool.release(connection)
        await self._pool.close()

    def now(self) -> datetime:
        """Database time. See `LedgerStore.now`."""
        return self._clock.now()

    async def append(self, entries: Sequence[Entry]) -> None:
        """One statement, one transaction, one round trip. See `LedgerStore.append`."""
        # In one order for everybody: two writers that met in opposite orders would wait for each other.
        ordered = sorted(entries, key=lambda entry: entry.tenant_id)
        tenants = list({entry.tenant_id for entry in ordered})
        written: tuple[Any, ...] = (tenants, [entry.body for entry in ordered])
        query = "append"
        if any(entry.task is not None for entry in ordered):
            query, written = "append_with_tasks", (*written, [entry.task for entry in ordered])
        sent = self._clock.sending()
        self._clock.showed(await translated(self._write(query, written)), sent)

    async def _write(self, query: str, written: tuple[Any, ...]) -> datetime:
        connection = self._writers.pop() if self._writers else await self._pool.acquire()
        if connection.is_closed():
            await self._pool.release(connection)
            connection = await self._pool.acquire()
        try:
            written_at: datetime = await connection.fetchval(SQL[query], *written)
        except BaseException:
            await self._pool.release(connection)
            raise
        self._writers.append(connection)
        return written_at

    async def tails(self, wanted: Mapping[str, Wanted]) -> dict[str, Tail]:
        """One statement for all tenants, keys and data sets. See `LedgerStore.tails`."""
        keys = [(tenant, key) for tenant, asked in wanted.items() for key in asked.keys]
        datasets = [(tenant, name) for tenant, asked in wanted.items() for name in asked.datasets]
        sent = self._clock.sending()
        rows = await translated(
            self._pool.fetch(
                SQL["tails"],
                list(wanted),
                [tenant for tenant, _ in keys],
                [key for _, key in keys],
                [tenant for tenant, _ in datasets],
                [name for _, name in datasets],
            )
        )
        if not rows and not self._clock.is_known:
            sent = self._clock.sending()
            self._clock.showed(await translated(self._pool.fetchval(SQL["clock"])), sent)
        heads: dict[str, Entry] = {}
        found: dict[str, dict[str, Entry]] = {tenant: {} for tenant in wanted}
        parts: dict[tuple[str, str], list[Entry]] = {asked: [] for asked in datasets}
        for tenant, key, dataset, body, read_at in rows:
            self._clock.showed(read_at, sent)
            if key is not None:
                found[tenant][key] = entry_from_body(body)
            elif dataset is not None:
                parts[tenant, dataset].append(entry_from_body(body))
            else:
                heads[tenant] = entry_from_body(body)
        return {
            tenant: Tail(
                heads.get(tenant),
                found[tenant],
                {name: dataset_of(parts[tenant, name]) for name in asked.datasets},
            )
            for tenant, asked in wanted.items()
        }

    async def datasets(self, tenant_id: str) -> list[DatasetState]:
        """See `LedgerStore.datasets`."""
        async with self._tenant(tenant_id) as connection:
            rows = await connection.fetch(SQL["datasets"], tenant_id)
        parts: dict[str, list[Entry]] = {}
        for name, body in rows:
            parts.setdefault(name, []).append(entry_from_body(body))
        return [state for entries in parts.values() if (state := dataset_of(entries)) is not None]

    async def record_denials(self, denials: Sequence[Denial]) -> None:
        """See `LedgerStore.record_denials`."""
        tenants = list({denial.tenant_id for denial in denials})
        await translated(self._pool.execute(SQL["deny"], tenants, [_denial_text(denial) for denial in denials]))

    async def denials(self, tenant_id: str, limit: int = 1000) -> list[Denial]:
        """See `LedgerStore.denials`."""
        async with self._tenant(tenant_id) as connection:
            return [Denial(**row) for row in await connection.fetch(SQL["denials"], tenant_id, limit)]

    async def allocation(self, tenant_id: str, allocation_id: str) -> list[Entry]:
        """See `LedgerStore.allocation`."""
        try:
            UUID(allocation_id)
        except ValueError:
            return []
        return await self._entries(tenant_id, "allocation", allocation_id)

    async def job(self, tenant_id: str, job_id: str, limit: int = 1000) -> list[Entry]:
        """See `LedgerStore.job`."""
        return await self._entries(tenant_id, "job", job_id, limit)

    async def history(self, tenant_id: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        """See `LedgerStore.history`."""
        return await self._entries(tenant_id, "history", after, limit)

    async def store_release(self, tenant_id: str, allocation_id: str, ciphertext: bytes) -> bytes:
        """Keeps an encrypted release, unless the allocation has one already.

        Returns:
            The ciphertext that is stored now: the given one, or the earlier one.
        """
        async with self._tenant(tenant_id) as connection:
            await connection.execute(SQL["store_release"], tenant_id, allocation_id, ciphertext)
            return bytes(await connection.fetchval(SQL["release"], tenant_id, allocation_id))

    async def release(self, tenant_id: str, allocation_id: str) -> bytes | None:
        """The stored ciphertext of an allocation's release, if there is one."""
        async with self._tenant(tenant_id) as connection:
            stored = await connection.fetchval(SQL["release"], tenant_id, allocation_id)
            return None if stored is None else bytes(stored)

    async def store_plan(self, tenant_id: str, plan_id: str, body: str) -> None:
        """Keeps a priced plan under a new id."""
        async with self._tenant(tenant_id) as connection:
            await connection.execute(SQL["store_plan"], tenant_id, plan_id, body)

    async def plan(self, tenant_id: str, plan_id: str) -> str | None:
        """The body of a stored plan, if the tenant has one of that id."""
        async with self._tenant(tenant_id) as connection:
            body: str | None = await connection.fetchval(SQL["plan"], tenant_id, plan_id)
            return body

    async def database_name(self) -> str:
        """See `accounting.ledger.homes.Database`."""
        name: str = await translated(self._pool.fetchval(SQL["database_name"]))
        return name

    async def _entries(self, tenant_id: str, query: str, *arguments: Any) -> list[Entry]:  # noqa: ANN401
        async with self._tenant(tenant_id) as connection:
            rows = await connection.fetch(SQL[query], tenant_id, *arguments)
        return [entry_from_body(row["body"]) for row in rows]

    @asynccontextmanager
    async def _tenant(self, tenant_id: str) -> AsyncIterator[asyncpg.Connection]:
        """A transaction that sees this tenant's rows and no others."""
        # What the driver does by itself can fail as well: begin, commit, hand back.
        with translation():
            async with self._pool.acquire(timeout=self._timeout) as connection, connection.transaction():
                sent = self._clock.sending()
                row = await connection.fetchrow(SQL["enter_tenant"], [tenant_id])
                self._clock.showed(row[1], sent)
                yield connection


def _denial_text(denial: Denial) -> str:
    told = {**asdict(denial), "epsilon": str(denial.epsilon), "delta": str(denial.delta)}
    # When it happened is the database's to say.
    del told["at"]
    return canonical_json(told)
