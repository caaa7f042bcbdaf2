"""Whether an answer was right: durable where it says so, and true of a state that was current while it was asked for.

An answer is judged when it leaves its owner, against the states of the ledger between the request's arrival and that
moment (linearizability: there is one moment at which it was true).
"""

from dataclasses import dataclass
from datetime import datetime

from accounting.admission import Allocate, Outcome, Verdict
from accounting.ledger.entry import Entry, EntryKind
from accounting.policy import SetBudget, SetDataset, SetLegalHold
from tests.simulation.fold import Balance, TenantFold
from tests.simulation.requests import LIMITS, Answer, End, Read, Request, describe
from tests.simulation.sums import caps, charge_of, plus, within
from tests.simulation.violation import require


@dataclass(slots=True)
class Span:
    """While a request was under way.

    Attributes:
        since: The tenant's last position when it arrived.
        earliest: The least that the database's clock has shown meanwhile.
        latest: The most that it may have been taken to show: an owner that read it in that time, and did not hear that
            it was set back, has let it go on from there.
    """

    since: int
    earliest: datetime
    latest: datetime


def judge(fold: TenantFold, request: Request, span: Span, answer: Answer, default_budget: bool) -> None:
    """Judges an answer.

    Raises:
        ViolationError: If it is not durable, or was true at no moment since it was asked for.
    """
    if isinstance(request, Read):
        _read(fold, span, answer, default_budget)
        return
    assert isinstance(answer, Verdict)
    if answer.outcome is Outcome.UNKNOWN_TENANT:
        require(span.since == 0 and not default_budget, "a tenant that is known was said to be unknown")
        return
    if answer.answer is not None:
        _in_ledger(fold, answer.answer)
    match request:
        case Allocate():
            _allocated(fold, request, span, answer)
        case End():
            _ended(fold, request, span, answer)
        case _:
            _set(fold, request, span, answer)


def _in_ledger(fold: TenantFold, entry: Entry) -> None:
    """Acknowledged is durable."""
    known = fold.entries[entry.seq - 1] if entry.seq <= len(fold.entries) else None
    require(known is not None and known.hash == entry.hash, "an answer tells of an entry that the ledger lacks")


def _read(fold: TenantFold, span: Span, answer: Answer, default_budget: bool) -> None:
    if answer is None:
        require(span.since == 0 and not default_budget, "a tenant that is known was not found")
        return
    assert isinstance(answer, Entry)
    _in_ledger(fold, answer)
    require(answer.seq >= span.since, "a balance was read that was out of date:", answer.seq, "before", span.since)
    end = fold.balances[answer.seq - 1].period_end
    require(end is None or span.earliest < end, "a balance was read of a window that had ended")


def _allocated(fold: TenantFold, request: Allocate, span: Span, verdict: Verdict) -> None:
    first = fold.keys.get(request.key)
    match verdict.outcome:
        case Outcome.ADMITTED | Outcome.REPLAYED | Outcome.KEY_REUSED:
            require(first is not None, "a key is said to be used that is not")
            assert first is not None
            assert verdict.answer is not None
            require(first.hash == verdict.answer.hash, "one key had two outcomes:", request.key)
            same = first.request_hash == request.request_hash
            require(same is (verdict.outcome is not Outcome.KEY_REUSED), "a key answered for another request")
            if verdict.outcome is Outcome.ADMITTED:
                require(first.seq > span.since, "what was admitted before was admitted again")
        case _:
            found = []
            for position in range(max(span.since, 1), len(fold.entries) + 1):
                if first is not None and first.seq <= position:
                    break
                balance = fold.balances[position - 1]
                end = balance.period_end
                if end is None or span.earliest < end:
                    found.append(refusal(balance, request))
            told = f"a refusal was never right: {verdict.outcome} of {describe(request)}, but"
            require(verdict.outcome in found, told, *found, span)


