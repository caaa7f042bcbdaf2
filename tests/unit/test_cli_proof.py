"""``privacy-engine proof`` before it speaks to the service."""

import os
import pty
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from serve_app.cli.main import app


def test_a_pdf_is_not_written_to_a_terminal() -> None:
    """What is no text would garble it: the command says to name a file, and asks the service for nothing."""
    ours, theirs = pty.openpty()
    try:
        result = subprocess.run(
            [sys.executable, "-m", "serve_app.cli.main", "proof", "j", "--format", "pdf"],
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert result.returncode == 2
    assert "name a file with --output" in result.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["job", "--history"], ["--plan", "p", "--allocation", "a"]], ids=["nothing", "two", "two options"]
)
def test_one_thing_is_proved_at_a_time(arguments: list[str]) -> None:
    """A job, or one of the others."""
    result = CliRunner().invoke(app, ["proof", *arguments])
    assert result.exit_code == 2
    assert "one of --allocation, --plan and --history" in " ".join(result.output.replace("│", " ").split())
