"""``privacy-engine rows``, ``training`` and ``report``: rows to make things of, how that stands, what it has cost."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from serve_app.cli.connection import Connection, connect
from serve_app.cli.options import AsJson, Home, Tenant, Token, Url
from serve_app.cli.output import (
    REFUSED,
    USAGE,
    CommandError,
    answer_in,
    complain,
    console,
    deliver,
    errors_reported,
    table,
)

if TYPE_CHECKING:
    from serve_app.client.calls import Call

MEDIA_TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
PLANNING_SECONDS = 120.0
"""How long to wait for what is computed before it is answered: noise that is solved for, a report."""
STORING_SECONDS = 600.0


def rows(
    name: Annotated[str, typer.Argument(help="Id of the data set.")],
    file: Annotated[Path, typer.Argument(help="The rows: .csv with a header, or .parquet.")],
    schema: Annotated[
        Path | None, typer.Option(help="The public columns, JSON with columns. (default: those declared before)")
    ] = None,
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Declare the public columns of rows and store the rows. Nothing is charged until something is made of them."""
    from serve_app.client import calls

    if file.suffix.lower() not in MEDIA_TYPES:
        raise typer.BadParameter(f"must end in {' or '.join(MEDIA_TYPES)}", param_hint="FILE")
    with errors_reported():
        columns = None if schema is None else columns_in(schema)
        content = read(file)
        connection = connect(url, token, tenant, home, "analyst")
        with connection.client(timeout=STORING_SECONDS) as client:
            if columns is not None:
                client.send(_named(calls.declare_rows(name, columns), connection))
            stored = calls.store_rows(name, content, MEDIA_TYPES[file.suffix.lower()])
            text = client.send_raw(_named(stored, connection)).text
        answer = answer_in(text)
    if as_json:
        typer.echo(text)
        return
    out = console()
    out.print(f"{answer['rows']} rows of {answer['dataset_id']} are stored, in {len(answer['columns'])} columns")
    out.print(f"version  {answer['version']}")
    out.print(f"sha256   {answer['sha256']}")


def training(
    job: Annotated[str | None, typer.Argument(metavar="[ID]", help="One training. (default: a list of all)")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop it; what it has done stays charged.")] = False,
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List trainings, look at one, follow it, stop it."""
    from serve_app.client import calls

    if job is None and (watch or cancel):
        raise typer.BadParameter("--watch and --cancel are about one training: name its id")

    where = partial(connect, url, token, tenant, home, "analyst" if cancel else "viewer")
    with errors_reported():
        connection = where()
        with connection.client() as client:
            call = calls.cancel_training(job) if job is not None and cancel else calls.training(job)
            text = client.send_raw(_named(call, connection)).text
        if job is not None and watch:
            text = followed_to_the_end(where, job)
        answer = answer_in(text)
    if as_json:
        typer.echo(text)
    elif job is None:
        heads = ("id", "kind", "data set", "status", "steps", "epsilon")
        console().print(table(heads, map(_line, answer["jobs"])))
    else:
        print_standing(answer)
    if watch:
        check_finished(answer)


def report(
    job: Annotated[str, typer.Argument(metavar="ID", help="Id of the training.")],
    format: Annotated[  # noqa: A002
        Literal["json", "html", "png", "svg"],
        typer.Option(help="Its numbers (json), the report to read (html), or its curves (png, svg)."),
    ] = "json",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write. (default: stdout)")] = None,
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    home: Home = None,
) -> None:
    """Fetch a training's privacy report: what it has cost, what that means, what other plans would cost."""
    from serve_app.client import calls

    with errors_reported():
        if format == "png" and output is None and sys.stdout.isatty():
            raise CommandError("a PNG is nothing for a terminal: name a file with --output", USAGE)
        connection = connect(url, token, tenant, home, "viewer")
        with connection.client(timeout=PLANNING_SECONDS) as client:
            content = client.send_raw(_named(calls.privacy_report(job, format), connection)).content
        deliver(content, output)


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


def followed_to_the_end(where: Callable[[], Connection], job: str) -> str:
    """Follows a training until its hold is settled, and answers how it stands then, as the service says it."""
    from serve_app.cli.watching import followed, states
    from serve_app.client import calls

    followed(states(where, job))
    connection = where()
    with connection.client() as client:
        return client.send_raw(_named(calls.training(job), connection)).text


def made_file(connection: Connection, job: str, name: str) -> bytes:
    """One file that a training made."""
    from serve_app.client import calls

    with connection.client(timeout=STORING_SECONDS) as client:
        return client.send_raw(_named(calls.training_file(job, name), connection)).content


def print_standing(answer: Mapping[str, Any]) -> None:
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


def _line(answer: Mapping[str, Any]) -> tuple[str, ...]:
    steps = f"{answer['steps_done']} of {answer['steps']}"
    named = (answer["id"], answer["kind"], answer["dataset_id"], answer["status"])
    return (*named, steps, answer["target_epsilon"])


def _named(call: "Call", connection: Connection) -> "Call":
    """The call with the tenant that is meant, so that a token of another one is refused."""
    return replace(call, params={**call.params, "tenant_id": connection.tenant_id})
