"""The owner of tenants' budgets: decides in memory, answers once the decision is durable.

Rules:

1. One write is under way at a time in each lane, and a tenant stays in one lane. What arrives meanwhile goes into the
   next one (natural batching, no timers). Several lanes keep this process busy while the database writes.
2. An answer leaves after its entries are durable. Until then they exist only in that flush's own working copy.
3. The ledger is the law, memory a cache of each tenant's last entry. Anything unexpected (a conflict, a lost
   connection) makes the owner forget the tenant and read again before it decides again.
4. A refusal writes nothing, so nothing would conflict if it were decided on a stale entry: before it leaves, the ledger
   is asked whether the tenant's last entry is still the one it was decided on.
5. A caller that goes away changes nothing: its request is decided all the same.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from accounting.admission import (
    ACCEPTED,
    Allocate,
    Command,
    Limits,
    Outcome,
    SetBudget,
    Settle,
    Verdict,
    decide_allocation,
    decide_budget,
    decide_settlement,
)
from accounting.filters import Budget
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind
from accounting.ledger.store import ConflictError, LedgerStore, StoreUnavailableError

log = structlog.get_logger()

ATTEMPTS = 20
"""How often a request is decided again because the history moved, before its caller is told to come back."""


FIRST_PAUSE_SECONDS = 0.001
"""Upper bound of the pause after a first conflict; it doubles five times."""


class OverloadedError(Exception):
    """Too many requests wait already, or others keep changing the same budget. Nothing was charged; come back later."""


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


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request and the future that its caller waits on."""

    command: Command
    answer: asyncio.Future[Verdict]

    @property
    def tenant_id(self) -> str:
        return self.command.tenant_id

    def reply(self, verdict: Verdict) -> None:
        # The caller may have hung up, which cancels the future; setting a result would then kill the loop.
        if not self.answer.done():
            self.answer.set_result(verdict)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(slots=True)
class _Draft:
    """One flush's working copy: what memory will be if the write succeeds."""

    heads: dict[str, Entry] = field(default_factory=dict)
    keys: dict[tuple[str, str], Entry] = field(default_factory=dict)
    ends: dict[tuple[str, str], Entry] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.entries.append(entry)
            self.heads[entry.tenant_id] = entry
            if entry.idempotency_key is not None:
                self.keys[entry.tenant_id, entry.idempotency_key] = entry
            if entry.allocation_id is not None and entry.kind not in OPENING_KINDS:
                self.ends[entry.tenant_id, entry.allocation_id] = entry


class _Lane:
    """Requests that wait for one writer."""

    def __init__(self) -> None:
        self.queue: list[_Waiting] = []
        self.arrived = asyncio.Event()

    def put(self, waiting: _Waiting) -> None:
        self.queue.append(waiting)
        self.arrived.set()

    async def take(self, limit: int) -> list[_Waiting]:
        await self.arrived.wait()
        batch = self.queue[:limit]
        del self.queue[: len(batch)]
        if not self.queue:
            self.arrived.clear()
        return batch


