"""The relay and what keeps it running, whatever the broker and the log do."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from accounting.ledger.store import StoreUnavailableError
from deployments.outbox.events import OutboxEvent, events_of
from deployments.outbox.loops import LONGEST_PAUSE_SECONDS, LoopHealth, ToldError, keep_running, pause_after
from deployments.outbox.relay import PublishError, Relay
from deployments.outbox.watch import Watch
from tests.outbox import FragileLog, busy_log, logged_in


class Recorder:
    """A publisher that keeps what it is given, and takes at most so many events before it refuses."""

    def __init__(self) -> None:
        self.taken: list[OutboxEvent] = []
        self.room = 1_000_000

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        fits = events[: self.room]
        self.taken += fits
        self.room -= len(fits)
        if len(fits) < len(events):
            raise PublishError("there is no room", len(fits))


async def relay_on(log: FragileLog, publisher: Recorder, batch: int = 4) -> Relay:
    """A relay that knows how long the log is."""
    watch = Watch()
    await watch.saw(await log.size())
    return Relay(log, watch, publisher, "a relay", batch)


async def events_in(log: FragileLog) -> list[OutboxEvent]:
    """All events of a log."""
    return [event for item in await logged_in(log) for event in events_of(item.position, item.entry)]


async def test_a_relay_goes_on_where_it_stood_and_passes_on_everything_once() -> None:
    """Started anew after every step, it neither repeats nor leaves out what was confirmed."""
    log, publisher = await busy_log(), Recorder()
    while await log.relayed("a relay") < await log.size():
        await (await relay_on(log, publisher)).step()
    assert publisher.taken == await events_in(log)


async def test_relays_of_different_names_do_not_share_their_progress() -> None:
    """A second one begins at the beginning."""
    log, publisher = await busy_log(), Recorder()
    await log.set_relayed("another relay", await log.size())
    await (await relay_on(log, publisher)).step()
    assert publisher.taken[0].position == 0


@pytest.mark.parametrize("room", range(12))
async def test_progress_stops_at_the_first_event_that_was_not_confirmed(room: int) -> None:
    """Of an entry with two events of which one was confirmed, both are sent again; nothing before it is."""
    log, publisher = await busy_log(tenants=1), Recorder()
    publisher.room = room
    relay = await relay_on(log, publisher, batch=1_000)
    with pytest.raises(PublishError):
        await relay.step()
    expected = await events_in(log)
    assert await log.relayed("a relay") == expected[room].position
    publisher.room = 1_000_000
    await relay.step()
    assert [event for event in expected if event not in publisher.taken] == []
    again = len(publisher.taken) - len(expected)
    assert again == expected[room].index
    assert await log.relayed("a relay") == await log.size()


async def test_a_relay_waits_until_the_log_grows() -> None:
    """It is woken by the watch, not by time."""
    log, publisher, watch = await busy_log(), Recorder(), Watch()
    relay = Relay(log, watch, publisher, "a relay")
    step = asyncio.create_task(relay.step())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not step.done()
    await watch.saw(await log.size())
    await step
    assert publisher.taken


async def test_a_failure_makes_the_relay_look_up_its_progress_again() -> None:
    """What it believed may be wrong after a failure: another relay of the name may have gone on."""
    log, publisher = await busy_log(), Recorder()
    relay = await relay_on(log, publisher)
    publisher.room = 0
    with pytest.raises(PublishError):
        await relay.step()
    await log.set_relayed("a relay", 5)
    publisher.room = 1_000_000
    await relay.step()
    assert publisher.taken[0].position == 5


# What keeps loops running.


async def test_a_loop_that_fails_is_heard_of_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are counted, told with since when, and forgotten once a round goes well."""
    monkeypatch.setattr("deployments.outbox.loops.FIRST_PAUSE_SECONDS", 0.0)
    health, seen = LoopHealth("a loop"), []

    async def step() -> float:
        seen.append((health.failures, health.trouble))
        if len(seen) in (2, 3):
            raise StoreUnavailableError("the host db.internal is gone")
        if len(seen) == 4:
            raise ToldError("the broker refused")
        if len(seen) == 7:
            raise asyncio.CancelledError
        return 0.0

    with suppress(asyncio.CancelledError):
        await keep_running(health, step)
    unavailable, refused = "StoreUnavailableError", "the broker refused"
    assert seen == [(0, None), (0, None), (1, unavailable), (2, unavailable), (3, refused), (0, None), (0, None)]
    assert health.rounds == 3
    assert health.failing_since is None


async def test_a_loop_that_is_cancelled_ends() -> None:
    """Also in the middle of a round."""

    async def step() -> float:
        await asyncio.Event().wait()
        return 0.0

    task = asyncio.create_task(keep_running(LoopHealth("a loop"), step))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_pauses_grow_up_to_a_bound_and_differ() -> None:
    """Two services that lost one broker do not come back in step."""
    first, later, last = ([pause_after(failures) for _ in range(50)] for failures in (1, 4, 1_000_000))
    assert max(first) < min(later) < max(later) < min(last) * 2
    assert max(last) <= LONGEST_PAUSE_SECONDS
    assert len(set(last)) > 1


# The watch.


async def test_a_watch_wakes_all_who_wait_for_what_has_come() -> None:
    """And leaves those asleep who wait for more."""
    watch = Watch()
    waiting = [asyncio.create_task(watch.reaches(position, 60)) for position in (0, 4, 5)]
    await asyncio.sleep(0)
    await watch.saw(5)
    assert await asyncio.gather(*waiting[:2]) == [True, True]
    assert not waiting[2].done()
    await watch.close()
    assert await waiting[2] is False


async def test_a_watch_answers_at_once_what_it_knows_and_gives_up_after_its_time() -> None:
    """Nobody waits for what is there, or for ever."""
    watch = Watch()
    await watch.saw(3)
    assert await watch.reaches(2, 0)
    assert not await watch.reaches(3, 0.001)
