"""Training steps that are charged for: the whole plan is held before the first, and what was begun is committed.

A step counts before it runs, since it may read data before it fails. The end of the block commits as many steps as
were begun, also when an exception ends it; what was planned beyond that is given back where the ledger's rules make it
sound (`docs/client.md`). It never voids: it cannot know what its caller has read beside the steps.
"""

import dataclasses
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from serve_app.client.errors import PrivacyEngineError
from serve_app.client.holds import AsyncHold, Hold
from serve_app.client.requests import Spend, repeated

if TYPE_CHECKING:
    from serve_app.client.async_engine import AsyncPrivacyEngine
    from serve_app.client.engine import PrivacyEngine

R = TypeVar("R")


class PlanExhaustedError(PrivacyEngineError):
    """One step more than was held for. It did not run."""


def planned(step: Spend, steps: int) -> Spend:
    """What is held for that many steps.

    Args:
        step: One step, described by its event.
        steps: How many are planned.

    Raises:
        ValueError: If the step has no event, or none is planned.
    """
    if step.event is None:
        raise ValueError(
            "event: describe what one step does to the data; an epsilon alone cannot be divided into steps"
        )
    return dataclasses.replace(step, event=repeated(step.event, steps))


class _Counting(Generic[R]):
    """A step function that counts its calls, and refuses those that nothing is held for."""

    def __init__(self, steps: int, function: Callable[..., R]) -> None:
        self._steps, self._function = steps, function
        self._lock = threading.Lock()
        self._begun: int | None = None

    @property
    def begun(self) -> int:
        """How many steps were begun in this block, or in the last one."""
        return self._begun or 0

    def __call__(self, *args: object, **kwargs: object) -> R:
        """One step.

        Raises:
            PlanExhaustedError: If all planned steps were begun. The step does not run.
            RuntimeError: Outside of a block.
        """
        with self._lock:
            if self._begun is None or not self._held():
                raise RuntimeError("nothing is held: run the steps in a block, `with step: ...`")
            if self._begun >= self._steps:
                raise PlanExhaustedError(
                    f"All {self._steps} planned steps were begun, so this one did not run. "
                    "Hold more steps in another block, if the budget has room for them."
                )
            self._begun += 1
        return self._function(*args, **kwargs)

    def _held(self) -> bool:
        raise NotImplementedError


class PrivateSteps(_Counting[R]):
    """A training step under a hold; made by `PrivacyEngine.private_steps`, run in a ``with`` block."""

    def __init__(
        self,
        engine: "PrivacyEngine",
        request: Spend,
        steps: int,
        ttl_seconds: int | None,
        function: Callable[..., R],
    ) -> None:
        super().__init__(steps, function)
        self._engine, self._request, self._ttl_seconds = engine, planned(request, steps), ttl_seconds
        self._hold: Hold | None = None

    def __enter__(self) -> Self:
        if self._hold is not None:
            raise RuntimeError("these steps are in a block already")
        hold = self._engine.reserve(self._request, ttl_seconds=self._ttl_seconds)
        hold.__enter__()
        self._hold, self._begun = hold, 0
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        hold, self._hold = self._hold, None
        assert hold is not None
        try:
            hold.commit(steps=self.begun)
        except PrivacyEngineError as failed:
            if error is None:
                raise
            error.add_note(str(failed))

    def _held(self) -> bool:
        return self._hold is not None


class AsyncPrivateSteps(_Counting[R]):
    """A training step under a hold; made by `AsyncPrivacyEngine.private_steps`, run in an ``async with`` block.

    The step may be a coroutine function; then it counts when it is called, before it is awaited.
    """

    def __init__(
        self,
        engine: "AsyncPrivacyEngine",
        request: Spend,
        steps: int,
        ttl_seconds: int | None,
        function: Callable[..., R],
    ) -> None:
        super().__init__(steps, function)
        self._engine, self._request, self._ttl_seconds = engine, planned(request, steps), ttl_seconds
        self._hold: AsyncHold | None = None

    async def __aenter__(self) -> Self:
        if self._hold is not None:
            raise RuntimeError("these steps are in a block already")
        hold = self._engine.reserve(self._request, ttl_seconds=self._ttl_seconds)
        await hold.__aenter__()
        self._hold, self._begun = hold, 0
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        hold, self._hold = self._hold, None
        assert hold is not None
        try:
            await hold.commit(steps=self.begun)
        except PrivacyEngineError as failed:
            if error is None:
                raise
            error.add_note(str(failed))

    def _held(self) -> bool:
        return self._hold is not None
