"""What administrators decide, and what time decides by itself: budgets, windows, data sets, legal holds.

Each is an entry of its own in the tenant's history, so that what was promised when can be read there.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from accounting.admission import Outcome, Verdict
from accounting.datasets import Dataset, DatasetState
from accounting.filters import Budget, raised
from accounting.ledger.canonical import GENESIS_HASH
from accounting.ledger.entry import DatasetBalance, Entry, EntryKind
from accounting.values import PrivacyLoss

THE_SERVICE = "privacy-engine"
"""The actor of what happens by itself."""


@dataclass(frozen=True, slots=True)
class SetBudget:
    """A request to create a tenant's budget, raise it, or change its windows.

    Attributes:
        tenant_id: Whose.
        budget: The budget to create if there is none; if there is one, it is raised to this one's promise.
        actor: The token's subject.
        delta_stated: Whether the promised delta is wished for; otherwise a budget that exists keeps its own.
        filters_stated: Whether the member filters are wished for; otherwise a budget that exists keeps its own.
        renewal_days: Length of a window in days; None for a lifetime budget.
        renewal_stated: Whether the window is wished for; otherwise a budget that exists keeps its own.
    """

    tenant_id: str
    budget: Budget
    actor: str
    delta_stated: bool = True
    filters_stated: bool = False
    renewal_days: int | None = None
    renewal_stated: bool = False


@dataclass(frozen=True, slots=True)
class Renew:
    """A request to begin the present window, if one is due."""

    tenant_id: str


@dataclass(frozen=True, slots=True)
class SetDataset:
    """A request to register a data set, raise its budget or add partitions.

    Attributes:
        tenant_id: Whose.
        dataset: The registration.
        budget: The data set's budget; if there is one, it is raised to this one's promise.
        actor: The token's subject.
        delta_stated: As in `SetBudget`.
        filters_stated: As in `SetBudget`.
    """

    tenant_id: str
    dataset: Dataset
    budget: Budget
    actor: str
    delta_stated: bool = True
    filters_stated: bool = False

    @property
    def dataset_id(self) -> str:
        """The data set's id."""
        return self.dataset.dataset_id


@dataclass(frozen=True, slots=True)
class SetLegalHold:
    """A request to place or lift a legal hold: while one is in force, nothing of the tenant may be purged.

    Attributes:
        tenant_id: Whose.
        in_force: Whether to place it.
        reason: For people.
        actor: The token's subject.
    """

    tenant_id: str
    in_force: bool
    reason: str
    actor: str


def decide_budget(head: Entry | None, request: SetBudget, now: datetime) -> Verdict:
    """Decides a request to create or raise a budget. The same budget again changes nothing; a lower one is refused.

    A budget keeps the member filters that it was created with: a new one could not know what the history costs it.
    A lifetime budget that begins to renew keeps what was spent in its first window; one that no longer renews counts
    all that was ever spent.
    """
    if head is None:
        nothing = request.budget.nothing()
        entry = Entry(
            tenant_id=request.tenant_id,
            seq=1,
            kind=EntryKind.BUDGET_SET,
            at=now,
            budget=request.budget,
            spent=nothing,
            held=nothing,
            lifetime=nothing,
            operations=0,
            period_start=now,
            renewal_days=request.renewal_days,
            prev_hash=GENESIS_HASH,
            actor=request.actor,
        )
        entry = replace(entry, due_at=entry.period_end)
        return Verdict(Outcome.ADMITTED, (entry,), entry)
    budget = _raised(head.budget, request)
    if isinstance(budget, Outcome):
        return Verdict(budget, answer=head, present=head.budget)
    days = request.renewal_days if request.renewal_stated else head.renewal_days
    if budget == head.budget and days == head.renewal_days:
        return Verdict(Outcome.REPLAYED, answer=head)
    entry = replace(
        _next(head, EntryKind.BUDGET_SET, request.actor, now),
        budget=budget,
        renewal_days=days,
        spent=head.lifetime if days is None else head.spent,
        period_start=now if head.renewal_days is None and days is not None else head.period_start,
    )
    entry = replace(entry, due_at=entry.period_end)
    return Verdict(Outcome.ADMITTED, (entry,), entry)


def renewal(head: Entry, now: datetime) -> Entry | None:
    """The entry that begins the window that `now` is in; None while the present one lasts.

    A hold that is open across the boundary counts in both windows.
    """
    end = head.period_end
    if end is None or now < end:
        return None
    length = end - head.period_start
    entry = replace(
        _next(head, EntryKind.RENEWED, THE_SERVICE, now),
        spent=head.held,
        period_start=head.period_start + (now - head.period_start) // length * length,
    )
    return replace(entry, due_at=entry.period_end)


def decide_dataset(head: Entry, state: DatasetState | None, request: SetDataset, now: datetime) -> Verdict:
    """Decides a request to register a data set or raise its budget. Unit and adjacency stay what they are."""
    budget = request.budget if state is None else _raised(state.budget, request)
    if isinstance(budget, Outcome):
        return Verdict(budget, answer=head, present=None if state is None else state.budget)
    if state is not None:
        if not request.dataset.extends(state.dataset):
            return Verdict(Outcome.DATASET_CHANGED, answer=head)
        if (request.dataset, budget) == (state.dataset, state.budget):
            return Verdict(Outcome.REPLAYED, answer=head)
    whole = budget.nothing() if state is None else state.whole
    balance = DatasetBalance(request.dataset_id, None, budget, whole, dataset=request.dataset)
    entry = replace(_next(head, EntryKind.DATASET_SET, request.actor, now), dataset=balance)
    return Verdict(Outcome.ADMITTED, (entry,), entry)


def decide_legal_hold(head: Entry, request: SetLegalHold, now: datetime) -> Verdict:
    """Decides a request to place or lift a legal hold. What is so already changes nothing."""
    if head.legal_hold == request.in_force:
        return Verdict(Outcome.REPLAYED, answer=head)
    kind = EntryKind.RETENTION_LOCKED if request.in_force else EntryKind.RETENTION_RELEASED
    entry = replace(
        _next(head, kind, request.actor, now), legal_hold=request.in_force, details={"reason": request.reason}
    )
    return Verdict(Outcome.ADMITTED, (entry,), entry)


def _raised(current: Budget, request: SetBudget | SetDataset) -> Budget | Outcome:
    """The budget raised to what is wished, or why it is not."""
    wished = request.budget
    delta = wished.promise.delta if request.delta_stated else current.promise.delta
    promise = PrivacyLoss(wished.promise.epsilon, delta)
    if not current.promise.within(promise):
        return Outcome.BUDGET_LOWERED
    budget = raised(current, promise)
    if not budget.covers(current):
        return Outcome.BUDGET_LOWERED
    if request.filters_stated and wished.members != budget.members:
        return Outcome.FILTERS_CHANGED
    return budget


def _next(head: Entry, kind: EntryKind, actor: str, now: datetime) -> Entry:
    """An entry that changes nothing but the position."""
    return Entry(
        tenant_id=head.tenant_id,
        seq=head.seq + 1,
        kind=kind,
        at=now,
        budget=head.budget,
        spent=head.spent,
        held=head.held,
        lifetime=head.lifetime,
        operations=head.operations,
        period_start=head.period_start,
        renewal_days=head.renewal_days,
        prev_hash=head.hash,
        actor=actor,
        legal_hold=head.legal_hold,
    )
