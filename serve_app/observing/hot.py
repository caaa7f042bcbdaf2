"""What the hot path tells of itself: how long it took, and a line for what was refused, failed or was slow.

A tenant whose budget is gone may be refused thousands of times a second, so only some of these lines are written; the
next one says how many were left out.
"""

import time

import structlog

from serve_app.observing import catalogue
from serve_app.observing.tallies import Tallies

log = structlog.get_logger()

SLOW_SECONDS = 1.0
LINES_A_SECOND = 20


class HotWatch:
    """Counts and tells."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._seconds = tallies.spread(catalogue.ALLOCATE_SECONDS)
        self._second = 0
        self._lines = 0
        self._left_out = 0

    def answered(self, seconds: float) -> None:
        """An answer was sent, after that long."""
        self._seconds.saw(seconds)
        if seconds > SLOW_SECONDS:
            self._line("slow", seconds, "answered")

    def refused(self, seconds: float, code: str, reason: str | None = None) -> None:
        """A problem was sent.

        Args:
            seconds: After that long.
            code: The problem's.
            reason: Why there was no decision, where there was none: a label of `catalogue.UNANSWERED`.
        """
        self._seconds.saw(seconds)
        if reason is not None:
            self._tallies.count(catalogue.UNANSWERED, reason).value += 1
        self._line("refused", seconds, code)

    def _line(self, event: str, seconds: float, code: str) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > LINES_A_SECOND:
            self._left_out += 1
            return
        log.info(event, route="allocate", code=code, ms=round(seconds * 1000, 1), left_out=self._left_out)
        self._left_out = 0
