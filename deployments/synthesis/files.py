"""Tables in files: CSV by the standard library, Parquet by pyarrow. The suffix says which."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from accounting.values import InvalidValueError
from deployments.synthesis.schema import Schema
from deployments.synthesis.table import Columns, Table, encode

SUFFIXES = (".csv", ".parquet")


def read_table(path: Path, schema: Schema) -> Table:
    """Reads and encodes a file. Columns that the schema does not name are left out.

    Args:
        path: Of a CSV file in UTF-8 with a header, or of a Parquet file.
        schema: The public columns.

    Raises:
        InvalidValueError: If the file is not there or not of its kind, or its values do not fit the schema.
    """
    return encode(read_columns(path, schema.names), schema)


def read_columns(path: Path, names: Sequence[str]) -> Columns:
    """Reads the columns of these names, as they stand in the file. A missing one is left for `encode` to refuse.

    Args:
        path: As for `read_table`.
        names: Of columns.

    Raises:
        InvalidValueError: If the file is not there or not of its kind.
    """
    suffix = _suffix(path)
    if not path.is_file():
        raise InvalidValueError("path", f"{path.name} is not there: give the path of a file")
    return _read_csv(path, names) if suffix == ".csv" else _read_parquet(path, names)


def write_rows(path: Path, columns: Mapping[str, Sequence[str | int | float | None]]) -> None:
    """Writes values, as `table.decode` gives them. A missing value is an empty cell, in Parquet a null.

    Args:
        path: Where to, with a suffix out of `SUFFIXES`.
        columns: Values by column name, in the order in which they are written.

    Raises:
        InvalidValueError: If the suffix is another one.
    """
    if _suffix(path) == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({name: list(values) for name, values in columns.items()}), path)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidValueError("path", f"must end in {' or '.join(SUFFIXES)}")
    return suffix


def _read_csv(path: Path, wanted: Sequence[str]) -> Columns:
    try:
        # A spreadsheet may have put a byte order mark before the first name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            # An empty line is no row.
            lines = [line for line in csv.reader(file, strict=True) if line]
    except UnicodeDecodeError:
        raise InvalidValueError("path", f"{path.name} is not UTF-8 text: save it in that encoding") from None
    except csv.Error as error:
        raise InvalidValueError("path", f"{path.name} is not CSV: {error}") from None
    if not lines:
        raise InvalidValueError("path", f"{path.name} is empty: it must have a header and rows")
    header, *rows = lines
    places = _places([name.strip() for name in header], wanted)
    for at, row in enumerate(rows):
        if len(row) != len(header):
            raise InvalidValueError(f"rows[{at}]", f"has {len(row)} cells, but the header has {len(header)}")
    return {name: [row[place] for row in rows] for name, place in places.items()}


def _read_parquet(path: Path, wanted: Sequence[str]) -> Columns:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            places = _places(file.schema_arrow.names, wanted)
            table = file.read(columns=list(places))
    except (pyarrow.ArrowException, OSError):
        raise InvalidValueError("path", f"{path.name} is not a Parquet file that can be read") from None
    return {name: table.column(name).to_pylist() for name in places}


def _places(header: list[str], wanted: Sequence[str]) -> dict[str, int]:
    """Where the wanted columns stand."""
    for name in wanted:
        if header.count(name) > 1:
            raise InvalidValueError(name, "is the name of several columns in the file: name every column differently")
    return {name: header.index(name) for name in wanted if name in header}
