"""Loops that run for as long as the service does: one that fails is heard of, waits and goes on."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

import structlog

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0

Step = Callable[[], Awaitable[float]]
"""One round of a loop. Returns the seconds to wait before the next."""


class ToldError(Exception):
    """A failure whose words may be shown to whoever asks how the service stands: they name no host and no secret."""


@dataclass
class LoopHealth:
    """How a loop stands.

    Attributes:
        name: Of the loop.
        rounds: How many rounds went well.
        failures: Rounds that failed since the last that went well.
        failing_since: When the first of those failed; None while all is well.
        trouble: What the last of those said.
    """

    name: str
    rounds: int = 0
    failures: int = 0
    failing_since: datetime | None = None
    trouble: str | None = None

    def well(self) -> None:
        """A round went well."""
        self.rounds += 1
        self.failures, self.failing_since, self.trouble = 0, None, None

    def failed(self, error: Exception) -> None:
        """A round failed."""
        self.failures += 1
        self.failing_since = self.failing_since or datetime.now(UTC)
        self.trouble = str(error) if isinstance(error, ToldError) else type(error).__name__


def pause_after(failures: int) -> float:
    """Seconds to wait after that many failures in a row: longer each time up to a bound, and partly at random."""
    longest = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 30), LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1)


async def keep_running(health: LoopHealth, step: Step) -> NoReturn:
    """Runs round after round until it is cancelled."""
    while True:
        try:
            pause = await step()
        except Exception as error:
            health.failed(error)
            pause = pause_after(health.failures)
            log.exception("loop_failed", loop=health.name, failures=health.failures, retry_in=round(pause, 1))
        else:
            if health.failures:
                log.warning("loop_recovered", loop=health.name, failures=health.failures)
            health.well()
        await asyncio.sleep(pause)
