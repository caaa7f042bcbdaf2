"""Whatever dies, and when: a task comes to its end, its hold ends once, and what was done is charged."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accounting.ledger.entry import ENDING_KINDS, Entry, EntryKind
from accounting.ledger.memory import MemoryLedgerStore
from accounting.settlement import Settle, decide_settlement
from deployments.training.dispatcher import Dispatcher, DispatchError, job_name
from deployments.training.memory import MemoryTasks
from deployments.training.next_step import JobStatus
from deployments.training.task import (
    MAX_ATTEMPTS,
    Cancel,
    End,
    Ending,
    Progress,
    Reading,
    RefusedReportError,
    Report,
    Settlement,
    Started,
    TaskState,
    ToCommit,
    ToVoid,
)
from deployments.training.tracking import record, tracked
from tests.ledgers import NOW, opened
from tests.training_tasks import EVENT, STEPS, document_for, held

TENANT = "tenant"
TTL = 600
BLOCK = 3
CHECKPOINT_EVERY = 5


class Ledger(MemoryLedgerStore):
    """A ledger whose clock the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.at = NOW

    def now(self) -> datetime:
        """See `LedgerStore.now`."""
        return self.at


@dataclass
class Process:
    """One start, as `deployments.training.work` makes it: it reports, then does what it reported."""

    world: "World"
    attempt: int
    alive: bool = True
    read: bool = False
    done: int = 0
    through: int = 0
    told: bool = False

    async def go_on(self) -> None:
        """The next report and what follows it. What is refused is given up."""
        if not self.alive:
            return
        try:
            await self._next()
        except RefusedReportError:
            self.alive = False

    async def _next(self) -> None:
        world = self.world
        if not self.read:
            assert not (await self._report(Reading(self.attempt, {}))).cancelled
            self.read = True
            self.done = self.through = world.checkpoint
        elif not self.told or (self.done >= self.through and self.done < STEPS):
            through = min(self.done + BLOCK, STEPS)
            state = await self._report(Progress(self.attempt, self.done, through))
            self.told, self.through = True, through
            if state.cancelled:
                await self._end(Ending.CANCELLED)
        elif self.done < self.through:
            self.done += 1
            world.most_done = max(world.most_done, self.done)
            if self.done % CHECKPOINT_EVERY == 0:
                world.checkpoint = self.done
        else:
            await self._end(Ending.FINISHED)

    async def _end(self, ending: Ending) -> None:
        await self._report(End(self.attempt, ending, self.done))
        self.alive = False

    async def _report(self, report: Report) -> TaskState:
        state = await self.world.report(report)
        assert state.attempt == self.attempt, "a start that was given up was heard"
        return state


