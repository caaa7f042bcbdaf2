"""Database time as a process knows it: what the database's clock showed last, and what has passed here since."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from accounting.ledger.store import StoreUnavailableError


class DatabaseClock:
    """Follows the database's clock, which may be set forward and back."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._shown: datetime | None = None
        self._sent = self._received = 0.0

    @property
    def is_known(self) -> bool:
        """Whether the clock has been read at all."""
        return self._shown is not None

    def sending(self) -> float:
        """To be asked when a statement is sent that will read the clock; `showed` wants it back."""
        return self._monotonic()

    def showed(self, shown: datetime, sent: float) -> None:
        """A result arrived with the clock in it.

        Results do not arrive in the order in which they were made. What an earlier statement read must not set the
        clock back: for as long as its result was on the way, holds would be voided after their time.
        """
        if self._shown is None or sent >= self._sent:
            self._shown, self._sent, self._received = shown.astimezone(UTC), sent, self._monotonic()

    def now(self) -> datetime:
        """Database time in UTC; late by the time that the last result took to arrive.

        Raises:
            StoreUnavailableError: If the clock has never been read.
        """
        if self._shown is None:
            raise StoreUnavailableError("the database's clock has not been read yet")
        return self._shown + timedelta(seconds=self._monotonic() - self._received)
