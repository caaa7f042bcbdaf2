"""``privacy-engine operator-key new`` and ``adjust``: what only a person with an operator's key can do."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.exit_codes import USAGE
from serve_app.cli.options import AsJson
from serve_app.cli.output import CommandError, complain, console, tell

if TYPE_CHECKING:
    from proofs.signing import SigningKey


def new_operator_key(
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the private key; must not exist.")] = Path(
        "operator.pem"
    ),
) -> None:
    """Make an operator's key.

    The private half goes into a file, the public half, as a JWK set, to stdout.
    """
    if output.exists():
        raise CommandError(f"{output} is there already: name another file with --output", USAGE)
    key = _key(output, create=True)
    typer.echo(json.dumps({"keys": [key.public_jwk]}, indent=1))
    complain(f"The private key is in {output}: keep it where no service can read it.")
    complain(
        "Put the JWK set above into keys/operators.json in the service's data folder, or into the file that "
        "AUMOS_PRIVACY_OPERATOR_KEYS names; beside other operators' keys, in the same list."
    )


def adjust(
    asking: Asking,
    allocation: Annotated[str, typer.Argument(metavar="ID", help="Id of the allocation whose charge is taken back.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why nothing of it was released.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The operator's private key, a PEM file.")],
    evidence: Annotated[str, typer.Option(metavar="TEXT", help="Where that can be seen: a ticket, a log.")] = "",
    as_json: AsJson = False,
) -> None:
    """Take back a charge, on an operator's signed word.

    The operator states that nothing of the ended allocation was released.
    """
    from serve_app.client import calls

    if not reason.strip():
        raise typer.BadParameter("say why nothing was released", param_hint="--reason")
    signer = _key(key, create=False)
    connection = asking.connect("admin")
    said = {
        "tenant_id": connection.tenant_id,
        "allocation_id": allocation,
        "reason": reason,
        "evidence": evidence,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    statement = signer.sign(json.dumps(said).encode())
    tell(connection.send(calls.adjust(allocation, statement, connection.tenant_id)).text, as_json, _show)


def _show(answer: Mapping[str, Any]) -> None:
    back, exact = answer["given_back"]["basic"], answer["exact"]
    out = console()
    out.print(f"adjusted: epsilon {back['epsilon']}, delta {back['delta']} taken back")
    out.print(f"remaining   epsilon {exact['remaining_epsilon']}, delta {exact['remaining_delta']}")


def _key(path: Path, *, create: bool) -> "SigningKey":
    from proofs.signing import KeyFileError, SigningKey

    try:
        if not create and not path.exists():
            raise CommandError(f"{path} cannot be read: there is no such file", USAGE)
        return SigningKey.load_or_create(path)
    except (KeyFileError, OSError) as error:
        raise CommandError(f"no operator's key: {error}", USAGE) from None
