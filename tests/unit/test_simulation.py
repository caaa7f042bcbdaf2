"""Owners, store, log and clients, with everything that can go wrong around them, in one process and in virtual time.

`make simulate` does the same at length: docs/decisions/0015-simulation.md.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from accounting.admission import Outcome
from tests.simulation.broken import BROKEN
from tests.simulation.plan import Fault
from tests.simulation.requests import Failure
from tests.simulation.world import Result, simulate

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 40
OPERATIONS = 250
NOTICED_BY_THE_OWNER = {"parts": "LookupError"}
"""What the owner refuses to decide on, before anything wrong could be written: a data set that was not read."""
NEVER_ASKED_FOR = {Outcome.UNPRICED}
"""Every event on the simulation's menu has a price."""
NEVER_ANSWERED = {Failure.SILENCE, Failure.UNREACHABLE, Failure.HUNG_UP}
"""What a client learns from nobody."""


@pytest.fixture(scope="module")
def runs() -> list[Result]:
    """Runs of the service as it is."""
    return [simulate(seed, OPERATIONS) for seed in range(SEEDS)]


def test_no_invariant_is_violated(runs: list[Result]) -> None:
    """Whatever goes wrong, every entry, memory and answer is right after each step; else a seed says how to see it."""
    assert [(run.seed, run.violation) for run in runs if run.violation] == []
    assert all(run.operations >= OPERATIONS for run in runs)


def test_every_fault_strikes_and_every_answer_is_given(runs: list[Result]) -> None:
    """A simulation in which nothing goes wrong, or in which all are refused, would show nothing."""
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for run in runs:
        faults.update(run.faults)
        outcomes.update(run.outcomes)
    assert set(faults) == set(Fault)
    expected = (set(Outcome) - NEVER_ASKED_FOR) | (set(Failure) - NEVER_ANSWERED) | {"balance"}
    assert set(outcomes) == {str(outcome) for outcome in expected}


def test_a_seed_replays_to_the_last_step(runs: list[Result]) -> None:
    """The same again, and in a process with other hashes of strings, so another order of every set."""
    for run in runs[:4]:
        assert simulate(run.seed, OPERATIONS) == run
    script = f"from tests.simulation.world import simulate\nprint(simulate(3, {OPERATIONS}).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "123", "PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == runs[3].digest
    assert runs[3].digest != runs[2].digest


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_service_is_caught_within_a_hundred_seeds(broken: str) -> None:
    """The fence first of all: where an invariant is broken on purpose, the simulation says so, or the owner itself."""
    service = BROKEN[broken]
    caught = (simulate(seed, OPERATIONS, service.store, service.owner).violation for seed in range(100))
    expected = NOTICED_BY_THE_OWNER.get(broken, "ViolationError")
    assert any(violation is not None and violation.startswith(expected) for violation in caught)
