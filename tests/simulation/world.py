"""One run: a world made and disturbed as its seed says, watched until everything has come to rest."""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Coroutine, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import structlog

from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.merkle import leaf_hash
from accounting.ledger.store import LedgerStore
from deployments.budget.owner import BudgetOwner, OwnerSettings
from tests.simulation.clients import Client, Town
from tests.simulation.database import Database
from tests.simulation.invariants import Watch
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.machine import Front, Machine
from tests.simulation.network import Network, at_once
from tests.simulation.plan import Fault, draw_plan
from tests.simulation.recorder import Broker, Heads, Recorder
from tests.simulation.requests import LIMITS, loss_of, tenant_budget
from tests.simulation.trace import Trace
from tests.simulation.violation import ViolationError, require

DAY = 86_400.0
"""Seconds."""
LONGEST_REST = 2_000
"""Virtual seconds in which everything has to come to rest once there are no more faults."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to.

    Attributes:
        seed: Of the run.
        operations: That clients did.
        entries: In the ledger at the end.
        faults: How often each struck.
        outcomes: How often each answer was given by an owner.
        digest: Hash of the trace.
        violation: What did not hold; None if all held.
        last: The last steps before it.
    """

    seed: int
    operations: int
    entries: int
    faults: Counter[Fault]
    outcomes: Counter[str]
    digest: str
    violation: str | None
    last: tuple[str, ...]