def refusal(balance: Balance, request: Allocate) -> Outcome | None:
    """How a request under a fresh key has to be refused after that entry; None if it has to be admitted."""
    dataset = None
    if request.dataset_id is not None:
        dataset = balance.datasets.get(request.dataset_id)
        if dataset is None:
            return Outcome.UNKNOWN_DATASET
        if request.partition is not None and request.partition not in dataset.dataset.partitions:
            return Outcome.UNKNOWN_PARTITION
        stated = request.event.adjacency
        if stated is not None and stated is not dataset.dataset.adjacency:
            return Outcome.OTHER_NEIGHBOURS
    charge = charge_of(balance.budget, request.event, request.loss)
    if not within(plus(balance.spent, charge), caps(balance.budget)):
        return Outcome.BUDGET_EXHAUSTED
    if dataset is not None:
        theirs = charge_of(dataset.budget, request.event, request.loss)
        if not within(plus(dataset.exposure(request.partition), theirs), caps(dataset.budget)):
            return Outcome.BUDGET_EXHAUSTED
    if request.loss.epsilon > LIMITS.for_engine(request.source_engine):
        return Outcome.OPERATION_LIMIT
    return None


def _ended(fold: TenantFold, request: End, span: Span, verdict: Verdict) -> None:
    identity = request.allocation_id
    opening, end = fold.openings.get(identity), fold.ends.get(identity)
    if verdict.outcome is Outcome.UNKNOWN_ALLOCATION:
        require(opening is None or opening.seq > span.since, "an allocation that is known was not found")
        return
    require(opening is not None, "an allocation that does not exist was found")
    assert opening is not None
    assert verdict.answer is not None
    require(verdict.answer.allocation_id == identity, "an answer is about another allocation")
    told = verdict.answer
    was_open = opening.kind is EntryKind.HELD and (end is None or end.seq > span.since)
    due = opening.due_at
    match verdict.outcome:
        case Outcome.ADMITTED:
            require(told.kind is request.kind and told.seq > span.since, "an end was acknowledged that is another's")
            if request.kind is EntryKind.VOIDED or request.steps is not None:
                require(due is not None and span.earliest < due, "a hold gave back after its time")
        case Outcome.REPLAYED:
            confirmed = told.kind is EntryKind.CONSUMED and request.kind is EntryKind.COMMITTED
            require(_is_end(told, request) or confirmed, "an end was repeated that is another's")
        case Outcome.ALLOCATION_ENDED:
            has_ended = told.kind is not EntryKind.HELD and not _is_end(told, request)
            require(has_ended, "an open allocation was said to be ended")
        case Outcome.HOLD_EXPIRED:
            require(was_open and due is not None and span.latest >= due, "a hold was said to have expired that had not")
        case Outcome.HOLD_NOT_DUE:
            require(was_open and due is not None and span.earliest < due, "a hold was said not to be due that was")
        case Outcome.NOT_DIVISIBLE | Outcome.STILL_HELD:
            require(was_open, "an allocation was said to be open that was not")
        case _:
            require(False, "an end was answered as nothing is ended:", verdict.outcome)


def _is_end(entry: Entry, request: End) -> bool:
    """Whether an entry is the end that was asked for; who names no steps confirms any commit."""
    steps = (entry.details or {}).get("steps")
    return entry.kind is request.kind and request.steps in (None, steps)


def _set(fold: TenantFold, request: Request, span: Span, verdict: Verdict) -> None:
    """Budgets, data sets, legal holds, renewals: what is not new has to be what the ledger says at some moment."""
    told = verdict.answer
    assert told is not None
    if verdict.outcome is Outcome.ADMITTED:
        require(told.seq > span.since, "a change was acknowledged that is another's:", describe(request))
        return
    require(told.seq >= span.since, f"{verdict.outcome} was answered from memory that was out of date:", told.seq)
    if verdict.outcome is not Outcome.REPLAYED:
        return
    balance = fold.balances[told.seq - 1]
    match request:
        case SetBudget():
            require(balance.budget.promise == request.budget.promise, "another budget was said to be set already")
        case SetDataset():
            known = balance.datasets.get(request.dataset_id)
            require(known is not None and known.dataset == request.dataset, "a data set was said to be as it is not")
        case SetLegalHold():
            require(balance.legal_hold is request.in_force, "a legal hold was said to be as it is not")
