"""The privacy report of a job: what was spent of what was asked for, what it means, what another plan would have cost.

Every epsilon in it is either the ledger's own decimal or a price by the accountants that price charges, and is written
by `accounting.values.decimal_text`: so report, ledger and certificate agree to the last digit.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Any

from accounting.event_wire import event_to_wire
from accounting.values import PrivacyLoss, decimal_text, round_up
from deployments.reporting.controls import NOTICE, Control, controls
from deployments.reporting.facts import HoldStatus, JobFacts
from deployments.reporting.levels import CAVEATS, SCALE
from deployments.reporting.variations import (
    DeltaPoint,
    StepPoint,
    Variation,
    delta_curve,
    epsilon_at,
    epsilon_with_steps,
    least_factor,
    step_curve,
    variations,
)

FORMAT, VERSION = "privacy-engine-report", 1
_PARAMETER = Context(prec=15, rounding=ROUND_CEILING)

STANDING = {
    HoldStatus.HELD: "The hold is open: the whole of it counts as spent until the job ends.",
    HoldStatus.COMMITTED: "The job has ended and its charge stands.",
    HoldStatus.VOIDED: "The job was voided before it read a record: nothing was spent.",
    HoldStatus.EXPIRED: "The hold's time passed without a word from the job, so the whole of it counts as spent.",
    HoldStatus.ADJUSTED: "An operator took the charge back, by a signed statement that nothing was released.",
}
TUNING_NOTE = (
    "Each epsilon is computed for the whole changed plan, at the same delta. What a change does to the model's quality "
    "is not known here; to find out by comparing models on the private data costs privacy too, and must be charged."
)


@dataclass(frozen=True, slots=True)
class PrivacyReport:
    """The report of one job.

    Attributes:
        facts: What it was written from.
        planned_epsilon: What the event as held costs at delta, priced anew; None if it has no price.
        run_epsilon: What the steps that were run would cost at delta, had their number been fixed in advance; None
            where all of them were run, or none.
        by_delta: Epsilon at other deltas, of the event as held.
        by_steps: Epsilon at other numbers of steps; empty for an event without steps.
        variations: What other plans would cost.
        least_factor: The least factor on all noise that keeps the target, by the accountant; None if it was not asked
            for or there is none.
        controls: For which controls the facts are evidence.
    """

    facts: JobFacts
    planned_epsilon: Decimal | None
    run_epsilon: Decimal | None
    by_delta: tuple[DeltaPoint, ...]
    by_steps: tuple[StepPoint, ...]
    variations: tuple[Variation, ...]
    least_factor: Decimal | None
    controls: tuple[Control, ...]

    @property
    def delta_times_records(self) -> Fraction:
        """Delta in units of 1/n, exact."""
        return Fraction(self.facts.delta) * self.facts.records

    @property
    def agrees(self) -> bool:
        """Whether the ledger's epsilon is the very price found anew; of a charge that was divided it need not be."""
        return self.planned_epsilon == self.facts.spent.epsilon

    @property
    def least_multiplier(self) -> Decimal | None:
        """The least noise multiplier that keeps the target; None where one is not known."""
        now = self.facts.mechanics.noise_multiplier
        if self.least_factor is None or now is None:
            return None
        return _PARAMETER.multiply(now, self.least_factor)


def report_of(facts: JobFacts, *, calibrate: bool = True) -> PrivacyReport:
    """Writes the report of a job.

    About twenty prices are computed, which takes some seconds; with `calibrate`, for a job that was not solved for its
    target, twice as many.

    Args:
        facts: The job's.
        calibrate: Whether to find the least noise that keeps the target.
    """
    share = Fraction(facts.steps_run, facts.steps_held) if facts.steps_held else Fraction(0)
    return PrivacyReport(
        facts=facts,
        planned_epsilon=epsilon_at(facts.event, facts.delta),
        run_epsilon=epsilon_with_steps(facts.event, facts.delta, share) if 0 < share < 1 else None,
        by_delta=delta_curve(facts.event, facts.delta),
        by_steps=step_curve(facts.event, facts.delta, facts.steps_held),
        variations=variations(facts.event, facts.delta),
        least_factor=least_factor(facts.event, facts.target_epsilon, facts.delta) if calibrate else None,
        controls=controls(facts),
    )


