"""The client's decisions as laws: when to repeat, how a hold ends, what a journal remembers, how many calls go."""

import pickle
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.client import calls, keyed
from serve_app.client.answers import Allocation, understood
from serve_app.client.errors import (
    BudgetExhaustedError,
    CommitUnconfirmedError,
    HoldLostError,
    HoldReplayedError,
    IdempotencyMismatchError,
    OperationLimitError,
    PrivacyEngineError,
    RateLimitedError,
    RefusedError,
    ServiceUnreachableError,
    UnavailableError,
    refused,
)
from serve_app.client.holds import End, end_of
from serve_app.client.journal import Journal, JournalError
from serve_app.client.many import MAX_BATCH, Many
from serve_app.client.requests import Apply, Plan, PlanStep, Spend
from serve_app.client.retries import Outcome, RetryPolicy, next_pause, retry_after
from serve_app.client.steps import planned

SECONDS = st.floats(0, 1e6)
POLICIES = st.builds(RetryPolicy, st.integers(1, 12), SECONDS, SECONDS, SECONDS, SECONDS)
OUTCOMES = st.builds(
    Outcome, st.none() | st.integers(200, 599), st.booleans(), st.booleans(), st.none() | st.floats(-1e9, 1e9)
)
DRAWS = st.floats(0, 1, exclude_max=True)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ONE = Spend(job_id="j", epsilon="0.1")


@given(POLICIES, st.booleans(), st.integers(0, 2_000), OUTCOMES, SECONDS, DRAWS)
def test_a_pause_is_bounded_and_only_after_what_may_pass(
    policy: RetryPolicy, repeatable: bool, attempt: int, outcome: Outcome, elapsed: float, draw: float
) -> None:
    """Whatever happened: no answer of the service but 429 and 5xx is repeated, and no pause leads past the deadline."""
    pause = next_pause(policy, repeatable=repeatable, attempt=attempt, outcome=outcome, elapsed=elapsed, draw=draw)
    if pause is None:
        return
    assert attempt + 1 < policy.attempts
    assert repeatable or outcome.unsent
    assert elapsed + pause < policy.deadline
    assert 0 <= pause <= policy.longest_pause + policy.longest_wait
    assert pause >= min(max(outcome.retry_after or 0, 0), policy.longest_wait)
    status = outcome.status
    assert status is None or status == 429 or status >= 500 or (status == 404 and not outcome.genuine)


@given(st.integers(200, 499).filter(lambda status: status != 429), st.booleans(), DRAWS)
def test_an_answer_is_never_asked_for_again(status: int, repeatable: bool, draw: float) -> None:
    """A denial above all: it stands, with a key or without."""
    outcome = Outcome(status)
    assert next_pause(RetryPolicy(), repeatable=repeatable, attempt=0, outcome=outcome, elapsed=0, draw=draw) is None


@given(st.integers(0, 2), DRAWS)
def test_the_jitter_is_full(attempt: int, draw: float) -> None:
    """The pause is the draw's part of an end that doubles, from nothing on: those who failed together spread."""
    policy = RetryPolicy(first_pause=0.5, longest_pause=100)
    pause = next_pause(policy, repeatable=True, attempt=attempt, outcome=Outcome(503), elapsed=0, draw=draw)
    assert pause == draw * (0.5 * 2**attempt)


def test_what_was_never_sent_may_be_repeated_without_a_key() -> None:
    """Without a connection nothing can have happened; without an answer it can."""

    def again(outcome: Outcome) -> bool:
        return next_pause(RetryPolicy(), repeatable=False, attempt=0, outcome=outcome, elapsed=0, draw=0.5) is not None

    assert again(Outcome(unsent=True))
    assert not again(Outcome())
    assert not again(Outcome(503))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Sat, 21 Nov 2026 12:00:09 GMT", 9.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_read_in_both_of_its_forms(text: str, seconds: float | None) -> None:
    """Seconds or a date (RFC 9110); anything else is as if it were not there."""
    assert retry_after({"retry-after": text}, NOW) == seconds


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_a_hold_is_voided_only_on_a_statement(failed: bool, unread: bool, tried: bool, committed: bool) -> None:
    """Only an exception voids, only where nothing was read is stated, and never once a commit was asked for."""
    end = end_of(failed=failed, unread=unread, commit_tried=tried, committed=committed)
    assert (end is End.VOID) == (failed and unread and not tried and not committed)
    assert (end is End.COMMIT) == (not failed and not committed)
    assert (end is End.DONE) == committed


