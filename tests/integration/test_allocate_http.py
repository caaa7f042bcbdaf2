"""Allocation over HTTP: every engine's spelling, exact decimals, one charge for one key."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from serve_app.service import PREFIX
from tests.support import BATCH, Caller, Live, assert_problem, new_name

# Engines that exist, each in its own words.


def test_an_engine_that_says_epsilon_requested(engine: Caller) -> None:
    """The epsilon_requested spelling is understood, and answered in the field names that go with it."""
    response = engine.allocate(
        epsilon_requested=0.5,
        delta_requested=1e-6,
        query_description="train a table",
        composition_type="sequential",
        mechanism="gaussian",
        source_engine="tabular",
    )
    answer = response.json()
    assert response.status_code == 200
    assert answer["allocation_id"]
    assert answer["allocated_epsilon"] == 0.5
    assert answer["status"] == "approved"
    assert answer["delta_allocated"] == 1e-6


def test_an_engine_that_says_requested_epsilon_and_names_itself_in_a_header(engine: Caller) -> None:
    """The requested_epsilon spelling gets the whole budget back, and the header names the engine."""
    response = engine.allocate(
        {"X-Service-Name": "aumos-tabular-engine"},
        requested_epsilon=0.5,
        requested_delta=0.000001,
        purpose="synthesis",
        tenant_id=engine.tenant,
    )
    answer = response.json()
    assert response.status_code == 200
    assert answer["allocation_status"] == "approved"
    assert answer["epsilon_allocated"] == 0.5
    assert answer["remaining_budget"] == 9.5
    assert answer["source_engine"] == "tabular"
    assert answer["budget_id"]
    assert answer["tenant_id"] == engine.tenant
    numbers = ("total_epsilon", "used_epsilon", "remaining_epsilon", "total_delta", "used_delta", "remaining_delta")
    # A tenth of the promised delta is the Renyi filter's, so that plain claims may sum to the default 1e-5.
    promised = float("0.000011111111111111111111111111")
    assert [answer[name] for name in numbers] == [10, 0.5, 9.5, promised, 1e-6, 9e-6]
    assert answer["epsilon_utilization_pct"] == 5
    assert answer["period_start"].endswith("Z")
    assert (answer["period_end"], answer["auto_renew"]) == (None, False)


def test_an_engine_that_says_epsilon_and_then_consumes(engine: Caller) -> None:
    """Consuming less than was allocated succeeds, and the status still counts the full allocation."""
    allocated = engine.allocate(epsilon=0.25, delta=0)
    consumed = engine.post(
        f"{PREFIX}/budget/consume",
        json={"allocation_id": allocated.json()["allocation_id"], "actual_epsilon_spent": 0.2},
    )
    assert consumed.status_code == 200
    assert consumed.json()["state"] == "consumed"
    status = engine.get(f"{PREFIX}/budget/status/{engine.tenant}")
    assert status.status_code == 200
    assert status.json() == {
        "tenant_id": engine.tenant,
        "total_budget": 10,
        "consumed_budget": 0.25,
        "remaining_budget": 9.75,
        "allocation_count": 1,
    }


def test_an_engine_that_asks_an_exhausted_tenant_for_ten_is_told_of_the_budget(live: Live) -> None:
    """402, though ten is above the limit of one operation as well."""
    engine = live.new(epsilon="1", delta="0")
    assert engine.allocate(epsilon=1).status_code == 200
    before = engine.state()
    document = assert_problem(engine.allocate(epsilon=10), 402, "budget_exhausted")
    assert document["error_code"] == "BUDGET_EXHAUSTED"
    assert document["remaining_budget"] == 0
    assert (document["scope"], document["filter"]) == ("tenant lifetime", "basic")
    assert engine.state() == before


def test_an_engine_that_accepts_only_json_is_answered_in_it(live: Live) -> None:
    """A refusal asked for as plain JSON comes with that media type and the same fields."""
    engine = live.new(epsilon="1")
    refused = engine.allocate({"Accept": "application/json"}, epsilon=10)
    assert refused.status_code == 402
    assert refused.headers["content-type"] == "application/json"
    assert refused.json()["error_code"] == "BUDGET_EXHAUSTED"
    assert refused.json()["remaining_budget"] == 1
    assert "detail" in refused.json()


def test_an_exhausted_delta_names_the_delta_and_what_would_fit(live: Live) -> None:
    """A refusal for delta says so, and the delta it offers instead is then really admitted, and no more than that."""
    engine = live.new(epsilon="5", delta="0.00001")
    document = assert_problem(engine.allocate(epsilon=1, delta="0.00002"), 402, "budget_exhausted")
    assert "Closest is basic: delta 0.000009 of 0.000009 is left, and this asks for 0.00002." in document["detail"]
    assert document["largest_charge"] == {"epsilon": "0", "delta": "0.00002"}
    assert document["remaining_delta"] == 0.000009
    assert engine.allocate(epsilon=1, delta="0.0000090000000001").status_code == 402
    assert engine.allocate(epsilon=1, delta=document["remaining_delta"]).status_code == 200


@pytest.mark.parametrize(("engine_name", "epsilon", "fits"), [
    ("tabular", "2", True), ("tabular", "2.1", False), ("healthcare", "0.5", True), ("healthcare", "0.51", False),
])  # fmt: skip
def test_one_operation_has_its_limit(engine: Caller, engine_name: str, epsilon: str, fits: bool) -> None:
    """An engine's limit for one operation admits exactly that much and refuses anything above it."""
    response = engine.allocate(epsilon=epsilon, source_engine=engine_name)
    if fits:
        assert response.status_code == 200
    else:
        document = assert_problem(response, 422, "operation_limit", "epsilon")
        assert document["limit"] in (2, 0.5)