class World:
    """Everything that runs in one run."""

    def __init__(
        self,
        seed: int,
        operations: int,
        store: type[MemoryLedgerStore] = MemoryLedgerStore,
        owner: type[BudgetOwner] = BudgetOwner,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.plan = plan = draw_plan(self.random)
        self.loop = SimulatedLoop(self.random)  # type: ignore[abstract]
        self.trace = Trace(self.loop.time)
        self.network = Network(self.loop, self.random, plan, self.trace)
        self.database = Database(self.loop, store())
        self.watch = Watch(self.database.store, self.database.clock, self.loop.time, loss_of, plan.default_budget)
        self.database.on_append = self._wrote
        self._owner_class = owner
        self.machines = [
            Machine(f"owner-{number}", self.network, self.database, self.watch, self._owner)
            for number in range(plan.owners)
        ]
        tenants = [f"tenant-{number}" for number in range(plan.tenants)]
        front = Front(self.network, self.machines, tenants)
        self.broker = Broker(self.network, self.random)
        self.heads = Heads(self.database)
        self.recorders = [
            Recorder(f"recorder-{number}", self.network, self.database, self.broker, self.heads, front)
            for number in range(plan.recorders)
        ]
        self.town = Town(front, tenants, operations)

    def run(self) -> Result:
        """Runs to the end, or to the first violation."""
        violation = None
        with _listening(self.loop):
            try:
                self.loop.run(Process("main"), self._live())
                self._finish()
            except Exception as error:
                # Whatever it is: its seed, and the steps that led to it, are what matters.
                violation = f"{type(error).__name__}: {error}"
        self._close()
        return Result(
            self.seed,
            len(self.town.record),
            len(self.database.store.committed),
            self.trace.faults,
            self.trace.outcomes,
            self.trace.digest(),
            violation,
            tuple(self.trace.last),
        )

    def _owner(self, store: LedgerStore) -> BudgetOwner:
        plan = self.plan
        settings = OwnerSettings(
            limits=LIMITS,
            default_budget=tenant_budget(10, 2) if plan.default_budget else None,
            queue_limit=plan.queue_limit,
            batch_limit=plan.batch_limit,
            lanes=plan.lanes,
            tenants_in_memory=plan.tenants_in_memory,
            keys_in_memory=plan.keys_in_memory,
        )
        return self._owner_class(store, settings, self.random)

    def _wrote(self) -> None:
        self.watch.wrote()
        for machine in self.machines:
            if machine.owner is not None:
                self.watch.remembered(machine.owner)

    async def _live(self) -> None:
        for machine in self.machines:
            machine.start()
        for recorder in self.recorders:
            recorder.start()
        weather = self._start("weather", self._weather())
        clients = [Client(self.town, self.network, number) for number in range(self.plan.clients)]
        await asyncio.gather(*(self._start(client.name, client.run()) for client in clients))
        weather.cancel()
        self.network.heal()
        for machine in self.machines:
            if machine.owner is not None:
                machine.owner.halt(None)
        await self._rest()

    def _start(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return self.loop.create_task(work, context=Process(name).context)

    # Faults that come by themselves.

    async def _weather(self) -> None:
        random, plan = self.random, self.plan
        while plan.weather:
            await asyncio.sleep(random.expovariate(1 / plan.calm))
            fault = random.choice(plan.weather)
            machine = random.choice(self.machines)
            self.trace.fault(fault, machine.name)
            await self._strike(fault, machine)

    async def _strike(self, fault: Fault, machine: Machine) -> None:
        random, network = self.random, self.network
        match fault:
            case Fault.PARTITION:
                network.cut_off.add(machine.name)
                await asyncio.sleep(random.random() * 2)
                network.cut_off.discard(machine.name)
            case Fault.SLOW_DATABASE:
                network.slowness = random.choice([5.0, 30.0])
                await asyncio.sleep(random.random())
                network.slowness = 1.0
            case Fault.DATABASE_RESTART:
                network.database_starts += 1
            case Fault.CLOCK_FORWARD:
                self._set_clock(self._ahead())
            case Fault.CLOCK_BACK:
                self._set_clock(self.database.skew - random.choice([0.001, 0.05, 1.0]))
            case Fault.KILL:
                machine.kill()
            case Fault.STOP:
                machine.stop()
            case Fault.RECORDER_KILL:
                random.choice(self.recorders).kill()
            case Fault.HALT if machine.owner is not None:
                owner = machine.owner
                owner.halt("the ledger is behind what was published of it")
                await asyncio.sleep(0.5 * random.random())
                owner.halt(None)

    def _ahead(self) -> float:
        """A skew some seconds ahead; or, now and then, about whole days after the beginning, where windows end."""
        random = self.random
        if random.random() < 0.5:
            return self.database.skew + random.choice([0.1, 1.0, 10.0])
        now = self.loop.time() + self.database.skew
        days = now // DAY + random.choice([1, 1, 2])
        return self.database.skew + days * DAY + random.uniform(-2, 1) - now

    def _set_clock(self, skew: float) -> None:
        before = self.database.clock()
        self.database.skew = skew
        self.watch.clock_moved(before)

    # The end.

    async def _rest(self) -> None:
        """Without faults, everybody serves again, what is due ends, and the log takes up everything and tells of it."""
        quiet = 0
        for _ in range(LONGEST_REST // 5):
            await asyncio.sleep(5)
            # Twice in a row: a write that was on its way for long may have come after the first look.
            quiet = quiet + 1 if await self._is_at_rest() else 0
            if quiet == 2:
                return
        raise ViolationError("somebody does not serve, or something due does not end, or an event is not sent")

    async def _is_at_rest(self) -> bool:
        entries = self.database.store.committed
        return (
            all(machine.owner is not None for machine in self.machines)
            and not self.database.due(None, len(entries) + 1).open
            and await self.database.log.size() == len(entries)
            and self.broker.operations == len(entries)
        )

    def _finish(self) -> None:
        """Everything is still there, unchanged; and everything was told."""
        entries = self.database.store.committed
        self._wrote()
        for machine in self.machines:
            assert machine.owner is not None
            self.watch.remembered_keys(machine.owner)
        self.watch.finish(self.town.record)
        logged = [item.entry.hash for item in at_once(self.database.log.read(0, len(entries) + 1))]
        require(logged == [entry.hash for entry in entries], "the log is not the ledger in its order")
        self.heads.complete([leaf_hash(of) for of in logged])
        self.broker.complete(entries)

    def _close(self) -> None:
        """Throws away what still waits, without a word."""
        for task in asyncio.all_tasks(self.loop):
            with suppress(RuntimeError):
                work = task.get_coro()
                assert isinstance(work, Coroutine)
                work.close()


def simulate(
    seed: int,
    operations: int,
    store: type[MemoryLedgerStore] = MemoryLedgerStore,
    owner: type[BudgetOwner] = BudgetOwner,
) -> Result:
    """One run from its seed."""
    return World(seed, operations, store, owner).run()


@contextmanager
def _listening(loop: SimulatedLoop) -> Iterator[None]:
    """Nothing is logged; an error that would be, such as a bug that an owner survives, ends the simulation."""

    def hear(_: Any, __: str, event: MutableMapping[str, Any]) -> Any:  # noqa: ANN401
        loop.fail(sys.exc_info()[1] or ViolationError(str(event)))
        raise structlog.DropEvent

    before = structlog.get_config()
    # A logger that a service has used in this process keeps the configuration of then, and would not be heard.
    for name, module in list(sys.modules.items()):
        if name.startswith("deployments.") and "log" in vars(module):
            vars(module.log).pop("bind", None)
    structlog.configure(
        processors=[hear],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
