"""``privacy-engine summary``, ``burn-rate``, ``operations`` and ``tenants``."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from serve_app.cli.asking import Asking, Place
from serve_app.cli.options import AsJson
from serve_app.cli.output import console, minute, or_none, several, show_fields, show_table, tell


def summary(asking: Asking, as_json: AsJson = False) -> None:
    """Show what is used and left, by data set and by engine."""
    from serve_app.client import calls

    connection = asking.connect("viewer")
    tell(connection.send(calls.budget_summary(connection.tenant_id)).text, as_json, _show_summary)


def burn_rate(
    asking: Asking,
    days: Annotated[int, typer.Option(min=1, max=90, metavar="DAYS", help="Days to look at, today included.")] = 7,
    dataset: Annotated[str | None, typer.Option(metavar="ID", help="One data set, by its own budget.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the cost of each day, and when the budget will be used up."""
    from serve_app.client import calls

    connection = asking.connect("viewer")
    call = calls.burn_rate(connection.tenant_id, days, dataset)
    tell(connection.send(call).text, as_json, _show_burn_rate)


def operations(
    asking: Asking,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="How many, the latest first.")] = 20,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="ENTRY", help="Only those before this ledger position.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List a tenant's operations and what became of them."""
    from serve_app.client import calls

    connection = asking.connect("viewer")
    call = calls.operations(connection.tenant_id, before, limit)
    tell(connection.send(call).text, as_json, _show_operations)


def tenants(
    place: Place,
    limit: Annotated[int, typer.Option(min=1, max=200, metavar="N", help="How many, by name.")] = 50,
    after: Annotated[
        str | None, typer.Option(metavar="TENANT", help="Only those whose name comes after this one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List all tenants side by side.

    With --token it takes an auditor's for any tenant.
    """
    from serve_app.client import calls

    tell(place.everywhere("auditor").send(calls.tenants(after, limit)).text, as_json, _show_tenants)


def _show_summary(answer: Mapping[str, Any]) -> None:
    exact, counts = answer["budget"]["exact"], answer["operations"]
    out = console()
    out.print(f"{answer['tenant_id']}: epsilon {exact['used_epsilon']} of {exact['total_epsilon']} is used")
    out.print(f"remaining   epsilon {exact['remaining_epsilon']}, delta {exact['remaining_delta']}")
    out.print(f"operations  {counts['admitted']} admitted, {several(counts['open_holds'], 'open hold')}")
    out.print(f"refused     {counts['denied_last_7_days']} in the last 7 days")
    if answer["datasets"]:
        parts = ("used_epsilon", "total_epsilon", "remaining_epsilon")
        rows = [(one["dataset_id"], one["unit"], *(one["exact"][part] for part in parts)) for one in answer["datasets"]]
        out.print("")
        show_table(("data set", "unit", "used", "of", "left"), rows)
    if answer["by_engine"]:
        engines = [
            (or_none(one["source_engine"]), one["exact"]["epsilon"], str(one["operations"]), f"{one['share_pct']} %")
            for one in answer["by_engine"]
        ]
        out.print("")
        show_table(("engine", "epsilon", "operations", "share"), engines)


def _show_burn_rate(answer: Mapping[str, Any]) -> None:
    out = console()
    whose = "" if answer["dataset_id"] is None else f", data set {answer['dataset_id']}"
    out.print(f"{answer['tenant_id']}{whose}: epsilon {answer['exact']['epsilon']} in {answer['window_days']} days")
    found = answer["projection"]
    told = {
        "a day": f"epsilon {answer['epsilon_per_day']}, {answer['operations_per_day']} operations",
        "remaining": f"epsilon {answer['exact']['remaining_epsilon']}",
        "used up": _day(found["exhausted_at"]),
    }
    if found["exhausted_at"] is not None:
        told["used up"] += f", {_day(found['earliest'])} to {_day(found['latest'])}"
    if found["renews_at"] is not None:
        told["renews"] = f"{_day(found['renews_at'])}, {'before' if found['renews_before'] else 'after'} that"
    show_fields(told | {"": found["basis"]})
    out.print("")
    days = [
        (day["date"], day["exact"]["epsilon"], str(day["operations"]), or_none(day["remaining_epsilon"]))
        for day in answer["daily"]
    ]
    show_table(("day", "epsilon", "operations", "remaining"), days)
    if answer["by_engine"]:
        engines = [
            (
                or_none(one["source_engine"]),
                one["exact"]["epsilon"],
                str(one["epsilon_per_day"]),
                str(one["operations"]),
            )
            for one in answer["by_engine"]
        ]
        out.print("")
        show_table(("engine", "epsilon", "a day", "operations"), engines)


def _show_operations(answer: Mapping[str, Any]) -> None:
    heads = ["entry", "at", "status", "epsilon", "event", "engine", "data set", "job"]
    rows = [
        [
            str(one["seq"]),
            minute(one["at"]),
            one["status"],
            _charge(one["exact"]),
            *(or_none(one[name]) for name in ("event_kind", "source_engine", "dataset_id", "job_id")),
        ]
        for one in answer["operations"]
    ]
    out = console()
    show_table(heads, rows)
    if answer["next"] is not None:
        out.print(f"earlier ones: --before {answer['next']}")


def _charge(exact: Mapping[str, str]) -> str:
    """What was charged, and what of it was given back where something was."""
    back = exact["epsilon_given_back"]
    return exact["epsilon"] if back == "0" else f"{exact['epsilon']} (-{back})"


def _show_tenants(answer: Mapping[str, Any]) -> None:
    parts = ("total_epsilon", "used_epsilon", "remaining_epsilon", "operations", "epsilon_per_day")
    rows = [
        (
            one["tenant_id"],
            *(str(one[part]) for part in parts),
            or_none(one["days_left"]),
            minute(one["last_entry_at"]),
        )
        for one in answer["tenants"]
    ]
    out = console()
    heads = ("tenant", "epsilon", "used", "remaining", "operations", "a day", "days left", "last entry")
    show_table(heads, rows)
    if answer["next"] is not None:
        out.print(f"more: --after {answer['next']}")


def _day(moment: str | None) -> str:
    return "not in sight" if moment is None else moment[:10]
