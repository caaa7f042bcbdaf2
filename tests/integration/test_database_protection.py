"""The database itself refuses what would break the ledger, whoever asks and however."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import asyncpg
import pytest
import pytest_asyncio

from accounting.ledger.entry import Entry
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.store import Denial
from accounting.storage.migrate import (
    UnsafeRoleError,
    check_service_role,
    ensure_service_login,
    migrate,
)
from tests.ledgers import asked, opened, spent
from tests.support import new_name

TABLES = ["prv_ledger", "prv_release", "prv_plan", "prv_denial"]
PURGEABLE = "prv_release"
"""Whose rows the owner of the tables may delete one day: `test_retention`."""
ALLOCATION = "00000000-0000-8000-8000-000000000001"
INSERT = """
    INSERT INTO prv_ledger (tenant_id, seq, kind, body, prev_hash, hash)
    VALUES ($1, $2, 'budget_set', $3, $4, coalesce($5, sha256(convert_to($3, 'UTF8'))))
"""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of one's own."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest_asyncio.fixture
async def service(service_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The service's own login, past all of our code."""
    async with connected(service_url) as connection:
        yield connection


@pytest_asyncio.fixture
async def admin(admin_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the tables, a superuser."""
    async with connected(admin_url) as connection:
        yield connection


@pytest_asyncio.fixture
async def entries(postgres: PostgresLedgerStore) -> list[Entry]:
    """A tenant's history, with a release, a plan and a refusal beside it."""
    tenant = new_name("tenant")
    first = opened(tenant)
    history = [first, spent(first, asked(tenant, "1"))]
    await postgres.append(history)
    await postgres.store_release(tenant, ALLOCATION, b"sealed")
    await postgres.store_plan(tenant, ALLOCATION, "{}")
    await postgres.record_denials([refused_request(tenant)])
    return history


def refused_request(tenant: str) -> Denial:
    """A refusal of something."""
    return Denial(
        tenant, 2, "budget_exhausted", "job", None, "engine", "key", Decimal(11), Decimal(0), "tenant lifetime"
    )


async def enter(connection: asyncpg.Connection, tenant: str) -> None:
    """Gives the connection the scope of that tenant, as the service would."""
    await connection.execute("SELECT set_config('prv.tenants', $1::text[]::text, false)", [tenant])


async def refused(statement: Awaitable[object]) -> None:
    """The database refuses the statement for want of privilege."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await statement


Change = Callable[[str], str]
CHANGES: list[Change] = [
    lambda table: f"UPDATE {table} SET recorded_at = now()",
    lambda table: f"DELETE FROM {table}",
    lambda table: f"TRUNCATE {table}",
]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", CHANGES, ids=["update", "delete", "truncate"])
async def test_the_service_cannot_change_or_remove_a_row(
    service: asyncpg.Connection, entries: list[Entry], table: str, change: Change
) -> None:
    """The service's login lacks the right to change even the rows that it sees."""
    await enter(service, entries[0].tenant_id)
    assert await service.fetchval(f"SELECT count(*) FROM {table}") > 0
    await refused(service.execute(change(table)))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", CHANGES, ids=["update", "delete", "truncate"])
@pytest.mark.usefixtures("entries")
async def test_not_even_the_owner_changes_or_removes_a_row(
    admin: asyncpg.Connection, table: str, change: Change
) -> None:
    """Triggers keep the tables append-only even for the superuser, whom no missing right stops."""
    early_purge = table == PURGEABLE and change(table).startswith("DELETE")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="is kept until" if early_purge else "append-only"):
        await admin.execute(change(table))


@pytest.mark.parametrize("table", TABLES)
async def test_without_a_scope_no_row_is_seen(service: asyncpg.Connection, entries: list[Entry], table: str) -> None:
    """Rows show only under their own tenant's scope; with none, or another's, there are none."""
    assert await service.fetchval(f"SELECT count(*) FROM {table}") == 0
    await enter(service, new_name("tenant"))
    assert await service.fetchval(f"SELECT count(*) FROM {table}") == 0
    await enter(service, entries[0].tenant_id)
    assert set(await service.fetch(f"SELECT DISTINCT tenant_id FROM {table}")) == {(entries[0].tenant_id,)}


