"""Several ledgers as one: each call goes to the database that its tenant lives in."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Generic, TypeVar

from accounting.datasets import DatasetState
from accounting.ledger.entry import Entry
from accounting.ledger.homes import MAIN, Homes
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.postgres_analytics import PostgresAnalytics, Snapshot
from accounting.ledger.postgres_tasks import PostgresTasks
from accounting.ledger.readings import TenantReading
from accounting.ledger.store import Denial, StoreUnavailableError, Tail, Wanted
from accounting.ledger.tasks import StoredFile, StoredState, StoredTask

T = TypeVar("T")


class ByHome(Generic[T]):
    """The part of each database, and whose is where."""

    def __init__(self, parts: Mapping[str, T], homes: Homes | None) -> None:
        """Keeps both.

        Args:
            parts: By the database's name, of which the main one comes first.
            homes: Knows where tenants live; None where there is one database.
        """
        self.parts = parts
        self.homes = homes

    @property
    def main(self) -> T:
        """The main database's part."""
        return next(iter(self.parts.values()))

    async def of(self, tenant_id: str) -> T:
        """The part of the tenant's database, which is decided now if it was not. Raises as `Homes.of` does."""
        return self.main if self.homes is None else self.parts[await self.homes.of(tenant_id)]

    async def seen(self, tenant_id: str) -> T:
        """The part to look into: the tenant's, or the main one for a tenant that lives nowhere. Decides nothing."""
        name = None if self.homes is None else await self.homes.where(tenant_id)
        return self.main if name is None else self.parts[name]

    async def _shared(self, tenants: Sequence[str]) -> dict[str, list[str]]:
        """The tenants by the name of their database."""
        shared: dict[str, list[str]] = {}
        for tenant in tenants:
            home = MAIN if self.homes is None else await self.homes.of(tenant)
            shared.setdefault(home, []).append(tenant)
        return shared