def delta_meaning(report: PrivacyReport) -> str:
    """What delta means beside the number of records."""
    facts = report.facts
    if facts.delta == 0:
        return "Delta is 0: the bound holds for certain."
    times = decimal_text(round_up(report.delta_times_records, 6))
    told = f"Delta is {decimal_text(facts.delta)}, which is {times} times 1/n for n = {facts.records}. "
    worst = (
        "A mechanism that publishes each record with a probability of delta, and nothing else, would have this delta "
        f"too: it publishes {times} records on average. "
    )
    if report.delta_times_records < 1:
        return told + worst + "Delta is below 1/n, which is the least that it should be; far below is better."
    return told + worst + "Delta is not below 1/n: such a mechanism could show whole records, so this bound is hollow."


def report_to_wire(report: PrivacyReport) -> dict[str, Any]:
    """The report as JSON-ready data; every decimal is a string, exact."""
    facts = report.facts
    return {
        "format": FORMAT,
        "version": VERSION,
        "job_id": facts.job_id,
        "tenant_id": facts.tenant_id,
        "dataset_id": facts.dataset_id,
        "dataset_has_budget": facts.registered,
        "model": facts.model,
        "status": facts.status.value,
        "standing": STANDING[facts.status],
        "guarantee": {
            "unit": facts.unit,
            "adjacency": facts.adjacency.value,
            "records": facts.records,
            "epsilon": decimal_text(facts.spent.epsilon),
            "delta": decimal_text(facts.spent.delta),
        },
        "spending": {
            "target_epsilon": decimal_text(facts.target_epsilon),
            "spent": _loss(facts.spent),
            "utilisation_percent": decimal_text(facts.utilisation),
            "within_target": facts.spent.epsilon <= facts.target_epsilon,
            "steps_held": facts.steps_held,
            "steps_run": facts.steps_run,
            "planned_epsilon": _text(report.planned_epsilon),
            "planned_epsilon_equals_spent": report.agrees,
            "epsilon_of_steps_run": _text(report.run_epsilon),
            "budget": None if facts.budget is None else _loss(facts.budget),
            "remaining": None if facts.remaining is None else _loss(facts.remaining),
        },
        "delta": {
            "delta": decimal_text(facts.delta),
            "records": facts.records,
            "times_one_over_n": decimal_text(round_up(report.delta_times_records, 12)),
            "below_one_over_n": report.delta_times_records < 1,
            "meaning": delta_meaning(report),
        },
        "level": {
            "level": None if facts.level is None else facts.level.value,
            "scale": [{"level": level.value, "covers": covers} for level, covers in SCALE],
            "caveats": list(CAVEATS),
        },
        "mechanism": {
            "method": facts.mechanics.method,
            "noise_multiplier": _text(facts.mechanics.noise_multiplier),
            "clip": _text(facts.mechanics.clip),
            "sampling_rate": _text(facts.mechanics.sampling_rate),
            "expected_batch": facts.mechanics.expected_batch,
            "event": event_to_wire(facts.event),
        },
        "evidence": {
            "notice": NOTICE,
            "controls": [
                {
                    "framework": control.framework,
                    "reference": control.reference,
                    "subject": control.subject,
                    "evidence": control.evidence,
                    "limits": control.limits,
                }
                for control in report.controls
            ],
        },
        "epsilon_by_delta": [
            {"delta": decimal_text(point.delta), "epsilon": _text(point.epsilon)} for point in report.by_delta
        ],
        "epsilon_by_steps": [{"steps": point.steps, "epsilon": _text(point.epsilon)} for point in report.by_steps],
        "tuning": {
            "note": TUNING_NOTE,
            "variations": [{"change": one.change, "epsilon": _text(one.epsilon)} for one in report.variations],
            "least_noise_factor_for_target": _text(report.least_factor),
            "least_noise_multiplier_for_target": _text(report.least_multiplier),
        },
    }


def _loss(loss: PrivacyLoss) -> dict[str, str]:
    return {"epsilon": decimal_text(loss.epsilon), "delta": decimal_text(loss.delta)}


def _text(value: Decimal | None) -> str | None:
    return None if value is None else decimal_text(value)
