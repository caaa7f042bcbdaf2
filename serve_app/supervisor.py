"""What ``privacy-engine up`` does while it waits: it brings back what died and nobody else starts again.

Serve brings back replicas, its controller and the load balancer. Nobody brings back the embedded Postgres, and nobody
Ray's head. The service loses nothing by their death, since what it acknowledged is in the ledger; it stands still until
they are back.
"""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

PERIOD_SECONDS = 1.0
RESTARTS = 5
"""How often a part is started again within `WINDOW_SECONDS` before it is given up."""
WINDOW_SECONDS = 600.0
FIRST_PAUSE_SECONDS = 2.0

_STAMP = structlog.processors.TimeStamper(fmt="iso", utc=True)

Say = Callable[[str], None]


class GaveUpError(RuntimeError):
    """A part died again and again. Somebody has to look why."""


class Part(Protocol):
    """Something that can die and be started again."""

    name: str

    def fault(self) -> str | None:
        """What is wrong, in words that follow its name; None if it runs or is starting."""
        ...

    def is_starting(self) -> bool:
        """Whether it was started and is not ready yet."""
        ...

    def restart(self) -> None:
        """Starts it again, or begins to. Raises `RuntimeError` or `OSError` if it cannot."""
        ...


def pause_before_restart(restarts: Sequence[float], now: float) -> float | None:
    """How long to wait before a part is started again.

    Args:
        restarts: When it was started again so far, in seconds.
        now: The time, in seconds.

    Returns:
        Seconds, nothing the first time and twice as long each time; None where it died too often of late.
    """
    recent = sum(1 for at in restarts if now - at < WINDOW_SECONDS)
    if recent >= RESTARTS:
        return None
    return 0.0 if recent == 0 else float(FIRST_PAUSE_SECONDS * 2 ** (recent - 1))


@dataclass
class _Watched:
    """A part and what has become of it.

    Attributes:
        part: The part.
        restarts: When it was started again.
        down_since: When it was first found dead, until it runs again.
        due: When it is to be started again, if it is.
    """

    part: Part
    restarts: list[float] = field(default_factory=list)
    down_since: float | None = None
    due: float | None = None


class Supervisor:
    """Watches parts, each for itself, and starts again what died."""

    def __init__(self, parts: Sequence[Part], say: Say, log_file: Path) -> None:
        """Does not begin yet.

        Args:
            parts: In the order in which they depend on each other.
            say: Takes a line for each thing that happens, for people.
            log_file: Takes the same as JSON lines.
        """
        self._watched = [_Watched(part) for part in parts]
        self._say = say
        self._log_file = log_file

    def watch_until_told(self) -> None:
        """Watches until the process is asked to end (SIGINT or SIGTERM).

        Raises:
            GaveUpError: If a part died too often.
        """
        asked = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: asked.set())
        while not asked.wait(PERIOD_SECONDS):
            self.look()

    def look(self) -> None:
        """Looks at each part once, and does what has to be done now. Errors as for `watch_until_told`."""
        for watched in self._watched:
            self._tend(watched)

    def _tend(self, watched: _Watched) -> None:
        part, now = watched.part, time.monotonic()
        fault = part.fault()
        if fault is None:
            if watched.down_since is not None and not part.is_starting():
                self._tell(part, f"runs again after {now - watched.down_since:.1f} s")
                watched.down_since = None
            return
        if watched.due is None:
            pause = pause_before_restart(watched.restarts, now)
            if pause is None:
                self._tell(part, f"{fault}; given up, after {RESTARTS} starts in {WINDOW_SECONDS / 60:.0f} minutes")
                raise GaveUpError(f"{part.name}: {fault}, for the {RESTARTS + 1}th time in a short while")
            self._tell(part, f"{fault}; it is started again" + (f" in {pause:.0f} s" if pause else ""))
            watched.due = now + pause
            watched.down_since = watched.down_since or now
        if now >= watched.due:
            watched.due = None
            watched.restarts.append(now)
            try:
                part.restart()
            except (RuntimeError, OSError) as error:
                self._tell(part, f"could not be started: {error}")

    def _tell(self, part: Part, event: str) -> None:
        self._say(f"{part.name}: {event}")
        with self._log_file.open("a") as file:
            log = structlog.wrap_logger(structlog.WriteLogger(file), [_STAMP, structlog.processors.JSONRenderer()])
            log.warning(event, part=part.name)
