"""``privacy-engine budget``, ``allocate``, ``commit``, ``void``, ``denials`` and ``legal-hold``."""

import uuid
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.keyed import replay_note
from serve_app.cli.options import AsJson, Delta, Epsilon, Key, decimal_option, given
from serve_app.cli.output import complain, console, minute, or_none, several, show_table, tell

_PARAMETERS = ("epsilon", "delta")
Allocation = Annotated[str, typer.Argument(metavar="ID", help="Id of the allocation that was held.")]


def budget(
    asking: Asking,
    set_epsilon: Annotated[
        str | None, typer.Option(callback=decimal_option, metavar="DECIMAL", help="New total epsilon.")
    ] = None,
    set_delta: Annotated[
        str | None, typer.Option(callback=decimal_option, metavar="DECIMAL", help="New total delta.")
    ] = None,
    renewal_days: Annotated[
        int | None,
        typer.Option(min=1, max=3_660, metavar="DAYS", help="Renew it after so many days: 1 daily, 30 monthly."),
    ] = None,
    no_renewal: Annotated[bool, typer.Option("--no-renewal", help="Make it a lifetime budget again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a tenant's budget, or create or raise it.

    With --set-epsilon and --set-delta it is created or raised first, which takes an admin's token.
    """
    from serve_app.client import calls

    if (set_epsilon is None) != (set_delta is None):
        raise typer.BadParameter("--set-epsilon and --set-delta go together: a budget is a pair")
    if renewal_days is not None and no_renewal:
        raise typer.BadParameter("--renewal-days and --no-renewal contradict each other")
    if set_epsilon is None and (renewal_days is not None or no_renewal):
        raise typer.BadParameter("windows are set with the budget: give --set-epsilon and --set-delta too")
    connection = asking.connect("viewer" if set_epsilon is None else "admin")
    tenant = connection.tenant_id
    if set_epsilon is None or set_delta is None:
        call = calls.budget(tenant)
    else:
        renew = False if no_renewal else None
        call = calls.set_budget(tenant, set_epsilon, set_delta, renewal_days=renewal_days, auto_renew=renew)
    tell(connection.send(call).text, as_json, _show_budget)


def allocate(
    asking: Asking,
    epsilon: Epsilon,
    job: Annotated[str, typer.Option(metavar="JOB", help="Job that the charge belongs to.")],
    delta: Delta = None,
    key: Key = None,
    reserve: Annotated[bool, typer.Option("--reserve", help="Hold it, to be committed or voided later.")] = False,
    ttl: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="How long a hold lasts; then it counts as spent.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="ID", help="Registered data set that is used.")] = None,
    partition: Annotated[
        str | None, typer.Option(metavar="NAME", help="Registered partition of it that is used alone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Spend epsilon and delta, or hold them with --reserve.

    A hold is ended by commit or void; one that nobody ends counts as spent when its time has passed.
    """
    from serve_app.client import calls

    if ttl is not None and not reserve:
        raise typer.BadParameter("--ttl is about holds: give --reserve too")
    connection = asking.connect("analyst")
    body = {"job_id": job, "epsilon": epsilon, "delta": delta or "0", "mode": "reserve" if reserve else "consume"}
    body |= given(
        {"dataset_id": dataset, "partition": partition, "ttl_seconds": ttl, "tenant_id": connection.tenant_id}
    )
    response = connection.send(calls.allocate(body, key or str(uuid.uuid4())))
    tell(response.text, as_json, partial(_show_allocation, note=replay_note(response.headers)))


def commit(
    asking: Asking,
    allocation: Allocation,
    steps: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Of a repeated event, only so many repetitions were run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Commit a hold: what it paid for was done."""
    from serve_app.client import calls

    connection = asking.connect("analyst")
    response = connection.send(calls.commit(allocation, steps, connection.tenant_id))
    tell(response.text, as_json, partial(_show_allocation, note=replay_note(response.headers)))


def void(asking: Asking, allocation: Allocation, as_json: AsJson = False) -> None:
    """Take back a hold, stating that no data was read."""
    from serve_app.client import calls

    connection = asking.connect("analyst")
    response = connection.send(calls.void(allocation, connection.tenant_id))
    tell(response.text, as_json, partial(_show_allocation, note=replay_note(response.headers)))


def denials(
    asking: Asking,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many, the latest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the latest refusals to spend, and which budget refused."""
    from serve_app.client import calls

    connection = asking.connect("auditor")

    def show(answer: Mapping[str, Any]) -> None:
        rows = [
            (
                "-" if one["at"] is None else minute(one["at"]),
                *map(or_none, (one["outcome"], one["scope"], one["epsilon"], one["delta"])),
                *map(or_none, (one["source_engine"], one["job_id"])),
            )
            for one in answer["denials"]
        ]
        out = console()
        if not rows:
            out.print(f"nothing was refused to {answer['tenant_id']}")
            return
        show_table(("at", "why", "scope", "epsilon", "delta", "engine", "job"), rows)

    tell(connection.send(calls.denials(connection.tenant_id, limit)).text, as_json, show)


def legal_hold(
    asking: Asking,
    in_force: Annotated[bool, typer.Option("--place/--lift", help="Place it, or lift it.", show_default=False)],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for auditors.")],
    as_json: AsJson = False,
) -> None:
    """Place or lift a legal hold: while it is in force, nothing of the tenant is purged."""
    from serve_app.client import calls

    if not reason.strip():
        raise typer.BadParameter("say why, for auditors", param_hint="--reason")
    connection = asking.connect("admin")

    def show(answer: Mapping[str, Any]) -> None:
        console().print(f"legal hold of {answer['tenant_id']}: {'in force' if answer['legal_hold'] else 'lifted'}")

    tell(connection.send(calls.set_legal_hold(connection.tenant_id, in_force, reason)).text, as_json, show)


def _show_budget(answer: Mapping[str, Any]) -> None:
    exact = answer["exact"]
    out = console()
    out.print(f"budget of {answer['tenant_id']}, {several(answer['allocation_count'], 'allocation')} so far")
    if answer["renewal_days"] is not None:
        out.print(f"window of {answer['renewal_days']} days, until {minute(answer['period_end'])} UTC")
    if answer["legal_hold"]:
        out.print("a legal hold is in force")
    out.print("")
    parts = ("total", "used", "remaining", "held", "lifetime")
    show_table(("", *parts), [(name, *(exact[f"{part}_{name}"] for part in parts)) for name in _PARAMETERS])
    for dataset in answer["datasets"]:
        left = dataset["exact"]["remaining_epsilon"]
        out.print(f"data set {dataset['dataset_id']}: epsilon {left} of {dataset['exact']['total_epsilon']} is left")
    out.print("")
    show_table(("filter", "counts", "spent", "cap", "holds"), _filter_rows(answer["filters"]))


def _filter_rows(filters: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Two lines for each filter: what it counts, and the deltas of plain claims."""
    for name, standing in filters.items():
        for counted in standing["cap"]:
            order = f" at order {standing['order']}" if counted == "renyi" else ""
            first = counted != "delta"
            yield (
                name if first else "",
                counted + order,
                standing["spent"][counted],
                standing["cap"][counted],
                ("yes" if standing["holds"] else "no") if first else "",
            )


def _show_allocation(answer: Mapping[str, Any], note: str) -> None:
    exact = answer["exact"]
    out = console()
    out.print(f"{answer['state']}: epsilon {exact['allocated_epsilon']}, delta {exact['allocated_delta']}{note}")
    out.print(f"allocation  {answer['allocation_id']}")
    out.print(f"remaining   epsilon {exact['remaining_epsilon']}, delta {exact['remaining_delta']}")
    if "dataset" in answer:
        left = answer["dataset"]["exact"]
        out.print(f"data set    epsilon {left['remaining_epsilon']}, delta {left['remaining_delta']}")
    if answer["state"] == "held":
        complain("End it with `privacy-engine commit` or `void`; if nobody does, it counts as spent.")
