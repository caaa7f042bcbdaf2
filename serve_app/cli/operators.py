"""``privacy-engine operator-key new`` and ``adjust``: what only a person with an operator's key can do."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.connection import connect
from serve_app.cli.options import AsJson, Home, Tenant, Token, Url
from serve_app.cli.output import USAGE, CommandError, answer_in, complain, console, errors_reported

if TYPE_CHECKING:
    from proofs.signing import SigningKey

operator_key = typer.Typer(no_args_is_help=True, help="Keys of operators, who may sign adjustments.")


@operator_key.callback()
def _group() -> None:
    """Keeps ``new`` a command of its own, though it is the only one."""


@operator_key.command("new")
def new_operator_key(
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the private key; must not exist.")] = Path(
        "operator.pem"
    ),
) -> None:
    """Make an operator's key: the private half in a file, the public half, as a JWK set, on stdout."""
    with errors_reported():
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
    allocation: Annotated[str, typer.Argument(help="Id of the allocation whose charge is taken back.")],
    reason: Annotated[str, typer.Option(help="Why nothing of it was released.")],
    key: Annotated[Path, typer.Option(help="The operator's private key, a PEM file.")],
    evidence: Annotated[str, typer.Option(help="Where that can be seen: a ticket, a log.")] = "",
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Take back an ended allocation's charge, on an operator's signed word that nothing was released."""
    from serve_app.client import calls

    if not reason.strip():
        raise typer.BadParameter("say why nothing was released", param_hint="--reason")
    with errors_reported():
        signer = _key(key, create=False)
        connection = connect(url, token, tenant, home, "admin")
        said = {
            "tenant_id": connection.tenant_id,
            "allocation_id": allocation,
            "reason": reason,
            "evidence": evidence,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        statement = signer.sign(json.dumps(said).encode())
        with connection.client() as client:
            text = client.send_raw(calls.adjust(allocation, statement, connection.tenant_id)).text
        answer = answer_in(text)
    if as_json:
        typer.echo(text)
        return
    back = answer["given_back"]["basic"]
    exact = answer["exact"]
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
