"""Models that learn from synthetic rows are measured by real ones, beside models that learn from real rows."""

import numpy as np
import pytest

from accounting.values import InvalidValueError
from deployments.evaluation.utility import BOOSTING, LINEAR, REAL, SYNTHETIC, Utility, area, utility
from deployments.synthesis.schema import Category, Number, Schema
from deployments.synthesis.table import Table
from tests.unit.evaluation_helpers import digits, one_thread, rows_of, shuffled

__all__ = ["one_thread"]

ALL = digits()
TRAIN, TEST = rows_of(ALL, 0, 300), rows_of(ALL, 300, 500)
BINARY = Schema((*ALL.schema.columns[:-1], Category("even", ("no",))))
"""Whether the digit is even, as the one listed category and everything else."""


def even(table: Table) -> Table:
    """The same pixels with two classes, which is quick to learn."""
    return Table(BINARY, np.column_stack([table.codes[:, :-1], table.codes[:, -1] % 2]))


def scores(found: Utility, name: str, measure: str) -> list[float]:
    """A measure of both models that were trained on those rows."""
    return [getattr(score, measure) for score in found.scores if score.trained_on == name]


def test_a_copy_of_the_real_rows_is_worth_what_they_are() -> None:
    """Both columns of the comparison come from the same code."""
    found = utility(even(TRAIN), even(TRAIN), even(TEST), "even")
    assert scores(found, SYNTHETIC, "auc") == scores(found, REAL, "auc")
    assert min(scores(found, REAL, "auc")) > 0.85
    assert min(scores(found, REAL, "accuracy")) > 0.75
    assert [score.model for score in found.scores] == [BOOSTING, LINEAR, BOOSTING, LINEAR]


def test_rows_in_which_nothing_holds_between_columns_are_worth_nothing() -> None:
    """Their area under the curve is about that of guessing."""
    found = utility(even(shuffled(TRAIN)), even(TRAIN), even(TEST), "even")
    assert max(scores(found, SYNTHETIC, "auc")) < 0.7 < min(scores(found, REAL, "auc"))


def test_rows_of_one_class_teach_nothing_and_say_so() -> None:
    """A generator that has forgotten a class is scored like any other, not an error."""
    codes = even(TRAIN).codes.copy()
    codes[:, -1] = 1
    found = utility(Table(BINARY, codes), even(TRAIN), even(TEST), "even")
    assert scores(found, SYNTHETIC, "auc") == [0.5, 0.5]
    assert all("one class alone" in score.note for score in found.scores if score.trained_on == SYNTHETIC)


def test_a_class_that_was_not_learned_is_never_predicted() -> None:
    """Its own area is that of guessing; the other classes keep theirs."""
    kept = TRAIN.codes[TRAIN.codes[:, -1] < 4]
    codes = kept.copy()
    codes[codes[:, -1] == 3, -1] = 2
    some = TEST.codes[TEST.codes[:, -1] < 4]
    schema = ALL.schema
    found = utility(Table(schema, codes), Table(schema, kept), Table(schema, some), "digit")
    for synthetic, real in zip(scores(found, SYNTHETIC, "auc"), scores(found, REAL, "auc"), strict=True):
        assert 0.5 < synthetic < real


def test_a_number_is_scored_by_r_squared() -> None:
    """Of its midpoints; rows in which it is missing are left out."""
    columns = ALL.schema.columns
    number = columns[0]
    assert isinstance(number, Number)
    schema = Schema((Number(number.name, number.edges, whole=True, missing=True), *columns[1:]))
    codes, test = TRAIN.codes.copy(), TEST.codes.copy()
    codes[:30, 0] = test[:20, 0] = number.bins
    found = utility(
        Table(schema, shuffled(Table(schema, codes)).codes), Table(schema, codes), Table(schema, test), number.name
    )
    assert max(scores(found, SYNTHETIC, "r_squared")) < 0.2 < min(scores(found, REAL, "r_squared"))
    assert all(score.auc is None and score.accuracy is None for score in found.scores)


def test_a_number_that_is_always_missing_is_refused() -> None:
    """There is nothing to learn."""
    schema = Schema((Number("n", (0.0, 1.0), missing=True), Category("c", ("a",))))
    table = Table(schema, np.array([[1, 0]] * 10))
    with pytest.raises(InvalidValueError, match="missing in nearly all rows"):
        utility(table, table, table, "n")


def test_a_target_that_is_not_there_is_refused() -> None:
    """By the schema, with the columns that there are."""
    with pytest.raises(InvalidValueError, match="not in the schema"):
        utility(TRAIN, TRAIN, TEST, "weight")


def test_a_single_column_cannot_be_predicted() -> None:
    """There is nothing to predict it by."""
    table = Table(Schema((Category("c", ("a",)),)), np.zeros((10, 1), dtype=np.int32))
    with pytest.raises(InvalidValueError, match="only column"):
        utility(table, table, table, "c")


def test_the_area_of_two_classes_is_the_usual_one() -> None:
    """One against the rest, averaged, is the same number twice."""
    likely = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    assert area(likely, np.array([0, 0, 1, 1], dtype=np.int32)) == pytest.approx(0.75)
    assert area(likely, np.array([1, 1, 1, 1], dtype=np.int32)) is None
