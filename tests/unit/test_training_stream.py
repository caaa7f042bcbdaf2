"""The stream of a tenant's trainings: what it tells, to whom again, and when it ends."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from accounting.ledger.store import StoreUnavailableError
from accounting.ledger.tasks import StoredTask
from deployments.training.task import TaskState
from deployments.training.tracking import Tracked
from serve_app.routes.training_stream import SLACK, stream
from tests.sse import Sent, SseReader
from tests.training_tasks import document_for

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIRST = StoredTask("acme", "first", document_for().text, 0, None, NOON, NOON)
SECOND = replace(FIRST, task_id="second", changed_at=NOON + timedelta(minutes=1))


def _answer(task: Tracked) -> dict[str, Any]:
    return {"id": task.stored.task_id, "number": task.stored.number, "status": TaskState().phase}


async def _told(looks: Sequence[Sequence[StoredTask] | Exception], after: int = 0) -> list[Sent]:
    """What a reader is told who looks so many times, until its token expires."""
    waiting = iter(looks)
    left = iter([1.0] * len(looks) + [0.0])

    async def read() -> Sequence[StoredTask]:
        found = next(waiting)
        if isinstance(found, Exception):
            raise found
        return found

    reader, told = SseReader(), list[Sent]()
    async for part in stream(read, _answer, after, lambda: next(left), poll_seconds=0):
        told += reader.lines(part.decode().split("\n")[:-1])
    return told


async def test_everything_is_told_once_and_again_when_it_moves_on() -> None:
    """In the order in which it happened; what stays as it is is not told again."""
    moved = replace(FIRST, number=1, changed_at=NOON + timedelta(minutes=2))
    told = await _told([[SECOND, FIRST], [SECOND, FIRST], [SECOND, moved]])
    assert [(event.data["id"], event.data["number"]) for event in told] == [("first", 0), ("second", 0), ("first", 1)]
    assert {event.name for event in told} == {"waiting"}


async def test_ids_never_go_back() -> None:
    """A state that became visible late does not move the reader's place to before what it was told."""
    late = replace(FIRST, task_id="late", changed_at=NOON - timedelta(minutes=1))
    told = await _told([[FIRST], [late, FIRST]])
    ids = [int(event.event_id) for event in told]
    assert len(ids) == 2
    assert ids == sorted(ids)


async def test_whoever_comes_back_is_told_what_happened_since_and_a_little_before() -> None:
    """Nothing is lost between two connections, and what is long past is not told again."""
    (first,) = await _told([[FIRST]])
    after = int(first.event_id)
    assert [event.data["id"] for event in await _told([[SECOND, FIRST]], after)] == ["first", "second"]
    assert [event.data["id"] for event in await _told([[SECOND, FIRST]], after + SLACK + 1)] == ["second"]
    assert await _told([[SECOND, FIRST]], after + SLACK + 60_000_001) == []


async def test_it_ends_when_the_ledger_does_not_answer() -> None:
    """The reader comes back, and is then told with a problem document."""
    told = await _told([[FIRST], StoreUnavailableError("away"), [SECOND]])
    assert [event.data["id"] for event in told] == ["first"]
