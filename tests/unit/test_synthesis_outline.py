"""Outlines on the wire: what is public of columns of which something is to be found."""

import pytest

from accounting.values import InvalidValueError
from deployments.synthesis.discovery_plan import Outline, UnknownCategory, UnknownNumber, roughly
from deployments.synthesis.outline import is_complete, outline_from_wire, outline_to_wire
from deployments.synthesis.schema import Category, Number

OUTLINE: Outline = (
    Category("sex", ("f", "m")),
    Number("age", (0.0, 50.0, 120.0), whole=True),
    UnknownCategory("town"),
    UnknownNumber("income", 0.0, 500.0, 8, whole=True, missing=True),
)


def test_an_outline_comes_back_from_the_wire_unchanged() -> None:
    """All four kinds of columns, with all that they may say."""
    assert outline_from_wire(outline_to_wire(OUTLINE)) == OUTLINE


def test_only_an_outline_with_nothing_to_find_is_complete() -> None:
    """Then it is a schema."""
    assert is_complete(OUTLINE[:2])
    assert not is_complete(OUTLINE)


def test_a_rough_schema_has_a_code_for_each_bin_that_is_wanted() -> None:
    """So a plan that is made with it is of about the right size."""
    assert roughly(OUTLINE).sizes == (3, 2, 2, 9)


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ({"kind": "unknown_category"}, "schema.columns[0].name"),
        ({"kind": "unknown_category", "name": "a", "values": ["x"]}, "schema.columns[0].values"),
        ({"kind": "unknown_number", "name": "a", "lower": 0, "upper": 1}, "schema.columns[0].bins"),
        ({"kind": "unknown_number", "name": "a", "lower": 0, "upper": 1, "bins": 2.5}, "schema.columns[0].bins"),
        ({"kind": "unknown_number", "name": "a", "lower": 1, "upper": 0, "bins": 2}, "schema.columns[0].edges[1]"),
        ({"kind": "surprise", "name": "a"}, "schema.columns[0].kind"),
    ],
)
def test_what_is_no_column_is_refused_with_its_place(column: dict[str, object], field: str) -> None:
    """Something missing, superfluous, of another type, or bounds in the wrong order."""
    with pytest.raises(InvalidValueError) as refused:
        outline_from_wire({"columns": [column]})
    assert refused.value.field == field
