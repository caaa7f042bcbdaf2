"""Kafka for tests: librdkafka's own mock cluster, real brokers on real ports as far as the protocol goes.

The Python client does not reach the mock cluster's functions, so they are called in the library that it brings along.
"""

import ctypes
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from deployments.outbox.events import OutboxEvent, Topic

PRODUCE = 0
"""The protocol's number for requests to produce."""
_PRODUCER = 0
_CONSUME_SECONDS = 20


@dataclass(frozen=True)
class Received:
    """A message as a consumer gets it."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]


class MockCluster:
    """Brokers that forget all when the test ends."""

    def __init__(self, library: ctypes.CDLL, cluster: int) -> None:
        self._library = library
        self._cluster = ctypes.c_void_p(cluster)
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        library.rd_kafka_mock_start_request_tracking(self._cluster)
        self.brokers: str = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create_topic(self, topic: str, partitions: int) -> None:
        """Makes a topic."""
        self._check(self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1))

    def refuse(self, *errors: int) -> None:
        """Answers the next requests to produce with these errors, in order; 0 lets one pass."""
        array = (ctypes.c_int * len(errors))(*errors)
        push = self._library.rd_kafka_mock_push_request_errors_array
        push(self._cluster, ctypes.c_int16(PRODUCE), ctypes.c_size_t(len(errors)), array)

    def slow(self, milliseconds: int) -> None:
        """Lets every answer take so long."""
        self._check(self._library.rd_kafka_mock_broker_set_rtt(self._cluster, -1, milliseconds))

    def requests(self) -> int:
        """How many requests to produce have come so far."""
        count = ctypes.c_size_t()
        found = self._library.rd_kafka_mock_get_requests
        found.restype = ctypes.POINTER(ctypes.c_void_p)
        requests = found(self._cluster, ctypes.byref(count))
        key_of = self._library.rd_kafka_mock_request_api_key
        return sum(key_of(ctypes.c_void_p(requests[at])) == PRODUCE for at in range(count.value))

    def down(self) -> None:
        """Disconnects everybody and lets nobody in."""
        self._check(self._library.rd_kafka_mock_broker_set_down(self._cluster, -1))

    def up(self) -> None:
        """Lets clients in again."""
        self._check(self._library.rd_kafka_mock_broker_set_up(self._cluster, -1))

    def received(self, topics: Sequence[str], enough: Callable[[Sequence[Received]], bool]) -> list[Received]:
        """All that is in the topics, read from the beginning until it is enough and no more comes."""
        settings = {
            "bootstrap.servers": self.brokers,
            "group.id": "test",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
        consumer = Consumer(settings)
        try:
            known = consumer.list_topics(timeout=_CONSUME_SECONDS).topics
            places = [TopicPartition(topic, part, 0) for topic in topics for part in known[topic].partitions]
            consumer.assign(places)
            return list(_read(consumer, len(places), enough))
        finally:
            consumer.close()

    def _check(self, error: int) -> None:
        assert error == 0, f"the mock cluster answered {error}"


def _read(consumer: Consumer, partitions: int, enough: Callable[[Sequence[Received]], bool]) -> Iterator[Received]:
    so_far: list[Received] = []
    ended: set[tuple[str | None, int | None]] = set()
    while len(ended) < partitions or not enough(so_far):
        message = consumer.poll(_CONSUME_SECONDS)
        assert message is not None, f"nothing more came, and {len(so_far)} messages are not enough"
        error = message.error()
        place = (message.topic(), message.partition())
        if error is not None:
            assert error.code() == KafkaError._PARTITION_EOF, error
            ended.add(place)
            continue
        ended.discard(place)
        received = _received(message)
        so_far.append(received)
        yield received


def _received(message: "Message[Any, Any]") -> Received:
    headers = {name: value for name, value in dict(message.headers() or {}).items() if isinstance(value, bytes)}
    topic, partition, key, value = message.topic(), message.partition(), message.key(), message.value()
    assert topic is not None
    assert partition is not None
    return Received(topic, partition, bytes(key or b""), bytes(value or b""), headers)


def delivered(cluster: MockCluster, events: Sequence[OutboxEvent]) -> list[Received]:
    """All that is in the topics, once it is what the outbox promises.

    Every event has arrived under its id, byte for byte each time; and of each tenant's in a topic, each came for the
    first time after all those before it.
    """
    expected = {event.event_id: event for event in events}

    def enough(received: Sequence[Received]) -> bool:
        return expected.keys() <= {message.headers["ce_id"].decode() for message in received}

    received = cluster.received(list(Topic), enough)
    first: dict[str, Received] = {}
    for message in received:
        event = expected[message.headers["ce_id"].decode()]
        assert (message.topic, message.key, message.value) == (event.topic, event.tenant_id.encode(), event.body)
        first.setdefault(event.event_id, message)
    for topic, tenant in itertools.product(Topic, {event.tenant_id for event in events}):
        seen = [json.loads(m.value)["seq"] for m in first.values() if (m.topic, m.key) == (topic, tenant.encode())]
        assert seen == [event.data["seq"] for event in events if (event.topic, event.tenant_id) == (topic, tenant)]
    return received


@contextmanager
def mock_cluster(brokers: int = 3) -> Iterator[MockCluster]:
    """A cluster for as long as the block runs."""
    library = _library()
    library.rd_kafka_new.restype = ctypes.c_void_p
    words = ctypes.create_string_buffer(512)
    handle = library.rd_kafka_new(_PRODUCER, None, words, ctypes.c_size_t(len(words)))
    assert handle, words.value
    library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    cluster = library.rd_kafka_mock_cluster_new(ctypes.c_void_p(handle), brokers)
    assert cluster, "librdkafka made no mock cluster"
    try:
        yield MockCluster(library, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(ctypes.c_void_p(cluster))
        library.rd_kafka_destroy(ctypes.c_void_p(handle))


def _library() -> ctypes.CDLL:
    """The very librdkafka that the client has loaded."""
    assert confluent_kafka.libversion()
    mapped = (line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "librdkafka" in line)
    return ctypes.CDLL(next(mapped))
