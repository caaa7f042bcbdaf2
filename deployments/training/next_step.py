"""What is to be done about a task that nobody may be working on: decided from its state and from what Ray says."""

from dataclasses import dataclass
from enum import StrEnum

from deployments.training.task import MAX_ATTEMPTS, End, Ending, Report, Settled, Settlement, Started, TaskState


class JobStatus(StrEnum):
    """What Ray says of the present start's job."""

    ALIVE = "alive"
    GONE = "gone"
    """It ended, however that was, or Ray knows nothing of it: its head may have been lost since."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Store the report, then submit the start's job. Done again where it was submitted already, it changes nothing."""

    report: Started


@dataclass(frozen=True, slots=True)
class Stop:
    """End the job by force: it was asked to stop and did not."""


@dataclass(frozen=True, slots=True)
class Record:
    """Store the report."""

    report: Report


@dataclass(frozen=True, slots=True)
class Settle:
    """End the hold, then record how it ended."""


Step = Submit | Stop | Record | Settle | None
"""None: nothing is to be done now."""


def next_step(
    state: TaskState,
    job: JobStatus,
    *,
    hold: Settlement | None,
    dispatched: bool,
    quiet_seconds: float,
    patience_seconds: float,
    pause_seconds: float,
    last_words: str = "",
) -> Step:
    """The next step.

    Args:
        state: The task's.
        job: Of the present start.
        hold: How the hold has ended, if it has.
        dispatched: Whether the service starts the task; otherwise its caller does, of whose processes nothing is known.
        quiet_seconds: How long ago the last report came.
        patience_seconds: How long a job that is asked to stop may take.
        pause_seconds: How long after the last report the next start is ordered; twice as long each time.
        last_words: The end of the job's own log, for people.
    """
    if state.settlement is not None:
        return None
    if state.ending is not None:
        return Record(Settled(hold)) if hold is not None else Settle()
    if hold is not None and not (dispatched and job is JobStatus.ALIVE):
        # Its time has passed, so all of it is spent; a job that still runs may finish.
        return Record(End(None, Ending.FAILED, message=f"The hold has ended first: {hold}."))
    if not dispatched:
        return Record(End(None, Ending.CANCELLED)) if state.cancelled and not state.reading else None
    if state.attempt == 0:
        if state.cancelled:
            return Record(End(None, Ending.CANCELLED))
        return Submit(Started(1))
    if job is JobStatus.ALIVE:
        return Stop() if state.cancelled and quiet_seconds > patience_seconds else None
    if state.cancelled:
        return Record(End(None, Ending.CANCELLED))
    if state.attempt < MAX_ATTEMPTS:
        # What was ordered a moment ago may not be known to Ray yet; and what killed a start may pass.
        rested = quiet_seconds >= pause_seconds * 2 ** (state.attempt - 1)
        return Submit(Started(state.attempt + 1)) if rested else None
    message = f"It was started {state.attempt} times and died each time. {last_words}".strip()
    return Record(End(None, Ending.FAILED, message=message))
