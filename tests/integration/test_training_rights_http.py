"""Who may order, watch, stop, report on and settle a training; what is ordered again; what a caller starts itself."""

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from deployments.training.jobs import TOKEN_VARIABLE
from deployments.training.work import GIVEN_UP
from serve_app.service import PREFIX
from tests.support import ALLOCATE, Caller, Live, assert_problem, new_name
from tests.training_orders import (
    COLUMNS,
    DATASETS,
    JOBS,
    MARGINAL,
    PATIENCE_SECONDS,
    declare,
    ended,
    new_owner,
    ordered,
    refused,
    rows_of,
    store,
)


@pytest.fixture(scope="module")
def owner(live: Live) -> tuple[Caller, str]:
    """An engine whose data set has its rows stored. All tests here share it."""
    return new_owner(live)


# Who may.


@pytest.fixture(scope="module")
def waiting(owner: tuple[Caller, str]) -> str:
    """A training of the owner's that nobody starts."""
    return ordered(*owner)


def test_another_tenants_training_is_not_there(live: Live, waiting: str) -> None:
    """404 whatever is asked of it, as for an id that nobody has."""
    other = live.new()
    for path in ("", "/events", "/document", "/files/model.json"):
        assert_problem(other.get(f"{JOBS}/{waiting}{path}"), 404, "not_found", "job")
    assert_problem(other.request("DELETE", f"{JOBS}/{waiting}"), 404, "not_found", "job")
    report = {"kind": "started", "attempt": 1}
    assert_problem(other.post(f"{JOBS}/{waiting}/reports", json=report), 404, "not_found", "job")
    assert_problem(other.get(f"{JOBS}/not-an-id"), 404, "not_found", "job")


def test_a_viewer_orders_cancels_stores_and_reports_nothing(
    live: Live, owner: tuple[Caller, str], waiting: str
) -> None:
    """403; but it may look."""
    caller, name = owner
    viewer = live.caller(caller.tenant, "viewer")
    before = caller.state()
    assert_problem(viewer.post(JOBS, json={**MARGINAL, "dataset_id": name}), 403, "forbidden")
    assert_problem(viewer.request("DELETE", f"{JOBS}/{waiting}"), 403, "forbidden")
    assert_problem(viewer.request("PUT", f"{DATASETS}/{name}", json={"columns": COLUMNS}), 403, "forbidden")
    assert_problem(store(viewer, name, rows_of()), 403, "forbidden")
    assert_problem(viewer.get(f"{JOBS}/{waiting}/document"), 403, "forbidden")
    report = {"kind": "started", "attempt": 1}
    assert_problem(viewer.post(f"{JOBS}/{waiting}/reports", json=report), 403, "forbidden")
    assert caller.state() == before
    assert viewer.get(f"{JOBS}/{waiting}").json()["status"] == "waiting"


def test_a_body_may_not_name_another_tenant(live: Live, owner: tuple[Caller, str]) -> None:
    """Unless the token speaks for all, and then it has to name one."""
    refused(owner, {**MARGINAL, "tenant_id": new_name("tenant")}, None, 403, "forbidden")
    _, name = owner
    platform = live.caller("*", "engine")
    assert_problem(platform.post(JOBS, json={**MARGINAL, "dataset_id": name}), 422, "invalid_request", "tenant_id")


def task_caller(live: Live, tenant: str, job: str) -> Caller:
    """The process of a training."""
    return live.caller(tenant, "task", subject=f"task:{job}")


def test_a_tasks_token_reads_its_document_and_no_other(live: Live, owner: tuple[Caller, str], waiting: str) -> None:
    """Another task's of the same tenant is refused, and its own at another tenant."""
    caller, _ = owner
    process = task_caller(live, caller.tenant, waiting)
    assert process.get(f"{JOBS}/{waiting}/document").status_code == 200
    other = ordered(*owner)
    for path in (f"{JOBS}/{other}/document", f"{JOBS}/{waiting}/document?tenant_id={new_name('tenant')}"):
        assert_problem(process.get(path), 403, "forbidden")
    report = {"kind": "started", "attempt": 1}
    assert_problem(process.post(f"{JOBS}/{other}/reports", json=report), 403, "forbidden")


