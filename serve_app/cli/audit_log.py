"""``privacy-engine audit-log``: who did what, and what was refused."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.options import AsJson
from serve_app.cli.output import console, minute, or_none, show_table, tell

PREFIX = "/api/v1/privacy"
_COLUMNS = ("id", "at", "actor", "tenant_id", "action", "outcome", "count", "target")


def audit_log(
    asking: Asking,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Rows at most.")] = 50,
    after: Annotated[int | None, typer.Option(min=1, help="Go on after the row of that id.")] = None,
    everybody: Annotated[
        bool, typer.Option("--all-tenants", help="Rows of all tenants, and of unknown askers.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show who did what and what was refused, the newest first."""
    from serve_app.client import calls

    if everybody and asking.tenant is not None:
        raise typer.BadParameter("--all-tenants and --tenant contradict each other")
    connection = asking.everywhere("auditor") if everybody else asking.connect("auditor")
    named = None if everybody else connection.tenant_id
    tell(connection.send(calls.audit_records(named, after, limit)).text, as_json, _show)


def _show(answer: Mapping[str, Any]) -> None:
    out = console()
    rows = [[_cell(name, one[name]) for name in _COLUMNS] for one in answer["records"]]
    show_table([name.removesuffix("_id") for name in _COLUMNS], rows)
    if answer["next"] is not None:
        out.print(f"there are more: --after {answer['next']}")


def _cell(name: str, value: Any) -> str:  # noqa: ANN401 - JSON
    if name == "at":
        return minute(value)
    return or_none(value).replace(PREFIX, "", 1)
