"""Training on a real Ray cluster whose parts are killed with SIGKILL: the ledger is right whatever dies, and when.

What is ordered here takes some twenty seconds: long enough to be killed in the middle, on a fast machine too.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from serve_app.service import PREFIX
from tests.acceptance.conftest import LiveService
from tests.acceptance.faults import Record, rays_head_killed, under_load

pytestmark = pytest.mark.cluster

JOBS = f"{PREFIX}/training/jobs"
PATIENCE_SECONDS = 240.0
STEPS = 8_000
ROWS = 600
DATASET = "people"


class Trainer:
    """An engine that orders trainings and watches them."""

    def __init__(self, service: LiveService, tenant: str) -> None:
        self.service = service
        headers = {"Authorization": f"Bearer {service.token(tenant)}"}
        self.http = httpx.Client(base_url=service.url, headers=headers, timeout=60)

    def get(self, path: str) -> dict[str, Any]:
        """An answer, however often it takes while parts of the service are away."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                response = self.http.get(path)
                if response.status_code == 200:
                    answer: dict[str, Any] = response.json()
                    return answer
            except httpx.TransportError:
                pass
            assert time.monotonic() < deadline, f"{path} was never answered"
            time.sleep(0.3)

    def store_rows(self) -> None:
        """Stores rows of two numbers and a category that depends on them."""
        generator = np.random.default_rng(7)
        values = generator.uniform(0, 1, (ROWS, 2))
        edges = [round(float(edge), 3) for edge in np.linspace(0, 1, 11)]
        columns: list[dict[str, Any]] = [{"kind": "number", "name": name, "edges": edges} for name in ("a", "b")]
        columns.append({"kind": "category", "name": "c", "values": ["no", "yes"]})
        path = f"{PREFIX}/generators/dataset/{DATASET}"
        assert self.http.put(path, json={"columns": columns}).status_code == 200
        lines = ["a,b,c", *(f"{a},{b},{'yes' if a > b else 'no'}" for a, b in values)]
        content = "\n".join(lines).encode()
        stored = self.http.put(f"{path}/rows", content=content, headers={"Content-Type": "text/csv"})
        assert stored.status_code == 200, stored.text

    def order(self, workers: int = 1) -> str:
        """Orders a training; its id."""
        body = {"kind": "mlp", "dataset_id": DATASET, "target": "c", "target_epsilon": "0.5", "hidden": [256, 256]}
        response = self.http.post(JOBS, json={**body, "steps": STEPS, "batch_size": 60, "workers": workers})
        assert response.status_code == 202, response.text
        job: str = response.json()["id"]
        return job

    def until_done(self, job: str, steps: int) -> dict[str, Any]:
        """How it stands once it has done so many steps."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := self.get(f"{JOBS}/{job}"))["steps_done"] < steps:
            assert answer["settlement"] is None, (answer["status"], answer["message"])
            assert time.monotonic() < deadline, answer
            time.sleep(0.1)
        return answer

    def until_settled(self, job: str) -> dict[str, Any]:
        """How it stands once its hold has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := self.get(f"{JOBS}/{job}"))["settlement"] is None:
            assert time.monotonic() < deadline, answer
            time.sleep(0.3)
        return answer

    def certificate(self, job: str) -> dict[str, Any]:
        """Of the training's charge."""
        (found,) = self.get(f"{PREFIX}/proof/?allocation_id={job}")["certificates"]
        certificate: dict[str, Any] = found
        return certificate

    def end(self, job: str) -> dict[str, Any]:
        """The one entry that ended its hold."""
        (later,) = self.certificate(job)["later"]
        body: dict[str, Any] = json.loads(later["body"])
        return body


@pytest.fixture
def trainer(live_service: LiveService, request: pytest.FixtureRequest) -> Iterator[Trainer]:
    """An engine of a tenant of its own, with rows."""
    made = Trainer(live_service, f"trainer-{abs(hash(request.node.name))}")
    made.store_rows()
    yield made
    made.http.close()


def workers(service: LiveService) -> list[psutil.Process]:
    """The processes that train."""
    return service.running_as("ray::_work")


def test_two_workers_share_a_training_and_its_cancel_is_charged_for_what_they_did(trainer: Trainer) -> None:
    """Stopped in mid-run: the commit, the training and the certificate say the same number of steps."""
    job = trainer.order(workers=2)
    trainer.until_done(job, 100)
    assert trainer.http.delete(f"{JOBS}/{job}").status_code == 202
    ended = trainer.until_settled(job)
    assert (ended["status"], ended["settlement"], ended["attempt"]) == ("cancelled", "committed", 1), ended["message"]
    assert 100 <= ended["steps_done"] < STEPS
    commit = trainer.end(job)
    assert (commit["kind"], commit["details"]["steps"]) == ("committed", ended["steps_done"])


async def test_a_killed_worker_and_a_killed_head_are_survived(trainer: Trainer, record_property: Record) -> None:
    """The second start goes on from the checkpoint, the third on another cluster; no step is charged twice.

    With Ray's head, which dies under load, all that Ray knew of the job is gone.
    """
    job = trainer.order()
    before = await asyncio.to_thread(trainer.until_done, job, 1_000)
    for worker in workers(trainer.service):
        worker.kill()
    async with under_load(trainer.service, record_property):
        second = await asyncio.to_thread(trainer.until_done, job, before["steps_charged_at_most"] + 500)
        assert second["attempt"] == 2
        await rays_head_killed(trainer.service, "gcs_server", record_property)
    ended = await asyncio.to_thread(trainer.until_settled, job)
    assert (ended["status"], ended["settlement"], ended["steps_done"]) == ("finished", "committed", STEPS)
    assert ended["attempt"] >= 3
    assert "details" not in trainer.end(job)
    assert trainer.get(f"{PREFIX}/budget/status/{ended['tenant_id']}")["allocation_count"] == 1
    # Where it went on, as its own first report of the second start says.
    resumed = [state for state in states(trainer, job) if state["attempt"] == 2 and state["steps_charged_at_most"]]
    assert resumed[0]["steps_done"] <= before["steps_charged_at_most"]
    assert any(0 < state["steps_done"] < STEPS for state in resumed)


def states(trainer: Trainer, job: str) -> list[dict[str, Any]]:
    """All states of an ended training, as its stream has them."""
    with trainer.http.stream("GET", f"{JOBS}/{job}/events") as stream:
        return [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
