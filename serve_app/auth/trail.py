"""The way of deeds into the audit log: gathered for a moment, equal ones folded into one, written in the background.

No answer waits for it but those of administrators' changes. What is gathered is bounded: whoever floods the service
fills neither this process' memory nor the table. What could not be kept is counted and logged. A process that is killed
loses what it has gathered in the last moment; what it changed is in the ledger, with the name of who did it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import structlog

from accounting.ledger.audited import AuditRecord, Deed
from accounting.ledger.postgres_audit import PostgresAudit
from accounting.ledger.store import StoreUnavailableError
from serve_app.observing import catalogue
from serve_app.observing.process import count

log = structlog.get_logger()

MOMENT_SECONDS = 1.0
MAX_GATHERED = 10_000
MAX_OF_TENANT = 200
"""Different deeds of one tenant in a moment. Further ones are kept without their target, so that they fold."""
WRITTEN_AT_ONCE = 1_000


class Gathered:
    """Deeds that are not stored yet. Equal ones are one record with a count."""

    def __init__(self) -> None:
        self._records: dict[Deed, AuditRecord] = {}
        self._of_tenant: dict[str, int] = {}
        self.lost = 0

    def __bool__(self) -> bool:
        return bool(self._records)

    def add(self, record: AuditRecord) -> None:
        """Adds a record, or counts it as lost where there are too many."""
        deed = record.deed
        if deed not in self._records and self._of_tenant.get(deed.tenant_id, 0) >= MAX_OF_TENANT:
            deed = replace(deed, target=None)
        known = self._records.get(deed)
        if known is not None:
            self._records[deed] = replace(known, count=known.count + record.count)
        elif len(self._records) >= MAX_GATHERED:
            self.lost += record.count
        else:
            self._records[deed] = replace(record, deed=deed)
            self._of_tenant[deed.tenant_id] = self._of_tenant.get(deed.tenant_id, 0) + 1

    def taken(self) -> list[AuditRecord]:
        """All records, in the order in which they came first; none are left."""
        records = list(self._records.values())
        self._records.clear()
        self._of_tenant.clear()
        return records


@dataclass(frozen=True, slots=True)
class TrailHealth:
    """What became of deeds.

    Attributes:
        written: Rows.
        lost: Deeds that could not be kept.
    """

    written: int
    lost: int


class Trail:
    """The audit log as a process writes it."""

    def __init__(self, url: str) -> None:
        """Makes ready; nothing is written before `running`.

        Args:
            url: Postgres, as the service's own role.
        """
        self._url = url
        self._gathered = Gathered()
        self._store: PostgresAudit | None = None
        self._some = asyncio.Event()
        self._closing = asyncio.Event()
        self._written = 0
        self._told_lost = 0

    @property
    def health(self) -> TrailHealth:
        """What became of deeds so far, in this process."""
        return TrailHealth(self._written, self._gathered.lost)

    def add(self, deed: Deed, request_id: str | None) -> None:
        """Takes a deed to be written in a moment. Cheap, and never fails."""
        self._gathered.add(AuditRecord(deed, request_id, 1))
        self._some.set()

    async def write(self, deed: Deed, request_id: str | None) -> None:
        """Writes a deed now; if that fails, it is tried again in the background."""
        record = AuditRecord(deed, request_id, 1)
        if not await self._stored([record]):
            self._gathered.add(record)
            self._some.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes what is gathered, for as long as the block lasts, and what is left at its end."""
        self._store = await PostgresAudit.open(self._url)
        self._closing.clear()
        writing = asyncio.create_task(self._keep_writing(), name="audit trail")
        try:
            yield
        finally:
            # It is not cancelled: what it is writing would be lost.
            self._closing.set()
            self._some.set()
            await writing
            await self._store.close()
            self._store = None

    async def _keep_writing(self) -> None:
        while True:
            await self._some.wait()
            # A moment, in which equal ones fold.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), MOMENT_SECONDS)
            self._some.clear()
            await self._write_gathered()
            if self._closing.is_set():
                return
            if self._gathered:
                self._some.set()

    async def _write_gathered(self) -> None:
        records = self._gathered.taken()
        for at in range(0, len(records), WRITTEN_AT_ONCE):
            part = records[at : at + WRITTEN_AT_ONCE]
            if not await self._stored(part):
                self._put_back(records[at:])
                break
        if self._gathered.lost > self._told_lost:
            lost = self._gathered.lost - self._told_lost
            log.error("audit_records_lost", count=lost)
            count(catalogue.AUDIT_DROPPED, by=lost)
            self._told_lost = self._gathered.lost

    def _put_back(self, records: Iterable[AuditRecord]) -> None:
        for record in records:
            self._gathered.add(record)

    async def _stored(self, records: list[AuditRecord]) -> bool:
        if self._store is None:
            return False
        try:
            await self._store.add(records)
        except StoreUnavailableError as error:
            log.warning("audit_log_unavailable", records=len(records), error=str(error))
            return False
        except Exception:
            # A row that the database refuses is a fault of ours; the others must not wait for it for ever.
            log.exception("audit_records_refused", records=len(records))
            self._gathered.lost += sum(record.count for record in records)
            return True
        self._written += len(records)
        return True
