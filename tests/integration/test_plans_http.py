"""Plans over HTTP: priced under every theorem, kept, and free of charge unless they are held."""

from decimal import Decimal
from typing import Any

import pytest

from accounting import plans
from accounting.event_wire import event_from_wire
from accounting.plans import Theorem
from serve_app.service import PREFIX
from tests.support import PICTURE, PLAN, Caller, Live, assert_problem, new_name

STEP: dict[str, Any] = {
    "step_name": "train", "mechanism": "gaussian", "epsilon": 0.5, "delta": 1e-6, "sensitivity": 1.0,
    "data_description": "patients",
}  # fmt: skip


def plan(engine: Caller, *steps: dict[str, Any], **more: Any) -> Any:  # noqa: ANN401
    """The answer to a plan of these steps."""
    response = engine.post(PLAN, json={"name": "plan", "steps": steps, **more})
    assert response.status_code == 200, response.text
    return response.json()


def test_a_plan_is_priced_and_costs_nothing(engine: Caller) -> None:
    """A plan gets an estimate and the balance it would leave, and the ledger stays as it was."""
    before = engine.state()
    answer = plan(engine, STEP, STEP | {"mechanism": "laplace", "delta": 0}, composition_method="sequential")
    assert answer["delta"] == "0.000001"
    assert (answer["name"], answer["num_steps"], answer["status"]) == ("plan", 2, "estimated")
    assert answer["composition_method"] == "basic"
    assert 0.9999 < answer["total_epsilon_estimate"] <= 1
    assert answer["total_delta_estimate"] == 1e-6
    assert answer["is_feasible"] is True
    assert 9 <= answer["remaining_budget_after"] < 9.2
    assert answer["exact"]["remaining_delta_after"] == "0.000009"
    assert [theorem["name"] for theorem in answer["theorems"]] == list(Theorem)
    assert all(theorem["theorem"] for theorem in answer["theorems"])
    valid = {one["name"]: Decimal(one["total_epsilon"]) for one in answer["theorems"] if one["valid"]}
    assert valid[answer["tightest"]] == min(valid.values())
    assert engine.state() == before


def test_a_plan_is_kept(live: Live, engine: Caller) -> None:
    """A plan reads back the same for those of its tenant, and is hidden from everyone else."""
    answer = plan(engine, STEP)
    path = f"{PREFIX}/composition/{answer['plan_id']}"
    assert engine.get(path).json() == answer
    assert live.caller(engine.tenant, "auditor").get(path).json() == answer
    assert_problem(live.new().get(path), 404, "not_found", "plan_id")
    assert_problem(live.new().get(path, params={"tenant_id": engine.tenant}), 403, "forbidden")


@pytest.mark.parametrize("identity", ["nothing", "00000000-0000-8000-8000-000000000000", "%00"])
def test_a_plan_that_is_not_there(engine: Caller, identity: str) -> None:
    """An unknown plan is not found, and a malformed id is answered no differently."""
    assert_problem(engine.get(f"{PREFIX}/composition/{identity}"), 404, "not_found", "plan_id")


@pytest.mark.parametrize(
    ("wish", "theorem"),
    [
        (None, "basic"), ("basic", "basic"), ("sequential", "basic"), ("advanced", "advanced"), ("optimal", "optimal"),
        ("zcdp", "zcdp"), ("renyi", "renyi"), ("rdp", "renyi"), ("pld", "pld"),
    ],
)  # fmt: skip
def test_a_wish_for_a_theorem_gets_its_price(engine: Caller, wish: str | None, theorem: str) -> None:
    """The estimate is the wished theorem's, in each spelling; the others' stand beside it all the same."""
    steps = [STEP | {"mechanism": "laplace", "epsilon": "0.01", "delta": 0}] * 50
    answer = plan(engine, *steps, **({} if wish is None else {"composition_method": wish}))
    assert answer["composition_method"] == theorem
    told = {one["name"]: one for one in answer["theorems"]}[theorem]
    assert answer["total_epsilon_estimate"] == (None if told["total_epsilon"] is None else float(told["total_epsilon"]))


def test_a_wish_for_the_tightest_gets_the_least_epsilon(engine: Caller) -> None:
    """Many small steps cost less than their plain sum, at the delta that the sum would have had."""
    steps = [STEP | {"epsilon": "0.1", "delta": "0.0000001"}] * 50
    answer = plan(engine, *steps, composition_method="tightest")
    assert answer["composition_method"] == answer["tightest"] != "basic"
    assert 0 < answer["total_epsilon_estimate"] < 5
    assert answer["total_delta_estimate"] <= 0.000005