class BudgetOwner:
    """Decides and records for any number of tenants. Several owners of one tenant are harmless, only slower."""

    def __init__(self, store: LedgerStore, settings: OwnerSettings) -> None:
        self._store = store
        self._settings = settings
        self._lanes = [_Lane() for _ in range(settings.lanes)]
        self._heads: OrderedDict[str, Entry] = OrderedDict()
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

    async def submit(self, command: Allocate | SetBudget) -> Verdict:
        """Decides a request and makes the decision durable.

        Raises:
            OverloadedError: If too many requests wait or others keep changing the budget; nothing was charged.
            StoreUnavailableError: If the ledger did not answer. The charge may have happened: repeat with the same key.
        """
        return await self.enqueue(command)

    async def settle(self, tenant_id: str, allocation_id: str, kind: EntryKind, actor: str) -> Verdict:
        """Commits or voids an allocation. Errors as for `submit`."""
        for _ in range(ATTEMPTS):
            history = tuple(await self._store.allocation(tenant_id, allocation_id))
            if not history:
                return Verdict(Outcome.UNKNOWN_ALLOCATION)
            try:
                return await self.enqueue(Settle(tenant_id, allocation_id, kind, actor, history))
            except ConflictError:
                continue
        raise OverloadedError

    async def balance(self, tenant_id: str, actor: str) -> Entry | None:
        """The tenant's last entry as the ledger has it now; None where it has none and none is opened by default."""
        head = (await self._store.tails({tenant_id: ()}))[tenant_id].head
        if head is None and self._settings.default_budget is not None:
            return (await self.submit(SetBudget(tenant_id, self._settings.default_budget, actor))).answer
        return head

    async def budget(self, tenant_id: str, actor: str) -> Budget | None:
        """The tenant's budget as this owner last knew it; as `balance` has it where it never did.

        Good for finding out what an event will cost it: members stay as they are when a budget is raised.
        """
        head = self._heads.get(tenant_id) or await self.balance(tenant_id, actor)
        return None if head is None else head.budget

    def enqueue(self, command: Command) -> asyncio.Future[Verdict]:
        """Puts a request in the queue; the future is its verdict, or one of the errors of `submit`."""
        lane = self._lanes[hash(command.tenant_id) % len(self._lanes)]
        if len(lane.queue) >= self._settings.queue_limit:
            raise OverloadedError
        waiting = _Waiting(command, self._loop.create_future())
        lane.put(waiting)
        return waiting.answer

    async def _write(self, lane: _Lane) -> None:
        while True:
            batch = await lane.take(self._settings.batch_limit)
            try:
                await self._attempt(batch)
            except asyncio.CancelledError:
                for waiting in batch:
                    waiting.fail(StoreUnavailableError("the service is stopping"))
                raise

    async def _attempt(self, batch: Sequence[_Waiting]) -> None:
        """Flushes; whatever goes wrong, everybody who waits gets an answer and the lane goes on."""
        try:
            await self._flush(batch)
        except StoreUnavailableError as error:
            self._forget(batch)
            log.warning("ledger_unavailable", requests=len(batch), error=str(error))
            for waiting in batch:
                waiting.fail(error)
        except Exception:
            self._forget(batch)
            log.exception("flush_failed", requests=len(batch))
            if len(batch) == 1:
                batch[0].fail(StoreUnavailableError("the service failed to decide; nothing was acknowledged"))
                return
            # One request that hits a bug must not take those beside it along.
            for waiting in batch:
                if not waiting.answer.done():
                    await self._attempt([waiting])

    async def _flush(self, batch: Sequence[_Waiting]) -> None:
        """Decides all, writes once, answers all; again for those that were decided on a stale entry."""
        for attempt in range(ATTEMPTS):
            await self._read([waiting for waiting in batch if waiting.tenant_id not in self._heads])
            draft = _Draft()
            decided = [(waiting, self._decide(waiting.command, draft)) for waiting in batch]
            try:
                if draft.entries:
                    await self._store.append(draft.entries)
            except ConflictError as conflict:
                # Someone else wrote to one of these tenants, or a key is older than memory. Each tenant by itself, read
                # anew; what an allocation's end depends on is read by whoever asked for it.
                self._forget(batch)
                tenants = _by_tenant(batch)
                log.info("ledger_conflict", tenants=len(tenants), requests=len(batch), conflict=str(conflict))
                if len(tenants) > 1:
                    for requests in tenants.values():
                        await self._flush(requests)
                    return
                batch = _fail_settlements(batch, conflict)
                # Another owner is at work on the same tenant: a short, random pause lets one of both through.
                await asyncio.sleep(random.uniform(0, FIRST_PAUSE_SECONDS * 2 ** min(attempt, 5)))
                continue
            self._adopt(draft)
            batch = await self._answer(decided)
            if not batch:
                return
        for waiting in batch:
            waiting.fail(OverloadedError())

    def _decide(self, command: Command, draft: _Draft) -> Verdict:
        head = draft.heads.get(command.tenant_id) or self._heads.get(command.tenant_id)
        now = self._store.now()
        if isinstance(command, SetBudget):
            verdict = decide_budget(head, command, now)
        else:
            if head is None:
                if self._settings.default_budget is None:
                    return Verdict(Outcome.UNKNOWN_TENANT)
                opening = SetBudget(command.tenant_id, self._settings.default_budget, command.actor)
                opened = decide_budget(None, opening, now)
                draft.add(opened.entries)
                head = opened.entries[-1]
            if isinstance(command, Settle):
                verdict = decide_settlement(head, _as_drafted(command, draft), now)
            else:
                key = (command.tenant_id, command.key)
                earlier = draft.keys.get(key) or self._keys.get(key)
                verdict = decide_allocation(head, earlier, command, self._settings.limits, now)
        draft.add(verdict.entries)
        return verdict

    async def _answer(self, decided: Sequence[tuple[_Waiting, Verdict]]) -> list[_Waiting]:
        """Answers what may be answered; returns the refused whose tenant has moved on since."""
        refused = []
        for waiting, verdict in decided:
            if verdict.outcome in ACCEPTED:
                waiting.reply(verdict)
            else:
                refused.append((waiting, verdict))
        if not refused:
            return []
        believed = {waiting.tenant_id: self._heads.get(waiting.tenant_id) for waiting, _ in refused}
        await self._read([waiting for waiting, _ in refused])
        stale = []
        for waiting, verdict in refused:
            known = believed[waiting.tenant_id]
            actual = self._heads.get(waiting.tenant_id)
            same_head = (known and known.seq) == (actual and actual.seq)
            # The key is looked up again too: its first use may be older than the keys in memory.
            found_key = verdict.outcome is not Outcome.KEY_REUSED and _key(waiting.command) in self._keys
            if same_head and not found_key:
                waiting.reply(verdict)
            else:
                stale.append(waiting)
        return stale

    async def _read(self, batch: Sequence[_Waiting]) -> None:
        """Brings the tenants' last entries, and what is stored under the requests' keys, into memory."""
        if not batch:
            return
        wanted: dict[str, set[str]] = {}
        for waiting in batch:
            keys = wanted.setdefault(waiting.tenant_id, set())
            if isinstance(waiting.command, Allocate):
                keys.add(waiting.command.key)
        for tenant_id, tail in (await self._store.tails(wanted)).items():
            if tail.head is not None:
                self._heads[tenant_id] = tail.head
            for key, entry in tail.by_key.items():
                self._keys[tenant_id, key] = entry

    def _adopt(self, draft: _Draft) -> None:
        for tenant_id, head in draft.heads.items():
            self._heads[tenant_id] = head
            self._heads.move_to_end(tenant_id)
        self._keys.update(draft.keys)
        while len(self._heads) > self._settings.tenants_in_memory:
            self._heads.popitem(last=False)
        while len(self._keys) > self._settings.keys_in_memory:
            self._keys.popitem(last=False)

    def _forget(self, batch: Sequence[_Waiting]) -> None:
        for waiting in batch:
            self._heads.pop(waiting.tenant_id, None)


def _as_drafted(command: Settle, draft: _Draft) -> Settle:
    """The command with the end that the same flush may already have given the allocation.

    Without it, two ends in one flush would conflict with each other each time they are tried.
    """
    identity = command.history[0].allocation_id if command.history else None
    end = draft.ends.get((command.tenant_id, identity or ""))
    return command if end is None else replace(command, history=(*command.history, end))


def _key(command: Command) -> tuple[str, str] | None:
    return (command.tenant_id, command.key) if isinstance(command, Allocate) else None


def _by_tenant(batch: Sequence[_Waiting]) -> dict[str, list[_Waiting]]:
    tenants: dict[str, list[_Waiting]] = {}
    for waiting in batch:
        tenants.setdefault(waiting.tenant_id, []).append(waiting)
    return tenants


def _fail_settlements(batch: Sequence[_Waiting], conflict: ConflictError) -> list[_Waiting]:
    for waiting in batch:
        if isinstance(waiting.command, Settle):
            waiting.fail(conflict)
    return [waiting for waiting in batch if not isinstance(waiting.command, Settle)]
