"""What an owner of budgets counts, and how the budgets that it has in memory stand.

The walk over the budgets takes a few hundred at a time, so that a hundred thousand tenants hold up nobody; its figures
are those of its last full round.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from accounting.admission import Allocate, Verdict
from accounting.ledger.entry import Entry
from deployments.budget.lane import Command
from deployments.budget.owner import BudgetOwner
from serve_app.observing import catalogue
from serve_app.observing.catalogue import Metric
from serve_app.observing.meter import Labels
from serve_app.observing.pace import Seen, seconds_left, seen, used
from serve_app.observing.tallies import Count, Tallies, bound_text

if TYPE_CHECKING:
    from serve_app.observing.spans import Tracing

AT_ONCE = 200
"""Budgets looked at each second: about two milliseconds."""
SHARES = (0.25, 0.5, 0.75, 0.9, 1.0)
WITHIN = {"1d": 86_400.0, "7d": 7 * 86_400.0}

Gauges = Mapping[tuple[Metric, Labels], float]


class OwnerObserver:
    """An `Observer` that counts, and makes a span of each write where there are traces."""

    def __init__(self, tallies: Tallies, tracing: "Tracing | None" = None) -> None:
        self._tallies = tallies
        self._tracing = tracing
        self._decisions: dict[tuple[str, str | None], Count] = {}
        self._entries = tallies.spread(catalogue.BATCH_ENTRIES)
        self._seconds = tallies.spread(catalogue.APPEND_SECONDS)
        self._conflicts = tallies.count(catalogue.FENCE_CONFLICTS)

    def arrived(self) -> object:
        """See `Observer`: the span that the request is in, where it is sampled."""
        return None if self._tracing is None else self._tracing.mark()

    def decided(self, command: Command, verdict: Verdict) -> None:
        """See `Observer`. Only allocations are counted: the rest is an administrator's, or follows from them."""
        if not isinstance(command, Allocate):
            return
        key = (verdict.outcome, command.source_engine)
        count = self._decisions.get(key)
        if count is None:
            labels = (verdict.outcome.value, command.source_engine or "none")
            count = self._decisions[key] = self._tallies.count(catalogue.DECISIONS, *labels)
        count.value += 1

    def wrote(self, marks: Sequence[object], entries: int, seconds: float) -> None:
        """See `Observer`."""
        self._entries.saw(entries)
        self._seconds.saw(seconds)
        if self._tracing is not None:
            self._tracing.wrote(marks, {"batch.entries": entries, "batch.requests": len(marks)}, seconds)

    def conflicted(self) -> None:
        """See `Observer`."""
        self._conflicts.value += 1


@dataclass
class _Round:
    """One walk over all budgets, so far."""

    left: list[Entry]
    looked_at: set[str] = field(default_factory=set)
    low: int = 0
    by_share: list[int] = field(default_factory=lambda: [0] * len(SHARES))
    ending: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WITHIN, 0))


class OwnerGauges:
    """How owners stand, read once a second."""

    def __init__(self, owners: Callable[[], Sequence[BudgetOwner]], clock: Callable[[], float] = time.time) -> None:
        """Begins.

        Args:
            owners: Of this process.
            clock: Unix time.
        """
        self._owners = owners
        self._clock = clock
        self._seen: dict[str, Seen] = {}
        self._round = _Round([])
        self._last: Gauges = {}

    def __call__(self) -> Gauges:
        """What stands now, and what the last full walk found."""
        owners = self._owners()
        lanes = [waiting for owner in owners for waiting in owner.waiting]
        self._walk(owners)
        now: dict[tuple[Metric, Labels], float] = {
            (catalogue.WAITING, ()): float(sum(lanes)),
            (catalogue.LANES_BUSY, ()): float(sum(1 for waiting in lanes if waiting)),
            (catalogue.HALTED, ()): float(any(owner.halted for owner in owners)),
        }
        return {**self._last, **now}

    def _walk(self, owners: Sequence[BudgetOwner]) -> None:
        walk, now = self._round, self._clock()
        if not walk.left:
            walk = self._round = _Round([head for owner in owners for head in owner.heads()])
        for _ in range(min(AT_ONCE, len(walk.left))):
            self._look(walk, walk.left.pop(), now)
        if not walk.left:
            # Who left the owner's memory is forgotten here too.
            self._seen = {tenant: known for tenant, known in self._seen.items() if tenant in walk.looked_at}
            self._last = _gauges(walk)

    def _look(self, walk: _Round, head: Entry, now: float) -> None:
        tenant = head.tenant_id
        walk.looked_at.add(tenant)
        known = self._seen[tenant] = seen(self._seen.get(tenant), head, now)
        share = used(head)
        for at, bound in enumerate(SHARES):
            walk.by_share[at] += share <= bound
        walk.low += head.budget.nearly_exhausted(head.spent)
        left = seconds_left(known, head, now)
        for name, within in WITHIN.items():
            walk.ending[name] += left is not None and left <= within


def _gauges(walk: _Round) -> Gauges:
    found: dict[tuple[Metric, Labels], float] = {
        (catalogue.BUDGETS_LOADED, ()): float(len(walk.looked_at)),
        (catalogue.BUDGETS_LOW, ()): float(walk.low),
    }
    found |= {(catalogue.BUDGETS_ENDING, (name,)): float(count) for name, count in walk.ending.items()}
    shares = zip(SHARES, walk.by_share, strict=True)
    return found | {(catalogue.BUDGETS_BY_USE, (bound_text(bound),)): float(count) for bound, count in shares}
