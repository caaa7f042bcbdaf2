"""The command line: what it prints where, its exit statuses, and what works where the service is not installed."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner, Result

from proofs.signing import SigningKey
from serve_app.auth.policy import Role
from serve_app.cli.access import EngineName
from serve_app.cli.connection import RoleName, claimed_tenant, local_service
from serve_app.cli.main import app
from serve_app.cli.options import data_values, lifetime_seconds
from serve_app.cli.output import exact_json
from serve_app.schemas import SourceEngine
from tests.support import Live, new_name
from tests.unit.proofs_helpers import SIGNER, STRANGER, sample, text_of

Invoke = Callable[..., Result]

NOBODY = "http://127.0.0.1:9"
"""The port of the discard protocol, where nobody answers."""
OF_THE_SERVICE = (
    "ray fastapi starlette pydantic_settings jwt asyncpg alembic sqlalchemy numpy scipy opendp structlog".split()
)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AUMOS_PRIVACY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AUMOS_PRIVACY_HOME", str(tmp_path / "home"))
    # Tables are as wide as the terminal.
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder with a key that signs tokens, and no service."""
    folder = tmp_path / "home"
    SigningKey.load_or_create(folder / "keys" / "token-signing-key.pem")
    return folder


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


def command(*arguments: str, stdin: str | bytes | None = None) -> Result:
    """Runs a command."""
    return CliRunner().invoke(app, list(arguments), input=stdin)


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a token."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def test_importing_the_commands_the_client_and_the_checker_pulls_in_nothing_of_the_service() -> None:
    """None of the service's packages, nor pydantic, is loaded by importing what the base install offers."""
    program = (
        "import sys, serve_app.cli.main, serve_app.client.client, proofs.checker\n"
        f"print(*(name for name in {[*OF_THE_SERVICE, 'pydantic']} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def without_the_service(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command where only the base installation can be imported. (Typer itself brings pydantic.)"""
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({OF_THE_SERVICE}))\n"
        "from serve_app.cli.main import app\n"
        f"app({list(arguments)})"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_proofs_are_verified_where_the_service_is_not_installed(tmp_path: Path) -> None:
    """An auditor needs only the base install: a right proof is found valid, and the help is shown."""
    proof = tmp_path / "proof.json"
    proof.write_text(text_of(sample()))
    done = without_the_service("verify", str(proof))
    assert done.returncode == 0, done.stderr
    assert "VALID" in done.stdout
    assert without_the_service("--help").returncode == 0


@pytest.mark.parametrize("arguments", [("up",), ("down",), ("token", "--tenant", "acme", "--role", "viewer")])
def test_what_needs_the_service_says_how_to_install_it(home: Path, arguments: tuple[str, ...]) -> None:
    """A command whose packages are missing exits with 2 and names the extra to install."""
    done = without_the_service(*arguments)
    assert done.returncode == 2
    assert "install privacy-engine[service]" in done.stderr


def test_the_roles_and_engines_offered_are_those_the_service_knows() -> None:
    """The command line's own lists, kept apart to spare the import, are exactly the service's."""
    # A task's own token is the service's to make.
    assert set(get_args(RoleName)) == set(Role) - {Role.TASK}
    assert set(get_args(EngineName)) == set(get_args(SourceEngine))


