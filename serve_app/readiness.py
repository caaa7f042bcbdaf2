"""Whether the service can do its work: several checks, asked at most once a second however many probes there are."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from accounting.ledger.store import StoreUnavailableError

log = structlog.get_logger()

Check = Callable[[], Awaitable[str | None]]
"""What is wrong, in a sentence for whoever asks; None where nothing is."""

PATIENCE_SECONDS = 3.0
"""How long a check may take."""
GOOD_SECONDS = 1.0
"""How long a result stands in which all is well."""
BAD_SECONDS = 0.2
"""How long another does: whoever waits for the service should not wait for a memory."""


class Readiness:
    """Asks, and remembers for a moment."""

    def __init__(self, checks: Mapping[str, Check], clock: Callable[[], float] = time.monotonic) -> None:
        """Does not ask yet.

        Args:
            checks: By name.
            clock: Seconds.
        """
        self._checks = checks
        self._clock = clock
        self._asking = asyncio.Lock()
        self._until = float("-inf")
        self._found: Mapping[str, str | None] = {}

    async def faults(self) -> Mapping[str, str | None]:
        """What each check found; whoever asks meanwhile waits for the same result."""
        async with self._asking:
            if self._clock() >= self._until:
                found = await asyncio.gather(*(_asked(name, check) for name, check in self._checks.items()))
                self._found = dict(zip(self._checks, found, strict=True))
                well = not any(self._found.values())
                self._until = self._clock() + (GOOD_SECONDS if well else BAD_SECONDS)
            return self._found


async def _asked(name: str, check: Check) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await check()
    except (StoreUnavailableError, TimeoutError):
        return f"The {name} did not answer"
    except Exception:
        log.exception("check_failed", check=name)
        return f"The {name} could not be asked"


class LogProgress:
    """Whether the log is being kept, told from one look at it after another.

    A head that lags behind for a second is as it should be, and a loop that fails once is tried again. So what is wrong
    counts once it has been so for a while; the first look has nothing to compare with and forgives nothing but that.
    """

    def __init__(self, longest: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Begins.

        Args:
            longest: Seconds for which something may be wrong.
            clock: Seconds.
        """
        self._longest = longest
        self._clock = clock
        self._covered: int | None = None
        self._since: dict[str, float] = {}

    def fault(self, size: int, covered: int, failing: frozenset[str]) -> str | None:
        """What is wrong by now, if anything is.

        Args:
            size: Entries in the log.
            covered: Entries under its last head; 0 before the first.
            failing: Names of the loops whose last round failed.
        """
        behind = covered < size and covered == self._covered
        self._covered = covered
        lasting = self._lasting({f"loop {name}" for name in failing} | ({"head"} if behind else set()))
        for name in sorted(lasting):
            if name == "head":
                return f"The log has {size} entries, and no signed head has followed the one of {covered}"
            return f"The {name} has been failing for more than {self._longest:.0f} s"
        return None

    def _lasting(self, wrong: set[str]) -> set[str]:
        now = self._clock()
        self._since = {name: self._since.get(name, now) for name in wrong}
        return {name for name, since in self._since.items() if now - since >= self._longest}
