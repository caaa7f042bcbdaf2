"""When the service is ready: what is asked, how often, and how long something may be wrong."""

import asyncio

import pytest

from accounting.ledger.store import StoreUnavailableError
from accounting.storage.version import needed_version, version_fault
from serve_app import readiness as readiness_module
from serve_app.readiness import BAD_SECONDS, GOOD_SECONDS, LogProgress, Readiness

FEW = frozenset[str]()


class Clock:
    """A clock that stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Check:
    """A check that says what it is told to, and counts how often it was asked."""

    def __init__(self, fault: str | Exception | None = None) -> None:
        self.fault = fault
        self.asked = 0

    async def __call__(self) -> str | None:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault


async def test_many_probes_ask_once() -> None:
    """Those at the same time share one look, and those within a second its result."""
    check, clock = Check(), Clock()
    readiness = Readiness({"a": check}, clock)
    assert await asyncio.gather(*(readiness.faults() for _ in range(50))) == [{"a": None}] * 50
    clock.now += GOOD_SECONDS * 0.9
    await readiness.faults()
    assert check.asked == 1
    clock.now += GOOD_SECONDS * 0.2
    await readiness.faults()
    assert check.asked == 2


async def test_what_is_wrong_is_asked_again_sooner() -> None:
    """Whoever waits for the service is not told an old fault for a second."""
    check, clock = Check("It is broken"), Clock()
    readiness = Readiness({"a": check}, clock)
    assert await readiness.faults() == {"a": "It is broken"}
    check.fault = None
    clock.now += BAD_SECONDS
    assert await readiness.faults() == {"a": None}


@pytest.mark.parametrize(
    ("error", "told"),
    [(StoreUnavailableError("postgres://secret"), "The a did not answer"), (KeyError("x"), "The a could not be asked")],
)
async def test_a_check_that_fails_is_a_fault_of_its_own(error: Exception, told: str) -> None:
    """Others are asked all the same, and nobody is told what the driver said."""
    found = await Readiness({"a": Check(error), "b": Check()}).faults()
    assert found == {"a": told, "b": None}


async def test_a_check_that_hangs_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its patience the others' results are told."""
    monkeypatch.setattr(readiness_module, "PATIENCE_SECONDS", 0)

    async def hangs() -> str | None:
        await asyncio.Event().wait()
        return None

    assert await Readiness({"a": hangs}).faults() == {"a": "The a did not answer"}


def test_a_log_without_entries_needs_no_head() -> None:
    """A fresh service is ready, however long it has been fresh."""
    clock = Clock()
    progress = LogProgress(30, clock)
    for _ in range(100):
        assert progress.fault(0, 0, FEW) is None
        clock.now += 1


def test_a_head_that_follows_may_lag() -> None:
    """Under load the log is always a little longer than its head; what counts is that the head moves."""
    clock = Clock()
    progress = LogProgress(30, clock)
    for second in range(100):
        assert progress.fault(1_000 * (second + 1), 1_000 * second, FEW) is None
        clock.now += 1


def test_a_head_that_stands_still_beside_a_log_that_grew_is_a_fault_after_a_while() -> None:
    """Told with both sizes; well again with the next head."""
    clock = Clock()
    progress = LogProgress(30, clock)
    assert progress.fault(11, 10, FEW) is None
    assert progress.fault(11, 10, FEW) is None
    clock.now += 29
    assert progress.fault(12, 10, FEW) is None
    clock.now += 2
    assert progress.fault(12, 10, FEW) == "The log has 12 entries, and no signed head has followed the one of 10"
    assert progress.fault(12, 12, FEW) is None


def test_a_loop_that_fails_for_long_is_a_fault_and_one_that_recovers_is_none() -> None:
    """Half a minute without a good round; a good one begins anew."""
    clock = Clock()
    progress = LogProgress(30, clock)
    assert progress.fault(1, 1, frozenset({"sequencer"})) is None
    clock.now += 20
    assert progress.fault(1, 1, FEW) is None
    assert progress.fault(1, 1, frozenset({"sequencer"})) is None
    clock.now += 20
    assert progress.fault(1, 1, frozenset({"sequencer"})) is None
    clock.now += 20
    assert progress.fault(1, 1, frozenset({"sequencer"})) == "The loop sequencer has been failing for more than 30 s"


def test_an_older_schema_is_a_fault_and_a_newer_one_is_none() -> None:
    """A release that finds its migrations done is well, also when a later release has done more."""
    assert version_fault(needed_version()) is None
    assert version_fault("99990101000000") is None
    assert version_fault("20200101000000") == (
        f"The schema has version 20200101000000 and this release needs {needed_version()}"
    )
    assert version_fault(None) is not None
