"""``privacy-engine rows``, ``generate``, ``train``, ``training``, ``report``, ``evaluate``: what they ask and print."""

import csv
import json
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from serve_app.cli.connection import Connection
from serve_app.cli.main import app
from serve_app.cli.watching import states
from serve_app.client.calls import PREFIX, RefusedError
from tests.support import Live, new_name
from tests.unit.cli_helpers import without_the_service

pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")

Invoke = Callable[..., Result]
NOBODY = "http://127.0.0.1:9"
"""The port of the discard protocol, where nobody answers."""
SCHEMA = {
    "columns": [
        {"kind": "number", "name": "age", "edges": [0, 20, 40, 60, 80], "whole": True},
        {"kind": "category", "name": "ill", "values": ["yes", "no"]},
    ]
}


@pytest.fixture(scope="module")
def tenant() -> str:
    """This module's own."""
    return new_name("cli")


@pytest.fixture(scope="module")
def run(live: Live, tenant: str) -> Invoke:
    """Runs a command against the service under test, in the name of the tenant."""
    settings = live.service.settings

    def invoke(*arguments: str) -> Result:
        where = ["--url", settings.base_url, "--home", str(settings.home), "--tenant", tenant]
        return CliRunner().invoke(app, [*arguments, *where])

    return invoke


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public columns."""
    path = tmp_path_factory.mktemp("schema") / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return path


def people(path: Path, number: int, seed: int) -> Path:
    """A CSV file of so many people."""
    drawn = random.Random(seed)
    ages = [drawn.randrange(80) for _ in range(number)]
    path.write_text("\n".join(["age,ill", *(f"{age},{'yes' if age > drawn.randrange(80) else 'no'}" for age in ages)]))
    return path


@pytest.fixture(scope="module")
def name(run: Invoke, schema: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set whose rows are stored."""
    file = people(tmp_path_factory.mktemp("rows") / "people.csv", 300, 1)
    result = run("rows", "people", "--schema", str(schema), str(file))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0] == "300 rows of people are stored, in 2 columns"
    return "people"


@pytest.fixture(scope="module")
def done(run: Invoke, name: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Synthetic rows that were ordered and waited for: the last answer, and the file they are in."""
    file = tmp_path_factory.mktemp("made") / "synthetic.csv"
    result = run("generate", name, "--epsilon", "1", "--rows", "50", "--output", str(file), "--json")
    assert result.exit_code == 0, result.stderr
    assert "Ctrl-C leaves it running" in result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer, file


def test_synthetic_rows_are_ordered_waited_for_and_kept(done: tuple[dict[str, Any], Path]) -> None:
    """As many as were asked for, under the columns' names, in the file that was named."""
    answer, file = done
    assert (answer["status"], answer["settlement"]) == ("finished", "committed")
    with file.open(newline="") as opened:
        head, *rows = csv.reader(opened)
    assert head == ["age", "ill"]
    assert len(rows) == 50


def test_a_repeated_order_is_said_to_be_one(run: Invoke, name: str) -> None:
    """Under the same key it is the same training, and nothing is charged again."""
    order = ("generate", name, "--epsilon", "0.25", "--key", "again")
    first, second = run(*order), run(*order)
    assert first.exit_code == second.exit_code == 0, second.stderr
    assert "nothing was charged now" in second.stdout
    assert "nothing was charged now" not in first.stdout
    assert first.stdout.splitlines()[1] == second.stdout.splitlines()[1]
    assert first.stdout.startswith("held: epsilon 0.2")


def test_trainings_are_listed_and_looked_at(run: Invoke, done: tuple[dict[str, Any], Path]) -> None:
    """Each with its id, kind and state; one with what it made and how its hold ended."""
    job = done[0]["id"]
    listed = next(line for line in run("training").stdout.splitlines() if line.startswith(job))
    assert "dp-marginal" in listed
    assert "finished" in listed
    shown = run("training", job).stdout.splitlines()
    assert shown[0] == "dp-marginal on people: finished"
    assert "hold       committed" in shown
    assert "files      model.json, rows.csv" in shown


def test_what_has_ended_can_still_be_followed(run: Invoke, done: tuple[dict[str, Any], Path]) -> None:
    """The stream is told from its beginning, and the exit status is that of the training."""
    result = run("training", done[0]["id"], "--watch")
    assert result.exit_code == 0, result.stderr
    assert "finished" in result.stdout


def test_a_model_is_trained_and_kept_in_a_folder(run: Invoke, name: str, tmp_path: Path) -> None:
    """Its settings are those that were typed; what was made is in the folder."""
    settings = ("--steps", "5", "--batch-size", "60", "--clip", "0.5", "--hidden", "8", "--hidden", "4")
    order = ("train", name, "--kind", "mlp", "--target", "ill", "--epsilon", "0.5", *settings)
    result = run(*order, "--output", str(tmp_path / "made"))
    assert result.exit_code == 0, result.stderr
    assert "steps      5 of 5" in result.stdout.splitlines()
    content = (tmp_path / "made" / "model.safetensors").read_bytes()
    about = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["about"])
    assert about["recipe"]["clip"] == "0.5"
    assert about["model"]["architecture"]["hidden"] == [8, 4]


