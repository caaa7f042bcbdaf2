"""The stream of events: whole, in order, resumable anywhere, and as slow as its reader."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing

import pytest

from accounting.ledger.log import Logged
from accounting.ledger.memory_log import MemoryLog
from deployments.outbox.events import OutboxEvent, Topic, events_of
from deployments.outbox.stream import PAGE, EventIdError, Place, heartbeat, place_after, sse, stream
from deployments.outbox.watch import Watch
from tests.outbox import busy_log, history, log_of, logged_in
from tests.sse import Sent, SseReader


async def open_stream(
    log: MemoryLog,
    place: Place,
    *,
    topics: Collection[Topic] = tuple(Topic),
    tenant: str | None = None,
    silence: float = 0.001,
    watch: Watch | None = None,
    seconds_left: Callable[[], float] = lambda: 60,
) -> AsyncIterator[bytes]:
    """A stream of the log; of one tenant's entries if one is named."""

    async def read(start: int, limit: int) -> Sequence[Logged]:
        found = [item for item in await logged_in(log) if tenant in (None, item.entry.tenant_id)]
        return [item for item in found if item.position >= start][:limit]

    if watch is None:
        watch = Watch()
        await watch.saw(await log.size())
    return stream(read, watch, place, topics, seconds_left, silence)


async def taken(parts: AsyncIterator[bytes], reader: SseReader, enough: Callable[[], bool]) -> list[Sent]:
    """What a reader gets until that is enough."""
    events: list[Sent] = []
    async with aclosing(parts) as stream:  # type: ignore[type-var]
        async for part in stream:
            events += reader.lines(part.decode().split("\n")[:-1])
            if enough():
                break
    return events


async def all_of(log: MemoryLog, place: Place, reader: SseReader | None = None, **more: object) -> list[Sent]:
    """All that there is from a place on, up to the first silence."""
    reader = reader or SseReader()
    before = reader.comments
    return await taken(await open_stream(log, place, **more), reader, lambda: reader.comments > before)  # type: ignore[arg-type]


async def expected(log: MemoryLog) -> list[OutboxEvent]:
    """All events of a log."""
    return [event for item in await logged_in(log) for event in events_of(item.position, item.entry)]


async def test_every_event_is_sent_in_order_with_its_topic_and_place() -> None:
    """Without a broker, a reader gets what Kafka's readers would."""
    log, reader = await busy_log(), SseReader()
    got = await all_of(log, Place(0), reader)
    events = await expected(log)
    assert [(s.event_id, s.name, s.data) for s in got] == [
        (f"{event.position}-{event.index}", event.topic, event.data) for event in events
    ]
    assert {s.name for s in got} == set(Topic)
    assert reader.retry == 1_000


async def test_a_reader_that_comes_back_with_any_id_misses_nothing_and_gets_nothing_twice() -> None:
    """Also between two events of one entry."""
    log = await busy_log()
    everything = await all_of(log, Place(0))
    for at, sent in enumerate(everything):
        assert await all_of(log, place_after(sent.event_id)) == everything[at + 1 :]


@pytest.mark.parametrize("topic", Topic)
async def test_a_reader_of_one_topic_gets_that_topic_alone(topic: Topic) -> None:
    """The others are left out, and resuming works as before."""
    log = await busy_log()
    wanted = [event for event in await expected(log) if event.topic is topic]
    got = await all_of(log, Place(0), topics=[topic])
    assert [s.data for s in got] == [event.data for event in wanted]
    assert await all_of(log, place_after(got[0].event_id), topics=[topic]) == got[1:]


async def test_a_tenants_reader_gets_the_tenants_events_alone_at_their_places() -> None:
    """The places are those of the whole log."""
    log = await busy_log()
    got = await all_of(log, Place(0), tenant="tenant-1")
    wanted = [event for event in await expected(log) if event.tenant_id == "tenant-1"]
    assert [(s.event_id, s.data) for s in got] == [(f"{event.position}-{event.index}", event.data) for event in wanted]


async def test_silence_tells_how_far_the_reader_has_come() -> None:
    """A reader to whom nothing was of interest does not begin at the beginning when it comes back."""
    log, reader = await busy_log(), SseReader()
    assert await all_of(log, Place(0), reader, tenant="nobody") == []
    assert place_after(reader.last_id) == Place(await log.size())


async def test_what_comes_later_is_sent_when_it_comes() -> None:
    """The reader waits for the watch, and a long silence is broken by a sign of life."""
    log, watch, reader = await log_of([]), Watch(), SseReader()
    parts = await open_stream(log, Place(0), watch=watch, silence=60)
    reading = asyncio.create_task(taken(parts, reader, lambda: reader.last_id.startswith("1-")))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not reading.done()
    await log._store.append(history("late"))
    await log.sequence()
    await watch.saw(await log.size())
    assert [s.data["seq"] for s in await reading] == [1, 2]


async def test_a_slow_reader_is_not_read_ahead_of() -> None:
    """Only the page that it is reading is in memory, however much there is."""
    log = await log_of(history("t", operations=3 * PAGE))
    asked: list[int] = []

    async def read(start: int, limit: int) -> Sequence[Logged]:
        asked.append(start)
        assert limit == PAGE
        return await log.read(start, limit)

    watch = Watch()
    await watch.saw(await log.size())
    async with aclosing(stream(read, watch, Place(0), tuple(Topic), lambda: 60)) as parts:  # type: ignore[type-var]
        entries = 0
        async for part in parts:
            entries += part.count(b"event: privacy.operations")
            assert max(asked, default=0) <= entries
            if entries > 2 * PAGE:
                break
    assert asked == [0, PAGE, 2 * PAGE]


async def test_a_reader_whose_time_is_over_is_let_go() -> None:
    """A token that expires ends its stream; so does the end of the service."""
    log, left = await busy_log(), iter([0.001, 0.0])
    parts = await open_stream(log, Place(0), silence=60, seconds_left=lambda: next(left))
    assert [part async for part in parts]
    watch = Watch()
    parts = await open_stream(log, Place(10_000), watch=watch, silence=60)
    reading = asyncio.create_task(taken(parts, SseReader(), lambda: False))
    await asyncio.sleep(0)
    await watch.close()
    await reading


@pytest.mark.parametrize("text", ["0", "17", "17-0", "9007199254740991-12"])
def test_ids_are_read_back(text: str) -> None:
    """An id without an index stands for all events of its entry."""
    position, _, index = text.partition("-")
    assert place_after(text) == (Place(int(position), int(index) + 1) if index else Place(int(position) + 1))


@pytest.mark.parametrize(
    "text", ["", "-", "1-", "-1", "01", "1-01", "1.5", "1-2-3", " 1", "1\n", "x", "1" * 17, "1-1000", "१-1"]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """Rather than read as some place in the log."""
    with pytest.raises(EventIdError):
        place_after(text)


async def test_what_is_sent_is_one_block_that_ends_with_an_empty_line() -> None:
    """No event's data can break out of its line: JSON has no line breaks."""
    for event in await expected(await busy_log()):
        block = sse(event)
        assert block.endswith(b"\n\n")
        assert block.count(b"\n") == 4
    assert heartbeat(Place(0)) == b": nothing new\n\n"
    assert heartbeat(Place(5)) == b": nothing new\nid: 4\n\n"
    assert heartbeat(Place(5, 1)) == b": nothing new\n\n"
