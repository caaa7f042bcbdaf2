"""What an owner's observer counts, and what is told of the budgets in its memory."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from accounting.admission import Outcome
from accounting.ledger.entry import Entry
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.store import ConflictError
from deployments.budget.owner import BudgetOwner, OwnerSettings
from serve_app.config import Settings
from serve_app.observing.budgets import AT_ONCE, OwnerGauges, OwnerObserver
from serve_app.observing.meter import MemoryMeter
from serve_app.observing.pace import LOOK_BACK_SECONDS, seconds_left, seen, used
from serve_app.observing.tallies import Tallies
from tests.ledgers import asked, opened, spent

DAY = 86_400.0


class Contested(MemoryLedgerStore):
    """Somebody else is first, once."""

    contested = True

    async def append(self, entries: list[Entry]) -> None:  # type: ignore[override]
        if self.contested:
            self.contested = False
            raise ConflictError("somebody was first")
        await super().append(entries)


def owner_on(store: MemoryLedgerStore, tallies: Tallies) -> BudgetOwner:
    """An owner that is counted."""
    settings = OwnerSettings(Settings().limits(), Settings().default_budget())
    return BudgetOwner(store, settings, observer=OwnerObserver(tallies))


async def test_each_decision_is_counted_once_with_its_outcome() -> None:
    """Admitted, replayed, refused: each by itself; the writes with their entries; nothing for what is looked up."""
    tallies, meter = Tallies(), MemoryMeter()
    owner = owner_on(MemoryLedgerStore(), tallies)
    owner.start()
    assert (await owner.submit(asked("t", "1", key="k"))).outcome is Outcome.ADMITTED
    assert (await owner.submit(asked("t", "1", key="k"))).outcome is Outcome.REPLAYED
    assert (await owner.submit(asked("t", "999"))).outcome is Outcome.BUDGET_EXHAUSTED
    assert await owner.balance("t", "somebody") is not None
    await owner.stop()
    tallies.hand_over(meter)
    decisions = {labels[0]: count for (name, labels), count in meter.values.items() if name == "privacy_decisions"}
    assert decisions == {"admitted": 1, "replayed": 1, "budget_exhausted": 1}
    assert meter.values["privacy_batch_entries_count", ()] == 1
    assert meter.values["privacy_batch_entries_sum", ()] == 2
    assert ("privacy_fence_conflicts", ()) not in meter.values


async def test_a_conflict_is_counted_and_the_decision_all_the_same() -> None:
    """The write that was refused is none, and the request that was decided twice is one decision."""
    tallies, meter = Tallies(), MemoryMeter()
    owner = owner_on(Contested(), tallies)
    owner.start()
    assert (await owner.submit(asked("t", "1"))).outcome is Outcome.ADMITTED
    await owner.stop()
    tallies.hand_over(meter)
    assert meter.values["privacy_fence_conflicts", ()] == 1
    assert meter.values["privacy_batch_entries_count", ()] == 1
    assert sum(count for (name, _), count in meter.values.items() if name == "privacy_decisions") == 1


async def test_gauges_tell_how_the_budgets_in_memory_stand() -> None:
    """One tenant with most of it left, one with less than a tenth, which it has spent within the last minutes."""
    owner = owner_on(MemoryLedgerStore(), Tallies())
    owner.start()
    await owner.submit(asked("rich", "1"))
    for number in range(19):
        await owner.submit(asked("poor", "0.5", key=str(number)))
    now = datetime.now(UTC).timestamp() + 3_600
    told = {
        (metric.name, labels): value for (metric, labels), value in OwnerGauges(lambda: [owner], lambda: now)().items()
    }
    await owner.stop()
    assert told["privacy_budgets_loaded", ()] == 2
    assert told["privacy_budgets_low", ()] == 1
    shares = [told["privacy_budgets_by_use", (share,)] for share in ("0.25", "0.5", "0.75", "0.9", "1")]
    assert shares == [1, 1, 1, 1, 2]
    assert told["privacy_budgets_ending", ("1d",)] == 2
    assert told["privacy_waiting_requests", ()] == told["privacy_lanes_busy", ()] == told["privacy_halted", ()] == 0
    owner.halt("for a while")
    assert any(
        metric.name == "privacy_halted" and value == 1 for (metric, _), value in OwnerGauges(lambda: [owner])().items()
    )


class Heads(BudgetOwner):
    """Has more budgets in memory than one look takes."""

    def __init__(self, count: int) -> None:
        super().__init__(MemoryLedgerStore(), OwnerSettings(Settings().limits(), None))
        self._many = [opened(f"t{number}") for number in range(count)]

    def heads(self) -> list[Entry]:
        """See `BudgetOwner.heads`."""
        return self._many


def test_a_walk_over_many_budgets_takes_several_looks_and_then_tells_of_all() -> None:
    """Before the end of the first round nothing is told of budgets; after it, of every one."""
    gauges = OwnerGauges(lambda: [owner])
    owner = Heads(AT_ONCE + 1)
    assert not any("budgets" in metric.name for metric, _ in gauges())
    told = {metric.name: value for (metric, _), value in gauges().items()}
    assert told["privacy_budgets_loaded"] == AT_ONCE + 1


def after(days: float, spent_epsilon: str, before: Entry | None = None) -> tuple[Entry, float]:
    """A tenant's last entry that long after its window began, and that moment."""
    head = before or opened("t", epsilon="10")
    head = spent(head, asked("t", spent_epsilon)) if Decimal(spent_epsilon) else head
    return head, head.period_start.timestamp() + days * DAY


def test_a_steady_pace_ends_when_the_rest_is_gone() -> None:
    """Half of the claims' room in five days leaves as many again, or more where another filter has more room."""
    head, now = after(5, "5")
    left = seconds_left(seen(None, head, now), head, now)
    assert left is not None
    assert left == pytest.approx(5 * DAY * (1 - used(head)) / used(head))


def test_a_burst_counts_by_its_own_pace_and_not_by_the_long_calm_before() -> None:
    """After two hundred quiet days half a budget in a day is a matter of days."""
    calm, then = after(200, "0.1")
    known = seen(None, calm, then)
    burst, _ = after(0, "5", calm)
    now = then + DAY
    by_pace = seconds_left(known, burst, now)
    assert by_pace is not None
    assert by_pace < 2 * DAY


def test_what_is_remembered_is_at_most_a_day_old() -> None:
    """Looks move on, so yesterday's burst is forgotten when it has been quiet since."""
    head, then = after(10, "5")
    known = seen(None, head, then)
    for hours in range(1, 30):
        known = seen(known, head, then + hours * 3_600)
    assert then + 30 * 3_600 - known.older[0] <= 2 * LOOK_BACK_SECONDS
    assert seconds_left(known, head, then + 30 * 3_600) is None


def test_a_budget_that_renews_before_it_ends_does_not_end() -> None:
    """The window's end is nearer than the pace's."""
    head, now = after(1, "1")
    renewing = replace(head, renewal_days=3)
    assert seconds_left(seen(None, head, now), head, now) is not None
    assert seconds_left(seen(None, renewing, now), renewing, now) is None


def test_nothing_spent_has_no_pace_and_all_spent_no_time_left() -> None:
    """None, and zero."""
    unspent, now = after(1, "0")
    assert used(unspent) == 0
    assert seconds_left(seen(None, unspent, now), unspent, now) is None
    gone, now = after(1, "10")
    assert used(gone) == 1
    assert seconds_left(seen(None, gone, now), gone, now) == 0
