"""Database time is never older than what a later statement has read."""

from datetime import UTC, datetime, timedelta

import pytest

from accounting.ledger.clock import DatabaseClock
from accounting.ledger.store import StoreUnavailableError

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Here:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_time_goes_on_from_what_was_read_last() -> None:
    """Between two readings the process's own clock counts; a database clock that was set is followed either way."""
    here = Here()
    clock = DatabaseClock(here)
    with pytest.raises(StoreUnavailableError):
        clock.now()
    clock.showed(NOON, clock.sending())
    here.seconds += 1.5
    assert clock.now() == NOON + timedelta(seconds=1.5)
    for step in (timedelta(days=1), timedelta(seconds=-5)):
        clock.showed(NOON + step, clock.sending())
        assert clock.now() == NOON + step


def test_a_result_that_was_overtaken_does_not_set_the_clock_back() -> None:
    """The older statement's result arrives last, with a time at which a hold was not due yet: it is not believed."""
    here = Here()
    clock = DatabaseClock(here)
    slow = clock.sending()
    here.seconds += 1
    fast = clock.sending()
    clock.showed(NOON + timedelta(seconds=1), fast)
    here.seconds += 1
    clock.showed(NOON, slow)
    assert clock.now() == NOON + timedelta(seconds=2)
