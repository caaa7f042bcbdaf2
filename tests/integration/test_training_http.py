"""Training over HTTP: ordered, held, carried out by a process of its own, settled; and every way in which it is not."""

import json
import time
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from serve_app.service import PREFIX
from tests.support import Caller, Live, assert_problem, new_name

JOBS = f"{PREFIX}/training/jobs"
PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="module")
def rows() -> tuple[list[dict[str, Any]], bytes]:
    """Public columns, and a CSV file of 569 people with three measurements and a diagnosis."""
    data = load_breast_cancer()
    columns: list[dict[str, Any]] = [
        {"kind": "number", "name": name, "edges": [float(edge) for edge in np.linspace(0, top, 9)]}
        for name, top in (("radius", 40.0), ("texture", 50.0), ("smoothness", 0.2))
    ]
    columns.append({"kind": "category", "name": "diagnosis", "values": ["malignant", "benign"]})
    lines = ["radius,texture,smoothness,diagnosis"]
    lines += [
        f"{row[0]},{row[1]},{row[4]},{data.target_names[label]}"
        for row, label in zip(data.data, data.target, strict=True)
    ]
    return columns, "\n".join(lines).encode()


@pytest.fixture
def owner(live: Live, rows: tuple[list[dict[str, Any]], bytes]) -> tuple[Caller, str]:
    """An engine whose data set `people` has its rows stored."""
    caller, name = live.new(), new_name("people")
    columns, content = rows
    declared = caller.request("PUT", f"{PREFIX}/generators/dataset/{name}", json={"columns": columns})
    assert declared.status_code == 200, declared.text
    path = f"{PREFIX}/generators/dataset/{name}/rows"
    stored = caller.request("PUT", path, content=content, headers={"Content-Type": "text/csv"})
    assert stored.status_code == 200, stored.text
    assert stored.json()["rows"] == 569
    return caller, name