class TestToken:
    """``token``."""

    def test_prints_the_token_and_nothing_else(self, home: Path) -> None:
        """Standard output is one line, a token with exactly the tenant, role, engine and lifetime asked for."""
        result = command("token", "--tenant", "acme", "--role", "engine", "--engine", "text", "--lifetime", "2h")
        assert result.exit_code == 0
        assert result.stdout.count("\n") == 1
        claims = claims_of(result.stdout.strip())
        assert (claims["tenant_id"], claims["roles"], claims["engine"]) == ("acme", ["engine"], "text")
        assert claims["exp"] - claims["iat"] == 7_200

    def test_every_tenant_only_for_an_engine_or_an_auditor(self, home: Path) -> None:
        """The tenant * is granted to those roles that it is good for, and refused to every other."""
        for role in ("engine", "auditor"):
            assert command("token", "--tenant", "*", "--role", role).exit_code == 0
        for role in ("admin", "analyst", "viewer"):
            assert command("token", "--tenant", "*", "--role", role).exit_code == 2

    @pytest.mark.parametrize(
        "arguments",
        [
            ("--tenant", "acme", "--role", "root"),
            ("--tenant", "a b", "--role", "admin"),
            ("--tenant", "acme", "--role", "admin", "--engine", "smell"),
            ("--tenant", "acme", "--role", "admin", "--lifetime", "soon"),
            ("--tenant", "acme", "--role", "admin", "--lifetime", "0h"),
            ("--tenant", "acme"),
            ("--role", "admin"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, home: Path, arguments: tuple[str, ...]) -> None:
        """A wrong or missing tenant, role, engine or lifetime exits with 2 and prints no token."""
        result = command("token", *arguments)
        assert result.exit_code == 2
        assert result.stdout == ""

    def test_without_a_key_it_says_where_one_comes_from_and_makes_none(self, tmp_path: Path) -> None:
        """Without a signing key it exits with 2, points to the command up, and leaves no data folder behind."""
        result = command("token", "--tenant", "acme", "--role", "admin")
        assert result.exit_code == 2
        assert "privacy-engine up" in result.stderr
        assert not (tmp_path / "home").exists()

    def test_a_key_that_others_can_read_is_not_used(self, home: Path) -> None:
        """A signing key with mode 644 signs nothing: it exits with 1 and says how to protect the file."""
        (home / "keys" / "token-signing-key.pem").chmod(0o644)
        result = command("token", "--tenant", "acme", "--role", "admin")
        assert result.exit_code == 1
        assert "chmod 600" in result.stderr


class TestVerify:
    """``verify``."""

    @pytest.fixture
    def proof(self, tmp_path: Path) -> Path:
        """A proof that is right."""
        path = tmp_path / "proof.json"
        path.write_text(text_of(sample()))
        return path

    def test_a_right_proof_is_valid_but_its_key_is_not_trusted_by_itself(self, proof: Path, home: Path) -> None:
        """Without trusted keys a right proof is valid, but the report says its key came with the proof."""
        SigningKey.load_or_create(home / "keys" / "proof-signing-key.pem")
        result = command("verify", str(proof))
        assert result.exit_code == 0
        assert "VALID: job 'job-1' of tenant 'tenant-a'" in result.stdout
        assert "which came with the proof" in result.stdout

    def test_keys_that_are_trusted(self, proof: Path, tmp_path: Path) -> None:
        """The same proof is valid under a key set that holds its signer, and not under a stranger's."""
        keys = tmp_path / "keys.json"
        keys.write_text(json.dumps({"keys": [SIGNER.public_jwk]}))
        result = command("verify", str(proof), "--keys", str(keys))
        assert result.exit_code == 0
        assert "signed by the trusted key" in result.stdout
        keys.write_text(json.dumps({"keys": [STRANGER.public_jwk]}))
        result = command("verify", str(proof), "--keys", str(keys))
        assert result.exit_code == 1
        assert "not among the trusted keys" in result.stdout

    def test_a_proof_that_was_changed_is_not_valid(self, proof: Path) -> None:
        """Changing one digit of one epsilon makes the proof not valid, and the report says what is wrong."""
        proof.write_text(proof.read_text().replace('"epsilon":"0.5"', '"epsilon":"0.4"', 1))
        result = command("verify", str(proof))
        assert result.exit_code == 1
        assert "NOT VALID" in result.stdout
        assert "wrong: " in result.stdout

    def test_from_stdin_as_json(self, proof: Path) -> None:
        """A proof can be piped in, and its report is JSON that says whether it is valid and for which job."""
        result = command("verify", "-", "--json", stdin=proof.read_bytes())
        assert result.exit_code == 0
        report = json.loads(result.stdout)
        assert report["valid"] is True
        assert report["name"] == "job-1"

    def test_what_is_no_proof_at_all_is_not_valid(self, tmp_path: Path) -> None:
        """Bytes that are not even text get the verdict not valid, exit status 1, like any wrong proof."""
        junk = tmp_path / "junk"
        junk.write_bytes(b"\xff\x00")
        assert command("verify", str(junk)).exit_code == 1

    @pytest.mark.parametrize("name", ["missing.json", "."])
    def test_what_cannot_be_read(self, tmp_path: Path, name: str) -> None:
        """A missing file or a folder exits with 2, which sets it apart from a proof that is not valid."""
        result = command("verify", str(tmp_path / name))
        assert result.exit_code == 2
        assert "cannot be read" in result.stderr

    @pytest.mark.parametrize("keys", ["", "[]", "{}", '{"keys": 1}', '{"keys": [1]}'])
    def test_keys_that_are_no_key_set(self, proof: Path, tmp_path: Path, keys: str) -> None:
        """A key file that is no JWK set exits with 2 instead of passing for a set without the key."""
        path = tmp_path / "keys.json"
        path.write_text(keys)
        assert command("verify", str(proof), "--keys", str(path)).exit_code == 2


class TestWithoutService:
    """Commands that find nobody to ask."""

    @pytest.mark.parametrize("arguments", [("status",), ("budget",), ("proof", "job-1")])
    def test_none_was_ever_started_here(self, home: Path, arguments: tuple[str, ...]) -> None:
        """Without a state file it exits with 3, prints nothing on stdout and says how to start a service."""
        result = command(*arguments)
        assert result.exit_code == 3
        assert result.stdout == ""
        assert "no service is running" in result.stderr
        assert "privacy-engine up" in result.stderr

    def test_a_service_that_is_gone(self, home: Path) -> None:
        """A state file left by a dead service exits with 3, and as JSON the state is down."""
        (home / "service.json").write_text(json.dumps({"pid": 1, "url": NOBODY, "dashboard_url": None}))
        assert command("status").exit_code == 3
        assert json.loads(command("status", "--json").stdout)["state"] == "down"

    def test_an_interrupted_charge_names_the_key_to_repeat_it_with(self, home: Path) -> None:
        """When no answer comes, the message names the idempotency key, so that a retry charges only once."""
        result = command("allocate", "--url", NOBODY, "--epsilon", "0.1", "--job", "j", "--key", "my-key")
        assert result.exit_code == 3
        assert "--key my-key" in result.stderr

    def test_an_address_that_is_none(self, home: Path) -> None:
        """An address without a scheme is a usage error, exit status 2, not an unreachable service."""
        assert command("budget", "--url", "localhost:8000").exit_code == 2

    def test_no_key_and_no_token(self) -> None:
        """With neither a signing key nor a token it exits with 2 and names the option that takes a token."""
        result = command("budget", "--url", NOBODY)
        assert result.exit_code == 2
        assert "--token" in result.stderr

    def test_a_token_for_every_tenant_needs_one_to_be_named(self, home: Path) -> None:
        """A token for the tenant * says not whose budget is meant, so the option --tenant is demanded."""
        token = command("token", "--tenant", "*", "--role", "engine").stdout.strip()
        result = command("budget", "--url", NOBODY, "--token", token)
        assert result.exit_code == 2
        assert "--tenant" in result.stderr

    @pytest.mark.parametrize("state", ["", "[]", "{}", '{"pid": "x", "url": ""}'])
    def test_a_state_file_that_makes_no_sense_is_none(self, home: Path, state: str) -> None:
        """An empty or malformed state file counts as no service at all and raises nothing."""
        (home / "service.json").write_text(state)
        assert local_service(home) is None

    @pytest.mark.parametrize(
        "arguments",
        [
            ("allocate", "--epsilon", "lots", "--job", "j"),
            ("allocate", "--epsilon", "nan", "--job", "j"),
            ("allocate", "--job", "j"),
            ("apply", "--mechanism", "magic", "--epsilon", "1", "--sensitivity", "1", "--data", "1"),
            ("apply", "--mechanism", "laplace", "--epsilon", "1", "--sensitivity", "1", "--data", "1,,2"),
            ("apply", "--mechanism", "laplace", "--epsilon", "1", "--sensitivity", "1", "--data", "inf"),
            ("budget", "--set-epsilon", "3"),
            ("plan", "missing.json"),
        ],
    )
    def test_what_makes_no_sense_is_refused_before_anybody_is_asked(self, arguments: tuple[str, ...]) -> None:
        """Bad arguments exit with 2 even where nobody answers, so they are checked before any request."""
        assert command(*arguments, "--url", NOBODY).exit_code == 2

    @pytest.mark.parametrize("text", ["", "7", '[{"epsilon": NaN}]', '"steps"'])
    def test_a_plan_that_is_none(self, text: str) -> None:
        """A plan on stdin that is empty, no list of steps or not strict JSON exits with 2, unasked."""
        assert command("plan", "-", "--url", NOBODY, stdin=text).exit_code == 2


class TestOperators:
    """``operator-key`` and ``adjust`` before anybody is asked."""

    def test_a_key_that_is_there_already_is_not_replaced(self, tmp_path: Path) -> None:
        """Its public half may be installed somewhere."""
        file = tmp_path / "operator.pem"
        file.write_text("mine")
        result = command("operator-key", "new", "-o", str(file))
        assert (result.exit_code, result.stdout, file.read_text()) == (2, "", "mine")
        assert "is there already" in result.stderr

    def test_a_key_that_cannot_be_used_is_told(self, tmp_path: Path) -> None:
        """Missing, readable by others, or none at all; no key is made by asking for one."""
        file = tmp_path / "operator.pem"
        adjust = ("adjust", "x", "--reason", "r", "--key", str(file), "--url", NOBODY, "--token", "a.e30.c")
        assert "no such file" in command(*adjust).stderr
        assert not file.exists()
        file.write_text("no key")
        file.chmod(0o644)
        assert "others could read it" in command(*adjust).stderr
        file.chmod(0o600)
        assert "no unencrypted PEM key" in command(*adjust).stderr
        assert command(*adjust).exit_code == 2

    def test_an_adjustment_needs_a_reason(self, tmp_path: Path) -> None:
        """It is what an auditor will read."""
        assert command("adjust", "x", "--reason", " ", "--key", str(tmp_path / "k"), "--url", NOBODY).exit_code == 2

    def test_an_operator_needs_only_the_base_installation(self, tmp_path: Path) -> None:
        """The key is made where no service is installed."""
        done = without_the_service("operator-key", "new", "-o", str(tmp_path / "operator.pem"))
        assert done.returncode == 0, done.stderr
        (key,) = json.loads(done.stdout)["keys"]
        assert key.keys() == {"kty", "crv", "x", "kid"}


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


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800)])
def test_lifetimes(text: str, seconds: int) -> None:
    """A lifetime in seconds, minutes, hours or days comes to the right number of seconds."""
    assert lifetime_seconds(text) == seconds


def test_values_keep_their_kind() -> None:
    """What was typed as an integer stays an int, with or without a sign, and any other number is a float."""
    values = data_values("1, -2,+3,2.5,1e3")
    assert values == [1, -2, 3, 2.5, 1_000.0]
    assert [type(value) for value in values] == [int, int, int, float, float]


def test_numbers_in_json_keep_every_digit() -> None:
    """A fraction is read as its own text, so no float rounds it, and an integer stays an integer."""
    assert exact_json('{"epsilon": 0.10000000000000000001, "steps": 3}') == {
        "epsilon": "0.10000000000000000001",
        "steps": 3,
    }


@pytest.mark.parametrize("token", ["", "a.b", "a.e30.c", "a.W10.c", "a.eyJ0ZW5hbnRfaWQiOjF9.c", "é.é.é"])
def test_a_token_that_names_no_tenant(token: str) -> None:
    """A token that is malformed, or whose tenant is missing or no text, yields None and raises nothing."""
    assert claimed_tenant(token) is None
