"""Which version of the schema a database has, and which one this release needs."""

from collections.abc import Awaitable
from functools import cache
from pathlib import Path
from typing import Protocol

from accounting.ledger.connections import open_pool, translated
from accounting.storage.queries import queries

VERSIONS = Path(__file__).parent / "migrations" / "versions"


class _Pool(Protocol):
    def fetchval(self, query: str) -> Awaitable[str | None]: ...

    def close(self) -> Awaitable[None]: ...


@cache
def needed_version() -> str:
    """The last migration of this release. Migrations are named by their revisions, which only rise."""
    return max(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*.py"))


class SchemaVersion:
    """Asks a database for its version."""

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str, *, command_timeout: float = 10.0) -> "SchemaVersion":
        """Makes ready; connects when it is first asked."""
        return cls(await open_pool(url, "privacy-engine-health", connections=1, command_timeout=command_timeout))

    async def found(self) -> str | None:
        """The database's version; None where it has none.

        Raises:
            StoreUnavailableError: If it did not answer.
        """
        return await translated(self._pool.fetchval(queries("version")["version"]))

    async def close(self) -> None:
        """Closes the connection."""
        await self._pool.close()


def version_fault(found: str | None) -> str | None:
    """What is wrong with a database of that version, if anything is.

    A newer one is well: during an upgrade the new release migrates first, while this one still answers.
    """
    if found is None or found < needed_version():
        has = "none" if found is None else found
        return f"The schema has version {has} and this release needs {needed_version()}"
    return None
