"""Plans over HTTP: priced under every theorem, kept, and free of charge."""

from typing import Any

import pytest

from serve_app.service import PREFIX
from tests.support import PLAN, Caller, Live, assert_problem, new_name

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
    assert (answer["name"], answer["num_steps"], answer["status"]) == ("plan", 2, "estimated")
    assert answer["composition_method"] == "basic"
    assert (answer["total_epsilon_estimate"], answer["total_delta_estimate"]) == (1, 1e-6)
    assert answer["is_feasible"] is True
    assert answer["remaining_budget_after"] == 9
    assert answer["exact"] == {"remaining_epsilon_after": "9", "remaining_delta_after": "0.000009"}
    assert {theorem["name"] for theorem in answer["theorems"]} == {"basic", "renyi"}
    assert all(theorem["theorem"] for theorem in answer["theorems"])
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


def test_a_wish_for_advanced_composition_gets_a_sound_and_tighter_price(engine: Caller) -> None:
    """Many small steps asked for as advanced are priced by Renyi, below their plain sum."""
    answer = plan(engine, *[STEP | {"epsilon": "0.1", "delta": "0.0000001"}] * 50, composition_method="advanced")
    assert answer["composition_method"] == "renyi"
    assert 0 < answer["total_epsilon_estimate"] < 5
    assert answer["tightest"] == "renyi"


def test_a_plan_beyond_the_budget_is_not_feasible(live: Live) -> None:
    """A plan that costs too much is still priced, and the shortfall shown as a negative balance."""
    engine = live.new(epsilon="0.9")
    answer = plan(engine, STEP, STEP)
    assert answer["is_feasible"] is False
    assert answer["remaining_budget_after"] == -0.1
    assert plan(engine, STEP)["is_feasible"] is True


def test_a_plan_of_a_platform_engine(live: Live) -> None:
    """A platform engine plans for the tenant it names, and must name one."""
    platform = live.caller("*", "engine")
    assert plan(platform, STEP, tenant_id=new_name("tenant"))["is_feasible"] is True
    refused = platform.post(PLAN, json={"name": "plan", "steps": [STEP]})
    assert_problem(refused, 422, "invalid_request", "tenant_id")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no steps": ({"steps": []}, "steps"),
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
