"""The commands that watch and settle budgets, on the service: what they print, and what becomes of the budget."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serve_app.cli.main import app
from tests.support import Caller, Live

pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")

Invoke = Callable[..., Result]
SPEND = ("allocate", "--epsilon", "0.5", "--job", "j")


@pytest.fixture
def owner(live: Live) -> Caller:
    """A tenant with a budget of 3."""
    return live.new("viewer", epsilon="3")


@pytest.fixture
def run(live: Live, owner: Caller) -> Invoke:
    """Runs a command in the name of that tenant, and expects it to be done."""
    settings = live.service.settings

    def invoke(*arguments: str, status: int = 0) -> Result:
        named = {
            "AUMOS_PRIVACY_URL": settings.base_url,
            "AUMOS_PRIVACY_HOME": str(settings.home),
            "AUMOS_PRIVACY_TENANT": owner.tenant,
        }
        result = CliRunner().invoke(app, list(arguments), env=named)
        assert result.exit_code == status, result.output
        return result

    return invoke


def lines(result: Result) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in result.stdout.splitlines()]


def held(run: Invoke) -> str:
    """The id of a hold."""
    allocation: str = json.loads(run(*SPEND, "--reserve", "--ttl", "600", "--json").stdout)["allocation_id"]
    return allocation


def test_a_hold_is_committed(run: Invoke, owner: Caller) -> None:
    """Once: to commit it again changes nothing and says so, to void it then is refused."""
    allocation = held(run)
    assert run("commit", allocation).stdout.startswith("committed: epsilon 0.5, delta 0\n")
    assert "nothing was charged now" in run("commit", allocation).stdout
    assert "refused: conflict" in run("void", allocation, status=1).stderr
    assert owner.state().spent == "0.5"


def test_a_hold_is_voided(run: Invoke, owner: Caller) -> None:
    """It costs nothing then."""
    assert run("void", held(run)).stdout.startswith("voided: ")
    assert owner.state().spent == "0"


def test_what_to_do_with_a_hold_is_no_part_of_the_answer(run: Invoke) -> None:
    """It is told on stderr; and only holds have a time to live."""
    result = run(*SPEND, "--reserve")
    assert "privacy-engine commit" in result.stderr
    assert "privacy-engine" not in result.stdout
    run(*SPEND, "--ttl", "5", status=2)


def test_refusals_are_listed(run: Invoke) -> None:
    """Which budget refused what; none is said, too."""
    assert run("denials").stdout.startswith("nothing was refused to ")
    run(*SPEND[:2], "5", "--job", "far", status=5)
    heads, line = lines(run("denials"))
    assert heads == ["at", "why", "scope", "epsilon", "delta", "engine", "job"]
    assert (line[2], line[-1]) == ("budget_exhausted", "far")
    assert len(json.loads(run("denials", "--json").stdout)["denials"]) == 1


def test_a_summary_says_what_is_left(run: Invoke) -> None:
    """Of the tenant, and by engine."""
    run(*SPEND)
    told = run("summary").stdout
    assert "epsilon 0.5 of 3 is used" in told
    assert "1 admitted, 0 open holds" in told
    assert json.loads(run("summary", "--json").stdout)["budget"]["exact"]["remaining_epsilon"] == "2.5"


def test_data_sets_are_listed(run: Invoke) -> None:
    """With what is left of each; without any it is said how to register one."""
    assert "privacy-engine dataset" in run("datasets").stdout
    run("dataset", "trial", "--epsilon", "2", "--unit", "patient")
    assert ["trial", "patient", "add_remove", "0", "0", "2", "2", "0"] in lines(run("datasets"))


def test_a_legal_hold_is_placed_and_lifted(run: Invoke) -> None:
    """With a reason, which auditors will read."""
    assert run("legal-hold", "--place", "--reason", "case 7").stdout.endswith(": in force\n")
    assert "a legal hold is in force" in run("budget").stdout
    assert run("legal-hold", "--lift", "--reason", "case 7 is closed").stdout.endswith(": lifted\n")
    run("legal-hold", "--place", "--reason", " ", status=2)


def test_events_are_followed(run: Invoke) -> None:
    """From a place in the log, of one kind, so many of them: in words, and a line of JSON each."""
    run(*SPEND)
    asked = ("events", "--start", "0", "--limit", "2", "--topic", "operations")
    first, second = lines(run(*asked))
    assert first[1:] == ["budget_set", "epsilon=0", "remaining=3"]
    assert second[1:] == ["consumed", "epsilon=0.5", "remaining=2.5", "job_id=j"]
    found = [json.loads(line) for line in run(*asked, "--json").stdout.splitlines()]
    assert [event["exact"]["remaining_epsilon"] for event in found] == ["3", "2.5"]


def test_who_asks_is_told(live: Live, run: Invoke, owner: Caller) -> None:
    """Of a token that was given, and of the one that a command would make."""
    told = run("whoami", "--token", live.token("*", ["auditor"])).stdout
    assert ["tenant", "*"] in [line.split() for line in told.splitlines()]
    assert json.loads(run("whoami", "--json").stdout)["roles"] == ["viewer"]


def test_roles_are_a_table(run: Invoke) -> None:
    """An action a line, a role a column."""
    heads, *actions = lines(run("roles"))
    assert heads[:2] == ["action", "admin"]
    assert ["set_budget", "yes"] in actions
    assert "set_budget" in json.loads(run("roles", "--json").stdout)["actions"]


def test_a_picture_is_drawn(run: Invoke, tmp_path: Path) -> None:
    """Into a file; its numbers; under one filter."""
    run("picture", "-o", str(tmp_path / "loss.png"))
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "members" in json.loads(run("picture", "--format", "json").stdout)
    assert "basic, renyi" in run("picture", "--format", "svg", "--member", "gdp", status=1).stderr


def test_keys_need_no_token(live: Live, run: Invoke, tmp_path: Path) -> None:
    """They are what proofs are verified with."""
    settings = live.service.settings
    run(*SPEND)
    run("proof", "j", "-o", str(tmp_path / "proof.json"))
    published = CliRunner().invoke(app, ["keys", "--url", settings.base_url, "-o", str(tmp_path / "keys.json")])
    assert published.exit_code == 0, published.output
    told = run("verify", str(tmp_path / "proof.json"), "--keys", str(tmp_path / "keys.json")).stdout
    assert "signed by the trusted key" in told


def test_a_plan_can_be_held_by_an_option(run: Invoke, tmp_path: Path) -> None:
    """Its budget is held at once, for the job that is named."""
    event = {"kind": "laplace", "scale": "10", "sensitivity": 1}
    (tmp_path / "plan.json").write_text(json.dumps({"event": event, "delta": 0}))
    answer = json.loads(run("plan", str(tmp_path / "plan.json"), "--hold", "--job", "later", "--json").stdout)
    assert answer["hold"]["job_id"] == "later"
    assert answer["hold"]["state"] == "held"


def test_a_preview_is_for_a_tenant(run: Invoke) -> None:
    """The one that is named, like every other command."""
    asked = ("preview", "--mechanism", "laplace", "--epsilon", "0.5", "--sensitivity", "1", "--tenant", "somebody")
    assert "costs      epsilon 0.5, delta 0" in run(*asked).stdout


def test_nothing_but_the_answer_is_on_stdout_and_nothing_moves_in_a_file(run: Invoke, tmp_path: Path) -> None:
    """What is piped is the document; no bar, no colour and no line that was drawn over."""
    result = run("evidence", "--framework", "gdpr")
    assert json.loads(result.stdout)["framework"] == "gdpr"
    assert result.stderr == ""
    audited = run("audit", "--tenant", json.loads(result.stdout)["tenant_id"], "--json")
    assert json.loads(audited.stdout)["found"] == 0
    assert audited.stderr == ""
