"""What falls due by itself: holds whose time passes, and windows of renewing budgets that end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Due:
    """An entry whose time has passed, and which nothing has ended.

    Attributes:
        tenant_id: Whose.
        allocation_id: The hold to end; None where a new window is to begin.
    """

    tenant_id: str
    allocation_id: str | None


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in the order in which entries fall due."""

    due_at: datetime
    tenant_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class DuePage:
    """One look at entries that have fallen due, the latest first.

    Attributes:
        now: Database time.
        open: Those that nothing has ended.
        last: The oldest that was looked at, ended or not; None where there are no older ones.
    """

    now: datetime
    open: Sequence[Due]
    last: Mark | None


class DueEntries(Protocol):
    """Looks through all tenants' entries that have fallen due."""

    async def due(self, before: Mark | None, limit: int) -> DuePage:
        """Looks at entries that have fallen due, from the latest back to older ones.

        Args:
            before: Where the last look ended; None to begin with the latest.
            limit: How many to look at, ended ones included.

        Raises:
            StoreUnavailableError: If the ledger did not answer.
        """
        ...
