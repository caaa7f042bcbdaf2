"""Who watches: after every write, every answer, and at the end.

* Every entry follows from those before: sums within caps in every scope at every prefix, all scopes or none, one
  beginning and one end of an allocation, one entry of a key, no loss given back but as is allowed (`fold`).
* The memory of every live owner is the ledger's state after some entry.
* Every answer is durable when it leaves, and true of a state that was current while it was asked for (`answers`).
* Nothing that was stored changes or goes away.

The log has its own watchers, `recorder.Broker` and `recorder.Heads`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from accounting.admission import ACCEPTED, Allocate, Outcome, Verdict
from accounting.datasets import DatasetState
from accounting.events import Event
from accounting.ledger.entry import Entry
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.state import TenantState
from accounting.values import PrivacyLoss
from deployments.budget.owner import BudgetOwner
from tests.simulation.answers import Span, judge
from tests.simulation.fold import Balance, TenantFold
from tests.simulation.requests import Answer, Operation, Request
from tests.simulation.sums import sums
from tests.simulation.violation import require


@dataclass(slots=True, eq=False)
class Asked:
    """A request under way at an owner."""

    request: Request
    span: Span
    set_back: timedelta = timedelta(0)
    """By how much the database's clock was set back meanwhile."""


@dataclass
class Watch:
    """Watches one run.

    Attributes:
        store: The one true ledger.
        clock: Its time.
        time: Virtual time.
        losses: The price of each event that may be asked for.
        default_budget: Whether tenants get a budget at their first request.
        folds: Each tenant's history, derived a second time.
        requests: What was asked for, by tenant, key and the request's hash.
        written: When each entry was written, by its hash.
        acknowledged: What owners said is durable.
    """

    store: MemoryLedgerStore
    clock: Callable[[], datetime]
    time: Callable[[], float]
    losses: Callable[[Event], PrivacyLoss]
    default_budget: bool
    folds: dict[str, TenantFold] = field(default_factory=dict)
    requests: dict[tuple[str, str, str], Allocate] = field(default_factory=dict)
    written: dict[bytes, float] = field(default_factory=dict)
    acknowledged: list[Entry] = field(default_factory=list)
    _seen: int = 0
    _open: dict[int, Asked] = field(default_factory=dict)
    _numbered: int = 0
    _checked: dict[tuple[int, str], TenantState] = field(default_factory=dict)

    def wrote(self) -> None:
        """After each write: derives the new entries."""
        committed = self.store.committed
        for entry in committed[self._seen :]:
            self.fold(entry.tenant_id).add(entry)
            self._was_asked_for(entry)
            self.written[entry.hash] = self.time()
        self._seen = len(committed)

    def _was_asked_for(self, entry: Entry) -> None:
        """What an allocation's entry says is what somebody asked for: all scopes, the time, the event."""
        if entry.idempotency_key is None:
            return
        asked = self.requests[entry.tenant_id, entry.idempotency_key, entry.request_hash or ""]
        place = (None, None) if entry.dataset is None else (entry.dataset.dataset_id, entry.dataset.partition)
        require(place == (asked.dataset_id, asked.partition), "not all scopes that were named are charged:", place)
        ttl = None if entry.due_at is None else (entry.due_at - entry.at).total_seconds()
        require(ttl == asked.ttl_seconds, "a hold has another time than was asked for:", ttl)
        said = (entry.event, entry.job_id, entry.source_engine)
        require(said == (asked.event, asked.job_id, asked.source_engine), "an entry says what nobody asked for:", said)

    def fold(self, tenant_id: str) -> TenantFold:
        """A tenant's history so far."""
        known = self.folds.get(tenant_id)
        if known is None:
            known = self.folds[tenant_id] = TenantFold(self.losses)
        return known

    def began(self, request: Request) -> int:
        """A request reached an owner; returns a number to say so again when it is answered."""
        now = self.clock()
        if isinstance(request, Allocate):
            self.requests[request.tenant_id, request.key, request.request_hash] = request
        self._numbered += 1
        self._open[self._numbered] = Asked(request, Span(len(self.fold(request.tenant_id).entries), now, now))
        return self._numbered

    def dropped(self, number: int) -> None:
        """The request will not be answered, or has been."""
        self._open.pop(number, None)

    def answered(self, number: int, answer: Answer) -> None:
        """An owner answers, whether or not anybody hears it."""
        asked = self._open.pop(number)
        asked.span.latest = self.clock() + asked.set_back
        fold = self.fold(asked.request.tenant_id)
        judge(fold, asked.request, asked.span, answer, self.default_budget)
        told = answer if isinstance(answer, Entry) or answer is None else answer.answer
        if told is not None:
            self.acknowledged.append(told)
        if isinstance(asked.request, Allocate) and isinstance(answer, Verdict) and answer.outcome not in ACCEPTED:
            self._was_recorded(asked.request, answer.outcome)

    def _was_recorded(self, request: Allocate, outcome: Outcome) -> None:
        """A refusal is in the audit log before anybody is told of it."""
        denials = reversed(self.store._denials.get(request.tenant_id, []))
        kept = any((denial.idempotency_key, denial.outcome) == (request.key, outcome) for denial in denials)
        require(kept, "a refusal was not kept for auditors:", outcome, request.key)

    def clock_moved(self, before: datetime) -> None:
        """The database's clock was set; until then it showed `before`."""
        now = self.clock()
        for asked in self._open.values():
            asked.span.earliest = min(asked.span.earliest, now)
            asked.set_back += max(before - now, timedelta(0))

    def remembered(self, owner: BudgetOwner) -> None:
        """A live owner's memory is the ledger's state after some entry."""
        for tenant_id, state in owner._states.items():
            # States are values: the same object is right again.
            if self._checked.get((id(owner), tenant_id)) is not state:
                self._compare(tenant_id, state)
                self._checked[id(owner), tenant_id] = state

    def remembered_keys(self, owner: BudgetOwner) -> None:
        """So are the keys that it remembers."""
        for (tenant_id, key), entry in owner._keys.items():
            known = self.fold(tenant_id).keys.get(key)
            require(known is not None and known.hash == entry.hash, "an owner remembers a key that is not so:", key)

    def _compare(self, tenant_id: str, state: TenantState) -> None:
        fold = self.fold(tenant_id)
        head = state.head
        known = fold.entries[head.seq - 1] if head.seq <= len(fold.entries) else None
        require(known is not None and known.hash == head.hash, "an owner remembers an entry that the ledger lacks")
        # A data set is read after the head, and may be of a later moment: then no write after that head will be taken.
        later = fold.balances[head.seq - 1 :]
        for name, dataset in state.datasets.items():
            found = any(_same_dataset(balance, name, dataset) for balance in later)
            require(found, "an owner remembers a data set that is not so:", name)

    def finish(self, record: Sequence[Operation]) -> None:
        """At the end: what was stored and acknowledged is all there still, unchanged; and so clients were told."""
        histories: dict[str, list[Entry]] = {}
        for entry in self.store.committed:
            histories.setdefault(entry.tenant_id, []).append(entry)
        for tenant_id, fold in self.folds.items():
            now = [entry.hash for entry in histories.get(tenant_id, [])]
            then = [entry.hash for entry in fold.entries]
            require(now == then, "a tenant's ledger is not what it was:", tenant_id)
        stored = {entry.hash for entry in self.store.committed}
        require(all(entry.hash in stored for entry in self.acknowledged), "an acknowledged entry is lost")
        for operation in record:
            self._told(operation)

    def _told(self, operation: Operation) -> None:
        """What a client was told was so at some moment between its first attempt and the answer."""
        answer = operation.answer
        told = answer if isinstance(answer, Entry) else answer.answer if isinstance(answer, Verdict) else None
        if told is None:
            return
        require(self.written[told.hash] <= operation.answered, "a client was told of what had not happened yet")
        if isinstance(answer, Verdict) and answer.outcome is Outcome.ADMITTED:
            require(self.written[told.hash] >= operation.invoked, "a client was told that another's request is its own")
        if isinstance(answer, Entry):
            after = self.folds[told.tenant_id].entries[told.seq : told.seq + 1]
            current = all(self.written[entry.hash] >= operation.invoked for entry in after)
            require(current, "a client read a balance that was out of date when it asked")


def _same_dataset(balance: Balance, name: str, state: DatasetState | None) -> bool:
    known = balance.datasets.get(name)
    if known is None or state is None:
        return known is None and state is None
    return (
        state.dataset == known.dataset
        and state.budget == known.budget
        and sums(state.whole) == known.whole
        and {name: sums(part) for name, part in state.parts.items()} == dict(known.parts)
    )