def test_a_tasks_token_is_good_for_nothing_else(live: Live, owner: tuple[Caller, str], waiting: str) -> None:
    """Every route that the service lists is closed to it, but its own document and reports and what is public."""
    caller, name = owner
    process = task_caller(live, caller.tenant, waiting)
    before = caller.state()
    listed = live.stranger("").get("/openapi.json").json()["paths"]
    public = {path for path in listed if live.stranger("").get(path).status_code == 200}
    places = {
        "tenant_id": caller.tenant,
        "job": waiting,
        "allocation_id": waiting,
        "dataset_id": name,
        "job_id": waiting,
    }
    open_to_it = []
    for path, methods in listed.items():
        named = path
        for place, value in places.items():
            named = named.replace(f"{{{place}}}", value)
        for method in set(methods) & {"get", "put", "post", "delete"}:
            response = process.request(method.upper(), named, **({} if method == "get" else {"json": {}}))
            if response.status_code not in (401, 403, 404, 422):
                open_to_it.append((method, path))
    assert {path for _, path in open_to_it} - public == {f"{JOBS}/{{job}}/document"}
    allocation = {"job_id": "j", "epsilon": "0.1"}
    for path, body in ((ALLOCATE, allocation), (JOBS, {**MARGINAL, "dataset_id": name})):
        assert_problem(process.post(path, json=body), 403, "forbidden")
    assert_problem(process.get(f"{PREFIX}/budget/{caller.tenant}"), 403, "forbidden")
    assert_problem(process.get(f"{PREFIX}/proof/?allocation_id={waiting}"), 403, "forbidden")
    assert_problem(process.get(f"{JOBS}/{waiting}"), 403, "forbidden")
    assert caller.state() == before


def test_an_engine_does_not_report_on_what_the_service_starts(live: Live, owner: tuple[Caller, str]) -> None:
    """Its own process alone does; and even that does not say that it was started."""
    caller, name = owner
    job = ordered(caller, name, launch="service")
    for kind in ("started", "reading"):
        report = {"kind": kind, "attempt": 1}
        assert_problem(caller.post(f"{JOBS}/{job}/reports", json=report), 403, "forbidden")
    process = task_caller(live, caller.tenant, job)
    assert_problem(process.post(f"{JOBS}/{job}/reports", json={"kind": "started", "attempt": 1}), 403, "forbidden")
    assert ended(caller, job)["status"] == "finished"


@pytest.mark.parametrize(
    ("report", "field"),
    [
        ({"kind": "progress", "attempt": 1}, "done"),
        ({"kind": "end", "attempt": 1}, "ending"),
        ({"kind": "nap", "attempt": 1}, "kind"),
        ({"kind": "end", "attempt": 1, "ending": "asleep"}, "ending"),
        ({"kind": "started"}, "attempt"),
        ({"kind": "reading", "attempt": 1, "facts": {"x": "y" * 10_000}}, "facts"),
        ({"kind": "reading", "attempt": 1, "facts": {str(n): n for n in range(100)}}, "facts"),
        ({"kind": "end", "attempt": 1, "ending": "failed", "files": ["../../etc/passwd"]}, "files"),
    ],
)
def test_a_report_that_is_none_is_refused(
    owner: tuple[Caller, str], waiting: str, report: dict[str, Any], field: str
) -> None:
    """And the training stands where it stood."""
    caller, _ = owner
    assert_problem(caller.post(f"{JOBS}/{waiting}/reports", json=report), 422, "invalid_request", field)
    assert caller.get(f"{JOBS}/{waiting}").json()["status"] == "waiting"


@pytest.mark.parametrize("last_id", ["x", "-1", "1.5", "99999999999999999999999"])
def test_an_id_that_no_state_has_is_refused(owner: tuple[Caller, str], waiting: str, last_id: str) -> None:
    """Before the stream begins."""
    response = owner[0].get(f"{JOBS}/{waiting}/events", headers={"Last-Event-ID": last_id})
    assert_problem(response, 422, "invalid_request", "Last-Event-ID")


# Holds of trainings.


def test_nobody_but_the_service_ends_the_hold_of_a_training(
    live: Live, owner: tuple[Caller, str], waiting: str
) -> None:
    """A commit, a void or a confirmation is refused to every role, also to an engine that speaks for all."""
    caller, _ = owner
    before = caller.state()
    keeper = {"subject": "privacy-engine-tasks"}
    everybody = [
        (caller, {}),
        (live.caller(caller.tenant, "admin"), {}),
        (live.caller("*", "engine"), {"tenant_id": caller.tenant}),
        (live.caller(caller.tenant, "engine", **keeper), {}),
    ]
    for somebody, named in everybody:
        for end in ("commit", "void"):
            assert_problem(somebody.settle(waiting, end, **named), 409, "conflict")
        body = {"allocation_id": waiting, **named}
        assert_problem(somebody.post(f"{PREFIX}/budget/consume", json=body), 409, "conflict")
    assert_problem(caller.settle(waiting, "expire"), 409, "conflict")
    adjusted = live.caller(caller.tenant, "admin").settle(waiting, "adjust", statement="unsigned")
    assert_problem(adjusted, 403, "forbidden")
    assert caller.state() == before


