"""Keeps the log: takes up what has become durable, and says under signature how far it goes."""

import time
from datetime import UTC, datetime

from accounting.ledger.heads import Log
from accounting.ledger.log import EntryLog
from deployments.outbox.heads import publish_head
from deployments.outbox.watch import Watch
from deployments.outbox.witness import Witness
from proofs.signing import SigningKey

TAKEN_UP_AT_ONCE = 10_000
LOOK_SECONDS = 0.1
"""How often to look for new entries: about as late as an event leaves."""
HEAD_SECONDS = 1.0
"""Least time between two heads."""


class Sequencer:
    """Takes up entries, and wakes those who wait for them."""

    def __init__(self, log: EntryLog, watch: Watch) -> None:
        self._log = log
        self._watch = watch
        self.looked_at = time.monotonic()
        """When all that was durable had last been taken up, on the monotonic clock."""

    async def step(self) -> float:
        """Takes up what there is. See `loops.Step`.

        Raises:
            StoreUnavailableError: If the ledger did not answer.
        """
        taken = await self._log.sequence(TAKEN_UP_AT_ONCE)
        # Asked for even if nothing was taken: another process may have been first.
        await self._watch.saw(await self._log.size())
        if taken == TAKEN_UP_AT_ONCE:
            return 0.0
        self.looked_at = time.monotonic()
        return LOOK_SECONDS


class HeadPublisher:
    """Publishes a head whenever the log has grown."""

    def __init__(self, log: Log, watch: Watch, witness: Witness, key: SigningKey) -> None:
        self._log = log
        self._watch = watch
        self._witness = witness
        self._key = key
        self.published: int | None = None
        """How many entries the last head covers; None before the first look."""
        self.covered_at = time.monotonic()
        """When a head last covered all of the log, on the monotonic clock."""

    async def step(self) -> float:
        """Publishes a head if there is something new. See `loops.Step`.

        Raises:
            WitnessError: If the log does not continue the last head.
            StoreUnavailableError: If the ledger did not answer.
        """
        size = self._watch.size
        if size != self.published:
            await publish_head(self._log, self._witness, self._key, datetime.now(UTC))
            self.published = size
        self.covered_at = time.monotonic()
        return HEAD_SECONDS
