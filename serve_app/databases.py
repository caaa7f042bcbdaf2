"""What an app has open in the service's databases, for as long as it runs: of one, or of each of several."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from accounting.ledger.by_home import Analytics, AnalyticsByHome, ByHome, Ledgers, LedgersByHome, Tasks, TasksByHome
from accounting.ledger.homes import Homes
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.postgres_analytics import PostgresAnalytics
from accounting.ledger.postgres_homes import PostgresDirectory
from accounting.ledger.postgres_tasks import PostgresTasks
from accounting.storage.urls import DatabaseUrls

if TYPE_CHECKING:
    from serve_app.service import Service


class Closable(Protocol):
    """Something with connections."""

    async def close(self) -> None:
        """Closes them."""
        ...


T = TypeVar("T", bound=Closable)


@dataclass(frozen=True)
class Databases:
    """Ledgers that are open, and how to open more beside them.

    Attributes:
        ledgers: The ledger; where there are several databases, each tenant's in its own.
        homes: Where tenants live; None where there is one database.
    """

    ledgers: Ledgers
    homes: Homes | None
    _urls: dict[str, DatabaseUrls]
    _stack: AsyncExitStack

    async def each(self, open_one: Callable[[DatabaseUrls], Awaitable[T]]) -> dict[str, T]:
        """Something of each database, by its name; closed with the rest."""
        found = {}
        for name, urls in self._urls.items():
            found[name] = await open_one(urls)
            self._stack.push_async_callback(found[name].close)
        return found

    async def at_home(self, open_one: Callable[[DatabaseUrls], Awaitable[T]]) -> ByHome[T]:
        """Something of each database, to be found by a tenant's name."""
        return ByHome(await self.each(open_one), self.homes)

    async def tasks(self, connections: int = 4, *, everybodys: bool = False) -> Tasks:
        """Tasks and files, of one tenant at a time; those of all, with the recorder's login, to look for open ones."""
        parts = await self.each(
            lambda urls: PostgresTasks.open(urls.recorder if everybodys else urls.service, connections=connections)
        )
        return _only(parts) if self.homes is None else TasksByHome(parts, self.homes)

    async def analytics(self, connections: int = 2, *, everybodys: bool = False) -> Analytics:
        """Looking back, on one tenant at a time; on all, with the recorder's login."""
        parts = await self.each(
            lambda urls: PostgresAnalytics.open(urls.recorder if everybodys else urls.service, connections=connections)
        )
        return _only(parts) if self.homes is None else AnalyticsByHome(parts, self.homes)


@asynccontextmanager
async def open_databases(service: "Service", connections: int = 4) -> AsyncIterator[Databases]:
    """Opens the ledgers; nothing is connected before it is needed.

    Args:
        service: Whose.
        connections: To each ledger, at most.
    """
    async with AsyncExitStack() as stack:
        urls = service.urls
        stores = {}
        for name, addresses in urls.items():
            stores[name] = await PostgresLedgerStore.open(addresses.service, connections=connections)
            stack.push_async_callback(stores[name].close)
        if len(stores) == 1:
            yield Databases(_only(stores), None, urls, stack)
            return
        directory = await PostgresDirectory.open(service.database_url)
        stack.push_async_callback(directory.close)
        homes = Homes(directory, stores, service.settings.homes_for_new or list(stores))
        yield Databases(LedgersByHome(stores, homes), homes, urls, stack)


def _only(parts: dict[str, T]) -> T:
    (only,) = parts.values()
    return only
