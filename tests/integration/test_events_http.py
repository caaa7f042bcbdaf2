"""Events over HTTP: every kind is priced here and charged, however long that takes and whichever filter admits it."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest

from accounting import plans, renyi
from accounting.event_wire import KINDS, event_from_wire
from accounting.events import Event, PoissonGaussianEvent
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.store import LedgerStore
from accounting.values import PrivacyLoss
from serve_app.routes import allocation_request
from serve_app.routes.budget import create_budget_app
from tests.support import BATCH, Caller, Live, assert_problem, new_name

DELTA = "0.000001"
LAPLACE: dict[str, Any] = {"kind": "laplace", "scale": "10", "sensitivity": 1}
SGD: dict[str, Any] = {"kind": "poisson_gaussian", "sigma": "2", "sensitivity": "1", "sampling_probability": "0.01"}
EVENTS: dict[str, tuple[dict[str, Any], str]] = {
    "claim": ({"epsilon": "0.1", "delta": DELTA}, "0"),
    "zcdp": ({"rho": "0.001"}, DELTA),
    "laplace": ({"scale": "10", "sensitivity": 1}, "0"),
    "discrete_laplace": ({"scale": "10.5", "sensitivity": 2}, "0"),
    "gaussian": ({"sigma": 20, "sensitivity": "1.5"}, DELTA),
    "discrete_gaussian": ({"sigma": 20, "sensitivity": "1.5"}, DELTA),
    "exponential": ({"scale": 10, "sensitivity": 1, "form": "permute_and_flip", "monotonic": False}, "0"),
    "randomized_response": ({"probability": "0.55", "categories": 2}, "0"),
    "poisson_gaussian": ({"sigma": 2, "sensitivity": 1, "sampling_probability": "0.01", "unit": "patient"}, DELTA),
    "poisson_laplace": ({"scale": 2, "sensitivity": 1, "sampling_probability": "0.1"}, "0"),
    "fixed_size_gaussian": ({"sigma": 8, "sensitivity": 2, "sample_size": 100, "population": 10000}, DELTA),
    "self_composed": ({"event": SGD, "count": 50}, DELTA),
    "composed": ({"events": [LAPLACE, {"kind": "self_composed", "event": SGD, "count": 3}]}, DELTA),
}


def described(kind: str) -> dict[str, Any]:
    """The event of that kind."""
    return {"kind": kind, **EVENTS[kind][0]}


def test_every_kind_there_is_has_its_example() -> None:
    """A new kind of event is charged over HTTP here, or refused below."""
    assert EVENTS.keys() | {"parallel"} == KINDS


def test_the_interfaces_description_knows_every_kind_and_its_numbers(live: Live) -> None:
    """The document describes all kinds, and each example has what its description needs and nothing else."""
    document = live.client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    kinds = {kind["title"]: kind for kind in schemas["Event"]["oneOf"]}
    assert kinds.keys() == KINDS
    for kind in EVENTS:
        event = described(kind)
        assert set(kinds[kind]["required"]) <= event.keys() <= kinds[kind]["properties"].keys()
    for body in ("AllocateBody", "PlanBody"):
        assert "#/components/schemas/Event" in json.dumps(schemas[body]["properties"]["event"])


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_of_each_kind_is_charged_what_it_costs(engine: Caller, kind: str) -> None:
    """The charge is the core's own price, counted by every filter; a repetition is a replay of the same answer."""
    delta = EVENTS[kind][1]
    loss = plans.price(event_from_wire(described(kind)), Decimal(delta))
    body = {"job_id": "j", "event": described(kind), "delta": delta}
    response = engine.allocate(**body)
    assert response.status_code == 200, response.text
    exact = response.json()["exact"]
    assert (Decimal(exact["allocated_epsilon"]), Decimal(exact["allocated_delta"])) == (loss.epsilon, loss.delta)
    filters = engine.budget()["filters"]
    assert Decimal(filters["basic"]["spent"]["epsilon"]) == loss.epsilon
    assert 0 < Decimal(filters["renyi"]["spent"]["renyi"])
    assert engine.allocate(**body).json() == response.json()
    assert engine.budget()["allocation_count"] == 1