def test_a_float_is_refused_before_anything_is_sent() -> None:
    """0.1 is not one tenth as a float; true values of the data may be floats, they are noised anyway."""
    with pytest.raises(TypeError, match=r"epsilon: give an exact number, such as Decimal\('0.1'\)"):
        Spend(job_id="j", epsilon=0.1).body()  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="epsilon"):
        Spend(job_id="j", epsilon=True).body()
    with pytest.raises(TypeError, match=r"event\.scale"):
        Spend(job_id="j", event={"kind": "laplace", "scale": 0.5, "sensitivity": 1}).body()
    with pytest.raises(ValueError, match="must be finite"):
        Spend(job_id="j", epsilon=Decimal("nan")).body()
    with pytest.raises(ValueError, match="is no number"):
        Spend(job_id="j", epsilon="a tenth").body()
    said = Apply(job_id="j", mechanism="laplace", data=[0.5], sensitivity=1, epsilon=Decimal("1e-5")).body()
    assert (said["data"], said["sensitivity"], said["epsilon"]) == ([0.5], "1", "0.00001")


def test_a_plan_says_its_steps_exactly() -> None:
    """Every step's epsilon is a text, and what is not said is not sent."""
    plan = Plan(name="p", steps=[PlanStep(step_name="one", mechanism="laplace", epsilon="0.1")])
    assert plan.body() == {"name": "p", "steps": [{"step_name": "one", "mechanism": "laplace", "epsilon": "0.1"}]}


def test_only_an_event_is_divided_into_steps() -> None:
    """A bare epsilon says nothing about the steps that it is for."""
    with pytest.raises(ValueError, match="describe what one step does"):
        planned(ONE, 3)
    with pytest.raises(ValueError, match="at least once"):
        planned(Spend(job_id="j", event={"kind": "laplace", "scale": 1, "sensitivity": 1}), 0)


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (402, {"code": "budget_exhausted"}, BudgetExhaustedError),
        (422, {"code": "operation_limit"}, OperationLimitError),
        (422, {"code": "idempotency_mismatch"}, IdempotencyMismatchError),
        (429, {"code": "rate_limited"}, RateLimitedError),
        (503, {"code": "unavailable"}, UnavailableError),
        (402, {}, BudgetExhaustedError),
        (500, {"code": "a_code_of_tomorrow"}, UnavailableError),
        (418, {"code": "a_code_of_tomorrow"}, RefusedError),
    ],
)
def test_every_refusal_has_a_class_and_says_what_to_do(
    status: int, document: Mapping[str, Any], kind: type[RefusedError]
) -> None:
    """By code, else by status; the advice is in the text."""
    error = refused(status, document)
    assert type(error) is kind
    assert kind.advice in str(error)


@pytest.mark.parametrize(
    "error",
    [
        refused(402, {"code": "budget_exhausted", "scope": "tenant lifetime"}),
        ServiceUnreachableError("no answer"),
        CommitUnconfirmedError("a-1", ServiceUnreachableError("no answer")),
        HoldLostError("a-1", refused(409, {"code": "conflict"})),
        HoldReplayedError("a-1"),
    ],
)
def test_errors_leave_a_process_as_they_are(error: PrivacyEngineError) -> None:
    """An engine's steps run in process pools, from which errors return pickled."""
    error.key = "k"
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back)) == (type(error), str(error))
    if isinstance(error, RefusedError | ServiceUnreachableError):
        assert back.key == "k"


def test_what_would_fit_is_exact() -> None:
    """The largest charge comes from texts; where a service says none or nonsense, there is none."""
    error = refused(402, {"largest_charge": {"epsilon": "0.123456789012345678", "delta": "0"}})
    assert isinstance(error, BudgetExhaustedError)
    assert error.largest == (Decimal("0.123456789012345678"), Decimal(0))
    for said in ({}, {"largest_charge": 3}, {"largest_charge": {"epsilon": "much", "delta": "0"}}):
        other = refused(402, said)
        assert isinstance(other, BudgetExhaustedError)
        assert other.largest is None


def test_an_answer_that_nobody_can_read_leaves_the_outcome_unknown() -> None:
    """It is not taken for a refusal: the charge may have happened."""
    with pytest.raises(ServiceUnreachableError, match="Repeat with the same key"):
        understood(lambda: keyed.spend(ONE, "k").read({"hello": "world"}, False))


def test_a_journal_remembers_what_has_no_outcome(tmp_path: Path) -> None:
    """Keys and bodies survive; what was answered is forgotten, and so is a line that a crash cut off."""
    journal = Journal(tmp_path / "journal")
    first, second = keyed.spend(ONE, "first"), keyed.spend(ONE, "second")
    journal.begin([("first", first.call), ("second", second.call)])
    journal.end([("first", "answered"), ("never begun", "answered")])
    journal.close()
    with (tmp_path / "journal").open("a") as file:
        file.write('{"begun":"third","meth')
    again = Journal(tmp_path / "journal")
    (left,) = again.unfinished()
    assert left.call() == second.call
    assert left.job_id == "j"
    again.end([("second", "budget_exhausted")])
    again.close()
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0
    anew = Journal(tmp_path / "journal")
    assert anew.unfinished() == []
    assert (tmp_path / "journal").read_bytes() == b""
    anew.close()


