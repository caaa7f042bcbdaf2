"""Tasks and files of rows in Postgres. A task itself is written with its hold, by `PostgresLedgerStore.append`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from accounting.ledger.connections import open_pool, translated, translation
from accounting.ledger.tasks import StoredFile, StoredState, StoredTask
from accounting.storage.queries import queries

SQL = queries("tasks")


class PostgresTasks:
    """Tasks of one tenant at a time, with the service's login; of all tenants with a recorder's, for reading."""

    def __init__(self, pool: asyncpg.Pool, command_timeout: float) -> None:
        self._pool = pool
        self._timeout = command_timeout

    @classmethod
    async def open(cls, url: str, *, connections: int = 4, command_timeout: float = 10.0) -> "PostgresTasks":
        """Makes ready; connects when it is first used."""
        pool = await open_pool(url, "privacy-engine-tasks", connections=connections, command_timeout=command_timeout)
        return cls(pool, command_timeout)

    async def close(self) -> None:
        """Closes the pool, waiting for statements under way."""
        await self._pool.close()

    async def task(self, tenant_id: str, task_id: str) -> StoredTask | None:
        """A task of the tenant, if it has one of that id (a UUID).

        Raises:
            StoreUnavailableError: If the database did not answer. So do all methods here.
        """
        async with self._tenant(tenant_id) as connection:
            row = await connection.fetchrow(SQL["task"], tenant_id, task_id)
        return None if row is None else _task(tenant_id, task_id, row)

    async def tasks(self, tenant_id: str, limit: int = 100) -> list[StoredTask]:
        """A tenant's tasks, the newest first, at most `limit`."""
        async with self._tenant(tenant_id) as connection:
            rows = await connection.fetch(SQL["tasks"], tenant_id, limit)
        return [_task(tenant_id, str(row["allocation_id"]), row) for row in rows]

    async def states(self, tenant_id: str, task_id: str, after: int = 0, limit: int = 100) -> list[StoredState]:
        """A task's states with a number greater than `after`, in order, at most `limit`."""
        async with self._tenant(tenant_id) as connection:
            rows = await connection.fetch(SQL["states"], tenant_id, task_id, after, limit)
        return [StoredState(row["number"], row["body"], row["recorded_at"]) for row in rows]

    async def advance(self, tenant_id: str, task_id: str, number: int, state: str, *, over: bool) -> None:
        """Stores a task's next state.

        Args:
            tenant_id: Whose.
            task_id: Which.
            number: One more than the last.
            state: JSON.
            over: Whether nothing follows.

        Raises:
            ConflictError: If somebody else has stored a state of that number: read and decide again.
        """
        async with self._tenant(tenant_id) as connection:
            await connection.execute(SQL["advance"], tenant_id, task_id, number, over, state)

    async def open_tasks(self, limit: int = 1_000) -> Sequence[tuple[str, str]]:
        """Tenant and id of tasks that are not over, in all tenants, oldest first. Needs a recorder's login."""
        rows = await translated(self._pool.fetch(SQL["open"], limit))
        return [(row["tenant_id"], str(row["allocation_id"])) for row in rows]

    async def add_file(self, tenant_id: str, dataset_id: str, body: str) -> int:
        """Stores what is known of a new file of a data set.

        Returns:
            Its version, from 1.

        Raises:
            ConflictError: If another version is being stored.
        """
        async with self._tenant(tenant_id) as connection:
            version: int = await connection.fetchval(SQL["add_file"], tenant_id, dataset_id, body)
            return version

    async def file(self, tenant_id: str, dataset_id: str) -> StoredFile | None:
        """The newest file of a data set, if there is one."""
        async with self._tenant(tenant_id) as connection:
            row = await connection.fetchrow(SQL["file"], tenant_id, dataset_id)
        return None if row is None else StoredFile(dataset_id, row["version"], row["body"])

    async def versions(self, tenant_id: str) -> list[StoredFile]:
        """Every file of rows that the tenant ever stored, in no order."""
        async with self._tenant(tenant_id) as connection:
            rows = await connection.fetch(SQL["versions"], tenant_id)
        return [StoredFile(row["dataset_id"], row["version"], row["body"]) for row in rows]

    async def files(self, tenant_id: str) -> list[StoredFile]:
        """The newest file of each data set, by name."""
        async with self._tenant(tenant_id) as connection:
            rows = await connection.fetch(SQL["files"], tenant_id)
        return [StoredFile(row["dataset_id"], row["version"], row["body"]) for row in rows]

    @asynccontextmanager
    async def _tenant(self, tenant_id: str) -> AsyncIterator[asyncpg.Connection]:
        """A transaction that sees this tenant's rows and no others."""
        with translation():
            async with self._pool.acquire(timeout=self._timeout) as connection, connection.transaction():
                await connection.execute(SQL["enter_tenant"], tenant_id)
                yield connection


def _task(tenant_id: str, task_id: str, row: asyncpg.Record) -> StoredTask:
    return StoredTask(
        tenant_id=tenant_id,
        task_id=task_id,
        body=row["body"],
        number=row["number"] or 0,
        state=row["state"],
        created_at=row["recorded_at"],
        changed_at=row["state_at"] or row["recorded_at"],
    )
