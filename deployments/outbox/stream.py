"""The log's events as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Each reader reads the log by itself, a page at a time and only when it has taken the page before: a slow one costs
nothing but time. An event's id says where it stands in the log, so a reader that comes back with the last id it saw
misses nothing and gets nothing twice.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from accounting.ledger.log import Logged
from deployments.outbox.events import OutboxEvent, Topic, events_of
from deployments.outbox.watch import Watch

PAGE = 200
"""Entries that a reader has in memory at once."""
HEARTBEAT_SECONDS = 15.0
RECONNECT_MILLISECONDS = 1_000

Read = Callable[[int, int], Awaitable[Sequence[Logged]]]
"""Entries that the reader may see, in order: from that position on, at most so many."""

_ID = re.compile(r"(?P<position>0|[1-9]\d{0,15})(?:-(?P<index>0|[1-9]\d{0,2}))?\Z", re.ASCII)


class EventIdError(ValueError):
    """Not the id of an event of this stream."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader goes on.

    Attributes:
        position: Of the entry whose events come next.
        index: Of its first event that was not seen.
    """

    position: int
    index: int = 0


def place_after(event_id: str) -> Place:
    """Where a reader goes on that has seen everything up to that id.

    Raises:
        EventIdError: If it is none of this stream's ids.
    """
    found = _ID.match(event_id)
    if found is None:
        raise EventIdError("is not the id of an event of this stream, such as 17-0")
    position = int(found["position"])
    return Place(position + 1) if found["index"] is None else Place(position, int(found["index"]) + 1)


def sse(event: OutboxEvent) -> bytes:
    """The event as it is sent: its id, its topic as the event's name, and its data."""
    return b"id: %d-%d\nevent: %s\ndata: %s\n\n" % (event.position, event.index, event.topic.encode(), event.body)


def heartbeat(place: Place) -> bytes:
    """What is sent when there is nothing to tell: keeps the connection, and says how far the reader has come."""
    # An id without data is no event, but it is the last id that the reader saw.
    return b": nothing new\n" + (b"id: %d\n\n" % (place.position - 1) if place.position and not place.index else b"\n")


async def stream(
    read: Read,
    watch: Watch,
    place: Place,
    topics: Collection[Topic],
    seconds_left: Callable[[], float],
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> AsyncIterator[bytes]:
    """All events of those topics from a place on, for as long as somebody reads.

    Args:
        read: Reads the entries that the reader may see.
        watch: Says when there are more.
        place: Where to begin.
        topics: Which events to send.
        seconds_left: How long the reader may go on.
        heartbeat_seconds: How long to be silent at most.
    """
    yield b"retry: %d\n\n" % RECONNECT_MILLISECONDS
    while (left := seconds_left()) > 0 and not watch.closed:
        # Known before reading, so that what is not found below it is not there.
        size = watch.size
        page = await read(place.position, PAGE)
        for logged in page:
            events = events_of(logged.position, logged.entry)
            first = place.index if logged.position == place.position else 0
            sent = b"".join([sse(event) for event in events[first:] if event.topic in topics])
            place = Place(logged.position + 1)
            if sent:
                yield sent
        if len(page) < PAGE:
            place = max(place, Place(size), key=lambda known: known.position)
            if not await watch.reaches(place.position, min(heartbeat_seconds, left)):
                yield heartbeat(place)
