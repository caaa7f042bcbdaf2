"""What an entry has to say, given those before it: every sum added up again, every charge priced again.

Written beside the decisions (`accounting.admission`, `settlement`, `policy`), not with them: of a ledger that is there
it asks whether it can have come about by the rules, whoever wrote it. Prices and the filters' arithmetic are the same;
`proofs.checker` has its own, for certificates.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

from accounting.admission import allocation_id_of, dataset_scope, tenant_scope
from accounting.conversion import PricingDisagreementError
from accounting.events import ClaimEvent, Event, SelfComposedEvent
from accounting.filters import Budget, Charge, Share, budget
from accounting.ledger.books import Books
from accounting.ledger.canonical import canonical_json
from accounting.ledger.entry import DatasetBalance, Entry, EntryKind, entry_to_wire
from accounting.plans import price, price_plan
from accounting.settlement import unspent
from accounting.values import InvalidValueError, PrivacyLoss

Statement = Callable[[str, str, str], str | None]
"""What is wrong with an operator's signed statement about a tenant's allocation; None if it holds."""
Derivation = Generator[str, None, Entry]
"""What is wrong beside differences, in sentences; in the end the entry as it has to be."""
LONGEST_TEXT = 200


def first_faults(entry: Entry) -> Iterator[str]:
    """What is wrong with a tenant's first entry, in sentences: nothing was spent before it."""
    if entry.kind is not EntryKind.BUDGET_SET:
        yield f"is the first entry of its tenant, but {entry.kind} and no budget"
    yield from _unkept(entry.budget)
    nothing = entry.budget.nothing()
    before = replace(
        entry, spent=nothing, held=nothing, lifetime=nothing, operations=0, period_start=entry.at, legal_hold=False
    )
    yield from _differences(_after(before, entry, due_at=entry.period_end), entry)


def faults(books: Books, entry: Entry, statement: Statement) -> Iterator[str]:
    """What is wrong with an entry after those before it, in sentences; nothing where it follows.

    Args:
        books: Of the entries before.
        entry: The next one. Its place in the chain is checked elsewhere.
        statement: Checks operators' signed statements.
    """
    end = books.head.period_end
    if end is not None and entry.at >= end and entry.kind is not EntryKind.RENEWED:
        yield "stands in a window that had ended"
    expected = yield from _DERIVATIONS[entry.kind](books, entry, statement)
    if entry.version < 3:
        # Holds and windows were not counted then; to who goes on from such an entry, all that was spent may be held.
        expected = replace(expected, held=expected.spent, lifetime=expected.spent)
    yield from _differences(expected, entry)


def _differences(expected: Entry, entry: Entry) -> Iterator[str]:
    """Where an entry says something else than what follows, member by member of its body."""
    if expected == entry:
        return
    said, follows = entry_to_wire(entry), entry_to_wire(expected)
    for name in sorted(said.keys() | follows.keys()):
        if said.get(name) != follows.get(name):
            yield f"{name} is {_text(said.get(name))}, but {_text(follows.get(name))} follows"


def _after(head: Entry, entry: Entry, **changes: Any) -> Entry:  # noqa: ANN401 - values of fields
    """An entry that leaves everything as it is after `head` but for the changes; what only tells is the entry's own."""
    kept: dict[str, Any] = {
        "budget": head.budget,
        "spent": head.spent,
        "held": head.held,
        "lifetime": head.lifetime,
        "operations": head.operations,
        "period_start": head.period_start,
        "renewal_days": head.renewal_days,
        "legal_hold": head.legal_hold,
        "charge": None,
        "event": None,
        "allocation_id": None,
        "idempotency_key": None,
        "due_at": None,
        "dataset": None,
        "crossed": (),
    }
    return replace(entry, **(kept | changes))


def _budget_set(books: Books, entry: Entry, _: Statement) -> Derivation:
    head, days = books.head, entry.renewal_days
    yield from _unkept(entry.budget)
    if not entry.budget.covers(head.budget):
        yield "lowers the budget, or changes its member filters"
    begins = head.renewal_days is None and days is not None
    return _after(
        head,
        entry,
        budget=entry.budget,
        renewal_days=days,
        # Without windows, all that was ever spent counts.
        spent=head.lifetime if days is None else head.spent,
        period_start=entry.at if begins else head.period_start,
        due_at=entry.period_end,
    )


