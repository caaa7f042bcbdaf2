"""``privacy-engine apply``, ``select`` and ``preview``: what they ask, what they print, what they refuse."""

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from serve_app.cli.main import app
from tests.support import Live, new_name

pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")

Invoke = Callable[..., Result]
NOBODY = "http://127.0.0.1:9"
"""The port of the discard protocol, where nobody answers."""
LAPLACE = ("apply", "--mechanism", "laplace", "--sensitivity", "1", "--data", "1,2,3")
BEST = ("select", "--scores", "1,31337,2", "--sensitivity", "1")


@pytest.fixture
def run(live: Live) -> Invoke:
    """Runs a command against the service under test, in the name of a tenant of its own."""
    settings = live.service.settings
    tenant = new_name("cli")

    def invoke(*arguments: str) -> Result:
        named = [] if arguments[0] == "preview" else ["--tenant", tenant]
        where = ["--url", settings.base_url, "--home", str(settings.home)]
        return CliRunner().invoke(app, [*arguments, *where, *named])

    return invoke


def test_noise_may_be_given_by_its_scale(run: Invoke) -> None:
    """The price follows from it, and the accuracy is told at the confidence that was asked for, singly and jointly."""
    result = run(*LAPLACE, "--scale", "4", "--confidence", "0.9")
    assert result.exit_code == 0, result.stderr
    values, accuracy, *rest = result.stdout.splitlines()
    assert len(values.split(",")) == 3
    assert accuracy == (
        "each within 9.21034 of the true value with probability 0.9; all of them at once within 13.6048"
    )
    assert "charged    epsilon 0.25, delta 0" in rest


def test_the_best_candidate_is_named(run: Invoke) -> None:
    """The choice alone, its price and how near it is to the best; a repeated key tells the same and costs nothing."""
    result = run(*BEST, "--candidates", "red, green, blue", "--epsilon", "0.5", "--key", "k", "--job", "j")
    assert result.exit_code == 0, result.stderr
    chosen, accuracy, *rest = result.stdout.splitlines()
    assert chosen == "green"
    assert accuracy == "within 16.3774 of the best score that was left, with probability 0.95"
    assert "charged    epsilon 0.5, delta 0" in rest
    assert "31337" not in result.stdout
    again = run(*BEST, "--candidates", "red, green, blue", "--epsilon", "0.5", "--key", "k", "--job", "j")
    assert again.stdout.splitlines()[0] == "green"
    assert "nothing was charged now" in again.stdout


def test_candidates_without_names_are_told_by_their_places(run: Invoke) -> None:
    """From 0; as many as were asked for, each once; --json prints the whole answer."""
    result = run(*BEST, "--k", "3", "--scale", "2", "--monotonic")
    assert sorted(result.stdout.splitlines()[0].split(",")) == ["0", "1", "2"]
    answer = json.loads(run(*BEST, "--scale", "2", "--json").stdout)
    assert answer["selected_indexes"] == [1]


def test_a_preview_tells_price_noise_and_accuracy(run: Invoke) -> None:
    """Of values, singly and jointly, and of choices."""
    asked = ("preview", "--mechanism", "gaussian", "--sensitivity", "1", "--scale", "10", "--delta", "1e-6")
    price, noise, accuracy = run(*asked, "--length", "100", "--integers").stdout.splitlines()
    assert price.startswith("costs      epsilon 0.4299")
    assert price.endswith(", delta 0.000001")
    assert noise == "noise      of scale 10.0000"
    assert accuracy == "each within 20.0 of the true value with probability 0.95; all of them at once within 35.0"
    assert "all of them" not in run(*asked).stdout
    choice = ("preview", "--mechanism", "exponential", "--sensitivity", "1", "--epsilon", "1", "--length", "8")
    assert "of the best score that was left" in run(*choice, "--k", "2").stdout
    assert json.loads(run(*choice, "--json").stdout)["exact"] == {"epsilon": "1", "delta": "0"}


def test_what_the_service_refuses_is_told(run: Invoke) -> None:
    """Its words on stderr and 1 as the exit status."""
    for arguments in ((*BEST, "--epsilon", "1", "--k", "4"), (*BEST, "--epsilon", "1", "--candidates", "a,b")):
        result = run(*arguments)
        assert result.exit_code == 1
        assert "refused: invalid_request" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        LAPLACE,
        (*LAPLACE, "--epsilon", "1", "--scale", "1"),
        (*LAPLACE, "--scale", "some"),
        (*LAPLACE, "--epsilon", "1", "--confidence", "high"),
        BEST,
        (*BEST, "--epsilon", "1", "--k", "0"),
        ("select", "--scores", "1,inf", "--sensitivity", "1", "--epsilon", "1"),
        ("preview", "--mechanism", "laplace", "--sensitivity", "1"),
        ("preview", "--mechanism", "laplace", "--sensitivity", "1", "--epsilon", "1", "--length", "0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(arguments: tuple[str, ...]) -> None:
    """Bad arguments exit with 2 even where nobody answers."""
    result = CliRunner().invoke(app, [*arguments, "--url", NOBODY, "--token", "t"])
    assert result.exit_code == 2, result.output


def test_scores_that_are_no_numbers_are_blamed_on_the_scores() -> None:
    """The message names the option that was typed."""
    arguments = ("select", "--scores", "1,x", "--sensitivity", "1", "--epsilon", "1", "--url", NOBODY, "--token", "t")
    assert "--scores" in CliRunner().invoke(app, arguments).stderr
