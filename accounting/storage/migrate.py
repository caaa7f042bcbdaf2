"""Brings a database to the schema of this release, and gives the service a role that cannot break the ledger."""

import asyncio
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_286_412_001
"""Advisory lock: of several services starting on one database, one migrates and the others wait."""


class UnsafeRoleError(RuntimeError):
    """The role that the service would use could bypass the ledger's protection."""


async def migrate(admin_url: str) -> None:
    """Applies all migrations that are missing.

    Args:
        admin_url: A Postgres URL whose role owns the schema and may create roles.
    """
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(admin_url))
    try:
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def ensure_service_login(admin_url: str, login: str, password: str) -> str:
    """Creates (or gives a new password to) a login role that is a plain member of ``prv_service``.

    Args:
        admin_url: A Postgres URL whose role may create roles.
        login: Role name: lower-case letters, digits and underscores.
        password: Letters and digits.

    Returns:
        The URL with which the service connects.
    """
    if not (login.replace("_", "").isalnum() and password.isalnum() and login.isascii() and password.isascii()):
        raise ValueError("the login and its password must be letters and digits")
    connection = await asyncpg.connect(admin_url)
    try:
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", login)
            verb = "ALTER" if exists else "CREATE"
            # DDL takes no parameters; both words were checked above.
            await connection.execute(
                f"{verb} ROLE {login} LOGIN PASSWORD '{password}' NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS"
            )
            await connection.execute(f"GRANT prv_service TO {login}")
    finally:
        await connection.close()
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(login)}:{quote(password)}@{host}"))


async def check_service_role(service_url: str) -> None:
    """Refuses a service role that could see across tenants or change history.

    Raises:
        UnsafeRoleError: If the role is a superuser, bypasses row security, owns the ledger or may change its rows.
    """
    connection = await asyncpg.connect(service_url)
    try:
        row = await connection.fetchrow(
            """
            SELECT rolname, rolsuper, rolbypassrls,
                   pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'prv_ledger'::regclass), 'MEMBER') AS owns,
                   has_table_privilege('prv_ledger', 'UPDATE, DELETE, TRUNCATE') AS changes
            FROM pg_roles WHERE rolname = current_user
            """
        )
    finally:
        await connection.close()
    faults = [fault for fault in ("rolsuper", "rolbypassrls", "owns", "changes") if row[fault]]
    if faults:
        raise UnsafeRoleError(
            f"role {row['rolname']} must not run the service ({', '.join(faults)}): it could bypass the ledger's "
            "protection. Give AUMOS_PRIVACY_DATABASE_SERVICE_URL a plain member of prv_service."
        )


def prepare_database(admin_url: str, login: str, password: str, service_url: str | None = None) -> str:
    """Migrates and returns the URL for the service, created unless one is given. Blocking, for start-up.

    Raises:
        UnsafeRoleError: If the given service role is not safe.
    """

    async def prepare() -> str:
        await migrate(admin_url)
        url = service_url or await ensure_service_login(admin_url, login, password)
        await check_service_role(url)
        return url

    return asyncio.run(prepare())
