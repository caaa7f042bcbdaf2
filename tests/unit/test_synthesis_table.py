"""Values become codes and come back; a faulty cell is told by its column and row, never by its value."""

import math
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.values import InvalidValueError
from deployments.synthesis.files import read_table, write_rows
from deployments.synthesis.schema import OTHER, Category, Number, Schema
from deployments.synthesis.table import Columns, Table, decode, encode
from tests.unit.test_synthesis_schema import schemas

SCHEMA = Schema(
    (
        Category("work", ("Private", "?")),
        Number("age", (0.0, 18.0, 65.0, 120.0), whole=True),
        Number("dose", (0.0, 0.5, 1.0), missing=True),
    )
)
GOOD: dict[str, list[object]] = {"work": ["Private", "?", "None"], "age": [17, 18, 120], "dose": [0.25, None, 1.0]}
CODES = [[0, 0, 0], [1, 1, 2], [2, 2, 1]]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Any codes of any schema."""
    schema = draw(schemas)
    rows = draw(st.integers(1, 20))
    row = st.tuples(*(st.integers(0, size - 1) for size in schema.sizes))
    return Table(schema, np.array(draw(st.lists(row, min_size=rows, max_size=rows))))


def test_values_get_the_codes_that_the_schema_says() -> None:
    """An unlisted category is the last code, a missing number too; a bin has its lower edge, the last one both."""
    table = encode(GOOD, SCHEMA)
    assert table.codes.tolist() == CODES
    assert table.codes.dtype == np.int32
    assert table.codes.flags.c_contiguous
    assert table.rows == 3


def test_text_is_read_as_the_values_it_names() -> None:
    """Cells of a CSV file get the codes of the values; space around them does not count."""
    cells = {"work": [" Private", "? ", ""], "age": [" 17", "18.0", "1.2e2"], "dose": ["0.25", "  ", "1"]}
    assert encode(cells, SCHEMA).codes.tolist() == CODES


def test_a_number_that_is_missing_may_be_written_in_any_way() -> None:
    """None, NaN and an empty text are one."""
    columns = GOOD | {"dose": [None, math.nan, ""]}
    assert encode(columns, SCHEMA).codes[:, 2].tolist() == [2, 2, 2]


def test_columns_that_the_schema_does_not_name_are_left_out() -> None:
    """A weight or a name in the file does no harm, even if it is shorter."""
    assert encode(GOOD | {"weight": [1]}, SCHEMA).codes.tolist() == CODES


@given(tables(), st.integers(0, 2**32))
def test_decoded_values_encode_to_their_codes(table: Table, seed: int) -> None:
    """Whatever is drawn within a bin is in that bin, at its edges too."""
    columns = decode(table, np.random.default_rng(seed))
    assert np.array_equal(encode(columns, table.schema).codes, table.codes)


def test_decoded_values_have_the_types_of_the_input() -> None:
    """Text, whole numbers, floats and None, of Python and not of numpy."""
    columns = decode(Table(SCHEMA, np.array(CODES)), np.random.default_rng(1))
    assert columns["work"] == ["Private", "?", OTHER]
    assert [type(age) for age in columns["age"]] == [int, int, int]
    assert [type(dose) for dose in columns["dose"]] == [float, type(None), float]


def test_numbers_spread_over_their_whole_bin() -> None:
    """A whole-number bin gives each of its numbers, the last one its upper edge too."""
    schema = Schema((Number("n", (0.0, 3.0, 5.0), whole=True),))
    columns = decode(Table(schema, np.array([[0], [1]] * 300)), np.random.default_rng(2))
    assert set(columns["n"]) == {0, 1, 2, 3, 4, 5}


def test_codes_cannot_be_changed_afterwards() -> None:
    """Neither through the table nor through the array it was made of."""
    codes = np.array(CODES, dtype=np.int32)
    table = Table(SCHEMA, codes)
    codes[0, 0] = 1
    assert table.codes[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        table.codes[0, 0] = 1


@pytest.mark.parametrize(
    ("codes", "field"),
    [([[0, 0]], "codes"), (np.empty((0, 3)), "rows"), ([[0, 3, 0]], "age"), ([[-1, 0, 0]], "work")],
)
def test_codes_that_do_not_fit_the_schema_are_refused(codes: list[list[int]], field: str) -> None:
    """The wrong number of columns, no rows, or a code that the column has not."""
    with pytest.raises(InvalidValueError) as refused:
        Table(SCHEMA, np.array(codes))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"age": [17, math.nan, 3]}, "age[1]", "missing"),
        ({"age": [17, 18, ""]}, "age[2]", "missing"),
        ({"age": [17, 18, None]}, "age[2]", "missing"),
        ({"age": [121, 18, 3]}, "age[0]", "out of bounds"),
        ({"dose": [0.1, -0.01, 3]}, "dose[1]", "out of bounds"),
        ({"dose": [0.1, math.inf, 3]}, "dose[1]", "out of bounds"),
        ({"age": [17, "secret", 3]}, "age[1]", "must be a number"),
        ({"age": [17, "1_0", 3]}, "age[1]", "must be a number"),
        ({"age": [17, True, 3]}, "age[1]", "must be a number"),
        ({"age": [17, [1], 3]}, "age[1]", "must be a number"),
        ({"age": [17, 18, 3.5]}, "age[2]", "whole"),
        ({"age": [17]}, "age", "1 rows"),
    ],
)
def test_a_faulty_cell_is_told_by_its_column_and_row(changed: Columns, field: str, reason: str) -> None:
    """The message says what was wrong, and never repeats the value."""
    with pytest.raises(InvalidValueError, match=reason) as refused:
        encode(GOOD | dict(changed), SCHEMA)
    assert refused.value.field == field
    assert "secret" not in str(refused.value)


def test_a_missing_column_is_refused_by_its_name() -> None:
    """The schema has it, the data have not."""
    with pytest.raises(InvalidValueError) as refused:
        encode({"work": ["?"], "age": [1]}, SCHEMA)
    assert refused.value.field == "dose"


def test_no_rows_are_refused() -> None:
    """There is nothing to learn from."""
    with pytest.raises(InvalidValueError) as refused:
        encode({"work": [], "age": [], "dose": []}, SCHEMA)
    assert refused.value.field == "rows"


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".CSV"])
def test_what_is_written_is_read_as_the_same_codes(tmp_path: Path, suffix: str) -> None:
    """Through both kinds of files; a category with a comma, a quote or a line's end in its text too."""
    schema = Schema((Category("note", ('a,"b"', "ß")), *SCHEMA.columns))
    table = Table(schema, np.array([[0, *CODES[0]], [1, *CODES[1]], [2, *CODES[2]]]))
    path = tmp_path / f"rows{suffix}"
    write_rows(path, decode(table, np.random.default_rng(3)))
    assert read_table(path, schema).codes.tolist() == table.codes.tolist()


