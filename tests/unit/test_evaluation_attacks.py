"""Attacks find what was copied, find nothing where nothing was, and never call that a pass. Whole documents say so."""

import json

import numpy as np
import pytest

from accounting.values import InvalidValueError
from deployments.evaluation.attacks import FALSE_POSITIVES, FEWEST, MEANING, attacks, closest, inferred, share
from deployments.evaluation.evaluation import TOO_FEW, evaluate, evaluation_to_wire
from deployments.synthesis.schema import Category, Number, Schema
from deployments.synthesis.table import Table
from tests.unit.evaluation_helpers import digits, one_thread, rows_of, shuffled

__all__ = ["one_thread"]

ALL = digits()
TRAIN, HOLDOUT, FRESH = rows_of(ALL, 0, 500), rows_of(ALL, 500, 1100), rows_of(ALL, 1100, 1797)


def test_copied_rows_are_found() -> None:
    """A generator that hands out what it learned from is caught by every measure."""
    found = attacks(TRAIN, TRAIN, HOLDOUT, np.random.default_rng(1))
    assert found.distances.synthetic_to_train == (0.0, 0.0, 0.0)
    assert found.distances.copies.share == 1.0
    assert found.distances.nearer_to_train.lower > 0.9
    nearest, beside_others = found.membership
    assert (nearest.auc_lower > 0.9, nearest.true_positives.lower > 0.9) == (True, True)
    assert (beside_others.auc_lower > 0.7, beside_others.true_positives.lower > FALSE_POSITIVES) == (True, True)


def test_rows_of_other_people_give_no_finding() -> None:
    """Real rows that are in neither table are as near to one as to the other."""
    found = attacks(FRESH, TRAIN, HOLDOUT, np.random.default_rng(1))
    assert found.distances.nearer_to_train.lower < 0.5 < found.distances.nearer_to_train.upper
    for one in found.membership:
        assert one.auc_lower < 0.5
        assert abs(one.auc - 0.5) < 0.1


def test_no_finding_is_no_pass() -> None:
    """Whatever came out, the same words stand beside it: it can only find leaks."""
    for released in (TRAIN, FRESH):
        assert attacks(released, TRAIN, HOLDOUT, np.random.default_rng(1)).meaning == MEANING
    assert "can only ever find leaks" in MEANING
    assert ".51 to .52" in MEANING


def test_the_threshold_keeps_its_false_positives() -> None:
    """At most one in a hundred of the others pass it, ties or not."""
    rng = np.random.default_rng(2)
    for others in (rng.normal(size=1000), rng.integers(0, 3, 1000).astype(float)):
        found = inferred("any", rng.normal(1, 1, 800), others)
        assert found.false_positives.share <= FALSE_POSITIVES
        assert (found.members, found.others) == (800, 1000)


def test_distances_are_those_by_hand() -> None:
    """Categories are 0 or 1, numbers shares of the range, missing values far from all but each other."""
    schema = Schema((Category("c", ("a", "b")), Number("n", (0.0, 2.0, 4.0, 8.0), missing=True)))
    queries = Table(schema, np.array([[0, 0], [1, 2], [0, 3]]))
    assert closest(queries, Table(schema, np.array([[0, 1]]))) == pytest.approx([0.125, (1 + 3 / 8) / 2, 0.5])
    assert closest(queries, Table(schema, np.array([[0, 3], [1, 2]]))) == pytest.approx([0.5, 0.0, 0.0])


def test_a_share_of_nothing_may_be_anything() -> None:
    """Where no row is nearer to either side."""
    assert (share(0, 0).lower, share(0, 0).upper) == (0.0, 1.0)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_few_rows_are_refused(place: int) -> None:
    """Each table by its name."""
    tables = [TRAIN, TRAIN, HOLDOUT]
    tables[place] = rows_of(ALL, 0, FEWEST - 1)
    with pytest.raises(InvalidValueError, match=("synthetic", "train", "holdout")[place]):
        attacks(tables[0], tables[1], tables[2], np.random.default_rng(1))


def test_the_document_is_marked_as_not_private() -> None:
    """Anyone who reads the JSON alone is told, and by whom it may be read; nothing in it is a verdict."""
    found = evaluation_to_wire(evaluate(shuffled(TRAIN), TRAIN, HOLDOUT, np.random.default_rng(1)))
    text = json.dumps(found, allow_nan=False)
    assert found["private"] is False
    assert "Only for who may see the real rows" in found["audience"]
    assert found["attacks"]["meaning"] == MEANING
    assert found["utility"] is None
    for verdict in ("passed", '"pass"', '"ok"', "green"):
        assert verdict not in text


def test_the_document_shows_what_a_perfect_copy_of_the_distribution_would_score() -> None:
    """Rows that were not trained on are the floor."""
    found = evaluate(shuffled(TRAIN), TRAIN, HOLDOUT, np.random.default_rng(1))
    assert found.floor.two_way < found.fidelity.two_way
    assert found.rows == {"synthetic": 500, "train": 500, "holdout": 600}


def test_the_document_has_a_utility_where_a_target_is_named() -> None:
    """Of a number here, which is quick to learn."""
    found = evaluation_to_wire(evaluate(FRESH, TRAIN, HOLDOUT, np.random.default_rng(1), "pixel 20"))
    assert found["utility"]["target"] == "pixel 20"
    assert json.loads(json.dumps(found, allow_nan=False))["utility"]["scores"][0]["r_squared"] > 0.2


def test_with_few_rows_no_attack_is_tried_and_that_is_said() -> None:
    """The rest of the comparison stands; what was not tried is no pass."""
    few = rows_of(ALL, 0, FEWEST - 1)
    found = evaluation_to_wire(evaluate(few, few, few, np.random.default_rng(1)))
    assert found["attacks"]["meaning"] == TOO_FEW
    assert "membership" not in found["attacks"]
    assert found["fidelity"]["columns"]
