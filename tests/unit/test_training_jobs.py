"""What starts processes: by name, once, and knows whether they live."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.training import jobs
from deployments.training.jobs import LAST_WORDS, ProcessJobs
from deployments.training.next_step import JobStatus

PATIENCE_SECONDS = 60.0
SLEEPS = "import time; print('asleep', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


def until(done: Callable[[], bool]) -> None:
    """Waits."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessJobs]:
    """Processes whose only argument is a program, in place of the work of a task."""
    monkeypatch.setattr(jobs, "ENTRYPOINT", (sys.executable, "-c"))
    monkeypatch.setattr(jobs, "STOP_SECONDS", 0.5)
    made = ProcessJobs(tmp_path / "logs")
    yield made
    made.close()


def test_a_process_lives_until_it_has_ended(started: ProcessJobs) -> None:
    """However it ends."""
    assert started.status("one") is JobStatus.GONE
    started.submit("one", ["import sys; sys.stdin.read(); sys.exit(3)"], {})
    until(lambda: started.status("one") is JobStatus.GONE)
    started.submit("two", [SLEEPS], {})
    assert started.status("two") is JobStatus.ALIVE
    os.kill(started._children["two"].pid, signal.SIGKILL)
    until(lambda: started.status("two") is JobStatus.GONE)


def test_a_name_is_started_once(started: ProcessJobs, tmp_path: Path) -> None:
    """Also after its process has ended."""
    write = f"open({str(tmp_path / 'count')!r}, 'a').write('x')"
    for _ in range(2):
        started.submit("one", [write], {})
        until(lambda: started.status("one") is JobStatus.GONE)
    assert (tmp_path / "count").read_text() == "x"


def test_a_process_gets_its_variables_and_its_own_log(started: ProcessJobs) -> None:
    """Of which the end is told; of one that never was, nothing."""
    said = f"import os; print('x' * {2 * LAST_WORDS}); print('last', os.environ['A_TOKEN'])"
    started.submit("one", [said], {"A_TOKEN": "secret"})
    until(lambda: started.status("one") is JobStatus.GONE)
    words = started.last_words("one")
    assert words.endswith("last secret")
    assert len(words) <= LAST_WORDS
    assert started.last_words("two") == ""
    assert "A_TOKEN" not in os.environ


@pytest.mark.parametrize("program", [SLEEPS, DEAF], ids=["asked", "by force"])
def test_a_process_is_ended(started: ProcessJobs, program: str) -> None:
    """First by asking; one that does not hear is ended by force. To end it again changes nothing."""
    started.submit("one", [program], {})
    until(lambda: "asleep" in started.last_words("one"))
    for _ in range(2):
        started.stop("one")
        assert started.status("one") is JobStatus.GONE
    started.stop("never started")


def test_no_process_outlives_the_service(started: ProcessJobs) -> None:
    """Where there is no Ray, nobody would look after it."""
    for name in ("one", "two"):
        started.submit(name, [SLEEPS], {})
    started.close()
    assert all(started.status(name) is JobStatus.GONE for name in ("one", "two"))
