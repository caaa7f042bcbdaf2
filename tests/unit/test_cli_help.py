"""What ``--help`` shows: every command under a heading with examples that are right, plain text, and completion."""

import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from serve_app.cli.exit_codes import MEANINGS, as_markdown
from serve_app.cli.main import app
from serve_app.cli.panels import PANELS

ROOT: Any = typer.main.get_command(app)
COMMANDS = {name: command for name, command in ROOT.commands.items() if name != "operator-key"} | {
    "operator-key new": ROOT.commands["operator-key"].commands["new"]
}
SILENT = {"up", "down", "deploy", "check-config", "node"}
"""What they do is seen elsewhere: they print an address at most."""
NUMBERS_BY_FORMAT = {"proof", "evidence", "report", "picture"}
JSON_ANYWAY = {"export", "keys", "operator-key new"}
WIDTH = 80


def shown(*arguments: str) -> str:
    """A help page, as wide as a small terminal."""
    result = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": str(WIDTH)})
    assert result.exit_code == 0, result.output
    return result.output


def test_every_command_stands_under_its_heading() -> None:
    """None is left out, and the headings are those that a reader looks for, in that order."""
    page = shown()
    places = [page.index(f"\n{heading}:\n") for heading in (*PANELS, "Exit status")]
    assert places == sorted(places)
    for name in ROOT.commands:
        assert f"\n  {name} " in page
    assert "..." not in page.partition("Service:")[2]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_plain_text_that_fits(name: str) -> None:
    """No boxes, no colour; only examples, which are there to be copied, may be longer than a terminal is wide."""
    page = shown(*name.split()).partition("\nExamples:")[0]
    assert not set("│╭╰─\x1b") & set(page)
    assert [line for line in page.splitlines() if len(line) > WIDTH and "|" not in line] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_can_be_typed(name: str) -> None:
    """They name this command and options that it has, with values of their kind."""
    lines = (COMMANDS[name].epilog or "").splitlines()
    assert lines
    for line in lines:
        words = shlex.split(line.partition("| ")[2] or line.replace("$(", " ").replace(")", ""))
        words = words[words.index("privacy-engine") + 1 + len(name.split()) :]
        with COMMANDS[name].make_context(name, words):
            pass
        assert f"privacy-engine {name}" in line


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - SILENT - JSON_ANYWAY))
def test_what_is_printed_can_be_had_as_json(name: str) -> None:
    """By --json, or by --format where there are more forms than two."""
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert ("--format" if name in NUMBERS_BY_FORMAT else "--json") in options


def test_the_release_is_told() -> None:
    """Alone, on one line."""
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"{version('privacy-engine')}\n")


def test_the_exit_statuses_are_told_in_help_and_for_the_reference() -> None:
    """One table, two forms of it."""
    page = shown()
    for status, meaning in MEANINGS.items():
        assert f"{status}  {meaning}" in page
        assert f"| {status} | {meaning} |" in as_markdown()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("token", "--role", "a"), ["admin", "auditor", "analyst"]),
        (("evidence", "--framework", "h"), ["hipaa"]),
        (("generate", "people", "--type", "dp-t"), ["dp-tvae"]),
        (("bu",), ["budget", "burn-rate"]),
    ],
)
def test_a_shell_is_told_what_may_follow(typed: tuple[str, ...], offered: list[str]) -> None:
    """Commands, roles, frameworks and synthesizers, from what is installed alone: nobody is asked."""
    asked = {
        "_PRIVACY_ENGINE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("privacy-engine", *typed)),
        "COMP_CWORD": str(len(typed)),
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("privacy-engine")],
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert sorted(done.stdout.split()) == sorted(offered), done.stderr
