"""A schema is complete, public and says what is wrong with it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.values import InvalidValueError
from deployments.synthesis.schema import (
    MAX_COLUMNS,
    OTHER,
    Category,
    Column,
    Number,
    Schema,
    evenly,
    schema_from_wire,
    schema_to_wire,
)

names = st.text("abcxyz_ß", min_size=1, max_size=8)
categories = st.builds(
    Category, names, st.lists(st.text("abc?<=50K", max_size=4), min_size=1, max_size=5, unique=True).map(tuple)
)
whole_edges = st.lists(st.integers(-(2**53), 2**53), min_size=2, max_size=6, unique=True).map(
    lambda edges: tuple(map(float, sorted(edges)))
)
edges = st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=6, unique=True).map(lambda edges: tuple(sorted(edges)))
numbers = st.one_of(
    st.builds(Number, names, edges, missing=st.booleans()),
    st.builds(Number, names, whole_edges, st.just(True), st.booleans()),
)
schemas = st.lists(st.one_of(categories, numbers), min_size=1, max_size=5, unique_by=lambda column: column.name).map(
    lambda columns: Schema(tuple(columns))
)

AGE = Number("age", (0.0, 18.0, 120.0), whole=True)
SEX = Category("sex", ("Female", "Male"))


def test_sizes_count_the_codes_for_anything_else_and_for_missing() -> None:
    """A category has a code more than values; a number has its bins, and one more where it may be missing."""
    schema = Schema((SEX, AGE, Number("dose", (0.0, 0.5, 1.0, 2.0), missing=True)))
    assert schema.sizes == (3, 2, 4)
    assert schema.names == ("sex", "age", "dose")
    assert schema.index("dose") == 2


@given(schemas)
def test_a_schema_survives_json(schema: Schema) -> None:
    """What is written as JSON is read as the same schema."""
    assert schema_from_wire(json.loads(json.dumps(schema_to_wire(schema)))) == schema


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6), st.integers(1, 200))
def test_even_edges_increase_from_bound_to_bound(lower: float, width: float, bins: int) -> None:
    """As many bins as asked for, in a schema that accepts them."""
    made = evenly(lower, lower + width, bins)
    Schema((Number("x", made),))
    assert (made[0], made[-1], len(made)) == (lower, lower + width, bins + 1)


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ((), "columns"),
        (tuple(Category(f"c{at}", ("a",)) for at in range(MAX_COLUMNS + 1)), "columns"),
        ((AGE, Category("", ("a",))), "columns[1].name"),
        ((AGE, SEX, AGE), "columns[2].name"),
        ((Category(" sex", ("a",)),), "columns[0].name"),
        ((Category("sex", ()),), "columns[0].values"),
        ((Category("sex", ("a", "b", "a")),), "columns[0].values[2]"),
        ((Category("sex", ("a", OTHER)),), "columns[0].values[1]"),
        ((Category("sex", ("a ",)),), "columns[0].values[0]"),
        ((Category("sex", ("a\n",)),), "columns[0].values[0]"),
        ((AGE, Number("x", (1.0,))), "columns[1].edges"),
        ((Number("x", (1.0, 1.0)),), "columns[0].edges[1]"),
        ((Number("x", (0.0, 2.0, 1.0)),), "columns[0].edges[2]"),
        ((Number("x", (0.0, float("nan"))),), "columns[0].edges[1]"),
        ((Number("x", (float("-inf"), 0.0)),), "columns[0].edges[0]"),
        ((Number("x", (0.0, 0.5), whole=True),), "columns[0].edges[1]"),
        ((Number("x", (0.0, 2.0**54), whole=True),), "columns[0].edges[1]"),
    ],
)
def test_what_is_wrong_with_a_column_is_told_by_its_path(columns: tuple[Column, ...], field: str) -> None:
    """Every fault names the column and its part."""
    with pytest.raises(InvalidValueError) as refused:
        Schema(columns)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ([], "schema"),
        ({}, "schema.columns"),
        ({"columns": {}}, "schema.columns"),
        ({"columns": [], "extra": 1}, "schema.extra"),
        ({"columns": []}, "schema.columns"),
        ({"columns": [{"name": "a"}]}, "schema.columns[0].kind"),
        ({"columns": [{"kind": "category", "name": "a"}]}, "schema.columns[0].values"),
        ({"columns": [{"kind": "category", "name": "a", "values": [1]}]}, "schema.columns[0].values[0]"),
        ({"columns": [{"kind": "category", "name": 1, "values": ["a"]}]}, "schema.columns[0].name"),
        ({"columns": [{"kind": "number", "name": "a", "edges": [0, True]}]}, "schema.columns[0].edges[1]"),
        ({"columns": [{"kind": "number", "name": "a", "edges": [0, 10**400]}]}, "schema.columns[0].edges[1]"),
        ({"columns": [{"kind": "number", "name": "a", "edges": [0, 1], "whole": 1}]}, "schema.columns[0].whole"),
        ({"columns": [{"kind": "number", "name": "a", "edges": [1, 0]}]}, "schema.columns[0].edges[1]"),
    ],
)
def test_what_is_wrong_with_json_is_told_by_its_path(data: Any, field: str) -> None:  # noqa: ANN401
    """Every fault names the member."""
    with pytest.raises(InvalidValueError) as refused:
        schema_from_wire(data)
    assert refused.value.field == field


def test_a_column_that_is_not_there_is_refused_by_name() -> None:
    """The message says which there are."""
    with pytest.raises(InvalidValueError, match="it has age, sex"):
        Schema((AGE, SEX)).index("height")


@pytest.mark.parametrize(("lower", "upper", "bins"), [(1, 1, 3), (0, float("inf"), 3), (0, 1, 0), (0, 1, 10**6)])
def test_even_edges_refuse_what_makes_no_bins(lower: float, upper: float, bins: int) -> None:
    """Bounds must be in order and finite, the bins some and not too many."""
    with pytest.raises(InvalidValueError):
        evenly(lower, upper, bins)