def test_a_tokens_engine_is_the_engine_whatever_the_header_says(live: Live) -> None:
    """The token's engine outranks the header, and a body that names another engine is forbidden."""
    engine = live.caller(new_name("tenant"), "engine", engine="text")
    answer = engine.allocate({"X-Service-Name": "aumos-image-engine"}, epsilon=1).json()
    assert answer["source_engine"] == "text"
    assert_problem(engine.allocate(epsilon=1, source_engine="image"), 403, "forbidden")


def test_an_event_is_priced_here(engine: Caller) -> None:
    """The service prices noise itself, rounding up, so an epsilon stated beside the event is refused."""
    laplace = engine.allocate(event={"kind": "laplace", "scale": 3, "sensitivity": 1}).json()
    assert laplace["exact"]["allocated_epsilon"] == "0.333333333334"
    gaussian = engine.allocate(event={"kind": "gaussian", "sigma": "10", "sensitivity": 1}, delta="0.000001").json()
    assert 0.38 < gaussian["allocated_epsilon"] < 0.4  # exactly: 0.3969 by Balle and Wang 2018
    assert gaussian["exact"]["allocated_delta"] == "0.000001"
    refused = engine.allocate(event={"kind": "laplace", "scale": 3, "sensitivity": 1}, epsilon="0.1")
    assert_problem(refused, 422, "invalid_request", "epsilon")


# Exact decimals.


def test_a_json_number_is_the_decimal_it_is_written_as(live: Live) -> None:
    """Ten times 0.1 is one: a budget of 1.0 admits exactly ten, and nothing after."""
    engine = live.new(epsilon="1.0", delta="0")
    for number in range(10):
        response = engine.raw_allocate(f'{{"job_id": "job-{number}", "epsilon": 0.1}}')
        assert response.status_code == 200
    assert response.json()["exact"]["used_epsilon"] == "1"
    assert response.json()["exact"]["remaining_epsilon"] == "0"
    document = assert_problem(
        engine.raw_allocate('{"job_id": "last", "epsilon": 0.000000000000000000000000000001}'), 402, "budget_exhausted"
    )
    assert document["remaining_budget"] == 0


