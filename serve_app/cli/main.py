"""The command line, ``privacy-engine``.

This module and the commands import only what the base installation has; what belongs to the service is imported by the
commands that need it. So an auditor who installs nothing of the service can still run ``privacy-engine verify``.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from serve_app.cli.asking import unfolded
from serve_app.cli.exit_codes import as_text
from serve_app.cli.help_pages import CommandPage, GroupPage
from serve_app.cli.operators import new_operator_key
from serve_app.cli.panels import OPERATOR_KEY_EXAMPLE, PANELS

app = typer.Typer(
    name="privacy-engine",
    cls=GroupPage,
    help="Differential-privacy budgets: spend them, watch them, prove them.\n\n"
    "Results go to stdout, everything else to stderr. `privacy-engine COMMAND --help` says more, with examples.",
    epilog=as_text(),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("privacy-engine"))
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the release and stop.")
    ] = False,
) -> None:
    """Options before any command."""


for _panel, _commands in PANELS.items():
    for _command, _examples in _commands.items():
        app.command(cls=CommandPage, rich_help_panel=_panel, epilog=_examples)(unfolded(_command))

operator_key = typer.Typer(cls=GroupPage, no_args_is_help=True, rich_markup_mode=None)
operator_key.command("new", cls=CommandPage, epilog=OPERATOR_KEY_EXAMPLE)(unfolded(new_operator_key))


@operator_key.callback()
def _group() -> None:
    """Make keys of operators, who may sign adjustments."""


app.add_typer(operator_key, name="operator-key", rich_help_panel="Operators")

if __name__ == "__main__":
    app()
