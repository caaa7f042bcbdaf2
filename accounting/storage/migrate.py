"""Brings a database to the schema of this release, and gives the service roles that cannot break the ledger."""

import asyncio
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from accounting.storage.urls import DatabaseUrls

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_286_412_001
"""Advisory lock: of several services starting on one database, one migrates and the others wait."""


class UnsafeRoleError(RuntimeError):
    """The role that the service would use could bypass the ledger's protection."""


class WrongDatabaseError(RuntimeError):
    """The database is not the one that its address was given for."""


class Role(StrEnum):
    """What a login of ours may do: one of two roles, never both."""

    SERVICE = "prv_service"
    """Reads and appends to the ledger, one tenant at a time."""
    RECORDER = "prv_recorder"
    """Reads every tenant's ledger and writes the log, never the ledger."""


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
            # The database may have been restored into another cluster since the last start.
            await connection.exec_driver_sql("SELECT prv_resume_order()")
            await connection.exec_driver_sql(f"GRANT SELECT ON prv_schema_version TO {Role.SERVICE}, {Role.RECORDER}")
    finally:
        await engine.dispose()


async def name_database(admin_url: str, name: str) -> None:
    """Gives a database the name that tenants' homes are written down by, the first time; makes sure of it later.

    Args:
        admin_url: A Postgres URL whose role owns the schema.
        name: ``main``, or another name of lower-case letters, digits and underscores.

    Raises:
        WrongDatabaseError: If it has another name, or entries from a time when it was the only one.
    """
    connection = await asyncpg.connect(admin_url)
    try:
        found = await connection.fetchval("SELECT prv_name_database($1)", name)
    finally:
        await connection.close()
    if found != name:
        raise WrongDatabaseError(
            f"the address of database {name} leads to database {found}: addresses of databases must not change places, "
            "or tenants would be found without their histories"
        )


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def ensure_service_login(admin_url: str, login: str, password: str, role: Role = Role.SERVICE) -> str:
    """Creates (or gives a new password to) a login that is a plain member of one of our roles.

    Args:
        admin_url: A Postgres URL whose role may create roles.
        login: Role name: lower-case letters, digits and underscores.
        password: Letters and digits.
        role: What it may do.

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
            await connection.execute(f"GRANT {role} TO {login}")
    finally:
        await connection.close()
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(login)}:{quote(password)}@{host}"))


async def check_service_role(service_url: str) -> None:
    """Refuses a service role that could see across tenants or change history.

    Raises:
        UnsafeRoleError: If the role is a superuser, bypasses row security, owns the ledger, may change its rows or is a
            recorder as well.
    """
    role = await _powers(service_url)
    faults = [fault for fault in ("rolsuper", "rolbypassrls", "owns", "changes", "records") if role[fault]]
    if faults:
        raise UnsafeRoleError(
            f"role {role['rolname']} must not run the service ({', '.join(faults)}): it could bypass the ledger's "
            "protection. Give AUMOS_PRIVACY_DATABASE_SERVICE_URL a plain member of prv_service."
        )


async def check_recorder_role(recorder_url: str) -> None:
    """Refuses a recorder that could write the ledger whose entries it puts in order.

    Raises:
        UnsafeRoleError: If the role is a superuser, bypasses row security, owns the ledger or may write to it.
    """
    role = await _powers(recorder_url)
    faults = [fault for fault in ("rolsuper", "rolbypassrls", "owns", "changes", "appends") if role[fault]]
    if faults:
        raise UnsafeRoleError(
            f"role {role['rolname']} must not keep the log ({', '.join(faults)}): it could write the ledger. "
            "Give AUMOS_PRIVACY_DATABASE_RECORDER_URL a plain member of prv_recorder."
        )


async def _powers(url: str) -> asyncpg.Record:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchrow(
            """
            SELECT rolname, rolsuper, rolbypassrls,
                   pg_has_role((SELECT relowner FROM pg_class WHERE oid = 'prv_ledger'::regclass), 'MEMBER') AS owns,
                   has_table_privilege('prv_ledger', 'UPDATE, DELETE, TRUNCATE') AS changes,
                   has_any_column_privilege('prv_ledger', 'INSERT') AS appends,
                   pg_has_role('prv_recorder', 'MEMBER') AS records
            FROM pg_roles WHERE rolname = current_user
            """
        )
    finally:
        await connection.close()


def prepare_database(
    admin_url: str,
    name: str,
    password: str,
    service_url: str | None = None,
    recorder_url: str | None = None,
    database: str = "main",
) -> DatabaseUrls:
    """Migrates and returns the URLs for the service, with logins created unless they are given. Blocking, for start-up.

    Args:
        admin_url: A Postgres URL whose role owns the schema; without the URLs below, it may create roles.
        name: What the logins' names end with: lower-case letters, digits and underscores.
        password: Of both logins: letters and digits.
        service_url: A member of `Role.SERVICE`, if an operator made one.
        recorder_url: A member of `Role.RECORDER`, likewise.
        database: The database's own name, where there are several.

    Raises:
        UnsafeRoleError: If a given role is not safe.
        WrongDatabaseError: If the database is another one.
    """

    async def login(role: Role, given: str | None) -> str:
        return given or await ensure_service_login(admin_url, f"{role}_{name}", password, role)

    async def prepare() -> DatabaseUrls:
        await migrate(admin_url)
        await name_database(admin_url, database)
        urls = DatabaseUrls(await login(Role.SERVICE, service_url), await login(Role.RECORDER, recorder_url))
        await check_service_role(urls.service)
        await check_recorder_role(urls.recorder)
        return urls

    return asyncio.run(prepare())
