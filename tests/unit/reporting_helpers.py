"""A job whose event is quick to price, and its report, made once."""

from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from accounting.events import Adjacency, PoissonGaussianEvent, SelfComposedEvent
from accounting.plans import price_plan
from accounting.values import PrivacyLoss
from deployments.reporting.facts import HoldStatus, JobFacts, Mechanics
from deployments.reporting.report import PrivacyReport, report_of

DELTA = Decimal("0.00001")
EVENT = SelfComposedEvent(PoissonGaussianEvent(Decimal(2), Decimal(1), Decimal("0.1")), 10)


def facts(spent: PrivacyLoss | None = None) -> JobFacts:
    """A committed job, charged what its event costs unless told otherwise."""
    return JobFacts(
        job_id="job-1",
        tenant_id="acme",
        dataset_id="visits",
        model="dp-tvae",
        unit="patient",
        adjacency=Adjacency.ADD_REMOVE,
        records=20_000,
        event=EVENT,
        steps_held=10,
        steps_run=10,
        delta=DELTA,
        spent=price_plan(EVENT, DELTA).loss if spent is None else spent,
        target_epsilon=Decimal("0.8"),
        status=HoldStatus.COMMITTED,
        mechanics=Mechanics(
            method="DP-SGD, Poisson sampling",
            noise_multiplier=Decimal(2),
            clip=Decimal(1),
            sampling_rate=Decimal("0.1"),
            expected_batch=2_000,
        ),
        budget=PrivacyLoss(Decimal(10), DELTA),
        remaining=PrivacyLoss(Decimal(9), Decimal(0)),
    )


@lru_cache(maxsize=1)
def report() -> PrivacyReport:
    """Its report, without the search for the least noise."""
    return report_of(facts(), calibrate=False)


def facts_of(**changes: object) -> JobFacts:
    """The same job but for some facts."""
    return replace(facts(), **changes)  # type: ignore[arg-type]


def told_of(**changes: object) -> PrivacyReport:
    """The same report, of facts that differ."""
    return replace(report(), facts=facts_of(**changes))
