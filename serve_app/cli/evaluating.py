"""``privacy-engine evaluate``: synthetic rows beside real ones, for whoever may see the real ones. Offline."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.exit_codes import USAGE
from serve_app.cli.options import AsJson
from serve_app.cli.output import CommandError, console, not_installed, show_table
from serve_app.cli.progress import waiting
from serve_app.cli.training import columns_in

if TYPE_CHECKING:
    import numpy as np

    from deployments.synthesis.schema import Schema
    from deployments.synthesis.table import Table

SPLIT = (
    "No --holdout was given, so the real rows were split at random. The synthesizer has seen all of them, those that "
    "stand for unseen ones too: membership and distances mean little here, and predictions look better than they are."
)


def evaluate(
    schema: Annotated[Path, typer.Option(metavar="FILE", help="The public columns, JSON with columns.")],
    real: Annotated[
        Path, typer.Option(metavar="FILE", help="Real rows that the synthesizer was fitted to: .csv or .parquet.")
    ],
    synthetic: Annotated[Path, typer.Option(metavar="FILE", help="Synthetic rows.")],
    holdout: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Real rows that it has not seen. (default: half of --real, which means less)"
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column to predict, to measure what the rows are worth.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare synthetic rows with real ones. Offline.

    What it prints is not private: it is for the data's owner alone.
    """
    try:
        import numpy as np

        from accounting.values import InvalidValueError
        from deployments.evaluation.evaluation import evaluate as compared
        from deployments.evaluation.evaluation import evaluation_to_wire
        from deployments.synthesis.schema import schema_from_wire

        if target is not None:
            # Missing, it is said now and not after a long computation.
            import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise not_installed(error, "service,training") from None
    generator = np.random.default_rng()
    try:
        columns = schema_from_wire({"columns": columns_in(schema)})
        tables = {path: _table(path, columns) for path in (real, synthetic, holdout) if path is not None}
        if holdout is None:
            trained_on, unseen = _halves(tables[real], generator)
        else:
            trained_on, unseen = tables[real], tables[holdout]
        with waiting("comparing"):
            found = evaluation_to_wire(compared(tables[synthetic], trained_on, unseen, generator, target))
    except InvalidValueError as error:
        raise CommandError(str(error), USAGE) from None
    found["split"] = SPLIT if holdout is None else None
    if as_json:
        typer.echo(json.dumps(found))
        return
    _print(found)


def _table(path: Path, schema: "Schema") -> "Table":
    from accounting.values import InvalidValueError
    from deployments.synthesis.files import read_table

    try:
        return read_table(path, schema)
    except InvalidValueError as error:
        raise CommandError(f"{path}: {error}", USAGE) from None


def _halves(table: "Table", generator: "np.random.Generator") -> "tuple[Table, Table]":
    """The rows in two halves, drawn at random."""
    from deployments.synthesis.table import Table

    if table.rows < 2:
        raise CommandError("real: must have at least two rows", USAGE)
    shuffled = generator.permutation(table.rows)
    middle = table.rows // 2
    return Table(table.schema, table.codes[shuffled[:middle]]), Table(table.schema, table.codes[shuffled[middle:]])


def _print(found: Mapping[str, Any]) -> None:
    """The comparison for people: warnings before numbers, and no verdict."""
    out = console()
    # On the page itself: whoever passes it on passes this on too.
    out.print(f"NOT PRIVATE. {found['audience']}", style="bold")
    if found["split"] is not None:
        out.print(found["split"])
    out.print("rows: " + ", ".join(f"{number} {name}" for name, number in found["rows"].items()))
    fidelity, floor, attacks = found["fidelity"], found["floor"], found["attacks"]
    _section("Columns", _columns(fidelity["columns"]), fidelity["note"])
    means = [(name, *map(_short, (part["one_way"], part["two_way"]))) for name, part in _parts(fidelity, floor)]
    _section("Mean total variation", [("rows", "single columns", "pairs"), *means], floor["note"])
    if fidelity["worst"]:
        worst = [(pair["first"], pair["second"], _short(pair["total_variation"])) for pair in fidelity["worst"]]
        _section("Pairs that are furthest apart", [("column", "column", "total variation"), *worst])
    if found["utility"] is not None:
        title = f"Predicting {found['utility']['target']} of the rows that were held out"
        _section(title, _scores(found["utility"]["scores"]))
    if "distances" not in attacks:
        out.print(f"\n{attacks['meaning']}")
        return
    distances = attacks["distances"]
    _section("Distance to the closest row that was trained on", _distances(distances), distances["note"])
    _section("Attacks that guess who was trained on", _attacks(attacks["membership"]), attacks["meaning"])


def _section(title: str, rows: Sequence[Sequence[str]], note: str = "") -> None:
    out = console()
    out.print(f"\n{title}", style="bold")
    show_table(rows[0], rows[1:])
    if note:
        out.print(note)


def _parts(fidelity: Mapping[str, Any], floor: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "synthetic", fidelity
    yield "real, held out", floor


def _columns(columns: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("column", "total variation", "test", "statistic", "p-value", "Wasserstein / range")]
    for column in columns:
        name, test = "Kolmogorov-Smirnov", column["kolmogorov_smirnov"]
        if test is None:
            name, test = "chi-square", column["chi_square"]
        told = ("-", "-", "-") if test is None else (name, _short(test["statistic"]), _short(test["p_value"]))
        rows.append((column["name"], _short(column["total_variation"]), *told, _short(column["wasserstein_of_range"])))
    return rows


def _scores(scores: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("model", "trained on", "AUC", "accuracy", "R squared", "note")]
    for score in scores:
        numbers = (_short(score[name]) for name in ("auc", "accuracy", "r_squared"))
        rows.append((score["model"], score["trained_on"], *numbers, score["note"]))
    return rows


def _distances(distances: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        ("rows", "5 %", "25 %", "half", "equal to one", "nearer to it than to others"),
        (
            "synthetic",
            *map(_short, distances["synthetic_to_train"]),
            _share(distances["copies"]),
            _share(distances["nearer_to_train"]),
        ),
        ("real, held out", *map(_short, distances["holdout_to_train"]), _share(distances["holdout_copies"]), "-"),
    ]


def _attacks(attacks: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("attack", "AUC", "at least", "true positives", "at false positives")]
    for attack in attacks:
        shares = (_share(attack[name]) for name in ("true_positives", "false_positives"))
        rows.append((attack["attack"], _short(attack["auc"]), _short(attack["auc_lower"]), *shares))
    return rows


def _share(share: Mapping[str, float]) -> str:
    return f"{_short(share['share'])} ({_short(share['lower'])} to {_short(share['upper'])})"


def _short(number: float | None) -> str:
    return "-" if number is None else f"{number:.4g}"
