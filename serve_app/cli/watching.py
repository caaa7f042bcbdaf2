"""Follows a training to its end."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from serve_app.cli.connection import Connection
from serve_app.cli.exit_codes import INTERRUPTED
from serve_app.cli.output import CommandError
from serve_app.cli.progress import counting
from serve_app.cli.streams import events


def states(connect: Callable[[], Connection], job: str) -> Iterator[dict[str, Any]]:
    """A training's states from the first to the last, in which its hold is settled. Errors as for `events`.

    Args:
        connect: Makes a connection anew.
        job: Its id.
    """
    from serve_app.client import calls

    for _, state in events(connect, lambda asked: asked.about(calls.training_events(job)), after="0"):
        yield state
        if state["settlement"] is not None:
            return


def followed(found: Iterator[Mapping[str, Any]], job: str) -> None:
    """Shows states as a bar on stderr, to the last.

    Raises:
        CommandError: On Ctrl-C; it says what goes on without anybody watching.
    """
    try:
        with counting("waiting") as bar:
            for state in found:
                bar(state["steps_done"], state["steps"], state["status"])
    except KeyboardInterrupt:
        raise CommandError(
            "stopped watching; the training goes on. To look again, or with --cancel to stop it:\n"
            f"  privacy-engine training {job} --watch",
            INTERRUPTED,
        ) from None
