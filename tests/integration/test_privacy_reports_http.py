"""Privacy reports over HTTP: what the ledger counts, for whoever may read it, in every form; several side by side."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from accounting.values import decimal_text
from deployments.reporting.task_facts import UNIT
from serve_app.routes.privacy_reports import Writer
from serve_app.service import PREFIX
from tests.support import Caller, Live, assert_problem, new_name
from tests.unit.reporting_helpers import facts, facts_of

GENERATORS, JOBS = f"{PREFIX}/generators", f"{PREFIX}/training/jobs"
MEDIA_TYPES = {"html": "text/html", "png": "image/png", "svg": "image/svg+xml"}
PATIENCE_SECONDS = 120.0
ROWS = 300
COLUMNS: list[dict[str, Any]] = [
    {"kind": "number", "name": "age", "edges": [0.0, 20.0, 40.0, 60.0, 80.0], "whole": True},
    {"kind": "category", "name": "ill", "values": ["yes", "no"]},
]
MLP = {"kind": "mlp", "target": "ill", "hidden": [4], "batch_size": 30, "steps": 30}


def stored(caller: Caller) -> str:
    """The name of a data set of 300 people, whose rows are stored in the caller's name."""
    name, drawn = new_name("people"), np.random.default_rng(3)
    lines = [f"{age},{'yes' if age > 50 else 'no'}" for age in drawn.integers(0, 80, ROWS)]
    path = f"{GENERATORS}/dataset/{name}"
    assert caller.request("PUT", path, json={"columns": COLUMNS}).status_code == 200
    content = "\n".join(["age,ill", *lines]).encode()
    answer = caller.request("PUT", f"{path}/rows", content=content, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 200, answer.text
    return name


def ordered(caller: Caller, name: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401
    """An order that is accepted."""
    response = caller.post(JOBS, json={"kind": "dp-marginal", "dataset_id": name, "target_epsilon": "1", **body})
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


def once(caller: Caller, job: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The training as soon as it stands so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        answer: dict[str, Any] = caller.get(f"{JOBS}/{job}").json()
        if wanted(answer):
            return answer
        time.sleep(0.2)
    raise AssertionError(f"it did not come to that: {answer}")


def settled(answer: dict[str, Any]) -> bool:
    """Whether its hold is."""
    return answer["settlement"] is not None


def report(caller: Caller, job: str) -> dict[str, Any]:
    """The report of a training."""
    response = caller.get(f"{GENERATORS}/{job}/privacy-report")
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.fixture(scope="module")
def owner(live: Live) -> Caller:
    """An engine with a budget large enough for all of this module."""
    return live.new(epsilon="20", delta="0.0001")


@pytest.fixture(scope="module")
def people(owner: Caller) -> str:
    """Its data set."""
    return stored(owner)


@pytest.fixture(scope="module")
def synthesizer(owner: Caller, people: str) -> dict[str, Any]:
    """A synthesizer that has been made and paid for."""
    return once(owner, ordered(owner, people)["id"], settled)


def certified(caller: Caller, job: str) -> dict[str, Any]:
    """The certificate of a training's charge."""
    response = caller.get(f"{PREFIX}/proof/?allocation_id={job}")
    assert response.status_code == 200, response.text
    (certificate,) = response.json()["certificates"]
    found: dict[str, Any] = certificate
    return found


PRICING = """
import sys
from decimal import Decimal
from accounting.events import PoissonGaussianEvent, SelfComposedEvent
from accounting.plans import price_plan
from accounting.values import decimal_text
sigma, probability, steps, delta = map(Decimal, sys.argv[1:])
step = PoissonGaussianEvent(sigma, Decimal(1), probability)
print(decimal_text(price_plan(SelfComposedEvent(step, int(steps)), delta).loss.epsilon))
"""


def priced_elsewhere(sigma: str, probability: Decimal, steps: int, delta: str) -> str:
    """The epsilon of so many steps, from these four numbers, by a process that remembers no other price."""
    program = [sys.executable, "-c", PRICING, sigma, str(probability), str(steps), delta]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()


def test_one_epsilon_to_the_last_digit_everywhere(owner: Caller, people: str) -> None:
    """In hold, ledger entry, certificate and report, and computed anew from what the model file says was done."""
    job = ordered(owner, people, **MLP)
    assert once(owner, job["id"], settled)["status"] == "finished"
    certificate, found = certified(owner, job["id"]), report(owner, job["id"])

    content = owner.get(f"{JOBS}/{job['id']}/files/model.safetensors").content
    length = int.from_bytes(content[:8], "little")
    recipe = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["about"])["recipe"]
    assert recipe["steps"] == 30
    drawn = Decimal(-(-recipe["batch"] * 2**24 // recipe["records"])) / 2**24

    told = {
        "hold": job["hold"]["exact"]["allocated_epsilon"],
        "ledger entry": json.loads(certificate["entry"]["body"])["charge"]["basic"]["epsilon"],
        "certificate": certificate["claim"]["epsilon"],
        "report": found["spending"]["spent"]["epsilon"],
        "its guarantee": found["guarantee"]["epsilon"],
        "priced in it": found["spending"]["planned_epsilon"],
        "computed anew": priced_elsewhere(recipe["multiplier"], drawn, recipe["steps"], job["target_delta"]),
    }
    assert len(set(told.values())) == 1, told
    assert found["spending"]["steps_run"] == 30
    assert found["mechanism"]["noise_multiplier"] == recipe["multiplier"]


def test_a_report_says_what_is_charged_and_what_is_left(owner: Caller, synthesizer: dict[str, Any]) -> None:
    """Of the target, and of the budget after it."""
    found = report(owner, synthesizer["id"])
    assert found["status"] == "committed"
    assert found["spending"]["planned_epsilon_equals_spent"] is True
    later = json.loads(certified(owner, synthesizer["id"])["later"][-1]["body"])
    left = Decimal(later["budget"]["basic"]["epsilon"]) - Decimal(later["spent"]["basic"]["epsilon"])
    assert found["spending"]["remaining"]["epsilon"] == decimal_text(left)
    assert found["spending"]["budget"]["epsilon"] == "20"
    assert found["guarantee"]["unit"] == UNIT
    assert found["guarantee"]["records"] == ROWS


def test_a_report_comes_as_page_and_as_pictures(owner: Caller, synthesizer: dict[str, Any]) -> None:
    """One file each, with the exact epsilon where there is text; the same bytes when it is asked for again."""
    path = f"{GENERATORS}/{synthesizer['id']}/privacy-report"
    epsilon = report(owner, synthesizer["id"])["guarantee"]["epsilon"]
    begins = {"html": b"<!DOCTYPE html>", "png": b"\x89PNG", "svg": b"<?xml"}
    for form, start in begins.items():
        response = owner.get(path, params={"format": form})
        assert response.headers["content-type"].partition(";")[0] == MEDIA_TYPES[form]
        assert response.content.lower().startswith(start.lower())
        assert owner.get(path, params={"format": form}).content == response.content
        if form == "html":
            assert f">{epsilon}<" in response.text
    assert_problem(owner.get(path, params={"format": "pdf"}), 422, "invalid_request", "format")


def test_before_the_hold_is_settled_the_report_says_so(owner: Caller, people: str) -> None:
    """The whole of it counts; once it is voided nothing does, and no level is told."""
    job = ordered(owner, people, launch="caller", target_epsilon="0.5")
    found = report(owner, job["id"])
    assert found["status"] == "held"
    assert "The hold is open" in found["standing"]
    assert found["spending"]["spent"]["epsilon"] == job["hold"]["exact"]["allocated_epsilon"]
    assert found["spending"]["steps_run"] == 0
    assert owner.request("DELETE", f"{JOBS}/{job['id']}").status_code == 202
    once(owner, job["id"], settled)
    found = report(owner, job["id"])
    assert (found["status"], found["spending"]["spent"]["epsilon"]) == ("voided", "0")
    assert found["level"]["level"] is None


def test_a_job_that_was_stopped_tells_the_steps_that_were_charged(owner: Caller, people: str) -> None:
    """As the commit has them, with what these alone would have cost beside what the ledger counts."""
    job = ordered(owner, people, **MLP, launch="caller")
    for body in (
        {"kind": "started"},
        {"kind": "reading"},
        {"kind": "progress", "done": 8, "through": 12},
    ):
        answer = owner.post(f"{JOBS}/{job['id']}/reports", json={"attempt": 1, **body})
        assert answer.status_code == 200, answer.text
    assert owner.request("DELETE", f"{JOBS}/{job['id']}").status_code == 202
    end = {"kind": "end", "attempt": 1, "ending": "cancelled", "done": 10}
    assert owner.post(f"{JOBS}/{job['id']}/reports", json=end).status_code == 200
    once(owner, job["id"], settled)
    commit = json.loads(certified(owner, job["id"])["later"][-1]["body"])
    spending = report(owner, job["id"])["spending"]
    assert spending["steps_run"] == commit["details"]["steps"] == 10
    given_back = Decimal(commit.get("charge", {}).get("basic", {}).get("epsilon", "0"))
    held = Decimal(job["hold"]["exact"]["allocated_epsilon"])
    assert spending["spent"]["epsilon"] == decimal_text(held - given_back)
    assert 0 < Decimal(spending["epsilon_of_steps_run"]) < held


def test_whose_data_is_protected_is_what_was_registered(live: Live) -> None:
    """Unit and adjacency are those of the data set that is charged too."""
    caller = live.new(epsilon="5")
    name = stored(caller)
    registered = {"epsilon": "3", "delta": "0.00001", "privacy_unit": "patient", "adjacency": "add_remove"}
    path = f"{PREFIX}/budget/{caller.tenant}/datasets/{name}"
    assert live.caller(caller.tenant, "admin").request("PUT", path, json=registered).status_code == 200
    found = report(caller, ordered(caller, name, launch="caller")["id"])
    assert found["guarantee"]["unit"] == "patient"
    assert found["dataset_has_budget"] is True


def test_only_who_may_read_the_tenant_gets_a_report(live: Live, owner: Caller, synthesizer: dict[str, Any]) -> None:
    """Viewers do. For another tenant there is no such training, nor for an id that is none, or a plain charge's."""
    path = f"{GENERATORS}/{synthesizer['id']}/privacy-report"
    assert live.caller(owner.tenant, "viewer").get(path).status_code == 200
    assert_problem(live.caller(owner.tenant, "task").get(path), 403, "forbidden")
    assert_problem(live.stranger(owner.tenant).get(path), 401, "unauthenticated")
    assert_problem(live.new().get(path), 404, "not_found", "id")
    assert_problem(owner.get(f"{GENERATORS}/none/privacy-report"), 404, "not_found", "id")
    charge = owner.allocate(epsilon="0.1").json()["allocation_id"]
    assert_problem(owner.get(f"{GENERATORS}/{charge}/privacy-report"), 404, "not_found", "id")


def test_several_are_added_up_side_by_side(owner: Caller, people: str, synthesizer: dict[str, Any]) -> None:
    """All that is made of one data set costs its people the sum; as numbers and as a page."""
    other = ordered(owner, people, launch="caller", target_epsilon="0.25")
    ids = {"id": [synthesizer["id"], other["id"]]}
    found = owner.get(f"{GENERATORS}/privacy-reports", params=ids).json()
    assert [row["job_id"] for row in found["models"]] == ids["id"]
    alone = [Decimal(report(owner, one)["spending"]["spent"]["epsilon"]) for one in ids["id"]]
    assert found["together"] == [
        {"dataset_id": people, "epsilon": decimal_text(alone[0] + alone[1]), "delta": "0.000002"}
    ]
    page = owner.get(f"{GENERATORS}/privacy-reports", params={**ids, "format": "html"})
    assert page.headers["content-type"].startswith("text/html")
    assert all(one in page.text for one in ids["id"])


def test_what_cannot_be_put_side_by_side_is_refused(live: Live, owner: Caller, synthesizer: dict[str, Any]) -> None:
    """One alone, more than eight, the same twice, another tenant's."""
    path, one = f"{GENERATORS}/privacy-reports", synthesizer["id"]
    for ids in ([one], [one] * 9, [one, one.upper()]):
        assert_problem(owner.get(path, params={"id": ids}), 422, "invalid_request", "id")
    assert_problem(owner.get(path, params={"id": [one, "none"]}), 404, "not_found", "id")
    assert_problem(live.new().get(path, params={"id": [one, one]}), 404, "not_found", "id")


async def test_a_report_is_written_once_and_nobody_waits_for_it_but_who_asked() -> None:
    """Two who ask for it get the same one, and the event loop turns on meanwhile."""
    job, writer, held = facts_of(target_epsilon=facts().spent.epsilon), Writer(), threading.Event()
    writer._thread.submit(held.wait)
    both = asyncio.gather(writer.file(job, "svg"), writer.file(job, "svg"))
    for _ in range(100):
        await asyncio.sleep(0)
    # Written on the loop itself, it would be there by now.
    assert not both.done()
    held.set()
    first, second = await both
    assert first is second
