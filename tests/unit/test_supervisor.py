"""What the supervisor does when a part dies, on parts that are real processes."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from serve_app import supervisor
from serve_app.supervisor import (
    FIRST_PAUSE_SECONDS,
    RESTARTS,
    WINDOW_SECONDS,
    GaveUpError,
    Supervisor,
    pause_before_restart,
)


class Sleeper:
    """A part: a process that does nothing, until it is killed."""

    name = "Sleeper"

    def __init__(self, seconds: float = 600.0) -> None:
        self.seconds = seconds
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None

    def fault(self) -> str | None:
        """Whether it is gone."""
        return None if self.process is not None and self.process.poll() is None else "its process is gone"

    def is_starting(self) -> bool:
        """It is ready at once."""
        return False

    def restart(self) -> None:
        """Starts it."""
        self.starts += 1
        self.process = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({self.seconds})"])

    def kill(self) -> None:
        """Kills it, and waits until it is dead."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


class Broken(Sleeper):
    """A part that cannot be started."""

    def restart(self) -> None:
        """Fails."""
        self.starts += 1
        raise OSError("no such program")


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    """A part that runs."""
    part = Sleeper()
    part.restart()
    yield part
    part.kill()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts follow each other at once, so that nobody waits."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.0)


def look_until(watching: Supervisor, happened: Callable[[], bool]) -> None:
    """Looks again and again, as the supervisor does by itself, until something has happened."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        watching.look()


def test_a_part_that_runs_is_left_alone(sleeper: Sleeper, tmp_path: Path) -> None:
    """Looking changes nothing and says nothing."""
    said: list[str] = []
    watching = Supervisor([sleeper], said.append, tmp_path / "log")
    process = sleeper.process
    for _ in range(10):
        watching.look()
    assert sleeper.process is process
    assert said == []
    assert not (tmp_path / "log").exists()


def test_a_part_that_died_is_started_again_and_both_are_told(sleeper: Sleeper, tmp_path: Path) -> None:
    """A line for people and a line for machines, when it is found dead and when it runs again."""
    said: list[str] = []
    watching = Supervisor([sleeper], said.append, tmp_path / "log")
    sleeper.kill()
    look_until(watching, lambda: len(said) == 2)
    assert sleeper.fault() is None
    assert said[0] == "Sleeper: its process is gone; it is started again"
    assert said[1].startswith("Sleeper: runs again after ")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [f"{line['part']}: {line['event']}" for line in lines] == said
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_one_part_is_not_kept_waiting_by_another(
    sleeper: Sleeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the pause before one part's next start lasts, the others are looked after."""
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 3_600.0)
    other = Sleeper()
    other.restart()
    try:
        watching = Supervisor([sleeper, other], lambda _: None, tmp_path / "log")
        sleeper.kill()
        look_until(watching, lambda: sleeper.starts == 2)
        # The second time it has to wait.
        sleeper.kill()
        watching.look()
        other.kill()
        look_until(watching, lambda: other.starts == 2)
        assert sleeper.starts == 2
    finally:
        other.kill()


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("part", [Sleeper(seconds=0), Broken()])
def test_a_part_that_dies_again_and_again_is_given_up(part: Sleeper, tmp_path: Path) -> None:
    """The supervisor ends with the reason, after a number of starts and not after endless ones."""
    said: list[str] = []
    watching = Supervisor([part], said.append, tmp_path / "log")
    with pytest.raises(GaveUpError, match="Sleeper: its process is gone"):
        look_until(watching, lambda: False)
    assert part.starts == RESTARTS
    assert "given up" in said[-1]


def test_a_part_that_cannot_be_started_is_told_with_the_reason(tmp_path: Path) -> None:
    """What the operating system said is on the console."""
    said: list[str] = []
    Supervisor([Broken()], said.append, tmp_path / "log").look()
    assert said[-1] == "Sleeper: could not be started: no such program"


def test_pauses_double_and_old_restarts_are_forgotten() -> None:
    """Nothing before the first start, then twice as long each time; only starts of late count."""
    restarts: list[float] = []
    pauses = []
    while (pause := pause_before_restart(restarts, now=100.0)) is not None:
        pauses.append(pause)
        restarts.append(100.0)
    assert len(pauses) == RESTARTS
    assert pauses[:2] == [0.0, FIRST_PAUSE_SECONDS]
    assert all(later == 2 * earlier for earlier, later in pairwise(pauses[1:]))
    assert pause_before_restart(restarts, now=100.0 + WINDOW_SECONDS - 1) is None
    assert pause_before_restart(restarts, now=100.0 + WINDOW_SECONDS) == 0.0
