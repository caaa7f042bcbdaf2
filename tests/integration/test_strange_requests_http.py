"""What Schemathesis found once: each stays mended. A strange request is refused with a reason, never with a failure."""

from contextlib import closing
from http.client import HTTPConnection

import pytest

from serve_app.service import PREFIX
from tests.support import ALLOCATE, APPLY, BATCH, PLAN, Caller, Live, assert_problem, new_name

STEPS = [{"step_name": "count", "mechanism": "laplace", "epsilon": "0.1"}]
UNUSUAL = "tägliche Zählung"
"""Characters that no header can carry as they are."""


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "HEAD", "PATCH"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/budget/anybody", "GET, PUT"),
        ("/budget/allocate", "POST"),
        ("/budget/allocate:batch", "POST"),
        ("/budget/consume", "POST"),
        ("/composition/plan", "POST"),
        ("/generators/dataset/rows", "GET, PUT"),
        ("/generators/dataset/visits/rows", "DELETE, PUT"),
        ("/training/jobs", "GET, POST"),
        ("/training/jobs/7", "DELETE, GET"),
    ],
)
def test_a_method_that_a_path_has_not_is_told_which_it_has(
    live: Live, engine: Caller, method: str, path: str, allowed: str
) -> None:
    """All of them (RFC 9110), however many routes and apps they are spread over."""
    refused = engine.request(method, f"{PREFIX}{path}")
    assert refused.status_code == 405
    assert refused.headers["allow"] == allowed
    assert refused.headers["x-request-id"]
    if method != "HEAD":
        assert_problem(refused, 405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/budget/allocate", "/budget/consume", "/composition/plan"])
def test_a_word_of_the_interface_is_nobodys_name(live: Live, path: str) -> None:
    """A GET there asks for no tenant and no plan of that name, even in the name of somebody who may see all."""
    assert_problem(live.caller("*", "auditor").get(f"{PREFIX}{path}"), 405, "method_not_allowed")


@pytest.mark.parametrize("named", ["", " ", "a b", "-", "a\x00b", "ä", "x" * 129])
@pytest.mark.parametrize(
    "path",
    ["/training/jobs", "/loss/visualize", "/proof/some-job", "/generators/privacy-reports?id=a&id=b", "/log/head"],
)
def test_a_token_for_any_tenant_names_one_that_can_be(live: Live, path: str, named: str) -> None:
    """What cannot be a tenant's name is told so, before any database is asked about it."""
    refused = live.caller("*", "auditor").get(f"{PREFIX}{path}", params={"tenant_id": named})
    if "?" not in path:
        assert_problem(refused, 422, "invalid_request", "tenant_id")
    else:
        assert refused.status_code == 422


@pytest.mark.parametrize("named", ["", "a b", "a\x00b"])
def test_so_does_a_service_token_in_a_body(live: Live, named: str) -> None:
    """Likewise where the budget is spent."""
    caller = live.caller("*", "engine")
    for path, body in ((ALLOCATE, {"job_id": "j", "epsilon": "1"}), (PLAN, {"name": "p", "steps": STEPS})):
        assert_problem(caller.post(path, json={**body, "tenant_id": named}), 422, "invalid_request", "tenant_id")


def test_a_plan_is_held_for_a_job_of_any_characters(engine: Caller) -> None:
    """And once, however often it is asked: the key goes on as it is."""
    body = {"name": "p", "steps": STEPS, "hold": True, "job_id": UNUSUAL, "delta": "0"}
    holds = [engine.post(PLAN, json=body).json()["hold"]["allocation_id"] for _ in range(2)]
    assert holds[0] == holds[1]


def test_a_release_may_have_a_key_of_any_characters(engine: Caller) -> None:
    """And is made once under it."""
    body = {"mechanism": "laplace", "sensitivity": "1", "data": 3, "epsilon": "0.1", "operation_id": UNUSUAL}
    first, second = (engine.apply(**body) for _ in range(2))
    assert first.status_code == 200, first.text
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("key", "status"), [("m\tn", 422), ("\xe4", 422), ("m\t", 404), (" padded ", 404), ("plain", 404)]
)
def test_a_key_that_cannot_travel_on_is_refused(live: Live, engine: Caller, key: str, status: int) -> None:
    """Never told as a failure of ours. There are no rows here, so whatever is read in full is not found."""
    # The tests' own client refuses to send some of these.
    with closing(HTTPConnection("127.0.0.1", live.service.settings.port)) as connection:
        headers = {"Authorization": f"Bearer {engine.token}", "Idempotency-Key": key}
        path = f"{PREFIX}/generators/dataset/nothing/generate"
        connection.request("POST", path, b'{"target_epsilon": "1"}', headers)
        assert connection.getresponse().status == status


@pytest.mark.parametrize("key", ["x" * 251, "x" * 300])
def test_a_batch_whose_key_is_too_long_is_refused_whole(engine: Caller, key: str) -> None:
    """Not each item in its turn; and nothing is charged."""
    before = engine.state()
    allocations = {"allocations": [{"job_id": new_name("job"), "epsilon": "0.1"}]}
    operations = {"operations": [{"mechanism": "laplace", "sensitivity": "1", "data": 3, "epsilon": "0.1"}]}
    for path, body in ((BATCH, allocations), (f"{APPLY}:batch", operations)):
        refused = engine.post(path, json=body, headers={"Idempotency-Key": key})
        assert_problem(refused, 422, "invalid_request", "Idempotency-Key")
    assert engine.state() == before


def test_a_plan_with_a_key_that_is_none_is_refused(engine: Caller) -> None:
    """Whether it is held or not."""
    refused = engine.post(PLAN, json={"name": "p", "steps": STEPS}, headers={"Idempotency-Key": "x" * 256})
    assert_problem(refused, 422, "invalid_request", "Idempotency-Key")


def test_a_missing_token_is_told_which_one_is_wanted(live: Live) -> None:
    """RFC 9110 wants the scheme beside a 401."""
    refused = live.stranger("anybody").get(f"{PREFIX}/access/me")
    assert_problem(refused, 401, "unauthenticated")
    assert refused.headers["www-authenticate"] == "Bearer"