def _opening(books: Books, entry: Entry, _: Statement) -> Derivation:
    head, key, event = books.head, entry.idempotency_key, entry.event
    if key is None or event is None or entry.charge is None:
        yield "opens an allocation without a key, an event or a charge"
        return entry
    allocation = allocation_id_of(entry.tenant_id, key)
    if books.knows(allocation):
        yield f"opens allocation {allocation} a second time: one key, one outcome"
    loss = yield from _loss(event, entry.charge.basic)
    charge = yield from _charge(head.budget, event, loss, entry.charge)
    held = entry.kind is EntryKind.HELD
    spent = head.spent.plus(charge)
    if not head.budget.admits(spent):
        yield f"spends more than the budget of the {tenant_scope(head)} admits"
    crossed = [tenant_scope(head)] if _crosses(head.budget, head.spent, spent) else []
    balance = None
    if entry.dataset is not None:
        balance, scope = yield from _charged_dataset(books, event, loss, entry.dataset)
        crossed += scope
    if held and entry.version >= 3 and (entry.due_at is None or entry.due_at <= entry.at):
        yield "is a hold that does not say how long it lasts"
    return _after(
        head,
        entry,
        spent=spent,
        held=head.held.plus(charge) if held else head.held,
        lifetime=head.lifetime.plus(charge),
        operations=head.operations + 1,
        charge=charge,
        event=event,
        allocation_id=allocation,
        idempotency_key=key,
        due_at=entry.due_at if held and entry.version >= 3 else None,
        dataset=balance,
        crossed=tuple(crossed) if entry.version >= 3 else (),
    )


def _charged_dataset(
    books: Books, event: Event, loss: PrivacyLoss, said: DatasetBalance
) -> Generator[str, None, tuple[DatasetBalance, list[str]]]:
    """The balance of the data set that is charged, and its scope if that crossed into its last tenth."""
    state, partition = books.datasets.get(said.dataset_id), said.partition
    if state is None or said.charge is None:
        yield f"charges data set {said.dataset_id}, which is not registered, or charges nothing on it"
        return said, []
    if partition is not None and partition not in state.dataset.partitions:
        yield f"charges partition {partition} of data set {said.dataset_id}, which is not registered"
    reason = state.dataset.refuses(event, partition)
    if reason is not None:
        yield f"has an event that {reason}"
    charge = yield from _charge(state.budget, event, loss, said.charge)
    before = state.exposure(partition)
    exposed = before.plus(charge)
    scope = dataset_scope(said.dataset_id, partition)
    if not state.budget.admits(exposed):
        yield f"spends more than the budget of {scope} admits"
    spent = state.spent_on(partition).plus(charge)
    balance = DatasetBalance(said.dataset_id, partition, state.budget, spent, charge, exposed=exposed)
    return balance, [scope] if _crosses(state.budget, before, exposed) else []


def _ending(books: Books, entry: Entry, _: Statement) -> Derivation:
    head, hold = books.head, books.holds.get(entry.allocation_id or "")
    if hold is None or hold.charge is None or hold.event is None:
        known = entry.allocation_id is not None and books.knows(entry.allocation_id)
        yield f"ends allocation {entry.allocation_id}, which " + ("has ended already" if known else "was never held")
        return entry
    due_at, steps = hold.due_at, (entry.details or {}).get("steps")
    if due_at is None and entry.version < 3:
        due_at = hold.at + timedelta(seconds=int((hold.details or {}).get("ttl_seconds", 0)))
    over = due_at is None or entry.at >= due_at
    if entry.kind is EntryKind.EXPIRED_SPENT and not over:
        yield "expires a hold before its time"
    given_back: Callable[[Budget, Charge], Charge] | None = None
    if entry.kind is EntryKind.VOIDED:
        given_back = _whole
    elif entry.kind is EntryKind.COMMITTED and steps is not None and entry.version >= 3:
        event = hold.event
        if isinstance(event, SelfComposedEvent) and isinstance(steps, int) and 0 <= steps <= event.count:
            given_back = lambda held, charge: unspent(held, charge, event, steps)  # noqa: E731
        else:
            yield "commits a number of steps that the hold does not have"
    if given_back is not None and over:
        yield "gives back a charge after the hold's time"
    taken = None if given_back is None else given_back(hold.budget, hold.charge)
    nothing = head.budget.nothing()
    balance = None
    if given_back is not None and hold.dataset is not None and hold.dataset.charge is not None:
        theirs = hold.dataset
        back = given_back(theirs.budget, hold.dataset.charge)
        balance = _taken_back(books, theirs.dataset_id, theirs.partition, back)
    return _after(
        head,
        entry,
        spent=head.spent.minus(taken or nothing),
        held=head.held.minus(hold.charge),
        lifetime=head.lifetime.minus(taken or nothing),
        operations=head.operations - (entry.kind is EntryKind.VOIDED),
        # A commit was written with a charge of nothing before version 3.
        charge=nothing if taken is None and entry.version < 3 else taken,
        allocation_id=entry.allocation_id,
        job_id=hold.job_id,
        source_engine=hold.source_engine,
        dataset=balance,
    )


def _adjusted(books: Books, entry: Entry, statement: Statement) -> Derivation:
    head, allocation = books.head, entry.allocation_id or ""
    ended, at = books.ended(allocation) or (None, None)
    if ended is None or at is None or not ended.adjustable:
        yield f"takes back allocation {allocation}, which has not ended, was voided, or was taken back already"
        return entry
    signed = (entry.details or {}).get("statement")
    wrong = "is missing" if not isinstance(signed, str) else statement(signed, entry.tenant_id, allocation)
    if wrong is not None:
        yield f"takes a charge back on an operator's statement that {wrong}"
    # What only earlier windows counted stays theirs. Where this one counts all that was ever charged, it counts this.
    in_window = head.lifetime == head.spent or at >= head.period_start
    return _after(
        head,
        entry,
        spent=head.spent.minus(ended.taken) if in_window else head.spent,
        lifetime=head.lifetime.minus(ended.taken),
        operations=head.operations - 1,
        charge=ended.taken,
        allocation_id=allocation,
        dataset=None if ended.dataset is None else _taken_back(books, *ended.dataset),
    )


