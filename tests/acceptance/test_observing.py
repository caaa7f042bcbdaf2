"""On a real cluster Ray exports the metrics under the names that the catalogue tells, and logs are JSON lines."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from serve_app.config import Settings
from serve_app.environment import runtime_folder
from serve_app.observing.catalogue import CATALOGUE
from tests.acceptance.conftest import LiveService

pytestmark = pytest.mark.cluster

KNOWN = {name for metric in CATALOGUE for name in metric.series}
USED = {
    "ray_privacy_allocate_seconds_bucket_total",
    "ray_privacy_batch_entries_sum_total",
    "ray_privacy_budgets_by_use",
    "ray_privacy_decisions_total",
    "ray_privacy_head_age_seconds",
    "ray_privacy_requests_total",
    "ray_privacy_training_tasks",
}
"""What one allocation, its refusal and a service that runs leave behind."""

T = TypeVar("T")


def until(found: Callable[[], T | None]) -> T:
    """What is found, once it is: Ray collects metrics every few seconds."""
    deadline = time.monotonic() + 60
    while (one := found()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return one


def test_metrics_and_logs_come_out_of_ray_as_the_document_says(live_service: LiveService) -> None:
    """A refusal with an id of its own is in a replica's log; a scrape has our names, and none that nobody knows."""
    ray = runtime_folder(Settings.model_validate({"home": live_service.home})) / "ray"
    token = live_service.token("watched")
    with httpx.Client(headers={"Authorization": f"Bearer {token}", "X-Request-ID": "mine-1"}, timeout=20) as client:
        url = f"{live_service.url}/api/v1/privacy/budget"
        assert client.post(f"{url}/allocate", json={"job_id": "j", "epsilon": 1}).status_code == 200
        refused = client.post(f"{url}/allocate", json={"job_id": "k", "epsilon": 100})
        assert refused.status_code == 402
        looked = client.get(f"{url}/watched")
        assert refused.headers.get_list("x-request-id") == looked.headers.get_list("x-request-id") == ["mine-1"]

    def exported() -> set[str] | None:
        targets = json.loads((ray / "prom_metrics_service_discovery.json").read_text())[0]["targets"]
        text = "".join(httpx.get(f"http://{target}/metrics", timeout=20).text for target in targets)
        names = set(re.findall(r"^(ray_privacy_\w+)\{", text, re.MULTILINE))
        assert "watched" not in "".join(line for line in text.splitlines() if line.startswith("ray_privacy"))
        return names if names >= USED else None

    def logged() -> list[dict[str, object]] | None:
        folder = ray / "session_latest" / "logs" / "serve"
        lines = [json.loads(line) for file in folder.glob("replica_budget_*.log") for line in _lines(file)]
        ours = [line for line in lines if line.get("request_id") == "mine-1"]
        return ours if len(ours) >= 2 else None

    assert until(exported) <= KNOWN
    told = {str(line["event"]): line for line in until(logged)}
    assert told["refused"]["code"] == "budget_exhausted"
    assert told["request"]["route"] == "/api/v1/privacy/budget/{tenant_id}"
    assert told["request"]["tenant_id"] == "watched"
    assert told["request"]["application"] == "budget"


def _lines(file: Path) -> list[str]:
    """Whole lines: the last may be half written."""
    whole, newline, _ = file.read_text().rpartition("\n")
    return whole.splitlines() if newline else []
