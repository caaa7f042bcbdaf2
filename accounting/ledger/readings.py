"""What is read of a ledger to look back on it: sums by day and engine, balances at the end of days, operations.

A charge is counted on the day on which it was kept, and what was taken back (a void, a commit of fewer steps, an
adjustment) on the day on which that was: so a day that is over never changes, as nothing in the ledger does, and the
sum over any days is the difference of the lifetime sums in the entries at both ends. A day may be below zero.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from accounting.ledger.entry import Entry


@dataclass(frozen=True, slots=True)
class Charged:
    """What was charged on one day by one engine.

    Attributes:
        day: In UTC, by the database's clock.
        source_engine: The engine; None where no engine was named, or where the entry is from before engines were
            indexed.
        epsilon: Charges less what was taken back, added up by basic composition; exact, may be negative.
        operations: Allocations that were opened.
    """

    day: date
    source_engine: str | None
    epsilon: Decimal
    operations: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One allocation with what became of it.

    Attributes:
        opening: The entry that charged it.
        ending: The entry that committed, voided or expired it; None for one that was consumed at once or is held still.
        adjustment: The entry that took its charge back after its end; None where there is none.
    """

    opening: Entry
    ending: Entry | None
    adjustment: Entry | None

    @property
    def latest(self) -> Entry:
        """The entry that says how it stands."""
        return self.adjustment or self.ending or self.opening


@dataclass(frozen=True, slots=True)
class TenantReading:
    """One tenant among all.

    Attributes:
        head: The last entry.
        kept_at: When it was kept, by the database's clock.
        known_since: When the first entry was kept.
        before: The last entry before the days that are looked at; None where there is none.
    """

    head: Entry
    kept_at: datetime
    known_since: datetime
    before: Entry | None


@dataclass(frozen=True, slots=True)
class KeptReleases:
    """Stored releases (noisy results, encrypted), and how long the database keeps them.

    Attributes:
        count: How many there are.
        health: How many of them are of the healthcare engine.
        earliest: The first moment at which one of them may be purged; None where there is none.
        latest: The last such moment.
    """

    count: int
    health: int
    earliest: datetime | None
    latest: datetime | None
