"""A relay in a process of its own, to be killed: ``python -m tests.relay_process DATABASE_URL BROKERS``."""

import asyncio
import sys

from accounting.ledger.postgres_log import PostgresLog
from deployments.outbox.kafka import KafkaPublisher
from deployments.outbox.keeper import Sequencer
from deployments.outbox.loops import LoopHealth, keep_running
from deployments.outbox.relay import Relay
from deployments.outbox.watch import Watch

NAME = "kafka"
BATCH = 10
"""Small, so that there are many moments at which to die."""


async def main(url: str, brokers: str) -> None:
    """Takes up and passes on for as long as it lives."""
    log, watch = await PostgresLog.open(url), Watch()
    relay = Relay(log, watch, KafkaPublisher(brokers, {}), NAME, BATCH)
    await asyncio.gather(
        keep_running(LoopHealth("sequencer"), Sequencer(log, watch).step),
        keep_running(LoopHealth(NAME), relay.step),
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
