"""``privacy-engine evidence`` and ``export``: documents for auditors, and a history for other people's accountants."""

from typing import Annotated, Literal

import typer

from serve_app.cli.asking import Asking
from serve_app.cli.options import Output, given
from serve_app.cli.output import deliver, no_terminal_takes
from serve_app.cli.progress import waiting

_SECONDS = 300.0
"""Longer than the longest history takes that is followed."""


def evidence(
    asking: Asking,
    framework: Annotated[Literal["gdpr", "hipaa", "ccpa", "soc2"], typer.Option(help="For whose controls.")],
    format: Annotated[  # noqa: A002
        Literal["json", "html", "pdf"], typer.Option(help="Its numbers (json), or a document to read (html, pdf).")
    ] = "json",
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="First day, or moment, in UTC. (default: the first ever)")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="WHEN", help="End of the period, not part of it. (default: now)")
    ] = None,
    output: Output = None,
) -> None:
    """Write a report of evidence for named controls of a framework.

    It is made of what the ledger, its proofs and its log show.
    """
    from serve_app.client import calls

    no_terminal_takes(format, output)
    connection = asking.connect("auditor")
    body = {"framework": framework, "format": format, "tenant_id": connection.tenant_id}
    body |= given({"since": since, "until": until})
    with waiting("writing the evidence"):
        document = connection.send(calls.generate_report(body), timeout=_SECONDS).content
    deliver(document, output)


def export(
    asking: Asking,
    dataset: Annotated[str | None, typer.Option(metavar="ID", help="One data set's history alone.")] = None,
    output: Output = None,
) -> None:
    """Export the history for other people's accountants.

    A document of events that Google's dp-accounting loads; it says how.
    """
    from serve_app.client import calls

    connection = asking.connect("auditor")
    body = {"tenant_id": connection.tenant_id} | given({"dataset_id": dataset})
    with waiting("exporting the history"):
        document = connection.send(calls.export_accountant(body), timeout=_SECONDS).content
    deliver(document, output)