async def test_a_scope_given_to_a_transaction_ends_with_it(service: asyncpg.Connection, entries: list[Entry]) -> None:
    """A scope does not outlive its transaction, so a reused connection sees no earlier tenant's rows."""
    async with service.transaction():
        await service.fetch("SELECT * FROM prv_tails($1, '{}', '{}', '{}', '{}')", [entries[0].tenant_id])
        assert await service.fetchval("SELECT count(*) FROM prv_ledger") == 2
    assert await service.fetchval("SELECT count(*) FROM prv_ledger") == 0


async def test_nothing_is_written_into_another_tenants_tables(
    service: asyncpg.Connection, entries: list[Entry]
) -> None:
    """By plain SQL, past the function that the store uses."""
    head = entries[-1]
    await enter(service, new_name("tenant"))
    body = replace(head, seq=3, prev_hash=head.hash).body
    await refused(service.execute(INSERT, head.tenant_id, 3, body, head.hash, None))
    await refused(service.execute("INSERT INTO prv_release VALUES ($1, gen_random_uuid(), 'x')", head.tenant_id))
    await refused(service.execute("INSERT INTO prv_plan VALUES ($1, gen_random_uuid(), 'x')", head.tenant_id))


async def test_the_function_that_appends_writes_only_to_the_tenants_it_names(
    service: asyncpg.Connection, entries: list[Entry]
) -> None:
    """A body whose tenant the call does not name is refused, even as the valid next entry of its chain."""
    foreign = spent(entries[-1], asked(entries[0].tenant_id, "1"))
    await refused(service.fetchval("SELECT prv_append($1, $2)", [new_name("tenant")], [foreign.body]))


async def test_a_body_that_does_not_match_its_hash_is_refused(service: asyncpg.Connection) -> None:
    """The database recomputes the hash: a wrong hash or one more space is refused, the true pair is not."""
    tenant = new_name("tenant")
    await enter(service, tenant)
    first = opened(tenant)
    with pytest.raises(asyncpg.CheckViolationError, match="prv_ledger_hash"):
        await service.execute(INSERT, tenant, 1, first.body, first.prev_hash, b"\x00" * 32)
    with pytest.raises(asyncpg.CheckViolationError, match="prv_ledger_hash"):
        await service.execute(INSERT, tenant, 1, first.body + " ", first.prev_hash, first.hash)
    await service.execute(INSERT, tenant, 1, first.body, first.prev_hash, first.hash)


async def test_a_gap_or_a_fork_is_refused_by_plain_sql_too(service: asyncpg.Connection, entries: list[Entry]) -> None:
    """Only the next number on the last hash can be appended, even by SQL that passes by the store."""
    head = entries[-1]
    await enter(service, head.tenant_id)
    for seq, prev_hash in ((4, head.hash), (3, entries[0].hash), (3, bytes(32))):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="does not follow"):
            await service.execute(INSERT, head.tenant_id, seq, f"body {seq}", prev_hash, None)
    with pytest.raises(asyncpg.UniqueViolationError, match="prv_ledger_fence"):
        await service.execute(INSERT, head.tenant_id, 2, "another second", entries[0].hash, None)


@pytest.mark.parametrize(
    "attempt",
    [
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER ROLE prv_test BYPASSRLS",
        "ALTER ROLE prv_test SUPERUSER",
        "ALTER TABLE prv_ledger DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE prv_ledger NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE prv_ledger DISABLE TRIGGER ALL",
        "ALTER TABLE prv_ledger OWNER TO prv_test",
        "DROP TRIGGER prv_no_change ON prv_ledger",
        "DROP TRIGGER prv_chain ON prv_ledger",
        "DROP POLICY prv_tenant ON prv_ledger",
        "DROP TABLE prv_ledger",
        "CREATE POLICY mine ON prv_ledger USING (true)",
        "CREATE OR REPLACE FUNCTION prv_scope() RETURNS text[] LANGUAGE sql STABLE AS 'SELECT ARRAY[''x'']'",
        "CREATE OR REPLACE FUNCTION prv_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "CREATE TABLE public.mine (x int)",
        "SELECT prv_protect('prv_ledger')",
        "SET session_replication_role = replica",
        "CREATE ROLE another SUPERUSER",
        "COPY prv_ledger TO PROGRAM 'cat'",
    ],
)
async def test_the_service_cannot_give_itself_more_power(service: asyncpg.Connection, attempt: str) -> None:
    """No statement lets the service's login gain rights or take a protection away."""
    await refused(service.execute(attempt))


