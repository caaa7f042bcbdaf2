"""What a ledger store promises. Two implementations ship: Postgres, and memory for tests and simulation.

Both pass `tests/unit/test_store_contract.py`. A store knows nothing of budgets; it keeps entries and refuses what would
break the history: a second entry at one position, a second entry under one key, a second end of one allocation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from accounting.datasets import DatasetState
from accounting.ledger.entry import Entry


class StoreError(Exception):
    """Base of what a store raises."""


class ConflictError(StoreError):
    """Nothing was written, because the history has moved on: a position, key or allocation end is taken already.

    The caller reads the tail again and decides again.
    """


class StoreUnavailableError(StoreError):
    """The store did not answer. A write that was under way may or may not have happened: read before deciding again."""


@dataclass(slots=True)
class Wanted:
    """What is asked of a tenant beside its last entry.

    Attributes:
        keys: Idempotency keys.
        datasets: Ids of data sets.
    """

    keys: set[str] = field(default_factory=set)
    datasets: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Tail:
    """What the store knows of a tenant.

    Attributes:
        head: The last entry, None where the tenant is unknown. Read first: the rest may know of later entries, in which
            case nothing can be appended after this one.
        by_key: The entries stored under the keys that were asked for.
        datasets: The states of the data sets that were asked for; None for those the tenant does not have.
    """

    head: Entry | None
    by_key: Mapping[str, Entry] = field(default_factory=dict)
    datasets: Mapping[str, DatasetState | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal, for the audit log. It is no part of a tenant's history: it changes nothing and binds nobody.

    Attributes:
        tenant_id: Who was refused.
        seq: The position of the last entry when it was decided; 0 for a tenant without any.
        outcome: The refusal's name.
        job_id: The caller's job.
        source_engine: The engine that asked.
        actor: The token's subject.
        idempotency_key: The request's key.
        epsilon: What was asked for.
        delta: The same.
        scope: Whose budget refused, where one did.
        at: When it was kept, by database time; None before.
    """

    tenant_id: str
    seq: int
    outcome: str
    job_id: str
    source_engine: str | None
    actor: str
    idempotency_key: str
    epsilon: Decimal
    delta: Decimal
    scope: str | None
    at: datetime | None = field(default=None, compare=False)


class LedgerStore(Protocol):
    """Append-only histories, one per tenant."""

    def now(self) -> datetime:
        """Database time in UTC, as of the last contact plus what a monotonic clock says has passed since."""
        ...

    async def append(self, entries: Sequence[Entry]) -> None:
        """Makes all entries durable, in order, and what is to be done under them (`Entry.task`); or none.

        Raises:
            ConflictError: If one of them cannot be written because history moved on.
            StoreUnavailableError: If the store did not answer; the outcome is unknown.
        """
        ...

    async def tails(self, wanted: Mapping[str, Wanted]) -> dict[str, Tail]:
        """The current tail of each tenant, with what is asked for beside it.

        Raises:
            StoreUnavailableError: If the store did not answer.
        """
        ...

    async def datasets(self, tenant_id: str) -> list[DatasetState]:
        """All data sets of a tenant, by id."""
        ...

    async def record_denials(self, denials: Sequence[Denial]) -> None:
        """Keeps refusals for auditors.

        Raises:
            StoreUnavailableError: If the store did not answer.
        """
        ...

    async def denials(self, tenant_id: str, limit: int = 1000) -> list[Denial]:
        """A tenant's latest refusals, latest first, at most `limit`."""
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