def test_a_journal_never_holds_the_data(tmp_path: Path) -> None:
    """Of a release the key is kept, so that its author can repeat it; the true values are not."""
    journal = Journal(tmp_path / "journal")
    asked = keyed.apply(Apply(job_id="j", mechanism="laplace", data=[4242], sensitivity=1, epsilon="1"), "k")
    journal.begin([("k", asked.call)])
    (left,) = journal.unfinished()
    assert (left.key, left.body, left.call()) == ("k", None, None)
    assert "4242" not in (tmp_path / "journal").read_text()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.begin([("l", asked.call)])


def test_a_journal_is_for_one_process_and_for_nothing_else(tmp_path: Path) -> None:
    """A second user, a file of something else, a folder that is not there: told, and nothing is touched."""
    journal = Journal(tmp_path / "journal")
    with pytest.raises(JournalError, match="another process uses this journal"):
        Journal(tmp_path / "journal")
    journal.close()
    (tmp_path / "letter").write_text("Dear Sir,\n")
    with pytest.raises(JournalError, match="line 1 is no entry of a journal"):
        Journal(tmp_path / "letter")
    assert (tmp_path / "letter").read_text() == "Dear Sir,\n"
    with pytest.raises(JournalError, match="Name a file in a folder that is there"):
        Journal(tmp_path / "nowhere" / "journal")


def _answers(call: calls.Call) -> dict[str, Any]:
    """What a service would answer to a batch, told by its keys: `bad...` is refused, `later...` cannot be answered."""
    results = []
    for body in (call.json or {})["allocations"]:
        if body["operation_id"].startswith("bad"):
            results.append({"status_code": 402, "replayed": False, "problem": {"code": "budget_exhausted"}})
        elif body["operation_id"].startswith("later"):
            results.append({"status_code": 503, "replayed": False, "problem": {"code": "unavailable"}})
        else:
            results.append({"status_code": 200, "replayed": False, "allocation": _allocation(body["operation_id"])})
    return {"results": results}


def _allocation(name: str) -> dict[str, Any]:
    amounts = {
        f"{of}_{what}": "0"
        for of in ("allocated", "total", "used", "remaining", "lifetime")
        for what in ("epsilon", "delta")
    }
    return {
        "allocation_id": name,
        "job_id": "j",
        "tenant_id": "t",
        "state": "consumed",
        "ledger_seq": 1,
        "exact": amounts,
    }


def _named(result: object) -> str:
    return result.allocation_id if isinstance(result, Allocation) else type(result).__name__


def test_many_go_in_few_calls_and_keep_their_order() -> None:
    """At most a thousand a call; each has its own outcome; only what may pass is sent again, and within bounds."""
    names = [f"{kind}-{at}" for at in range(900) for kind in ("good", "bad", "later")]
    many = Many([keyed.spend(ONE, name) for name in names], RetryPolicy(attempts=3))
    sizes = []
    pause: float | None = 0.0
    while pause is not None:
        while (call := many.next_call()) is not None:
            sizes.append(len((call.json or {})["allocations"]))
            many.answered(_answers(call))
        pause = many.next_round(0, 0.5)
    assert sizes == [MAX_BATCH, MAX_BATCH, 700, 900, 900]
    wanted = {"bad": "BudgetExhaustedError", "later": "UnavailableError"}
    assert [_named(result) for result in many.results()] == [wanted.get(name.partition("-")[0], name) for name in names]


@given(st.integers(1, 40), st.data())
def test_one_that_nobody_can_read_spoils_no_others(number: int, data: st.DataObject) -> None:
    """A batch refused as a whole is halved until what was wrong stands alone."""
    broken = data.draw(st.sets(st.integers(0, number - 1), max_size=3))
    names = [f"{'broken' if at in broken else 'good'}-{at}" for at in range(number)]
    many = Many([keyed.spend(ONE, name) for name in names], RetryPolicy())
    while (call := many.next_call()) is not None:
        if any(body["operation_id"].startswith("broken") for body in (call.json or {})["allocations"]):
            many.failed(refused(422, {"code": "invalid_request"}))
        else:
            many.answered(_answers(call))
    wanted = ["InvalidRequestError" if at in broken else names[at] for at in range(number)]
    assert [_named(result) for result in many.results()] == wanted


def test_results_that_fit_no_allocation_are_unknown_outcomes() -> None:
    """Too few of them: nobody can say which is whose, so nobody is told that nothing was charged."""
    many = Many([keyed.spend(ONE, "a"), keyed.spend(ONE, "b")], RetryPolicy())
    assert many.next_call() is not None
    many.answered({"results": []})
    assert [_named(result) for result in many.results()] == ["ServiceUnreachableError"] * 2


def test_two_of_one_key_are_refused() -> None:
    """Only one of them would be charged."""
    one = keyed.spend(ONE, "same")
    with pytest.raises(ValueError, match="same key"):
        Many([one, replace(one)], RetryPolicy())
