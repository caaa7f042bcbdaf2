"""The service as a user meets it: started by the command line, reached through the load balancer."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from serve_app.runner import find_running
from tests.acceptance.conftest import TWO_OWNERS, LiveService, cli

pytestmark = pytest.mark.cluster


def test_the_quick_start_reaches_its_last_line(live_service: LiveService, tmp_path: Path) -> None:
    """Every release of the quick start is charged, proved and verified through the real deployments."""
    finished = subprocess.run(
        [sys.executable, "-m", "serve_app.quickstart", "--url", live_service.url, "--out", str(tmp_path)],
        env={**os.environ, "AUMOS_PRIVACY_HOME": str(live_service.home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "Quick start finished: every release was charged, proved and verified." in finished.stdout
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_every_documented_path_but_health_keys_and_the_document_needs_a_token(live_service: LiveService) -> None:
    """Through the load balancer, each deployment refuses who brings no token, with a problem document."""
    with httpx.Client(base_url=live_service.url, timeout=20) as client:
        document = client.get("/openapi.json").json()
        guarded = 0
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                response = client.request(method, path.replace("{", "").replace("}", ""))
                if operation.get("security") == []:
                    assert response.status_code == 200, path
                    continue
                guarded += 1
                assert response.status_code == 401, path
                assert response.headers["content-type"] == "application/problem+json"
                assert response.json()["code"] == "unauthenticated"
        assert guarded >= 12


def test_a_tenants_requests_reach_every_deployment_with_one_token(live_service: LiveService) -> None:
    """Allocate, apply, prove, plan and draw with the token of one engine."""
    headers = {"Authorization": f"Bearer {live_service.token('whole-way', 'engine', engine='tabular')}"}
    with httpx.Client(base_url=f"{live_service.url}/api/v1/privacy", headers=headers, timeout=30) as client:
        allocated = client.post("/budget/allocate", json={"job_id": "a job/with a slash", "epsilon": 0.1})
        assert allocated.status_code == 200
        release = {
            "mechanism": "laplace",
            "epsilon": 0.2,
            "sensitivity": 1,
            "data": [3],
            "job_id": "a job/with a slash",
        }
        applied = client.post("/mechanism/apply", json=release)
        assert applied.status_code == 200
        proof = client.get("/proof/a%20job%2Fwith%20a%20slash")
        assert proof.json()["total"]["epsilon"] == "0.3"
        steps = [{"step_name": "one", "mechanism": "laplace", "epsilon": "0.5"}]
        planned = client.post("/composition/plan", json={"name": "next", "steps": steps})
        assert 9.2 <= planned.json()["remaining_budget_after"] < 9.201
        assert client.get(f"/composition/{planned.json()['plan_id']}").json() == planned.json()
        assert client.get("/loss/visualize", params={"format": "svg"}).headers["content-type"] == "image/svg+xml"


def test_a_service_that_runs_is_not_started_twice(live_service: LiveService) -> None:
    """A second ``up`` on the same data folder says where the first one answers."""
    again = cli("up", home=live_service.home)
    assert again.returncode == 0
    assert live_service.url in again.stderr


def test_a_taken_port_is_told_before_anything_is_started(tmp_path: Path) -> None:
    """``up`` on a port that another program holds fails at once and says what to do."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        failed = cli("up", "--port", str(taken.getsockname()[1]), home=tmp_path / "home")
    assert failed.returncode == 1
    assert "is taken by another program" in failed.stderr
    assert not (tmp_path / "home" / "postgres").exists()


def test_ctrl_c_stops_all_that_was_started_and_a_second_start_keeps_the_ledger(live_service: LiveService) -> None:
    """After SIGINT no process is left; after the next start the budget is where it was."""
    home, port = live_service.home, live_service.url.rpartition(":")[2]
    spent = cli("allocate", "--tenant", "kept", "--epsilon", "0.75", "--job", "before", home=home)
    assert spent.returncode == 0, spent.stderr
    supervisor, postgres = psutil.Process(live_service.pid), live_service.postmaster()
    assert postgres is not None
    started = [supervisor, postgres, *supervisor.children(recursive=True)]
    supervisor.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(started, timeout=60)
    assert alive == []
    assert find_running(home) is None
    again = cli("up", "--detach", "--port", port, home=home, **TWO_OWNERS)
    assert again.returncode == 0, again.stderr
    running = find_running(home)
    assert running is not None
    live_service.pid = running.pid
    answer = json.loads(cli("budget", "--tenant", "kept", "--json", home=home).stdout)
    assert answer["exact"]["used_epsilon"] == "0.75"
