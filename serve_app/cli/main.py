"""The command line, ``privacy-engine``.

This module and the commands import only what the base installation has; what belongs to the service is imported by the
commands that need it. So an auditor who installs nothing of the service can still run ``privacy-engine verify``.
"""

from typing import Annotated

import typer

from serve_app.cli import (
    acceptance,
    access,
    audit,
    audit_training,
    auditing,
    datasets,
    evaluating,
    keys,
    operators,
    ordering,
    proving,
    releasing,
    spending,
    training,
)
from serve_app.cli.options import Home
from serve_app.cli.output import USAGE, complain

app = typer.Typer(
    name="privacy-engine",
    help="Differential-privacy budgets: spend them, watch them, prove them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.command()
def up(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the service. (default: 8000)")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it is up, and leave it running.")] = False,
    home: Home = None,
) -> None:
    """Start the service, and stay until Ctrl-C."""
    try:
        from serve_app.cli.service import run_up
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None
    raise typer.Exit(run_up(port=port, detach=detach, home=home))


@app.command()
def down(home: Home = None) -> None:
    """Stop the service."""
    try:
        from serve_app.cli.service import run_down
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None
    raise typer.Exit(run_down(home=home))


for command in (
    access.status,
    access.token,
    spending.budget,
    spending.allocate,
    spending.plan,
    releasing.apply,
    releasing.select,
    releasing.preview,
    datasets.dataset,
    training.rows,
    ordering.generate,
    ordering.train,
    training.training,
    training.report,
    evaluating.evaluate,
    operators.adjust,
    proving.proof,
    proving.verify,
    audit.audit,
    auditing.audit_mechanism,
    audit_training.audit_training,
    acceptance.accept_ledger,
    keys.rotate_key,
):
    app.command()(command)
app.add_typer(operators.operator_key, name="operator-key")


def _not_installed(error: ModuleNotFoundError) -> typer.Exit:
    complain(f"error: this needs {error.name}, which comes with the service: install privacy-engine[service]")
    return typer.Exit(USAGE)


if __name__ == "__main__":
    app()
