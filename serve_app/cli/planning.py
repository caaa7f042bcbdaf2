"""``privacy-engine plan``: what steps would cost, before anything is spent."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.options import AsJson, Job
from serve_app.cli.output import console, exact_json, or_none, several, show_table, tell
from serve_app.cli.progress import waiting

STDIN = Path("-")
SECONDS = 120.0
"""How long to wait: a long plan is priced by several theorems before it is answered."""


def plan(
    asking: Asking,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="JSON: a list of steps, or an object with steps or event; - for stdin."),
    ],
    hold: Annotated[
        bool, typer.Option("--hold", help="Hold the budget for it at once; of a plan of one event.")
    ] = False,
    job: Job = None,
    as_json: AsJson = False,
) -> None:
    """Price steps under every theorem before anything is spent.

    A step has step_name, mechanism, epsilon, and where it needs them delta and sensitivity.
    """
    from serve_app.client import calls

    body = _plan_body(file)
    if hold:
        body |= {"hold": True}
    if job is not None:
        body |= {"job_id": job}
    connection = asking.connect("analyst")
    with waiting("pricing the plan"):
        text = connection.send(calls.plan({"tenant_id": connection.tenant_id} | body), timeout=SECONDS).text
    tell(text, as_json, _show)


def _show(answer: Mapping[str, Any]) -> None:
    out = console()
    out.print(f"plan {answer['plan_id']}: {answer['name']}, {several(answer['num_steps'], 'step')}")
    out.print("")
    rows = [
        (
            theorem["name"] + (" (tightest)" if theorem["name"] == answer["tightest"] else ""),
            or_none(theorem["total_epsilon"]),
            or_none(theorem["total_delta"]),
            theorem["note"] or "",
        )
        for theorem in answer["theorems"]
    ]
    show_table(("theorem", "epsilon", "delta", "note"), rows)
    out.print("")
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


def _plan_body(file: Path) -> dict[str, Any]:
    try:
        data = exact_json(sys.stdin.read() if file == STDIN else file.read_text(encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="FILE") from None
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{file} is not JSON: {error}", param_hint="FILE") from None
    name = "plan" if file == STDIN else file.stem
    if isinstance(data, list):
        return {"name": name, "steps": data}
    if isinstance(data, dict):
        return {"name": name} | data
    raise typer.BadParameter("a plan is a list of steps, or an object with steps or an event", param_hint="FILE")
