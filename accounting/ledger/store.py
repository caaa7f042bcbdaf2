"""What a ledger store promises. Two implementations ship: Postgres, and memory for tests and simulation.

Both pass `tests/unit/test_store_contract.py`. A store knows nothing of budgets; it keeps entries and refuses what would
break the history: a second entry at one position, a second entry under one key, a second end of one allocation.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from accounting.ledger.entry import Entry


class StoreError(Exception):
    """Base of what a store raises."""


class ConflictError(StoreError):
    """Nothing was written, because the history has moved on: a position, key or allocation end is taken already.

    The caller reads the tail again and decides again.
    """


class StoreUnavailableError(StoreError):
    """The store did not answer. A write that was under way may or may not have happened: read before deciding again."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What the store knows of a tenant at one moment.

    Attributes:
        head: The last entry, None where the tenant is unknown.
        by_key: The entries stored under the keys that were asked for.
    """

    head: Entry | None
    by_key: Mapping[str, Entry] = field(default_factory=dict)


class LedgerStore(Protocol):
    """Append-only histories, one per tenant."""

    def now(self) -> datetime:
        """Database time in UTC, as of the last contact plus what a monotonic clock says has passed since."""
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Makes all entries durable, in order, or none.

        Raises:
            ConflictError: If one of them cannot be written because history moved on.
            StoreUnavailableError: If the store did not answer; the outcome is unknown.
        """
        ...

    async def tails(self, wanted: Mapping[str, Collection[str]]) -> dict[str, Tail]:
        """The current tail of each tenant, with the entries that the tenant stored under the given keys.

        Raises:
            StoreUnavailableError: If the store did not answer.
        """
        ...

    async def allocation(self, tenant_id: str, allocation_id: str) -> list[Entry]:
        """The entries of one allocation, oldest first; empty where the tenant has none of that id."""
        ...

    async def job(self, tenant_id: str, job_id: str, limit: int = 1000) -> list[Entry]:
        """The entries of one job, oldest first, at most `limit`."""
        ...

    async def history(self, tenant_id: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Entries with a seq greater than `after`, oldest first, at most `limit`."""
        ...
