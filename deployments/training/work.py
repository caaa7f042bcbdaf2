"""One start of a task, from its document to its last report. Runs wherever there are the rows and the service answers.

As a program it does the work in its own process; `deployments.training.job` does it on Ray's workers.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from accounting.ledger.canonical import sha256
from accounting.values import InvalidValueError
from deployments.json_lines import log_to_stderr
from deployments.synthesis.discovery import discover
from deployments.synthesis.files import read_columns
from deployments.synthesis.schema import Schema, schema_from_wire, schema_to_wire
from deployments.synthesis.table import Columns, encode
from deployments.training.document import Discovery, TaskDocument, document_from
from deployments.training.folders import Folders, MissingFileError, private_folder, write_private
from deployments.training.jobs import MODULES_VARIABLE
from deployments.training.kinds import Work, kind_of
from deployments.training.reports import GivenUpError, Pacer, Reporter
from deployments.training.start import Start, start_from, token_from_environment

log = structlog.get_logger()

SCHEMA = "schema.json"
GIVEN_UP = 3
"""Exit status of a start that the service did not want to go on."""


class CrewError(Exception):
    """One of several workers failed, so none can go on."""


class WrongDocumentError(Exception):
    """The document is not for what is held. Nothing was read."""


class Crew(Protocol):
    """The workers that share a start's work. One leads: it alone reports and writes."""

    @property
    def leads(self) -> bool:
        """Whether this is the one that leads."""
        ...

    def told_to_go(self, go: bool) -> bool:
        """Tells all others, if this one leads; otherwise waits for its word. Called once by each."""
        ...


class Alone:
    """A crew of one."""

    leads = True

    def told_to_go(self, go: bool) -> bool:
        """See `Crew`."""
        return go


def carry_out(start: Start, token: str, crew: Crew | None = None) -> None:
    """Does the work and reports on it.

    Args:
        start: Of which task.
        token: To report with.
        crew: The workers that share it.

    Raises:
        GivenUpError: If the service does not want this start to go on.
        CrewError: If the work of several workers failed; the one that leads has reported it.
    """
    crew = crew or Alone()
    reporter = Reporter(start.base_url, token, start.tenant_id, start.task_id, start.attempt)
    try:
        if crew.leads:
            _lead(start, reporter, crew)
        else:
            _follow(start, reporter, crew)
    finally:
        reporter.close()


def _lead(start: Start, reporter: Reporter, crew: Crew) -> None:
    if not start.announced:
        reporter.started()
    text = reporter.document()
    document = document_from(text)
    done, going = 0, False

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
        try:
            path = _checked(start, document)
            reporter.reading({"process": os.getpid(), "document": sha256(text).hex(), "workers": document.workers})
            going = True
        finally:
            crew.told_to_go(going)
        results = Folders(start.files).results(start.task_id, start.attempt)
        shutil.rmtree(results, ignore_errors=True)
        private_folder(results)
        finished = _done(start, document, path, results, paced, crew)
    except GivenUpError:
        raise
    except Exception as error:
        log.exception("task_failed", task=start.task_id, attempt=start.attempt)
        reporter.end("failed", done=done, message=_told(error))
        if document.workers > 1 and going:
            # The others wait for this one.
            raise CrewError("the worker that leads has failed") from error
        return
    if finished:
        made = tuple(sorted(path.name for path in results.iterdir()))
        reporter.end("finished", done=done, files=made)
    else:
        reporter.end("cancelled", done=done)


def _follow(start: Start, reporter: Reporter, crew: Crew) -> None:
    document = document_from(reporter.document())
    if not crew.told_to_go(False):
        return
    path = _checked(start, document)
    results = Folders(start.files).results(start.task_id, start.attempt)
    _done(start, document, path, results, lambda _: lambda _: False, crew)


def _checked(start: Start, document: TaskDocument) -> Path:
    """The file of rows of a document that is for what is held. Nothing is read of it."""
    discovery, kind = document.discovery, kind_of(document.kind)
    if discovery is None:
        event = kind.rebuilt(document)
    else:
        event = discovery.around(kind.rebuilt(document.for_kind(document.schema, document.event)))
    if event != document.event:
        raise WrongDocumentError("its plan is not for the event that is held")
    path = Folders(start.files).rows(start.tenant_id, document.file.sha256, document.file.format)
    if not path.exists():
        raise MissingFileError("its file of rows is not in the shared folder")
    return path


def _done(
    start: Start,
    document: TaskDocument,
    path: Path,
    results: Path,
    begin: Callable[[int], Callable[[int], bool]],
    crew: Crew,
) -> bool:
    """Reads the rows and does the kind's work on them; whether it came to its end."""
    folders, kind = Folders(start.files), kind_of(document.kind)
    folders.checked_rows(start.tenant_id, document.file.sha256, document.file.format)
    checkpoint = folders.checkpoint(start.task_id)
    columns = read_columns(path, document.schema.names)
    if document.discovery is not None:
        schema = _found(document.discovery, columns, checkpoint)
        write_private(results / SCHEMA, msgspec.json.encode(schema_to_wire(schema)))
        own = kind.rebuilt(document.for_kind(schema, document.event))
        document = document.for_kind(schema, own)
    table = encode(columns, document.schema)
    if table.rows != document.file.rows:
        raise WrongDocumentError(f"it is for {document.file.rows} rows, and the file has {table.rows}")
    return kind.carry_out(Work(document, table, results, checkpoint, begin, allowed_modules(), crew.leads))


def _found(discovery: Discovery, columns: Columns, checkpoint: Path) -> Schema:
    """What is found out about the columns, once for all starts: a second release would have to be paid for."""
    kept = checkpoint / SCHEMA
    if kept.exists():
        return schema_from_wire(msgspec.json.decode(kept.read_bytes()))
    schema = discover(columns, discovery.plan)
    write_private(kept, msgspec.json.encode(schema_to_wire(schema)))
    return schema


def _told(error: Exception) -> str:
    """What may be said of a failure. Messages of libraries may hold values of rows; ours name columns and rows only."""
    if isinstance(error, InvalidValueError | WrongDocumentError | MissingFileError):
        return str(error)
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        return "It ran out of memory, also with a single row at a time: choose a smaller model."
    return f"{type(error).__name__}: the job's own log says more."


def allowed_modules() -> tuple[str, ...]:
    """The modules that the operator lets be trained."""
    return tuple(name.strip() for name in os.environ.get(MODULES_VARIABLE, "").split(",") if name.strip())


def main() -> int:
    """Does one start's work in this process.

    Returns:
        Exit status.
    """
    start = start_from(sys.argv[1:])
    log_to_stderr(tenant_id=start.tenant_id, job_id=start.task_id, attempt=start.attempt)
    try:
        carry_out(start, token_from_environment())
    except GivenUpError as error:
        log.warning("given_up", reason=str(error))
        return GIVEN_UP
    return 0


if __name__ == "__main__":
    sys.exit(main())
