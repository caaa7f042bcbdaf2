"""``privacy-engine rotate-key``: a new key signs from now on, and what the old one has signed stays valid."""

from typing import Annotated, Literal

import typer

from serve_app.cli.connection import local_service
from serve_app.cli.options import Home
from serve_app.cli.output import REFUSED, USAGE, CommandError, complain, console, errors_reported


def rotate_key(
    purpose: Annotated[Literal["proofs", "heads"], typer.Argument(help="What the key signs.")] = "proofs",
    home: Home = None,
) -> None:
    """Replace a signing key. The old private key is gone; its public half stays published, and old proofs valid."""
    with errors_reported():
        try:
            from proofs.signing import KeyFileError
            from serve_app.auth.keys import KeyRing
            from serve_app.config import Settings
        except ModuleNotFoundError as error:
            message = f"this needs {error.name}, which comes with the service: install privacy-engine[service]"
            raise CommandError(message, USAGE) from None
        given = Settings()
        settings = Settings.model_validate(given.model_dump() | {"home": home or given.home})
        if not (settings.folder / "keys").is_dir():
            raise CommandError(f"{settings.folder} holds no keys: no service was started there", USAGE)
        try:
            key = KeyRing.of(settings).rotate(purpose)
        except (KeyFileError, OSError) as error:
            raise CommandError(str(error), REFUSED) from None
    console().print(key.kid)
    complain(
        f"That key signs {purpose} from now on. The earlier one stays published: save /.well-known/jwks.json again."
    )
    if local_service(settings.folder) is not None:
        complain("The service that runs takes it up when it starts again: privacy-engine down, then up.")