def test_callers_at_once_get_exactly_what_there_is(live: Live) -> None:
    """Of 25 concurrent requests for a tenth, exactly ten are admitted and exactly 1 is spent."""
    engine = live.new(epsilon="1", delta="0")
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: engine.allocate(epsilon="0.1").status_code, range(25)))
    assert sorted(statuses) == [200] * 10 + [402] * 15
    assert engine.state().spent == "1"


def test_the_answer_says_the_same_exactly_and_roughly(engine: Caller) -> None:
    """Each plain number is the float of its exact text, and exact used plus remaining is the total."""
    answer = engine.allocate(epsilon="0.123456789012345678901", delta="0.0000000001").json()
    assert answer["exact"]["allocated_epsilon"] == "0.123456789012345678901"
    for name, text in answer["exact"].items():
        if name in answer:
            assert answer[name] == float(text)
    spent = Decimal(answer["exact"]["used_epsilon"]) + Decimal(answer["exact"]["remaining_epsilon"])
    assert spent == Decimal(answer["exact"]["total_epsilon"])


# One charge for one key.


def test_the_same_request_again_is_the_same_answer_marked_as_a_replay(engine: Caller) -> None:
    """A repeated request gets an identical body with the replay header, and is charged only once."""
    body = {"job_id": "j", "epsilon": "1"}
    first, again = engine.allocate(**body), engine.allocate(**body)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    assert engine.state().spent == "1"


def test_equal_numbers_in_other_words_are_the_same_request(engine: Caller) -> None:
    """Requests are compared by meaning, so another spelling of the same values is a replay."""
    first = engine.allocate(job_id="j", epsilon="0.50", purpose="p")
    again = engine.allocate(job_id="j", requested_epsilon=0.5, query_description="p")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()


@pytest.mark.parametrize(
    ("first_key", "second_key"),
    [
        ({"header": "h"}, {"header": "h"}),
        ({"operation_id": "o"}, {"operation_id": "o"}),
        ({"header": "h", "operation_id": "o1"}, {"header": "h", "operation_id": "o2"}),
    ],
    ids=["header", "operation_id", "header before operation_id"],
)
def test_where_a_key_is_looked_for(engine: Caller, first_key: dict[str, str], second_key: dict[str, str]) -> None:
    """The header, else the body's operation_id, else job_id."""

    def ask(header: str | None = None, **body: str) -> bool:
        response = engine.allocate({"Idempotency-Key": header} if header else {}, job_id="j", epsilon="1", **body)
        assert response.status_code == 200
        return "idempotency-replayed" in response.headers

    assert not ask(**first_key)
    assert ask(**second_key)
    assert not ask(operation_id="another")
    assert not ask()
    assert ask()


def test_the_same_key_with_another_body_is_refused(engine: Caller) -> None:
    """A used key with any other value is refused, naming the first allocation; the ledger is unchanged."""
    first = engine.allocate(job_id="j", epsilon="1").json()
    before = engine.state()
    for other in ({"epsilon": "2"}, {"epsilon": "1", "delta": "0.000001"}, {"epsilon": "1", "mode": "reserve"},
                  {"epsilon": "1", "purpose": "another"}):  # fmt: skip
        document = assert_problem(engine.allocate(job_id="j", **other), 422, "idempotency_mismatch")
        assert document["allocation_id"] == first["allocation_id"]
    assert engine.state() == before


def test_one_tenants_keys_are_nothing_to_another(live: Live) -> None:
    """Two tenants may use the same key for different requests, and each gets its own allocation."""
    one, other = live.new(), live.new()
    first, second = one.allocate(job_id="j", epsilon=1), other.allocate(job_id="j", epsilon=2)
    assert second.status_code == 200
    assert first.json()["allocation_id"] != second.json()["allocation_id"]