@dataclass
class World:
    """A task under a hold, what starts it and what it does; anything may break."""

    ledger: Ledger = field(default_factory=Ledger)
    processes: dict[str, Process] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    """Starts that nothing is known of any more, whether they live or not."""
    submitted: list[str] = field(default_factory=list)
    checkpoint: int = 0
    most_done: int = 0
    trouble: str = ""
    told: list[tuple[str, str]] = field(default_factory=list)
    kept: bool = True

    def __post_init__(self) -> None:
        self.tasks = MemoryTasks(self.ledger)
        self.task_id = ""

    async def order(self, text: str, *, event: object = EVENT) -> None:
        """A task, under a hold for that event."""
        first = opened(TENANT)
        hold = held(first, text, event=event, ttl=TTL)  # type: ignore[arg-type]  # any event
        await self.ledger.append([first, hold])
        assert hold.allocation_id is not None
        self.task_id = hold.allocation_id

    async def report(self, report: Report) -> TaskState:
        """A report on the task."""
        return (await record(self.tasks, TENANT, self.task_id, report)).state

    async def state(self) -> TaskState:
        """As it is stored."""
        stored = await self.tasks.task(TENANT, self.task_id)
        assert stored is not None
        return tracked(stored).state

    # What the dispatcher needs.

    def submit(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """See `Jobs.submit`."""
        assert (list(arguments), environment) == ([TENANT, self.task_id], {"attempt": name})
        if self.trouble == "before submit":
            raise OSError("no")
        if name not in self.processes:
            self.submitted.append(name)
            self.processes[name] = Process(self, len(self.processes) + 1)
            self.processes[name].attempt = int(name.removeprefix(self.task_id).removeprefix("-") or 1)
        if self.trouble == "after submit":
            raise OSError("no answer")

    def status(self, name: str) -> JobStatus:
        """See `Jobs.status`."""
        if self.trouble == "status":
            raise OSError("no answer")
        known = self.processes.get(name) if name not in self.forgotten else None
        return JobStatus.ALIVE if known is not None and known.alive else JobStatus.GONE

    def stop(self, name: str) -> None:
        """See `Jobs.stop`."""
        if name in self.processes:
            self.processes[name].alive = False

    def last_words(self, name: str) -> str:
        """See `Jobs.last_words`."""
        return f"{name} was killed"

    def close(self) -> None:
        """See `Jobs.close`."""

    def launch(self, tenant_id: str, task_id: str, attempt: int) -> tuple[Sequence[str], Mapping[str, str]]:
        """See `Launch`."""
        return [tenant_id, task_id], {"attempt": job_name(task_id, attempt)}

    async def settle(self, tenant_id: str, task_id: str, wanted: ToVoid | ToCommit) -> None:
        """As the budget does it; a hold that cannot end so is left as it is."""
        if self.trouble == "before settle":
            raise OSError("no")
        if isinstance(wanted, ToVoid):
            await self.end_hold(EntryKind.VOIDED)
        else:
            await self.end_hold(EntryKind.COMMITTED, wanted.steps)
        if self.trouble == "after settle":
            raise OSError("no answer")

    async def end_hold(self, kind: EntryKind, steps: int | None = None) -> None:
        """Ends the hold, if it can end so now."""
        history = tuple(await self.ledger.allocation(TENANT, self.task_id))
        head = (await self.ledger.history(TENANT))[-1]
        verdict = decide_settlement(head, Settle(TENANT, self.task_id, kind, "x", history, steps), self.ledger.now())
        await self.ledger.append(verdict.entries)

    def keep_only(self, task_id: str, _: int | None) -> None:
        """See `KeepOnly`."""
        assert task_id == self.task_id
        self.kept = False

    async def round(self, trouble: str = "") -> None:
        """One round of a dispatcher that knows nothing of the rounds before."""
        self.trouble = trouble
        dispatcher = Dispatcher(self.tasks, self.tasks, self.ledger, self, self.launch, self.settle, self.keep_only)
        try:
            await dispatcher.step()
        except DispatchError:
            assert trouble
        self.trouble = ""

    async def endings(self) -> list[Entry]:
        """How the hold has ended, however often."""
        return [e for e in await self.ledger.allocation(TENANT, self.task_id) if e.kind in ENDING_KINDS]


Happening = tuple[str, str]
happenings = st.lists(
    st.one_of(
        st.tuples(
            st.just("round"),
            st.sampled_from(["", "", "before submit", "after submit", "status", "before settle", "after settle"]),
        ),
        st.tuples(st.sampled_from(["work", "work a lot", "kill", "forget", "wait"]), st.just("")),
        st.tuples(st.sampled_from(["start", "start", "die and start again", "two at once", "cancel"]), st.just("")),
        st.tuples(st.sampled_from(["cancel", "expire"]), st.just("")),
    ),
    max_size=25,
)


STORIES = {
    "start": ("round", "work"),
    "die and start again": ("work a lot", "kill", "wait", "round", "work"),
    "two at once": ("work a lot", "forget", "wait", "round", "work a lot"),
}


async def happen(world: World, what: str, trouble: str) -> None:
    """One thing that happens, or several."""
    for part in STORIES.get(what, ()):
        await happen(world, part, "")
    world.ledger.at += timedelta(seconds=1)
    if what == "round":
        await world.round(trouble)
    elif what in ("work", "work a lot"):
        for _ in range(1 if what == "work" else 8):
            for process in list(world.processes.values()):
                await process.go_on()
    elif what == "kill":
        for process in world.processes.values():
            process.alive = False
    elif what == "forget":
        # Ray's head is lost; what it had started may go on for a while.
        world.forgotten |= set(world.processes)
    elif what == "wait":
        world.ledger.at += timedelta(seconds=40)
    elif what == "cancel":
        try:
            await world.report(Cancel())
        except RefusedReportError:
            assert (await world.state()).ending is not None
    elif what == "expire":
        world.ledger.at += timedelta(seconds=TTL)
        await world.end_hold(EntryKind.EXPIRED_SPENT)


async def lives(history: list[Happening]) -> None:
    """A task's life with all that happens, then left in peace until it is over; then the laws are looked at."""
    world = World()
    await world.order(document_for().text)
    for what, trouble in history:
        await happen(world, what, trouble)
    for _ in range(60):
        if (await world.state()).settlement is not None:
            break
        for what in ("round", "work a lot", "wait"):
            await happen(world, what, "")
            if world.ledger.at > NOW + timedelta(seconds=TTL):
                # The sweeper.
                await world.end_hold(EntryKind.EXPIRED_SPENT)
    state = await world.state()
    assert state.settlement is not None, state
    (end,) = await world.endings()
    assert state.settlement == Settlement(end.kind.value)
    assert await world.tasks.open_tasks() == []
    assert not world.kept
    assert len(set(world.submitted)) == len(world.submitted) <= MAX_ATTEMPTS
    read = any(process.read for process in world.processes.values())
    if end.kind is EntryKind.VOIDED:
        assert not read
    if end.kind is EntryKind.COMMITTED:
        charged = (end.details or {}).get("steps", STEPS)
        assert isinstance(charged, int)
        assert charged >= world.most_done
        if state.ending is Ending.FINISHED:
            assert charged == STEPS
    if state.ending is Ending.FINISHED:
        assert end.kind is not EntryKind.VOIDED
        assert world.most_done == STEPS
    # What lives on is heard no more.
    for process in world.processes.values():
        for _ in range(2 * STEPS):
            await process.go_on()
        assert not process.alive
    assert await world.state() == state


def story(*parts: str) -> list[Happening]:
    """These, without any other trouble."""
    return [(part, "") for part in parts]


@given(happenings)
@example(story("start", "die and start again", "cancel", "work"))
@example(
    story("start", "work a lot", *["work"] * 4, "kill", "wait", "round", "work", "work", "kill", "cancel", "round")
)
@example(story("start", "two at once", "work a lot", "work a lot"))
@example(story("start", "expire", "work a lot", "work a lot", "work a lot"))
@example(story("round", "cancel", "work", "kill", "round"))
@settings(max_examples=300)
def test_whatever_happens_a_task_ends_its_hold_ends_once_and_what_was_done_is_charged(
    history: list[Happening],
) -> None:
    """Also: at most `MAX_ATTEMPTS` starts, no void once a record was read, no checkpoint left, no late word counts."""
    asyncio.run(lives(history))


async def test_left_in_peace_a_task_is_started_once_and_finishes() -> None:
    """And all of it is charged."""
    world = World()
    await world.order(document_for().text)
    for _ in range(STEPS):
        await happen(world, "round", "")
        await happen(world, "work a lot", "")
    state = await world.state()
    assert (state.ending, state.settlement, state.attempt) == (Ending.FINISHED, Settlement.COMMITTED, 1)
    assert world.submitted == [world.task_id]


async def test_a_task_that_dies_each_time_is_given_up_with_its_last_words() -> None:
    """After `MAX_ATTEMPTS` starts, each a while after the one before."""
    world = World()
    await world.order(document_for().text)
    for _ in range(3 * MAX_ATTEMPTS):
        await happen(world, "round", "")
        await happen(world, "kill", "")
        await happen(world, "wait", "")
    state = await world.state()
    assert (state.ending, state.settlement) == (Ending.FAILED, Settlement.VOIDED)
    assert state.message is not None
    assert "was killed" in state.message
    assert len(world.submitted) == MAX_ATTEMPTS


async def test_a_start_that_could_not_be_submitted_is_not_the_end() -> None:
    """The next one is ordered a moment later."""
    world = World()
    await world.order(document_for().text)
    await happen(world, "round", "before submit")
    assert world.submitted == []
    await happen(world, "round", "")
    assert (await world.state()).attempt == 1
    await happen(world, "wait", "")
    await happen(world, "round", "")
    assert world.submitted == [job_name(world.task_id, 2)]


async def test_a_task_that_is_not_for_what_is_held_is_never_started() -> None:
    """Whoever holds budget for little and describes a lot gets nothing; its hold is voided, as nothing was read."""
    world = World()
    await world.order(document_for(EVENT).text, event=EVENT.event)
    for _ in range(4):
        await happen(world, "round", "")
    state = await world.state()
    assert (state.ending, state.settlement) == (Ending.FAILED, Settlement.VOIDED)
    assert state.message is not None
    assert "event that is held" in state.message
    assert world.submitted == []


async def test_a_callers_own_task_is_not_started_here_but_is_settled() -> None:
    """Its caller reports; the dispatcher ends the hold."""
    world = World()
    await world.order(document_for(dispatched=False).text)
    await happen(world, "round", "")
    assert world.submitted == []
    for report in (Started(1), Reading(1, {}), Progress(1, 0, 5), End(1, Ending.FAILED, 4, "it broke")):
        await world.report(report)
        await happen(world, "round", "")
    await happen(world, "round", "")
    (end,) = await world.endings()
    assert (end.kind, (end.details or {})["steps"]) == (EntryKind.COMMITTED, 4)


async def test_one_task_that_cannot_be_looked_after_does_not_hold_up_the_others() -> None:
    """A text that is no document is skipped; alone, it is told of."""
    world = World()
    await world.order("no document")
    with pytest.raises(DispatchError, match="none of 1"):
        await Dispatcher(
            world.tasks, world.tasks, world.ledger, world, world.launch, world.settle, world.keep_only
        ).step()
    broken, head = world.task_id, (await world.ledger.history(TENANT))[-1]
    hold = held(head, document_for().text)
    await world.ledger.append([hold])
    assert hold.allocation_id is not None
    world.task_id = hold.allocation_id
    await world.round()
    assert world.submitted == [hold.allocation_id]
    assert broken != hold.allocation_id
