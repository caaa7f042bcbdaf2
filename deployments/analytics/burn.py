"""How fast a budget is used: what was charged each day and by each engine. Pure; every sum is exact."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

from accounting.ledger.readings import Charged
from accounting.values import EXACT, ZERO

MAX_DAYS = 90


@dataclass(frozen=True, slots=True)
class Days:
    """Days in UTC that are looked at, today the last of them.

    Attributes:
        now: A moment of the last day.
        count: How many, from 1 to `MAX_DAYS`.
        known_since: When the history began.
    """

    now: datetime
    count: int
    known_since: datetime

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_DAYS:
            raise ValueError(f"from 1 to {MAX_DAYS} days are looked at, not {self.count}")

    @property
    def today(self) -> date:
        """The last day."""
        return self.now.astimezone(UTC).date()

    @property
    def since(self) -> datetime:
        """When the first of the days began."""
        return _midnight(self.today - timedelta(days=self.count - 1))

    @property
    def dates(self) -> tuple[date, ...]:
        """All of them, in order."""
        first = self.since.date()
        return tuple(first + timedelta(days=at) for at in range(self.count))

    @property
    def known(self) -> tuple[date, ...]:
        """Those that the history reaches; the day on which it began counts as a whole one."""
        began = self.known_since.astimezone(UTC).date()
        return tuple(day for day in self.dates if day >= began)

    @property
    def ends(self) -> tuple[datetime, ...]:
        """When each of them ended; for today, now."""
        return (*(_midnight(day + timedelta(days=1)) for day in self.dates[:-1]), self.now)


@dataclass(frozen=True, slots=True)
class Share:
    """A part of what was charged.

    Attributes:
        epsilon: Charges less what was taken back.
        operations: Allocations that were opened.
    """

    epsilon: Decimal = ZERO
    operations: int = 0

    def plus(self, other: Charged) -> "Share":
        """With more charges."""
        return Share(EXACT.add(self.epsilon, other.epsilon), self.operations + other.operations)


@dataclass(frozen=True, slots=True)
class Burn:
    """What was charged on some days.

    Attributes:
        days: Which.
        daily: One share for each of them, in order.
        by_engine: One share for each engine that charged anything, the largest first; None where no engine was named.
    """

    days: Days
    daily: tuple[Share, ...]
    by_engine: tuple[tuple[str | None, Share], ...]

    @property
    def total(self) -> Share:
        """All of it."""
        epsilon = ZERO
        for share in self.daily:
            epsilon = EXACT.add(epsilon, share.epsilon)
        return Share(epsilon, sum(share.operations for share in self.daily))

    @property
    def known_daily(self) -> tuple[Decimal, ...]:
        """The epsilon of each day that the history reaches."""
        return tuple(share.epsilon for share in self.daily[len(self.daily) - len(self.days.known) :])

    def per_day(self, amount: Decimal | int) -> Fraction:
        """An amount of all the days, on each day that the history reaches."""
        return Fraction(amount) / max(len(self.days.known), 1)


def burn(charged: Iterable[Charged], days: Days) -> Burn:
    """Adds up what was charged. The order of what is given changes nothing.

    Args:
        charged: Shares of those days, in any order and grouping.
        days: Which days.

    Raises:
        ValueError: If something was charged on another day.
    """
    given = list(charged)
    daily = dict.fromkeys(days.dates, Share())
    for share in given:
        if share.day not in daily:
            raise ValueError(f"{share.day} is not one of the days that are looked at")
        daily[share.day] = daily[share.day].plus(share)
    return Burn(days, tuple(daily.values()), by_engine(given))


def by_engine(charged: Iterable[Charged]) -> tuple[tuple[str | None, Share], ...]:
    """Adds up what each engine charged, the largest first."""
    engines: dict[str | None, Share] = {}
    for share in charged:
        engines[share.source_engine] = engines.get(share.source_engine, Share()).plus(share)
    return tuple(sorted(engines.items(), key=lambda item: (-item[1].epsilon, item[0] or "")))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
