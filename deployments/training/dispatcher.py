"""Brings tasks on their way and to their end: starts them, starts them again, settles their holds.

It remembers nothing. Every round looks at each task that is not over, asks Ray about its present start, and takes the
next step; so whoever dies, this process or Ray's head, the next round goes on from what is stored. A step that was
taken twice changes nothing: starts have names, states have numbers, and a hold ends once.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.store import StoreUnavailableError
from accounting.ledger.tasks import StoredTask
from deployments.outbox.loops import ToldError
from deployments.training.jobs import Jobs
from deployments.training.next_step import JobStatus, Record, Settle, Step, Stop, Submit, next_step
from deployments.training.task import (
    End,
    Ending,
    RefusedReportError,
    Settled,
    Settlement,
    ToCommit,
    ToVoid,
    settlement_of,
)
from deployments.training.tracking import TaskStore, Tracked, record, tracked

log = structlog.get_logger()

ROUND_SECONDS = 1.0
PATIENCE_SECONDS = 30.0
"""How long a job that is asked to stop may go on before it is ended by force."""
PAUSE_SECONDS = 2.0
"""How long after its last report a start that died is followed by the second; later ones twice as long each time."""
AT_ONCE = 8

Launch = Callable[[str, str, int], tuple[Sequence[str], Mapping[str, str]]]
"""Arguments and environment of a start, from tenant, task and attempt."""
SettleHold = Callable[[str, str, ToVoid | ToCommit], Awaitable[None]]
"""Asks the budget to end a hold. What has ended already, or can no longer end so, is no error: the ledger is read."""
KeepOnly = Callable[[str, int | None], None]
"""Deletes what the starts of a task kept, but for the results of one of them if one finished: checkpoints are personal
data, and of a run's outcomes only one may ever be seen. Blocking."""
_ENDINGS = {
    EntryKind.COMMITTED: Settlement.COMMITTED,
    EntryKind.VOIDED: Settlement.VOIDED,
    EntryKind.EXPIRED_SPENT: Settlement.EXPIRED_SPENT,
}


class DispatchError(ToldError):
    """Nothing of what is to be done could be done. The next round tries again."""


class OpenTasks(Protocol):
    """Finds what is not over, in all tenants."""

    async def open_tasks(self, limit: int = 1_000) -> Sequence[tuple[str, str]]:
        """Tenant and id of tasks that are not over."""
        ...


class Holds(Protocol):
    """The ledger, as far as it is needed here."""

    def now(self) -> datetime:
        """Database time."""
        ...

    async def allocation(self, tenant_id: str, allocation_id: str) -> list[Entry]:
        """The entries of one allocation, oldest first."""
        ...


class Dispatcher:
    """Looks after all tasks, round after round."""

    def __init__(
        self,
        open_tasks: OpenTasks,
        tasks: TaskStore,
        holds: Holds,
        jobs: Jobs,
        launch: Launch,
        settle: SettleHold,
        keep_only: KeepOnly,
    ) -> None:
        self._open = open_tasks
        self._tasks = tasks
        self._holds = holds
        self._jobs = jobs
        self._launch = launch
        self._settle = settle
        self._keep_only = keep_only
        self.phases: Counter[str] = Counter()
        """How many of the tasks of the last round were in which phase."""
        self.ended: Counter[str] = Counter()
        """How many tasks were seen to their end, by how they ended."""
        self._met: Counter[str] = Counter()

    async def step(self) -> float:
        """One round. See `loops.Step`.

        Raises:
            DispatchError: If there is something to do and all of it failed.
            StoreUnavailableError: If the database did not answer.
        """
        found = await self._open.open_tasks()
        self._met = Counter()
        places = asyncio.Semaphore(AT_ONCE)
        failures = [error for error in await asyncio.gather(*(self._try(*one, places) for one in found)) if error]
        self.phases = self._met
        if failures and len(failures) == len(found):
            raise DispatchError(f"none of {len(found)} tasks could be looked after") from failures[0]
        return ROUND_SECONDS

    async def _try(self, tenant_id: str, task_id: str, places: asyncio.Semaphore) -> Exception | None:
        async with places:
            try:
                await self._tend(tenant_id, task_id)
            except RefusedReportError:
                # Somebody else has moved it on.
                return None
            except Exception as error:
                log.warning("task_not_tended", tenant=tenant_id, task=task_id, error=repr(error))
                return error
        return None

    async def _tend(self, tenant_id: str, task_id: str) -> None:
        stored: StoredTask | None = await self._tasks.task(tenant_id, task_id)
        if stored is None:
            return
        task = tracked(stored)
        self._met[task.state.phase] += 1
        entries = await self._entries(tenant_id, task_id)
        if task.state.ending is None and entries[0].event != task.document.event:
            message = "Its document is not for the event that is held."
            await record(self._tasks, tenant_id, task_id, End(None, Ending.FAILED, message=message))
            return
        name = job_name(task_id, task.state.attempt)
        asked = task.state.attempt > 0 and task.state.ending is None and task.document.dispatched
        job = await asyncio.to_thread(self._jobs.status, name) if asked else JobStatus.GONE
        dead = asked and job is JobStatus.GONE
        chosen: Step = next_step(
            task.state,
            job,
            hold=next((_ENDINGS[entry.kind] for entry in entries if entry.kind in _ENDINGS), None),
            dispatched=task.document.dispatched,
            quiet_seconds=(self._holds.now() - task.changed_at).total_seconds(),
            patience_seconds=PATIENCE_SECONDS,
            pause_seconds=PAUSE_SECONDS,
            last_words=await asyncio.to_thread(self._jobs.last_words, name) if dead else "",
        )
        await self._take(chosen, task)

    async def _take(self, chosen: Step, task: Tracked) -> None:
        tenant_id, task_id = task.stored.tenant_id, task.stored.task_id
        if isinstance(chosen, Record):
            if isinstance(chosen.report, Settled):
                outcome = task.state.attempt if task.state.ending is Ending.FINISHED else None
                await asyncio.to_thread(self._keep_only, task_id, outcome)
            await record(self._tasks, tenant_id, task_id, chosen.report)
            if isinstance(chosen.report, Settled) and task.state.ending is not None:
                self.ended[task.state.ending] += 1
        elif isinstance(chosen, Submit):
            await record(self._tasks, tenant_id, task_id, chosen.report)
            attempt = chosen.report.attempt
            arguments, environment = self._launch(tenant_id, task_id, attempt)
            log.info("task_started", tenant=tenant_id, task=task_id, attempt=attempt)
            await asyncio.to_thread(self._jobs.submit, job_name(task_id, attempt), arguments, environment)
        elif isinstance(chosen, Stop):
            log.warning("task_stopped", tenant=tenant_id, task=task_id)
            await asyncio.to_thread(self._jobs.stop, job_name(task_id, task.state.attempt))
        elif isinstance(chosen, Settle):
            wanted = settlement_of(task.state, task.document.steps, divisible=task.document.divisible)
            await self._settle(tenant_id, task_id, wanted)

    async def _entries(self, tenant_id: str, task_id: str) -> list[Entry]:
        entries = await self._holds.allocation(tenant_id, task_id)
        if not entries:
            # A hold does not vanish: what was read is older than the task.
            raise StoreUnavailableError("the ledger does not show the task's hold yet")
        return entries


def job_name(task_id: str, attempt: int) -> str:
    """What a start is called: the task's id, for a later one with its number."""
    return task_id if attempt <= 1 else f"{task_id}-{attempt}"
