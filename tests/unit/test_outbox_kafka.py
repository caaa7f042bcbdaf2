"""Kafka in practice: librdkafka against its own mock cluster, over the real protocol, with brokers that refuse."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from confluent_kafka import KafkaError

from deployments.outbox.events import OutboxEvent, Topic, events_of
from deployments.outbox.kafka import GUARANTEES, WAVE_BYTES, KafkaPublisher, check_options, waves
from deployments.outbox.relay import Publisher, PublishError, Relay
from deployments.outbox.watch import Watch
from tests.kafka_cluster import MockCluster, Received, delivered, mock_cluster
from tests.outbox import FragileLog, KilledError, busy_log, logged_in

ONE_BY_ONE = 1
"""Bytes of a wave that holds a single event, so that a fault can hit any of them."""
REFUSALS = [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.INVALID_REQUIRED_ACKS]
PASSING = [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REQUEST_TIMED_OUT, KafkaError._TRANSPORT]


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """Three brokers with the three topics."""
    with mock_cluster() as brokers:
        for topic in Topic:
            brokers.create_topic(topic, partitions=4)
        yield brokers


@asynccontextmanager
async def publishing(
    cluster: MockCluster, seconds: float = 20, wave_bytes: int = WAVE_BYTES
) -> AsyncIterator[KafkaPublisher]:
    """A publisher for as long as the block runs."""
    publisher = KafkaPublisher(cluster.brokers, {}, seconds, wave_bytes)
    try:
        yield publisher
    finally:
        await publisher.close()


async def all_passed_on(log: FragileLog, publisher: Publisher, batch: int = 500) -> None:
    """A relay, started anew, passes on all that is left of the log."""
    watch = Watch()
    await watch.saw(await log.size())
    relay = Relay(log, watch, publisher, "kafka", batch)
    while await log.relayed("kafka") < watch.size:
        await relay.step()


async def events_in(*logs: FragileLog) -> list[OutboxEvent]:
    """All events of the logs, in order."""
    return [event for log in logs for item in await logged_in(log) for event in events_of(item.position, item.entry)]


async def arrived(cluster: MockCluster, *logs: FragileLog) -> list[Received]:
    """All that is in the topics, once every event of the logs is there in order."""
    return await asyncio.to_thread(delivered, cluster, await events_in(*logs))


async def test_every_event_arrives_once_in_order_as_a_cloud_event(cluster: MockCluster) -> None:
    """Without faults nothing is sent twice; the headers are CloudEvents' in binary mode, the message is plain JSON."""
    log = await busy_log()
    async with publishing(cluster) as publisher:
        await all_passed_on(log, publisher, batch=7)
    received = await arrived(cluster, log)
    assert len(received) == len(await events_in(log))
    assert {message.topic for message in received} == set(Topic)
    for message in received:
        assert message.headers["content-type"] == b"application/json"
        assert message.headers["ce_specversion"] == b"1.0"
        assert message.headers["ce_type"] == message.topic.encode()
        assert message.headers["ce_subject"] == message.key
        assert message.headers["ce_time"].decode() == json.loads(message.value)["at"]
        assert message.headers["ce_source"] == b"urn:privacy-engine:ledger"


@pytest.mark.parametrize("wave_bytes", [ONE_BY_ONE, WAVE_BYTES])
@pytest.mark.parametrize("error", PASSING)
async def test_passing_errors_of_the_broker_are_overcome_in_order(
    cluster: MockCluster, error: int, wave_bytes: int
) -> None:
    """A change of leader, a timeout, a broken connection: nothing is missing, nothing out of order."""
    log = await busy_log()
    async with publishing(cluster, wave_bytes=wave_bytes) as publisher:
        cluster.refuse(0, error, 0, 0, error, error, 0, error)
        await all_passed_on(log, publisher)
    await arrived(cluster, log)


@pytest.mark.parametrize("error", REFUSALS)
@pytest.mark.parametrize(("after", "wave_bytes"), [(0, ONE_BY_ONE), (5, ONE_BY_ONE), (0, WAVE_BYTES), (2, WAVE_BYTES)])
async def test_a_refused_event_is_neither_skipped_nor_overtaken(
    cluster: MockCluster, error: int, after: int, wave_bytes: int
) -> None:
    """The relay stops there and says what the broker said; when the broker takes it, it goes on from there."""
    log = await busy_log()
    async with publishing(cluster, wave_bytes=wave_bytes) as publisher:
        await publisher.publish((await events_in(log))[:1])
        cluster.refuse(*[0] * after, error)
        with pytest.raises(PublishError, match=KafkaError(error).name()):
            await all_passed_on(log, publisher)
        assert await log.relayed("kafka") < await log.size()
        await all_passed_on(log, publisher)
    await arrived(cluster, log)