def test_parquet_keeps_types(tmp_path: Path) -> None:
    """Text, 64-bit whole numbers, doubles; a missing value is a null."""
    path = tmp_path / "rows.parquet"
    write_rows(path, decode(Table(SCHEMA, np.array(CODES)), np.random.default_rng(4)))
    read = pyarrow.parquet.read_table(path)
    assert [str(field.type) for field in read.schema] == ["string", "int64", "double"]
    assert read.column("dose").to_pylist()[1] is None


def test_a_spreadsheets_csv_is_read(tmp_path: Path) -> None:
    """With a byte order mark, its line ends, space around cells, an empty line and a column too many."""
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbfage, work,x,dose\r\n 17, Private,1,0.25\r\n\r\n18,?,2,\r\n")
    assert read_table(path, SCHEMA).codes.tolist() == CODES[:2]


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("rows.txt", b"", "path"),
        ("none.csv", None, "path"),
        ("rows.csv", b"", "path"),
        ("rows.csv", b"\xff\xfe", "path"),
        ("rows.csv", b'work,age,dose\n"a"b,1,1\n', "path"),
        ("rows.csv", b"work,age,dose\n", "rows"),
        ("rows.csv", b"work,age,dose\nPrivate,1,1\n?,1\n", "rows[1]"),
        ("rows.csv", b"work,age\nPrivate,1\n", "dose"),
        ("rows.csv", b"work,age,dose,age\nPrivate,1,1,2\n", "age"),
        ("rows.parquet", b"work,age,dose\n", "path"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes | None, field: str) -> None:
    """A wrong suffix, no file, another encoding, a ragged row, a missing or repeated column."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidValueError) as refused:
        read_table(path, SCHEMA)
    assert refused.value.field == field


def test_a_parquet_file_without_a_column_is_refused(tmp_path: Path) -> None:
    """By the column's name, like a CSV file."""
    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"work": ["?"], "age": [1]}), path)
    with pytest.raises(InvalidValueError) as refused:
        read_table(path, SCHEMA)
    assert refused.value.field == "dose"