class LedgersByHome(ByHome[PostgresLedgerStore]):
    """Ledgers, releases and plans of all databases. Each method is that of `PostgresLedgerStore`."""

    def now(self) -> datetime:
        """The main database's time, for what is no tenant's. What is decided is decided on the tenant's own."""
        return self.main.now()

    async def append(self, entries: Sequence[Entry]) -> None:
        """See `LedgerStore.append`. One write is one transaction, so all its tenants live in one database.

        Raises:
            ValueError: If they do not.
        """
        shared = await self._shared([entry.tenant_id for entry in entries])
        if len(shared) > 1:
            raise ValueError(f"one write to several databases: {', '.join(shared)}")
        for name in shared:
            await self.parts[name].append(entries)

    async def tails(self, wanted: Mapping[str, Wanted]) -> dict[str, Tail]:
        """See `LedgerStore.tails`. Of no tenants at all, each database is asked for a sign of life."""
        asked: dict[PostgresLedgerStore, dict[str, Wanted]] = (
            {} if wanted else {part: {} for part in self.parts.values()}
        )
        for tenant, what in wanted.items():
            asked.setdefault(await self.seen(tenant), {})[tenant] = what
        found = await asyncio.gather(*(part.tails(of_tenants) for part, of_tenants in asked.items()))
        return {tenant: tail for tails in found for tenant, tail in tails.items()}

    async def datasets(self, tenant_id: str) -> list[DatasetState]:
        """See `LedgerStore.datasets`."""
        return await (await self.seen(tenant_id)).datasets(tenant_id)

    async def record_denials(self, denials: Sequence[Denial]) -> None:
        """See `LedgerStore.record_denials`."""
        shared = await self._shared(list({denial.tenant_id for denial in denials}))
        for name, tenants in shared.items():
            await self.parts[name].record_denials([denial for denial in denials if denial.tenant_id in tenants])

    async def denials(self, tenant_id: str, limit: int = 1000) -> list[Denial]:
        """See `LedgerStore.denials`."""
        return await (await self.seen(tenant_id)).denials(tenant_id, limit)

    async def allocation(self, tenant_id: str, allocation_id: str) -> list[Entry]:
        """See `LedgerStore.allocation`."""
        return await (await self.seen(tenant_id)).allocation(tenant_id, allocation_id)

    async def job(self, tenant_id: str, job_id: str, limit: int = 1000) -> list[Entry]:
        """See `LedgerStore.job`."""
        return await (await self.seen(tenant_id)).job(tenant_id, job_id, limit)

    async def history(self, tenant_id: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        """See `LedgerStore.history`."""
        return await (await self.seen(tenant_id)).history(tenant_id, after, limit)

    async def store_release(self, tenant_id: str, allocation_id: str, ciphertext: bytes) -> bytes:
        """Keeps an encrypted release."""
        return await (await self.of(tenant_id)).store_release(tenant_id, allocation_id, ciphertext)

    async def release(self, tenant_id: str, allocation_id: str) -> bytes | None:
        """An allocation's stored release."""
        return await (await self.seen(tenant_id)).release(tenant_id, allocation_id)

    async def store_plan(self, tenant_id: str, plan_id: str, body: str) -> None:
        """Keeps a priced plan."""
        await (await self.of(tenant_id)).store_plan(tenant_id, plan_id, body)

    async def plan(self, tenant_id: str, plan_id: str) -> str | None:
        """A stored plan."""
        return await (await self.seen(tenant_id)).plan(tenant_id, plan_id)


class TasksByHome(ByHome[PostgresTasks]):
    """Tasks and files of all databases. Each method is that of `PostgresTasks`."""

    async def task(self, tenant_id: str, task_id: str) -> StoredTask | None:
        """A task of the tenant."""
        return await (await self.seen(tenant_id)).task(tenant_id, task_id)

    async def tasks(self, tenant_id: str, limit: int = 100) -> list[StoredTask]:
        """A tenant's tasks."""
        return await (await self.seen(tenant_id)).tasks(tenant_id, limit)

    async def states(self, tenant_id: str, task_id: str, after: int = 0, limit: int = 100) -> list[StoredState]:
        """A task's states."""
        return await (await self.seen(tenant_id)).states(tenant_id, task_id, after, limit)

    async def advance(self, tenant_id: str, task_id: str, number: int, state: str, *, over: bool) -> None:
        """Stores a task's next state."""
        await (await self.of(tenant_id)).advance(tenant_id, task_id, number, state, over=over)

    async def open_tasks(self, limit: int = 1_000) -> Sequence[tuple[str, str]]:
        """Tasks that are not over, of each database at most `limit`; those of one that is away wait for it.

        Raises:
            StoreUnavailableError: If none answered.
        """
        found: list[tuple[str, str]] = []
        away: list[StoreUnavailableError] = []
        for tasks in self.parts.values():
            try:
                found += await tasks.open_tasks(limit)
            except StoreUnavailableError as error:
                away.append(error)
        if len(away) == len(self.parts):
            raise away[0]
        return found

    async def add_file(self, tenant_id: str, dataset_id: str, body: str) -> int:
        """Stores what is known of a new file."""
        return await (await self.of(tenant_id)).add_file(tenant_id, dataset_id, body)

    async def file(self, tenant_id: str, dataset_id: str) -> StoredFile | None:
        """The newest file of a data set."""
        return await (await self.seen(tenant_id)).file(tenant_id, dataset_id)

    async def versions(self, tenant_id: str) -> list[StoredFile]:
        """Every file that the tenant ever stored."""
        return await (await self.seen(tenant_id)).versions(tenant_id)

    async def files(self, tenant_id: str) -> list[StoredFile]:
        """The newest file of each data set."""
        return await (await self.seen(tenant_id)).files(tenant_id)


class AnalyticsByHome:
    """Looking back on the ledgers of all databases. Each method is that of `PostgresAnalytics`."""

    def __init__(self, parts: Mapping[str, PostgresAnalytics], homes: Homes) -> None:
        self._at = ByHome(parts, homes)

    @asynccontextmanager
    async def of(self, tenant_id: str) -> AsyncIterator[Snapshot]:
        """A tenant's ledger at one moment."""
        part = await self._at.seen(tenant_id)
        async with part.of(tenant_id) as snapshot:
            yield snapshot

    async def now(self) -> datetime:
        """The main database's time."""
        return await self._at.main.now()

    async def tenants(self, after: str, since: datetime, limit: int) -> list[TenantReading]:
        """Tenants of all databases, by name."""
        found = await asyncio.gather(*(part.tenants(after, since, limit) for part in self._at.parts.values()))
        return sorted((one for tenants in found for one in tenants), key=lambda one: one.head.tenant_id)[:limit]


Ledgers = PostgresLedgerStore | LedgersByHome
"""The ledger as the apps know it: of one database, or of several."""
Tasks = PostgresTasks | TasksByHome
Analytics = PostgresAnalytics | AnalyticsByHome
