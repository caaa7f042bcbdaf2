"""Where an adapter is put to the test: a stand-in, operations to do, and what was seen of them."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from serve_app.client.conformance.adapter import Adapter, Outcome
from serve_app.client.conformance.ledger import TinyLedger
from serve_app.client.conformance.stand_in import TOKEN, Fault, StandIn

LIMIT_SECONDS = 60.0
"""How long an adapter may take for one operation."""


class FailedError(Exception):
    """The adapter does not have the property; says what it did."""


@dataclass
class Report:
    """What one operation came to.

    Attributes:
        outcome: What the adapter said.
        read_after: For each time that the data was read, how many charges the ledger had for the job by then.
    """

    outcome: Outcome
    read_after: list[int] = field(default_factory=list)


class World:
    """A stand-in, and the adapter that speaks to it."""

    def __init__(self, name: str, adapter: Adapter, stand_in: StandIn, folder: Path) -> None:
        self.stand_in = stand_in
        self._name, self._adapter, self._folder = name, adapter, folder

    @property
    def ledger(self) -> TinyLedger:
        """What was charged."""
        return self.stand_in.ledger

    def request(self, epsilon: str = "0.1", delta: str = "0") -> dict[str, str]:
        """An operation that nobody has done yet."""
        name = uuid.uuid4().hex
        folder = self._folder / name
        folder.mkdir()
        job = {"job_id": f"job-{name}", "operation": f"operation-{name}", "folder": str(folder)}
        return job | {"epsilon": epsilon, "delta": delta}

    def do(self, request: Mapping[str, str]) -> Report:
        """Lets the adapter do it.

        Raises:
            FailedError: If it raises, does not return, or returns something else than an outcome.
        """
        reads: list[int] = []
        found: list[object] = []

        def read_data() -> None:
            reads.append(len(self.ledger.charges(request["job_id"])))

        def work() -> None:
            try:
                found.append(self._adapter(self.stand_in.base_url, TOKEN, request, read_data))
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(LIMIT_SECONDS)
        if not found:
            raise FailedError(f"it did not return within {LIMIT_SECONDS:.0f} seconds")
        outcome = found[0]
        if isinstance(outcome, Exception):
            raise FailedError(f"it raised {type(outcome).__name__}: {outcome}")
        try:
            return Report(Outcome(str(outcome)), reads)
        except ValueError:
            raise FailedError(f"it returned {outcome!r}, which is not an Outcome") from None

    @contextmanager
    def process(self, request: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
        """The adapter at work on it in a process of its own."""
        arguments = [sys.executable, "-m", "serve_app.client.conformance.child", self._name, self.stand_in.base_url]
        child = subprocess.Popen(
            [*arguments, TOKEN, json.dumps(dict(request))],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
        )
        try:
            yield child
        finally:
            child.kill()
            child.communicate()


@contextmanager
def world(
    name: str, adapter: Adapter, *faults: Fault, always: Fault = Fault.NONE, epsilon: str = "10"
) -> Iterator[World]:
    """A world in which those faults befall the first requests, and the last argument's all others."""
    with (
        tempfile.TemporaryDirectory() as folder,
        StandIn(TinyLedger(epsilon), faults, always=always) as stand_in,
    ):
        yield World(name, adapter, stand_in, Path(folder))
