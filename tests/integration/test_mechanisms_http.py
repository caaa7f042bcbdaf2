"""Noise over HTTP: charged first, drawn once, the same however often it is asked for."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from accounting.ledger.postgres import PostgresLedgerStore
from tests.ledgers import asked, opened, spent
from tests.support import APPLY, Caller, Live, assert_problem, new_name

LAPLACE: dict[str, Any] = {"mechanism": "laplace", "epsilon": "0.5", "sensitivity": 1, "data": [100.0, 200.0, 300.0]}
GAUSSIAN: dict[str, Any] = LAPLACE | {"mechanism": "gaussian", "delta": "0.000001"}


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


@pytest.mark.parametrize("body", [LAPLACE, GAUSSIAN], ids=["laplace", "gaussian"])
def test_a_statistic_comes_back_with_noise_and_its_price(engine: Caller, body: dict[str, Any]) -> None:
    """The answer differs from the data, and the ledger is charged exactly the price it states."""
    response = engine.apply(**body, job_id="j", source_engine="tabular", query_description="sums")
    assert response.status_code == 200
    answer = response.json()
    assert (answer["job_id"], answer["mechanism"], answer["proof_pending"]) == ("j", body["mechanism"], False)
    assert len(answer["privatized_data"]) == 3
    assert answer["privatized_data"] != body["data"]
    assert answer["noise_scale"] > 0
    assert answer["accuracy"]["half_width"] > answer["noise_scale"]
    # Charged is what the noise really costs, which may be a hair less than was granted.
    assert 0.4999999 < answer["epsilon_consumed"] <= 0.5
    assert answer["delta_consumed"] == float(body.get("delta", 0))
    assert engine.state().spent == answer["exact"]["epsilon_consumed"]
    assert answer["operation_id"]


async def test_the_charge_is_durable_before_any_noise_is(live: Live, engine: Caller) -> None:
    """The ledger entry is recorded before the release, so no noisy answer exists unpaid."""
    engine.apply(**LAPLACE)
    (charged,) = await rows(live, engine.tenant, "SELECT recorded_at FROM prv_ledger WHERE tenant_id = $1 AND seq = 2")
    (released,) = await releases(live, engine.tenant)
    assert charged["recorded_at"] < released["recorded_at"]


async def test_a_release_lies_encrypted(live: Live, engine: Caller) -> None:
    """The stored release does not show its noisy value to whoever reads the database."""
    answer = engine.apply(**LAPLACE).json()
    (released,) = await releases(live, engine.tenant)
    assert str(answer["privatized_data"][0]).encode() not in released["ciphertext"]


async def test_an_exhausted_budget_releases_nothing(live: Live) -> None:
    """A refusal tells what remains, and leaves the budget and the stored releases as they were."""
    engine = live.new(epsilon="0.6")
    assert engine.apply(**LAPLACE).status_code == 200
    before = engine.state()
    document = assert_problem(engine.apply(**LAPLACE), 402, "budget_exhausted")
    assert document["remaining_budget"] == 0.1
    assert "privatized_data" not in document
    assert engine.state() == before
    assert len(await releases(live, engine.tenant)) == 1


async def test_a_repeated_request_gets_the_same_noise_and_is_charged_once(live: Live, engine: Caller) -> None:
    """Two draws for one charge would let a caller average the noise away."""
    key = {"Idempotency-Key": "k"}
    first = engine.apply(key, **LAPLACE)
    again = [engine.apply(key, **LAPLACE) for _ in range(3)]
    assert "idempotency-replayed" not in first.headers
    assert all(response.headers["idempotency-replayed"] == "true" for response in again)
    assert all(response.json() == first.json() for response in again)
    assert engine.state().seq == 2
    assert len(await releases(live, engine.tenant)) == 1


def test_a_request_sent_many_times_at_once_gets_one_noise(engine: Caller) -> None:
    """Concurrent retries of one key all get the same noisy data and are charged once."""
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: engine.apply({"Idempotency-Key": "k"}, **LAPLACE).json(), range(6)))
    assert len({str(answer["privatized_data"]) for answer in answers}) == 1
    assert engine.state().seq == 2


def test_the_operation_id_is_a_key_as_well_and_the_job_is_none(engine: Caller) -> None:
    """Many operations share a job."""
    first = engine.apply(**LAPLACE, operation_id="o", job_id="j").json()
    assert engine.apply(**LAPLACE, operation_id="o", job_id="j").json() == first
    other = engine.apply(**LAPLACE, job_id="j").json()
    assert other["operation_id"] != first["operation_id"]
    assert other["privatized_data"] != first["privatized_data"]
    assert engine.state().seq == 3


@pytest.mark.parametrize("change", [
    {"data": [100.0, 200.0, 300.5]}, {"data": [100.0, 200.0]}, {"data_type": "integer", "data": [100, 200, 300]},
    {"epsilon": "0.25"}, {"sensitivity": 2}, {"job_id": "another"}, GAUSSIAN,
])  # fmt: skip
def test_the_same_key_for_another_question_is_refused(engine: Caller, change: dict[str, Any]) -> None:
    """A used key never answers a changed request, and the refusal leaves the budget as it was."""
    key, body = {"Idempotency-Key": "k"}, LAPLACE | {"job_id": "j"}
    assert engine.apply(key, **body).status_code == 200
    before = engine.state()
    assert_problem(engine.apply(key, **(body | change)), 422, "idempotency_mismatch")
    assert engine.state() == before


def test_whole_numbers_stay_whole(engine: Caller) -> None:
    """Integers come back as integers from either mechanism, with a whole half-width."""
    for mechanism in (LAPLACE, GAUSSIAN):
        answer = engine.apply(**(mechanism | {"data": [10, 20], "data_type": "integer"})).json()
        assert all(isinstance(value, int) for value in answer["privatized_data"])
        assert float(answer["accuracy"]["half_width"]).is_integer()


def test_one_value_is_answered_with_one(engine: Caller) -> None:
    """A single value comes back bare, not in a list: a float, or an int where it is a count."""
    assert isinstance(engine.apply(**(LAPLACE | {"data": 5})).json()["privatized_data"], float)
    assert isinstance(engine.apply(**(LAPLACE | {"data": 5, "data_type": "count"})).json()["privatized_data"], int)


def test_a_platform_engine_spends_for_the_tenant_it_names(live: Live, engine: Caller) -> None:
    """The named tenant pays; naming none is invalid, and only a platform engine may name another."""
    platform = live.caller("*", "engine")
    assert_problem(platform.apply(**LAPLACE), 422, "invalid_request", "tenant_id")
    answer = platform.apply({"X-Service-Name": "aumos-audio-engine"}, **LAPLACE, tenant_id=engine.tenant)
    assert answer.json()["tenant_id"] == engine.tenant
    assert engine.state().spent == "0.5"
    assert_problem(live.new().apply(**LAPLACE, tenant_id=engine.tenant), 403, "forbidden")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "laplace with a delta": ({"delta": "0.000001"}, "delta"),
    "gaussian without a delta": ({"mechanism": "gaussian"}, "delta"),
    "gaussian with delta 0": ({"mechanism": "gaussian", "delta": 0}, "delta"),
    "exponential, which releases no values": ({"mechanism": "exponential"}, "mechanism"),
    "subsampled, which releases no values": ({"mechanism": "subsampled", "delta": "0.000001"}, "mechanism"),
    "a mechanism nobody knows": ({"mechanism": "none"}, "mechanism"),
    "epsilon NaN": ({"epsilon": "NaN"}, "epsilon"),
    "epsilon zero": ({"epsilon": 0}, "epsilon"),
    "epsilon negative": ({"epsilon": -1}, "epsilon"),
    "epsilon below the grid": ({"epsilon": "1e-13"}, "epsilon"),
    "sensitivity NaN": ({"sensitivity": "NaN"}, "sensitivity"),
    "sensitivity zero": ({"sensitivity": 0}, "sensitivity"),
    "sensitivity infinite": ({"sensitivity": "Infinity"}, "sensitivity"),
    "no data": ({"data": []}, "data"),
    "text in the data": ({"data": [1, "2"]}, "data[1]"),
    "a bool in the data": ({"data": [True]}, "data[0]"),
    "null in the data": ({"data": [None]}, "data[0]"),
    "a fraction among whole numbers": ({"data": [1, 2.5], "data_type": "integer"}, "data[1]"),
    "a value beyond doubles": ({"data": [10**400]}, "data[0]"),
    "a value beyond 2^53": ({"data": [2**53 + 1]}, "data[0]"),
    "data that is an object": ({"data": {"a": 1}}, "data"),
    "an unknown field": ({"noise": 0}, "noise"),
    "NUL in the job": ({"job_id": "a\x00"}, "job_id"),
    "NUL in the description": ({"query_description": "a\x00"}, "query_description"),
}


@pytest.mark.parametrize(("change", "field"), BAD.values(), ids=BAD.keys())
async def test_a_question_that_is_wrong_is_refused_uncharged(
    live: Live, engine: Caller, change: dict[str, Any], field: str
) -> None:
    """The refusal names the field at fault, and neither a charge nor a release is recorded."""
    before = engine.state()
    response = engine.apply(**(LAPLACE | change))
    expected = "purpose" if field == "query_description" else field
    assert_problem(response, 422, "invalid_request", expected)
    assert engine.state() == before
    assert len(await releases(live, engine.tenant)) == 0


@pytest.mark.parametrize("number", ["1e400", "NaN", "Infinity", "-Infinity"])
def test_data_that_is_no_finite_number_is_refused(engine: Caller, number: str) -> None:
    """As Python's own JSON would read it: OpenDP answers noise around 0 to a NaN."""
    before = engine.state()
    body = f'{{"mechanism": "laplace", "epsilon": 1, "sensitivity": 1, "data": [{number}]}}'
    response = engine.post(APPLY, content=body)
    assert_problem(response, 422, "invalid_request", "data[0]" if number == "1e400" else "body")
    assert engine.state() == before