async def test_what_was_confirmed_before_a_refusal_is_not_sent_again(cluster: MockCluster) -> None:
    """The progress up to the refused event is remembered, so an event that stays refused does not repeat the others."""
    log = await busy_log(tenants=1)
    total = len(await events_in(log))
    async with publishing(cluster, wave_bytes=ONE_BY_ONE) as publisher:
        await publisher.publish((await events_in(log))[:1])
        await log.set_relayed("kafka", 1)
        for _ in range(3):
            cluster.refuse(0, 0, KafkaError.MSG_SIZE_TOO_LARGE)
            with pytest.raises(PublishError):
                await all_passed_on(log, publisher)
        await all_passed_on(log, publisher)
    received = await arrived(cluster, log)
    # An entry of which not all events were confirmed is sent again whole.
    assert len(received) <= total + 3


async def test_a_wave_is_one_request_for_each_partition(cluster: MockCluster) -> None:
    """So a broker takes a partition's part of it as a whole or not at all, and none of it can overtake the rest."""
    # A single tenant's events of a topic are all in one partition.
    events = await events_in(await busy_log(tenants=1, operations=150))
    topics = [{event.topic for event in wave} for wave in waves(events, WAVE_BYTES)]
    async with publishing(cluster) as publisher:
        await publisher.publish(events)
    assert len(topics) > 1
    assert cluster.requests() == sum(len(touched) for touched in topics)


async def test_brokers_that_are_down_are_waited_for(cluster: MockCluster) -> None:
    """Without a broker nothing is confirmed and the relay says so; once there is one again, all arrives in order."""
    log = await busy_log()
    async with publishing(cluster, seconds=0.5) as publisher:
        cluster.down()
        with pytest.raises(PublishError, match="no broker has confirmed"):
            await all_passed_on(log, publisher)
        assert await log.relayed("kafka") == 0
    async with publishing(cluster) as publisher:
        cluster.up()
        await all_passed_on(log, publisher)
    await arrived(cluster, log)


async def test_a_broker_that_does_not_answer_does_not_hold_up_the_event_loop(cluster: MockCluster) -> None:
    """While a batch waits for its confirmation, everything else goes on."""
    async with publishing(cluster) as publisher:
        cluster.down()
        waiting = asyncio.create_task(publisher.publish(await events_in(await busy_log())))
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert not waiting.done()
        cluster.up()
        await waiting


async def test_a_publisher_that_is_closed_gives_up_what_is_on_its_way(cluster: MockCluster) -> None:
    """Closing does not wait for a broker that is not there, and whoever waits for confirmation is told."""
    async with publishing(cluster, seconds=600) as publisher:
        cluster.down()
        waiting = asyncio.create_task(publisher.publish(await events_in(await busy_log())))
        await asyncio.sleep(0.1)
    with pytest.raises(PublishError):
        await waiting


class Killed:
    """A publisher whose process ends once so many events are sent."""

    def __init__(self, inner: Publisher, left: int) -> None:
        self._inner, self._left = inner, left

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        await self._inner.publish(events[: self._left])
        if len(events) > self._left:
            raise KilledError
        self._left -= len(events)


@pytest.mark.parametrize("batch", [1, 4, 500])
async def test_a_relay_killed_at_any_point_loses_nothing(cluster: MockCluster, batch: int) -> None:
    """After each number of events sent, before remembering and right after: duplicates at most, under equal ids."""
    points = range(len(await events_in(await busy_log(tenants=2, operations=3))))
    logs = [await busy_log(tenants=2, operations=3, name=f"killed-after-{sent}") for sent in points]
    async with publishing(cluster) as publisher:
        for sent, log in zip(points, logs, strict=True):
            with pytest.raises(KilledError):
                await all_passed_on(log, Killed(publisher, sent), batch)
            while await log.relayed("kafka") < await log.size():
                for moment in ("before", "after"):
                    log.dies = moment
                    with suppress(KilledError):
                        await all_passed_on(log, publisher, batch)
    assert len(await arrived(cluster, *logs)) > len(await events_in(*logs))


async def test_two_relays_at_once_repeat_events_and_do_not_disorder_them(cluster: MockCluster) -> None:
    """As in a rolling update: whoever delivers an event first has delivered, or found confirmed, all before it."""
    log = await busy_log(operations=40)
    async with publishing(cluster, wave_bytes=5_000) as one, publishing(cluster, wave_bytes=3_000) as other:
        await asyncio.gather(all_passed_on(log, one, batch=11), all_passed_on(log, other, batch=7))
    await arrived(cluster, log)


@pytest.mark.parametrize("name", [*GUARANTEES, "bootstrap.servers", "delivery.timeout.ms", "queue.buffering.max.ms"])
def test_an_option_that_would_break_the_order_is_refused(name: str) -> None:
    """Whoever sets one of them is told which, before anything is sent."""
    with pytest.raises(ValueError, match=name):
        check_options({"security.protocol": "ssl", name: 5})


def test_other_options_are_the_operators_own() -> None:
    """Security, compression and the like are passed on."""
    check_options({"security.protocol": "ssl", "compression.type": "lz4"})
