"""How a budget's use goes on: how much is gone, and when the rest will be at the present pace.

Only a reckoning for alerts: it never takes part in a decision, and floats are good enough.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from accounting.ledger.entry import Entry

LOOK_BACK_SECONDS = 12 * 3600.0
"""The pace is that of the last 12 to 24 hours, as far as this process has seen them."""
LEAST_SECONDS = 600.0
"""Over less than that nothing is said about a pace."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was used of a budget at two moments.

    Attributes:
        older: When (seconds, Unix time) and what share was used.
        newer: The same, later; what `older` becomes.
        window: The beginning of the window that both are of.
    """

    older: tuple[float, float]
    newer: tuple[float, float]
    window: datetime


def used(entry: Entry) -> float:
    """The share of a budget that is used, 0 to 1: by the member filter with the most room, which is what admits."""
    shares = []
    for member, spent in zip(entry.budget.members, entry.spent.costs, strict=True):
        amount = float(spent.amount) / float(member.cap.amount) if member.cap.amount else 1.0
        delta = float(spent.delta) / float(member.cap.delta) if member.cap.delta else float(spent.delta > 0)
        shares.append(max(amount, delta))
    return min(1.0, max(0.0, min(shares)))


def seen(before: Seen | None, entry: Entry, now: float) -> Seen:
    """What is known after one more look.

    Args:
        before: After the last look; None at the first.
        entry: The tenant's last entry.
        now: Unix time.
    """
    at = (now, used(entry))
    if before is None or before.window != entry.period_start:
        return Seen(at, at, entry.period_start)
    if now - before.newer[0] >= LOOK_BACK_SECONDS:
        return replace(before, older=before.newer, newer=at)
    return before


def seconds_left(known: Seen, entry: Entry, now: float) -> float | None:
    """Seconds until the budget is used up at the present pace.

    The pace is that since the older moment known, or since the window began where that is not long ago enough.

    Returns:
        Seconds; None where nothing is used, or the budget renews before.
    """
    share = used(entry)
    since, then = known.older
    if now - since < LEAST_SECONDS:
        since, then = entry.period_start.timestamp(), 0.0
    if share >= 1.0:
        left = 0.0
    else:
        elapsed, gone = now - since, share - then
        if elapsed < LEAST_SECONDS or gone <= 0:
            return None
        left = (1.0 - share) * elapsed / gone
    end = entry.period_end
    return None if end is not None and now + left >= end.timestamp() else left
