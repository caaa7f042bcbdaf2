"""``privacy-engine budget``, ``allocate`` and ``plan``."""

import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from serve_app.cli.connection import connect
from serve_app.cli.keyed import replay_note, unknown_outcome
from serve_app.cli.options import (
    AsJson,
    Delta,
    Epsilon,
    Home,
    Key,
    Tenant,
    Token,
    Url,
    decimal_option,
    given,
)
from serve_app.cli.output import answer_in, console, errors_reported, exact_json, table

STDIN = "-"
_PARAMETERS = ("epsilon", "delta")


def budget(
    set_epsilon: Annotated[str | None, typer.Option(callback=decimal_option, help="New total epsilon.")] = None,
    set_delta: Annotated[str | None, typer.Option(callback=decimal_option, help="New total delta.")] = None,
    renewal_days: Annotated[
        int | None, typer.Option(min=1, max=3_660, help="Renew it after so many days: 1 daily, 30 monthly.")
    ] = None,
    no_renewal: Annotated[bool, typer.Option("--no-renewal", help="Make it a lifetime budget again.")] = False,
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show a tenant's budget; with --set-epsilon and --set-delta create or raise it first."""
    from serve_app.client import calls

    if (set_epsilon is None) != (set_delta is None):
        raise typer.BadParameter("--set-epsilon and --set-delta go together: a budget is a pair")
    if renewal_days is not None and no_renewal:
        raise typer.BadParameter("--renewal-days and --no-renewal contradict each other")
    if set_epsilon is None and (renewal_days is not None or no_renewal):
        raise typer.BadParameter("windows are set with the budget: give --set-epsilon and --set-delta too")
    with errors_reported():
        connection = connect(url, token, tenant, home, "viewer" if set_epsilon is None else "admin")
        call = (
            calls.budget(connection.tenant_id)
            if set_epsilon is None or set_delta is None
            else calls.set_budget(
                connection.tenant_id,
                set_epsilon,
                set_delta,
                renewal_days=renewal_days,
                auto_renew=False if no_renewal else None,
            )
        )
        with connection.client() as client:
            text = client.send_raw(call).text
        answer = answer_in(text)
    if as_json:
        typer.echo(text)
        return
    exact = answer["exact"]
    out = console()
    out.print(f"budget of {answer['tenant_id']}, {answer['allocation_count']} allocations so far")
    if answer["renewal_days"] is not None:
        out.print(f"window of {answer['renewal_days']} days, until {answer['period_end']}")
    if answer["legal_hold"]:
        out.print("a legal hold is in force")
    parts = ("total", "used", "remaining", "held", "lifetime")
    out.print(table(("", *parts), [(name, *(exact[f"{part}_{name}"] for part in parts)) for name in _PARAMETERS]))
    for dataset in answer["datasets"]:
        left = dataset["exact"]["remaining_epsilon"]
        out.print(f"data set {dataset['dataset_id']}: epsilon {left} of {dataset['exact']['total_epsilon']} is left")
    out.print("")
    out.print(table(("filter", "counts", "spent", "cap", "holds"), _filter_rows(answer["filters"])))


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


def allocate(
    epsilon: Epsilon,
    job: Annotated[str, typer.Option(help="Job that the charge belongs to.")],
    delta: Delta = None,
    key: Key = None,
    reserve: Annotated[bool, typer.Option("--reserve", help="Hold it, to be committed or voided later.")] = False,
    dataset: Annotated[str | None, typer.Option(help="Registered data set that is used.")] = None,
    partition: Annotated[str | None, typer.Option(help="Registered partition of it that is used alone.")] = None,
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Spend epsilon and delta, or hold them with --reserve."""
    from serve_app.client import calls

    body = {"job_id": job, "epsilon": epsilon, "delta": delta or "0", "mode": "reserve" if reserve else "consume"}
    body |= given({"dataset_id": dataset, "partition": partition})
    key = key or str(uuid.uuid4())
    with errors_reported(unknown_outcome(key)):
        connection = connect(url, token, tenant, home, "analyst")
        with connection.client() as client:
            response = client.send_raw(calls.allocate(body | {"tenant_id": connection.tenant_id}, key))
        answer = answer_in(response.text)
    if as_json:
        typer.echo(response.text)
        return
    exact = answer["exact"]
    out = console()
    out.print(
        f"{answer['state']}: epsilon {exact['allocated_epsilon']}, delta {exact['allocated_delta']}"
        + replay_note(response.headers)
    )
    out.print(f"allocation  {answer['allocation_id']}")
    out.print(f"remaining   epsilon {exact['remaining_epsilon']}, delta {exact['remaining_delta']}")
    if "dataset" in answer:
        left = answer["dataset"]["exact"]
        out.print(f"data set    epsilon {left['remaining_epsilon']}, delta {left['remaining_delta']}")


def plan(
    file: Annotated[str, typer.Argument(help="JSON: a list of steps, or an object with steps or event; - for stdin.")],
    tenant: Tenant = None,
    url: Url = None,
    token: Token = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Price steps under every theorem before anything is spent."""
    from serve_app.client import calls

    body = _plan_body(file)
    with errors_reported():
        connection = connect(url, token, tenant, home, "analyst")
        with connection.client() as client:
            text = client.send_raw(calls.plan({"tenant_id": connection.tenant_id} | body)).text
        answer = answer_in(text)
    if as_json:
        typer.echo(text)
        return
    out = console()
    out.print(f"plan {answer['plan_id']}: {answer['name']}, {answer['num_steps']} steps")
    rows = [
        (
            theorem["name"] + (" (tightest)" if theorem["name"] == answer["tightest"] else ""),
            theorem["total_epsilon"] or "-",
            theorem["total_delta"] or "-",
            theorem["note"] or "",
        )
        for theorem in answer["theorems"]
    ]
    out.print(table(("theorem", "epsilon", "delta", "note"), rows))
    if answer["is_feasible"]:
        left = answer["exact"]["remaining_epsilon_after"]
        out.print(f"fits the budget; after it a claim of epsilon {left} would still fit")
    else:
        out.print(f"does not fit the budget: {answer['feasibility_basis']}")
    if "hold" in answer:
        held = answer["hold"]
        charged = held["exact"]
        out.print(f"held: epsilon {charged['allocated_epsilon']}, delta {charged['allocated_delta']}")
        out.print(f"allocation  {held['allocation_id']}")


def _plan_body(file: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
        data = exact_json(text)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="FILE") from None
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}", param_hint="FILE") from None
    name = "plan" if file == STDIN else Path(file).stem
    if isinstance(data, list):
        return {"name": name, "steps": data}
    if isinstance(data, dict):
        return {"name": name} | data
    raise typer.BadParameter("a plan is a list of steps, or an object with steps or an event", param_hint="FILE")
