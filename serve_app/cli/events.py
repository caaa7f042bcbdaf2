"""``privacy-engine events``: what happens to budgets, as it happens."""

import json
from collections.abc import Mapping
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.output import console, or_none
from serve_app.cli.streams import events as events_of


class Topic(StrEnum):
    """What may be followed."""

    OPERATIONS = "operations"
    EXHAUSTED = "exhausted"
    RENEWED = "renewed"


_NAMES = {
    Topic.OPERATIONS: "privacy.operations",
    Topic.EXHAUSTED: "privacy.budget.exhausted",
    Topic.RENEWED: "privacy.budget.renewed",
}


def events(
    asking: Asking,
    topic: Annotated[list[Topic] | None, typer.Option(help="Only these; once for each. (default: all)")] = None,
    start: Annotated[
        int | None, typer.Option(min=0, metavar="POSITION", help="Place in the log to begin at. (default: its end)")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after so many. (default: never)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
) -> None:
    """Follow what happens to a tenant's budget, until Ctrl-C."""
    from serve_app.client import calls

    call = calls.events([_NAMES[one] for one in topic or []], start)
    told = events_of(lambda: asking.connect("auditor"), lambda connection: connection.about(call))
    for _, event in islice(told, limit):
        if as_json:
            typer.echo(json.dumps(event))
        else:
            _show(event)


def _show(event: Mapping[str, Any]) -> None:
    told = (f"{name}={event[name]}" for name in ("job_id", "source_engine", "dataset_id", "scope") if event.get(name))
    remaining = or_none(event.get("exact", {}).get("remaining_epsilon"))
    consumed = or_none(event.get("exact", {}).get("epsilon_consumed"))
    words = (event["at"][:19], event["kind"], f"epsilon={consumed}", f"remaining={remaining}", *told)
    console().print("  ".join(words))
