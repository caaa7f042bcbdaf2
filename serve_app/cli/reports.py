"""``privacy-engine report`` and ``compare``: what trainings have cost, and what that means."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.options import AsJson, Output
from serve_app.cli.output import console, deliver, no_terminal_takes, or_none, show_table, tell
from serve_app.cli.progress import waiting
from serve_app.cli.training import PLANNING_SECONDS


def report(
    asking: Asking,
    job: Annotated[str, typer.Argument(metavar="ID", help="Id of the training.")],
    format: Annotated[  # noqa: A002
        Literal["json", "html", "png", "svg"],
        typer.Option(help="Its numbers (json), the report to read (html), or its curves (png, svg)."),
    ] = "json",
    output: Output = None,
) -> None:
    """Fetch a training's privacy report.

    What it has cost, what that means, what other plans would cost.
    """
    from serve_app.client import calls

    no_terminal_takes(format, output)
    connection = asking.connect("viewer")
    with waiting("writing the report"):
        content = connection.send(connection.about(calls.privacy_report(job, format)), timeout=PLANNING_SECONDS).content
    deliver(content, output)


def compare(
    asking: Asking,
    jobs: Annotated[list[str], typer.Argument(metavar="ID", help="Ids of two to eight trainings.")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the comparison as a page to read, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare what trainings have cost, alone and together."""
    from serve_app.client import calls

    if not 2 <= len(jobs) <= 8:
        raise typer.BadParameter("name two to eight trainings", param_hint="ID")
    connection = asking.connect("viewer")
    with waiting("comparing"):
        text = connection.send(connection.about(calls.compare(jobs)), timeout=PLANNING_SECONDS).text
        page = None
        if html is not None:
            page = connection.send(connection.about(calls.compare(jobs, "html")), timeout=PLANNING_SECONDS).content
    tell(text, as_json, _show_comparison)
    if page is not None:
        deliver(page, html)


def _show_comparison(answer: Mapping[str, Any]) -> None:
    out = console()
    heads = ("training", "model", "data set", "status", "epsilon", "of", "delta", "steps")
    names = ("job_id", "model", "dataset_id", "status", "epsilon", "target_epsilon", "delta", "steps_run")
    show_table(heads, [tuple(or_none(one[name]) for name in names) for one in answer["models"]])
    for warning in answer["warnings"]:
        out.print(f"note: {warning}")
    for sum_ in answer["together"]:
        out.print(f"together on {sum_['dataset_id']}: epsilon {sum_['epsilon']}, delta {sum_['delta']}")
    out.print(answer["note"])
