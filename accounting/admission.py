"""Who may spend what: pure decisions on a tenant's state. Nothing here waits, reads a clock or touches a disk.

A decision is a `Verdict`: an `Outcome` from a closed set, with the entries to append if it changes anything. Outcomes
of an allocation, in order of precedence:

1. `KEY_REUSED`: the idempotency key was used for another request.
2. `REPLAYED`: the same request was admitted before; the first answer again, nothing charged.
3. `UNKNOWN_DATASET`, `UNKNOWN_PARTITION`, `OTHER_NEIGHBOURS`: the data set that is named cannot be charged so.
4. `UNPRICED`: a member filter has no price for the event that two accountants agree on.
5. `BUDGET_EXHAUSTED`: in a scope that the operation touches, no member filter would still hold after the charge. The
   tenant's budget is asked first, then the data set's.
6. `OPERATION_LIMIT`: the charge is above what a single operation may cost.
7. `ADMITTED`: every scope is charged, in one entry.

The tenant chooses each request after seeing earlier answers, so admission is a privacy filter: `accounting.filters`.
What ends an allocation is in `accounting.settlement`, what sets budgets and data sets in `accounting.policy`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from accounting.conversion import PricingDisagreementError
from accounting.datasets import DatasetState
from accounting.events import Event
from accounting.filters import Budget, Charge
from accounting.ledger.entry import DatasetBalance, Entry, EntryKind
from accounting.values import InvalidValueError, PrivacyLoss


class Outcome(StrEnum):
    """How a request was answered. Closed."""

    ADMITTED = "admitted"
    REPLAYED = "replayed"
    KEY_REUSED = "key_reused"
    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_DATASET = "unknown_dataset"
    UNKNOWN_PARTITION = "unknown_partition"
    OTHER_NEIGHBOURS = "other_neighbours"
    UNPRICED = "unpriced"
    BUDGET_EXHAUSTED = "budget_exhausted"
    OPERATION_LIMIT = "operation_limit"
    UNKNOWN_ALLOCATION = "unknown_allocation"
    ALLOCATION_ENDED = "allocation_ended"
    HOLD_EXPIRED = "hold_expired"
    HOLD_NOT_DUE = "hold_not_due"
    NOT_DIVISIBLE = "not_divisible"
    STILL_HELD = "still_held"
    BUDGET_LOWERED = "budget_lowered"
    FILTERS_CHANGED = "filters_changed"
    DATASET_CHANGED = "dataset_changed"


ACCEPTED = frozenset({Outcome.ADMITTED, Outcome.REPLAYED})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one operation may cost, whatever the budget holds.

    Attributes:
        epsilon: The largest epsilon of one operation.
        by_engine: Smaller bounds for some engines.
    """

    epsilon: Decimal
    by_engine: Mapping[str, Decimal] = field(default_factory=dict)

    def for_engine(self, engine: str | None) -> Decimal:
        """The largest epsilon of one operation of that engine."""
        return min(self.epsilon, self.by_engine.get(engine or "", self.epsilon))


@dataclass(frozen=True, slots=True)
class Allocate:
    """A request to spend.

    Attributes:
        tenant_id: Whose budget.
        job_id: The caller's job; many allocations may share it.
        event: What will be done to the data.
        loss: What the event costs as an (epsilon, delta), from `accounting.plans.price`. What the members of the
            tenant's budget count for it follows from the event.
        key: Idempotency key.
        request_hash: SHA-256 of the canonical request, hex.
        source_engine: The engine that asks.
        actor: The token's subject.
        details: Other facts to keep, for people.
        ttl_seconds: None to spend at once; otherwise the charge is held, and counts as spent for good once this many
            seconds have passed without a commit or void.
        dataset_id: The registered data set that is used, None for none that is registered.
        partition: The registered partition of it that is used alone; None for all of it.
        task: For a hold: what is to be done under it, as text that is stored with it. Its digest is in `details`.
    """

    tenant_id: str
    job_id: str
    event: Event
    loss: PrivacyLoss
    key: str
    request_hash: str
    source_engine: str | None
    actor: str
    details: Mapping[str, str | int]
    ttl_seconds: int | None = None
    dataset_id: str | None = None
    partition: str | None = None
    task: str | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a budget refuses a charge.

    Attributes:
        scope: Whose budget, in words.
        budget: That budget.
        spent: What its members had counted.
        charge: What they would have counted for the request.
        others: The other budgets that the request touches, each with what its members had counted: what would fit has
            to fit them too.
    """

    scope: str
    budget: Budget
    spent: Charge
    charge: Charge
    others: tuple[tuple[Budget, Charge], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision.

    Attributes:
        outcome: From the closed set.
        entries: What must be durable before the answer leaves; empty if nothing changes.
        answer: The entry that the answer is about: the new one, or for a replay the first one.
        shortage: For `BUDGET_EXHAUSTED`: which budget refused, and why.
        reason: For refusals that need more words: what was wrong.
        limit: For `OPERATION_LIMIT`: the largest epsilon allowed.
        present: For `BUDGET_LOWERED` and `FILTERS_CHANGED`: the budget as it is.
    """

    outcome: Outcome
    entries: tuple[Entry, ...] = ()
    answer: Entry | None = None
    shortage: Shortage | None = None
    reason: str = ""
    limit: Decimal | None = None
    present: Budget | None = None


