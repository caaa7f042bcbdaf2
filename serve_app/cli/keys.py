"""``privacy-engine keys`` and ``rotate-key``: the keys that the service publishes, and new ones in their place."""

import json
from typing import Annotated, Literal

import typer

from serve_app.cli.asking import Place
from serve_app.cli.connection import local_service, service_url
from serve_app.cli.exit_codes import REFUSED, USAGE
from serve_app.cli.options import AsJson, Home, Output
from serve_app.cli.output import CommandError, complain, console, deliver, not_installed


def keys(place: Place, output: Output = None) -> None:
    """Print the public keys that check tokens, proofs and heads.

    A JWK set (RFC 7517), as `privacy-engine verify --keys` takes it. It needs no token.
    """
    from serve_app.client import calls
    from serve_app.client.client import PrivacyClient

    with PrivacyClient(service_url(place.url, place.home), "none") as client:
        document = client.send_raw(calls.Call("GET", "/.well-known/jwks.json")).content
    deliver(document + b"\n", output)


def rotate_key(
    purpose: Annotated[Literal["proofs", "heads"], typer.Argument(help="What the key signs.")] = "proofs",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Replace a signing key; what the old one has signed stays valid.

    The old private key is gone; its public half stays published.
    """
    try:
        from proofs.signing import KeyFileError
        from serve_app.auth.keys import KeyRing
        from serve_app.config import Settings
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    given = Settings()
    settings = Settings.model_validate(given.model_dump() | {"home": home or given.home})
    if not (settings.folder / "keys").is_dir():
        raise CommandError(f"{settings.folder} holds no keys: no service was started there", USAGE)
    try:
        key = KeyRing.of(settings).rotate(purpose)
    except (KeyFileError, OSError) as error:
        raise CommandError(str(error), REFUSED) from None
    if as_json:
        typer.echo(json.dumps({"purpose": purpose, "kid": key.kid}))
    else:
        console().print(key.kid)
    complain(
        f"That key signs {purpose} from now on. The earlier one stays published: save /.well-known/jwks.json again, "
        "with `privacy-engine keys`."
    )
    if local_service(settings.folder) is not None:
        complain("The service that runs takes it up when it starts again: privacy-engine down, then up.")
