"""One start of a task, from its document to its last report. Runs wherever there are the rows and the service answers.

As a program it does the work in its own process; `deployments.training.job` does it on Ray's workers.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from accounting.ledger.canonical import sha256
from accounting.values import InvalidValueError
from deployments.synthesis.files import read_table
from deployments.training.document import document_from
from deployments.training.folders import Folders, MissingFileError, private_folder
from deployments.training.jobs import MODULES_VARIABLE, TOKEN_VARIABLE
from deployments.training.kinds import Work, kind_of
from deployments.training.reports import GivenUpError, Pacer, Reporter

log = structlog.get_logger()

GIVEN_UP = 3
"""Exit status of a start that the service did not want to go on."""


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


class WrongDocumentError(Exception):
    """The document is not for what is held. Nothing was read."""


def carry_out(start: Start, token: str) -> None:
    """Does the work and reports on it.

    Raises:
        GivenUpError: If the service does not want this start to go on.
    """
    reporter = Reporter(start.base_url, token, start.tenant_id, start.task_id, start.attempt)
    try:
        _carry_out(start, reporter)
    finally:
        reporter.close()


def _carry_out(start: Start, reporter: Reporter) -> None:
    if not start.announced:
        reporter.started()
    text = reporter.document()
    document = document_from(text)
    folders = Folders(start.files)
    done = 0

    def paced(begun: int) -> Callable[[int], bool]:
        nonlocal done
        done = begun
        pacer = Pacer(reporter, document.steps, begun)

        def after_step(steps: int) -> bool:
            nonlocal done
            done = steps
            return pacer.after_step(steps)

        return after_step

    try:
        kind = kind_of(document.kind)
        if kind.rebuilt(document) != document.event:
            raise WrongDocumentError("its plan is not for the event that is held")
        path = folders.rows(start.tenant_id, document.file.sha256, document.file.format)
        if not path.exists():
            raise MissingFileError("its file of rows is not in the shared folder")
        reporter.reading({"process": os.getpid(), "document": sha256(text).hex()})
        folders.checked_rows(start.tenant_id, document.file.sha256, document.file.format)
        table = read_table(path, document.schema)
        if table.rows != document.file.rows:
            raise WrongDocumentError(f"it is for {document.file.rows} rows, and the file has {table.rows}")
        results = folders.results(start.task_id, start.attempt)
        shutil.rmtree(results, ignore_errors=True)
        private_folder(results)
        checkpoint = folders.checkpoint(start.task_id)
        finished = kind.carry_out(Work(document, table, results, checkpoint, paced, allowed_modules()))
    except GivenUpError:
        raise
    except Exception as error:
        log.exception("task_failed", task=start.task_id, attempt=start.attempt)
        reporter.end("failed", done=done, message=_told(error))
        return
    if finished:
        made = tuple(sorted(path.name for path in results.iterdir()))
        reporter.end("finished", done=done, files=made)
    else:
        reporter.end("cancelled", done=done)


def _told(error: Exception) -> str:
    """What may be said of a failure. Messages of libraries may hold values of rows; ours name columns and rows only."""
    if isinstance(error, InvalidValueError | WrongDocumentError | MissingFileError):
        return str(error)
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        return "It ran out of memory, also with a single row at a time: choose a smaller model."
    return f"{type(error).__name__}: the job's own log says more."


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


def allowed_modules() -> tuple[str, ...]:
    """The modules that the operator lets be trained."""
    return tuple(name.strip() for name in os.environ.get(MODULES_VARIABLE, "").split(",") if name.strip())


def token_from_environment() -> str:
    """The token that the start reports with.

    Raises:
        SystemExit: If there is none.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise SystemExit(f"Set {TOKEN_VARIABLE} to a token that may report on this task.")
    return token


def main() -> int:
    """Does one start's work in this process.

    Returns:
        Exit status.
    """
    try:
        carry_out(start_from(sys.argv[1:]), token_from_environment())
    except GivenUpError as error:
        log.warning("given_up", reason=str(error))
        return GIVEN_UP
    return 0


if __name__ == "__main__":
    sys.exit(main())
