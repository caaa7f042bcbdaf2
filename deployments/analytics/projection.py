"""When a budget will be used up if it goes on as it went: a date, and a range that is explained in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from accounting.values import decimal_text, round_up

FARTHEST = timedelta(days=36_525)
"""A century: what lasts longer has no date."""
LEAST_DAYS = 2
"""Of history. What one day says of the next is nothing."""


@dataclass(frozen=True, slots=True)
class Projection:
    """When a budget will be used up.

    Attributes:
        exhausted_at: If every day costs what the days cost on average; None where nothing was spent, too little is
            known, or it lasts more than a century.
        days_left: The same, in days from now.
        earliest: If every day costs what the dearer half of the days cost.
        latest: If every day costs what the cheaper half of the days cost; None where that is nothing.
        renews_at: When the present window ends; None for a budget that does not renew.
        renews_before: Whether it renews before it would be used up; None for a budget that does not renew.
        basis: How all this was found, for people.
    """

    exhausted_at: datetime | None
    days_left: Fraction | None
    earliest: datetime | None
    latest: datetime | None
    renews_at: datetime | None
    renews_before: bool | None
    basis: str


def projection(
    remaining: Decimal, daily: Sequence[Decimal], now: datetime, renews_at: datetime | None = None
) -> Projection:
    """Carries the days on.

    Never later where more was charged on any of the days, or less is left.

    Args:
        remaining: Epsilon that is left, at least 0.
        daily: What each day cost, today included, in any order. Days on which more was taken back than charged are
            below 0.
        now: The present.
        renews_at: When the present window ends, if the budget renews.
    """
    half = (len(daily) + 1) // 2
    ordered = sorted(Fraction(epsilon) for epsilon in daily)
    known = len(daily) >= LEAST_DAYS
    mean = sum(ordered, Fraction(0)) / max(len(ordered), 1)
    left = _lasting(remaining, mean) if known else None
    exhausted_at = _after(now, left)
    seen = exhausted_at is not None
    return Projection(
        exhausted_at=exhausted_at,
        days_left=left if seen else None,
        earliest=_after(now, _lasting(remaining, sum(ordered[-half:], Fraction(0)) / half)) if seen else None,
        latest=_after(now, _lasting(remaining, sum(ordered[:half], Fraction(0)) / half)) if seen else None,
        renews_at=renews_at,
        renews_before=None if renews_at is None else exhausted_at is None or renews_at <= exhausted_at,
        basis=_basis(len(daily), mean, known, seen),
    )


def _lasting(remaining: Decimal, rate: Fraction) -> Fraction | None:
    """Days that an amount lasts; None where nothing is taken from it."""
    return Fraction(max(remaining, Decimal(0))) / rate if rate > 0 else None


def _after(now: datetime, days: Fraction | None) -> datetime | None:
    if days is None or days > FARTHEST.days:
        return None
    # Whole microseconds, exactly: a float would move moments by some, and could set the later one before the earlier.
    return now + timedelta(microseconds=int(days * 86_400_000_000))


def _basis(count: int, mean: Fraction, known: bool, seen: bool) -> str:
    if not known:
        return "One day of history says nothing about the next: there is a projection from the second day on."
    if mean <= 0:
        return f"Over {count} days, today included, no more was charged than was taken back: no end is in sight."
    rate = decimal_text(round_up(mean, 6))
    if not seen:
        return f"At {rate} a day, the mean of {count} days, today included, it lasts more than a century."
    return (
        f"If every day costs {rate}, the mean of {count} days, today included; earliest and latest if every day costs "
        "the mean of the dearer or of the cheaper half of them. Charges are added up as claims are, so releases that "
        "compose better leave more time; a renewal of the budget is not counted in."
    )
