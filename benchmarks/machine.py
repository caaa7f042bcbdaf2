"""What a benchmark ran on, in one line, because figures without it mean nothing."""

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_CPU_MODEL = re.compile(r"^model name\s*:\s*(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine, and what it ran.

    Attributes:
        cores: Processor cores that this process may use.
        memory_bytes: Physical memory.
        cpu: The processor's model.
        date: The day of the run, as YYYY-MM-DD in UTC.
        python: The version of Python.
        postgres: The version of Postgres that both services wrote to; None where there was none.
    """

    cores: int
    memory_bytes: int
    cpu: str
    date: str
    python: str
    postgres: str | None

    def line(self) -> str:
        """Return the machine as one line of text."""
        software = f"Python {self.python}" + ("" if self.postgres is None else f", PostgreSQL {self.postgres}")
        return f"{self.cores} cores, {self.memory_bytes / 2**30:.0f} GiB, {self.cpu}, {software}, {self.date}"


def parse_cpu_model(cpuinfo: str) -> str | None:
    """Return the model of the first processor in the text of `/proc/cpuinfo`, where it names one."""
    match = _CPU_MODEL.search(cpuinfo)
    return match[1] if match else None


def this_machine(postgres: str | None = None) -> Machine:
    """Describe the machine that this process runs on.

    Args:
        postgres: The version of Postgres, which only its server knows; None where none took part.

    Returns:
        The description.
    """
    cpuinfo = Path("/proc/cpuinfo")
    model = parse_cpu_model(cpuinfo.read_text(encoding="utf-8")) if cpuinfo.exists() else None
    return Machine(
        cores=_usable_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cpu=model or platform.processor() or platform.machine(),
        date=datetime.now(UTC).date().isoformat(),
        python=platform.python_version(),
        postgres=postgres,
    )


def _usable_cores() -> int:
    """Return the cores that the scheduler gives this process; macOS only tells how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
