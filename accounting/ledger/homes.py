"""Which of several databases a tenant lives in: decided once, for good.

A tenant that were looked for in the wrong database would be found without a history, and could spend its whole budget
again. So where it lives is never computed from a setting, which may change: it is written down in the main database
before its first entry is written anywhere, under a key that only one decision can have. And before it is written down,
every database is asked whether it has the tenant already; one that cannot be asked decides nothing.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Protocol

from accounting.ledger.store import LedgerStore, StoreUnavailableError, Wanted

MAIN = "main"
"""The database that knows where every tenant lives; the only one where there is no other."""
REMEMBERED = 200_000


class HomeError(StoreUnavailableError):
    """Nobody knows for certain where the tenant lives, so nothing is decided or told of it."""


class Directory(Protocol):
    """Where tenants live, as it is written down."""

    async def home(self, tenant_id: str) -> str | None:
        """The name of the tenant's database; None where nothing is written down.

        Raises:
            StoreUnavailableError: If the directory did not answer.
        """
        ...

    async def settle(self, tenant_id: str, proposed: str) -> str:
        """Writes down where a tenant lives, unless that is written down already.

        Returns:
            What is written down now: the first proposal there ever was.

        Raises:
            StoreUnavailableError: If the directory did not answer.
        """
        ...


class Database(LedgerStore, Protocol):
    """A ledger in a database that knows its own name."""

    async def database_name(self) -> str:
        """The name that the database was given when it was first prepared.

        Raises:
            StoreUnavailableError: If it did not answer.
        """
        ...


def proposed_home(tenant_id: str, names: Sequence[str]) -> str:
    """Where a tenant that lives nowhere yet shall live: evenly, and the same whoever asks.

    By the highest random weight (Thaler & Ravishankar 1998), so that another name draws tenants from all the others
    alike.

    Args:
        tenant_id: Of whom.
        names: Of the databases that take new tenants; at least one.
    """
    return max(names, key=lambda name: sha256(f"{name}\0{tenant_id}".encode()).digest())


class Homes:
    """Knows where tenants live, and remembers it: what was written down never changes."""

    def __init__(self, directory: Directory, databases: Mapping[str, Database], for_new: Sequence[str]) -> None:
        """Asks nobody yet.

        Args:
            directory: In the main database.
            databases: All there are, by name.
            for_new: Names of those that take new tenants; at least one.

        Raises:
            ValueError: If one of the names is that of no database, or there is none.
        """
        unknown = sorted(set(for_new) - databases.keys())
        if unknown or not for_new:
            raise ValueError(f"databases for new tenants: {', '.join(unknown) or 'none'}, of {', '.join(databases)}")
        self._directory = directory
        self._databases = databases
        self._for_new = tuple(for_new)
        self._known: OrderedDict[str, str] = OrderedDict()
        self._asking: dict[str, asyncio.Future[str]] = {}
        self._named_rightly: set[str] = set()

    def known(self, tenant_id: str) -> str | None:
        """Where the tenant lives, if that was asked before."""
        return self._known.get(tenant_id)

    async def of(self, tenant_id: str) -> str:
        """The name of the database that the tenant lives in; one that lives nowhere yet is given a home.

        Raises:
            HomeError: If the tenant lives in a database that is not among these, in two of them, or in one that says it
                is another.
            StoreUnavailableError: If a database that has to be asked did not answer.
        """
        name = self._known.get(tenant_id)
        if name is not None:
            return name
        asking = self._asking.get(tenant_id)
        if asking is None:
            # Asked once for all who wait, who then go on in the order in which they came.
            asking = self._asking[tenant_id] = asyncio.ensure_future(self._decided(tenant_id))
            asking.add_done_callback(lambda _: self._asking.pop(tenant_id))
        return await asyncio.shield(asking)

    async def where(self, tenant_id: str) -> str | None:
        """Where the tenant lives, for whoever only looks: nothing is written down. None if it lives nowhere yet.

        Raises:
            HomeError: As `of` does.
            StoreUnavailableError: Likewise.
        """
        name = self._known.get(tenant_id) or await self._directory.home(tenant_id)
        if name is None:
            return await self._with_entries(tenant_id)
        await self._check(name)
        return self._remembered(tenant_id, name)

    async def _decided(self, tenant_id: str) -> str:
        name = await self._directory.home(tenant_id)
        if name is None:
            found = await self._with_entries(tenant_id)
            name = await self._directory.settle(tenant_id, found or proposed_home(tenant_id, self._for_new))
        await self._check(name)
        return self._remembered(tenant_id, name)

    def _remembered(self, tenant_id: str, name: str) -> str:
        self._known[tenant_id] = name
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return name

    async def _with_entries(self, tenant_id: str) -> str | None:
        """The database that has entries of the tenant; None if none has. Every one is asked."""
        found = []
        for name, database in self._databases.items():
            await self._check(name)
            if (await database.tails({tenant_id: Wanted()}))[tenant_id].head is not None:
                found.append(name)
        if len(found) > 1:
            raise HomeError(f"{tenant_id} has entries in more than one database: {', '.join(found)}")
        return found[0] if found else None

    async def _check(self, name: str) -> None:
        """Makes sure that the database under that name is the one of that name: addresses can be mixed up."""
        if name in self._named_rightly:
            return
        database = self._databases.get(name)
        if database is None:
            raise HomeError(f"database {name} is not among those that this service was given")
        says = await database.database_name()
        if says != name:
            raise HomeError(f"what was given as database {name} says that it is {says}")
        self._named_rightly.add(name)
