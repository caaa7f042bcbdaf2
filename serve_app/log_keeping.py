"""What runs beside the log's routes for each database: sequencer, heads, sweeper, and the relay to a broker."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from accounting.ledger.due import Due
from accounting.ledger.entry import timestamp_text
from accounting.ledger.homes import MAIN
from accounting.ledger.postgres_recorder import PostgresRecorder
from accounting.ledger.store import StoreUnavailableError
from deployments.outbox.keeper import HeadPublisher, Sequencer
from deployments.outbox.loops import LoopHealth, Step, keep_running
from deployments.outbox.relay import Relay
from deployments.outbox.sweeper import End, Sweeper
from deployments.outbox.watch import Watch
from serve_app.auth.policy import Role
from serve_app.auth.principal import ANY_TENANT, SWEEPER
from serve_app.auth.tokens import mint_token
from serve_app.client import calls
from serve_app.client.client import AsyncPrivacyClient
from serve_app.observing.loops import LogLoops, log_gauges
from serve_app.observing.process import TALLIES
from serve_app.problems import Code
from serve_app.service import Service

KAFKA = "kafka"
"""The relay's name."""
TOKEN_SECONDS = 3_600


@dataclass(frozen=True)
class LogKeeping:
    """The log of one database, and what keeps it.

    Attributes:
        log: The log.
        loops: What keeps it.
    """

    log: PostgresRecorder
    loops: LogLoops

    @property
    def watch(self) -> Watch:
        """Knows how long the log is."""
        return self.loops.watch

    async def health(self) -> dict[str, Any]:
        """How everything stands, JSON-ready. A relay's lag is what is in the log and was not confirmed to it yet.

        Raises:
            StoreUnavailableError: If the log did not answer.
        """
        size, head = await self.log.size(), await self.log.last_head()
        positions = {name: await self.log.relayed(name) for name in self.loops.relays}
        return {
            "status": "failing" if any(loop.failures for loop in self.loops.health) else "well",
            "log": {"size": size},
            "head": None if head is None else {"size": head.size, "root": head.root.hex()},
            "relays": {name: {"position": at, "lag": max(size - at, 0)} for name, at in positions.items()},
            "loops": {loop.name: _loop_to_wire(loop) for loop in self.loops.health},
        }


@asynccontextmanager
async def keeping_all(service: Service) -> AsyncIterator[dict[str, LogKeeping]]:
    """Keeps the logs of all databases for as long as the context lasts.

    Raises:
        StoreUnavailableError: If the main database cannot be reached. Another one is waited for by its own loops.
        ValueError: If the options for Kafka would break a promise.
    """
    async with AsyncExitStack() as stack:
        kept = {name: await stack.enter_async_context(_keeping(service, name)) for name in service.urls}
        stack.enter_context(TALLIES.gauges(log_gauges(TALLIES, [one.loops for one in kept.values()])))
        yield kept


@asynccontextmanager
async def _keeping(service: Service, database: str) -> AsyncIterator[LogKeeping]:
    """Keeps the log of one database."""
    async with AsyncExitStack() as stack:
        log = await PostgresRecorder.open(service.urls[database].recorder)
        stack.push_async_callback(log.close)
        client = await stack.enter_async_context(AsyncPrivacyClient(service.settings.base_url))
        watch = Watch()
        try:
            await watch.saw(await log.size())
        except StoreUnavailableError:
            if database == MAIN:
                raise
        sequencer = Sequencer(log, watch)
        heads = HeadPublisher(log, watch, service.witness(database), service.keys().head_key)
        sweeper = Sweeper(log, _end_over_http(service, client))
        steps: dict[str, Step] = {"sequencer": sequencer.step, "heads": heads.step, "sweeper": sweeper.step}
        relays: dict[str, Relay] = {}
        if service.settings.kafka_brokers is not None:
            # Loaded only where it is wanted: librdkafka is large.
            from deployments.outbox.kafka import KafkaPublisher

            publisher = KafkaPublisher(service.settings.kafka_brokers, service.settings.kafka())
            stack.push_async_callback(publisher.close)
            relays[KAFKA] = Relay(log, watch, publisher, KAFKA)
            steps[KAFKA] = relays[KAFKA].step
        health = tuple(LoopHealth(name) for name in steps)
        tasks = [asyncio.create_task(keep_running(loop, steps[loop.name]), name=loop.name) for loop in health]
        try:
            yield LogKeeping(log, LogLoops(watch, sequencer, heads, sweeper, relays, health))
        finally:
            # Streams end, so that nobody waits for them.
            await watch.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _end_over_http(service: Service, client: AsyncPrivacyClient) -> End:
    """Asks the budget as an engine would, with a platform engine's token."""
    token, minted_at = "", 0.0

    async def end(due: Due) -> None:
        nonlocal token, minted_at
        if time.monotonic() - minted_at > TOKEN_SECONDS / 2 or not token:
            token, minted_at = _token(service), time.monotonic()
        try:
            await client.send(_call(due), token=token)
        except calls.RefusedError as refused:
            # Somebody else was first, which is as good.
            if refused.code != Code.CONFLICT:
                raise

    return end


def _call(due: Due) -> calls.Call:
    if due.allocation_id is None:
        # Looking at a budget begins its present window.
        return calls.budget(due.tenant_id)
    return calls.expire(due.allocation_id, due.tenant_id)


def _token(service: Service) -> str:
    settings = service.settings
    return mint_token(
        service.keys().token_key,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        tenant_id=ANY_TENANT,
        roles=[Role.ENGINE],
        subject=SWEEPER,
        lifetime_seconds=TOKEN_SECONDS,
    )


def _loop_to_wire(loop: LoopHealth) -> dict[str, Any]:
    if not loop.failures or loop.failing_since is None:
        return {"status": "well"}
    since = timestamp_text(loop.failing_since)
    return {"status": "failing", "failures": loop.failures, "since": since, "trouble": loop.trouble}
