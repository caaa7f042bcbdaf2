"""Publishes events to Kafka as CloudEvents in binary content mode: the data is the message, the attributes headers.

Whoever reads a topic meets a tenant's events in order, without a gap, some perhaps twice. What makes it so:

* A tenant's events have one key, so they are in one partition of a topic.
* Events are sent in waves. A wave is small enough for one request a partition, and nothing leaves before all of it is
  queued (`linger.ms` until the flush): a broker takes a partition's part of a wave as a whole or not at all.
* The next wave waits for every confirmation of the one before. So nothing can overtake what failed.
* No message expires by itself (`message.timeout.ms` 0). After a while without confirmation, or the first refusal, the
  producer is given up as a whole, and a new one begins with the first event that was not confirmed. What the old one
  still had on its way can only arrive as a second copy, or in the place where the first would have been.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from deployments.outbox.events import OutboxEvent
from deployments.outbox.relay import PublishError

CONFIRM_SECONDS = 30.0
WAVE_BYTES = 100_000
"""A tenth of what a broker takes in one request unless it is told otherwise."""
_LOOK_SECONDS = 0.1
_ENVELOPE_BYTES = 1_000
"""At most what a message's key and headers take: a tenant's name has 128 characters."""

GUARANTEES: Mapping[str, str | int | bool] = {
    "enable.idempotence": True,
    "acks": "all",
    # The longest there is; the flush after each wave ends it.
    "linger.ms": 900_000,
    "batch.num.messages": 10_000,
    "batch.size": 1_000_000,
    "message.max.bytes": 1_000_000,
    "message.timeout.ms": 0,
}
"""Options that the promises above rest on."""
Report = Callable[[KafkaError | None, Message], None]

_GIVEN_UP = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
"""What is said of events that were given up: not why."""
_OTHER_NAMES = {
    "request.required.acks",
    "queue.buffering.max.ms",
    "delivery.timeout.ms",
    "bootstrap.servers",
    "metadata.broker.list",
}
"""Other names of some of them, and what is set elsewhere."""


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses options that would break a promise.

    Raises:
        ValueError: If there is one.
    """
    broken = sorted(set(options) & (set(GUARANTEES) | _OTHER_NAMES))
    if broken:
        raise ValueError(f"{', '.join(broken)}: set by the service itself, leave it out")


class KafkaPublisher:
    """A `Publisher` on librdkafka. All that could block is done on a thread of its own."""

    def __init__(
        self,
        brokers: str,
        options: Mapping[str, Any],
        confirm_seconds: float = CONFIRM_SECONDS,
        wave_bytes: int = WAVE_BYTES,
    ) -> None:
        """Does not connect yet.

        Args:
            brokers: Addresses, ``host:port``, separated by commas.
            options: Further options of librdkafka, such as ``security.protocol``.
            confirm_seconds: How long to wait for confirmation before starting anew.
            wave_bytes: How much to send before waiting for confirmation, about.

        Raises:
            ValueError: If an option would break a promise.
        """
        check_options(options)
        self._config = {"client.id": "privacy-engine", **options, **GUARANTEES, "bootstrap.servers": brokers}
        self._seconds = confirm_seconds
        self._wave_bytes = wave_bytes
        self._producer: Producer | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kafka")
        self._closing = threading.Event()

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        """See `Publisher.publish`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._publish, events)

    async def close(self) -> None:
        """Gives up what is on its way and disconnects."""
        self._closing.set()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._give_up, _Delivery(0))
        self._thread.shutdown()

    def _publish(self, events: Sequence[OutboxEvent]) -> None:
        self._take_note()
        confirmed = 0
        for wave in waves(events, self._wave_bytes):
            delivery = self._deliver(wave)
            confirmed += delivery.confirmed
            if delivery.confirmed < len(wave):
                raise PublishError(delivery.reason(), confirmed)

    def _take_note(self) -> None:
        """Hears what the producer has to say of its connections, so that it does not pile up."""
        try:
            if self._producer is not None:
                self._producer.poll(0)
        except KafkaException:
            self._give_up(_Delivery(0))

    def _deliver(self, wave: Sequence[OutboxEvent]) -> "_Delivery":
        """Sends a wave and waits for what becomes of it."""
        delivery = _Delivery(len(wave))
        try:
            if self._producer is None:
                self._producer = Producer(self._config)
            for index, event in enumerate(wave):
                _queue(self._producer, event, partial(delivery.report, index))
            deadline = time.monotonic() + self._seconds
            while not (delivery.over or self._closing.is_set() or time.monotonic() > deadline):
                self._producer.flush(_LOOK_SECONDS)
        except KafkaException as error:
            # Refused before it was sent, or by a producer that has ended itself.
            delivery.ended = error.args[0]
        if delivery.confirmed < len(wave):
            self._give_up(delivery)
        return delivery

    def _give_up(self, delivery: "_Delivery") -> None:
        """Ends the producer and hears what has become of all that it was given."""
        if self._producer is None:
            return
        # Without this, its end would wait for what is on its way.
        self._producer.purge()
        for _ in range(10):
            try:
                self._producer.poll(0 if delivery.complete else _LOOK_SECONDS)
            except KafkaException:
                # Why it ended itself is known, or told by the reports that follow.
                continue
            if delivery.complete:
                break
        self._producer = None


def waves(events: Sequence[OutboxEvent], most: int) -> Iterator[Sequence[OutboxEvent]]:
    """The events in order, in parts of at most so many bytes, and of at least one event."""
    wave: list[OutboxEvent] = []
    size = 0
    for event in events:
        needs = len(event.body) + _ENVELOPE_BYTES
        if wave and size + needs > most:
            yield wave
            wave, size = [], 0
        wave.append(event)
        size += needs
    if wave:
        yield wave


def _queue(producer: Producer, event: OutboxEvent, report: Report) -> None:
    headers: list[tuple[str, str | bytes | None]] = [("content-type", "application/json")]
    headers += [(f"ce_{name}", value) for name, value in event.attributes().items()]
    key = event.tenant_id.encode()
    producer.produce(event.topic, key=key, value=event.body, headers=headers, on_delivery=report)


class _Delivery:
    """What has become of a wave: for each event nothing yet, True for confirmed, or an error."""

    def __init__(self, count: int) -> None:
        self._outcomes: list[KafkaError | bool | None] = [None] * count
        self._missing = count
        self._failed = False
        self.ended: KafkaError | None = None
        """Why the producer ended itself, or did not begin."""

    def report(self, index: int, error: KafkaError | None, _: Message) -> None:
        self._outcomes[index] = True if error is None else error
        self._failed = self._failed or error is not None
        self._missing -= 1

    @property
    def complete(self) -> bool:
        """Whether every event has been heard of."""
        return self._missing == 0

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.complete or self._failed

    @property
    def confirmed(self) -> int:
        """How many were confirmed from the first on."""
        outcomes = enumerate(self._outcomes)
        return next((index for index, outcome in outcomes if outcome is not True), len(self._outcomes))

    def reason(self) -> str:
        """Why not all were confirmed."""
        heard = [error for error in (*self._outcomes, self.ended) if isinstance(error, KafkaError)]
        causes = [error for error in heard if error.code() not in _GIVEN_UP]
        if not causes:
            return "no broker has confirmed the events in time"
        # The broker's own word before what the client made of it, whose codes are negative.
        cause = next((error for error in causes if error.code() > 0), causes[0])
        return f"Kafka refused an event: {cause.name()}"
