"""What the recorder reads in Postgres beside the log itself: one tenant's part of it, and what has fallen due."""

from datetime import UTC, datetime

from accounting.ledger.connections import translated
from accounting.ledger.due import Due, DuePage, Mark
from accounting.ledger.entry import entry_from_body
from accounting.ledger.log import Logged
from accounting.ledger.postgres_log import PostgresLog
from accounting.storage.queries import queries

SQL = queries("recorder")
LATEST = Mark(datetime(9999, 1, 1, tzinfo=UTC), "", 0)
"""After everything that falls due."""


class PostgresRecorder(PostgresLog):
    """The log, and `DueEntries`, with a recorder's login."""

    async def read_of(self, tenant_id: str, start: int, limit: int = 1_000) -> list[Logged]:
        """A tenant's entries at `start` and after, in order, at most `limit`. It reads that tenant's alone."""
        rows = await translated(self._pool.fetch(SQL["read_of"], tenant_id, start, limit))
        return [Logged(row["position"], entry_from_body(row["body"])) for row in rows]

    async def due(self, before: Mark | None, limit: int) -> DuePage:
        """See `DueEntries.due`. One look into an index for each entry that is looked at, however many have ended."""
        mark = before or LATEST
        rows = await translated(self._pool.fetch(SQL["due"], mark.due_at, mark.tenant_id, mark.seq, limit))
        looked_at = [row for row in rows if row["due_at"] is not None]
        last = looked_at[-1] if len(looked_at) == limit else None
        return DuePage(
            rows[0]["now"],
            [
                Due(row["tenant_id"], None if row["allocation_id"] is None else str(row["allocation_id"]))
                for row in looked_at
                if not row["ended"]
            ],
            None if last is None else Mark(last["due_at"], last["tenant_id"], last["seq"]),
        )
