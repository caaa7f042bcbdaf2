"""The ledger derived a second time: a plain fold over entries, in arithmetic of its own.

Admission and settlement compute a balance and write it into an entry. Here each balance is computed again from what the
entry says has happened, and compared. Of the code under test only prices are used (what a member counts for an event).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import combinations

from accounting.datasets import Dataset
from accounting.events import Adjacency, Event
from accounting.filters import Budget
from accounting.ledger.canonical import sha256
from accounting.ledger.entry import Entry, EntryKind
from accounting.values import PrivacyLoss
from tests.simulation.sums import (
    Sums,
    caps,
    charge_of,
    given_back_of,
    largest,
    minus,
    nearly_full,
    nothing_of,
    plus,
    sums,
    within,
)
from tests.simulation.violation import require


@dataclass(frozen=True)
class DatasetSums:
    """A data set, and what was charged on the whole of it and on each partition."""

    dataset: Dataset
    budget: Budget
    whole: Sums
    parts: Mapping[str, Sums]

    def on(self, partition: str | None) -> Sums:
        """What was charged on a partition alone, or on the whole."""
        return self.whole if partition is None else self.parts.get(partition, nothing_of(self.budget))

    def exposure(self, partition: str | None) -> Sums:
        """An upper bound of what anybody in the partition was exposed to."""
        nothing = nothing_of(self.budget)
        counted = 1 if self.dataset.adjacency is Adjacency.ADD_REMOVE else 2
        if partition is None:
            return plus(self.whole, largest(list(self.parts.values()), counted, nothing))
        others = [spent for name, spent in self.parts.items() if name != partition]
        return plus(plus(self.whole, self.on(partition)), largest(others, counted - 1, nothing))

    def each(self) -> Iterator[Sums]:
        """What each pair of neighbours differs in: a person's partition, or the two that a person moves between."""
        yield self.whole
        size = 1 if self.dataset.adjacency is Adjacency.ADD_REMOVE else 2
        for group in combinations(self.parts.values(), min(size, len(self.parts))):
            total = self.whole
            for part in group:
                total = plus(total, part)
            yield total


@dataclass(frozen=True)
class Balance:
    """A tenant's balances after an entry."""

    entry: Entry
    budget: Budget
    spent: Sums
    held: Sums
    lifetime: Sums
    operations: int
    period_start: datetime
    renewal_days: int | None
    legal_hold: bool
    datasets: Mapping[str, DatasetSums] = field(default_factory=dict)

    @property
    def period_end(self) -> datetime | None:
        """When the window ends."""
        return None if self.renewal_days is None else self.period_start + timedelta(days=self.renewal_days)


