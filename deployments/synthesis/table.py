"""A private table as small whole numbers, from values and back.

Encoding is where values meet the schema, and each fault is told by its column and row, never by its value: messages end
up in logs. Who may see that a row is faulty may see the row: faults go to the owner of the data alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from accounting.values import InvalidValueError
from deployments.synthesis.schema import OTHER, Category, Number, Schema

Codes = npt.NDArray[np.int32]
Columns = Mapping[str, Sequence[object]]
"""Values by column name; in every column as many."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows in the codes of a schema.

    Attributes:
        schema: What the codes mean.
        codes: Of shape (rows, columns), at least one row, each code below its column's size. Copied, then read-only.

    Raises:
        InvalidValueError: If the codes do not fit the schema.
    """

    schema: Schema
    codes: Codes = field(repr=False)

    def __post_init__(self) -> None:
        codes = np.array(self.codes, dtype=np.int32, order="C")
        if codes.ndim != 2 or codes.shape[1] != len(self.schema.columns):
            raise InvalidValueError("codes", f"must have {len(self.schema.columns)} columns, as the schema has")
        if not len(codes):
            raise InvalidValueError("rows", "must be at least one")
        wrong = (codes.min(axis=0) < 0) | (codes.max(axis=0) >= np.array(self.schema.sizes))
        if wrong.any():
            at = int(np.argmax(wrong))
            raise InvalidValueError(self.schema.names[at], f"must have codes from 0 to {self.schema.sizes[at] - 1}")
        codes.setflags(write=False)
        object.__setattr__(self, "codes", codes)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.codes)


def encode(columns: Columns, schema: Schema) -> Table:
    """The codes of values. Columns that the schema does not name are left out.

    A category is compared as text, without space around it; what is not listed, or missing, becomes the code for
    everything else. A number may be written as text. It is missing if it is None, NaN or an empty text.

    Args:
        columns: For every column of the schema its values.
        schema: The public columns.

    Raises:
        InvalidValueError: If a column is missing or shorter than another, there are no rows, or a value of a number
            column is no number, is missing where none may be, is not whole, or is out of bounds.
    """
    for name in schema.names:
        if name not in columns:
            raise InvalidValueError(name, "is missing: the schema has this column, the data have not")
    rows = len(columns[schema.names[0]])
    for name in schema.names:
        if len(columns[name]) != rows:
            reason = f"has {len(columns[name])} rows, but {schema.names[0]} has {rows}: give every column as many"
            raise InvalidValueError(name, reason)
    if not rows:
        raise InvalidValueError("rows", "must be at least one: the data have none")
    codes = np.empty((rows, len(schema.columns)), dtype=np.int32)
    for at, column in enumerate(schema.columns):
        encoded = _categories if isinstance(column, Category) else _numbers
        codes[:, at] = encoded(columns[column.name], column)  # type: ignore[arg-type]
    return Table(schema, codes)


def decode(table: Table, generator: np.random.Generator) -> dict[str, list[str | int | float | None]]:
    """Values for codes: text, whole numbers, floats, and None where a number is missing.

    A number is uniform within its bin, so that encoding it gives the code again.

    Args:
        table: The codes.
        generator: Draws numbers within their bins.
    """
    return {
        column.name: (
            _texts(column, table.codes[:, at])
            if isinstance(column, Category)
            else _within_bins(column, table.codes[:, at], generator)
        )
        for at, column in enumerate(table.schema.columns)
    }


def as_numbers(values: Sequence[object], name: str) -> npt.NDArray[np.float64]:
    """The values of a number column; NaN where one is missing.

    Args:
        values: Numbers, or text that names some.
        name: The column's, for messages.

    Raises:
        InvalidValueError: If a value is no number.
    """
    return np.array([_number(value, name, at) for at, value in enumerate(values)], dtype=np.float64)


def as_text(value: object) -> str:
    """A category as it is compared: without space around it, empty where it is missing."""
    return value.strip() if isinstance(value, str) else "" if value is None else str(value)


def _categories(values: Sequence[object], column: Category) -> list[int]:
    places = {value: at for at, value in enumerate(column.values)}
    other = len(column.values)
    return [places.get(as_text(value), other) for value in values]


def _numbers(values: Sequence[object], column: Number) -> Codes:
    numbers = as_numbers(values, column.name)
    edges = np.array(column.edges)
    missing = np.isnan(numbers)
    if not column.missing:
        _refuse_first(missing, column.name, "is missing or not a number: declare that it may be, or leave the row out")
    known = np.where(missing, edges[0], numbers)
    outside = (known < edges[0]) | (known > edges[-1])
    _refuse_first(outside, column.name, f"is out of bounds: it must be from {edges[0]:g} to {edges[-1]:g}")
    if column.whole:
        _refuse_first(known != np.floor(known), column.name, "must be a whole number")
    codes = np.minimum(np.searchsorted(edges, known, side="right") - 1, column.bins - 1)
    return np.where(missing, column.bins, codes).astype(np.int32)


def _number(value: object, name: str, at: int) -> float:
    """The value as a float; NaN where it is missing."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return math.nan
        # Python reads 1_000 as a number; elsewhere it is text.
        readable = "_" not in value
    else:
        readable = not isinstance(value, bool | np.bool_)
    try:
        number = float(value) if readable else None  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None:
        raise InvalidValueError(f"{name}[{at}]", "must be a number: the schema has a column of numbers here")
    return number


def _refuse_first(wrong: npt.NDArray[np.bool_], name: str, reason: str) -> None:
    if wrong.any():
        raise InvalidValueError(f"{name}[{int(np.argmax(wrong))}]", reason)


def _texts(column: Category, codes: Codes) -> list[str | int | float | None]:
    names = (*column.values, OTHER)
    return [names[code] for code in codes.tolist()]


def _within_bins(column: Number, codes: Codes, generator: np.random.Generator) -> list[str | int | float | None]:
    missing = codes == column.bins
    edges = np.array(column.edges)
    known = np.where(missing, 0, codes)
    lower, upper = edges[known], edges[known + 1]
    if column.whole:
        drawn = generator.integers(lower.astype(np.int64), upper.astype(np.int64) + (known == column.bins - 1))
    else:
        # A sum that rounds up to the upper edge would be in the next bin.
        drawn = np.minimum(lower + (upper - lower) * generator.random(len(codes)), np.nextafter(upper, lower))
    return [None if gone else number for gone, number in zip(missing.tolist(), drawn.tolist(), strict=True)]
