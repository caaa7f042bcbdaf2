"""One seeded scheduler with virtual time: an asyncio event loop that never waits and knows no sockets.

Whatever runs belongs to a `Process` (an owner, a client, the network). Within a process callbacks run in the order in
which they became ready, as in any event loop; which process goes next is drawn from the seed. When nobody has anything
to do, the clock jumps to the next timer. The same seed gives the same run, to the last step.

Everything that real I/O would need is left as `AbstractEventLoop` has it: not implemented.
"""

import asyncio
import heapq
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")


class Process:
    """Something that runs beside others and can be killed.

    Attributes:
        name: For the trace.
        ready: What it runs next, in order.
        alive: False once it was killed: nothing of it runs ever again.
        context: What its tasks inherit, and how the loop knows whose a callback is.
    """

    __slots__ = ("alive", "context", "name", "ready")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready: deque[Callback] = deque()
        self.alive = True
        self.context = copy_context()
        self.context.run(_process.set, self)


_process: ContextVar[Process] = ContextVar("process")


class Callback:
    """A call that waits for its turn or its time; the loop's own `asyncio.Handle`."""

    __slots__ = ("_arguments", "_context", "_function", "_when", "is_cancelled", "process")

    def __init__(
        self, function: Callable[..., object], arguments: tuple[Any, ...], context: Context, when: float = 0.0
    ) -> None:
        self._function = function
        self._arguments = arguments
        self._context = context
        self._when = when
        self.process = context[_process]
        self.is_cancelled = False

    def cancel(self) -> None:
        """Never runs it."""
        self.is_cancelled = True

    def cancelled(self) -> bool:
        """Whether it will never run."""
        return self.is_cancelled

    def when(self) -> float:
        """The virtual time at which it is due."""
        return self._when

    def run(self) -> None:
        """Calls. An exception ends the simulation: a task keeps its own, so it is nobody's but the simulation's."""
        self._context.run(self._function, *self._arguments)


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Runs processes in an order drawn from `random`, on a clock of its own."""

    def __init__(self, random: Random) -> None:
        self._draw = random.random
        self._now = 0.0
        self._busy: list[Process] = []
        self._timers: list[tuple[float, int, Callback]] = []
        self._numbered = 0
        self._failure: BaseException | None = None
        self._running = False
        self.steps = 0

    def time(self) -> float:
        """Seconds of virtual time since the beginning."""
        return self._now

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401
        context: Context | None = None,
    ) -> Callback:
        """Runs it in its process's turn."""
        handle = Callback(callback, args, copy_context() if context is None else context)
        self._enqueue(handle)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401
        context: Context | None = None,
    ) -> Callback:
        """Runs it after that many seconds of virtual time."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,  # noqa: ANN401
        context: Context | None = None,
    ) -> Callback:
        """Runs it at that virtual time."""
        handle = Callback(callback, args, copy_context() if context is None else context, when)
        self._numbered += 1
        heapq.heappush(self._timers, (when, self._numbered, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """A task in the process of its context."""
        return asyncio.Task(coro, loop=self, name=str(name or "task"), context=context)

    def get_debug(self) -> bool:
        """False: asked by tasks and futures."""
        return False

    def is_running(self) -> bool:
        """Whether it runs now."""
        return self._running

    def is_closed(self) -> bool:
        """Never: nothing has to be closed."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Ignores what is left behind: a killed process's tasks end unfinished, and its failures unheard."""

    def fail(self, error: BaseException) -> None:
        """Ends the simulation with that error, from within a task, which would keep an exception to itself."""
        self._failure = self._failure or error

    def kill(self, process: Process) -> None:
        """Nothing of that process runs any more: no handler of its own, no `finally`."""
        process.alive = False
        process.ready.clear()
        if process in self._busy:
            self._busy.remove(process)

    def run(self, process: Process, main: Coroutine[Any, Any, T]) -> T:
        """Runs until `main`, as a task of `process`, is done.

        Raises:
            RuntimeError: If nobody has anything left to do and `main` still waits.
        """
        task = self.create_task(main, context=process.context)
        self._running = True
        _set_running_loop(self)
        try:
            while not task.done():
                self._step()
                if self._failure is not None:
                    raise self._failure
        finally:
            _set_running_loop(None)
            self._running = False
        return task.result()

    def _enqueue(self, handle: Callback) -> None:
        process = handle.process
        if process.alive:
            if not process.ready:
                self._busy.append(process)
            process.ready.append(handle)

    def _step(self) -> None:
        busy = self._busy
        if not busy:
            self._advance()
            return
        chosen = int(self._draw() * len(busy))
        process = busy[chosen]
        handle = process.ready.popleft()
        if not process.ready:
            busy[chosen] = busy[-1]
            busy.pop()
        if not handle.is_cancelled:
            self.steps += 1
            handle.run()

    def _advance(self) -> None:
        """Jumps to the next timer and makes ready whatever is due by then."""
        if not self._timers:
            raise RuntimeError("somebody waits for what will never happen")
        self._now = self._timers[0][0]
        while self._timers and self._timers[0][0] <= self._now:
            handle = heapq.heappop(self._timers)[2]
            if not handle.is_cancelled:
                self._enqueue(handle)
