"""The owner of tenants' budgets: decides in memory, answers once the decision is durable.

Rules:

1. One write is under way at a time in each lane, and a tenant stays in one lane. What arrives meanwhile goes into the
   next one (natural batching, no timers), and is decided at once, on the draft that is being written. If that write
   fails, what was decided on it is thrown away and decided again. Several lanes write at the same time.
2. An answer leaves after its entries are durable, and so are those that it was decided on. Until then they exist only
   in a draft.
3. The ledger is the law, memory a cache of each tenant's last entry. Anything unexpected (a conflict, a lost
   connection) makes the owner forget the tenant and read again before it decides again.
4. A refusal writes nothing, so nothing would conflict if it were decided on a stale entry: before it leaves, the ledger
   is asked whether the tenant's last entry is still the one it was decided on.
5. A caller that goes away changes nothing: its request is decided all the same.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zlib import crc32

import structlog

from accounting.admission import ACCEPTED, Allocate, Limits, Outcome, Verdict, decide_allocation
from accounting.datasets import DatasetState
from accounting.filters import Budget
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.state import TenantState
from accounting.ledger.store import ConflictError, Denial, LedgerStore, StoreUnavailableError, Wanted
from accounting.policy import (
    THE_SERVICE,
    Renew,
    SetBudget,
    SetDataset,
    SetLegalHold,
    decide_budget,
    decide_dataset,
    decide_legal_hold,
    renewal,
)
from accounting.settlement import Settle, decide_settlement
from deployments.budget.draft import Draft
from deployments.budget.lane import Batch, Command, Decided, Lane, Waiting
from deployments.budget.observer import Nobody, Observer

log = structlog.get_logger()

ATTEMPTS = 20
"""How often a request is decided again because the history moved, before its caller is told to come back."""


FIRST_PAUSE_SECONDS = 0.001
"""Upper bound of the pause after a first conflict; it doubles five times."""


class OverloadedError(Exception):
    """Too many requests wait already, or others keep changing the same budget. Nothing was charged; come back later."""


class HaltedError(Exception):
    """The ledger is not what was published of it, so nothing is decided on it until an operator says so."""


@dataclass(frozen=True, slots=True)
class OwnerSettings:
    """What an owner needs to know.

    Attributes:
        limits: What one operation may cost.
        default_budget: What a tenant without a budget is given at its first request; None to refuse it.
        queue_limit: Requests that may wait in a lane; more are refused with `OverloadedError`.
        batch_limit: Requests in one write.
        lanes: Writes under way at once, for different tenants.
        tenants_in_memory: Last entries kept; the tenants longest unused leave first.
        keys_in_memory: Recent idempotency keys kept, to answer quick retries without asking the ledger.
    """

    limits: Limits
    default_budget: Budget | None
    queue_limit: int = 5_000
    batch_limit: int = 512
    lanes: int = 2
    tenants_in_memory: int = 100_000
    keys_in_memory: int = 20_000


class BudgetOwner:
    """Decides and records for any number of tenants. Several owners of one tenant are harmless, only slower."""

    def __init__(
        self,
        store: LedgerStore,
        settings: OwnerSettings,
        chance: random.Random | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._store = store
        self._observer = observer or Nobody()
        self._settings = settings
        self._chance = chance or random.Random()
        self._lanes = [Lane() for _ in range(settings.lanes)]
        self._halted: str | None = None
        self._states: OrderedDict[str, TenantState] = OrderedDict()
        self._keys: OrderedDict[tuple[str, str], Entry] = OrderedDict()
        self._writers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Starts the lanes' writers on the running event loop."""
        # Kept, because asking for the running loop costs a system call each time.
        self._loop = asyncio.get_running_loop()
        self._writers = [asyncio.create_task(self._write(lane), name="budget-writer") for lane in self._lanes]

    async def stop(self) -> None:
        """Ends the writers; requests still waiting are failed, uncharged."""
        for writer in self._writers:
            writer.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)
        for lane in self._lanes:
            for waiting in lane.queue:
                waiting.fail(StoreUnavailableError("the service is stopping"))
            lane.queue.clear()

    def halt(self, reason: str | None) -> None:
        """Refuses every request from now on, for that reason; None to go on. Memory is forgotten either way."""
        if reason != self._halted:
            self._halted = reason
            self._states.clear()
            self._keys.clear()

    @property
    def halted(self) -> bool:
        """Whether every request is refused."""
        return self._halted is not None

    @property
    def waiting(self) -> list[int]:
        """How many requests are in each lane."""
        return [len(lane) for lane in self._lanes]

    def heads(self) -> list[Entry]:
        """The last entry of each tenant in memory."""
        return [state.head for state in self._states.values()]

    async def submit(self, command: Command) -> Verdict:
        """Decides a request and makes the decision durable.

        Raises:
            OverloadedError: If too many requests wait or others keep changing the budget; nothing was charged.
            HaltedError: If the ledger may not be decided on; nothing was charged.
            StoreUnavailableError: If the ledger did not answer. The charge may have happened: repeat with the same key.
        """
        return await self.enqueue(command)

    async def settle(
        self,
        tenant_id: str,
        allocation_id: str,
        kind: EntryKind,
        actor: str,
        *,
        steps: int | None = None,
        statement: str | None = None,
    ) -> Verdict:
        """Ends an allocation, or takes back an ended one: see `Settle`. Errors as for `submit`."""
        for _ in range(ATTEMPTS):
            history = tuple(await self._store.allocation(tenant_id, allocation_id))
            if not history:
                return Verdict(Outcome.UNKNOWN_ALLOCATION)
            try:
                return await self.enqueue(Settle(tenant_id, allocation_id, kind, actor, history, steps, statement))
            except ConflictError:
                continue
        raise OverloadedError

    async def balance(self, tenant_id: str, actor: str) -> Entry | None:
        """The tenant's last entry as the ledger has it now; None where it has none and none is opened by default.

        A window that is due begins first, so that the balance is of the present one.
        """
        head = (await self._store.tails({tenant_id: Wanted()}))[tenant_id].head
        if head is None:
            if self._settings.default_budget is None:
                return None
            return (await self.submit(SetBudget(tenant_id, self._settings.default_budget, actor))).answer
        if head.period_end is not None and self._store.now() >= head.period_end:
            return (await self.submit(Renew(tenant_id))).answer
        return head

    async def budgets(self, tenant_id: str, actor: str, dataset_id: str | None = None) -> list[Budget]:
        """The budgets that a request will be decided on, as this owner last knew them: the tenant's, the data set's.

        Good for finding out what an event will cost them: members stay as they are when a budget is raised. What does
        not exist is left out.
        """
        state = self._states.get(tenant_id)
        head = await self.balance(tenant_id, actor) if state is None else state.head
        found = [] if head is None else [head.budget]
        if dataset_id is not None:
            dataset = None if state is None else state.datasets.get(dataset_id)
            if dataset is None:
                tails = await self._store.tails({tenant_id: Wanted(datasets={dataset_id})})
                dataset = tails[tenant_id].datasets[dataset_id]
            found += [] if dataset is None else [dataset.budget]
        return found

    def enqueue(self, command: Command) -> asyncio.Future[Verdict]:
        """Puts a request in the queue; the future is its verdict, or one of the errors of `submit`."""
        if self._halted is not None:
            raise HaltedError(self._halted)
        lane = self._lanes[crc32(command.tenant_id.encode()) % len(self._lanes)]
        if len(lane) >= self._settings.queue_limit:
            raise OverloadedError
        waiting = Waiting(command, self._loop.create_future(), self._observer.arrived())
        if not self._decide_ahead(lane, waiting):
            lane.put(waiting)
        return waiting.answer

    def _decide_ahead(self, lane: Lane, waiting: Waiting) -> bool:
        """Decides a request on the draft that is being written, if there is one and all is known; says whether."""
        ahead = lane.ahead
        if ahead is None or len(ahead.decided) >= self._settings.batch_limit or self._unread(waiting, ahead.draft):
            return False
        try:
            ahead.decided.append(self._decided(waiting, ahead.draft, self._store.now()))
        except Exception:
            # The draft may hold a part of it. Decided from the queue, it harms nobody else and is told of there.
            lane.abandon_ahead()
            return False
        return True

    async def _write(self, lane: Lane) -> None:
        ahead: Batch | None = None
        while True:
            batch = await lane.take(self._settings.batch_limit) if ahead is None else ahead.requests()
            try:
                ahead = await self._attempt(batch, lane, ahead)
            except asyncio.CancelledError:
                for waiting in batch:
                    waiting.fail(StoreUnavailableError("the service is stopping"))
                raise

    async def _attempt(
        self, batch: Sequence[Waiting], lane: Lane | None = None, decided: Batch | None = None
    ) -> Batch | None:
        """Flushes; whatever goes wrong, everybody who waits gets an answer and the lane goes on. As for `_flush`."""
        try:
            return await self._flush(batch, lane, decided)
        except (StoreUnavailableError, HaltedError) as error:
            self._forget(batch)
            log.warning("ledger_unavailable", requests=len(batch), error=str(error))
            for waiting in batch:
                waiting.fail(error)
        except Exception:
            self._forget(batch)
            log.exception("flush_failed", requests=len(batch))
            if len(batch) == 1:
                batch[0].fail(StoreUnavailableError("the service failed to decide; nothing was acknowledged"))
                return None
            # One request that hits a bug must not take those beside it along.
            for waiting in batch:
                if not waiting.answer.done():
                    await self._attempt([waiting])
        return None

    async def _flush(
        self, batch: Sequence[Waiting], lane: Lane | None = None, decided: Batch | None = None
    ) -> Batch | None:
        """Decides all, writes once, answers all; again for those that were decided on a stale entry.

        Args:
            batch: The requests.
            lane: Where more may be decided while these are being written; None to let nobody.
            decided: The requests with their verdicts, where they were decided on what has become memory since.

        Returns:
            What was decided meanwhile in the lane, which has to be flushed next; None if nothing was.
        """
        for attempt in range(ATTEMPTS):
            if self._halted is not None:
                raise HaltedError(self._halted)
            if decided is None:
                # A tenant is read with all that is asked of it: reading a part may show that the rest is out of date.
                unread = {waiting.tenant_id for waiting in batch if self._unread(waiting)}
                await self._read([waiting for waiting in batch if waiting.tenant_id in unread])
                decided = self._decided_all(batch)
            try:
                ahead = await self._append(decided, lane)
            except ConflictError as conflict:
                # Someone else wrote to one of these tenants, or a key is older than memory. Each tenant by itself, read
                # anew; what an allocation's end depends on is read by whoever asked for it.
                self._forget(batch)
                tenants = _by_tenant(batch)
                self._observer.conflicted()
                # The driver's own words quote keys that callers chose.
                log.info("ledger_conflict", tenants=len(tenants), requests=len(batch))
                if len(tenants) > 1:
                    for requests in tenants.values():
                        await self._flush(requests)
                    return None
                batch = _fail_settlements(batch, conflict)
                # Another owner is at work on the same tenant: a short, random pause lets one of both through.
                await asyncio.sleep(self._chance.uniform(0, FIRST_PAUSE_SECONDS * 2 ** min(attempt, 5)))
                lane = decided = None
                continue
            self._adopt(decided.draft)
            stale = await self._answer(decided.decided)
            if not stale:
                return ahead
            # They are written before what was decided meanwhile, so that is decided again too.
            batch = stale if ahead is None else [*stale, *ahead.requests()]
            lane = decided = None
        for waiting in batch:
            waiting.fail(OverloadedError())
        return None

    def _decided_all(self, batch: Sequence[Waiting]) -> Batch:
        draft = Draft()
        # What is written together happens at one moment.
        now = self._store.now()
        return Batch(draft, [self._decided(waiting, draft, now) for waiting in batch])

    async def _append(self, decided: Batch, lane: Lane | None) -> Batch | None:
        """Writes a draft, and returns what was decided on it meanwhile. Errors as of `LedgerStore.append`."""
        if not decided.draft.entries:
            return None
        if lane is None:
            await self._store_all(decided)
            return None
        lane.open_ahead(decided.draft)
        try:
            await self._store_all(decided)
        except BaseException:
            lane.abandon_ahead()
            raise
        return lane.close_ahead()

    async def _store_all(self, decided: Batch) -> None:
        began = time.perf_counter()
        entries = decided.draft.entries
        await self._store.append(entries)
        marks = [one.waiting.mark for one in decided.decided]
        self._observer.wrote(marks, len(entries), time.perf_counter() - began)

    def _decide(self, command: Command, draft: Draft, now: datetime) -> Verdict:
        tenant = command.tenant_id
        state = draft.state(tenant) or self._states.get(tenant)
        if state is None:
            if isinstance(command, SetBudget):
                verdict = decide_budget(None, command, now)
                draft.add(None, verdict.entries)
                return verdict
            if self._settings.default_budget is None:
                return Verdict(Outcome.UNKNOWN_TENANT)
            opening = SetBudget(tenant, self._settings.default_budget, _actor(command))
            state = draft.add(None, decide_budget(None, opening, now).entries)
            assert state is not None
        renewed = renewal(state.head, now)
        if renewed is not None:
            state = draft.add(state, [renewed])
            assert state is not None
        verdict = self._decide_on(state, command, draft, now)
        draft.add(state, verdict.entries)
        return verdict

    def _decide_on(self, state: TenantState, command: Command, draft: Draft, now: datetime) -> Verdict:
        head = state.head
        if isinstance(command, Allocate):
            key = (command.tenant_id, command.key)
            earlier = draft.key(key) or self._keys.get(key)
            dataset = None if command.dataset_id is None else self._dataset(state, command.dataset_id)
            return decide_allocation(head, earlier, command, self._settings.limits, now, dataset)
        match command:
            case Settle():
                touched = command.dataset_id
                dataset = None if touched is None else self._dataset(state, touched)
                return decide_settlement(head, _as_drafted(command, draft), now, dataset)
            case SetBudget():
                return decide_budget(head, command, now)
            case Renew():
                return Verdict(Outcome.REPLAYED, answer=head)
            case SetDataset():
                return decide_dataset(head, self._dataset(state, command.dataset_id), command, now)
            case SetLegalHold():
                return decide_legal_hold(head, command, now)

    def _dataset(self, state: TenantState, dataset_id: str) -> DatasetState | None:
        """The data set, or None where the tenant has none of that id, which only a ledger that was asked can say.

        What was not read must never pass for what does not exist: it would be registered anew, with nothing spent.
        """
        if dataset_id not in state.datasets and state.head.tenant_id in self._states:
            raise LookupError(f"data set {dataset_id} of {state.head.tenant_id} was not read")
        return state.datasets.get(dataset_id)

    def _decided(self, waiting: Waiting, draft: Draft, now: datetime) -> Decided:
        verdict = self._decide(waiting.command, draft, now)
        state = draft.state(waiting.tenant_id) or self._states.get(waiting.tenant_id)
        return Decided(waiting, verdict, 0 if state is None else state.head.seq)

    async def _answer(self, decided: Sequence[Decided]) -> list[Waiting]:
        """Answers what may be answered; returns the refused whose tenant has moved on since, in this flush or not."""
        refused = []
        for waiting, verdict, seq in decided:
            # What was admitted is durable, and what an allocation was or how it ended never changes. That a budget, a
            # data set or a legal hold is as wished already may have ceased to be so.
            lasting = verdict.entries or isinstance(waiting.command, Allocate | Settle)
            if verdict.outcome in ACCEPTED and lasting:
                self._observer.decided(waiting.command, verdict)
                waiting.reply(verdict)
            else:
                refused.append(Decided(waiting, verdict, seq))
        if not refused:
            return []
        await self._read([waiting for waiting, _, _ in refused])
        stale = []
        certain = []
        for waiting, verdict, seq in refused:
            same_head = seq == self._seq(waiting.tenant_id)
            # The key is looked up again too: its first use may be older than the keys in memory.
            found_key = verdict.outcome is not Outcome.KEY_REUSED and _key(waiting.command) in self._keys
            found_dataset = verdict.outcome is Outcome.UNKNOWN_DATASET and self._knows_dataset(waiting.command)
            if same_head and not found_key and not found_dataset and not self._is_due(waiting.tenant_id):
                certain.append((waiting, verdict, seq))
            else:
                stale.append(waiting)
        denials = [
            _denial(waiting.command, verdict, seq)
            for waiting, verdict, seq in certain
            if isinstance(waiting.command, Allocate)
        ]
        if denials:
            await self._store.record_denials(denials)
        for waiting, verdict, _ in certain:
            self._observer.decided(waiting.command, verdict)
            waiting.reply(verdict)
        return stale

    def _seq(self, tenant_id: str) -> int:
        """The position of the last entry known; 0 for none."""
        state = self._states.get(tenant_id)
        return 0 if state is None else state.head.seq

    def _is_due(self, tenant_id: str) -> bool:
        """Whether the tenant's window has ended by now: that read may be what first told of the time."""
        state = self._states.get(tenant_id)
        return state is not None and renewal(state.head, self._store.now()) is not None

    def _knows_dataset(self, command: Command) -> bool:
        state, dataset_id = self._states.get(command.tenant_id), _dataset_id(command)
        return state is not None and dataset_id is not None and state.datasets.get(dataset_id) is not None

    def _unread(self, waiting: Waiting, draft: Draft | None = None) -> bool:
        """Whether something that the request will be decided on is neither in the draft nor in memory."""
        state = None if draft is None else draft.state(waiting.tenant_id)
        state = state or self._states.get(waiting.tenant_id)
        if state is None:
            return True
        command = waiting.command
        if isinstance(command, Settle) and any(entry.seq > state.head.seq for entry in command.history):
            # It ends what another owner has begun since; the data set may be newer than this memory too.
            return True
        dataset_id = _dataset_id(command)
        return dataset_id is not None and dataset_id not in state.datasets

    async def _read(self, batch: Sequence[Waiting]) -> None:
        """Brings the tenants' last entries, and what the requests will be decided on beside them, into memory."""
        if not batch:
            return
        wanted: dict[str, Wanted] = {}
        for waiting in batch:
            asked = wanted.setdefault(waiting.tenant_id, Wanted())
            if isinstance(waiting.command, Allocate):
                asked.keys.add(waiting.command.key)
            dataset_id = _dataset_id(waiting.command)
            if dataset_id is not None:
                asked.datasets.add(dataset_id)
        for tenant_id, tail in (await self._store.tails(wanted)).items():
            known = self._states.get(tenant_id)
            if tail.head is not None:
                # What is known of other data sets is of the same moment only if nothing was written since. Ids that the
                # tenant has not registered are forgotten: anybody can think of more of them.
                last = known.datasets if known is not None and known.head.seq == tail.head.seq else {}
                kept = {name: found for name, found in last.items() if found is not None}
                self._states[tenant_id] = TenantState(tail.head, {**kept, **tail.datasets})
            for key, entry in tail.by_key.items():
                self._keys[tenant_id, key] = entry

    def _adopt(self, draft: Draft) -> None:
        for tenant_id, state in draft.states.items():
            self._states[tenant_id] = state
            self._states.move_to_end(tenant_id)
        self._keys.update(draft.keys)
        while len(self._states) > self._settings.tenants_in_memory:
            self._states.popitem(last=False)
        while len(self._keys) > self._settings.keys_in_memory:
            self._keys.popitem(last=False)

    def _forget(self, batch: Sequence[Waiting]) -> None:
        for waiting in batch:
            self._states.pop(waiting.tenant_id, None)