def test_a_training_is_stopped_and_said_not_to_have_finished(run: Invoke, name: str, live: Live, tenant: str) -> None:
    """Followed to its end, which is no good one, the command exits with 1."""
    order = {"kind": "dp-marginal", "dataset_id": name, "target_epsilon": "0.5", "launch": "caller"}
    job = live.caller(tenant).post(f"{PREFIX}/training/jobs", json=order).json()["id"]
    assert run("training", job).stdout.splitlines()[0] == "dp-marginal on people: waiting"
    stopped = run("training", job, "--cancel", "--watch")
    assert stopped.exit_code == 1, stopped.stdout
    assert "it is cancelled" in stopped.stderr
    assert "hold       voided" in stopped.stdout.splitlines()


def test_a_report_is_fetched_in_the_form_that_was_asked_for(
    run: Invoke, done: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    """To stdout, or to a file; a picture is bytes."""
    job = done[0]["id"]
    assert json.loads(run("report", job).stdout)["guarantee"]["epsilon"] == "1"
    file = tmp_path / "report.png"
    result = run("report", job, "--format", "png", "--output", str(file))
    assert result.exit_code == 0, result.stderr
    assert file.read_bytes().startswith(b"\x89PNG")
    assert run("report", "none").exit_code == 1


def test_trainings_are_compared(run: Invoke, name: str, done: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """Side by side and together, with a page to read where one is wished for; one alone is none to compare."""
    other = json.loads(run("generate", name, "--epsilon", "0.25", "--wait", "--json").stdout)["id"]
    result = run("compare", done[0]["id"], other, "--html", str(tmp_path / "compared.html"))
    assert result.exit_code == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[:3]] == ["training", done[0]["id"], other]
    assert f"together on {name}: epsilon" in result.stdout
    assert "<html" in (tmp_path / "compared.html").read_text()
    assert len(json.loads(run("compare", done[0]["id"], other, "--json").stdout)["models"]) == 2
    assert run("compare", other).exit_code == 2


def test_settings_of_networks_reach_the_service(run: Invoke, name: str) -> None:
    """Hidden layers are not of the marginal synthesizer, and a synthesizer shares no work: it says so of both."""
    for option in (("--hidden", "8"), ("--workers", "2")):
        result = run("generate", name, "--epsilon", "0.1", *option)
        assert (result.exit_code, option[0].strip("-") in result.stderr) == (1, True), result.output


def test_what_the_service_refuses_is_told(run: Invoke, name: str, schema: Path, tmp_path: Path) -> None:
    """Its words on stderr and 1 as the exit status."""
    far = tmp_path / "far.csv"
    far.write_text("age,ill\n99,yes\n")
    for arguments, told in (
        (("generate", name, "--epsilon", "1", "--type", "dp-marginal", "--epochs", "3"), "epochs"),
        (("generate", "unknown", "--epsilon", "1"), "not_found"),
        (("rows", "far", "--schema", str(schema), str(far)), "age[0]"),
        (("training", "none"), "not_found"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1, result.output
        assert "refused: " in result.stderr
        assert told in result.stderr


TRAIN = ("train", "people", "--kind", "mlp", "--target", "ill", "--epsilon", "1")


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "people"),
        ("generate", "people", "--epsilon", "much"),
        ("generate", "people", "--epsilon", "1", "--rows", "0"),
        (*TRAIN, "--epochs", "1", "--steps", "3"),
        (*TRAIN, "--hidden", "0"),
        ("train", "people", "--kind", "forest", "--target", "ill", "--epsilon", "1"),
        ("training", "--watch"),
        ("training", "--cancel"),
        ("rows", "people", "rows.txt"),
        ("rows", "people", "nowhere.csv"),
        ("report", "x", "--format", "pdf"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(arguments: tuple[str, ...]) -> None:
    """Bad arguments exit with 2 even where nobody answers."""
    result = CliRunner().invoke(app, [*arguments, "--url", NOBODY, "--token", "t", "--tenant", "acme"])
    assert result.exit_code == 2, result.output


def test_an_order_without_an_answer_says_how_to_find_out() -> None:
    """With the key that makes the repetition the same order, and 3 as the exit status."""
    arguments = ("generate", "people", "--epsilon", "1", "--key", "k7")
    result = CliRunner().invoke(app, [*arguments, "--url", NOBODY, "--token", "t", "--tenant", "acme"])
    assert result.exit_code == 3
    assert "--key k7" in result.stderr


class _Cut(BaseHTTPRequestHandler):
    """Answers each request for events with one more of them and an end; the first, that it cannot answer now."""

    asked_after: list[str]

    def do_GET(self) -> None:
        after = int(self.headers["Last-Event-ID"])
        type(self).asked_after.append(str(after))
        if len(self.asked_after) == 1:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b'{"code": "unavailable", "detail": "later"}')
            return
        state = {
            "status": "running",
            "steps": 3,
            "steps_done": after,
            "settlement": "committed" if after == 2 else None,
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"id: {after + 1}\nevent: running\ndata: {json.dumps(state)}\n\n".encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own word
        pass


@pytest.fixture
def cut() -> Iterator[str]:
    """The address of a service whose streams end after each event."""
    _Cut.asked_after = []
    with HTTPServer(("127.0.0.1", 0), _Cut) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_stream_that_is_cut_off_goes_on_after_the_last_event(cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each state once, with a connection of its own each time: the token of the first may have expired."""
    monkeypatch.setattr("serve_app.cli.streams.PAUSE_SECONDS", 0)
    connections = iter(Connection(cut, token, "acme") for token in "abcd")
    found = [state["steps_done"] for state in states(lambda: next(connections), "job")]
    assert found == [0, 1, 2]
    assert _Cut.asked_after == ["0", "0", "1", "2"]
    assert next(connections, None) is None


def test_who_may_not_follow_is_told_at_once(live: Live) -> None:
    """A refusal is no lost connection."""
    connection = Connection(live.service.settings.base_url, "no token", "acme")
    with pytest.raises(RefusedError, match="unauthenticated"):
        next(states(lambda: connection, "job"))


def test_rows_are_compared_offline_with_every_warning(schema: Path, tmp_path: Path) -> None:
    """Not private, who may see it, what attacks cannot show; and no word of approval."""
    real, synthetic = people(tmp_path / "real.csv", 900, 1), people(tmp_path / "synthetic.csv", 300, 2)
    options = ("--schema", str(schema), "--real", str(real), "--synthetic", str(synthetic), "--target", "ill")
    result = CliRunner().invoke(app, ["evaluate", *options])
    assert result.exit_code == 0, result.stderr
    assert "NOT PRIVATE." in result.stdout
    assert "has seen all of them" in result.stdout
    assert "An attack can only ever find leaks" in result.stdout
    assert "rows: 300 synthetic, 450 train, 450 holdout" in result.stdout
    assert not {"safe", "passed", "ok", "anonymous"} & set(result.stdout.lower().split())


def test_a_holdout_takes_the_place_of_the_split(schema: Path, tmp_path: Path) -> None:
    """All real rows are those that were trained on, and the answer says that it is not private."""
    files = [people(tmp_path / f"{number}.csv", 420, number) for number in range(3)]
    named = dict(zip(("--real", "--synthetic", "--holdout"), files, strict=True))
    options = [text for option, file in named.items() for text in (option, str(file))]
    result = CliRunner().invoke(app, ["evaluate", "--schema", str(schema), *options, "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["private"] is False
    assert found["split"] is None
    assert found["rows"] == {"synthetic": 420, "train": 420, "holdout": 420}


def test_files_that_cannot_be_compared_are_told_apart(schema: Path, tmp_path: Path) -> None:
    """The file, the column and the row; a schema that is none."""
    real, far = people(tmp_path / "real.csv", 900, 1), tmp_path / "far.csv"
    far.write_text("age,ill\n99,yes\n")
    for chosen, synthetic, told in (
        (schema, far, "far.csv: age[0]"),
        (far, real, "is not JSON"),
    ):
        options = ("--schema", str(chosen), "--real", str(real), "--synthetic", str(synthetic))
        result = CliRunner().invoke(app, ["evaluate", *options])
        assert result.exit_code == 2, result.output
        assert told in result.stderr


def test_comparing_says_what_to_install(schema: Path) -> None:
    """Without the service's packages, the exit status is 2 and the extra is named."""
    file = str(schema)
    done = without_the_service("evaluate", "--schema", file, "--real", file, "--synthetic", file)
    assert done.returncode == 2
    assert "install privacy-engine[service,training]" in done.stderr
