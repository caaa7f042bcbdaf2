"""What an auditor keeps of a tenant's history while reading it: as far as what follows depends on it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from accounting.datasets import DatasetState
from accounting.filters import Charge
from accounting.ledger.entry import ENDING_KINDS, DatasetBalance, Entry, EntryKind


class Ended(NamedTuple):
    """What is left of an allocation that has ended, for an adjustment.

    Attributes:
        taken: What it costs the tenant.
        dataset: The data set and partition that it was charged on, and what it costs there.
        adjustable: Whether there is something to take back.
    """

    taken: Charge
    dataset: tuple[str, str | None, Charge] | None
    adjustable: bool


@dataclass(slots=True)
class Books:
    """A tenant's history so far.

    Attributes:
        head: The last entry.
        holds: Open holds, by allocation.
        datasets: Registered data sets with their sums.
    """

    head: Entry
    holds: dict[str, Entry] = field(default_factory=dict)
    datasets: dict[str, DatasetState] = field(default_factory=dict)
    # Keys never expire, so every allocation that has ended is remembered: a number and a moment for each, beside a
    # value that all of one cost share.
    _ended: dict[int, tuple[Ended, datetime]] = field(default_factory=dict)
    _alike: dict[Ended, Ended] = field(default_factory=dict)

    def knows(self, allocation_id: str) -> bool:
        """Whether there is an allocation of that id, open or ended."""
        return allocation_id in self.holds or _number(allocation_id) in self._ended

    def ended(self, allocation_id: str) -> tuple[Ended, datetime] | None:
        """What is left of an allocation that has ended, and when it did; None where it has not, or is not there."""
        return self._ended.get(_number(allocation_id))

    def adopt(self, entry: Entry) -> None:
        """Goes on from what the next entry says, right or wrong, so that one fault is told once."""
        self.head = entry
        allocation = entry.allocation_id or ""
        if entry.kind is EntryKind.HELD:
            self.holds[allocation] = entry
        elif entry.kind is EntryKind.CONSUMED:
            self._end(entry, None)
        elif entry.kind in ENDING_KINDS and allocation in self.holds:
            self._end(self.holds.pop(allocation), entry)
        elif entry.kind is EntryKind.ADJUSTED and (known := self.ended(allocation)) is not None:
            self._ended[_number(allocation)] = (known[0]._replace(adjustable=False), known[1])
        if entry.dataset is not None:
            self._adopt_balance(entry.dataset)

    def _end(self, opening: Entry, ending: Entry | None) -> None:
        taken = opening.charge or opening.budget.nothing()
        if ending is not None and ending.charge is not None:
            taken = taken.minus(ending.charge)
        theirs, dataset = opening.dataset, None
        if theirs is not None and theirs.charge is not None:
            left = theirs.charge
            if ending is not None and ending.dataset is not None and ending.dataset.charge is not None:
                left = left.minus(ending.dataset.charge)
            dataset = (theirs.dataset_id, theirs.partition, left)
        last = ending or opening
        value = Ended(taken, dataset, last.kind is not EntryKind.VOIDED)
        self._ended[_number(opening.allocation_id or "")] = (self._alike.setdefault(value, value), last.at)

    def _adopt_balance(self, balance: DatasetBalance) -> None:
        state = self.datasets.get(balance.dataset_id)
        if balance.dataset is not None:
            parts = {} if state is None else state.parts
            self.datasets[balance.dataset_id] = DatasetState(balance.dataset, balance.budget, balance.spent, parts)
        elif state is not None:
            self.datasets[balance.dataset_id] = state.charged(balance.partition, balance.spent)


def _number(allocation_id: str) -> int:
    """64 bits for an id. Python's hash of a text is keyed anew for each process: nobody can aim at a collision."""
    return hash(allocation_id)