def _as_drafted(command: Settle, draft: Draft) -> Settle:
    """The command with the end that a draft may already have given the allocation.

    Without it, two ends in one write would conflict with each other each time they are tried.
    """
    ends = draft.ended((command.tenant_id, command.allocation_id))
    return replace(command, history=(*command.history, *ends)) if ends else command


def _dataset_id(command: Command) -> str | None:
    """The data set that a request will be decided on, if any."""
    return command.dataset_id if isinstance(command, Allocate | SetDataset | Settle) else None


def _actor(command: Command) -> str:
    return THE_SERVICE if isinstance(command, Renew) else command.actor


def _key(command: Command) -> tuple[str, str] | None:
    return (command.tenant_id, command.key) if isinstance(command, Allocate) else None


def _denial(command: Allocate, verdict: Verdict, seq: int) -> Denial:
    return Denial(
        tenant_id=command.tenant_id,
        seq=seq,
        outcome=verdict.outcome.value,
        job_id=command.job_id,
        source_engine=command.source_engine,
        actor=command.actor,
        idempotency_key=command.key,
        epsilon=command.loss.epsilon,
        delta=command.loss.delta,
        scope=None if verdict.shortage is None else verdict.shortage.scope,
    )


def _by_tenant(batch: Sequence[Waiting]) -> dict[str, list[Waiting]]:
    tenants: dict[str, list[Waiting]] = {}
    for waiting in batch:
        tenants.setdefault(waiting.tenant_id, []).append(waiting)
    return tenants


def _fail_settlements(batch: Sequence[Waiting], conflict: ConflictError) -> list[Waiting]:
    for waiting in batch:
        if isinstance(waiting.command, Settle):
            waiting.fail(conflict)
    return [waiting for waiting in batch if not isinstance(waiting.command, Settle)]
