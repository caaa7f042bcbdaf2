"""Who may spend what: pure decisions on a tenant's last entry. Nothing here waits, reads a clock or touches a disk.

A decision is a `Verdict`: an `Outcome` from a closed set, with the entries to append if it changes anything. Outcomes
of an allocation, in order of precedence:

1. `KEY_REUSED`: the idempotency key was used for another request.
2. `REPLAYED`: the same request was admitted before; the first answer again, nothing charged.
3. `UNPRICED`: a member filter has no price for the event that two accountants agree on.
4. `BUDGET_EXHAUSTED`: no member filter would still hold after the charge.
5. `OPERATION_LIMIT`: the charge is above what a single operation may cost.
6. `ADMITTED`.

The tenant chooses each request after seeing earlier answers, so admission is a privacy filter: `accounting.filters`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from accounting.conversion import PricingDisagreementError
from accounting.events import Event
from accounting.filters import Budget, Charge, raised
from accounting.ledger.canonical import GENESIS_HASH
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind
from accounting.values import InvalidValueError, PrivacyLoss

TENANT_SCOPE = "tenant lifetime"


class Outcome(StrEnum):
    """How a request was answered. Closed."""

    ADMITTED = "admitted"
    REPLAYED = "replayed"
    KEY_REUSED = "key_reused"
    UNPRICED = "unpriced"
    BUDGET_EXHAUSTED = "budget_exhausted"
    OPERATION_LIMIT = "operation_limit"
    UNKNOWN_TENANT = "unknown_tenant"
    UNKNOWN_ALLOCATION = "unknown_allocation"
    ALLOCATION_ENDED = "allocation_ended"
    HOLD_EXPIRED = "hold_expired"
    BUDGET_LOWERED = "budget_lowered"
    FILTERS_CHANGED = "filters_changed"


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


@dataclass(frozen=True, slots=True)
class SetBudget:
    """A request to create a tenant's budget or raise it.

    Attributes:
        tenant_id: Whose.
        budget: The budget to create if there is none; if there is one, it is raised to this one's promise.
        actor: The token's subject.
        delta_stated: Whether the promised delta is wished for; otherwise a budget that exists keeps its own.
        filters_stated: Whether the member filters are wished for; otherwise a budget that exists keeps its own.
    """

    tenant_id: str
    budget: Budget
    actor: str
    delta_stated: bool = True
    filters_stated: bool = False


@dataclass(frozen=True, slots=True)
class Settle:
    """A request to end an allocation: commit it, or void it because no data was read.

    Attributes:
        tenant_id: Whose allocation.
        allocation_id: Which.
        kind: `EntryKind.COMMITTED` or `EntryKind.VOIDED`.
        actor: The token's subject.
        history: The allocation's entries so far, oldest first, as the store has them.
    """

    tenant_id: str
    allocation_id: str
    kind: EntryKind
    actor: str
    history: tuple[Entry, ...]


Command = Allocate | SetBudget | Settle


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision.

    Attributes:
        outcome: From the closed set.
        entries: What must be durable before the answer leaves; empty if nothing changes.
        answer: The entry that the answer is about: the new one, or for a replay the first one.
        head: For refusals for want of budget: the entry that the request was decided on.
        charge: For the same: what the budget's members would have counted.
        reason: For `UNPRICED`: why.
        limit: For refusals by `OPERATION_LIMIT`: the largest epsilon allowed.
    """

    outcome: Outcome
    entries: tuple[Entry, ...] = ()
    answer: Entry | None = None
    head: Entry | None = None
    charge: Charge | None = None
    reason: str = ""
    limit: Decimal | None = None


def decide_allocation(head: Entry, earlier: Entry | None, request: Allocate, limits: Limits, now: datetime) -> Verdict:
    """Decides a request to spend.

    Args:
        head: The tenant's last entry.
        earlier: The entry under the request's key, if there is one.
        request: The request.
        limits: Per-operation limits.
        now: Database time.
    """
    if earlier is not None:
        if earlier.request_hash != request.request_hash:
            return Verdict(Outcome.KEY_REUSED, answer=earlier)
        return Verdict(Outcome.REPLAYED, answer=earlier)
    try:
        charge = head.budget.charge(request.event, request.loss)
    except (InvalidValueError, PricingDisagreementError) as error:
        return Verdict(Outcome.UNPRICED, head=head, reason=str(error))
    spent = head.spent.plus(charge)
    if not head.budget.admits(spent):
        return Verdict(Outcome.BUDGET_EXHAUSTED, head=head, charge=charge)
    limit = limits.for_engine(request.source_engine)
    if request.loss.epsilon > limit:
        return Verdict(Outcome.OPERATION_LIMIT, head=head, charge=charge, limit=limit)
    details = dict(request.details)
    if request.ttl_seconds is not None:
        details["ttl_seconds"] = request.ttl_seconds
    entry = Entry(
        tenant_id=head.tenant_id,
        seq=head.seq + 1,
        kind=EntryKind.CONSUMED if request.ttl_seconds is None else EntryKind.HELD,
        at=now,
        budget=head.budget,
        spent=spent,
        operations=head.operations + 1,
        period_start=head.period_start,
        prev_hash=head.hash,
        charge=charge,
        event=request.event,
        allocation_id=allocation_id_of(request.tenant_id, request.key),
        job_id=request.job_id,
        source_engine=request.source_engine,
        idempotency_key=request.key,
        request_hash=request.request_hash,
        details=details,
        actor=request.actor,
    )
    return Verdict(Outcome.ADMITTED, (entry,), entry)


