"""What lies between the processes: messages that take time, get lost, or arrive after everybody gave up on them.

A statement to the database is carried out whole, in one step of the scheduler, as one transaction of Postgres is.
Around it everything may go wrong that can go wrong around a transaction.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from random import Random
from typing import Any, TypeVar

from accounting.ledger.clock import DatabaseClock
from accounting.ledger.store import ConflictError, StoreUnavailableError
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.plan import Fault, Plan
from tests.simulation.trace import Trace

T = TypeVar("T")

Sent = tuple[int, float]
"""When a statement was sent: in which of the database's lives, and at what time."""
STATEMENT_TIMEOUT = 0.5
"""Seconds after which a statement is given up."""


class Network:
    """Carries messages: a call at another process, some time later."""

    def __init__(self, loop: SimulatedLoop, random: Random, plan: Plan, trace: Trace) -> None:
        self.loop = loop
        self.random = random
        self.plan = plan
        self.trace = trace
        self.slowness = 1.0
        self.cut_off: set[str] = set()
        """Names of processes that cannot reach the database."""
        self.database_starts = 0
        """A restart of the database breaks all connections."""
        self.healed = False
        self._process = Process("network")

    def strikes(self, fault: Fault, whom: str) -> bool:
        """Whether this message meets that fault."""
        if self.healed or self.random.random() >= self.plan.chances[fault]:
            return False
        self.trace.fault(fault, whom)
        return True

    def later(self, delay: float, call: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401
        """Calls after so many seconds, whoever was killed meanwhile."""
        self.loop.call_later(delay, call, *arguments, context=self._process.context)

    def carry(self, call: Callable[..., object], *arguments: Any) -> None:  # noqa: ANN401
        """Calls after the time that a message takes."""
        self.later(self.random.random() * self.plan.latency * self.slowness, call, *arguments)

    def heal(self) -> None:
        """No more faults."""
        self.healed = True
        self.slowness = 1.0
        self.cut_off.clear()


class Link:
    """One process's connection to the database."""

    def __init__(
        self, network: Network, clock: Callable[[], datetime], process: Process, kill: Callable[[], None]
    ) -> None:
        self._network = network
        self._database_clock = clock
        self._process = process
        self._kill = kill
        self.clock = DatabaseClock(network.loop.time)
        """Database time as the process knows it."""

    def strikes(self, fault: Fault) -> bool:
        """Whether this process meets that fault now."""
        return self._network.strikes(fault, self._process.name)

    async def ask(self, what: str, execute: Callable[[], T], *, writes: bool = False) -> T:
        """Has a statement carried out.

        Raises:
            ConflictError: If the database refused it, or undid it for a reason of its own.
            StoreUnavailableError: If it was not answered; it may have been carried out, or may still be.
        """
        network = self._network
        whom = f"{self._process.name} {what}"
        answer: asyncio.Future[T] = network.loop.create_future()
        call = (whom, (network.database_starts, self.clock.sending()), execute, writes, answer)
        network.later(STATEMENT_TIMEOUT, _fail, answer)
        if network.strikes(Fault.STATEMENT_LOST, whom):
            self._break(answer)
        elif network.strikes(Fault.STATEMENT_LATE, whom):
            network.later(STATEMENT_TIMEOUT * (1 + 4 * network.random.random()), self._arrive, *call)
        else:
            network.carry(self._arrive, *call)
        return await answer

    def _arrive(
        self, whom: str, sent: Sent, execute: Callable[[], T], writes: bool, answer: "asyncio.Future[T]"
    ) -> None:
        """The statement reaches the database, if it does."""
        network = self._network
        if self._is_broken(sent):
            self._break(answer)
            return
        if not self._process.alive and network.random.random() < 0.5:
            # Its process died before the last packet had left.
            return
        result: T | ConflictError
        try:
            if writes and network.strikes(Fault.ROLLED_BACK, whom):
                raise ConflictError("undone for the sake of another transaction")
            result = execute()
            network.trace.note(f"{whom}: done")
        except ConflictError as conflict:
            network.trace.note(f"{whom}: {conflict}")
            result = conflict
        if writes and self._process.alive and network.strikes(Fault.KILL_AT_WRITE, whom):
            self._kill()
        back = (sent, result, self._database_clock(), answer)
        if network.strikes(Fault.RESULT_LOST, whom):
            self._break(answer)
        elif network.strikes(Fault.RESULT_LATE, whom):
            network.later(STATEMENT_TIMEOUT * network.random.random(), self._return, *back)
        else:
            network.carry(self._return, *back)

    def _return(self, sent: Sent, result: T | ConflictError, shown: datetime, answer: "asyncio.Future[T]") -> None:
        """The result reaches the process, if it does."""
        if self._is_broken(sent):
            self._break(answer)
        elif not answer.done():
            self.clock.showed(shown, sent[1])
            if isinstance(result, ConflictError):
                answer.set_exception(result)
            else:
                answer.set_result(result)

    def _is_broken(self, sent: Sent) -> bool:
        return sent[0] != self._network.database_starts or self._process.name in self._network.cut_off

    def _break(self, answer: "asyncio.Future[T]") -> None:
        """The process learns that something broke: at once, or only when its patience ends."""
        if self._network.random.random() < 0.5:
            _fail(answer)


def _fail(answer: "asyncio.Future[T]") -> None:
    if not answer.done():
        answer.set_exception(StoreUnavailableError("the connection broke"))


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise AssertionError("a statement must be carried out in one step")