def test_a_hold_whose_time_has_passed_is_spent_whatever_its_training_does(live: Live) -> None:
    """Anybody may say so; then the training is over, and its end says why."""
    caller, name = live.new(), new_name("late")
    declare(caller, name)
    assert store(caller, name, rows_of()).status_code == 200
    job = ordered(caller, name, ttl_seconds=1)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while caller.settle(job, "expire").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    done = ended(caller, job)
    assert (done["status"], done["settlement"]) == ("failed", "expired_spent")
    assert "hold has ended" in done["message"]


@pytest.mark.parametrize(("task", "mode"), [("{}", "consume"), ("", "reserve"), ("a\x00", "reserve")])
def test_a_task_needs_a_hold_and_words(owner: tuple[Caller, str], task: str, mode: str) -> None:
    """What is spent at once waits for nothing."""
    caller, _ = owner
    before = caller.state()
    assert_problem(caller.allocate(epsilon="0.1", mode=mode, task=task), 422, "invalid_request", "task")
    assert caller.state() == before


@pytest.mark.parametrize("task", [None, "{}", "not JSON", '{"v":1}', '["v"]'])
def test_a_task_that_is_not_for_what_is_charged_cannot_be_held(owner: tuple[Caller, str], task: str | None) -> None:
    """Whoever holds budget by hand for less than the task would do, or for no task at all, is refused."""
    caller, name = owner
    text = task or caller.get(f"{JOBS}/{ordered(caller, name)}/document").json()["document"]
    before = caller.state()
    held = caller.allocate(epsilon="0.0001", mode="reserve", task=text)
    assert_problem(held, 422, "invalid_request", "task")
    assert caller.state() == before


# Again.


def test_the_same_key_for_another_order_is_refused(owner: tuple[Caller, str]) -> None:
    """And nothing more is held."""
    caller, name = owner
    job = new_name("job")
    ordered(caller, name, job_id=job)
    refused(owner, {**MARGINAL, "target_epsilon": "0.2", "job_id": job}, None, code="idempotency_mismatch")


def test_an_order_is_the_same_training_also_after_that_has_ended(owner: tuple[Caller, str]) -> None:
    """The first answer again, with how it stands now; nothing is held a second time."""
    caller, name = owner
    body = {**MARGINAL, "target_epsilon": "0.1", "dataset_id": name, "launch": "caller", "job_id": new_name("job")}
    first = caller.post(JOBS, json=body).json()
    assert caller.request("DELETE", f"{JOBS}/{first['id']}").status_code == 202
    assert ended(caller, first["id"])["settlement"] == "voided"
    before = caller.state()
    again = caller.post(JOBS, json=body)
    assert again.status_code == 202
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.json()["id"], again.json()["status"]) == (first["id"], "cancelled")
    assert caller.state() == before


# Trainings that their caller starts.


def start(live: Live, caller: Caller, job: str, attempt: int) -> subprocess.CompletedProcess[str]:
    """A process of the caller's own that does the work, with the caller's own token."""
    assert caller.token is not None
    settings = live.service.settings
    words = ["--url", settings.base_url, "--tenant", caller.tenant, "--task", job, "--attempt", str(attempt)]
    return subprocess.run(
        [sys.executable, "-m", "deployments.training.work", *words, "--files", settings.files_folder, "--announce"],
        env={**os.environ, TOKEN_VARIABLE: caller.token},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def test_a_caller_starts_its_own_training_and_the_older_of_two_starts_is_refused(
    live: Live, owner: tuple[Caller, str]
) -> None:
    """The service starts nothing. The second start takes the first one's place and does the work to its end."""
    caller, name = owner
    job = ordered(caller, name, num_rows=10)
    reports = f"{JOBS}/{job}/reports"
    for kind in ("started", "reading"):
        assert caller.post(reports, json={"kind": kind, "attempt": 1}).status_code == 200
    again = start(live, caller, job, 1)
    assert again.returncode == GIVEN_UP, again.stderr
    assert "next start is number 2" in again.stdout + again.stderr
    second = start(live, caller, job, 2)
    assert second.returncode == 0, second.stdout + second.stderr
    older = {"kind": "progress", "attempt": 1, "done": 0, "through": 1}
    assert_problem(caller.post(reports, json=older), 409, "conflict")
    done = ended(caller, job)
    assert (done["status"], done["settlement"], done["attempt"]) == ("finished", "committed", 2)
    assert len(caller.get(f"{JOBS}/{job}/files/rows.csv").text.splitlines()) == 11
