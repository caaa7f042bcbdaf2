"""How long releases are kept, and that the database itself sees to it: a year, seven for health data, legal holds."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio

from accounting.ledger.entry import Entry
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.policy import SetLegalHold, decide_legal_hold
from tests.ledgers import NOW, asked, opened, spent
from tests.support import new_name

YEAR = timedelta(days=366)
INSERT = "INSERT INTO prv_release (tenant_id, allocation_id, ciphertext, recorded_at) VALUES ($1, $2, 'sealed', $3)"
DELETE = "DELETE FROM prv_release WHERE tenant_id = $1"
COUNT = "SELECT count(*) FROM prv_release WHERE tenant_id = $1"


@pytest_asyncio.fixture
async def owner(admin_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the tables, a superuser, who may say when a row was recorded."""
    connection = await asyncpg.connect(admin_url)
    yield connection
    await connection.close()


@dataclass(frozen=True)
class Kept:
    """A tenant with one release."""

    tenant: str
    allocation: str
    head: Entry


async def released(
    store: PostgresLedgerStore, owner: asyncpg.Connection, engine: str | None, age: timedelta = timedelta(0)
) -> Kept:
    """A tenant of whom an engine released something that long ago."""
    tenant = new_name("tenant")
    first = opened(tenant)
    charged = spent(first, asked(tenant, "1", engine=engine))
    await store.append([first, charged])
    assert charged.allocation_id is not None
    await owner.execute(INSERT, tenant, charged.allocation_id, datetime.now(UTC) - age)
    return Kept(tenant, charged.allocation_id, charged)


@pytest.mark.parametrize(("engine", "years"), [("healthcare", 7), ("text", 1), (None, 1)])
async def test_a_release_is_kept_as_long_as_its_engine_demands(
    postgres: PostgresLedgerStore, owner: asyncpg.Connection, engine: str | None, years: int
) -> None:
    """The time is counted from when it was recorded, and the engine is read from the ledger entry that paid for it."""
    kept = await released(postgres, owner, engine)
    asked_for = "SELECT retain_until = recorded_at + make_interval(years => $2) FROM prv_release WHERE tenant_id = $1"
    assert await owner.fetchval(asked_for, kept.tenant, years)


@pytest.mark.parametrize(
    ("engine", "age"),
    [("healthcare", YEAR), ("healthcare", 7 * YEAR - timedelta(days=14)), ("text", timedelta(days=360))],
)
async def test_a_release_is_not_purged_before_its_time(
    postgres: PostgresLedgerStore, owner: asyncpg.Connection, engine: str, age: timedelta
) -> None:
    """Not even by the owner of the tables: for health data seven years, for other data one."""
    kept = await released(postgres, owner, engine, age)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="is kept until"):
        await owner.execute(DELETE, kept.tenant)
    assert await owner.fetchval(COUNT, kept.tenant) == 1


@pytest.mark.parametrize(("engine", "age"), [("healthcare", 7 * YEAR), ("text", YEAR)])
async def test_after_its_time_the_owner_may_purge_it_and_the_service_may_not(
    postgres: PostgresLedgerStore, owner: asyncpg.Connection, service_url: str, engine: str, age: timedelta
) -> None:
    """The service's login lacks the right to delete, whatever the age."""
    kept = await released(postgres, owner, engine, age)
    service = await asyncpg.connect(service_url)
    await service.execute("SELECT set_config('prv.tenants', $1::text[]::text, false)", [kept.tenant])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute(DELETE, kept.tenant)
    await service.close()
    assert await owner.execute(DELETE, kept.tenant) == "DELETE 1"


@pytest.mark.parametrize(
    "shortened",
    [
        "UPDATE prv_release SET retain_until = now() WHERE tenant_id = $1",
        "UPDATE prv_release SET recorded_at = recorded_at - interval '8 years' WHERE tenant_id = $1",
        "UPDATE prv_release SET source_engine = 'text' WHERE tenant_id = $1",
    ],
)
async def test_the_time_is_never_shortened(
    postgres: PostgresLedgerStore, owner: asyncpg.Connection, shortened: str
) -> None:
    """Neither the date nor what it follows from can be changed, not even by the owner."""
    kept = await released(postgres, owner, "healthcare")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await owner.execute(shortened, kept.tenant)


