"""What happened in a run, in order: hashed, counted, and the last steps kept for whoever has to find a fault."""

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum

from accounting.admission import Verdict
from tests.simulation.plan import Fault

LAST = 120
"""Steps kept."""


class Trace:
    """The steps of one run."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._hash = hashlib.sha256()
        self.last: deque[str] = deque(maxlen=LAST)
        self.faults: Counter[Fault] = Counter()
        self.outcomes: Counter[str] = Counter()

    def note(self, step: str) -> None:
        """Adds a step."""
        line = f"{self._now():.6f} {step}\n"
        self._hash.update(line.encode())
        self.last.append(line)

    def fault(self, fault: Fault, whom: str) -> None:
        """Adds a fault."""
        self.faults[fault] += 1
        self.note(f"FAULT {fault}: {whom}")

    def answer(self, what: str, answer: object) -> None:
        """Adds an answer that an owner gave."""
        told = answer.outcome if isinstance(answer, Verdict) else answer
        name = str(told) if isinstance(told, StrEnum) else "balance"
        self.outcomes[name] += 1
        self.note(f"{what}: {name}")

    def digest(self) -> str:
        """The hash of all steps so far: equal runs have equal digests."""
        return self._hash.hexdigest()
