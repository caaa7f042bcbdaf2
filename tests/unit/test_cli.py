"""The command line: what it prints where, its exit statuses, and what works where the service is not installed."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from proofs.signing import SigningKey
from serve_app.auth.policy import Role
from serve_app.cli.access import EngineName
from serve_app.cli.connection import RoleName, claimed_tenant, local_service
from serve_app.cli.options import data_values, lifetime_seconds
from serve_app.cli.output import exact_json
from serve_app.schemas import SourceEngine
from tests.unit.cli_helpers import NOBODY, OF_THE_SERVICE, command, without_the_service
from tests.unit.proofs_helpers import SIGNER, STRANGER, sample, text_of

pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")


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
