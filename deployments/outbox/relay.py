"""Passes the log's events on to a broker: in order, each at least once, none left out.

The log is read from where the relay stands, an entry's events are sent, and only when the broker has confirmed them is
the progress remembered. A relay that dies in between sends them again; whoever gets an event twice knows it by its id.
"""

from collections.abc import Sequence
from typing import Protocol

from accounting.ledger.log import EntryLog
from deployments.outbox.events import OutboxEvent, events_of
from deployments.outbox.loops import ToldError
from deployments.outbox.watch import Watch

BATCH = 500
"""Entries that are on their way at once."""
LOOK_AGAIN_SECONDS = 10.0


class PublishError(ToldError):
    """Not everything was confirmed.

    Attributes:
        confirmed: How many of the events, from the first on, were confirmed without a gap.
    """

    def __init__(self, reason: str, confirmed: int) -> None:
        super().__init__(reason)
        self.confirmed = confirmed


class Publisher(Protocol):
    """Sends events to wherever they are read."""

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        """Sends events in order and returns when all are confirmed. Now and then it is called without any.

        After a failure nothing that comes later in a tenant's order is sent any more; what was on its way may arrive.

        Raises:
            PublishError: If not all were confirmed.
        """
        ...


class Relay:
    """Passes events on. An event that is refused stops it: it is tried again, never skipped."""

    def __init__(self, log: EntryLog, watch: Watch, publisher: Publisher, name: str, batch: int = BATCH) -> None:
        self._log = log
        self._watch = watch
        self._publisher = publisher
        self._name = name
        self._batch = batch
        self.position: int | None = None
        """Everything before it has been confirmed; None until that was looked up, and after a failure."""

    async def step(self) -> float:
        """Passes on what comes next, waiting for it a while. See `loops.Step`.

        Raises:
            PublishError: If the broker did not take all. What it did take is remembered.
            StoreUnavailableError: If the log did not answer.
        """
        try:
            await self._pass_on()
        except BaseException:
            self.position = None
            raise
        return 0.0

    async def _pass_on(self) -> None:
        if self.position is None:
            self.position = await self._log.relayed(self._name)
        await self._watch.reaches(self.position, LOOK_AGAIN_SECONDS)
        logged = await self._log.read(self.position, self._batch)
        events = [event for item in logged for event in events_of(item.position, item.entry)]
        try:
            await self._publisher.publish(events)
        except PublishError as error:
            # The entry of the first event that was not confirmed is sent again as a whole.
            await self._remember(events[error.confirmed].position)
            raise
        if logged:
            await self._remember(logged[-1].position + 1)

    async def _remember(self, position: int) -> None:
        if position != self.position:
            await self._log.set_relayed(self._name, position)
            self.position = position
