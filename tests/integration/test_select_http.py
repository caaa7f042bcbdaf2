"""Choices over HTTP: charged first, made once, and never a score in an answer."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support import Caller, Live, assert_problem

SELECT = "/api/v1/privacy/mechanism/select"
NAMES = ["red", "green", "blue"]
BEST: dict[str, Any] = {"epsilon": "0.5", "sensitivity": 1, "scores": [7.0, 31337.5, 3.0]}
"""The second is better by 7,800 scales, so it is chosen."""
CLOSE: dict[str, Any] = {"epsilon": "0.5", "sensitivity": 1, "scores": [0] * 64}


def select(caller: Caller, headers: dict[str, str] | None = None, /, **body: Any) -> httpx.Response:  # noqa: ANN401
    """Asks for a choice."""
    return caller.post(SELECT, headers=headers, json=body)


async def rows(live: Live, tenant: str, query: str) -> Sequence[asyncpg.Record]:
    """What the database holds of the tenant, read as its owner."""
    connection = await asyncpg.connect(live.admin_url)
    try:
        found: Sequence[asyncpg.Record] = await connection.fetch(query, tenant)
        return found
    finally:
        await connection.close()


async def releases(live: Live, tenant: str) -> Sequence[asyncpg.Record]:
    """The tenant's stored releases."""
    return await rows(live, tenant, "SELECT ciphertext, recorded_at FROM prv_release WHERE tenant_id = $1")


def test_the_best_candidate_comes_back_by_name_and_place_with_its_price(engine: Caller) -> None:
    """The ledger is charged exactly the price of the event that the answer states."""
    response = select(engine, **BEST, candidates=NAMES, job_id="j", source_engine="tabular")
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["job_id"], answer["mechanism"]) == ("j", "exponential")
    assert (answer["selected"], answer["selected_indexes"]) == (["green"], [1])
    assert answer["event"] == {
        "kind": "exponential", "version": 1, "scale": "4", "sensitivity": "1", "form": "gumbel", "monotonic": False,
    }  # fmt: skip
    assert answer["accuracy"]["confidence"] == 0.95
    assert answer["accuracy"]["score_gap"] > answer["noise_scale"] >= 4
    assert answer["exact"]["epsilon_consumed"] == engine.state().spent == "0.5"


def test_the_best_few_are_charged_as_so_many_choices(engine: Caller) -> None:
    """The event is one choice, composed with itself; given by its scale, it costs what that scale costs."""
    answer = select(engine, sensitivity=1, scale=8, k=2, scores=[0, 90000, 8000000], candidates=NAMES).json()
    assert answer["selected"] == ["blue", "green"]
    assert (answer["event"]["kind"], answer["event"]["count"]) == ("self_composed", 2)
    assert answer["event"]["event"]["scale"] == "8"
    assert engine.state().spent == "0.5"


def test_scores_that_move_in_one_direction_cost_half(engine: Caller) -> None:
    """At the same noise."""
    select(engine, sensitivity=1, scale=8, scores=[0, 1], monotonic=True)
    assert engine.state().spent == "0.125"


async def test_no_score_leaves_and_the_choice_lies_encrypted(live: Live, engine: Caller) -> None:
    """Neither an answer nor a refusal repeats a score, and the database shows no name."""
    assert "31337" not in select(engine, **BEST, candidates=NAMES).text
    refused = select(engine, **(BEST | {"scores": [31337 * 10**15]}))
    assert_problem(refused, 422, "invalid_request", "scores[0]")
    assert "31337" not in refused.text
    (released,) = await releases(live, engine.tenant)
    assert b"green" not in released["ciphertext"]


async def test_the_charge_is_durable_before_the_choice_is_made(live: Live, engine: Caller) -> None:
    """The ledger entry is recorded before the release, so no choice exists unpaid."""
    select(engine, **BEST)
    (charged,) = await rows(live, engine.tenant, "SELECT recorded_at FROM prv_ledger WHERE tenant_id = $1 AND seq = 2")
    (released,) = await releases(live, engine.tenant)
    assert charged["recorded_at"] < released["recorded_at"]


async def test_an_exhausted_budget_chooses_nothing(live: Live) -> None:
    """A refusal leaves the budget and the stored releases as they were."""
    engine = live.new(epsilon="0.6")
    assert select(engine, **BEST).status_code == 200
    before = engine.state()
    document = assert_problem(select(engine, **BEST), 402, "budget_exhausted")
    assert "selected_indexes" not in document
    assert engine.state() == before
    assert len(await releases(live, engine.tenant)) == 1