def order(caller: Caller, name: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401
    """An order that is accepted."""
    asked = {"kind": "dp-marginal", "dataset_id": name, "target_epsilon": "1", **body}
    response = caller.post(JOBS, json=asked)
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ended(caller: Caller, job: str) -> dict[str, Any]:
    """The training once its hold is settled."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        answer: dict[str, Any] = caller.get(f"{JOBS}/{job}").json()
        if answer["settlement"] is not None:
            return answer
        time.sleep(0.2)
    raise AssertionError(f"the training did not end: {answer}")


def test_synthetic_rows_are_ordered_paid_for_and_fetched(owner: tuple[Caller, str]) -> None:
    """The hold is committed whole, the rows are there with the columns' types, and the charge is what was held."""
    caller, name = owner
    ordered = order(caller, name, num_rows=200)
    held = caller.budget()
    done = ended(caller, ordered["id"])
    assert done["status"] == "finished", done
    assert done["settlement"] == "committed"
    assert done["files"] == ["model.json", "rows.csv"]
    assert caller.budget()["exact"]["used_epsilon"] == held["exact"]["used_epsilon"]
    lines = caller.get(f"{JOBS}/{ordered['id']}/files/rows.csv").text.splitlines()
    assert lines[0] == "radius,texture,smoothness,diagnosis"
    assert len(lines) == 201
    assert 0 <= float(lines[1].split(",")[0]) <= 40
    assert Decimal(str(ordered["hold"]["allocated_epsilon"])) <= 1
    assert json.loads(caller.get(f"{JOBS}/{ordered['id']}/files/model.json").text)


def test_a_repeated_order_is_the_same_training(owner: tuple[Caller, str]) -> None:
    """The same key and body: the first answer again, one hold, one task."""
    caller, name = owner
    key = {"Idempotency-Key": new_name("key")}
    body = {"kind": "dp-marginal", "dataset_id": name, "target_epsilon": "0.5", "job_id": "again"}
    first, second = (caller.post(JOBS, headers=key, json=body) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["idempotency-replayed"] == "true"
    assert len(caller.get(JOBS).json()["jobs"]) == 1
    ended(caller, first.json()["id"])


def test_an_order_beyond_the_budget_stores_no_task(live: Live, owner: tuple[Caller, str]) -> None:
    """402, nothing held, nothing to dispatch: not a byte of data is read."""
    caller, name = owner
    assert caller.allocate(epsilon="2").status_code == 200
    for _ in range(4):
        caller.allocate(epsilon="1.9")
    before = caller.state()
    body = {"kind": "dp-marginal", "dataset_id": name, "target_epsilon": "2"}
    assert_problem(caller.post(JOBS, json=body), 402, "budget_exhausted")
    assert caller.state() == before
    assert caller.get(JOBS).json()["jobs"] == []


MLP = {"kind": "mlp", "target": "diagnosis", "hidden": [8], "batch_size": 57}


def allocation(caller: Caller, job: str) -> dict[str, Any]:
    """The certificate of the training's charge."""
    response = caller.get(f"{PREFIX}/proof/?allocation_id={job}")
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def test_a_model_is_trained_by_dp_sgd_for_exactly_the_steps_that_were_held(owner: tuple[Caller, str]) -> None:
    """All steps are done, the model file says so, and nothing in it is pickled."""
    caller, name = owner
    ordered = order(caller, name, **MLP, epochs=3)
    assert ordered["steps"] == 30
    assert ordered["event"]["count"] == 30
    done = ended(caller, ordered["id"])
    assert done["status"] == "finished", done
    assert done["steps_done"] == 30
    assert 0 < Decimal(done["epsilon_so_far"]) <= 1
    assert done["files"] == ["model.safetensors"]
    content = caller.get(f"{JOBS}/{ordered['id']}/files/model.safetensors").content
    length = int.from_bytes(content[:8], "little")
    assert json.loads(content[8 : 8 + length])["__metadata__"]


def test_a_cancelled_training_is_charged_for_the_steps_that_it_did(owner: tuple[Caller, str]) -> None:
    """It ends by itself, says how many, and the commit says the same; what it made cannot be had."""
    caller, name = owner
    ordered = order(caller, name, **{**MLP, "hidden": [256, 256]}, steps=5_000)
    job = ordered["id"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while caller.get(f"{JOBS}/{job}").json()["steps_done"] < 20:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert caller.request("DELETE", f"{JOBS}/{job}").json()["status"] == "cancelling"
    done = ended(caller, job)
    assert done["status"] == "cancelled", done
    assert done["settlement"] == "committed"
    assert 20 <= done["steps_done"] == done["steps_charged_at_most"] < 5_000
    (later,) = allocation(caller, job)["certificates"][0]["later"]
    commit = json.loads(later["body"])
    assert (commit["kind"], commit["details"]["steps"]) == ("committed", done["steps_done"])
    assert_problem(caller.get(f"{JOBS}/{job}/files/model.safetensors"), 404, "not_found")


def test_columns_that_are_not_public_are_found_out_about_under_the_same_hold(live: Live) -> None:
    """One hold for what is found and what is made of it; the schema that was found is among the results."""
    caller, name = live.new(), new_name("people")
    columns = [
        {"kind": "unknown_category", "name": "town"},
        {"kind": "unknown_number", "name": "age", "lower": 0, "upper": 100, "bins": 5, "whole": True},
    ]
    path = f"{PREFIX}/generators/dataset/{name}"
    assert caller.request("PUT", path, json={"columns": columns}).status_code == 200
    lines = ["town,age", *(f"{'Ulm' if age % 3 else 'Bonn'},{age % 90}" for age in range(3_000))]
    headers = {"Content-Type": "text/csv"}
    assert caller.request("PUT", f"{path}/rows", content="\n".join(lines).encode(), headers=headers).status_code == 200
    ordered = order(caller, name, num_rows=100)
    assert [event["kind"] for event in ordered["event"]["events"]] == ["composed", "composed"]
    done = ended(caller, ordered["id"])
    assert done["status"] == "finished", done
    assert done["files"] == ["model.json", "rows.csv", "schema.json"]
    town, age = caller.get(f"{JOBS}/{ordered['id']}/files/schema.json").json()["columns"]
    assert sorted(town["values"]) == ["Bonn", "Ulm"]
    assert (age["edges"][0], age["edges"][-1], len(age["edges"])) == (0, 100, 6)
    assert Decimal(str(ordered["hold"]["allocated_epsilon"])) <= 1
    assert len(caller.get(f"{JOBS}/{ordered['id']}/files/rows.csv").text.splitlines()) == 101


def test_deleted_rows_are_gone_and_a_training_that_has_not_read_them_costs_nothing(owner: tuple[Caller, str]) -> None:
    """The files of all versions; nothing can be ordered from them any more."""
    caller, name = owner
    path = f"{PREFIX}/generators/dataset/{name}"
    waiting = order(caller, name, launch="caller")
    deleted = caller.request("DELETE", f"{path}/rows")
    assert deleted.status_code == 200, deleted.text
    assert deleted.json()["rows"] is None
    body = {"kind": "dp-marginal", "dataset_id": name, "target_epsilon": "1"}
    assert_problem(caller.post(JOBS, json=body), 404, "not_found", "dataset_id")
    assert caller.request("DELETE", f"{JOBS}/{waiting['id']}").status_code == 202
    assert ended(caller, waiting["id"])["settlement"] == "voided"
