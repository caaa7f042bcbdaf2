"""One start of a task as a command line describes it; light, so that whoever only orders a start loads nothing else."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.training.jobs import TOKEN_VARIABLE


@dataclass(frozen=True, slots=True)
class Start:
    """One start of one task.

    Attributes:
        base_url: Where the service answers.
        tenant_id: Whose task.
        task_id: Which.
        attempt: Which start, from 1.
        files: The shared folder.
        announced: Whether a dispatcher has ordered it; otherwise it announces itself.
    """

    base_url: str
    tenant_id: str
    task_id: str
    attempt: int
    files: Path
    announced: bool = True


def start_from(arguments: Sequence[str]) -> Start:
    """The start that a command line describes."""
    parser = argparse.ArgumentParser(prog="python -m deployments.training.job", description="One start of a task.")
    parser.add_argument("--url", required=True, help="where the service answers")
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--task", required=True, help="the task's id")
    parser.add_argument("--attempt", type=int, default=1, help="which start it is, from 1")
    parser.add_argument("--files", type=Path, required=True, help="the folder that service and workers share")
    parser.add_argument("--announce", action="store_true", help="nobody has ordered this start: announce it")
    given = parser.parse_args(arguments)
    return Start(given.url, given.tenant, given.task, given.attempt, given.files, announced=not given.announce)


def arguments_of(start: Start) -> list[str]:
    """The command line that describes the start; the inverse of `start_from`."""
    words = ["--url", start.base_url, "--tenant", start.tenant_id, "--task", start.task_id]
    words += ["--attempt", str(start.attempt), "--files", str(start.files)]
    return words if start.announced else [*words, "--announce"]


def token_from_environment() -> str:
    """The token that the start reports with.

    Raises:
        SystemExit: If there is none.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise SystemExit(f"Set {TOKEN_VARIABLE} to a token that may report on this task.")
    return token
