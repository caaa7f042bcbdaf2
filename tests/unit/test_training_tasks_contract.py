"""What every store of tasks promises, in memory and in Postgres alike."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.postgres_tasks import PostgresTasks
from accounting.ledger.store import ConflictError
from deployments.training.document import document_from
from deployments.training.memory import MemoryTasks
from deployments.training.task import Cancel, End, Ending, RefusedReportError, Settled, Settlement, Started
from deployments.training.tracking import record
from tests.support import new_name
from tests.training_tasks import document_for, with_task


@pytest_asyncio.fixture
async def of_one(service_url: str) -> AsyncIterator[PostgresTasks]:
    """Tasks of one tenant at a time."""
    store = await PostgresTasks.open(service_url, connections=1)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def of_all(recorder_url: str) -> AsyncIterator[PostgresTasks]:
    """Tasks of all tenants, for reading."""
    store = await PostgresTasks.open(recorder_url, connections=1)
    yield store
    await store.close()


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> tuple[Any, Any, Any]:
    """A ledger, its tasks one tenant's at a time, and those of all tenants."""
    if request.param == "memory":
        ledger = MemoryLedgerStore()
        tasks = MemoryTasks(ledger)
        return ledger, tasks, tasks
    postgres, of_one, of_all = (request.getfixturevalue(name) for name in ("postgres", "of_one", "of_all"))
    return postgres, of_one, of_all


@pytest.fixture
def tenant() -> str:
    """A tenant that nobody has used yet."""
    return new_name("tenant")


async def test_a_task_is_there_with_its_hold(stores: tuple[Any, Any, Any], tenant: str) -> None:
    """As it was written, with no state yet, and open."""
    ledger, tasks, every = stores
    entries = with_task(tenant)
    task_id = entries[1].allocation_id or ""
    assert await tasks.task(tenant, task_id) is None
    await ledger.append(entries)
    stored = await tasks.task(tenant, task_id)
    assert document_from(stored.body) == document_for()
    assert (stored.tenant_id, stored.task_id, stored.number, stored.state) == (tenant, task_id, 0, None)
    assert stored.changed_at == stored.created_at
    assert (tenant, task_id) in await every.open_tasks(100_000)


async def test_a_hold_that_does_not_follow_leaves_no_task(stores: tuple[Any, Any, Any], tenant: str) -> None:
    """Both or neither: whoever comes second to a place in the ledger has written nothing."""
    ledger, tasks, every = stores
    first, winner = with_task(tenant)
    _, loser = with_task(tenant, document_for(dispatched=False).text)
    await ledger.append([first, winner])
    with pytest.raises(ConflictError):
        await ledger.append([loser])
    assert winner.allocation_id != loser.allocation_id
    assert await tasks.task(tenant, loser.allocation_id) is None
    assert [one for one in await every.open_tasks(100_000) if one[0] == tenant] == [(tenant, winner.allocation_id)]


async def test_states_follow_each_other_and_each_number_is_taken_once(
    stores: tuple[Any, Any, Any], tenant: str
) -> None:
    """The fence: of two that saw the same last state one goes on, and the other looks again."""
    ledger, tasks, _ = stores
    entries = with_task(tenant)
    task_id = entries[1].allocation_id or ""
    await ledger.append(entries)
    await tasks.advance(tenant, task_id, 1, '{"attempt":1}', over=False)
    with pytest.raises(ConflictError):
        await tasks.advance(tenant, task_id, 1, '{"attempt":2}', over=False)
    await tasks.advance(tenant, task_id, 2, '{"attempt":2}', over=False)
    stored = await tasks.task(tenant, task_id)
    assert (stored.number, stored.state) == (2, '{"attempt":2}')
    assert stored.changed_at >= stored.created_at


async def test_a_task_is_open_until_it_is_over_and_is_over_once(stores: tuple[Any, Any, Any], tenant: str) -> None:
    """Then nobody looks after it any more, and it can still be read."""
    ledger, tasks, every = stores
    entries = with_task(tenant)
    task_id = entries[1].allocation_id or ""
    await ledger.append(entries)
    await tasks.advance(tenant, task_id, 1, "{}", over=True)
    assert (tenant, task_id) not in await every.open_tasks(100_000)
    with pytest.raises(ConflictError):
        await tasks.advance(tenant, task_id, 2, "{}", over=True)
    assert (await tasks.task(tenant, task_id)).number == 1


async def test_what_nobody_ordered_has_no_states(stores: tuple[Any, Any, Any], tenant: str) -> None:
    """A state without a task is refused, and another tenant's task is not there."""
    ledger, tasks, _ = stores
    entries = with_task(tenant)
    task_id = entries[1].allocation_id or ""
    await ledger.append(entries)
    other = new_name("tenant")
    assert await tasks.task(other, task_id) is None
    with pytest.raises(ConflictError):
        await tasks.advance(other, task_id, 1, "{}", over=False)
    with pytest.raises(RefusedReportError, match="no such task"):
        await record(tasks, other, task_id, Cancel())


async def test_reports_are_recorded_one_after_the_other(stores: tuple[Any, Any, Any], tenant: str) -> None:
    """From the order to the settlement; what does not follow changes nothing."""
    ledger, tasks, every = stores
    entries = with_task(tenant)
    task_id = entries[1].allocation_id or ""
    await ledger.append(entries)
    await record(tasks, tenant, task_id, Started(1))
    with pytest.raises(RefusedReportError):
        await record(tasks, tenant, task_id, Started(1))
    await record(tasks, tenant, task_id, End(1, Ending.FAILED, 0, "no rows"))
    after = await record(tasks, tenant, task_id, Settled(Settlement.VOIDED))
    assert after.state.phase == "failed"
    stored = await tasks.task(tenant, task_id)
    assert stored.number == 3
    assert (tenant, task_id) not in await every.open_tasks(100_000)