def _taken_back(books: Books, dataset_id: str, partition: str | None, taken: Charge) -> DatasetBalance | None:
    state = books.datasets.get(dataset_id)
    if state is None:
        return None
    left, exposed = state.spent_on(partition).minus(taken), state.exposure(partition).minus(taken)
    return DatasetBalance(dataset_id, partition, state.budget, left, taken, exposed=exposed)


def _renewed(books: Books, entry: Entry, _: Statement) -> Derivation:
    head = books.head
    end = head.period_end
    if end is None or entry.at < end:
        yield "begins a window before the last one has ended"
        return entry
    length = end - head.period_start
    start = head.period_start + (entry.at - head.period_start) // length * length
    # Open holds count in both windows.
    return _after(head, entry, spent=head.held, period_start=start, due_at=start + length)


def _dataset_set(books: Books, entry: Entry, _: Statement) -> Derivation:
    said = entry.dataset
    if said is None or said.dataset is None:
        yield "registers no data set"
        return entry
    state = books.datasets.get(said.dataset_id)
    yield from _unkept(said.budget)
    if state is not None and not (said.dataset.extends(state.dataset) and said.budget.covers(state.budget)):
        yield f"lowers the budget of data set {said.dataset_id}, or changes what it is"
    whole = said.budget.nothing() if state is None else state.whole
    balance = DatasetBalance(said.dataset.dataset_id, None, said.budget, whole, dataset=said.dataset)
    return _after(books.head, entry, dataset=balance)


def _legal_hold(books: Books, entry: Entry, _: Statement) -> Derivation:
    placed = entry.kind is EntryKind.RETENTION_LOCKED
    if books.head.legal_hold == placed:
        yield "places a legal hold that is in force, or lifts one that is not"
    return _after(books.head, entry, legal_hold=placed)


_DERIVATIONS: dict[EntryKind, Callable[[Books, Entry, Statement], Derivation]] = {
    EntryKind.BUDGET_SET: _budget_set,
    EntryKind.CONSUMED: _opening,
    EntryKind.HELD: _opening,
    EntryKind.COMMITTED: _ending,
    EntryKind.VOIDED: _ending,
    EntryKind.EXPIRED_SPENT: _ending,
    EntryKind.ADJUSTED: _adjusted,
    EntryKind.RENEWED: _renewed,
    EntryKind.DATASET_SET: _dataset_set,
    EntryKind.RETENTION_LOCKED: _legal_hold,
    EntryKind.RETENTION_RELEASED: _legal_hold,
}


def _loss(event: Event, said: PrivacyLoss) -> Generator[str, None, PrivacyLoss]:
    """The (epsilon, delta) that the event was charged at, if a theorem gives it at that delta; else what one gives."""
    try:
        priced = _prices(event, said)
    except (InvalidValueError, PricingDisagreementError) as error:
        yield f"has an event without a price at delta {said.delta}: {error}"
        return said
    return said if said in priced else priced[0]


@lru_cache(maxsize=65_536)
def _prices(event: Event, said: PrivacyLoss) -> tuple[PrivacyLoss, ...]:
    """What the event may be charged at: its price; for a plan, that of the theorem that was asked for."""
    alone = price(event) if isinstance(event, ClaimEvent) else price(event, said.delta)
    if alone == said or isinstance(event, ClaimEvent):
        return (alone,)
    return (alone, *(found.loss for found in price_plan(event, said.delta).prices if found.loss is not None))


def _charge(held: Budget, event: Event, loss: PrivacyLoss, said: Charge) -> Generator[str, None, Charge]:
    try:
        return _priced(held, event, loss)
    except (InvalidValueError, PricingDisagreementError) as error:
        yield f"has an event without a price: {error}"
        return said


@lru_cache(maxsize=65_536)
def _priced(held: Budget, event: Event, loss: PrivacyLoss) -> Charge:
    return held.charge(event, loss)


@lru_cache(maxsize=1_024)
def _unkept(held: Budget) -> tuple[str, ...]:
    """Why a budget's member filters do not keep its promise; empty if they do."""
    shares = [Share(member.kind, member.cap.delta, member.conversion_delta, member.order) for member in held.members]
    try:
        kept = budget(held.promise, shares) == held
    except InvalidValueError as error:
        return (f"has a budget that cannot be: {error}",)
    return () if kept else ("has member filters whose caps do not follow from the budget's promise",)


def _crosses(held: Budget, before: Charge, after: Charge) -> bool:
    return held.nearly_exhausted(after) and not held.nearly_exhausted(before)


def _whole(_: Budget, charge: Charge) -> Charge:
    return charge


def _text(value: object) -> str:
    text = "absent" if value is None else canonical_json({"": value})[4:-1]
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."