@dataclass
class TenantFold:
    """One tenant's history, derived entry by entry.

    Attributes:
        losses: The price of each event that may be asked for, as an (epsilon, delta).
        entries: All so far.
        balances: After each of them.
        openings, ends, adjustments: By allocation.
        keys: The entry of each idempotency key.
    """

    losses: Callable[[Event], PrivacyLoss]
    entries: list[Entry] = field(default_factory=list)
    balances: list[Balance] = field(default_factory=list)
    openings: dict[str, Entry] = field(default_factory=dict)
    ends: dict[str, Entry] = field(default_factory=dict)
    adjustments: dict[str, Entry] = field(default_factory=dict)
    keys: dict[str, Entry] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Takes one more entry.

        Raises:
            ViolationError: If it does not follow from those before.
        """
        before = self.balances[-1] if self.balances else None
        require(entry.seq == len(self.entries) + 1, "a position is taken twice or left out:", entry.seq)
        previous = bytes(32) if before is None else sha256(before.entry.body)
        require(entry.prev_hash == previous, "an entry does not follow the one before it:", entry.seq)
        after = _opened(entry) if before is None else self._after(before, entry)
        self._compare(after, entry)
        self.entries.append(entry)
        self.balances.append(after)

    def _after(self, before: Balance, entry: Entry) -> Balance:
        end = before.period_end
        if entry.kind is not EntryKind.RENEWED:
            require(end is None or entry.at < end or entry.kind is EntryKind.BUDGET_SET, "an ended window was used")
        match entry.kind:
            case EntryKind.BUDGET_SET:
                return _raised(before, entry)
            case EntryKind.CONSUMED | EntryKind.HELD:
                return self._charged(before, entry)
            case EntryKind.COMMITTED | EntryKind.VOIDED | EntryKind.EXPIRED_SPENT:
                return self._ended(before, entry)
            case EntryKind.ADJUSTED:
                return self._adjusted(before, entry)
            case EntryKind.RENEWED:
                return _renewed(before, entry)
            case EntryKind.DATASET_SET:
                return _registered(before, entry)
            case EntryKind.RETENTION_LOCKED | EntryKind.RETENTION_RELEASED:
                locked = entry.kind is EntryKind.RETENTION_LOCKED
                require(locked is not before.legal_hold, "a legal hold was placed or lifted twice")
                return replace(before, entry=entry, legal_hold=locked)

    def _charged(self, before: Balance, entry: Entry) -> Balance:
        identity, key, event = entry.allocation_id, entry.idempotency_key, entry.event
        assert identity is not None
        assert key is not None
        assert event is not None
        require(key not in self.keys, "a key was used twice:", key)
        require(identity not in self.openings, "an allocation began twice:", identity)
        self.keys[key] = self.openings[identity] = entry
        charge = charge_of(before.budget, event, self.losses(event))
        require(entry.charge is not None and sums(entry.charge) == charge, "the charge is not the event's price")
        spent = plus(before.spent, charge)
        require(within(spent, caps(before.budget)), "the tenant's budget is overspent:", spent)
        crossed = _crossed(entry, "tenant", before.budget, before.spent, spent)
        datasets = before.datasets
        if entry.dataset is not None:
            named, part = entry.dataset.dataset_id, entry.dataset.partition
            known = before.datasets[named]
            require(part is None or part in known.dataset.partitions, "an unregistered partition was charged:", part)
            theirs = charge_of(known.budget, event, self.losses(event))
            require(entry.dataset.charge is not None and sums(entry.dataset.charge) == theirs, "not all scopes charged")
            after = _with_part(known, part, plus(known.on(part), theirs))
            for exposed in after.each():
                require(within(exposed, caps(known.budget)), "a data set's budget is overspent:", named, exposed)
            crossed += _crossed(entry, "data set", known.budget, known.exposure(part), after.exposure(part))
            datasets = {**datasets, named: after}
        require(len(entry.crossed) == crossed, "a budget's last tenth was told of wrongly:", entry.crossed)
        is_hold = entry.kind is EntryKind.HELD
        require(is_hold is (entry.due_at is not None and entry.due_at > entry.at), "a hold has no time of its own")
        return replace(
            before,
            entry=entry,
            spent=spent,
            held=plus(before.held, charge) if is_hold else before.held,
            lifetime=plus(before.lifetime, charge),
            operations=before.operations + 1,
            datasets=datasets,
        )

    def _ended(self, before: Balance, entry: Entry) -> Balance:
        opening = self._opening(entry)
        require(opening.kind is EntryKind.HELD, "what is no hold was ended")
        assert opening.due_at is not None
        assert opening.charge is not None
        require(entry.allocation_id not in self.ends, "an allocation ended twice:", entry.allocation_id)
        self.ends[opening.allocation_id or ""] = entry
        due = entry.at >= opening.due_at
        steps = _steps(entry)
        if entry.kind is EntryKind.EXPIRED_SPENT:
            require(due, "a hold expired before its time")
        elif entry.kind is EntryKind.VOIDED or steps is not None:
            require(not due, "a hold gave back after its time")
        held = minus(before.held, sums(opening.charge))
        if entry.kind is EntryKind.EXPIRED_SPENT or (entry.kind is EntryKind.COMMITTED and steps is None):
            require(entry.charge is None, "an end gave back what it may not")
            return replace(before, entry=entry, held=held)
        back = given_back_of(opening, before.budget, opening.charge, steps)
        after = self._reduced(before, entry, opening, back, in_window=True)
        voided = entry.kind is EntryKind.VOIDED
        return replace(after, held=held, operations=before.operations - 1 if voided else before.operations)

    def _adjusted(self, before: Balance, entry: Entry) -> Balance:
        opening = self._opening(entry)
        identity = opening.allocation_id or ""
        end = self.ends.get(identity)
        require(bool((entry.details or {}).get("statement")), "an adjustment was not signed")
        require(identity not in self.adjustments, "an allocation was adjusted twice:", identity)
        require(opening.kind is EntryKind.CONSUMED or end is not None, "an open hold was adjusted")
        require(end is None or end.kind is not EntryKind.VOIDED, "a void was adjusted")
        self.adjustments[identity] = entry
        assert opening.charge is not None
        left = sums(opening.charge)
        if end is not None and end.charge is not None:
            left = minus(left, sums(end.charge))
        last = end or opening
        in_window = before.lifetime == before.spent or last.at >= before.period_start
        after = self._reduced(before, entry, opening, left, in_window=in_window)
        return replace(after, operations=before.operations - 1)

    def _opening(self, entry: Entry) -> Entry:
        require(entry.allocation_id in self.openings, "an allocation ended that never began:", entry.allocation_id)
        return self.openings[entry.allocation_id or ""]

    def _reduced(self, before: Balance, entry: Entry, opening: Entry, back: Sums, *, in_window: bool) -> Balance:
        """The balance with a charge, or a part of it, taken back in every scope that was charged."""
        require(entry.charge is not None and sums(entry.charge) == back, "more or less was given back than may be")
        datasets = before.datasets
        if opening.dataset is not None:
            named, part = opening.dataset.dataset_id, opening.dataset.partition
            require(entry.dataset is not None, "a charge was taken back in one scope only")
            assert entry.dataset is not None
            known = before.datasets[named]
            theirs = self._given_back_there(entry, opening)
            back_there = entry.dataset.charge
            require(back_there is not None and sums(back_there) == theirs, "not all scopes gave back what they may")
            datasets = {**datasets, named: _with_part(known, part, minus(known.on(part), theirs))}
        return replace(
            before,
            entry=entry,
            spent=minus(before.spent, back) if in_window else before.spent,
            lifetime=minus(before.lifetime, back),
            datasets=datasets,
        )

    def _given_back_there(self, entry: Entry, opening: Entry) -> Sums:
        assert opening.dataset is not None
        assert opening.dataset.charge is not None
        if entry.kind is EntryKind.ADJUSTED:
            end = self.ends.get(opening.allocation_id or "")
            earlier = None if end is None or end.dataset is None else end.dataset.charge
            whole = sums(opening.dataset.charge)
            return whole if earlier is None else minus(whole, sums(earlier))
        steps = (entry.details or {}).get("steps")
        return given_back_of(
            opening, opening.dataset.budget, opening.dataset.charge, None if steps is None else int(steps)
        )

    def _compare(self, after: Balance, entry: Entry) -> None:
        """What the entry says of itself is what was derived."""
        seq = entry.seq
        require(entry.budget == after.budget, "the budget is another one at", seq)
        require(sums(entry.spent) == after.spent, "spent is not the sum of the charges at", seq)
        require(sums(entry.held) == after.held, "held is not the sum of the open holds at", seq)
        require(sums(entry.lifetime) == after.lifetime, "lifetime is not the sum of all charges at", seq)
        require(min(after.spent) >= 0 and min(after.held) >= 0, "a sum is negative at", seq)
        require(entry.operations == after.operations, "operations are miscounted at", seq)
        require(entry.period_start == after.period_start, "the window began elsewhere at", seq)
        require(entry.renewal_days == after.renewal_days, "the window has another length at", seq)
        require(entry.legal_hold is after.legal_hold, "the legal hold is another one at", seq)
        if entry.dataset is not None:
            known = after.datasets[entry.dataset.dataset_id]
            require(entry.dataset.budget == known.budget, "the data set's budget is another one at", seq)
            require(sums(entry.dataset.spent) == known.on(entry.dataset.partition), "data set miscounted at", seq)
            if entry.dataset.exposed is not None:
                exposed = known.exposure(entry.dataset.partition)
                require(sums(entry.dataset.exposed) == exposed, "exposure is not the sum of what it counts at", seq)


def _crossed(entry: Entry, scope: str, budget: Budget, before: Sums, after: Sums) -> int:
    """1 if that charge took the scope into its last tenth, and the entry says so; 0 if it did not."""
    crossed = nearly_full(budget, after) and not nearly_full(budget, before)
    told = any(name.startswith(scope) for name in entry.crossed)
    require(told is crossed, "a budget's last tenth was told of wrongly:", scope, entry.crossed)
    return int(crossed)


def _opened(entry: Entry) -> Balance:
    require(entry.kind is EntryKind.BUDGET_SET, "a history begins without a budget")
    nothing = nothing_of(entry.budget)
    return Balance(entry, entry.budget, nothing, nothing, nothing, 0, entry.at, entry.renewal_days, legal_hold=False)


def _raised(before: Balance, entry: Entry) -> Balance:
    require(_covers(entry.budget, before.budget), "a budget was lowered")
    days = entry.renewal_days
    begins = before.renewal_days is None and days is not None
    return replace(
        before,
        entry=entry,
        budget=entry.budget,
        spent=before.lifetime if days is None else before.spent,
        renewal_days=days,
        period_start=entry.at if begins else before.period_start,
    )


def _covers(budget: Budget, other: Budget) -> bool:
    same = [(member.kind, member.order) for member in budget.members] == [
        (member.kind, member.order) for member in other.members
    ]
    return same and all(cap >= earlier for cap, earlier in zip(caps(budget), caps(other), strict=True))


def _renewed(before: Balance, entry: Entry) -> Balance:
    end = before.period_end
    require(end is not None and entry.at >= end, "a window began before the last one ended")
    assert before.renewal_days is not None
    length = timedelta(days=before.renewal_days)
    start = entry.period_start
    require((start - before.period_start) % length == timedelta(0), "a window began out of step:", start)
    require(start <= entry.at < start + length, "a window began that is not the present one:", start)
    return replace(before, entry=entry, spent=before.held, period_start=start)


def _registered(before: Balance, entry: Entry) -> Balance:
    balance = entry.dataset
    assert balance is not None
    assert balance.dataset is not None
    known = before.datasets.get(balance.dataset_id)
    if known is None:
        after = DatasetSums(balance.dataset, balance.budget, nothing_of(balance.budget), {})
    else:
        require(_covers(balance.budget, known.budget), "a data set's budget was lowered")
        old, new = known.dataset, balance.dataset
        require((old.unit, old.adjacency) == (new.unit, new.adjacency), "a data set's unit or adjacency changed")
        require(set(old.partitions) <= set(new.partitions), "a partition went missing")
        after = replace(known, dataset=new, budget=balance.budget)
    return replace(before, entry=entry, datasets={**before.datasets, balance.dataset_id: after})


def _with_part(known: DatasetSums, partition: str | None, spent: Sums) -> DatasetSums:
    if partition is None:
        return replace(known, whole=spent)
    return replace(known, parts={**known.parts, partition: spent})


def _steps(entry: Entry) -> int | None:
    """How many repetitions were run, for a commit of fewer than were held."""
    steps = (entry.details or {}).get("steps")
    return None if steps is None else int(steps)
