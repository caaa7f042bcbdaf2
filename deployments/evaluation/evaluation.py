"""The whole comparison of synthetic rows with real ones, as one document that is not private.

Every number in it was computed from real rows without noise. So it is a release of its own, which no budget covers, and
goes to those alone who may see the real rows.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deployments.evaluation.attacks import CONFIDENCE, FALSE_POSITIVES, FEWEST, NEARER_NOTE, Attacks, attacks, enough
from deployments.evaluation.fidelity import LEAST_EXPECTED, Fidelity, fidelity
from deployments.evaluation.utility import Utility, utility
from deployments.synthesis.table import Table

FORMAT, VERSION = "privacy-engine-evaluation", 1
AUDIENCE = (
    "Only for who may see the real rows themselves, such as the data's owner. These numbers were computed from real "
    "rows without noise, and no privacy budget covers them: do not publish them, and choose no model by them that is "
    "then released as if it had cost its own training alone."
)
FLOOR = (
    "Two samples of the same people differ too. How far the rows that were not trained on are from those that were "
    "is what a perfect copy of the distribution would show."
)
TESTS = (
    "A p-value says how surprising the difference would be were both samples from one distribution. With many rows the "
    "smallest difference is surprising: judge by the distances. Chi-square counts categories together of which fewer "
    f"than {LEAST_EXPECTED:g} are expected."
)

TOO_FEW = (
    f"No attack was tried: with fewer than {FEWEST} rows, or {2 * FEWEST} that were not trained on, it would say "
    "nothing. That says nothing of the rows either."
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How synthetic rows compare with real ones.

    Attributes:
        rows: How many rows were compared, by name.
        fidelity: Synthetic rows beside those that were trained on.
        floor: Rows that were not trained on beside those that were.
        utility: Of one target column; None if none was named.
        attacks: What was tried; None where there were too few rows for an attack to say anything.
    """

    rows: dict[str, int]
    fidelity: Fidelity
    floor: Fidelity
    utility: Utility | None
    attacks: Attacks | None


def evaluate(
    synthetic: Table, train: Table, holdout: Table, generator: np.random.Generator, target: str | None = None
) -> Evaluation:
    """Compares synthetic rows with real ones.

    Args:
        synthetic: What a model sampled.
        train: The real rows that the model was fitted to.
        holdout: Real rows from the same people at large that it has not seen.
        generator: Draws the rows that are attacked.
        target: The column that is predicted, to measure utility.

    Raises:
        InvalidValueError: If the schemas differ or there is no such column.
    """
    return Evaluation(
        {"synthetic": synthetic.rows, "train": train.rows, "holdout": holdout.rows},
        fidelity(synthetic, train),
        fidelity(holdout, train),
        None if target is None else utility(synthetic, train, holdout, target),
        attacks(synthetic, train, holdout, generator) if enough(synthetic, train, holdout) else None,
    )


def evaluation_to_wire(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as JSON-ready data, marked as what it is."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "private": False,
        "audience": AUDIENCE,
        "rows": evaluation.rows,
        "fidelity": asdict(evaluation.fidelity) | {"note": TESTS},
        "floor": {
            "one_way": evaluation.floor.one_way,
            "two_way": evaluation.floor.two_way,
            "note": FLOOR,
        },
        "utility": None if evaluation.utility is None else asdict(evaluation.utility),
        "attacks": {"meaning": TOO_FEW} if evaluation.attacks is None else _attacks_to_wire(evaluation.attacks),
    }


def _attacks_to_wire(found: Attacks) -> dict[str, Any]:
    return {
        "meaning": found.meaning,
        "confidence": CONFIDENCE,
        "false_positive_rate": FALSE_POSITIVES,
        "distances": asdict(found.distances) | {"note": NEARER_NOTE},
        "membership": [asdict(one) for one in found.membership],
    }
