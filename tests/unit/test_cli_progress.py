"""What is seen while something takes long: in a terminal alone, never in the answer."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from serve_app.cli.exit_codes import INTERRUPTED
from serve_app.cli.output import CommandError, table
from serve_app.cli.progress import CHUNK, Sent, counted, counting, waiting
from serve_app.cli.watching import followed
from tests.support import Caller, Live


class Told:
    """A bar that keeps what it was told."""

    def __init__(self) -> None:
        self.done: list[float] = []

    def __call__(self, done: float, total: float | None = None, what: str | None = None) -> None:
        self.done.append(done)


def test_what_is_sent_can_be_sent_again() -> None:
    """Whole, in pieces, however often; the bar begins anew."""
    content = os.urandom(2 * CHUNK + 5)
    bar = Told()
    sent = Sent(content, bar)
    assert b"".join(sent) == b"".join(sent) == content
    assert bar.done == [0, CHUNK, 2 * CHUNK, len(content)] * 2


def test_what_is_counted_is_passed_on() -> None:
    """Each of them, once, in order; the bar is told now and then."""
    bar = Told()
    assert list(counted(range(250), bar)) == list(range(250))
    assert bar.done == [100, 200]


def test_nothing_is_shown_in_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    """Where nobody looks, nothing moves."""
    with waiting("a while"), counting("so many", 3) as bar:
        bar(2, what="more")
    assert capfd.readouterr() == ("", "")


def test_who_stops_watching_is_told_what_goes_on() -> None:
    """The training does; how to look again, and how to stop it."""

    def states() -> Iterator[dict[str, Any]]:
        yield {"status": "running", "steps": 9, "steps_done": 1}
        raise KeyboardInterrupt

    with pytest.raises(CommandError, match=r"goes on(.|\n)*--cancel(.|\n)*training 17 --watch") as stopped:
        followed(states(), "17")
    assert stopped.value.status == INTERRUPTED


@pytest.mark.parametrize("colour", [True, False])
def test_in_a_terminal_it_is_seen_and_the_answer_is_only_the_answer(live: Live, engine: Caller, colour: bool) -> None:
    """With NO_COLOR it has none."""
    asked = ("evidence", "--framework", "gdpr", "--url", live.service.settings.base_url, "--token", str(engine.token))
    ours, theirs = pty.openpty()
    try:
        engine.allocate(epsilon="0.1")
        done = subprocess.run(
            [sys.executable, "-m", "serve_app.cli.main", *asked],
            env=os.environ | {"TERM": "xterm-256color"} | ({} if colour else {"NO_COLOR": "1"}),
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
        )
        seen = os.read(ours, 1 << 16).decode()
    finally:
        os.close(theirs)
        os.close(ours)
    assert json.loads(done.stdout)["framework"] == "gdpr"
    assert "writing the evidence" in seen
    assert ("\x1b[3" in seen) == colour


def test_a_table_is_a_line_each_with_nothing_behind() -> None:
    """Columns stand below each other; what is wide is not broken where no terminal is."""
    long = "word " * 40
    drawn = table(("id", "note"), [("a", long.strip()), ("longer", "")]).splitlines()
    assert drawn == ["id      note", f"a       {long.strip()}", "longer"]
    assert table(("id",), []) == "id"
