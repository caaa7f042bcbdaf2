"""The log's process: takes entries up into the log, publishes heads, passes events on, and ends what is due.

The sequencer, the relay and the sweeper are the real ones. They meet the same network as the owners and a broker that
fails, and are killed and started again; two of them at once are as good as one.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from random import Random

from accounting.ledger.due import Due
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.merkle import consistency_holds, consistency_proof, root_at, tree_root
from accounting.ledger.store import ConflictError, StoreUnavailableError
from accounting.policy import Renew
from deployments.outbox.events import OutboxEvent, Topic
from deployments.outbox.loops import Step
from deployments.outbox.relay import PublishError, Relay
from deployments.outbox.sweeper import Sweeper, SweepError
from deployments.outbox.watch import Watch as LogWatch
from tests.simulation.database import Database, LogConnection
from tests.simulation.loop import Process
from tests.simulation.machine import Front
from tests.simulation.network import Link, Network, at_once
from tests.simulation.plan import Fault
from tests.simulation.requests import End, Failure
from tests.simulation.violation import require

PAGE = 20
"""Entries that the sweeper looks at in one query, and the relay passes on at once: few, to have many pages."""


class Broker:
    """Keeps every event it gets, and watches that a tenant's come in order and without a gap."""

    def __init__(self, network: Network, random: Random) -> None:
        self._network = network
        self._random = random
        self._bodies: dict[str, bytes] = {}
        self._last: dict[str, int] = {}
        self.operations = 0
        """Entries that were told of."""
        self._told: dict[str, list[Topic]] = {}
        """By tenant, what it was told for the first time."""

    async def publish(self, events: Sequence[OutboxEvent]) -> None:
        """See `Publisher.publish`. Some failures come after more was delivered than is confirmed."""
        await asyncio.sleep(self._random.random() * self._network.plan.latency)
        if not events or not self._network.strikes(Fault.BROKER, "broker"):
            self._deliver(events)
            return
        delivered = int(self._random.random() * (len(events) + 1))
        self._deliver(events[:delivered])
        confirmed = int(self._random.random() * min(delivered + 1, len(events)))
        raise PublishError("the broker did not confirm", confirmed)

    def _deliver(self, events: Sequence[OutboxEvent]) -> None:
        for event in events:
            known = self._bodies.get(event.event_id)
            if known is not None:
                require(known == event.body, "an event was sent again and was another one:", event.event_id)
                continue
            self._bodies[event.event_id] = event.body
            self._told.setdefault(event.tenant_id, []).append(event.topic)
            last = self._last.get(event.tenant_id, 0)
            step = 1 if event.index == 0 else 0
            require(event.data["seq"] == last + step, "a tenant's events have a gap:", event.tenant_id, last)
            self._last[event.tenant_id] = last + step
            self.operations += step

    def complete(self, entries: Sequence[Entry]) -> None:
        """At the end: one operation for each entry, one warning for each crossing, one event for each window."""
        expected: dict[str, list[Topic]] = {}
        for entry in entries:
            topics = expected.setdefault(entry.tenant_id, [])
            topics += [Topic.OPERATIONS, *[Topic.EXHAUSTED] * len(entry.crossed)]
            topics += [Topic.RENEWED] * (entry.kind is EntryKind.RENEWED)
        require(self._told == expected, "the events told are not those of the ledger")


class Heads:
    """Keeps the roots that were published, and watches that each extends the one before."""

    def __init__(self, database: Database) -> None:
        self._log = database.log
        self._published: dict[int, bytes] = {}

    async def publish(self, log: LogConnection) -> None:
        """Publishes the root over what the log holds now."""
        size = await log.size()
        root = await root_at(log.nodes, size)
        for known in [max(self._published)] if self._published else []:
            smaller, larger = sorted((known, size))
            roots = {known: self._published[known], size: root}
            # Read at once: the proof is the watcher's, not the service's.
            proof = at_once(consistency_proof(self._log.nodes, smaller, larger))
            holds = consistency_holds(smaller, roots[smaller], larger, roots[larger], proof)
            require(holds, "a head does not extend the one before it:", smaller, larger)
        require(self._published.get(size, root) == root, "two heads of one size:", size)
        self._published[size] = root

    def complete(self, leaves: Sequence[bytes]) -> None:
        """At the end: every head is the root over the first entries as they stand now, computed from scratch."""
        for size, root in self._published.items():
            require(tree_root(leaves[:size]) == root, "a head is not the root over the log:", size)


class Recorder:
    """Runs the log's loops in a process that can be killed."""

    def __init__(
        self, name: str, network: Network, database: Database, broker: Broker, heads: Heads, front: Front
    ) -> None:
        self.name = name
        self._network = network
        self._database = database
        self._broker = broker
        self._heads = heads
        self._front = front
        self._process = Process(name)
        self._remains: list[object] = []

    def start(self) -> None:
        """Starts the loops, with an empty memory."""
        self._process = Process(self.name)
        log = LogConnection(Link(self._network, self._database.clock, self._process, self.kill), self._database)
        watch = LogWatch()
        relay = Relay(log, watch, self._broker, "kafka", batch=PAGE)
        sweeper = Sweeper(log, self._end, page=PAGE)
        self._spawn(self._forever(lambda: self._sequence(log, watch)))
        self._spawn(self._forever(relay.step))
        self._spawn(self._forever(sweeper.step))

    def kill(self) -> None:
        """Ends the process as SIGKILL does, and starts another one a while later."""
        if self._process.alive:
            self._network.trace.note(f"{self.name} is dead")
            self._remains.extend(asyncio.all_tasks(self._network.loop))
            self._network.loop.kill(self._process)
            self._network.later(self._network.random.random(), self.start)

    async def _sequence(self, log: LogConnection, watch: LogWatch) -> float:
        random = self._network.random
        taken = await log.sequence(random.choice([1, 10, 1_000]))
        await watch.saw(await log.size())
        if random.random() < 0.3:
            await self._heads.publish(log)
        return 0.0 if taken else 0.2

    async def _end(self, due: Due) -> None:
        request = Renew(due.tenant_id)
        if due.allocation_id is not None:
            answer = await self._front.ask(self.name, End(due.tenant_id, due.allocation_id, EntryKind.EXPIRED_SPENT))
        else:
            answer = await self._front.ask(self.name, request)
        if isinstance(answer, Failure):
            raise StoreUnavailableError(answer)

    async def _forever(self, step: Step) -> None:
        """As `loops.keep_running`, with a pause that is the same each time."""
        while True:
            try:
                pause = await step()
            except (StoreUnavailableError, ConflictError, PublishError, SweepError) as error:
                self._network.trace.note(f"{self.name}: {error}")
                pause = 0.2
            except Exception as error:
                self._network.loop.fail(error)
                return
            await asyncio.sleep(pause)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._remains.append(self._network.loop.create_task(work, context=self._process.context))
