"""What runs beside the log's routes: sequencer, heads, sweeper, and the relay where there is a broker."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from accounting.ledger.due import Due
from accounting.ledger.entry import timestamp_text
from accounting.ledger.postgres_recorder import PostgresRecorder
from deployments.outbox.keeper import HeadPublisher, Sequencer
from deployments.outbox.loops import LoopHealth, Step, keep_running
from deployments.outbox.relay import Relay
from deployments.outbox.sweeper import End, Sweeper
from deployments.outbox.watch import Watch
from serve_app.auth.principal import ANY_TENANT, Role
from serve_app.auth.tokens import mint_token
from serve_app.client import calls
from serve_app.client.client import AsyncPrivacyClient
from serve_app.problems import Code
from serve_app.service import Service

KAFKA = "kafka"
"""The relay's name."""
TOKEN_SECONDS = 3_600
SUBJECT = "privacy-engine-sweeper"


@dataclass(frozen=True)
class LogKeeping:
    """The log, and what keeps it.

    Attributes:
        log: The log.
        watch: Knows how long it is.
        relays: Names of the relays that run.
        loops: How each loop stands.
    """

    log: PostgresRecorder
    watch: Watch
    relays: tuple[str, ...]
    loops: tuple[LoopHealth, ...]

    async def health(self) -> dict[str, Any]:
        """How everything stands, JSON-ready. A relay's lag is what is in the log and was not confirmed to it yet.

        Raises:
            StoreUnavailableError: If the log did not answer.
        """
        size, head = await self.log.size(), await self.log.last_head()
        positions = {name: await self.log.relayed(name) for name in self.relays}
        return {
            "status": "failing" if any(loop.failures for loop in self.loops) else "well",
            "log": {"size": size},
            "head": None if head is None else {"size": head.size, "root": head.root.hex()},
            "relays": {name: {"position": at, "lag": max(size - at, 0)} for name, at in positions.items()},
            "loops": {loop.name: _loop_to_wire(loop) for loop in self.loops},
        }


@asynccontextmanager
async def keeping(service: Service) -> AsyncIterator[LogKeeping]:
    """Keeps the log for as long as the context lasts.

    Raises:
        StoreUnavailableError: If the database cannot be reached.
        ValueError: If the options for Kafka would break a promise.
    """
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(service.recorder())
        client = await stack.enter_async_context(AsyncPrivacyClient(service.settings.base_url))
        watch = Watch()
        await watch.saw(await log.size())
        steps: dict[str, Step] = {
            "sequencer": Sequencer(log, watch).step,
            "heads": HeadPublisher(log, watch, service.witness(), service.keys().head_key).step,
            "sweeper": Sweeper(log, _end_over_http(service, client)).step,
        }
        relays: tuple[str, ...] = ()
        if service.settings.kafka_brokers is not None:
            # Loaded only where it is wanted: librdkafka is large.
            from deployments.outbox.kafka import KafkaPublisher

            publisher = KafkaPublisher(service.settings.kafka_brokers, service.settings.kafka())
            stack.push_async_callback(publisher.close)
            steps[KAFKA] = Relay(log, watch, publisher, KAFKA).step
            relays = (KAFKA,)
        loops = tuple(LoopHealth(name) for name in steps)
        tasks = [asyncio.create_task(keep_running(loop, steps[loop.name]), name=loop.name) for loop in loops]
        try:
            yield LogKeeping(log, watch, relays, loops)
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
        subject=SUBJECT,
        lifetime_seconds=TOKEN_SECONDS,
    )


def _loop_to_wire(loop: LoopHealth) -> dict[str, Any]:
    if not loop.failures or loop.failing_since is None:
        return {"status": "well"}
    since = timestamp_text(loop.failing_since)
    return {"status": "failing", "failures": loop.failures, "since": since, "trouble": loop.trouble}
