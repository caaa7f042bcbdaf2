"""The life of a task: what may be reported, what is charged however it ends, and what follows from its state."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.training.next_step import JobStatus, Record, Settle, Stop, Submit, next_step
from deployments.training.task import (
    MAX_ATTEMPTS,
    Cancel,
    End,
    Ending,
    Progress,
    Reading,
    RefusedReportError,
    Report,
    Settled,
    Settlement,
    Started,
    TaskState,
    ToCommit,
    ToVoid,
    after,
    settlement_of,
    state_from_wire,
    state_to_wire,
)

STEPS = 100
attempts = st.integers(1, 3)
steps = st.integers(0, STEPS)
reports = st.one_of(
    st.builds(Started, attempts),
    st.builds(Reading, attempts, st.just({"device": "cpu"})),
    st.builds(Progress, attempts, steps, steps),
    st.just(Cancel()),
    st.builds(End, st.none() | attempts, st.sampled_from(Ending), st.none() | steps),
    st.builds(Settled, st.sampled_from(Settlement)),
)


def lived(*given: Report) -> TaskState:
    """The state after reports that are all accepted."""
    state = TaskState()
    for report in given:
        state = after(state, report, STEPS)
    return state


def running() -> TaskState:
    """A first start that announced 20 steps and has done 10."""
    return lived(Started(1), Reading(1, {}), Progress(1, 0, 10), Progress(1, 10, 20))


@given(st.lists(reports, max_size=30))
def test_no_history_of_reports_charges_fewer_steps_than_were_announced(history: list[Report]) -> None:
    """Whatever is reported in whatever order, what is charged covers each announcement that was accepted."""
    state, announced, read = TaskState(), 0, False
    finished_by = None
    for report in history:
        try:
            state = after(state, report, STEPS)
        except RefusedReportError:
            continue
        read = read or isinstance(report, Reading)
        if isinstance(report, Progress):
            # Of its own start a process knows at last what it did; of those before it only what they announced.
            announced = max(announced, report.through)
        if isinstance(report, End):
            finished_by = report
    if state.ending is None:
        return
    settled = settlement_of(state, STEPS, divisible=True)
    assert isinstance(settled, ToVoid) == (not read)
    if isinstance(settled, ToCommit) and settled.steps is not None:
        assert finished_by is not None
        assert settled.steps >= state.begun
        if finished_by.done is None:
            assert settled.steps >= announced
        else:
            assert settled.steps >= finished_by.done


@given(st.lists(reports, max_size=30))
def test_a_state_comes_back_from_storage_unchanged(history: list[Report]) -> None:
    """What is stored is the whole state."""
    state = TaskState()
    for report in history:
        try:
            state = after(state, report, STEPS)
        except RefusedReportError:
            continue
        assert state_from_wire(state_to_wire(state)) == state


def test_a_start_that_was_given_up_cannot_report() -> None:
    """Its attempt is not the present one."""
    state = after(running(), Started(2), STEPS)
    for late in (Reading(1, {}), Progress(1, 20, 30), End(1, Ending.FINISHED, STEPS)):
        with pytest.raises(RefusedReportError, match="given up"):
            after(state, late, STEPS)


def test_nothing_may_be_read_once_a_task_is_cancelled() -> None:
    """So a cancel before the first record is read can be voided."""
    state = lived(Started(1), Cancel())
    with pytest.raises(RefusedReportError, match="cancelled"):
        after(state, Reading(1, {}), STEPS)
    ended = after(state, End(None, Ending.CANCELLED), STEPS)
    assert settlement_of(ended, STEPS, divisible=True) == ToVoid()


def test_no_step_is_taken_before_reading_was_reported() -> None:
    """A process that forgets to say so cannot go on."""
    with pytest.raises(RefusedReportError, match="reading"):
        after(lived(Started(1)), Progress(1, 0, 1), STEPS)


@pytest.mark.parametrize(("done", "through"), [(-1, 5), (6, 5), (0, STEPS + 1)])
def test_more_steps_than_are_held_cannot_be_announced(done: int, through: int) -> None:
    """An announcement is of steps that were charged."""
    with pytest.raises(RefusedReportError, match="steps that are held"):
        after(running(), Progress(1, done, through), STEPS)


def test_only_all_steps_are_a_finish() -> None:
    """A start that stopped early has not finished, whatever it says."""
    with pytest.raises(RefusedReportError, match="finished after"):
        after(running(), End(1, Ending.FINISHED, 10), STEPS)
    with pytest.raises(RefusedReportError, match="announced"):
        after(running(), End(1, Ending.FINISHED, STEPS), STEPS)


def test_nobody_else_can_say_that_it_was_cancelled() -> None:
    """A cancel comes from a caller, not from the process."""
    with pytest.raises(RefusedReportError, match="Nobody"):
        after(running(), End(1, Ending.CANCELLED, 10), STEPS)


def test_a_start_that_died_is_charged_what_it_announced_and_one_that_ended_what_it_did() -> None:
    """The bound is known of the dead, the number of the living."""
    cancelled = after(running(), Cancel(), STEPS)
    died = after(cancelled, End(None, Ending.CANCELLED), STEPS)
    assert settlement_of(died, STEPS, divisible=True) == ToCommit(20)
    ended = after(cancelled, End(1, Ending.CANCELLED, 11), STEPS)
    assert settlement_of(ended, STEPS, divisible=True) == ToCommit(11)


def test_steps_of_a_start_that_died_stay_counted_when_the_next_one_stops_early() -> None:
    """The second start went on from a checkpoint at 5 and stopped at 7; the first had announced 20."""
    second = lived(
        Started(1), Reading(1, {}), Progress(1, 10, 20), Started(2), Reading(2, {}), Progress(2, 5, 8), Cancel()
    )
    ended = after(second, End(2, Ending.CANCELLED, 7), STEPS)
    assert settlement_of(ended, STEPS, divisible=True) == ToCommit(20)


def test_what_cannot_be_divided_is_charged_whole_once_data_may_have_been_read() -> None:
    """A hold for several kinds of events has no part to give back."""
    failed = after(running(), End(1, Ending.FAILED, 10), STEPS)
    assert settlement_of(failed, STEPS, divisible=False) == ToCommit(None)


def test_after_the_end_nothing_follows_but_the_settlement_and_that_once() -> None:
    """The state is closed."""
    ended = after(running(), End(1, Ending.FAILED, 10), STEPS)
    for late in (Cancel(), Started(2), Progress(1, 10, 20), End(1, Ending.FAILED)):
        with pytest.raises(RefusedReportError, match="has ended"):
            after(ended, late, STEPS)
    settled = after(ended, Settled(Settlement.COMMITTED), STEPS)
    with pytest.raises(RefusedReportError):
        after(settled, Settled(Settlement.VOIDED), STEPS)
    with pytest.raises(RefusedReportError):
        after(running(), Settled(Settlement.COMMITTED), STEPS)


def step_for(state: TaskState, job: JobStatus = JobStatus.GONE, **more: object) -> object:
    """The next step of a task that the service starts."""
    arguments = {"hold": None, "dispatched": True, "quiet_seconds": 0.0, "patience_seconds": 30.0, "pause_seconds": 0.0}
    return next_step(state, job, **(arguments | more))  # type: ignore[arg-type]  # each test names what it needs


def test_a_new_task_is_started_and_one_that_died_is_started_again() -> None:
    """Whatever killed it, Ray's head included: nothing is known of the job then."""
    assert step_for(TaskState()) == Submit(Started(1))
    assert step_for(running()) == Submit(Started(2))
    assert step_for(running(), JobStatus.ALIVE) is None


