"""What is told before anything is charged, many statistics in one request, and long vectors."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from serve_app.requests import MAX_BODY
from serve_app.routes.mechanisms import MAX_BATCH, MAX_BATCH_VALUES, MAX_VECTOR_BODY
from tests.support import APPLY, Caller, Live, assert_problem

PREVIEW = "/api/v1/privacy/mechanism/preview"
SELECT = "/api/v1/privacy/mechanism/select"
BATCH = "/api/v1/privacy/mechanism/apply:batch"
LAPLACE: dict[str, Any] = {"mechanism": "laplace", "epsilon": "0.5", "sensitivity": 1}
GAUSSIAN: dict[str, Any] = LAPLACE | {"mechanism": "gaussian", "delta": "0.000001"}
BY_SCALE: dict[str, Any] = {"mechanism": "laplace", "scale": "12.5", "sensitivity": 3}
BY_SIGMA: dict[str, Any] = {"mechanism": "gaussian", "scale": "40", "sensitivity": 3, "delta": "0.000001"}


def batch(
    caller: Caller,
    *operations: dict[str, Any],
    headers: dict[str, str] | None = None,
    **more: Any,  # noqa: ANN401
) -> httpx.Response:
    """Asks for many statistics."""
    return caller.post(BATCH, headers=headers, json={"operations": operations, **more})


@pytest.mark.parametrize("body", [LAPLACE, GAUSSIAN, BY_SCALE, BY_SIGMA], ids=["laplace", "gaussian", "scale", "sigma"])
@pytest.mark.parametrize("data_type", ["float", "integer"])
def test_a_preview_tells_what_the_release_then_says_and_charges(
    engine: Caller, body: dict[str, Any], data_type: str
) -> None:
    """Event, scale, price and accuracy are the same, and the preview itself leaves the budget as it was."""
    shared = body | {"data_type": data_type, "confidence": "0.99"}
    before = engine.state()
    told = engine.post(PREVIEW, json=shared | {"length": 3}).json()
    assert engine.state() == before
    answer = engine.apply(**shared, data=[1, 2, 3]).json()
    for name in ("event", "noise_scale", "accuracy", "mechanism"):
        assert told[name] == answer[name]
    assert told["exact"]["epsilon"] == answer["exact"]["epsilon_consumed"] == engine.state().spent
    assert told["exact"]["delta"] == answer["exact"]["delta_consumed"]
    assert told["accuracy"]["confidence"] == 0.99
    assert told["accuracy"]["joint_half_width"] > told["accuracy"]["half_width"]


def test_a_preview_of_a_choice_tells_what_the_choice_then_says(engine: Caller) -> None:
    """In the same way, for candidates in place of values."""
    shared: dict[str, Any] = {"epsilon": "0.5", "sensitivity": 1, "k": 2, "monotonic": True}
    before = engine.state()
    told = engine.post(PREVIEW, json=shared | {"mechanism": "exponential", "length": 4}).json()
    assert engine.state() == before
    answer = engine.post(SELECT, json=shared | {"scores": [1, 2, 3, 4]}).json()
    for name in ("event", "noise_scale", "accuracy", "mechanism"):
        assert told[name] == answer[name]
    assert told["exact"]["epsilon"] == answer["exact"]["epsilon_consumed"] == "0.5"


def test_the_noise_may_be_given_and_the_price_follows(engine: Caller) -> None:
    """The event has that very scale or sigma, and what it costs is charged."""
    answer = engine.apply(**BY_SCALE, data=5).json()
    assert answer["event"] == {"kind": "laplace", "version": 1, "scale": "12.5", "sensitivity": "3"}
    assert answer["exact"]["epsilon_consumed"] == "0.24"
    answer = engine.apply(**BY_SIGMA, data=5).json()
    assert answer["event"] == {"kind": "discrete_gaussian", "version": 1, "sigma": "40", "sensitivity": "3"}
    assert 0.3 < answer["epsilon_consumed"] < 0.4


def test_one_value_has_one_accuracy(engine: Caller) -> None:
    """All of one value are within what each is within; the default is 95 %."""
    accuracy = engine.apply(**LAPLACE, data=5).json()["accuracy"]
    assert accuracy["confidence"] == 0.95
    assert accuracy["joint_half_width"] == accuracy["half_width"]


def test_another_confidence_is_no_other_question(engine: Caller) -> None:
    """The same key tells the same values, and how close they are with another probability; nothing is charged."""
    key, body = {"Idempotency-Key": "k"}, LAPLACE | {"data": [1, 2], "job_id": "j"}
    first = engine.apply(key, **body).json()
    again = engine.apply(key, **body, confidence="0.5").json()
    assert again["privatized_data"] == first["privatized_data"]
    assert again["accuracy"]["half_width"] < first["accuracy"]["half_width"]
    assert engine.state().seq == 2


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no values": ({"length": 0}, "length"),
    "too many values": ({"length": 1_000_001}, "length"),
    "epsilon and scale": ({"scale": 1}, "scale"),
    "neither": ({"epsilon": None}, "epsilon"),
    "a mechanism that prices nothing here": ({"mechanism": "subsampled"}, "mechanism"),
    "laplace with a delta": ({"delta": "0.000001"}, "delta"),
    "a choice with a delta": ({"mechanism": "exponential", "delta": "0.000001"}, "delta"),
    "a choice of whole numbers": ({"mechanism": "exponential", "data_type": "integer"}, "data_type"),
    "a choice of too many": ({"mechanism": "exponential", "length": 3, "k": 4}, "k"),
    "a choice among too many": ({"mechanism": "exponential", "length": 100_001}, "length"),
    "noise with choices": ({"k": 1}, "k"),
    "noise that is monotonic": ({"monotonic": False}, "monotonic"),
    "a confidence that is none": ({"confidence": "NaN"}, "confidence"),
    "data, which belongs to apply": ({"data": [1]}, "data"),
}


@pytest.mark.parametrize(("change", "field"), BAD.values(), ids=BAD.keys())
def test_a_preview_that_is_wrong_is_refused_by_name(engine: Caller, change: dict[str, Any], field: str) -> None:
    """With the field at fault."""
    assert_problem(engine.post(PREVIEW, json=LAPLACE | change), 422, "invalid_request", field)


def test_each_statistic_of_a_batch_has_its_own_outcome(live: Live) -> None:
    """In their order: what is wrong or does not fit is refused, everything else released and charged."""
    engine = live.new(epsilon="1.2")
    before = engine.state()
    answer = batch(
        engine,
        LAPLACE | {"data": [1, 2]},
        LAPLACE | {"data": []},
        GAUSSIAN | {"data": 7, "data_type": "integer"},
        LAPLACE | {"data": 3},
        LAPLACE | {"epsilon": "0.2", "data": 4},
    ).json()
    results = answer["results"]
    assert [result["status_code"] for result in results] == [200, 422, 200, 402, 200]
    assert [result["replayed"] for result in results] == [False] * 5
    assert len(results[0]["release"]["privatized_data"]) == 2
    assert results[1]["problem"]["field"] == "data"
    assert isinstance(results[2]["release"]["privatized_data"], int)
    assert results[3]["problem"]["code"] == "budget_exhausted"
    assert results[4]["release"]["exact"]["epsilon_consumed"] == "0.2"
    assert engine.state().seq == before.seq + 3


def test_a_repeated_batch_releases_the_same_and_is_charged_once(engine: Caller) -> None:
    """By the header's key or by each operation's own; what has changed under a key is refused alone."""
    for headers, names in (({"Idempotency-Key": "b"}, (None, None)), ({}, ("x", "y"))):
        bodies = [LAPLACE | {"data": [1, 2], "job_id": "j", "operation_id": name} for name in names]
        first = batch(engine, *bodies, headers=headers).json()["results"]
        after = engine.state()
        again = batch(engine, *bodies, headers=headers).json()["results"]
        assert [result["replayed"] for result in again] == [True, True]
        assert [result["release"] for result in again] == [result["release"] for result in first]
        changed = batch(engine, bodies[0], bodies[1] | {"data": [1, 3]}, headers=headers).json()["results"]
        assert [result["status_code"] for result in changed] == [200, 422]
        assert changed[1]["problem"]["code"] == "idempotency_mismatch"
        assert engine.state() == after


def test_a_batch_that_is_wrong_as_a_whole_is_refused_uncharged(engine: Caller) -> None:
    """Empty, too long, or with more values than can be drawn in time."""
    before = engine.state()
    one = LAPLACE | {"data": 1}
    half = LAPLACE | {"data": [0] * (MAX_BATCH_VALUES // 2 + 1)}
    for operations in ([], [one] * (MAX_BATCH + 1), [half, half]):
        assert_problem(batch(engine, *operations), 422, "invalid_request", "operations")
    assert_problem(batch(engine, one, LAPLACE), 422, "invalid_request", "operations[1].data")
    assert engine.state() == before


def test_a_batch_of_nothing_that_can_be_charged_asks_no_budget(live: Live) -> None:
    """Each refusal is told, also where the tenant has no budget yet."""
    results = batch(live.new(), LAPLACE | {"data": []}).json()["results"]
    assert [result["status_code"] for result in results] == [422]


def large(body: dict[str, Any]) -> bytes:
    """The body, with so much room between its members that it counts as a large one."""
    text = json.dumps(body)
    return (text[0] + " " * MAX_BODY + text[1:]).encode()


def test_long_vectors_take_turns_and_are_released(engine: Caller) -> None:
    """Several large bodies at once are all answered; the longer grid of long vectors changes no price."""
    body = large(LAPLACE | {"data": [1.5] * 20_000})
    with ThreadPoolExecutor(3) as pool:
        responses = list(pool.map(lambda _: engine.post(APPLY, content=body), range(3)))
    assert [response.status_code for response in responses] == [200] * 3
    assert len(responses[0].json()["privatized_data"]) == 20_000
    assert engine.state().spent == "1.5"


def test_a_body_beyond_a_million_values_is_refused(engine: Caller) -> None:
    """Before it is read to its end."""
    assert_problem(engine.post(APPLY, content=b" " * (MAX_VECTOR_BODY + 1)), 413, "too_large")
