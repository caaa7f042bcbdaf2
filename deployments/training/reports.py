"""How a task's process speaks with the service: over HTTP alone, so that it can run anywhere.

What it must not go on without (that reading begins, that further steps are taken) is sent until it is answered.
"""

import random
import time
from collections.abc import Mapping
from typing import Any

import httpx
import structlog

log = structlog.get_logger()

PREFIX = "/api/v1/privacy/training/jobs"
PATIENCE_SECONDS = 900.0
"""After which a service that does not answer is given up. A head that is lost is back sooner."""
LONGEST_PAUSE_SECONDS = 5.0
BLOCK_SECONDS = 2.0
"""How much work is announced at once: what a start that is killed may be charged too much."""


class GivenUpError(Exception):
    """The service does not want this start to go on: it was cancelled, or another has taken its place."""


class Reporter:
    """Reports on one start of one task."""

    def __init__(self, base_url: str, token: str, tenant_id: str, task_id: str, attempt: int) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=30)
        self._path = f"{PREFIX}/{task_id}"
        self._tenant = tenant_id
        self.attempt = attempt

    def document(self) -> str:
        """The task's document."""
        answer: dict[str, Any] = self._send("GET", f"{self._path}/document")
        text: str = answer["document"]
        return text

    def started(self) -> None:
        """A start that no dispatcher has ordered announces itself."""
        self._send("POST", f"{self._path}/reports", {"kind": "started", "attempt": self.attempt})

    def reading(self, facts: Mapping[str, str | int]) -> None:
        """Nothing may be read before this has returned."""
        self._report("reading", facts=dict(facts))

    def progress(self, done: int, through: int, seconds_left: float | None) -> bool:
        """No step after `done` may be taken before this has returned.

        Returns:
            Whether somebody wants the task to stop.
        """
        state = self._report("progress", done=done, through=through, seconds_left=seconds_left)
        return bool(state["cancelled"])

    def end(self, ending: str, *, done: int, message: str | None = None, files: tuple[str, ...] = ()) -> None:
        """This start's last word."""
        self._report("end", ending=ending, done=done, message=message, files=list(files))

    def close(self) -> None:
        """Closes the connection."""
        self._http.close()

    def _report(self, kind: str, **facts: object) -> dict[str, Any]:
        given = {name: value for name, value in facts.items() if value is not None}
        return self._send("POST", f"{self._path}/reports", {"kind": kind, "attempt": self.attempt, **given})

    def _send(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        pause = 0.2
        while True:
            trouble: str
            try:
                response = self._http.request(method, path, json=body, params={"tenant_id": self._tenant})
            except httpx.TransportError as error:
                trouble = repr(error)
            else:
                answered = "json" in response.headers.get("content-type", "")
                if response.is_success and answered:
                    answer: dict[str, Any] = response.json()
                    return answer
                if answered and response.status_code < 500:
                    raise GivenUpError(str(response.json().get("detail", response.status_code)))
                trouble = f"status {response.status_code}"
            if time.monotonic() > deadline:
                raise GivenUpError(f"the service has not answered for {PATIENCE_SECONDS:.0f} s: {trouble}")
            log.warning("service_silent", trouble=trouble, retry_in=pause)
            time.sleep(pause * random.uniform(0.5, 1))
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


class Pacer:
    """Announces steps before they are taken, in blocks that take about two seconds."""

    def __init__(self, reporter: Reporter, steps: int, done: int = 0) -> None:
        """Announces the first block.

        Args:
            reporter: Of the start.
            steps: How many there are in all.
            done: How many a checkpoint has.
        """
        self._reporter = reporter
        self._steps = steps
        self._since = time.monotonic()
        self._block = 1
        self._told = done
        self.done = done
        self.stopped = False
        self._through = done
        self._announce()

    def after_step(self, done: int) -> bool:
        """To be called after each step, with the number of steps done.

        Returns:
            Whether to stop.
        """
        self.done = done
        if done >= self._through and done < self._steps:
            self._announce()
        return self.stopped

    def _announce(self) -> None:
        seconds_left = None
        if self.done > self._told:
            each = max(time.monotonic() - self._since, 1e-9) / (self.done - self._told)
            seconds_left = round((self._steps - self.done) * each, 1)
            self._block = max(1, min(self._block * 4, round(BLOCK_SECONDS / each)))
        self._through = min(self.done + self._block, self._steps)
        self.stopped = self._reporter.progress(self.done, self._through, seconds_left)
        # What the announcement took is not what steps take.
        self._told, self._since = self.done, time.monotonic()
