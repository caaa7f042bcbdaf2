"""The audit log in Postgres: added to and read, never changed."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import asyncpg

from accounting.ledger.audited import AuditRecord, Deed
from accounting.ledger.connections import open_pool, translated, translation
from accounting.storage.queries import queries

SQL = queries("audit")
LATEST = 2**63 - 1
"""Above every id."""


class PostgresAudit:
    """Writes with the service's login, and reads one tenant's rows; with a recorder's login reads all of them."""

    def __init__(self, pool: asyncpg.Pool, command_timeout: float) -> None:
        self._pool = pool
        self._timeout = command_timeout

    @classmethod
    async def open(cls, url: str, *, connections: int = 1, command_timeout: float = 10.0) -> "PostgresAudit":
        """Makes ready; connects when it is first used."""
        pool = await open_pool(url, "privacy-engine-audit", connections=connections, command_timeout=command_timeout)
        return cls(pool, command_timeout)

    async def close(self) -> None:
        """Closes the pool, waiting for statements under way."""
        await self._pool.close()

    async def add(self, records: Sequence[AuditRecord]) -> None:
        """Stores records, all or none.

        Raises:
            StoreUnavailableError: If the database did not answer. So do all methods here.
        """
        tenants = list({record.deed.tenant_id for record in records})
        await translated(self._pool.execute(SQL["add"], tenants, [_text(record) for record in records]))

    async def latest(self, tenant_id: str, before: int = LATEST, limit: int = 100) -> list[AuditRecord]:
        """A tenant's rows with an id less than `before`, the newest first, at most `limit`."""
        with translation():
            async with self._pool.acquire(timeout=self._timeout) as connection, connection.transaction():
                await connection.execute(SQL["enter_tenant"], tenant_id)
                return [_record(row) for row in await connection.fetch(SQL["latest"], tenant_id, before, limit)]

    async def latest_of_all(self, before: int = LATEST, limit: int = 100) -> list[AuditRecord]:
        """Everybody's rows, likewise. Needs a recorder's login."""
        rows = await translated(self._pool.fetch(SQL["latest_of_all"], before, limit))
        return [_record(row) for row in rows]


def _text(record: AuditRecord) -> str:
    return json.dumps({**asdict(record.deed), "request_id": record.request_id, "count": record.count})


def _record(row: asyncpg.Record) -> AuditRecord:
    deed = Deed(row["tenant_id"], row["actor"], row["action"], row["target"], row["outcome"], row["status"])
    return AuditRecord(deed, row["request_id"], row["count"], row["id"], row["at"])