async def test_reading_past_row_security_is_an_error_not_a_way_around(service: asyncpg.Connection) -> None:
    """With row security switched off, reading the ledger fails instead of showing every tenant."""
    await service.execute("SET row_security = off")
    await refused(service.fetch("SELECT * FROM prv_ledger"))


async def test_every_table_of_tenants_is_protected(admin: asyncpg.Connection) -> None:
    """Whatever a later migration adds: forced row security, triggers for every change, no right to make one."""
    rows = await admin.fetch(
        """
        SELECT t.relname, t.relrowsecurity AND t.relforcerowsecurity AS isolated,
               ARRAY(SELECT tgname::text FROM pg_trigger WHERE tgrelid = t.oid AND tgenabled = 'O'
                     AND tgname LIKE 'prv\\_no\\_%') AS triggers,
               has_table_privilege('prv_service', t.oid, 'UPDATE, DELETE, TRUNCATE') AS changes
        FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = 'tenant_id'
        WHERE t.relkind = 'r' AND t.relname LIKE 'prv\\_%'
        """
    )
    assert {row["relname"] for row in rows} >= set(TABLES)
    for row in rows:
        changes = ["prv_no_update", "prv_no_early_purge"] if row["relname"] == PURGEABLE else ["prv_no_change"]
        assert (row["isolated"], row["changes"]) == (True, False), row["relname"]
        assert set(row["triggers"]) == {*changes, "prv_no_truncate"}, row["relname"]


async def test_a_role_that_could_bypass_the_protection_may_not_run_the_service(admin_url: str) -> None:
    """The check at the start refuses a superuser, whom no row security would bind."""
    with pytest.raises(UnsafeRoleError, match="rolsuper"):
        await check_service_role(admin_url)


@pytest.mark.parametrize(
    ("power", "fault"),
    [
        ("ALTER ROLE {role} BYPASSRLS", "rolbypassrls"),
        ("GRANT UPDATE ON prv_ledger TO {role}", "changes"),
        ("GRANT TRUNCATE ON prv_ledger TO {role}", "changes"),
        ("GRANT postgres TO {role}", "owns"),
    ],
)
async def test_a_login_with_too_much_power_is_found_out(
    admin: asyncpg.Connection, admin_url: str, power: str, fault: str
) -> None:
    """A login that passed the check fails it after any one grant too many, and the fault is named."""
    role = new_name("login").replace("-", "_")
    url = await ensure_service_login(admin_url, role, "secret1")
    await check_service_role(url)
    await admin.execute(power.format(role=role))
    with pytest.raises(UnsafeRoleError, match=fault):
        await check_service_role(url)


async def test_a_login_made_again_gets_the_new_password_and_no_more(admin_url: str) -> None:
    """Making a login twice is no error: the new password works and the role still passes the check."""
    role = new_name("login").replace("-", "_")
    await ensure_service_login(admin_url, role, "secret1")
    await check_service_role(await ensure_service_login(admin_url, role, "secret2"))


@pytest.mark.parametrize(("login", "password"), [("a b", "x"), ("a;drop", "x"), ("a", "x'"), ("", "x"), ("ä", "x")])
async def test_a_login_that_is_not_plain_words_is_refused(admin_url: str, login: str, password: str) -> None:
    """Names and passwords that could break out of the SQL statement are refused before it is sent."""
    with pytest.raises(ValueError, match="letters and digits"):
        await ensure_service_login(admin_url, login, password)


async def test_migrating_again_changes_nothing(admin: asyncpg.Connection, admin_url: str, entries: list[Entry]) -> None:
    """A second migration keeps the schema version and every entry of the ledger."""
    before = await admin.fetchval("SELECT version_num FROM prv_schema_version")
    await migrate(admin_url)
    assert await admin.fetchval("SELECT version_num FROM prv_schema_version") == before
    count = await admin.fetchval("SELECT count(*) FROM prv_ledger WHERE tenant_id = $1", entries[0].tenant_id)
    assert count == len(entries)
