"""One id follows a request through the deployments, and bad requests leave nothing of theirs in the log."""

from collections.abc import Iterator
from typing import Any

import pytest

from serve_app.observing.meter import MemoryMeter
from serve_app.observing.process import TALLIES
from serve_app.service import PREFIX
from tests.log_lines import Lines, written
from tests.support import ALLOCATE, APPLY, BATCH, PLAN, Caller, Live

ALICE = "alice.smith@example.com"
MRN = "123-45-6789"


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The service's log from now on."""
    with written() as lines:
        yield lines


def test_one_id_follows_a_release_into_the_budget(engine: Caller, lines: Lines) -> None:
    """An apply that the budget refuses: the hot path's line and the mechanisms' bear the caller's own id."""
    body = {"mechanism": "laplace", "epsilon": 1.9, "sensitivity": 1, "data": 1}
    for _ in range(5):
        assert engine.apply(**body).status_code == 200
    refused = engine.apply({"X-Request-ID": "mine-7"}, **body)
    assert refused.status_code == 402
    assert refused.headers.get_list("x-request-id") == ["mine-7"]
    ours = [line for event in ("request", "refused") for line in lines.of(event) if line.get("request_id") == "mine-7"]
    assert [(line["event"], line.get("app"), line.get("tenant_id")) for line in ours] == [
        ("request", "Mechanisms", engine.tenant),
        ("refused", None, engine.tenant),
    ]
    assert ours[1]["code"] == "budget_exhausted"


@pytest.mark.parametrize("path", [ALLOCATE, BATCH])
def test_the_hot_path_answers_with_the_id(live: Live, engine: Caller, path: str) -> None:
    """Whether it was admitted, refused or not even read; one is made where none was sent."""
    good = {"job_id": "j", "epsilon": "0.1"}
    body = {"allocations": [good]} if path == BATCH else good
    requests: list[dict[str, Any]] = [{"json": body}, {"json": {"job_id": ""}}, {"content": b"{"}]
    for sent in requests:
        answer = engine.post(path, headers={"X-Request-ID": "mine-8"}, **sent)
        assert answer.headers.get_list("x-request-id") == ["mine-8"]
    assert engine.post(path, json=body).headers["x-request-id"]
    unknown = live.stranger(engine.tenant).post(path, json=body)
    assert unknown.status_code == 401
    assert unknown.headers["x-request-id"]


def test_bad_requests_leave_none_of_their_values_in_the_log(live: Live, lines: Lines) -> None:
    """Whatever is wrong, wherever it is written: bodies, paths, queries, headers, tokens."""
    engine, admin = live.new(), live.new("admin")
    told = {"X-Request-ID": ALICE, "User-Agent": ALICE, "X-Service-Name": ALICE}
    claims: list[dict[str, Any]] = [
        {"job_id": ALICE, "epsilon": MRN},
        {"job_id": ALICE, "epsilon": 1, "purpose": MRN, "dataset_id": ALICE},
        {"job_id": ALICE, "event": {"kind": ALICE}},
        {"job_id": ALICE, "epsilon": 9.99},
        {ALICE: MRN},
    ]
    statuses = [engine.allocate(told, **claim).status_code for claim in claims]
    statuses += [
        item["status_code"] for item in engine.post(BATCH, json={"allocations": claims[:4]}).json().get("results", [])
    ]
    statuses += [
        response.status_code
        for response in (
            engine.post(APPLY, headers=told, json={"mechanism": ALICE, "data": MRN}),
            engine.post(
                APPLY, headers=told, json={"mechanism": "laplace", "epsilon": MRN, "sensitivity": 1, "data": 1}
            ),
            engine.post(PLAN, json={"name": ALICE, "steps": [{"step_name": MRN, "mechanism": ALICE, "epsilon": 1}]}),
            engine.get(f"{PREFIX}/proof/{ALICE}"),
            engine.get(f"{PREFIX}/composition/{ALICE}", params={"tenant_id": ALICE}),
            engine.get(f"{PREFIX}/training/jobs/{ALICE}"),
            engine.get(f"{PREFIX}/log/entries", params={"tenant_id": MRN}),
            admin.request("PUT", f"{PREFIX}/budget/{ALICE}", json={"epsilon": MRN}),
            engine.raw_allocate(f'{{"job_id": "{ALICE}'),
            live.stranger(ALICE, f"{ALICE}.{MRN}").post(ALLOCATE, json=claims[0]),
            live.client.get(f"/{ALICE}", params={"ssn": MRN}),
        )
    ]
    assert lines.of("request")
    assert lines.of("refused")
    assert min(statuses) >= 200
    for value in (ALICE, "alice", "smith", MRN, engine.token or "-"):
        assert value not in lines.text


def test_what_was_done_is_counted(engine: Caller) -> None:
    """A release, its charge, a proof and a plan leave their marks, and none names the tenant."""
    before, after = MemoryMeter(), MemoryMeter()
    TALLIES.hand_over(before)
    engine.apply(mechanism="laplace", epsilon=1, sensitivity=1, data=1, job_id="j")
    engine.get(f"{PREFIX}/proof/j")
    engine.post(PLAN, json={"name": "p", "steps": [{"step_name": "s", "mechanism": "laplace", "epsilon": 1}]})
    TALLIES.hand_over(after)
    for name, labels in (
        ("privacy_release_seconds_count", ("laplace",)),
        ("privacy_decisions", ("admitted", "none")),
        ("privacy_allocate_seconds_count", ()),
        ("privacy_proof_seconds_count", ("json",)),
        ("privacy_plan_pricing_seconds_count", ()),
        ("privacy_requests", ("2xx",)),
    ):
        assert after.values[name, labels] >= 1
    assert {"privacy_log_entries", "privacy_head_age_seconds", "privacy_halted", "privacy_training_tasks"} <= {
        name for name, _ in after.values
    }
    assert engine.tenant not in str(after.values)