def test_a_request_sent_many_times_at_once_gets_one_choice(engine: Caller) -> None:
    """Concurrent retries of one key get the same ten of 64 equal candidates and are charged once."""
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: select(engine, {"Idempotency-Key": "k"}, **CLOSE, k=10).json(), range(6)))
    assert len({str(answer["selected_indexes"]) for answer in answers}) == 1
    assert engine.state().seq == 2


@pytest.mark.parametrize("change", [
    {"scores": [7.0, 31337.5, 4.0]}, {"scores": [7.0, 31337.5]}, {"epsilon": "0.25"}, {"sensitivity": 2}, {"k": 2},
    {"monotonic": True}, {"candidates": NAMES}, {"job_id": "another"},
])  # fmt: skip
def test_the_same_key_for_another_question_is_refused(engine: Caller, change: dict[str, Any]) -> None:
    """A used key never answers a changed request, and the refusal leaves the budget as it was."""
    key, body = {"Idempotency-Key": "k"}, BEST | {"job_id": "j"}
    assert select(engine, key, **body).status_code == 200
    before = engine.state()
    assert_problem(select(engine, key, **(body | change)), 422, "idempotency_mismatch")
    assert engine.state() == before


def test_the_key_of_a_statistic_is_none_of_a_choice(engine: Caller) -> None:
    """A choice among the numbers that were released before is another question."""
    key = {"Idempotency-Key": "k"}
    data = {"mechanism": "laplace", "epsilon": "0.5", "sensitivity": 1, "data": BEST["scores"], "job_id": "j"}
    assert engine.apply(key, **data).status_code == 200
    assert_problem(select(engine, key, **BEST, job_id="j"), 422, "idempotency_mismatch")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no candidates": ({"scores": []}, "scores"),
    "a score that is null": ({"scores": [1, None]}, "scores[1]"),
    "a score that is text": ({"scores": ["1"]}, "scores[0]"),
    "a score beyond doubles": ({"scores": [10**400]}, "scores[0]"),
    "a score beyond 2^53": ({"scores": [0, 2**53 + 1]}, "scores[1]"),
    "k zero": ({"k": 0}, "k"),
    "k negative": ({"k": -1}, "k"),
    "k a bool": ({"k": True}, "k"),
    "k a fraction": ({"k": 1.5}, "k"),
    "more choices than candidates": ({"k": 4}, "k"),
    "more choices than there is time for": ({"scores": [0] * 2_000, "k": 501}, "k"),
    "sensitivity zero": ({"sensitivity": 0}, "sensitivity"),
    "sensitivity negative": ({"sensitivity": -1}, "sensitivity"),
    "sensitivity NaN": ({"sensitivity": "NaN"}, "sensitivity"),
    "epsilon zero": ({"epsilon": 0}, "epsilon"),
    "neither epsilon nor scale": ({"epsilon": None}, "epsilon"),
    "epsilon and scale": ({"scale": 1}, "scale"),
    "a scale of zero": ({"epsilon": None, "scale": 0}, "scale"),
    "a scale without privacy": ({"epsilon": None, "scale": "1e-9"}, "scale"),
    "a delta": ({"delta": "0.000001"}, "delta"),
    "names that are too few": ({"candidates": NAMES[:2]}, "candidates"),
    "names that are too many": ({"candidates": [*NAMES, "white"]}, "candidates"),
    "names that are the same": ({"candidates": ["red", "green", "red"]}, "candidates"),
    "a confidence of 1": ({"confidence": 1}, "confidence"),
    "a confidence of 0": ({"confidence": 0}, "confidence"),
}


@pytest.mark.parametrize(("change", "field"), BAD.values(), ids=BAD.keys())
async def test_a_choice_that_is_wrong_is_refused_uncharged(
    live: Live, engine: Caller, change: dict[str, Any], field: str
) -> None:
    """The refusal names the field at fault, and neither a charge nor a release is recorded."""
    before = engine.state()
    assert_problem(select(engine, **(BEST | change)), 422, "invalid_request", field)
    assert engine.state() == before
    assert len(await releases(live, engine.tenant)) == 0


@pytest.mark.parametrize("number", ["1e400", "NaN", "Infinity", "-Infinity"])
def test_a_score_that_is_no_finite_number_is_refused(engine: Caller, number: str) -> None:
    """As Python's own JSON would read it: OpenDP clamps infinities and goes on."""
    before = engine.state()
    response = engine.post(SELECT, content=f'{{"epsilon": 1, "sensitivity": 1, "scores": [0, {number}]}}')
    assert_problem(response, 422, "invalid_request", "scores[1]" if number == "1e400" else "body")
    assert engine.state() == before


def test_only_who_may_spend_may_choose(live: Live, engine: Caller) -> None:
    """A viewer reads; a choice is a charge."""
    assert_problem(select(live.caller(engine.tenant, "viewer"), **BEST), 403, "forbidden")
