"""What a proof takes in Postgres beside a job's own entries: data sets' registrations, and places in the log."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from accounting.ledger.connections import translation
from accounting.ledger.entry import Entry, entry_from_body
from accounting.ledger.postgres_log import PostgresLog
from accounting.storage.queries import queries

SQL = queries("proofs")


class PostgresProofReader(PostgresLog):
    """The log as a service's login sees it: its tree and its heads, and of entries one tenant's at a time."""

    async def registrations(self, tenant_id: str, charges: Sequence[Entry]) -> list[Entry]:
        """The registrations that were in force when data sets were charged, oldest first, each once.

        Args:
            tenant_id: Whose.
            charges: That tenant's entries that touch data sets; others among them are passed over.

        Raises:
            StoreUnavailableError: If the ledger did not answer.
        """
        touched = [(entry.dataset.dataset_id, entry.seq) for entry in charges if entry.dataset is not None]
        if not touched:
            return []
        names, seqs = zip(*touched, strict=True)
        async with self._tenant(tenant_id) as connection:
            rows = await connection.fetch(SQL["registrations"], tenant_id, list(names), list(seqs))
        return [entry_from_body(row["body"]) for row in rows]

    async def positions(self, tenant_id: str, seqs: Sequence[int]) -> dict[int, int]:
        """Where a tenant's entries stand in the log; what it has not taken up is left out.

        Raises:
            StoreUnavailableError: If the log did not answer.
        """
        async with self._tenant(tenant_id) as connection:
            rows = await connection.fetch(SQL["positions"], tenant_id, list(seqs))
        return {row["seq"]: row["position"] for row in rows}

    @asynccontextmanager
    async def _tenant(self, tenant_id: str) -> AsyncIterator[asyncpg.Connection]:
        """A transaction that sees this tenant's rows and no others."""
        with translation():
            async with self._pool.acquire(timeout=self._timeout) as connection, connection.transaction():
                await connection.execute(SQL["enter_tenant"], tenant_id)
                yield connection
