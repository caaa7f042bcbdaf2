"""``privacy-engine dataset``: the budgets that protect the people in a data set."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import typer

from serve_app.cli.connection import connect
from serve_app.cli.options import AsJson, Delta, Home, Tenant, Token, Url, decimal_option
from serve_app.cli.output import answer_in, console, errors_reported, table


def dataset(
    name: Annotated[str, typer.Argument(help="Id of the data set.")],
    epsilon: Annotated[str | None, typer.Option(callback=decimal_option, help="Its total epsilon, to set it.")] = None,
    delta: Delta = None,
    unit: Annotated[str | None, typer.Option(help="Privacy unit: whose data is protected, such as patient.")] = None,
    adjacency: Annotated[
        Literal["add_remove", "replace_one"], typer.Option(help="What neighbouring data sets are.")
    ] = "add_remove",
    partition: Annotated[
        list[str] | None, typer.Option(help="A disjoint part of the units; once for each, those registered first.")
    ] = None,
    basis: Annotated[str, typer.Option(help="How a unit's part follows from something else than the data.")] = "",
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show a data set; with --epsilon and --unit register it, raise its budget or add partitions first."""
    from serve_app.client import calls

    if (epsilon is None) != (unit is None):
        raise typer.BadParameter("--epsilon and --unit go together: they register a data set")
    with errors_reported():
        connection = connect(url, token, tenant, home, "viewer" if epsilon is None else "admin")
        call = calls.dataset(connection.tenant_id, name)
        if epsilon is not None:
            body: dict[str, Any] = {
                "epsilon": epsilon,
                "privacy_unit": unit,
                "adjacency": adjacency,
                "partitions": partition or [],
                "partition_basis": basis,
            }
            call = calls.set_dataset(connection.tenant_id, name, body if delta is None else body | {"delta": delta})
        with connection.client() as client:
            text = client.send_raw(call).text
        answer = answer_in(text)
    if as_json:
        typer.echo(text)
        return
    out = console()
    out.print(f"data set {answer['dataset_id']}: a {answer['privacy_unit']} is protected, {answer['adjacency']}")
    out.print(table(("part", "epsilon used", "of", "left", "delta left"), _rows(answer)))


def _rows(answer: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for anybody at all, and one for each partition."""
    for part in (answer, *answer["partitions"]):
        exact = part["exact"]
        amounts = ("used_epsilon", "total_epsilon", "remaining_epsilon", "remaining_delta")
        yield (part.get("partition", "(most exposed)"), *(exact[amount] for amount in amounts))
