"""What the database itself refuses about where tenants live, whatever a service believes."""

import asyncio

import asyncpg
import pytest

from accounting.ledger.postgres_homes import PostgresDirectory
from accounting.ledger.store import ConflictError
from accounting.storage.migrate import WrongDatabaseError, name_database
from tests.databases import Database, new_database
from tests.ledgers import asked, opened, spent
from tests.support import new_name


@pytest.fixture
async def database(admin_url: str) -> Database:
    """A database of this test's own."""
    return await new_database(admin_url)


async def test_who_was_sent_elsewhere_cannot_begin_here(database: Database) -> None:
    """Not even for a service that knows of no other database; the tenant's first entry is refused."""
    directory = await PostgresDirectory.open(database.urls.service)
    await directory.settle("acme", "east")
    async with database.opened() as (store, _):
        with pytest.raises(ConflictError, match="acme lives in database east, and this is main"):
            await store.append([opened("acme")])
        assert await store.history("acme") == []
    await directory.close()


async def test_who_begins_here_lives_here(database: Database) -> None:
    """The first entry writes the home down with it; who would send the tenant elsewhere learns of it."""
    directory = await PostgresDirectory.open(database.urls.service)
    async with database.opened() as (store, _):
        first = opened("acme")
        await store.append([first, spent(first, asked("acme", "1"))])
        assert await directory.home("acme") == "main"
        assert await directory.settle("acme", "east") == "main"
    await directory.close()


async def test_of_sending_away_and_beginning_at_once_one_happens(database: Database) -> None:
    """Whoever wins, the tenant has entries here exactly if its home is here."""
    directory = await PostgresDirectory.open(database.urls.service, connections=4)
    async with database.opened() as (store, _):
        for number in range(20):
            tenant = f"tenant-{number}"
            home, written = await asyncio.gather(
                directory.settle(tenant, "east"), store.append([opened(tenant)]), return_exceptions=True
            )
            assert (home == "main") == (written is None)
            assert isinstance(written, ConflictError) == (home == "east")
            assert len(await store.history(tenant)) == (home == "main")
    await directory.close()


async def test_a_database_keeps_its_name(database: Database) -> None:
    """Addresses that changed places are found out, and the name cannot be changed behind the service's back."""
    await name_database(database.admin_url, "east")
    await name_database(database.admin_url, "east")
    with pytest.raises(WrongDatabaseError, match="address of database west leads to database east"):
        await name_database(database.admin_url, "west")
    admin = await asyncpg.connect(database.admin_url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await admin.execute("UPDATE prv_database SET name = 'west'")
    await admin.close()


async def test_a_database_with_entries_and_no_name_is_the_main_one(database: Database) -> None:
    """It was the only one once, so it cannot be given as another."""
    async with database.opened() as (store, _):
        await store.append([opened(new_name("tenant"))])
    with pytest.raises(WrongDatabaseError, match="leads to database main"):
        await name_database(database.admin_url, "east")
    await name_database(database.admin_url, "main")


@pytest.mark.parametrize(
    "statement", ["UPDATE prv_home SET database = 'west'", "DELETE FROM prv_home", "TRUNCATE prv_home"]
)
async def test_a_home_is_for_good(database: Database, statement: str) -> None:
    """Also for the database's owner."""
    directory = await PostgresDirectory.open(database.urls.service)
    await directory.settle("acme", "east")
    await directory.close()
    admin = await asyncpg.connect(database.admin_url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await admin.execute(statement)
    await admin.close()


async def test_a_tenant_sees_no_other_tenants_home(database: Database) -> None:
    """Names of tenants are nobody else's business."""
    directory = await PostgresDirectory.open(database.urls.service)
    await directory.settle("acme", "east")
    await directory.close()
    service = await asyncpg.connect(database.urls.service)
    await service.execute("SELECT set_config('prv.tenants', '{other}', false)")
    assert await service.fetchval("SELECT count(*) FROM prv_home") == 0
    await service.close()
