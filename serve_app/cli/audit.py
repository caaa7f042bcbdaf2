"""``privacy-engine audit``: everything that the ledger says, derived again; from the service, or from a file."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from serve_app.cli.asking import Place
from serve_app.cli.connection import ANY_TENANT, Connection, claimed_tenant, mint, service_url
from serve_app.cli.exit_codes import REFUSED, USAGE
from serve_app.cli.options import AsJson
from serve_app.cli.output import CommandError, complain, console, not_installed, several
from serve_app.cli.progress import Bar, counted, counting

if TYPE_CHECKING:
    from proofs.audit import Line, LogAudit, Report
    from proofs.heads import Head
    from serve_app.client.client import PrivacyClient

PAGE = 1_000
SHOWN = 50
TOKEN_SECONDS = 6 * 3_600
"""How long the token lives that an audit mints for itself."""


def audit(
    place: Place,
    file: Annotated[Path | None, typer.Option(help="Audit what --save wrote, offline; - for stdin.")] = None,
    save: Annotated[Path | None, typer.Option(help="Keep what is fetched in this file.")] = None,
    earlier: Annotated[
        Path | None, typer.Option(help="What an earlier audit saved: the log has to continue its last head.")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="Public keys that you trust: a JWK set. (default: its own)")] = None,
    operator_keys: Annotated[Path | None, typer.Option(help="Operators' public keys: a JWK set.")] = None,
    tenant: Annotated[str | None, typer.Option(help="One tenant's part of the log. (default: all of it)")] = None,
    database: Annotated[
        str | None, typer.Option(help="Whose log, where there are several databases. (default: the tenant's, or main)")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Derive every balance again and check the whole log.

    Chain, tree and signatures too; from the service, or from a file. Exit status 1: something is wrong.
    """
    try:
        from proofs.audit import LogAudit
        from proofs.certificate import MalformedError
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    if file is not None and save is not None:
        raise CommandError("--file and --save do not go together: what is in a file is kept already", USAGE)
    trusted = None if keys is None else _key_set(keys)
    check = LogAudit(trusted, None if earlier is None else _last_head(earlier, trusted), _statement(operator_keys))
    try:
        if file is not None:
            with _opened(file) as stream, counting("lines read") as bar:
                report = check.run(counted(_lines(stream), bar))
        else:
            report = _over_http(check, save, tenant, database, place)
    except MalformedError as error:
        raise CommandError(f"what is to be audited cannot be read: {error}", REFUSED) from None
    if as_json:
        typer.echo(json.dumps(asdict(report), default=str))
    else:
        _print(report)
    if report.found:
        raise typer.Exit(REFUSED)


def _over_http(
    check: "LogAudit", save: Path | None, tenant: str | None, database: str | None, place: Place
) -> "Report":
    """Audits while fetching."""
    address = service_url(place.url, place.home)
    token = place.token or mint(place.home, tenant or ANY_TENANT, "auditor", lifetime_seconds=TOKEN_SECONDS)
    named = tenant or claimed_tenant(token) or ANY_TENANT
    with Connection(address, token, named).client() as client, counting("entries checked") as bar:
        lines = fetched(client, None if named == ANY_TENANT else named, check.kept, bar, database)
        if save is None:
            return check.run(lines)
        try:
            with save.open("w", encoding="utf-8") as file:
                report = check.run(_written(lines, file))
        except OSError as error:
            raise CommandError(f"{save} cannot be written: {error.strerror}", USAGE) from None
    complain(f"what was audited is in {save}")
    return report