def test_the_next_start_is_ordered_after_a_pause_that_doubles() -> None:
    """What was ordered a moment ago may not be known to Ray yet, and what killed a start may pass."""
    assert step_for(running(), pause_seconds=2.0, quiet_seconds=1.9) is None
    assert step_for(running(), pause_seconds=2.0, quiet_seconds=2.0) == Submit(Started(2))
    third = replace(running(), attempt=3)
    assert step_for(third, pause_seconds=2.0, quiet_seconds=7.9) is None
    assert step_for(third, pause_seconds=2.0, quiet_seconds=8.0) == Submit(Started(4))
    assert step_for(TaskState(), pause_seconds=2.0) == Submit(Started(1))


def test_a_task_that_dies_each_time_is_given_up_with_its_last_words() -> None:
    """It fails, and says why."""
    worn = replace(running(), attempt=MAX_ATTEMPTS)
    chosen = step_for(worn, last_words="killed by the kernel")
    assert isinstance(chosen, Record)
    assert isinstance(chosen.report, End)
    assert chosen.report.ending is Ending.FAILED
    assert "killed by the kernel" in (chosen.report.message or "")


def test_a_cancelled_task_is_waited_for_then_stopped_then_ended() -> None:
    """First it may end by itself, as it knows best what it did."""
    cancelled = after(running(), Cancel(), STEPS)
    assert step_for(cancelled, JobStatus.ALIVE) is None
    assert step_for(cancelled, JobStatus.ALIVE, quiet_seconds=31.0) == Stop()
    assert step_for(cancelled) == Record(End(None, Ending.CANCELLED))
    assert step_for(lived(Cancel())) == Record(End(None, Ending.CANCELLED))


def test_an_ended_task_is_settled_then_over() -> None:
    """The settlement is recorded as the ledger has it."""
    ended = after(running(), End(1, Ending.FAILED, 10), STEPS)
    assert step_for(ended) == Settle()
    assert step_for(ended, hold=Settlement.EXPIRED_SPENT) == Record(Settled(Settlement.EXPIRED_SPENT))
    assert step_for(after(ended, Settled(Settlement.COMMITTED), STEPS)) is None


def test_a_hold_whose_time_has_passed_lets_a_living_job_finish_and_starts_no_other() -> None:
    """All of it is spent by then; a new start would be for nothing held."""
    assert step_for(running(), JobStatus.ALIVE, hold=Settlement.EXPIRED_SPENT) is None
    chosen = step_for(running(), hold=Settlement.EXPIRED_SPENT)
    assert isinstance(chosen, Record)
    assert isinstance(chosen.report, End)
    assert chosen.report.ending is Ending.FAILED


def test_a_callers_own_task_is_never_started_here() -> None:
    """Nothing is known of its processes; its hold's time bounds it."""
    assert step_for(TaskState(), dispatched=False) is None
    assert step_for(running(), dispatched=False) is None
    assert step_for(lived(Cancel()), dispatched=False) == Record(End(None, Ending.CANCELLED))
    chosen = step_for(running(), dispatched=False, hold=Settlement.EXPIRED_SPENT)
    assert isinstance(chosen, Record)