def test_a_number_inside_an_event_is_the_decimal_it_is_written_as(engine: Caller) -> None:
    """No digit of a JSON number is lost, however deep it stands: it is the same request as its text."""
    number = "0.1000000000000000055511151231"  # not the double next to it
    inner = '{"kind": "laplace", "scale": 1, "sensitivity": %s}'
    bodies = [
        '{"job_id": "j", "event": {"kind": "self_composed", "count": 2, "event": ' + inner % value + "}}"
        for value in (number, f'"{number}"')
    ]
    first, again = (engine.raw_allocate(body) for body in bodies)
    assert first.json()["exact"]["allocated_epsilon"] == "0.200000000002"
    assert again.headers["idempotency-replayed"] == "true"
    other = engine.raw_allocate(bodies[0].replace(number, number[:-1] + "2"))
    assert_problem(other, 422, "idempotency_mismatch")


PARALLEL: dict[str, Any] = {"kind": "parallel", "parts": [["north", LAPLACE], ["south", LAPLACE]]}


@pytest.mark.parametrize(
    "event",
    [
        PARALLEL,
        {"kind": "self_composed", "event": PARALLEL, "count": 2},
        {"kind": "composed", "events": [LAPLACE, {"kind": "self_composed", "event": PARALLEL, "count": 1}]},
    ],
    ids=["alone", "repeated", "deep inside"],
)
def test_parallel_composition_needs_partitions_that_are_registered(engine: Caller, event: dict[str, Any]) -> None:
    """Partitions are registered with a data set and charged one by one: such an event is refused wherever it stands."""
    document = assert_problem(engine.allocate(event=event, delta=DELTA), 422, "invalid_request", "event")
    assert "allocate each part by itself under its registered partition" in document["detail"]
    assert engine.state().seq == 1


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a sensitivity that is missing": ({"kind": "laplace", "scale": 1}, "event.sensitivity"),
    "a float where a whole number belongs": ({"kind": "self_composed", "event": LAPLACE, "count": 1.5}, "event.count"),
    "no part": ({"kind": "composed", "events": []}, "event.events"),
    "a wrong part": ({"kind": "composed", "events": [LAPLACE, LAPLACE | {"scale": -1}]}, "event.events[1].scale"),
    "a part that is none": ({"kind": "composed", "events": [1]}, "event.events[0]"),
    "too many repetitions": ({"kind": "self_composed", "event": LAPLACE, "count": 10**8}, "event.count"),
    "a probability above 1": (SGD | {"sampling_probability": "1.01"}, "event.sampling_probability"),
    "sampling under the wrong adjacency": (SGD | {"adjacency": "replace_one"}, "event.adjacency"),
    "an adjacency that is none": (SGD | {"adjacency": "beside"}, "event.adjacency"),
    "an exponent bomb": (LAPLACE | {"scale": "1e999999"}, "event.scale"),
}


@pytest.mark.parametrize(("event", "field"), WRONG.values(), ids=WRONG.keys())
def test_an_event_that_is_wrong_is_refused_with_its_place(engine: Caller, event: dict[str, Any], field: str) -> None:
    """The refusal names the very number at fault, inside a composition too; nothing is charged."""
    assert_problem(engine.allocate(event=event, delta=DELTA), 422, "invalid_request", field)
    assert engine.state().seq == 1


def test_events_of_a_batch_are_charged_each(live: Live) -> None:
    """Light and heavy events stand side by side in a batch, in order, a wrong one between them."""
    engine = live.new()
    events = [described("laplace"), described("self_composed"), PARALLEL, described("gaussian")]
    items = [{"job_id": new_name("job"), "event": event, "delta": "0" if event["kind"] == "laplace" else DELTA}
             for event in events]  # fmt: skip
    results = engine.post(BATCH, json={"allocations": items}).json()["results"]
    assert [result["status_code"] for result in results] == [200, 200, 422, 200]
    assert [result["allocation"]["ledger_seq"] for result in results if "allocation" in result] == [2, 3, 4]


