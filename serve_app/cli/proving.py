"""``privacy-engine proof`` and ``verify``."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.exit_codes import REFUSED, USAGE
from serve_app.cli.options import AsJson, Output
from serve_app.cli.output import CommandError, console, deliver, no_terminal_takes
from serve_app.cli.progress import waiting

STDIN = Path("-")


def proof(
    asking: Asking,
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Job whose charges are to be proved.")] = None,
    allocation: Annotated[
        str | None, typer.Option(metavar="ID", help="One allocation, by its id, in place of a job.")
    ] = None,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="What a plan would cost, by its id.")] = None,
    history: Annotated[bool, typer.Option("--history", help="All that the tenant has done.")] = False,
    output: Output = None,
    format: Annotated[  # noqa: A002
        Literal["json", "latex", "html", "pdf"],
        typer.Option(help="A document to check (json), or the derivation to read (latex, html, pdf)."),
    ] = "json",
) -> None:
    """Fetch a proof of a job, an allocation, a plan or the history.

    As a JSON document it is checked by `privacy-engine verify`, without the service.
    """
    from serve_app.client import calls

    if (job is not None) + (allocation is not None) + (plan is not None) + history != 1:
        raise typer.BadParameter("name a job, or give one of --allocation, --plan and --history")
    no_terminal_takes(format, output)
    connection = asking.connect("auditor")
    call = (
        calls.proof(job, format)
        if job is not None
        else calls.proof_of(format, allocation_id=allocation, plan_id=plan, history=history)
    )
    with waiting("fetching the proof"):
        document = connection.send(call).content
    deliver(document, output)


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The proof, a JSON document; - for stdin.")],
    keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Public keys that you trust: a JWK set, as `privacy-engine keys` prints it."),
    ] = None,
    operator_keys: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Operators' public keys, a JWK set: checks who signed adjustments."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a proof offline, without the service.

    Exit status 0: valid; 1: not valid; 2: a file cannot be read.
    """
    from proofs.checker import verify_document

    text = _read(file)
    trusted, operators = (None if path is None else _key_set(_read(path), path) for path in (keys, operator_keys))
    with waiting("checking the proof"):
        report = verify_document(text, trusted, operators)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(report)))
    else:
        out = console()
        for reason in report.reasons:
            out.print(f"wrong: {reason}")
        for fact in report.facts:
            out.print(f"checked: {fact}")
        if report.valid:
            out.print(f"VALID: {report.kind} {report.name!a} of tenant {report.tenant_id!a}", style="bold green")
            out.print(f"  cost epsilon {report.epsilon}, delta {report.delta}")
        else:
            out.print("NOT VALID", style="bold red")
    if not report.valid:
        raise typer.Exit(REFUSED)


def _read(path: Path) -> bytes:
    from proofs.certificate import MAX_BYTES

    # One byte more than the checker takes, so that it can tell and say so.
    try:
        if path == STDIN:
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", USAGE) from None


def _key_set(raw: bytes, path: Path) -> list[dict[str, Any]]:
    from proofs.certificate import MalformedError, parse_json

    try:
        data = parse_json(raw.decode("utf-8", errors="replace"))
    except MalformedError as error:
        raise CommandError(f"{path} cannot be read: {error}", USAGE) from None
    keys = data.get("keys") if isinstance(data, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise CommandError(f"{path} is not a JWK set: an object with a list under keys", USAGE)
    return keys
