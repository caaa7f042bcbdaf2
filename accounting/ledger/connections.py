"""Connections to Postgres as all stores have them: nothing at hand until it is needed, and two errors of our own."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg

from accounting.ledger.store import ConflictError, StoreUnavailableError

T = TypeVar("T")


async def open_pool(url: str, name: str, *, connections: int, command_timeout: float) -> asyncpg.Pool:
    """A pool that connects when it is first used, so that a service starts, and says what is wrong, without a database.

    Args:
        url: A Postgres URL.
        name: What the database lists its connections under.
        connections: Most at once.
        command_timeout: Seconds after which an unanswered statement, or connection, fails.
    """
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=connections,
        timeout=command_timeout,
        command_timeout=command_timeout,
        reset=_leave_clean,
        # A write is acknowledged when it is on disk, whatever the server's default says.
        server_settings={"synchronous_commit": "on", "application_name": name, "jit": "off"},
    )


async def _leave_clean(connection: asyncpg.Connection) -> None:
    """What a connection needs before its next use. The driver's own reset would cost a second trip for every write.

    No statement of ours leaves anything behind but, if it broke off, an open transaction: settings end with theirs, and
    there are no cursors, listeners or session locks.
    """
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


async def translated(awaitable: Awaitable[T]) -> T:
    """The awaited value, or one of the store's two errors."""
    with translation():
        return await awaitable


@contextmanager
def translation() -> Iterator[None]:
    """Turns the driver's errors into the store's two.

    Raises:
        ConflictError: If the database refused a write for the sake of what somebody else wrote.
        StoreUnavailableError: If it did not answer.
    """
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise ConflictError(f"{error.constraint_name}: {error}") from error
    except asyncpg.TransactionRollbackError as error:
        # A deadlock or a serialization failure: Postgres undid the whole transaction for the sake of another one.
        raise ConflictError(str(error)) from error
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        raise StoreUnavailableError(str(error) or type(error).__name__) from error
    except (
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        # What the driver says of a connection that broke while it was being handed back.
        asyncpg.InternalClientError,
    ) as error:
        raise StoreUnavailableError(str(error)) from error
