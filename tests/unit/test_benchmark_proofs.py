"""The benchmark of proofs: what it asks for, and which figures it calls good."""

import json
from decimal import Decimal

from accounting.event_wire import event_from_wire
from accounting.plans import price
from accounting.values import NO_LOSS, PrivacyLoss
from benchmarks.findings import Goal
from benchmarks.proofs import MANY, Figures, events, findings

SMALL = Figures(7_000, 4.0, 12.5, 0.8, 0.6, 1.5)
LARGE = Figures(6_000_000, 400.0, 2_000.5, 400.0, 500.0, 600.0)


def test_its_operations_differ_and_its_plain_ones_fit_a_default_budget() -> None:
    """A thousand, four kinds in turn, no two alike; what basic composition charges for them all stays below 1."""
    asked = list(events(MANY))
    assert len({json.dumps(body, sort_keys=True) for body in asked}) == MANY
    assert [body.get("event", {"kind": "claim"})["kind"] for body in asked[:4]] == [
        "claim",
        "laplace",
        "gaussian",
        "self_composed",
    ]
    spent = NO_LOSS
    for body in asked:
        if "event" not in body:
            spent = spent.plus(PrivacyLoss(Decimal(body["epsilon"]), Decimal(body["delta"])))
        elif body["event"]["kind"] == "laplace":
            spent = spent.plus(price(event_from_wire(body["event"])))
    assert spent.epsilon < 1


def test_a_figure_beyond_its_goal_is_called_missed() -> None:
    """p99 over HTTP, and the checker against the making of the proof, of either size."""
    assert [(goal.what, goal.met) for goal in findings([SMALL, LARGE]).goals] == [
        ("proof of 1 operation: p99 in ms", True),
        ("checker of 1 operation: times the proof's p50", True),
        ("proof of 1,000 operations: p99 in ms", False),
        ("checker of 1,000 operations: times the proof's p50", False),
    ]
    assert findings([SMALL, LARGE]).goals[3] == Goal(
        "checker of 1,000 operations: times the proof's p50", "1.25", "at most 1", met=False
    )


def test_both_sizes_stand_in_the_table() -> None:
    """Each with its bytes and times."""
    lines = findings([SMALL, LARGE]).lines
    assert lines[-2].split() == ["1", "operation", "7,000", "4.0", "12.5", "0.8", "0.6", "1.5"]
    assert lines[-1].split() == ["1,000", "operations", "6,000,000", "400.0", "2,000.5", "400.0", "500.0", "600.0"]
