"""Tasks with their states read and moved on: what reports and the dispatcher have in common."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Protocol

import msgspec

from accounting.ledger.store import ConflictError
from accounting.ledger.tasks import StoredTask
from deployments.training.document import TaskDocument, document_from
from deployments.training.task import RefusedReportError, Report, TaskState, after, state_from_wire, state_to_wire

ATTEMPTS = 20
"""How often a report is tried against states that others have moved on meanwhile."""


class TaskStore(Protocol):
    """What is needed of `accounting.ledger.postgres_tasks.PostgresTasks`."""

    async def task(self, tenant_id: str, task_id: str) -> StoredTask | None:
        """A task of the tenant, if it has one of that id."""
        ...

    async def advance(self, tenant_id: str, task_id: str, number: int, state: str, *, over: bool) -> None:
        """Stores a task's next state, or raises `ConflictError`."""
        ...


@dataclass(frozen=True)
class Tracked:
    """A task as it stands.

    Attributes:
        stored: As it is stored.
        state: The last state.
    """

    stored: StoredTask
    state: TaskState

    @cached_property
    def document(self) -> TaskDocument:
        """What is to be done."""
        return document_from(self.stored.body)

    @property
    def changed_at(self) -> datetime:
        """When the last report came."""
        return self.stored.changed_at


def tracked(stored: StoredTask) -> Tracked:
    """A stored task with its state."""
    return Tracked(stored, TaskState() if stored.state is None else state_from_json(stored.state))


def state_from_json(text: str) -> TaskState:
    """The state of a stored text."""
    return state_from_wire(msgspec.json.decode(text))


async def record(tasks: TaskStore, tenant_id: str, task_id: str, report: Report) -> Tracked:
    """Moves a task on by a report, durably.

    Returns:
        The task after it.

    Raises:
        RefusedReportError: If the report does not follow, or there is no such task.
        StoreUnavailableError: If the database did not answer; whether it was recorded is unknown.
    """
    for _ in range(ATTEMPTS):
        stored = await tasks.task(tenant_id, task_id)
        if stored is None:
            raise RefusedReportError("There is no such task.")
        now = tracked(stored)
        state = after(now.state, report, now.document.steps)
        text = msgspec.json.encode(state_to_wire(state)).decode()
        try:
            await tasks.advance(tenant_id, task_id, stored.number + 1, text, over=state.settlement is not None)
        except ConflictError:
            continue
        return Tracked(stored, state)
    raise RefusedReportError("Too many others report on this task.")
