"""``training/events``: all of a tenant's trainings as they move on, for whoever looks at them together.

Each open stream asks the ledger's database once in a while, and only while somebody reads it.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header
from starlette.responses import StreamingResponse

from accounting.ledger.store import StoreUnavailableError
from accounting.ledger.tasks import StoredTask
from deployments.training.tracking import Tracked, tracked
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.problems import Code, Problem, invalid
from serve_app.routes.access import permission_by

MAX_STREAMS = 100
"""Streams in one process; each asks for the tenant's trainings every `POLL_SECONDS`."""
MAX_WATCHED = 25
"""Trainings that a stream tells of: the newest."""
SLACK = 5_000_000
"""Microseconds. A state may be seen a little later than its moment, so whoever comes back is told so much again."""
POLL_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
_ID = re.compile(r"[0-9]{1,17}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Read = Callable[[], Awaitable[Sequence[StoredTask]]]
"""Gives the tenant's trainings, the newest first."""

STREAM = (
    "The trainings as they are, then each again when it moves on; after `Last-Event-ID`, where that is sent. An "
    "event's name is the training's status, its data what `GET training/jobs/{job}` answers."
)


def training_stream_router(
    verifier: TokenVerifier,
    tasks: Callable[[str], Awaitable[Sequence[StoredTask]]],
    answer: Callable[[Tracked], dict[str, Any]],
) -> APIRouter:
    """The route below ``training``.

    Args:
        verifier: Of tokens.
        tasks: Reads a tenant's trainings, the newest first.
        answer: A training as callers see it.
    """
    router = APIRouter()
    may = permission_by(verifier)
    open_streams = 0

    @router.get(
        "/events",
        summary="A tenant's trainings as they move on (server-sent events)",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": STREAM}},
    )
    async def events(
        asking: Annotated[Principal, may(Action.READ_TRAININGS)],
        tenant_id: str | None = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> StreamingResponse:
        tenant = asking.tenant(tenant_id, Action.READ_TRAININGS)
        if last_event_id is not None and not _ID.fullmatch(last_event_id):
            raise invalid("Last-Event-ID", "is not the id of an event of this stream")
        if open_streams >= MAX_STREAMS:
            detail = "Too many streams are open. Come back later, with the last id."
            raise Problem(Code.UNAVAILABLE, detail, headers={"Retry-After": "10"})

        async def body() -> AsyncIterator[bytes]:
            nonlocal open_streams
            open_streams += 1
            try:
                after = int(last_event_id or 0)
                async for part in stream(lambda: tasks(tenant), answer, after, lambda: asking.expires_at - time.time()):
                    yield part
            finally:
                open_streams -= 1

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(body(), media_type="text/event-stream", headers=headers)

    return router


async def stream(
    read: Read,
    answer: Callable[[Tracked], dict[str, Any]],
    after: int,
    seconds_left: Callable[[], float],
    *,
    poll_seconds: float = POLL_SECONDS,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> AsyncIterator[bytes]:
    """The trainings that changed since a moment, and from then on each when it has moved on.

    An event's id is the moment, in microseconds, up to which was told. Whoever comes back may be told something twice,
    which does no harm: what is told is how a training stands.

    Args:
        read: Reads the trainings.
        answer: A training as callers see it.
        after: The last id that the reader saw; 0 for all.
        seconds_left: How long the reader may go on.
        poll_seconds: How long to wait before looking again.
        heartbeat_seconds: How long to be silent at most.
    """
    told: dict[str, int] = {}
    begin = after - SLACK
    silent_since = time.monotonic()
    yield b"retry: 1000\n\n"
    while seconds_left() > 0:
        try:
            found = await read()
        except StoreUnavailableError:
            # It has begun, so no problem document can follow; its reader comes back and is told.
            return
        for task in sorted(found, key=lambda one: one.changed_at):
            moment = (task.changed_at - _EPOCH) // _MICROSECOND
            news = moment >= begin if task.task_id not in told else task.number != told[task.task_id]
            told[task.task_id] = task.number
            if news:
                training = answer(tracked(task))
                after, silent_since = max(after, moment), time.monotonic()
                name, data = str(training["status"]).encode(), msgspec.json.encode(training)
                yield b"id: %d\nevent: %s\ndata: %s\n\n" % (after, name, data)
        if time.monotonic() - silent_since > heartbeat_seconds:
            yield b": still here\n\n"
            silent_since = time.monotonic()
        await asyncio.sleep(poll_seconds)
