"""``privacy-engine evaluate``: synthetic rows beside real ones, for whoever may see the real ones. Offline."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.options import AsJson
from serve_app.cli.output import USAGE, CommandError, complain, console, errors_reported, table
from serve_app.cli.training import columns_in

if TYPE_CHECKING:
    import numpy as np

    from deployments.synthesis.table import Table

SPLIT = (
    "No --holdout was given, so the real rows were split at random. The synthesizer has seen all of them, those that "
    "stand for unseen ones too: membership and distances mean little here."
)


def evaluate(
    schema: Annotated[Path, typer.Option(help="The public columns, JSON with columns.")],
    real: Annotated[Path, typer.Option(help="Real rows that the synthesizer was fitted to: .csv or .parquet.")],
    synthetic: Annotated[Path, typer.Option(help="Synthetic rows.")],
    holdout: Annotated[
        Path | None, typer.Option(help="Real rows that it has not seen. (default: half of --real, which means less)")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict, to measure what the rows are worth.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare synthetic rows with real ones. What it prints is not private: it is for the data's owner alone."""
    with errors_reported():
        try:
            import numpy as np

            from accounting.values import InvalidValueError
            from deployments.evaluation.evaluation import evaluate as compared
            from deployments.evaluation.evaluation import evaluation_to_wire
            from deployments.synthesis.files import read_table
            from deployments.synthesis.schema import schema_from_wire

            if target is not None:
                import sklearn as _  # noqa: F401 - said now, and not after a long computation
        except ModuleNotFoundError as error:
            message = f"this needs {error.name}: install privacy-engine[service,training]"
            raise CommandError(message, USAGE) from None
        generator = np.random.default_rng()
        try:
            columns = schema_from_wire({"columns": columns_in(schema)})
            trained_on, made = (_told(path, lambda path: read_table(path, columns)) for path in (real, synthetic))
            if holdout is None:
                trained_on, unseen = _halves(trained_on, generator)
            else:
                unseen = _told(holdout, lambda path: read_table(path, columns))
            found = evaluation_to_wire(compared(made, trained_on, unseen, generator, target))
        except InvalidValueError as error:
            raise CommandError(str(error), USAGE) from None
    found["split"] = SPLIT if holdout is None else None
    if as_json:
        typer.echo(json.dumps(found))
        return
    _print(found)
