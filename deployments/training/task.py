"""Work that a hold pays for, from the hold to its settlement: what may be reported of it, and what follows.

A task has the id of its hold. What becomes of it is a chain of states, each a function of the one before and a report;
stored append-only, so that whoever dies leaves the next one what it needs. The rules:

1. Before the first record is read, `Reading` is durable. So where it is not, nothing was read, and the hold is voided.
2. Before noisy steps are taken, their number is durable (`Progress.through`). So whatever a start that was killed has
   done, it has not done more than that; a task that does not come to its end is charged for so many.
3. A start that was given up cannot report any more: its attempt is not the present one.
4. Once it is decided how the task ends, nothing but the settlement of its hold follows.

What a lost start computed after its last checkpoint was seen by nobody, so the steps that are repeated are the ones
that were charged, not new ones.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

MAX_ATTEMPTS = 5
"""How often a task is started before it is given up."""
MAX_MESSAGE = 2_000
MAX_FILES = 20


class Ending(StrEnum):
    """How a task comes to its end."""

    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Settlement(StrEnum):
    """How its hold does."""

    COMMITTED = "committed"
    VOIDED = "voided"
    EXPIRED_SPENT = "expired_spent"


class RefusedReportError(Exception):
    """A report that does not follow from the present state. Its words are for whoever sent it."""


@dataclass(frozen=True, slots=True)
class TaskState:
    """Where a task stands.

    Attributes:
        attempt: The present start, from 1; 0 before the first.
        reading: Whether records may have been read.
        begun: Noisy steps that earlier starts may have taken.
        done: Noisy steps that the result would have, as last told.
        through: Noisy steps that may have been taken at most, by any start.
        cancelled: Whether somebody asked to stop it.
        ending: How it ends, once that is decided.
        message: What there is to say about that, for people.
        files: Names of what it made.
        settlement: How its hold ended, once it has.
        seconds_left: What the last report estimated.
        epsilon: What was lost at most by the steps that may have been taken, as a decimal's text.
        facts: What the job told about itself: device, method, workers. Nothing private.
    """

    attempt: int = 0
    reading: bool = False
    begun: int = 0
    done: int = 0
    through: int = 0
    cancelled: bool = False
    ending: Ending | None = None
    message: str | None = None
    files: tuple[str, ...] = ()
    settlement: Settlement | None = None
    seconds_left: float | None = None
    epsilon: str | None = None
    facts: Mapping[str, str | int] | None = None

    @property
    def phase(self) -> str:
        """One word for people."""
        if self.ending is not None:
            return self.ending if self.settlement is not None else "settling"
        if self.cancelled:
            return "cancelling"
        if self.attempt == 0:
            return "waiting"
        return "running" if self.reading else "starting"


@dataclass(frozen=True, slots=True)
class Started:
    """A start was ordered."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Reading:
    """The first record is about to be read."""

    attempt: int
    facts: Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Progress:
    """So many steps are done, and so many will be before the next report."""

    attempt: int
    done: int
    through: int
    seconds_left: float | None = None
    epsilon: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody wants it stopped."""


@dataclass(frozen=True, slots=True)
class End:
    """It comes to its end.

    Attributes:
        attempt: The start that says so; None where the service says it of a start that died.
        ending: How.
        done: Steps that were done, where the start itself says so.
        message: For people.
        files: Names of what it made.
    """

    attempt: int | None
    ending: Ending
    done: int | None = None
    message: str | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """Its hold has ended."""

    settlement: Settlement


Report = Started | Reading | Progress | Cancel | End | Settled


def after(state: TaskState, report: Report, steps: int) -> TaskState:
    """The state after a report.

    Args:
        state: The present one.
        report: What happened.
        steps: Noisy steps that are held.

    Raises:
        RefusedReportError: If it does not follow.
    """
    if isinstance(report, Settled):
        if state.ending is None or state.settlement is not None:
            raise RefusedReportError("The task's hold is not to be settled now.")
        return replace(state, settlement=report.settlement)
    if state.ending is not None:
        raise RefusedReportError(f"The task has ended: {state.ending}.")
    if isinstance(report, Cancel):
        return replace(state, cancelled=True)
    if isinstance(report, Started):
        if report.attempt != state.attempt + 1 or report.attempt > MAX_ATTEMPTS:
            raise RefusedReportError(f"The task's next start is number {state.attempt + 1}, of at most {MAX_ATTEMPTS}.")
        return replace(state, attempt=report.attempt, begun=state.through, seconds_left=None)
    if report.attempt is not None and report.attempt != state.attempt:
        raise RefusedReportError(f"Start {report.attempt} was given up; the present one is {state.attempt}.")
    if isinstance(report, Reading):
        if state.cancelled:
            raise RefusedReportError("The task was cancelled: nothing may be read.")
        return replace(state, reading=True, facts=dict(report.facts))
    if isinstance(report, Progress):
        if not state.reading:
            raise RefusedReportError("There can be no step before 'reading' was reported.")
        if not 0 <= report.done <= report.through <= steps:
            raise RefusedReportError(f"Steps must be 0 <= done <= through <= {steps}, the steps that are held.")
        through = max(state.through, report.through)
        epsilon = report.epsilon if report.epsilon is not None else state.epsilon
        return replace(state, done=report.done, through=through, seconds_left=report.seconds_left, epsilon=epsilon)
    return _ended(state, report, steps)


def _ended(state: TaskState, report: End, steps: int) -> TaskState:
    if report.ending is Ending.CANCELLED and not state.cancelled:
        raise RefusedReportError("Nobody cancelled the task.")
    done, through = state.done, state.through
    if report.done is not None:
        if not 0 <= report.done <= state.through:
            raise RefusedReportError("More steps than were announced cannot have been done.")
        # It knows exactly what it did; of earlier starts only the bound is known.
        done, through = report.done, max(state.begun, report.done)
    if report.ending is Ending.FINISHED and (report.attempt is None or done != steps):
        raise RefusedReportError(f"It is finished after {steps} steps, not {done}.")
    message = None if report.message is None else report.message[:MAX_MESSAGE]
    if len(report.files) > MAX_FILES:
        raise RefusedReportError(f"A task makes at most {MAX_FILES} files.")
    return replace(
        state,
        ending=report.ending,
        done=done,
        through=through,
        message=message,
        files=report.files,
        seconds_left=None,
    )


@dataclass(frozen=True, slots=True)
class ToVoid:
    """End the hold: no data was read."""


@dataclass(frozen=True, slots=True)
class ToCommit:
    """End the hold: it is spent.

    Attributes:
        steps: How many steps are charged; None for all.
    """

    steps: int | None


def settlement_of(state: TaskState, steps: int, *, divisible: bool) -> ToVoid | ToCommit:
    """How the hold of a task that has ended is to be settled.

    Args:
        state: With an ending.
        steps: Noisy steps that are held.
        divisible: Whether the hold is for repetitions of one event, so that fewer can be charged.
    """
    if not state.reading:
        return ToVoid()
    if state.ending is Ending.FINISHED or not divisible or state.through >= steps:
        return ToCommit(None)
    return ToCommit(state.through)


def state_to_wire(state: TaskState) -> dict[str, Any]:
    """The state as JSON-ready data; what is not there is left out."""
    wire = {name: value for name, value in asdict(state).items() if value not in (None, ())}
    if state.files:
        wire["files"] = list(state.files)
    return wire


def state_from_wire(wire: Mapping[str, Any]) -> TaskState:
    """The inverse of `state_to_wire`."""
    given = {field.name: wire[field.name] for field in fields(TaskState) if field.name in wire}
    for name, read in (("ending", Ending), ("settlement", Settlement), ("files", tuple)):
        if name in given:
            given[name] = read(given[name])
    return TaskState(**given)
