"""``privacy-engine picture``: a tenant's loss over time against its cap."""

from typing import Annotated, Literal

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.options import Output
from serve_app.cli.output import deliver, no_terminal_takes
from serve_app.cli.progress import waiting


def picture(
    asking: Asking,
    format: Annotated[  # noqa: A002
        Literal["png", "svg", "json"], typer.Option(help="The picture (png, svg), or its numbers (json).")
    ] = "png",
    member: Annotated[
        Literal["basic", "zcdp", "renyi", "gdp"] | None, typer.Option(help="One filter of the budget. (default: all)")
    ] = None,
    output: Output = None,
) -> None:
    """Draw the loss over time against the cap."""
    from serve_app.client import calls

    no_terminal_takes(format, output)
    connection = asking.connect("viewer")
    call = connection.about(calls.picture(format, member))
    with waiting("drawing"):
        content = connection.send(call).content
    deliver(content, output)
