"""The ledger in Postgres. Every guarantee it gives is enforced by the database; this module only speaks to it."""

import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from accounting.datasets import DatasetState
from accounting.ledger.canonical import canonical_json
from accounting.ledger.entry import Entry, entry_from_body
from accounting.ledger.state import dataset_of
from accounting.ledger.store import ConflictError, Denial, StoreUnavailableError, Tail, Wanted
from accounting.storage.queries import queries

SQL = queries("ledger")
T = TypeVar("T")


class PostgresLedgerStore:
    """A `LedgerStore` on a pool of connections that log in as the service's own, powerless role."""

    def __init__(self, pool: asyncpg.Pool, command_timeout: float) -> None:
        self._pool = pool
        self._timeout = command_timeout
        self._clock: tuple[datetime, float] | None = None

    @classmethod
    async def open(cls, url: str, *, connections: int = 4, command_timeout: float = 10.0) -> "PostgresLedgerStore":
        """Connects.

        Args:
            url: A Postgres URL of a member of ``prv_service``.
            connections: Size of the pool.
            command_timeout: Seconds after which an unanswered statement counts as `StoreUnavailableError`.

        Raises:
            StoreUnavailableError: If the database cannot be reached.
        """
        pool = await _translated(
            asyncpg.create_pool(
                url,
                min_size=1,
                max_size=connections,
                command_timeout=command_timeout,
                reset=_leave_clean,
                # A write is acknowledged when it is on disk, whatever the server's default says.
                server_settings={"synchronous_commit": "on", "application_name": "privacy-engine", "jit": "off"},
            )
        )
        store = cls(pool, command_timeout)
        await store.tails({})
        async with store._tenant(""):
            pass
        return store

    async def close(self) -> None:
        """Closes the pool, waiting for statements under way."""
        await self._pool.close()

    def now(self) -> datetime:
        """Database time. See `LedgerStore.now`."""
        if self._clock is None:
            raise StoreUnavailableError("the database's clock has not been read yet")
        sampled, at = self._clock
        return sampled + timedelta(seconds=time.monotonic() - at)

    async def append(self, entries: Sequence[Entry]) -> None:
        """One statement, one transaction, one round trip. See `LedgerStore.append`."""
        # In one order for everybody: two writers that met in opposite orders would wait for each other.
        ordered = sorted(entries, key=lambda entry: entry.tenant_id)
        tenants = list({entry.tenant_id for entry in ordered})
        bodies = [entry.body for entry in ordered]
        self._set_clock(await _translated(self._pool.fetchval(SQL["append"], tenants, bodies)))

    async def tails(self, wanted: Mapping[str, Wanted]) -> dict[str, Tail]:
        """One statement for all tenants, keys and data sets. See `LedgerStore.tails`."""
        keys = [(tenant, key) for tenant, asked in wanted.items() for key in asked.keys]
        datasets = [(tenant, name) for tenant, asked in wanted.items() for name in asked.datasets]
        rows = await _translated(
            self._pool.fetch(
                SQL["tails"],
                list(wanted),
                [tenant for tenant, _ in keys],
                [key for _, key in keys],
                [tenant for tenant, _ in datasets],
                [name for _, name in datasets],
            )
        )
        heads: dict[str, Entry] = {}
        found: dict[str, dict[str, Entry]] = {tenant: {} for tenant in wanted}
        parts: dict[tuple[str, str], list[Entry]] = {asked: [] for asked in datasets}
        for tenant, key, dataset, body, read_at in rows:
            self._set_clock(read_at)
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
        await _translated(self._pool.execute(SQL["deny"], tenants, [_denial_text(denial) for denial in denials]))

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

    async def _entries(self, tenant_id: str, query: str, *arguments: Any) -> list[Entry]:  # noqa: ANN401
        async with self._tenant(tenant_id) as connection:
            rows = await connection.fetch(SQL[query], tenant_id, *arguments)
        return [entry_from_body(row["body"]) for row in rows]

    @asynccontextmanager
    async def _tenant(self, tenant_id: str) -> AsyncIterator[asyncpg.Connection]:
        """A transaction that sees this tenant's rows and no others."""
        # What the driver does by itself can fail as well: begin, commit, hand back.
        with _translation():
            async with self._pool.acquire(timeout=self._timeout) as connection, connection.transaction():
                row = await connection.fetchrow(SQL["enter_tenant"], [tenant_id])
                self._set_clock(row[1])
                yield connection

    def _set_clock(self, read: datetime) -> None:
        self._clock = (read.astimezone(UTC), time.monotonic())


def _denial_text(denial: Denial) -> str:
    told = {**asdict(denial), "epsilon": str(denial.epsilon), "delta": str(denial.delta)}
    # When it happened is the database's to say.
    del told["at"]
    return canonical_json(told)


async def _leave_clean(connection: asyncpg.Connection) -> None:
    """What a connection needs before its next use. The driver's own reset would cost a second trip for every write.

    No statement of ours leaves anything behind but, if it broke off, an open transaction: settings end with theirs, and
    there are no cursors, listeners or session locks.
    """
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


async def _translated(awaitable: Awaitable[T]) -> T:
    """The awaited value, or one of the store's two errors."""
    with _translation():
        return await awaitable


@contextmanager
def _translation() -> Iterator[None]:
    """Turns the driver's errors into the store's two."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise ConflictError(f"{error.constraint_name}: {error}") from error
    except asyncpg.TransactionRollbackError as error:
        # A deadlock or a serialization failure: Postgres undid the whole transaction for the sake of another one.
        raise ConflictError(str(error)) from error
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise StoreUnavailableError(str(error) or type(error).__name__) from error
    except (
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        # What the driver says of a connection that broke while it was being handed back.
        asyncpg.InternalClientError,
    ) as error:
        raise StoreUnavailableError(str(error)) from error