def test_many_gaussians_are_admitted_beyond_basic_composition_until_every_filter_is_full(live: Live) -> None:
    """Gaussians that basic composition would stop are admitted by the Renyi filter; the refusal tells of both."""
    engine = live.new(epsilon="1", delta="0.00001")
    event = {"kind": "gaussian", "sigma": "30", "sensitivity": "1"}
    admitted, beyond_basic = 0, False
    while (response := engine.allocate(event=event, delta="0.0000001")).status_code == 200:
        admitted += 1
        filters = engine.budget()["filters"]
        assert filters["basic"]["holds"] or filters["renyi"]["holds"]
        beyond_basic = beyond_basic or not filters["basic"]["holds"]
    assert beyond_basic
    document = assert_problem(response, 402, "budget_exhausted")
    assert (document["scope"], document["filter"]) == ("tenant lifetime", "renyi")
    assert "None of its filters would hold. Closest is renyi: Renyi divergence " in document["detail"]
    told = {one["filter"]: one for one in document["filters"]}
    budget = engine.budget()
    for name, standing in budget["filters"].items():
        assert told[name]["remaining"] == standing["remaining"]
    assert Decimal(told["basic"]["remaining"]["epsilon"]) < Decimal(told["basic"]["asked"]["epsilon"])
    assert Decimal(told["renyi"]["remaining"]["renyi"]) < Decimal(told["renyi"]["asked"]["renyi"])
    assert document["remaining_budget"] == budget["remaining_budget"]
    assert 0 <= budget["remaining_budget"] < 1
    # What is told to fit does fit, and what is told not to does not.
    offered = document["largest_charge"]
    assert Decimal(offered["epsilon"]) > 0
    assert engine.allocate(epsilon=str(Decimal(offered["epsilon"]) * 2), delta=offered["delta"]).status_code == 402
    assert engine.allocate(**offered).status_code == 200
    # Basic composition alone would have stopped much earlier.
    alone = live.new("admin")
    wishes = [{"filter": "basic", "delta_share": "1"}]
    assert alone.put_budget(epsilon="1", delta="0.00001", filters=wishes).status_code == 200
    spender = live.caller(alone.tenant)
    few = 0
    while spender.allocate(event=event, delta="0.0000001").status_code == 200:
        few += 1
    assert few < admitted


@asynccontextmanager
async def budget_app(live: Live) -> AsyncIterator[httpx.AsyncClient]:
    """The budget's app on the test's own loop, on a ledger in memory."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[LedgerStore]:
        yield MemoryLedgerStore()

    app = create_budget_app(live.service.settings, live.service.verifier(), open_store)
    async with (
        app.app.router.lifespan_context(app.app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://budget") as client,
    ):
        yield client


async def test_pricing_a_heavy_event_holds_nobody_up(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one tenant's plan is priced, another tenant's charges are answered: the pricing ends only after them."""
    began, others_done = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def price(event: Event, delta: Decimal) -> PrivacyLoss:
        if event.kind == "self_composed":
            loop.call_soon_threadsafe(began.set)
            # On the loop itself nobody could ever open this gate.
            assert others_done.wait(60)
        return plans.price(event, delta)

    monkeypatch.setattr(allocation_request, "price", price)

    def ask(client: httpx.AsyncClient, **body: Any) -> Any:  # noqa: ANN401 - a coroutine of httpx
        headers = {"Authorization": f"Bearer {live.token(new_name('tenant'))}"}
        return client.post("/allocate", content=json.dumps({"job_id": "j", **body}), headers=headers)

    async with budget_app(live) as client:
        heavy = asyncio.create_task(ask(client, event=described("self_composed"), delta=DELTA))
        await began.wait()
        for body in ({"epsilon": "0.1"}, {"event": LAPLACE}, {"event": described("gaussian"), "delta": DELTA}):
            assert (await ask(client, **body)).status_code == 200
        assert not heavy.done()
        others_done.set()
        assert (await heavy).status_code == 200


async def test_a_heavy_event_is_never_computed_on_the_owners_loop(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its price nor what the budget's filters count: the owner finds both computed."""
    threads = []
    theirs = renyi.dp_accounting_divergence

    def divergence(event: PoissonGaussianEvent, order: float) -> float:
        threads.append(threading.current_thread())
        return theirs(event, order)

    monkeypatch.setattr(renyi, "dp_accounting_divergence", divergence)
    # Noise that no other test has, as costs are remembered.
    event = {"kind": "self_composed", "event": SGD | {"sigma": "2.7182818"}, "count": 10}
    async with budget_app(live) as client:
        headers = {"Authorization": f"Bearer {live.token(new_name('tenant'))}"}
        body = {"job_id": "j", "event": event, "delta": DELTA}
        assert (await client.post("/allocate", json=body, headers=headers)).status_code == 200
    assert threads
    assert threading.current_thread() not in threads