def decide_allocation(
    head: Entry,
    earlier: Entry | None,
    request: Allocate,
    limits: Limits,
    now: datetime,
    dataset: DatasetState | None = None,
) -> Verdict:
    """Decides a request to spend.

    Args:
        head: The tenant's last entry, of the window that `now` is in (`accounting.policy.renewal`).
        earlier: The entry under the request's key, if there is one.
        request: The request.
        limits: Per-operation limits.
        now: Database time.
        dataset: The state of the data set that the request names; None if the tenant has none of that id.
    """
    if earlier is not None:
        if earlier.request_hash != request.request_hash:
            return Verdict(Outcome.KEY_REUSED, answer=earlier)
        return Verdict(Outcome.REPLAYED, answer=earlier)
    if request.dataset_id is None:
        dataset = None
    else:
        refused = unfit(request.event, dataset, request.partition)
        if refused is not None:
            return refused
    try:
        charge = head.budget.charge(request.event, request.loss)
        dataset_charge = None if dataset is None else dataset.budget.charge(request.event, request.loss)
    except (InvalidValueError, PricingDisagreementError) as error:
        return Verdict(Outcome.UNPRICED, reason=str(error))
    spent = head.spent.plus(charge)
    crossed: tuple[str, ...] = ()
    if not head.budget.admits(spent):
        others = () if dataset is None else ((dataset.budget, dataset.exposure(request.partition)),)
        return _exhausted(Shortage(tenant_scope(head), head.budget, head.spent, charge, others))
    if head.budget.nearly_exhausted(spent) and not head.budget.nearly_exhausted(head.spent):
        crossed = (tenant_scope(head),)
    balance = None
    if dataset is not None and dataset_charge is not None:
        name, partition = dataset.dataset.dataset_id, request.partition
        scope, exposed = dataset_scope(name, partition), dataset.exposure(partition)
        after = exposed.plus(dataset_charge)
        if not dataset.budget.admits(after):
            return _exhausted(Shortage(scope, dataset.budget, exposed, dataset_charge, ((head.budget, head.spent),)))
        if dataset.budget.nearly_exhausted(after) and not dataset.budget.nearly_exhausted(exposed):
            crossed = (*crossed, scope)
        balance = DatasetBalance(
            name,
            partition,
            dataset.budget,
            dataset.spent_on(partition).plus(dataset_charge),
            dataset_charge,
            exposed=after,
        )
    limit = limits.for_engine(request.source_engine)
    if request.loss.epsilon > limit:
        return Verdict(Outcome.OPERATION_LIMIT, limit=limit)
    ttl = request.ttl_seconds
    entry = Entry(
        tenant_id=head.tenant_id,
        seq=head.seq + 1,
        kind=EntryKind.CONSUMED if ttl is None else EntryKind.HELD,
        at=now,
        budget=head.budget,
        spent=spent,
        held=head.held if ttl is None else head.held.plus(charge),
        # One object while the budget has not renewed: there is nothing to add up twice then.
        lifetime=spent if head.lifetime is head.spent else head.lifetime.plus(charge),
        operations=head.operations + 1,
        period_start=head.period_start,
        renewal_days=head.renewal_days,
        prev_hash=head.hash,
        charge=charge,
        event=request.event,
        allocation_id=allocation_id_of(request.tenant_id, request.key),
        job_id=request.job_id,
        source_engine=request.source_engine,
        idempotency_key=request.key,
        request_hash=request.request_hash,
        details=request.details,
        actor=request.actor,
        due_at=None if ttl is None else now + timedelta(seconds=ttl),
        dataset=balance,
        legal_hold=head.legal_hold,
        crossed=crossed,
        task=request.task,
    )
    return Verdict(Outcome.ADMITTED, (entry,), entry)


def allocation_id_of(tenant_id: str, key: str) -> str:
    """The allocation's id: a UUID (RFC 9562, version 8) that follows from the tenant and the idempotency key.

    A key stands for one allocation for ever, so its id needs no chance, and whoever holds the key knows the id even
    if the answer was lost.
    """
    text = hashlib.sha256(f"{tenant_id}\x00{key}".encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:32]}"


def tenant_scope(head: Entry) -> str:
    """What the tenant's budget is about, in words: all time, or the present window."""
    return "tenant lifetime" if head.renewal_days is None else "tenant window"


def dataset_scope(dataset_id: str, partition: str | None) -> str:
    """What the budget of a data set, or of a partition of it, is about, in words."""
    named = f"data set {dataset_id}"
    return named if partition is None else f"{named}, partition {partition}"


def unfit(event: Event, dataset: DatasetState | None, partition: str | None) -> Verdict | None:
    """Why an event cannot be charged on the data set that a request names, or on that partition; None if it can."""
    if dataset is None:
        return Verdict(Outcome.UNKNOWN_DATASET)
    if partition is not None and partition not in dataset.dataset.partitions:
        return Verdict(Outcome.UNKNOWN_PARTITION)
    reason = dataset.dataset.refuses(event, partition)
    return None if reason is None else Verdict(Outcome.OTHER_NEIGHBOURS, reason=reason)


def _exhausted(shortage: Shortage) -> Verdict:
    return Verdict(Outcome.BUDGET_EXHAUSTED, shortage=shortage)
