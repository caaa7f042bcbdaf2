"""Databases of a test's own, on the Postgres that all tests share: fresh ones, copies, and how to reach them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.postgres_log import PostgresLog
from accounting.storage.migrate import Role, ensure_service_login, migrate
from accounting.storage.urls import DatabaseUrls
from tests.support import new_name

PASSWORD = "onlyForTests1"


@dataclass(frozen=True)
class Database:
    """A database with the ledger's schema.

    Attributes:
        admin_url: Of its owner, a superuser.
        urls: With the service's and the recorder's logins.
    """

    admin_url: str
    urls: DatabaseUrls

    @property
    def name(self) -> str:
        """Its name in its cluster."""
        return urlsplit(self.admin_url).path[1:]

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[PostgresLedgerStore, PostgresLog]]:
        """Its ledger and its log, for as long as the context lasts."""
        store = await PostgresLedgerStore.open(self.urls.service)
        log = await PostgresLog.open(self.urls.recorder)
        try:
            yield store, log
        finally:
            await log.close()
            await store.close()


async def new_database(admin_url: str, template: Database | None = None) -> Database:
    """A fresh database in the same cluster, or a copy of one that nobody is connected to."""
    name = new_name("ledger").replace("-", "_")
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template.name if template else 'template0'}")
    finally:
        await admin.close()
    return await prepared(urlunsplit(urlsplit(admin_url)._replace(path=f"/{name}")))


async def prepared(admin_url: str) -> Database:
    """A database brought to the schema of this release, as at every start of the service."""
    await migrate(admin_url)
    service = await ensure_service_login(admin_url, "prv_copies", PASSWORD, Role.SERVICE)
    recorder = await ensure_service_login(admin_url, "prv_copies_recorder", PASSWORD, Role.RECORDER)
    return Database(admin_url, DatabaseUrls(service, recorder))
