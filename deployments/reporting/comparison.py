"""Several jobs side by side, and what all of them together have cost the people in one data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accounting.values import NO_LOSS, InvalidValueError, PrivacyLoss, decimal_text
from deployments.reporting.report import PrivacyReport

MAX_REPORTS = 100
TOGETHER = (
    "Who may see several of these models has seen all that they cost together: epsilons and deltas of jobs on the same "
    "data add up (Dwork and Roth 2014, Theorem 3.16). The data set's own budget may count them more tightly."
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Reports side by side.

    Attributes:
        reports: In the order given, at least two.
        warnings: In what they differ, so that their epsilons are not about the same thing.
        together: For each data set, what the jobs on it have cost together, by basic composition, exact.
    """

    reports: tuple[PrivacyReport, ...]
    warnings: tuple[str, ...]
    together: tuple[tuple[str, PrivacyLoss], ...]


def compare(reports: Sequence[PrivacyReport]) -> Comparison:
    """Puts reports side by side.

    Args:
        reports: 2 to `MAX_REPORTS`, of different jobs of one tenant.

    Raises:
        InvalidValueError: If they are not such.
    """
    if not 2 <= len(reports) <= MAX_REPORTS:
        raise InvalidValueError("jobs", f"must be from 2 to {MAX_REPORTS}")
    if len({report.facts.job_id for report in reports}) < len(reports):
        raise InvalidValueError("jobs", "must be different from each other")
    if len({report.facts.tenant_id for report in reports}) > 1:
        raise InvalidValueError("jobs", "must be of one tenant")
    together: dict[str, PrivacyLoss] = {}
    for report in reports:
        name = report.facts.dataset_id
        if name is not None:
            together[name] = together.get(name, NO_LOSS).plus(report.facts.spent)
    return Comparison(tuple(reports), tuple(_warnings(reports)), tuple(together.items()))


def comparison_to_wire(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON-ready data; decimals as strings, exact."""
    return {
        "models": [_row(report) for report in comparison.reports],
        "warnings": list(comparison.warnings),
        "together": [
            {"dataset_id": name, "epsilon": decimal_text(loss.epsilon), "delta": decimal_text(loss.delta)}
            for name, loss in comparison.together
        ],
        "note": TOGETHER,
    }


def _row(report: PrivacyReport) -> dict[str, Any]:
    facts = report.facts
    return {
        "job_id": facts.job_id,
        "model": facts.model,
        "dataset_id": facts.dataset_id,
        "status": facts.status.value,
        "epsilon": decimal_text(facts.spent.epsilon),
        "delta": decimal_text(facts.spent.delta),
        "target_epsilon": decimal_text(facts.target_epsilon),
        "utilisation_percent": decimal_text(report.utilisation),
        "level": None if report.level is None else report.level.value,
        "unit": facts.unit,
        "adjacency": facts.adjacency.value,
        "records": facts.records,
        "method": facts.mechanics.method,
        "steps_run": facts.steps_run,
    }


def _warnings(reports: Sequence[PrivacyReport]) -> list[str]:
    compared = {
        "privacy units": {report.facts.unit for report in reports},
        "adjacencies": {report.facts.adjacency.value for report in reports},
        "deltas": {decimal_text(report.facts.delta) for report in reports},
        "data sets": {report.facts.dataset_id or "none" for report in reports},
    }
    return [
        f"The {name} differ ({', '.join(sorted(values))}): the epsilons are not about the same thing."
        for name, values in compared.items()
        if len(values) > 1
    ]
