"""A tenant's state: the fold of its history, which each entry moves on by one step.

Entries carry balances, so the fold only takes over what an entry says; that what it says follows from the entry before
is what `accounting.ledger.audit` checks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from accounting.datasets import DatasetState
from accounting.ledger.entry import Entry


@dataclass(frozen=True, slots=True)
class TenantState:
    """What the owner of a tenant's budget keeps in memory.

    Attributes:
        head: The last entry.
        datasets: The data sets that were read, by id; None where the tenant has none of that id. Others are in the
            ledger and have to be read before they can be charged.
    """

    head: Entry
    datasets: Mapping[str, DatasetState | None]

    def after(self, entry: Entry) -> "TenantState":
        """The state after one more entry."""
        return TenantState(entry, self.datasets if entry.dataset is None else _datasets_after(self.datasets, entry))


def fold(entries: Iterable[Entry]) -> TenantState | None:
    """The state after a whole history, oldest entry first; None after an empty one."""
    state: TenantState | None = None
    for entry in entries:
        state = TenantState(entry, _datasets_after({}, entry)) if state is None else state.after(entry)
    return state


def dataset_of(entries: Iterable[Entry]) -> DatasetState | None:
    """A data set's state from its registration and the last entries of its parts; None without a registration.

    Args:
        entries: Of one data set: its latest registration first, then at least the last entry of the whole and of each
            partition, later after earlier.
    """
    states: Mapping[str, DatasetState | None] = {}
    for entry in entries:
        states = _datasets_after(states, entry)
    return next(iter(states.values()), None)


def _datasets_after(states: Mapping[str, DatasetState | None], entry: Entry) -> Mapping[str, DatasetState | None]:
    balance = entry.dataset
    if balance is None:
        return states
    state = states.get(balance.dataset_id)
    if balance.dataset is not None:
        parts = {} if state is None else state.parts
        state = DatasetState(balance.dataset, balance.budget, balance.spent, parts)
    elif state is not None:
        state = state.charged(balance.partition, balance.spent)
    else:
        # Not read yet: it stays so, and whoever needs it reads it whole.
        return states
    return {**states, balance.dataset_id: state}