def allocation_id_of(tenant_id: str, key: str) -> str:
    """The allocation's id: a UUID (RFC 9562, version 8) that follows from the tenant and the idempotency key.

    A key stands for one allocation for ever, so its id needs no chance, and whoever holds the key knows the id even
    if the answer was lost.
    """
    text = hashlib.sha256(f"{tenant_id}\x00{key}".encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:32]}"


def decide_budget(head: Entry | None, request: SetBudget, now: datetime) -> Verdict:
    """Decides a request to create or raise a budget. The same budget again changes nothing; a lower one is refused.

    A budget keeps the member filters that it was created with: a new one could not know what the history costs it.
    """
    if head is None:
        entry = Entry(
            tenant_id=request.tenant_id,
            seq=1,
            kind=EntryKind.BUDGET_SET,
            at=now,
            budget=request.budget,
            spent=request.budget.nothing(),
            operations=0,
            period_start=now,
            prev_hash=GENESIS_HASH,
            actor=request.actor,
        )
        return Verdict(Outcome.ADMITTED, (entry,), entry)
    wished = request.budget
    delta = wished.promise.delta if request.delta_stated else head.budget.promise.delta
    promise = PrivacyLoss(wished.promise.epsilon, delta)
    if not head.budget.promise.within(promise):
        return Verdict(Outcome.BUDGET_LOWERED, answer=head)
    budget = raised(head.budget, promise)
    if not budget.covers(head.budget):
        return Verdict(Outcome.BUDGET_LOWERED, answer=head)
    if request.filters_stated and wished.members != budget.members:
        return Verdict(Outcome.FILTERS_CHANGED, answer=head)
    if budget == head.budget:
        return Verdict(Outcome.REPLAYED, answer=head)
    entry = Entry(
        tenant_id=head.tenant_id,
        seq=head.seq + 1,
        kind=EntryKind.BUDGET_SET,
        at=now,
        budget=budget,
        spent=head.spent,
        operations=head.operations,
        period_start=head.period_start,
        prev_hash=head.hash,
        actor=request.actor,
    )
    return Verdict(Outcome.ADMITTED, (entry,), entry)


def decide_settlement(head: Entry, request: Settle, now: datetime) -> Verdict:
    """Decides a request to commit or void an allocation.

    Committing what is spent already confirms it. A void gives back only what was held, and only before the hold's time
    has run out: from then on it counts as spent for good, since nobody can say any more that no data was read.
    """
    opening = next((entry for entry in request.history if entry.kind in OPENING_KINDS), None)
    ending = next((entry for entry in request.history if entry.kind not in OPENING_KINDS), None)
    if opening is None or opening.charge is None:
        return Verdict(Outcome.UNKNOWN_ALLOCATION)
    if ending is not None:
        return Verdict(Outcome.REPLAYED if ending.kind is request.kind else Outcome.ALLOCATION_ENDED, answer=ending)
    voiding = request.kind is EntryKind.VOIDED
    if opening.kind is EntryKind.CONSUMED:
        return Verdict(Outcome.ALLOCATION_ENDED if voiding else Outcome.REPLAYED, answer=opening)
    if voiding and _expired(opening, now):
        return Verdict(Outcome.HOLD_EXPIRED, answer=opening)
    entry = Entry(
        tenant_id=head.tenant_id,
        seq=head.seq + 1,
        kind=request.kind,
        at=now,
        budget=head.budget,
        spent=head.spent.minus(opening.charge) if voiding else head.spent,
        operations=head.operations - 1 if voiding else head.operations,
        period_start=head.period_start,
        prev_hash=head.hash,
        charge=opening.charge if voiding else head.budget.nothing(),
        allocation_id=opening.allocation_id,
        job_id=opening.job_id,
        source_engine=opening.source_engine,
        actor=request.actor,
    )
    return Verdict(Outcome.ADMITTED, (entry,), entry)


def _expired(opening: Entry, now: datetime) -> bool:
    ttl = (opening.details or {}).get("ttl_seconds", 0)
    return now >= opening.at + timedelta(seconds=int(ttl))