def test_a_refusal_is_not_the_last_word(live: Live) -> None:
    """A refusal does not use up its key: after the budget is raised, the same request is admitted."""
    engine = live.new(epsilon="1")
    assert engine.allocate(job_id="j", epsilon="1.5").status_code == 402
    assert live.caller(engine.tenant, "admin").put_budget(epsilon="2").status_code == 200
    assert engine.allocate(job_id="j", epsilon="1.5").status_code == 200


# Many at once.


def test_each_of_a_batch_has_its_own_outcome(live: Live) -> None:
    """Refused items neither stop nor charge the others, and a key repeated in the batch is a replay."""
    engine = live.new(epsilon="3", delta="0")
    items = [
        {"job_id": "a", "epsilon": "1"},
        {"job_id": "a", "epsilon": "1"},
        {"job_id": "a", "epsilon": "2"},
        {"job_id": "b", "epsilon": "-1"},
        {"job_id": "c", "epsilon": "1", "tenant_id": "somebody-else"},
        {"job_id": "d", "epsilon": "2.5"},
        {"job_id": "e", "epsilon": "2"},
    ]
    response = engine.post(BATCH, json={"allocations": items})
    assert response.status_code == 200
    results = response.json()["results"]
    assert [result["status_code"] for result in results] == [200, 200, 422, 422, 403, 402, 200]
    assert [result["replayed"] for result in results] == [False, True] + [False] * 5
    codes = [result["problem"]["code"] for result in results if "problem" in result]
    assert codes == ["idempotency_mismatch", "invalid_request", "forbidden", "budget_exhausted"]
    assert results[0]["allocation"]["allocation_id"] == results[1]["allocation"]["allocation_id"]
    assert results[3]["problem"]["field"] == "epsilon"
    assert engine.state().spent == "3"


def test_a_batch_repeated_under_its_key_charges_nothing(engine: Caller) -> None:
    """A repeated batch replays every allocation as it was and leaves the ledger unchanged."""
    body = {"allocations": [{"job_id": "j", "epsilon": "0.1"} for _ in range(20)]}
    first = engine.post(BATCH, json=body, headers={"Idempotency-Key": "batch"}).json()["results"]
    before = engine.state()
    again = engine.post(BATCH, json=body, headers={"Idempotency-Key": "batch"}).json()["results"]
    assert before.spent == "2"
    assert [result["replayed"] for result in again] == [True] * 20
    assert [result["allocation"] for result in again] == [result["allocation"] for result in first]
    assert engine.state() == before


@pytest.mark.parametrize("count", [0, 1001])
def test_a_batch_is_from_one_to_a_thousand(engine: Caller, count: int) -> None:
    """An empty batch and one of 1001 items are refused, naming the field."""
    response = engine.post(BATCH, json={"allocations": [{"job_id": "j", "epsilon": "0.1"}] * count})
    assert_problem(response, 422, "invalid_request", "allocations")


def test_a_batch_with_an_item_that_is_malformed_names_the_item(engine: Caller) -> None:
    """One malformed item refuses the whole batch by index and field, and nothing is charged."""
    response = engine.post(BATCH, json={"allocations": [{"job_id": "j", "epsilon": 1}, {"job_id": "j", "eps": 1}]})
    assert_problem(response, 422, "invalid_request", "allocations[1].eps")
    assert engine.state().seq == 1


# Platform engines.


def test_a_service_token_speaks_for_the_tenant_that_the_body_names(live: Live) -> None:
    """The charge of a token for all tenants lands on the ledger of the tenant in the body."""
    platform = live.caller("*", "engine", engine="tabular")
    tenant = new_name("tenant")
    answer = platform.allocate(epsilon=1, tenant_id=tenant).json()
    assert (answer["tenant_id"], answer["source_engine"]) == (tenant, "tabular")
    assert live.caller(tenant, "viewer").state().spent == "1"