def fetched(
    client: "PrivacyClient", tenant: str | None, kept: "Head | None", bar: Bar, database: str | None = None
) -> "Iterator[Line]":
    """What `proofs.audit` reads, from the service.

    Args:
        client: With an auditor's token.
        tenant: Whose entries; None for all.
        kept: The head that the log has to continue.
        bar: Counts the entries.
        database: Whose log; None for the tenant's, or the main one.
    """
    from serve_app.client.calls import PREFIX, Call

    def get(path: str, **params: str | int | None) -> Any:  # noqa: ANN401 - JSON
        given = {name: str(value) for name, value in params.items() if value is not None}
        return client.send(Call("GET", path, params=given))

    place = {"tenant_id": tenant, "database": database}

    yield {"log": 1, "tenant_id": tenant}
    yield {"keys": get("/.well-known/jwks.json")["keys"]}
    last = -1
    while heads := get(f"{PREFIX}/log/heads", after=last if last >= 0 else None, limit=PAGE, **place)["heads"]:
        yield from ({"head": head["signed"]} for head in heads)
        last = heads[-1]["size"]
    if tenant is not None and kept is not None and last >= kept.size:
        yield {"consistency": get(f"{PREFIX}/log/consistency", first=kept.size, second=last, **place)}
    start, covered, seen = 0, None, 0
    while True:
        page = get(f"{PREFIX}/log/entries", start=start, limit=PAGE, **place)
        for entry in page["entries"]:
            yield entry
            if entry["position"] < last:
                covered = entry["body"]
        start, seen = page["next"], seen + len(page["entries"])
        bar(seen, max(last, seen) if tenant is None else None)
        # A page that is not full was the end as of then; whoever waited for more would never be done.
        if len(page["entries"]) < PAGE:
            break
    if tenant is not None and covered is not None:
        seq = json.loads(covered)["seq"]
        yield {"inclusion": get(f"{PREFIX}/log/inclusion", tenant_id=tenant, seq=seq, size=last)}


def _written(lines: "Iterator[Line]", file: TextIO) -> "Iterator[Line]":
    for line in lines:
        file.write(json.dumps(line, separators=(",", ":")) + "\n")
        yield line


def _lines(stream: TextIO) -> "Iterator[Line]":
    from proofs.certificate import MalformedError

    for number, text in enumerate(stream, 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            raise MalformedError(f"line {number} is not JSON") from None
        if not isinstance(line, dict):
            raise MalformedError(f"line {number} is not a JSON object")
        yield line


def _last_head(path: Path, keys: list[dict[str, Any]] | None) -> "Head":
    """The last head in a file of an earlier audit, which was checked then."""
    from proofs.certificate import MalformedError
    from proofs.heads import read_head

    signed: str | None = None
    try:
        with _opened(path) as stream:
            for line in _lines(stream):
                if "body" in line:
                    break
                keys = line["keys"] if keys is None and "keys" in line else keys
                signed = line.get("head", signed)
        if signed is None:
            raise MalformedError("it holds no head")
        return read_head(signed, keys or [])
    except MalformedError as error:
        raise CommandError(f"{path} is not what an audit saved: {error}", USAGE) from None


def _statement(path: Path | None) -> Any:  # noqa: ANN401 - a `Statement`, or None
    """How operators' statements are checked, if their keys are given."""
    if path is None:
        return None
    from serve_app.auth.operators import OperatorKeys
    from serve_app.problems import Problem

    operators = OperatorKeys(path)

    def statement(signed: str, tenant_id: str, allocation_id: str) -> str | None:
        try:
            operators.check_adjustment(signed, tenant_id, allocation_id)
        except Problem as problem:
            return f"does not hold: {problem.detail}"
        return None

    return statement


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        if str(path) == "-":
            yield sys.stdin
            return
        with path.open(encoding="utf-8") as stream:
            yield stream
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}", USAGE) from None


def _key_set(path: Path) -> list[dict[str, Any]]:
    with _opened(path) as stream:
        try:
            data: Any = json.load(stream)
        except (ValueError, RecursionError):
            data = None
    keys = data.get("keys") if isinstance(data, Mapping) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise CommandError(f"{path} is not a JWK set: an object with a list under keys", USAGE)
    return keys


def _print(report: "Report") -> None:
    out = console()
    out.print(f"entries   {report.entries} of {several(report.tenants, 'tenant')}")
    head = report.last_head
    last = "" if head is None else f", the last of {head.size} entries at {head.at:%Y-%m-%d %H:%M:%S} UTC"
    out.print(f"heads     {report.heads}{last}")
    if report.uncovered:
        out.print(f"          {report.uncovered} entries are under no signed head yet")
    out.print(f"findings  {report.found}")
    for note in report.notes:
        out.print(f"note: {note}")
    for finding in report.findings[:SHOWN]:
        where = f"{finding.tenant_id!a}, entry {finding.seq}" if finding.seq else "the log"
        out.print(f"wrong: {where}: {finding.sentence}", style="red")
    if report.found > SHOWN:
        out.print(f"and {report.found - SHOWN} more")
    if report.found:
        out.print("NOT VALID", style="bold red")
    else:
        out.print("VALID", style="bold green")
