"""``python -m serve_app.quickstart.table FOLDER``: the patients as rows to store, and their public columns.

Writes patients.csv (569 rows of scikit-learn's breast-cancer table) and patients.json. Bounds and bins are chosen from
what such a measurement can be, never from the table.
"""

import csv
import json
from pathlib import Path
from typing import Annotated, Any

import typer

MEASUREMENTS = {
    "mean radius": (30.0, 12),
    "mean texture": (40.0, 10),
    "mean smoothness": (0.2, 10),
    "mean concavity": (0.5, 10),
    "worst area": (5000.0, 10),
}
"""By name: the largest value that is allowed, the smallest being 0; and how many bins."""
DIAGNOSIS = "diagnosis"


def columns() -> list[dict[str, Any]]:
    """The public columns, as ``privacy-engine rows --schema`` takes them."""
    numbers: list[dict[str, Any]] = [
        {"kind": "number", "name": name, "edges": [round(upper * edge / bins, 6) for edge in range(bins + 1)]}
        for name, (upper, bins) in MEASUREMENTS.items()
    ]
    return [*numbers, {"kind": "category", "name": DIAGNOSIS, "values": ["malignant", "benign"]}]


def main(folder: Annotated[Path, typer.Argument(help="Where to; made if needed.")]) -> None:
    """Writes both files."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    places = [list(table.feature_names).index(name) for name in MEASUREMENTS]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "patients.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*MEASUREMENTS, DIAGNOSIS])
        for row, label in zip(table.data, table.target, strict=True):
            writer.writerow([*(float(row[place]) for place in places), str(table.target_names[label])])
    (folder / "patients.json").write_text(json.dumps({"columns": columns()}, indent=1), encoding="utf-8")
    typer.echo(f"{folder / 'patients.csv'}\n{folder / 'patients.json'}")


if __name__ == "__main__":
    typer.run(main)
