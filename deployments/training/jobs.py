"""What starts a task's process: Ray's jobs, or plain processes where there is no Ray. Both keep the same promises."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from deployments.training.next_step import JobStatus

ENTRYPOINT = (sys.executable, "-m", "deployments.training.work")
STOP_SECONDS = 3.0
"""After which a process that was asked to end is ended by force."""
LAST_WORDS = 500
"""Characters of a dead job's log that are told."""
TOKEN_VARIABLE = "AUMOS_PRIVACY_TASK_TOKEN"
"""Under which a job finds the token that it reports with: not on its command line, which everybody can read."""

MODULES_VARIABLE = "AUMOS_PRIVACY_MODULES"
"""Under which it finds the import paths of modules that may be trained, separated by commas."""


class Jobs(Protocol):
    """Starts processes by name, and knows whether they live."""

    def submit(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts a process, unless one of that name was started before. Blocking, as all of this.

        Args:
            name: Unique for ever.
            arguments: For the entrypoint.
            environment: Variables to add.
        """
        ...

    def status(self, name: str) -> JobStatus:
        """Whether it lives."""
        ...

    def stop(self, name: str) -> None:
        """Ends it; first by asking."""
        ...

    def last_words(self, name: str) -> str:
        """The end of its log, if there is any."""
        ...

    def close(self) -> None:
        """Ends what cannot live without this process."""
        ...


class ProcessJobs:
    """Children of this process: for tests, and where the service runs without Ray."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def submit(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """See `Jobs.submit`."""
        if name in self._children:
            return
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._logs / f"{name}.log").open("wb") as log:
            self._children[name] = subprocess.Popen(
                [*ENTRYPOINT, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def status(self, name: str) -> JobStatus:
        """See `Jobs.status`."""
        child = self._children.get(name)
        return JobStatus.ALIVE if child is not None and child.poll() is None else JobStatus.GONE

    def stop(self, name: str) -> None:
        """See `Jobs.stop`."""
        child = self._children.get(name)
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def last_words(self, name: str) -> str:
        """See `Jobs.last_words`."""
        log = self._logs / f"{name}.log"
        return log.read_text(errors="replace")[-LAST_WORDS:].strip() if log.exists() else ""

    def close(self) -> None:
        """Ends all that still live."""
        for name in list(self._children):
            self.stop(name)
