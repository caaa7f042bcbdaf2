"""``privacy-engine dataset`` and ``datasets``: the budgets that protect the people in a data set."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.options import AsJson, Delta, decimal_option, given
from serve_app.cli.output import console, show_table, tell

AMOUNTS = ("used_epsilon", "total_epsilon", "remaining_epsilon", "remaining_delta")


def dataset(
    asking: Asking,
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Id of the data set.")],
    epsilon: Annotated[
        str | None, typer.Option(callback=decimal_option, metavar="DECIMAL", help="Its total epsilon, to set it.")
    ] = None,
    delta: Delta = None,
    unit: Annotated[str | None, typer.Option(help="Privacy unit: whose data is protected, such as patient.")] = None,
    adjacency: Annotated[
        Literal["add_remove", "replace_one"], typer.Option(help="What neighbouring data sets are.")
    ] = "add_remove",
    partition: Annotated[
        list[str] | None, typer.Option(help="A disjoint part of the units; once for each, those registered first.")
    ] = None,
    basis: Annotated[str, typer.Option(help="How a unit's part follows from something else than the data.")] = "",
    as_json: AsJson = False,
) -> None:
    """Show a data set, register it, raise its budget or add partitions.

    With --epsilon and --unit it is registered or raised first, which takes an admin's token.
    """
    from serve_app.client import calls

    if (epsilon is None) != (unit is None):
        raise typer.BadParameter("--epsilon and --unit go together: they register a data set")
    connection = asking.connect("viewer" if epsilon is None else "admin")
    call = calls.dataset(connection.tenant_id, name)
    if epsilon is not None:
        body: dict[str, Any] = {
            "epsilon": epsilon,
            "privacy_unit": unit,
            "adjacency": adjacency,
            "partitions": partition or [],
            "partition_basis": basis,
        }
        call = calls.set_dataset(connection.tenant_id, name, body | given({"delta": delta}))
    tell(connection.send(call).text, as_json, _show)


def datasets(asking: Asking, as_json: AsJson = False) -> None:
    """List a tenant's data sets and what is left of their budgets."""
    from serve_app.client import calls

    connection = asking.connect("viewer")
    tell(connection.send(calls.datasets(connection.tenant_id)).text, as_json, _show_all)


def _show(answer: Mapping[str, Any]) -> None:
    out = console()
    out.print(f"data set {answer['dataset_id']}: a {answer['privacy_unit']} is protected, {answer['adjacency']}")
    out.print("")
    show_table(("part", "epsilon used", "of", "left", "delta left"), _rows(answer))


def _show_all(answer: Mapping[str, Any]) -> None:
    if not answer["datasets"]:
        console().print(f"{answer['tenant_id']} has no data sets: `privacy-engine dataset` registers one")
        return
    rows = [
        (
            *(one[name] for name in ("dataset_id", "privacy_unit", "adjacency")),
            str(one["partition_count"]),
            *(one["exact"][name] for name in AMOUNTS),
        )
        for one in answer["datasets"]
    ]
    heads = ("data set", "unit", "adjacency", "partitions", "epsilon used", "of", "left", "delta left")
    show_table(heads, rows)


def _rows(answer: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for anybody at all, and one for each partition."""
    for part in (answer, *answer["partitions"]):
        exact = part["exact"]
        yield (part.get("partition", "(most exposed)"), *(exact[amount] for amount in AMOUNTS))