def test_the_limit_of_one_operation_holds_here_too(engine: Caller) -> None:
    """An epsilon above the limit of one operation is refused even where the budget would hold it."""
    assert_problem(engine.apply(**(LAPLACE | {"epsilon": 3})), 422, "operation_limit", "epsilon")


@pytest.mark.parametrize(("days", "status"), [(360, 200), (370, 409)])
async def test_a_charge_pays_for_one_draw_even_when_that_may_have_been_purged(
    live: Live, engine: Caller, postgres: PostgresLedgerStore, days: int, status: int
) -> None:
    """A release may be purged after a year. Within it, what is missing was never drawn; later nobody can know."""
    body = {**LAPLACE, "job_id": "j", "operation_id": "k"}
    engine.apply(**body)
    charged = (await postgres.history(engine.tenant))[1]
    then = datetime.now(UTC) - timedelta(days=days)
    first = opened(new_name("tenant"), now=then)
    request = replace(asked(first.tenant_id, "1", key="k", job="j"), request_hash=charged.request_hash or "")
    await postgres.append([first, spent(first, request, then)])
    again = live.caller(first.tenant_id).apply(**body)
    assert again.status_code == status, again.text
    if status == 409:
        document = assert_problem(again, 409, "conflict")
        assert "under a new key" in document["detail"]
