"""The command line against a service: what it asks, and what it says of the answers."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from serve_app.cli.main import app
from tests.support import Live, new_name
from tests.unit.cli_helpers import Invoke, command

pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")


@pytest.fixture
def run(live: Live) -> Invoke:
    """Runs a command against the service under test, in the name of a tenant of its own."""
    settings = live.service.settings
    tenant = new_name("cli")

    def invoke(*arguments: str, stdin: str | None = None, tenant: str | None = tenant) -> Result:
        named = [] if tenant is None else ["--tenant", tenant]
        where = ["--url", settings.base_url, "--home", str(settings.home)]
        return CliRunner().invoke(app, [*arguments, *where, *named], input=stdin)

    return invoke


class TestWithService:
    """Commands against the service."""

    def test_status(self, live: Live, run: Invoke) -> None:
        """A service that is up is reported as ready, with its address, and no tenant has to be named."""
        settings = live.service.settings
        result = run("status", tenant=None)
        assert result.exit_code == 0
        assert f"ready at {settings.base_url}" in result.stdout

    def test_a_service_on_this_machine_is_found_by_its_state_file(self, live: Live, home: Path) -> None:
        """Without an address the one in the state file is asked, and the JSON adds its dashboard and pid."""
        url = live.service.settings.base_url
        (home / "service.json").write_text(json.dumps({"pid": 7, "url": url, "dashboard_url": "http://dash"}))
        result = command("status")
        assert result.exit_code == 0
        assert "http://dash" in result.stdout
        told = json.loads(command("status", "--json").stdout)
        assert (told["url"], told["state"], told["page_url"]) == (url, "ready", f"{url}/")
        assert (told["dashboard_url"], told["pid"], told["replicas"]) == ("http://dash", 7, {})
        assert set(told["checks"].values()) == {"well"}

    def test_replicas_are_told_as_ray_tells_of_them(self, live: Live, home: Path) -> None:
        """By its dashboard, asked with the token in the data folder; without that none are told, and nothing fails."""
        with dashboard("r4y") as address:
            state = {"pid": 7, "url": live.service.settings.base_url, "dashboard_url": address}
            (home / "service.json").write_text(json.dumps(state))
            assert json.loads(command("status", "--json").stdout)["replicas"] == {}
            (home / "keys" / "ray-token").write_text("another")
            assert json.loads(command("status", "--json").stdout)["replicas"] == {}
            (home / "keys" / "ray-token").write_text("r4y\n")
            assert json.loads(command("status", "--json").stdout)["replicas"] == {
                "budget": "2 running",
                "training": "0 of 1 running",
            }
            assert "  training   0 of 1 running\n" in command("status").stdout

    def test_amounts_stay_the_decimals_that_were_typed(self, run: Invoke) -> None:
        """An epsilon of 25 places is charged, subtracted and shown without any digit being rounded."""
        epsilon = "0.1234567890123456789012345"
        assert run("budget", "--set-epsilon", "3", "--set-delta", "1e-5").exit_code == 0
        result = run("allocate", "--epsilon", epsilon, "--delta", "1e-7", "--job", "j", "--json")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["exact"]["allocated_epsilon"] == epsilon
        result = run("budget")
        assert epsilon in result.stdout
        assert "2.8765432109876543210987655" in result.stdout
        assert "0.0000089" in result.stdout  # of the nine tenths of delta that claims may sum to
        assert json.loads(run("budget", "--json").stdout)["exact"]["used_epsilon"] == epsilon

    def test_each_filter_of_the_budget_is_shown(self, run: Invoke) -> None:
        """What each counts, spent and cap, and whether it holds."""
        assert run("budget", "--set-epsilon", "3", "--set-delta", "1e-5").exit_code == 0
        assert run("allocate", "--epsilon", "0.5", "--delta", "2e-6", "--job", "j").exit_code == 0
        lines = [line.split() for line in run("budget").stdout.splitlines()]
        assert ["filter", "counts", "spent", "cap", "holds"] in lines
        assert ["basic", "epsilon", "0.5", "3", "yes"] in lines
        assert ["delta", "0.000002", "0.000009"] in lines
        (renyi,) = (line for line in lines if line[:1] == ["renyi"])
        assert renyi[1:4] == ["renyi", "at", "order"]
        assert renyi[-1] == "no"

    def test_a_key_that_is_used_again(self, run: Invoke) -> None:
        """Repeating a charge under its key charges nothing, and another amount under that key is refused."""
        spend = ("allocate", "--epsilon", "0.5", "--job", "j", "--key", "k")
        assert "nothing was charged now" not in run(*spend).stdout
        assert "nothing was charged now" in run(*spend).stdout
        result = run("allocate", "--epsilon", "0.6", "--job", "j", "--key", "k")
        assert result.exit_code == 1
        assert "idempotency_mismatch" in result.stderr

    def test_each_allocation_is_a_new_one_unless_a_key_is_given(self, run: Invoke) -> None:
        """The same command run twice without a key charges twice: each run makes a key of its own."""
        for _ in range(2):
            assert run("allocate", "--epsilon", "0.5", "--job", "j").exit_code == 0
        assert json.loads(run("budget", "--json").stdout)["allocation_count"] == 2

    def test_a_hold(self, run: Invoke) -> None:
        """With --reserve the output says that the epsilon is held, not that it is spent."""
        assert run("allocate", "--epsilon", "0.5", "--job", "j", "--reserve").stdout.startswith("held: epsilon 0.5")

    def test_an_exhausted_budget_says_what_remains(self, run: Invoke) -> None:
        """A refusal exits with 5, leaves stdout empty and tells on stderr the epsilon and delta left."""
        run("budget", "--set-epsilon", "1", "--set-delta", "0")
        result = run("allocate", "--epsilon", "1.5", "--job", "j")
        assert result.exit_code == 5
        assert result.stdout == ""
        assert "refused: budget_exhausted" in result.stderr
        assert "Under the basic filter, epsilon 1 of 1 is left, and this asks for 1.5." in result.stderr
        assert "largest charge that would fit: epsilon 1 with delta 0" in result.stderr

    def test_noise(self, run: Invoke) -> None:
        """Integer counts stay integers, the price is shown, and repeating the key yields the same noise."""
        counts = ("apply", "--mechanism", "laplace", "--epsilon", "0.5", "--sensitivity", "1", "--data", "1,2,3")
        result = run(*counts, "--integers", "--key", "k", "--job", "j")
        assert result.exit_code == 0
        values, spread, *rest = result.stdout.splitlines()
        assert len([int(value) for value in values.split(",")]) == 3
        assert "probability 0.95" in spread
        assert "charged    epsilon 0.5, delta 0" in rest
        again = run(*counts, "--integers", "--key", "k", "--job", "j")
        assert again.stdout.splitlines()[0] == values
        answer = json.loads(run(*counts, "--json").stdout)
        assert len(answer["privatized_data"]) == 3

    def test_gaussian_noise_needs_a_delta(self, run: Invoke) -> None:
        """The service refuses a Gaussian release without a delta and grants the same one with a delta."""
        release = ("apply", "--mechanism", "gaussian", "--epsilon", "0.5", "--sensitivity", "1", "--data", "-1.5")
        result = run(*release)
        assert result.exit_code == 1
        assert "delta" in result.stderr
        assert run(*release, "--delta", "1e-6").exit_code == 0

    def test_a_plan_is_priced_under_each_theorem(self, run: Invoke, tmp_path: Path) -> None:
        """The tightest theorem is marked, and the plan fits the budget or the missing epsilon is named."""
        step = {"step_name": "a", "mechanism": "gaussian", "epsilon": 0.1, "delta": "1e-7"}
        file = tmp_path / "study.json"
        file.write_text(json.dumps([step] * 20))
        result = run("plan", str(file))
        assert result.exit_code == 0, result.stderr
        assert "study, 20 steps" in result.stdout
        assert " (tightest)" in result.stdout
        assert "basic (tightest)" not in result.stdout
        assert "fits the budget" in result.stdout
        result = run("plan", "-", stdin=json.dumps({"name": "large", "steps": [step | {"epsilon": "31"}]}))
        assert "does not fit the budget: The tenant lifetime budget does not hold it." in result.stdout
        assert "None of its filters would hold." in result.stdout
        assert json.loads(run("plan", str(file), "--json").stdout)["num_steps"] == 20

    def test_a_plan_can_be_held(self, run: Invoke) -> None:
        """A plan of an event that asks for it is held, and its allocation named."""
        event = {"kind": "self_composed", "event": {"kind": "laplace", "scale": "10", "sensitivity": 1}, "count": 3}
        result = run("plan", "-", stdin=json.dumps({"event": event, "delta": 0, "hold": True, "job_id": "j"}))
        assert result.exit_code == 0, result.stderr
        assert "held: epsilon 0.3, delta 0" in result.stdout

    def test_a_proof_travels_from_the_service_to_the_checker(self, run: Invoke, tmp_path: Path) -> None:
        """A proof is the same bytes in a file and on stdout, the checker accepts it, and LaTeX is offered."""
        run("allocate", "--epsilon", "0.5", "--job", "j")
        file = tmp_path / "proof.json"
        result = run("proof", "j", "-o", str(file))
        assert result.exit_code == 0
        assert result.stdout == ""
        assert command("verify", str(file)).exit_code == 0
        # A proof gains its place in the log as soon as that has a head: not between two looks at the same document.
        deadline = time.monotonic() + 60
        while run("proof", "j").stdout_bytes != file.read_bytes():
            assert time.monotonic() < deadline
            run("proof", "j", "-o", str(file))
        assert run("proof", "j", "--format", "latex").stdout.startswith("\\documentclass")
        assert run("proof", "j", "-o", str(tmp_path)).exit_code == 2
        result = run("proof", "another")
        assert result.exit_code == 1
        assert "refused: not_found" in result.stderr

    def test_a_budget_with_windows_shows_this_one_and_the_lifetime(self, run: Invoke) -> None:
        """The window's length and end, what is held, and what no window takes away."""
        put = ("budget", "--set-epsilon", "3", "--set-delta", "0")
        assert run(*put, "--renewal-days", "7").exit_code == 0
        run("allocate", "--epsilon", "0.5", "--job", "j", "--reserve")
        result = run("budget")
        assert "window of 7 days, until 2" in result.stdout
        lines = [line.split() for line in result.stdout.splitlines()]
        assert ["total", "used", "remaining", "held", "lifetime"] in lines
        assert ["epsilon", "3", "0.5", "2.5", "0.5", "0.5"] in lines
        assert run(*put, "--no-renewal").exit_code == 0
        assert "window" not in run("budget").stdout
        assert run(*put, "--no-renewal", "--renewal-days", "7").exit_code == 2
        assert run("budget", "--renewal-days", "7").exit_code == 2

    def test_a_data_set_is_registered_charged_and_shown(self, run: Invoke) -> None:
        """Each of its partitions has a line, and the budget names what is left of it."""
        register = ("dataset", "cohort", "--epsilon", "2", "--unit", "patient")
        parts = ("--partition", "north", "--partition", "south", "--basis", "by hospital")
        result = run(*register, *parts)
        assert result.exit_code == 0, result.stderr
        assert "data set cohort: a patient is protected, add_remove" in result.stdout
        spend = ("allocate", "--epsilon", "0.5", "--job", "j", "--dataset", "cohort", "--partition", "north")
        assert "data set    epsilon 1.5, delta 0" in run(*spend).stdout
        lines = [line.split() for line in run("dataset", "cohort").stdout.splitlines()]
        assert ["(most", "exposed)", "0.5", "2", "1.5", "0"] in lines
        assert ["north", "0.5", "2", "1.5", "0"] in lines
        assert ["south", "0", "2", "2", "0"] in lines
        assert "data set cohort: epsilon 1.5 of 2 is left" in run("budget").stdout
        assert json.loads(run("dataset", "cohort", "--json").stdout)["privacy_unit"] == "patient"
        assert "refused: not_found" in run("dataset", "nothing").stderr
        assert run("dataset", "cohort", "--epsilon", "3").exit_code == 2

    def test_an_operator_makes_a_key_and_takes_a_charge_back(self, live: Live, run: Invoke, tmp_path: Path) -> None:
        """What ``operator-key new`` prints is what the service reads; without it nothing is adjusted."""
        key, keys = tmp_path / "operator.pem", live.service.settings.operator_keys_file
        made = command("operator-key", "new", "-o", str(key))
        assert made.exit_code == 0
        assert (key.stat().st_mode & 0o777, "operators.json" in made.stderr) == (0o600, True)
        charged = json.loads(run("allocate", "--epsilon", "0.5", "--job", "j", "--json").stdout)["allocation_id"]
        adjust = ("adjust", charged, "--reason", "nothing was read", "--key", str(key))
        assert "refused: forbidden" in run(*adjust).stderr
        keys.write_text(made.stdout)
        result = run(*adjust, "--evidence", "ticket 17")
        assert result.exit_code == 0, result.stderr
        assert "adjusted: epsilon 0.5, delta 0 taken back" in result.stdout
        assert json.loads(run("budget", "--json").stdout)["lifetime_epsilon"] == 0
        assert json.loads(run(*adjust, "--json").stdout)["state"] == "adjusted"
        keys.unlink()

    def test_a_given_token_speaks_for_its_own_tenant(self, live: Live, run: Invoke) -> None:
        """A token reads its own tenant's budget unnamed, and without the role for it cannot set the budget."""
        tenant = new_name("own")
        result = run("budget", "--token", live.token(tenant), tenant=None)
        assert result.exit_code == 0
        assert f"budget of {tenant}" in result.stdout
        result = run("budget", "--token", live.token(tenant), "--set-epsilon", "3", "--set-delta", "0", tenant=None)
        assert result.exit_code == 4
        assert "refused: forbidden" in result.stderr


@contextmanager
def dashboard(token: str) -> Iterator[str]:
    """Ray's dashboard, as far as it is asked: one application with two replicas, one whose replica starts."""

    def application(*states: str) -> dict[str, Any]:
        return {"deployments": {"app": {"replicas": [{"state": state} for state in states]}}}

    class Dashboard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == f"Bearer {token}"
            self.send_response(200 if known else 401)
            self.end_headers()
            if not known:
                return
            told = {"training": application("STARTING"), "budget": application("RUNNING", "RUNNING")}
            self.wfile.write(json.dumps({"applications": told}).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with HTTPServer(("127.0.0.1", 0), Dashboard) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_something_else_that_answers_there(home: Path) -> None:
    """Another web server at the address counts as no service: exit status 3, and the message says why."""

    class Greeter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with HTTPServer(("127.0.0.1", 0), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            result = command("budget", "--url", f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert result.exit_code == 3
    assert "not the privacy engine" in result.stderr
