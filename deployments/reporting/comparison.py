"""Several jobs side by side, and what all of them together have cost the people in one data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accounting.values import NO_LOSS, InvalidValueError, PrivacyLoss, decimal_text
from deployments.reporting.facts import JobFacts

MAX_JOBS = 100
TOGETHER = (
    "Who may see several of these models has seen all that they cost together: epsilons and deltas of jobs on the same "
    "data add up (Dwork and Roth 2014, Theorem 3.16). The data set's own budget may count them more tightly."
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Jobs side by side.

    Attributes:
        jobs: In the order given, at least two.
        warnings: In what they differ, so that their epsilons are not about the same thing.
        together: For each data set, what the jobs on it have cost together, by basic composition, exact.
    """

    jobs: tuple[JobFacts, ...]
    warnings: tuple[str, ...]
    together: tuple[tuple[str, PrivacyLoss], ...]


def compare(jobs: Sequence[JobFacts]) -> Comparison:
    """Puts jobs side by side.

    Args:
        jobs: 2 to `MAX_JOBS`, different ones of one tenant.

    Raises:
        InvalidValueError: If they are not such.
    """
    if not 2 <= len(jobs) <= MAX_JOBS:
        raise InvalidValueError("jobs", f"must be from 2 to {MAX_JOBS}")
    if len({facts.job_id for facts in jobs}) < len(jobs):
        raise InvalidValueError("jobs", "must be different from each other")
    if len({facts.tenant_id for facts in jobs}) > 1:
        raise InvalidValueError("jobs", "must be of one tenant")
    together: dict[str, PrivacyLoss] = {}
    for facts in jobs:
        name = facts.dataset_id
        if name is not None:
            together[name] = together.get(name, NO_LOSS).plus(facts.spent)
    return Comparison(tuple(jobs), tuple(_warnings(jobs)), tuple(together.items()))


def comparison_to_wire(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON-ready data; decimals as strings, exact."""
    return {
        "models": [_row(facts) for facts in comparison.jobs],
        "warnings": list(comparison.warnings),
        "together": [
            {"dataset_id": name, "epsilon": decimal_text(loss.epsilon), "delta": decimal_text(loss.delta)}
            for name, loss in comparison.together
        ],
        "note": TOGETHER,
    }


def _row(facts: JobFacts) -> dict[str, Any]:
    return {
        "job_id": facts.job_id,
        "model": facts.model,
        "dataset_id": facts.dataset_id,
        "status": facts.status.value,
        "epsilon": decimal_text(facts.spent.epsilon),
        "delta": decimal_text(facts.spent.delta),
        "target_epsilon": decimal_text(facts.target_epsilon),
        "utilisation_percent": decimal_text(facts.utilisation),
        "level": None if facts.level is None else facts.level.value,
        "unit": facts.unit,
        "adjacency": facts.adjacency.value,
        "records": facts.records,
        "method": facts.mechanics.method,
        "steps_run": facts.steps_run,
    }


def _warnings(jobs: Sequence[JobFacts]) -> list[str]:
    compared = {
        "privacy units": {facts.unit for facts in jobs},
        "adjacencies": {facts.adjacency.value for facts in jobs},
        "deltas": {decimal_text(facts.delta) for facts in jobs},
        "data sets": {facts.dataset_id or "none" for facts in jobs},
    }
    return [
        f"The {name} differ ({', '.join(sorted(values))}): the epsilons are not about the same thing."
        for name, values in compared.items()
        if len(values) > 1
    ]