def test_a_plan_beyond_the_budget_is_not_feasible(live: Live) -> None:
    """A plan that costs too much is still priced, and the answer says which filter lacks what."""
    engine = live.new(epsilon="0.9", delta="0")
    step = STEP | {"mechanism": "laplace", "delta": 0}
    answer = plan(engine, step, step)
    assert answer["is_feasible"] is False
    assert answer["remaining_budget_after"] == 0
    assert "epsilon 0.9 of 0.9 is left, and this asks for 1." in answer["feasibility_basis"]
    fitting = plan(engine, step)
    assert fitting["is_feasible"] is True
    assert fitting["exact"]["remaining_epsilon_after"] == "0.4"


def test_without_a_delta_of_its_own_a_plan_is_priced_at_what_the_tenant_has(live: Live) -> None:
    """Pure steps get the default delta, which buys a lower price; a tenant without delta gets the pure one."""
    steps = [STEP | {"mechanism": "laplace", "epsilon": "0.01", "delta": 0}] * 100
    assert plan(live.new(), *steps)["delta"] == "0.00001"
    assert plan(live.new(), *steps, delta="0.000001")["delta"] == "0.000001"
    pure = plan(live.new(epsilon="5", delta="0"), *steps)
    assert (pure["delta"], pure["tightest"], pure["is_feasible"]) == ("0", "basic", True)


def test_a_plan_is_set_against_what_has_been_spent(live: Live) -> None:
    """The same plan fits a fresh budget and no longer fits once most of it is gone."""
    engine = live.new(epsilon="1", delta="0")
    step = STEP | {"mechanism": "laplace", "delta": 0}
    assert plan(engine, step)["is_feasible"] is True
    assert engine.allocate(epsilon="0.6").status_code == 200
    assert plan(engine, step)["is_feasible"] is False


# An event instead of steps.

SGD: dict[str, Any] = {
    "kind": "self_composed",
    "count": 1000,
    "event": {"kind": "poisson_gaussian", "sigma": "1.1", "sensitivity": 1, "sampling_probability": "0.005"},
}


def plan_event(engine: Caller, event: dict[str, Any], **more: Any) -> Any:  # noqa: ANN401
    """The answer to a plan of that event."""
    response = engine.post(PLAN, json={"name": "train", "event": event, **more})
    assert response.status_code == 200, response.text
    return response.json()


def test_dp_sgd_is_priced_whole_and_held(live: Live) -> None:
    """Training is priced at its tightest theorem and held as one charge, which a void gives back."""
    engine = live.new()
    body = {"delta": "0.000001", "hold": True, "job_id": "training", "ttl_seconds": 60, "source_engine": "tabular"}
    answer = plan_event(engine, SGD, **body, composition_method="tightest")
    assert (answer["num_steps"], answer["status"], answer["is_feasible"]) == (1000, "held", True)
    loss = plans.price(event_from_wire(SGD), Decimal("0.000001"))
    assert answer["total_epsilon_estimate"] == float(loss.epsilon)
    assert 0 < loss.epsilon < 2
    hold = answer["hold"]
    assert (hold["state"], hold["job_id"], hold["source_engine"]) == ("held", "training", "tabular")
    assert hold["exact"]["allocated_epsilon"] == format(loss.epsilon.normalize(), "f")
    assert hold["exact"]["remaining_epsilon"] == answer["exact"]["remaining_epsilon_after"]
    assert engine.budget()["allocation_count"] == 1
    assert engine.get(f"{PREFIX}/composition/{answer['plan_id']}").json() == answer
    # The same job again is the same hold.
    assert plan_event(engine, SGD, **body)["hold"] == hold
    assert engine.budget()["allocation_count"] == 1
    assert engine.settle(hold["allocation_id"], "void").status_code == 200
    assert engine.budget()["filters"]["basic"]["spent"] == {"epsilon": "0", "delta": "0"}


def test_a_held_plan_of_steps_costs_its_tightest_price(live: Live) -> None:
    """What was estimated is what is charged; under another key it is charged again."""
    engine = live.new()
    body = {"name": "plan", "steps": [STEP | {"epsilon": "0.05"}] * 40, "hold": True, "job_id": "j"}
    answer = engine.post(PLAN, json=body).json()
    tightest = {one["name"]: one for one in answer["theorems"]}[answer["tightest"]]
    exact = answer["hold"]["exact"]
    assert (exact["allocated_epsilon"], exact["allocated_delta"]) == (
        tightest["total_epsilon"],
        tightest["total_delta"],
    )
    another = engine.post(PLAN, json=body, headers={"Idempotency-Key": "another"}).json()
    assert another["hold"]["allocation_id"] != answer["hold"]["allocation_id"]