async def test_whoever_stores_a_release_cannot_say_how_long_it_is_kept(
    postgres: PostgresLedgerStore, owner: asyncpg.Connection, service_url: str
) -> None:
    """What the service's login writes into the columns is overwritten by what the ledger says."""
    tenant = new_name("tenant")
    first = opened(tenant)
    charged = spent(first, asked(tenant, "1", engine="healthcare"))
    await postgres.append([first, charged])
    service = await asyncpg.connect(service_url)
    await service.execute("SELECT set_config('prv.tenants', $1::text[]::text, false)", [tenant])
    await service.execute(
        "INSERT INTO prv_release (tenant_id, allocation_id, ciphertext, source_engine, retain_until) "
        "VALUES ($1, $2, 'sealed', 'text', now())",
        tenant,
        charged.allocation_id,
    )
    await service.close()
    row = await owner.fetchrow("SELECT source_engine, retain_until FROM prv_release WHERE tenant_id = $1", tenant)
    assert row["source_engine"] == "healthcare"
    assert row["retain_until"] > datetime.now(UTC) + 6 * YEAR


async def test_nothing_is_purged_under_a_legal_hold(postgres: PostgresLedgerStore, owner: asyncpg.Connection) -> None:
    """However old it is; once the hold is lifted, what is due may go."""
    kept = await released(postgres, owner, "text", 10 * YEAR)
    (locked,) = decide_legal_hold(kept.head, SetLegalHold(kept.tenant, True, "a lawsuit", "admin"), NOW).entries
    await postgres.append([locked])
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="legal hold"):
        await owner.execute(DELETE, kept.tenant)
    charged = spent(locked, asked(kept.tenant, "1"))
    await postgres.append([charged])
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="legal hold"):
        await owner.execute(DELETE, kept.tenant)
    (lifted,) = decide_legal_hold(charged, SetLegalHold(kept.tenant, False, "settled", "admin"), NOW).entries
    await postgres.append([lifted])
    assert await owner.execute(DELETE, kept.tenant) == "DELETE 1"


async def test_another_tenants_legal_hold_holds_nothing_of_this_one(
    postgres: PostgresLedgerStore, owner: asyncpg.Connection
) -> None:
    """One statement that purges for two tenants is refused for the held one, and both stay."""
    held, free = [await released(postgres, owner, "text", 10 * YEAR) for _ in range(2)]
    (locked,) = decide_legal_hold(held.head, SetLegalHold(held.tenant, True, "a lawsuit", "admin"), NOW).entries
    await postgres.append([locked])
    both = "DELETE FROM prv_release WHERE tenant_id = ANY ($1)"
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match=f"legal hold is in force for {held.tenant}"):
        await owner.execute(both, [free.tenant, held.tenant])
    assert await owner.fetchval(COUNT, free.tenant) == 1
    assert await owner.execute(DELETE, free.tenant) == "DELETE 1"


async def test_truncating_is_no_way_around(owner: asyncpg.Connection) -> None:
    """All releases at once are refused as well."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await owner.execute("TRUNCATE prv_release")


async def test_a_charge_whose_release_may_be_purged_gets_no_second_one(
    postgres: PostgresLedgerStore, owner: asyncpg.Connection
) -> None:
    """One charge pays for one draw of noise: a year after it no draw is stored for it any more."""
    tenant = new_name("tenant")
    first = opened(tenant)
    charged = spent(first, asked(tenant, "1"))
    await postgres.append([first])
    # As a charge of last year stands in the ledger: the owner may say when it was recorded.
    await owner.execute(
        "INSERT INTO prv_ledger (tenant_id, seq, kind, allocation_id, body, prev_hash, hash, recorded_at) "
        "VALUES ($1, 2, 'consumed', $2, $3, $4, $5, $6)",
        tenant,
        charged.allocation_id,
        charged.body,
        charged.prev_hash,
        charged.hash,
        datetime.now(UTC) - YEAR,
    )
    assert charged.allocation_id is not None
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="may have been purged"):
        await postgres.store_release(tenant, charged.allocation_id, b"sealed anew")
