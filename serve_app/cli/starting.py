"""``privacy-engine up`` and ``down``, as far as they need nothing of the service."""

from typing import Annotated

import typer

from serve_app.cli.options import Home
from serve_app.cli.output import not_installed


def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, metavar="PORT", help="Port of the service. (default: 8000)")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it is up, and leave it running.")] = False,
    home: Home = None,
) -> None:
    """Start the service, and stay until Ctrl-C."""
    try:
        from serve_app.cli.service import run_up
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    raise typer.Exit(run_up(port=port, detach=detach, home=home))


def down(home: Home = None) -> None:
    """Stop the service."""
    try:
        from serve_app.cli.service import run_down
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    raise typer.Exit(run_down(home=home))
