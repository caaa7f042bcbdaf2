"""The relay is killed with SIGKILL again and again, on real Postgres and the real Kafka protocol."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from accounting.ledger.postgres_log import PostgresLog
from deployments.outbox.events import Topic, events_of
from tests.databases import new_database
from tests.kafka_cluster import delivered, mock_cluster
from tests.outbox import history, interleaved
from tests.relay_process import NAME
from tests.support import new_name


@asynccontextmanager
async def relay(url: str, brokers: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A relay that is killed at the end of the block, wherever it is."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.relay_process", url, brokers)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def moved_on(log: PostgresLog, process: asyncio.subprocess.Process) -> int:
    """Where the relay stands, once it has passed something on."""
    before = await log.relayed(NAME)
    while (now := await log.relayed(NAME)) == before:
        assert process.returncode is None, "the relay ended by itself"
        await asyncio.sleep(0.005)
    return now


async def test_a_relay_that_is_killed_again_and_again_leaves_nothing_out(admin_url: str) -> None:
    """Every event arrives, each tenant's for the first time in order; what comes twice is the same."""
    database = await new_database(admin_url)
    entries = interleaved(*(history(new_name("tenant"), operations=50) for _ in range(4)))
    dice = random.Random(1)
    kills = 0
    with mock_cluster() as cluster:
        for topic in Topic:
            cluster.create_topic(topic, partitions=3)
        cluster.slow(20)
        async with database.opened() as (store, log):
            await store.append(entries)
            passed = 0
            while passed < len(entries):
                async with relay(database.urls.recorder, cluster.brokers) as process:
                    passed = await moved_on(log, process)
                    await asyncio.sleep(dice.uniform(0, 0.1))
                    kills += process.returncode is None
                passed = await log.relayed(NAME)
            logged = await log.read(0, len(entries))
        events = [event for item in logged for event in events_of(item.position, item.entry)]
        await asyncio.to_thread(delivered, cluster, events)
    assert len(logged) == len(entries)
    assert kills > 3, "it was hardly ever killed in the middle"