def test_a_single_event_can_be_planned_and_held(live: Live) -> None:
    """Pure noise, with the delta that buys a lower epsilon or without: the price and the charge are the same."""
    engine = live.new()
    event = {"kind": "laplace", "scale": "2", "sensitivity": "1"}
    for delta in ("0", "0.000001"):
        answer = plan_event(engine, event, delta=delta, hold=True, job_id=f"job {delta}")
        assert answer["num_steps"] == 1
        exact = answer["hold"]["exact"]
        assert exact["allocated_delta"] == delta
        assert exact["remaining_epsilon"] == answer["exact"]["remaining_epsilon_after"]


def test_a_hold_that_does_not_fit_is_refused_as_the_budget_refuses_it(live: Live) -> None:
    """The refusal is the budget's own, nothing is charged and no plan kept."""
    engine = live.new(epsilon="0.1")
    before = engine.state()
    response = engine.post(PLAN, json={"name": "plan", "steps": [STEP], "hold": True, "job_id": "j"})
    document = assert_problem(response, 402, "budget_exhausted")
    assert document["filters"]
    assert engine.state() == before


def test_a_plan_that_is_only_priced_opens_no_budget(live: Live) -> None:
    """Estimates for a tenant nobody has seen are against the budget it would get; its ledger stays empty."""
    engine = live.new()
    assert plan(engine, STEP)["is_feasible"] is True
    assert live.caller(engine.tenant, "viewer").get(PICTURE).status_code == 404


def test_a_plan_of_a_platform_engine(live: Live) -> None:
    """A platform engine plans for the tenant it names, and must name one."""
    platform = live.caller("*", "engine")
    assert plan(platform, STEP, tenant_id=new_name("tenant"))["is_feasible"] is True
    refused = platform.post(PLAN, json={"name": "plan", "steps": [STEP]})
    assert_problem(refused, 422, "invalid_request", "tenant_id")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no steps": ({"steps": []}, "steps"),
    "neither steps nor an event": ({"steps": None}, "steps"),
    "steps and an event": ({"event": SGD}, "steps"),
    "a wrong event": ({"steps": None, "event": SGD | {"count": 0}}, "event.count"),
    "a parallel event": ({"steps": None, "event": {"kind": "parallel", "parts": [["a", SGD]]}}, "event"),
    "a delta of one": ({"delta": 1}, "delta"),
    "a delta that is none": ({"delta": "NaN"}, "delta"),
    "a hold that says no delta": (
        {"steps": [STEP | {"mechanism": "laplace", "delta": 0}], "hold": True, "job_id": "j"},
        "delta",
    ),
    "a hold without a job": ({"hold": True}, "job_id"),
    "a hold of a job that is none": ({"hold": True, "job_id": ""}, "job_id"),
    "a time without a hold": ({"ttl_seconds": 60}, "ttl_seconds"),
    "a hold for no time": ({"hold": True, "job_id": "j", "ttl_seconds": 0}, "ttl_seconds"),
    "too many steps": ({"steps": [STEP] * 1001}, "steps"),
    "steps that are no list": ({"steps": STEP}, "steps"),
    "no name": ({"name": None}, "name"),
    "a name that is too long": ({"name": "n" * 1001}, "name"),
    "an unknown method": ({"composition_method": "hope"}, "composition_method"),
    "an unknown field": ({"discount": 1}, "discount"),
    "epsilon NaN": ({"steps": [STEP, STEP | {"epsilon": "NaN"}]}, "steps[1].epsilon"),
    "epsilon negative": ({"steps": [STEP | {"epsilon": -1}]}, "steps[0].epsilon"),
    "epsilon as a bool": ({"steps": [STEP | {"epsilon": True}]}, "steps[0].epsilon"),
    "an exponent bomb": ({"steps": [STEP | {"epsilon": "1e999999"}]}, "steps[0].epsilon"),
    "gaussian without delta": ({"steps": [STEP | {"delta": 0}]}, "steps[0].delta"),
    "laplace with delta": ({"steps": [STEP | {"mechanism": "laplace"}]}, "steps[0].delta"),
    "sensitivity zero": ({"steps": [STEP | {"sensitivity": 0}]}, "steps[0].sensitivity"),
    "an unknown mechanism": ({"steps": [STEP | {"mechanism": "magic"}]}, "steps[0].mechanism"),
    "an unknown field of a step": ({"steps": [STEP | {"count": 5}]}, "steps[0].count"),
    "a step without a name": ({"steps": [{"mechanism": "laplace", "epsilon": 1}]}, "steps[0].step_name"),
}


@pytest.mark.parametrize(("change", "field"), BAD.values(), ids=BAD.keys())
def test_a_plan_that_is_wrong_is_refused_with_the_step(engine: Caller, change: dict[str, Any], field: str) -> None:
    """The refusal names the very field at fault, so that one wrong step can be found among many."""
    response = engine.post(PLAN, json={"name": "plan", "steps": [STEP]} | change)
    assert_problem(response, 422, "invalid_request", field)
