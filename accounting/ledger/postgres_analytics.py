"""Looking back on a ledger in Postgres: every number of one answer is of one moment. See `accounting.ledger.readings`.

Sums by day and engine are read from an index alone, and balances from the few entries that carry them, so a tenant
with a million operations is answered like one with ten, but for a look at each charge of the days that are asked for.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

from accounting.datasets import DatasetState
from accounting.ledger.connections import open_pool, translation
from accounting.ledger.entry import Entry, entry_from_body
from accounting.ledger.readings import Charged, KeptReleases, Operation, TenantReading
from accounting.ledger.state import dataset_of
from accounting.storage.queries import queries

SQL = queries("analytics")
LEDGER = queries("ledger")


class Snapshot:
    """A tenant's ledger as it was at one moment.

    Attributes:
        tenant_id: Whose.
        now: That moment, by the database's clock.
    """

    def __init__(self, connection: asyncpg.Connection, tenant_id: str, now: datetime) -> None:
        self.tenant_id = tenant_id
        self.now = now
        self._connection = connection

    async def head(self) -> Entry | None:
        """The last entry; None for a tenant without any."""
        body = await self._connection.fetchval(SQL["head"], self.tenant_id)
        return None if body is None else entry_from_body(body)

    async def known_since(self) -> datetime:
        """When the first entry was kept; now for a tenant without any."""
        return await self._connection.fetchval(SQL["known_since"], self.tenant_id) or self.now

    async def datasets(self) -> list[DatasetState]:
        """All data sets of the tenant, by id."""
        parts: dict[str, list[Entry]] = {}
        for name, body in await self._connection.fetch(LEDGER["datasets"], self.tenant_id):
            parts.setdefault(name, []).append(entry_from_body(body))
        return [state for entries in parts.values() if (state := dataset_of(entries)) is not None]

    async def charged(self, since: datetime, until: datetime, dataset_id: str | None = None) -> list[Charged]:
        """What was charged from `since` on and before `until`, by day and engine; on one data set if one is named."""
        rows = await self._connection.fetch(SQL["charged"], self.tenant_id, since, until, dataset_id)
        return [Charged(*row) for row in rows]

    async def closings(self, moments: Sequence[datetime], dataset_id: str | None = None) -> dict[datetime, Entry]:
        """The last entry before each moment; none for moments before the first one.

        Args:
            moments: At most some hundred.
            dataset_id: Only entries that touch the whole of this data set.
        """
        arguments = (self.tenant_id, list(moments))
        if dataset_id is None:
            rows = await self._connection.fetch(SQL["closings"], *arguments)
        else:
            rows = await self._connection.fetch(SQL["closings_of_dataset"], *arguments, dataset_id)
        return {row["moment"]: entry_from_body(row["body"]) for row in rows}

    async def open_holds(self) -> int:
        """How many holds have no end yet."""
        return int(await self._connection.fetchval(SQL["open_holds"], self.tenant_id))

    async def denied(self, since: datetime) -> int:
        """How many requests were refused since then."""
        return int(await self._connection.fetchval(SQL["denied"], self.tenant_id, since))

    async def operations(self, before: int, limit: int) -> list[Operation]:
        """Allocations that were opened below that position, latest first, at most `limit`."""
        rows = await self._connection.fetch(SQL["operations"], self.tenant_id, before, limit)
        return [
            Operation(
                entry_from_body(row["opening"]),
                None if row["ending"] is None else entry_from_body(row["ending"]),
                None if row["adjustment"] is None else entry_from_body(row["adjustment"]),
            )
            for row in rows
        ]

    async def bodies(self, after: int, limit: int) -> list[str]:
        """The texts of entries after that position, as they are hashed, in order, at most `limit`."""
        return [row["body"] for row in await self._connection.fetch(SQL["bodies"], self.tenant_id, after, limit)]

    async def refusals(self, since: datetime, until: datetime) -> dict[str, int]:
        """How many requests were refused from `since` on and before `until`, by the refusal's name."""
        rows = await self._connection.fetch(SQL["refusals"], self.tenant_id, since, until)
        return {row["outcome"]: row["count"] for row in rows}

    async def releases(self) -> KeptReleases:
        """The stored releases."""
        return KeptReleases(*await self._connection.fetchrow(SQL["releases"], self.tenant_id))


class PostgresAnalytics:
    """Snapshots of tenants' ledgers; and, with a recorder's login, a list of all tenants."""

    def __init__(self, pool: asyncpg.Pool, command_timeout: float) -> None:
        self._pool = pool
        self._timeout = command_timeout

    @classmethod
    async def open(cls, url: str, *, connections: int = 2, command_timeout: float = 30.0) -> "PostgresAnalytics":
        """Makes ready. A database that is not there is told of by each call, until it is.

        Args:
            url: A Postgres URL of a member of ``prv_service``; for `tenants`, of ``prv_recorder``.
            connections: Size of the pool.
            command_timeout: Seconds after which an unanswered statement counts as `StoreUnavailableError`.
        """
        name = "privacy-engine-analytics"
        pool = await open_pool(url, name, connections=connections, command_timeout=command_timeout)
        return cls(pool, command_timeout)

    async def close(self) -> None:
        """Closes the pool, waiting for statements under way."""
        await self._pool.close()

    @asynccontextmanager
    async def of(self, tenant_id: str) -> AsyncIterator[Snapshot]:
        """A tenant's ledger at one moment; no other tenant's rows are seen.

        Raises:
            StoreUnavailableError: If the ledger did not answer.
        """
        with translation():
            async with (
                self._pool.acquire(timeout=self._timeout) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                _, now = await connection.fetchrow(SQL["enter_tenant"], tenant_id)
                yield Snapshot(connection, tenant_id, now)

    async def now(self) -> datetime:
        """Database time in UTC.

        Raises:
            StoreUnavailableError: If the ledger did not answer.
        """
        with translation():
            moment: datetime = await self._pool.fetchval(SQL["clock"])
        return moment

    async def tenants(self, after: str, since: datetime, limit: int) -> list[TenantReading]:
        """Tenants whose name comes after that one, by name, at most `limit`. Takes a recorder's login.

        Args:
            after: A name; empty for the first ones.
            since: Beginning of the days that are looked at.
            limit: At least 1.

        Raises:
            StoreUnavailableError: If the ledger did not answer.
        """
        with translation():
            rows = await self._pool.fetch(SQL["tenants"], after, limit, since)
        return [
            TenantReading(
                entry_from_body(row["body"]),
                row["kept_at"],
                row["known_since"],
                None if row["before"] is None else entry_from_body(row["before"]),
            )
            for row in rows
        ]
