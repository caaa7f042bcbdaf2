"""Tasks in memory, beside the ledger in memory: for tests and for trying things out. Same promises but durability."""

from collections.abc import Sequence

from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.store import ConflictError
from accounting.ledger.tasks import StoredState, StoredTask


class MemoryTasks:
    """`TaskStore` and `OpenTasks` in dictionaries. A task is there once its hold is in the ledger."""

    def __init__(self, ledger: MemoryLedgerStore) -> None:
        self._ledger = ledger
        self._states: dict[tuple[str, str], list[StoredState]] = {}
        self._over: set[tuple[str, str]] = set()

    async def task(self, tenant_id: str, task_id: str) -> StoredTask | None:
        """See `TaskStore.task`."""
        body = self._ledger.tasks.get((tenant_id, task_id))
        if body is None:
            return None
        hold = (await self._ledger.allocation(tenant_id, task_id))[0]
        states = self._states.get((tenant_id, task_id))
        if not states:
            return StoredTask(tenant_id, task_id, body, 0, None, hold.at, hold.at)
        last = states[-1]
        return StoredTask(tenant_id, task_id, body, last.number, last.state, hold.at, last.at)

    async def advance(self, tenant_id: str, task_id: str, number: int, state: str, *, over: bool) -> None:
        """See `TaskStore.advance`."""
        one = (tenant_id, task_id)
        if one not in self._ledger.tasks:
            raise ConflictError(f"{tenant_id} has no task {task_id}")
        states = self._states.setdefault(one, [])
        if number != len(states) + 1 or one in self._over:
            raise ConflictError(f"state {number} of task {task_id} is not the next one")
        states.append(StoredState(number, state, self._ledger.now()))
        if over:
            self._over.add(one)

    async def open_tasks(self, limit: int = 1_000) -> Sequence[tuple[str, str]]:
        """See `OpenTasks.open_tasks`."""
        return [one for one in self._ledger.tasks if one not in self._over][:limit]
