"""Where tenants live, written down in the main database."""

import asyncpg

from accounting.ledger.connections import open_pool, translated
from accounting.storage.queries import queries

SQL = queries("homes")


class PostgresDirectory:
    """A `Directory` with the service's login."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str, *, connections: int = 2, command_timeout: float = 10.0) -> "PostgresDirectory":
        """Makes ready; connects when it is first used."""
        pool = await open_pool(url, "privacy-engine-homes", connections=connections, command_timeout=command_timeout)
        return cls(pool)

    async def close(self) -> None:
        """Closes the pool, waiting for statements under way."""
        await self._pool.close()

    async def home(self, tenant_id: str) -> str | None:
        """See `Directory.home`."""
        name: str | None = await translated(self._pool.fetchval(SQL["home"], tenant_id))
        return name

    async def settle(self, tenant_id: str, proposed: str) -> str:
        """See `Directory.settle`."""
        name: str = await translated(self._pool.fetchval(SQL["settle"], tenant_id, proposed))
        return name
