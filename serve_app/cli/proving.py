"""``privacy-engine proof`` and ``verify``."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from serve_app.cli.connection import connect
from serve_app.cli.options import AsJson, Home, Tenant, Token, Url
from serve_app.cli.output import REFUSED, USAGE, CommandError, console, deliver, errors_reported

STDIN = Path("-")


def proof(
    job: Annotated[str | None, typer.Argument(help="Job whose charges are to be proved.")] = None,
    allocation: Annotated[str | None, typer.Option(help="One allocation, by its id, in place of a job.")] = None,
    plan: Annotated[str | None, typer.Option(help="What a plan would cost, by its id.")] = None,
    history: Annotated[bool, typer.Option("--history", help="All that the tenant has done.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write. (default: stdout)")] = None,
    format: Annotated[  # noqa: A002
        Literal["json", "latex", "html", "pdf"],
        typer.Option(help="A document to check (json), or the derivation to read (latex, html, pdf)."),
    ] = "json",
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    home: Home = None,
) -> None:
    """Fetch a proof: of a job's charges, of one allocation, of a plan, or of the tenant's whole history."""
    from serve_app.client import calls

    if (job is not None) + (allocation is not None) + (plan is not None) + history != 1:
        raise typer.BadParameter("name a job, or give one of --allocation, --plan and --history")
    with errors_reported():
        if format == "pdf" and output is None and sys.stdout.isatty():
            raise CommandError("a PDF is nothing for a terminal: name a file with --output", USAGE)
        connection = connect(url, token, tenant, home, "auditor")
        with connection.client() as client:
            call = (
                calls.proof(job, format)
                if job is not None
                else calls.proof_of(format, allocation_id=allocation, plan_id=plan, history=history)
            )
            document = client.send_raw(call).content
        deliver(document, output)


def verify(
    file: Annotated[Path, typer.Argument(help="The proof, a JSON document; - for stdin.")],
    keys: Annotated[
        Path | None, typer.Option(help="Public keys that you trust: a JWK set, as /.well-known/jwks.json gives.")
    ] = None,
    operator_keys: Annotated[
        Path | None, typer.Option(help="Operators' public keys, a JWK set: checks who signed adjustments.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a proof offline, without the service. Exit status 0: valid; 1: not valid; 2: a file cannot be read."""
    from proofs.checker import verify_document

    with errors_reported():
        text = _read(file)
        trusted, operators = (None if path is None else _key_set(_read(path), path) for path in (keys, operator_keys))
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
