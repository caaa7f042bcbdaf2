"""An owner's process: started, called, killed at any moment, started again with an empty memory. And how to call it."""

import asyncio
from collections.abc import Callable, Coroutine

from accounting.ledger.store import LedgerStore, StoreUnavailableError
from deployments.budget.owner import BudgetOwner, HaltedError, OverloadedError
from tests.simulation.database import Connection, Database
from tests.simulation.invariants import Watch
from tests.simulation.loop import Process
from tests.simulation.network import Link, Network
from tests.simulation.plan import Fault
from tests.simulation.requests import Answer, Failure, Request, describe, serve

PATIENCE = 1.0
"""Seconds that a caller waits for an answer."""


Reply = Callable[[Answer | Failure], None]


class Machine:
    """Runs one owner at a time."""

    def __init__(
        self, name: str, network: Network, database: Database, watch: Watch, build: Callable[[LedgerStore], BudgetOwner]
    ) -> None:
        self.name = name
        self.owner: BudgetOwner | None = None
        self._network = network
        self._database = database
        self._watch = watch
        self._build = build
        self._process = Process(name)
        self._remains: list[object] = []
        """Tasks that will never end: kept, for a coroutine that is thrown away half done is closed, and so runs on."""

    def start(self) -> None:
        """Starts an owner; it serves once it has reached the database."""
        self._process = Process(self.name)
        link = Link(self._network, self._database.clock, self._process, self.kill)
        self._spawn(self._open(Connection(link, self._database)))

    async def _open(self, connection: Connection) -> None:
        while True:
            try:
                await connection.tails({})
                break
            except StoreUnavailableError:
                await asyncio.sleep(0.05)
        owner = self._build(connection)
        owner.start()
        self.owner = owner
        self._network.trace.note(f"{self.name} serves")

    def kill(self) -> None:
        """Ends the process as SIGKILL does, and starts another one a while later."""
        if self._process.alive:
            self._network.trace.note(f"{self.name} is dead")
            self._remains.extend(asyncio.all_tasks(self._network.loop))
            self._network.loop.kill(self._process)
            self.owner = None
            self._network.later(0.5 * self._network.random.random(), self.start)

    def stop(self) -> None:
        """Ends the process as SIGTERM does: the owner tells those who wait."""
        if self.owner is not None:
            self._spawn(self._stop(self.owner))

    async def _stop(self, owner: BudgetOwner) -> None:
        self.owner = None
        await owner.stop()
        await asyncio.sleep(0.01)
        self.kill()

    def deliver(self, request: Request, reply: Reply, hang_up_after: float | None) -> None:
        """A call arrives; its caller may go away before it is answered."""
        owner = self.owner
        if owner is None:
            self._network.carry(reply, Failure.UNREACHABLE)
            return
        task = self._spawn(self._serve(owner, request, reply))
        if hang_up_after is not None:
            self._network.later(hang_up_after, task.cancel)

    async def _serve(self, owner: BudgetOwner, request: Request, reply: Reply) -> None:
        network, watch = self._network, self._watch
        number = watch.began(request)
        answer: Answer | Failure
        try:
            answer = await serve(owner, request)
            watch.answered(number, answer)
        except StoreUnavailableError:
            answer = Failure.UNAVAILABLE
        except OverloadedError:
            answer = Failure.OVERLOADED
        except HaltedError:
            answer = Failure.HALTED
        except Exception as error:
            network.loop.fail(error)
            return
        finally:
            watch.dropped(number)
        network.trace.answer(f"{self.name}: {describe(request)}", answer)
        if not network.strikes(Fault.ANSWER_LOST, self.name):
            network.carry(reply, answer)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return self._network.loop.create_task(work, context=self._process.context)


class Front:
    """What callers see of the service: a name behind which owners come and go."""

    def __init__(self, network: Network, machines: list[Machine], tenants: list[str]) -> None:
        self._network = network
        self._machines = machines
        self._tenants = tenants

    async def ask(self, caller: str, request: Request) -> Answer | Failure:
        """One attempt, which may reach no owner, one, or two."""
        network = self._network
        heard: asyncio.Future[Answer | Failure] = network.loop.create_future()

        def reply(answer: Answer | Failure) -> None:
            if not heard.done():
                heard.set_result(answer)

        hang_up_after = None
        if network.strikes(Fault.HANG_UP, caller):
            hang_up_after = network.random.random() * 0.1
            network.later(hang_up_after, reply, Failure.HUNG_UP)
        for _ in range(2 if network.strikes(Fault.DUPLICATE, caller) else 1):
            if not network.strikes(Fault.CALL_LOST, caller):
                network.carry(self._route(request.tenant_id).deliver, request, reply, hang_up_after)
        network.later(PATIENCE, reply, Failure.SILENCE)
        return await heard

    def _route(self, tenant: str) -> Machine:
        """The owner that the tenant's name points to, or any."""
        random, machines = self._network.random, self._machines
        if random.random() < self._network.plan.affinity:
            return machines[self._tenants.index(tenant) % len(machines)]
        return random.choice(machines)
