"""How an allocation ends: committed, voided, expired; and, exceptionally, taken back by a signed adjustment.

A charge that was admitted falls in three cases only:

* a void, stating that no data was read, before the hold's time has passed;
* a commit of fewer steps than were held, for the members in which each step would have been charged by itself;
* an adjustment of what has ended, by an operator's signed statement that nothing was released.

Everything else (silence above all) leaves the charge where it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from accounting.admission import Outcome, Verdict
from accounting.charges import Cost, Currency, own_cost, price
from accounting.conversion import PricingDisagreementError
from accounting.datasets import DatasetState
from accounting.events import Event, SelfComposedEvent
from accounting.filters import Budget, Charge, Member
from accounting.ledger.entry import ENDING_KINDS, OPENING_KINDS, DatasetBalance, Entry, EntryKind
from accounting.policy import THE_SERVICE
from accounting.values import ZERO, InvalidValueError


@dataclass(frozen=True, slots=True)
class Settle:
    """A request to end an allocation, or to take back the charge of one that has ended.

    Attributes:
        tenant_id: Whose allocation.
        allocation_id: Which.
        kind: `COMMITTED`, `VOIDED`, `EXPIRED_SPENT` or `ADJUSTED`.
        actor: The token's subject.
        history: The allocation's entries so far, oldest first, as the store has them.
        steps: For a commit of a repeated event: how many repetitions were run, if fewer than were held.
        statement: For an adjustment: the operator's signed statement (a JWS), verified before it comes here.
    """

    tenant_id: str
    allocation_id: str
    kind: EntryKind
    actor: str
    history: tuple[Entry, ...]
    steps: int | None = None
    statement: str | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.kind is not EntryKind.COMMITTED:
            raise ValueError("only a commit says how many steps were run")

    @property
    def dataset_id(self) -> str | None:
        """The data set that the allocation is charged on, if one is."""
        return next((entry.dataset.dataset_id for entry in self.history if entry.dataset is not None), None)


def decide_settlement(head: Entry, request: Settle, now: datetime, dataset: DatasetState | None = None) -> Verdict:
    """Decides a request to end an allocation.

    Committing what is spent already confirms it. A void gives back only what was held, and only before the hold's time
    has passed: from then on it counts as spent for good, since nobody can say any more that no data was read.

    Args:
        head: The tenant's last entry, of the window that `now` is in.
        request: The request.
        now: Database time.
        dataset: The state of the data set that the allocation is charged on, if one is.
    """
    opening = next((entry for entry in request.history if entry.kind in OPENING_KINDS), None)
    if opening is None or opening.charge is None:
        return Verdict(Outcome.UNKNOWN_ALLOCATION)
    ending = next((entry for entry in request.history if entry.kind in ENDING_KINDS), None)
    if request.kind is EntryKind.ADJUSTED:
        return _decide_adjustment(head, request, opening, ending, now, dataset)
    if ending is not None:
        return Verdict(Outcome.REPLAYED if _same_end(ending, request) else Outcome.ALLOCATION_ENDED, answer=ending)
    if opening.kind is EntryKind.CONSUMED:
        confirmed = request.kind is EntryKind.COMMITTED and request.steps is None
        return Verdict(Outcome.REPLAYED if confirmed else Outcome.ALLOCATION_ENDED, answer=opening)
    # A hold that does not say how long it lasts is over.
    due = opening.due_at is None or now >= opening.due_at
    if request.kind is EntryKind.EXPIRED_SPENT:
        if not due:
            return Verdict(Outcome.HOLD_NOT_DUE, answer=opening)
        return _ended(head, request, opening, now, dataset, None)
    if due and (request.kind is EntryKind.VOIDED or request.steps is not None):
        return Verdict(Outcome.HOLD_EXPIRED, answer=opening)
    if request.kind is EntryKind.VOIDED:
        return _ended(head, request, opening, now, dataset, opening.event)
    if request.steps is None:
        return _ended(head, request, opening, now, dataset, None)
    event = opening.event
    if not isinstance(event, SelfComposedEvent) or not 0 <= request.steps <= event.count:
        return Verdict(Outcome.NOT_DIVISIBLE, answer=opening)
    return _ended(head, request, opening, now, dataset, event)


def _same_end(ending: Entry, request: Settle) -> bool:
    """Whether the request asks for the end that the allocation has had. Who only confirms a commit names no steps."""
    steps = (ending.details or {}).get("steps")
    return ending.kind is request.kind and request.steps in (None, steps)


def unspent(budget: Budget, whole: Charge, event: SelfComposedEvent, steps: int) -> Charge:
    """What remains of a charge for many repetitions when only some were run, member by member.

    A member gives back only where the charge was the sum over repetitions charged one by one: then the number that is
    run may depend on what was seen, since each of them was admitted by a fully adaptive filter. A price that holds for
    the whole plan only, such as one by privacy loss distributions, is not given back at all.

    Args:
        budget: The budget that was charged.
        whole: What it was charged for the event.
        event: The repetitions that were planned.
        steps: How many were run.
    """
    left = []
    for member, charged in zip(budget.members, whole.costs, strict=True):
        once = _once(member, event.event)
        additive = once is not None and once.times(event.count) == charged
        left.append(once.times(event.count - steps) if once is not None and additive else Cost(ZERO))
    return Charge(tuple(left))


def _once(member: Member, event: Event) -> Cost | None:
    """What the member counts for a single repetition charged by itself; None if nothing is known."""
    try:
        if member.currency is not Currency.EPSILON:
            return own_cost(event, member.currency, member.order)
        loss = price(event)
        return Cost(loss.epsilon, loss.delta)
    except (InvalidValueError, PricingDisagreementError, TypeError):
        # Priced only at some delta, or only as a whole.
        return None


def _decide_adjustment(
    head: Entry,
    request: Settle,
    opening: Entry,
    ending: Entry | None,
    now: datetime,
    dataset: DatasetState | None,
) -> Verdict:
    earlier = next((entry for entry in request.history if entry.kind is EntryKind.ADJUSTED), None)
    if earlier is not None:
        return Verdict(Outcome.REPLAYED, answer=earlier)
    if ending is not None and ending.kind is EntryKind.VOIDED:
        return Verdict(Outcome.ALLOCATION_ENDED, answer=ending)
    if ending is None and opening.kind is EntryKind.HELD:
        return Verdict(Outcome.STILL_HELD, answer=opening)
    assert opening.charge is not None
    given_back = _given_back((opening, *([ending] if ending else [])))
    taken = opening.charge if given_back is None else opening.charge.minus(given_back)
    last = ending or opening
    # What only earlier windows counted stays theirs. Where this one counts all that was ever charged, it counts this.
    in_window = head.lifetime == head.spent or last.at >= head.period_start
    spent = head.spent.minus(taken) if in_window else head.spent
    balance = None
    if opening.dataset is not None and opening.dataset.charge is not None:
        earlier_back = None if ending is None or ending.dataset is None else ending.dataset.charge
        theirs = opening.dataset.charge
        balance = _balance(dataset, opening, theirs if earlier_back is None else theirs.minus(earlier_back))
    entry = _entry(
        head,
        request,
        opening,
        now,
        spent=spent,
        held=head.held,
        lifetime=spent if head.lifetime is head.spent else head.lifetime.minus(taken),
        operations=head.operations - 1,
        charge=taken,
        dataset=balance,
    )
    return Verdict(Outcome.ADMITTED, (entry,), entry)


def _given_back(entries: Sequence[Entry]) -> Charge | None:
    """What a commit of fewer steps has given back already."""
    return next((entry.charge for entry in entries if entry.kind is EntryKind.COMMITTED), None)


def _ended(
    head: Entry, request: Settle, opening: Entry, now: datetime, dataset: DatasetState | None, given: Event | None
) -> Verdict:
    """The end of a hold.

    Args:
        head: The tenant's last entry.
        request: The request.
        opening: The hold.
        now: Database time.
        dataset: The state of the data set that is charged, if one is.
        given: The event whose charge is given back, for a commit but for the steps that were run; None for nothing.
    """
    assert opening.charge is not None
    charge: Charge | None = None
    balance = None
    if given is not None:
        charge = _part(head.budget, opening.charge, given, request.steps)
        if opening.dataset is not None and opening.dataset.charge is not None:
            theirs = _part(opening.dataset.budget, opening.dataset.charge, given, request.steps)
            balance = _balance(dataset, opening, theirs)
    spent = head.spent if charge is None else head.spent.minus(charge)
    if head.lifetime is head.spent:
        lifetime = spent
    else:
        lifetime = head.lifetime if charge is None else head.lifetime.minus(charge)
    entry = _entry(
        head,
        request,
        opening,
        now,
        spent=spent,
        held=head.held.minus(opening.charge),
        lifetime=lifetime,
        operations=head.operations - 1 if request.kind is EntryKind.VOIDED else head.operations,
        charge=charge,
        dataset=balance,
    )
    return Verdict(Outcome.ADMITTED, (entry,), entry)


def _part(budget: Budget, whole: Charge, event: Event, steps: int | None) -> Charge:
    """What is given back of a charge: all of it, or but for the steps that were run."""
    if steps is None:
        return whole
    assert isinstance(event, SelfComposedEvent)
    return unspent(budget, whole, event, steps)


def _balance(dataset: DatasetState | None, opening: Entry, taken: Charge) -> DatasetBalance:
    assert dataset is not None
    assert opening.dataset is not None
    partition = opening.dataset.partition
    left = dataset.spent_on(partition).minus(taken)
    exposed = dataset.exposure(partition).minus(taken)
    return DatasetBalance(opening.dataset.dataset_id, partition, dataset.budget, left, taken, exposed=exposed)


def _entry(
    head: Entry,
    request: Settle,
    opening: Entry,
    now: datetime,
    *,
    spent: Charge,
    held: Charge,
    lifetime: Charge,
    operations: int,
    charge: Charge | None,
    dataset: DatasetBalance | None,
) -> Entry:
    details: dict[str, str | int] = {}
    if request.steps is not None:
        details["steps"] = request.steps
    if request.statement is not None:
        details["statement"] = request.statement
    return Entry(
        tenant_id=head.tenant_id,
        seq=head.seq + 1,
        kind=request.kind,
        at=now,
        budget=head.budget,
        spent=spent,
        held=held,
        lifetime=lifetime,
        operations=operations,
        period_start=head.period_start,
        renewal_days=head.renewal_days,
        prev_hash=head.hash,
        charge=charge,
        allocation_id=opening.allocation_id,
        job_id=opening.job_id,
        source_engine=opening.source_engine,
        actor=THE_SERVICE if request.kind is EntryKind.EXPIRED_SPENT else request.actor,
        details=details,
        dataset=dataset,
        legal_hold=head.legal_hold,
    )
