"""A service with Kafka beside it: what is acknowledged over HTTP arrives there, and health says how far it is."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import KafkaError

from deployments.outbox.events import Topic
from serve_app.config import Settings
from serve_app.service import PREFIX, Service
from tests.databases import new_database
from tests.integration.test_log_http import until
from tests.kafka_cluster import MockCluster, mock_cluster
from tests.support import Caller, Live, Serving, WholeService, free_port


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    """Brokers with the three topics."""
    with mock_cluster() as brokers:
        for topic in Topic:
            brokers.create_topic(topic, partitions=2)
        yield brokers


@pytest.fixture
def told(cluster: MockCluster, admin_url: str, tmp_path: Path) -> Iterator[Live]:
    """A service of its own that tells those brokers."""
    database = asyncio.run(new_database(admin_url))
    listener = free_port()
    wished = {"home": tmp_path, "port": listener.getsockname()[1], "kafka_brokers": cluster.brokers}
    settings = Settings.model_validate(wished | {"kafka_options": '{"compression.type": "gzip"}'})
    service = Service(settings, database.urls.service, database.urls.recorder)
    with (
        Serving(WholeService(service), listener),
        httpx.Client(base_url=settings.base_url, timeout=30) as client,
    ):
        yield Live(service, client, database.admin_url)


def health(caller: Caller) -> dict[str, Any]:
    """How what keeps the log stands."""
    answer: dict[str, Any] = caller.get(f"{PREFIX}/log/health").json()
    return answer


def test_what_is_acknowledged_arrives(told: Live, cluster: MockCluster) -> None:
    """In the three topics, by tenant, and the relay's lag comes down to nothing."""
    engine = told.new(epsilon="2")
    for epsilon in ("1", "0.9"):
        assert engine.allocate(epsilon=epsilon, source_engine="audio").status_code == 200
    received = cluster.received(list(Topic), lambda messages: len(messages) >= 4)
    assert {message.key.decode() for message in received} == {engine.tenant}
    assert sorted(message.topic for message in received) == ["privacy.budget.exhausted", *["privacy.operations"] * 3]
    standing = until(lambda: (found := health(engine)) and found["relays"]["kafka"]["lag"] == 0 and found)
    assert standing["relays"] == {"kafka": {"position": 3, "lag": 0}}
    assert standing["loops"]["kafka"] == {"status": "well"}


def test_a_broker_that_refuses_is_told_and_nothing_is_left_out(told: Live, cluster: MockCluster) -> None:
    """Health names the refusal and the lag while it lasts; allocations go on; then all arrives."""
    engine = told.new()
    assert engine.allocate(epsilon="0.1").status_code == 200
    until(lambda: health(engine)["relays"]["kafka"] == {"position": 2, "lag": 0})
    cluster.refuse(*[KafkaError.MSG_SIZE_TOO_LARGE] * 3)
    assert engine.allocate(epsilon="0.1").status_code == 200
    failing = until(lambda: (found := health(engine))["status"] == "failing" and found)
    assert failing["relays"]["kafka"]["lag"] >= 1
    assert failing["loops"]["kafka"]["trouble"] == "Kafka refused an event: MSG_SIZE_TOO_LARGE"
    assert failing["loops"]["sequencer"] == {"status": "well"}
    assert engine.allocate(epsilon="0.1").status_code == 200
    until(lambda: health(engine)["relays"]["kafka"] == {"position": 4, "lag": 0})
    assert health(engine)["status"] == "well"
    received = cluster.received([Topic.OPERATIONS], lambda messages: len(messages) >= 4)
    assert [message.headers["ce_subject"] for message in received] == [engine.tenant.encode()] * 4
