"""``privacy-engine rows`` and ``training``: rows to make things of, and how that stands."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.connection import Connection, RoleName
from serve_app.cli.exit_codes import REFUSED, USAGE
from serve_app.cli.options import AsJson
from serve_app.cli.output import CommandError, complain, console, show_table, tell
from serve_app.cli.progress import Sent, counting, waiting

MEDIA_TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
PLANNING_SECONDS = 120.0
"""How long to wait for what is computed before it is answered: noise that is solved for, a report."""
STORING_SECONDS = 600.0


def rows(
    asking: Asking,
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Id of the data set.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The rows: .csv with a header, or .parquet.")],
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The public columns, JSON with columns. (default: those declared before)"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Declare the public columns of rows, and store the rows.

    Nothing is charged until something is made of them.
    """
    from serve_app.client import calls

    if file.suffix.lower() not in MEDIA_TYPES:
        raise typer.BadParameter(f"must end in {' or '.join(MEDIA_TYPES)}", param_hint="FILE")
    columns = None if schema is None else columns_in(schema)
    content = read(file)
    connection = asking.connect("analyst")
    if columns is not None:
        connection.send(connection.about(calls.declare_rows(name, columns)))
    call = connection.about(calls.store_rows(name, content, MEDIA_TYPES[file.suffix.lower()]))
    with counting(f"sending {file.name}", len(content)) as bar:
        # In pieces, so that the bar moves.
        headers = {**call.headers, "Content-Length": str(len(content))}
        sent = replace(call, content=Sent(content, bar), headers=headers)
        text = connection.send(sent, timeout=STORING_SECONDS).text
    tell(text, as_json, _show_rows)


def training(
    asking: Asking,
    job: Annotated[str | None, typer.Argument(metavar="ID", help="One training. (default: a list of all)")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop it; what it has done stays charged.")] = False,
    as_json: AsJson = False,
) -> None:
    """List trainings, look at one, follow it, stop it."""
    from serve_app.client import calls

    if job is None and (watch or cancel):
        raise typer.BadParameter("--watch and --cancel are about one training: name its id")

    role: RoleName = "analyst" if cancel else "viewer"
    connection = asking.connect(role)
    call = calls.cancel_training(job) if job is not None and cancel else calls.training(job)
    text = connection.send(connection.about(call)).text
    if job is None:
        tell(text, as_json, _show_all)
        return
    if watch:
        text = followed_to_the_end(lambda: asking.connect(role), job)
    answer = tell(text, as_json, show_standing)
    if watch:
        check_finished(answer)


def columns_in(schema: Path) -> list[Mapping[str, Any]]:
    """The columns of a schema's file, as they stand there.

    Raises:
        CommandError: If the file cannot be read or has none.
    """
    try:
        found = json.loads(read(schema))
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{schema} is not JSON: {error}", USAGE) from None
    if not isinstance(found, dict) or not isinstance(found.get("columns"), list):
        raise CommandError(f"{schema} is no schema: it must be an object with a list of columns", USAGE)
    columns: list[Mapping[str, Any]] = found["columns"]
    return columns


def read(file: Path) -> bytes:
    """A file's content.

    Raises:
        CommandError: If it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}", USAGE) from None


def followed_to_the_end(connect: Callable[[], Connection], job: str) -> str:
    """Follows a training until its hold is settled, and answers how it stands then, as the service says it."""
    from serve_app.cli.watching import followed, states
    from serve_app.client import calls

    followed(states(connect, job), job)
    connection = connect()
    return connection.send(connection.about(calls.training(job))).text


def made_file(connection: Connection, job: str, name: str) -> bytes:
    """One file that a training made."""
    from serve_app.client import calls

    call = connection.about(calls.training_file(job, name))
    with waiting(f"fetching {name}"):
        return connection.send(call, timeout=STORING_SECONDS).content


def show_standing(answer: Mapping[str, Any]) -> None:
    """How a training stands, for people."""
    out = console()
    out.print(f"{answer['kind']} on {answer['dataset_id']}: {answer['status']}")
    out.print(f"training   {answer['id']}")
    out.print(f"target     epsilon {answer['target_epsilon']}, delta {answer['target_delta']}")
    out.print(f"steps      {answer['steps_done']} of {answer['steps']}")
    if answer["seconds_left"] is not None:
        out.print(f"left       {answer['seconds_left']} s")
    if answer["settlement"] is not None:
        out.print(f"hold       {answer['settlement']}")
    if answer["files"]:
        out.print(f"files      {', '.join(answer['files'])}")


def check_finished(answer: Mapping[str, Any]) -> None:
    """Ends the command with `REFUSED` where a training has not come to a good end."""
    if answer["status"] != "finished":
        complain(f"it is {answer['status']}: {answer['message'] or 'nothing more is known'}")
        raise typer.Exit(REFUSED)


def _show_rows(answer: Mapping[str, Any]) -> None:
    out = console()
    out.print(f"{answer['rows']} rows of {answer['dataset_id']} are stored, in {len(answer['columns'])} columns")
    out.print(f"version  {answer['version']}")
    out.print(f"sha256   {answer['sha256']}")


def _show_all(answer: Mapping[str, Any]) -> None:
    if not answer["jobs"]:
        console().print("there are no trainings: `privacy-engine generate` or `train` orders one")
        return
    show_table(("id", "kind", "data set", "status", "steps", "epsilon"), map(_line, answer["jobs"]))


def _line(answer: Mapping[str, Any]) -> tuple[str, ...]:
    steps = f"{answer['steps_done']} of {answer['steps']}"
    named = (answer["id"], answer["kind"], answer["dataset_id"], answer["status"])
    return (*named, steps, answer["target_epsilon"])
