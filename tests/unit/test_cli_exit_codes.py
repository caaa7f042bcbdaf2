"""Exit statuses: for each of them a command that ends with it, and what it says to do next."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serve_app.cli.exit_codes import (
    DONE,
    EXHAUSTED,
    INTERRUPTED,
    MEANINGS,
    NOT_ALLOWED,
    REFUSED,
    UNREACHABLE,
    USAGE,
    exit_code_of,
)
from serve_app.cli.main import app
from tests.support import Caller, Live, free_port

pytestmark = pytest.mark.usefixtures("no_settings_of_this_machine")

NOBODY = "http://127.0.0.1:9"
"""The port of the discard protocol, where nobody answers."""


def run(asking: Caller, live: Live, *arguments: str) -> Result:
    """Runs a command in somebody's name from a machine without a data folder."""
    named = {"AUMOS_PRIVACY_URL": live.service.settings.base_url, "AUMOS_PRIVACY_TOKEN": asking.token or ""}
    return CliRunner().invoke(app, list(arguments), env=named)


def test_done(live: Live, engine: Caller) -> None:
    """From anywhere, by an address and a token in the environment alone."""
    assert run(engine, live, "budget").exit_code == DONE


def test_refused(live: Live, engine: Caller) -> None:
    """What the service says no to, for a reason that is none of the others'."""
    assert run(engine, live, "commit", "00000000-0000-8000-8000-000000000000").exit_code == REFUSED


def test_asked_in_a_wrong_way(live: Live, engine: Caller) -> None:
    """A word that is no number; a tenant that can be none, before anybody is asked."""
    assert run(engine, live, "allocate", "--job", "j", "--epsilon", "some").exit_code == USAGE
    result = run(engine, live, "budget", "--tenant", "a b")
    assert (result.exit_code, "--tenant: must be" in result.stderr) == (USAGE, True)


def test_unreachable(live: Live, engine: Caller) -> None:
    """Nobody answers; what may have been charged is named by its key."""
    result = run(engine, live, "allocate", "--job", "j", "--epsilon", "1", "--key", "k5", "--url", NOBODY)
    assert (result.exit_code, "--key k5" in result.stderr) == (UNREACHABLE, True)
    assert "privacy-engine status" in run(engine, live, "budget", "--url", NOBODY).stderr


def test_not_allowed(live: Live, engine: Caller) -> None:
    """A token that is none, and one that does not suffice; each says where to look."""
    result = run(live.stranger(engine.tenant, "a.b.c"), live, "budget", "--tenant", engine.tenant)
    assert (result.exit_code, "privacy-engine token" in result.stderr) == (NOT_ALLOWED, True)
    result = run(engine, live, "budget", "--set-epsilon", "3", "--set-delta", "0")
    assert (result.exit_code, "privacy-engine whoami" in result.stderr) == (NOT_ALLOWED, True)


def test_exhausted(live: Live) -> None:
    """The budget does not hold it; the largest charge that would fit is told, and nothing is on stdout."""
    result = run(live.new("analyst", epsilon="1"), live, "allocate", "--job", "j", "--epsilon", "1.5")
    assert (result.exit_code, result.stdout) == (EXHAUSTED, "")
    assert "largest charge that would fit: epsilon 1" in result.stderr


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C while the service has not answered: the key with which to find out whether it was charged."""
    with free_port() as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        asked = ("allocate", "--job", "j", "--epsilon", "1", "--key", "k6", "--url", address, "--token", "t")
        process = subprocess.Popen(
            [sys.executable, "-m", "serve_app.cli.main", *asked, "--tenant", "acme"],
            stderr=subprocess.PIPE,
            text=True,
            # A test that runs in the background of a shell would hand on that Ctrl-C means nothing.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        # It has asked, and waits.
        connection: socket.socket = listener.accept()[0]
        with connection:
            connection.recv(1)
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=60)[1]
    assert process.returncode == INTERRUPTED
    assert "--key k6" in told


@pytest.mark.parametrize(
    ("statuses", "code"),
    [((401, 403), NOT_ALLOWED), ((402,), EXHAUSTED), ((404, 409, 422), REFUSED), ((429, 500, 503), UNREACHABLE)],
)
def test_each_refusal_has_its_status(statuses: tuple[int, ...], code: int) -> None:
    """What may pass by itself is told from what will not."""
    assert {exit_code_of(status) for status in statuses} == {code}
    assert code in MEANINGS
