"""A report says what the ledger says, prices what it suggests, and never passes evidence for a verdict."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import deployments.evaluation
import deployments.reporting
from accounting.events import (
    Adjacency,
    ClaimEvent,
    ComposedEvent,
    Event,
    GaussianEvent,
    LaplaceEvent,
    ParallelEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    SelfComposedEvent,
)
from accounting.plans import price_plan
from accounting.values import NO_LOSS, InvalidValueError, PrivacyLoss, decimal_text
from deployments.reporting.comparison import compare, comparison_to_wire
from deployments.reporting.controls import controls
from deployments.reporting.facts import HoldStatus
from deployments.reporting.levels import CAVEATS, Level, level_of
from deployments.reporting.report import delta_meaning, report_of, report_to_wire
from deployments.reporting.variations import (
    DeltaPoint,
    delta_curve,
    least_factor,
    noisier,
    repeated,
    sampled,
    step_curve,
    variations,
)
from tests.unit.reporting_helpers import DELTA, EVENT, facts, facts_of, report, told_of

VOIDED = {"status": HoldStatus.VOIDED, "spent": NO_LOSS, "steps_run": 0}


def values_in(data: object) -> Iterator[object]:
    """Everything in JSON-ready data that is neither a list nor an object."""
    if isinstance(data, dict):
        for inner in data.values():
            yield from values_in(inner)
    elif isinstance(data, list):
        for inner in data:
            yield from values_in(inner)
    else:
        yield data


def test_ledger_report_and_a_price_made_anew_agree_to_the_last_digit() -> None:
    """One decimal, written in one way wherever it stands."""
    expected = decimal_text(price_plan(EVENT, DELTA).loss.epsilon)
    wire = report_to_wire(report())
    assert wire["guarantee"]["epsilon"] == wire["spending"]["planned_epsilon"] == expected
    assert wire["spending"]["planned_epsilon_equals_spent"] is True
    assert {"delta": "0.00001", "epsilon": expected} in wire["epsilon_by_delta"]
    assert {"steps": 10, "epsilon": expected} in wire["epsilon_by_steps"]
    assert any(f"epsilon {expected}," in control["evidence"] for control in wire["evidence"]["controls"])


def test_a_ledger_that_counts_something_else_is_told() -> None:
    """A charge that was divided need not be the price of what was held."""
    other = PrivacyLoss(Decimal("0.5"), DELTA)
    assert report_to_wire(told_of(spent=other))["spending"]["planned_epsilon_equals_spent"] is False


def test_no_number_in_it_is_a_float() -> None:
    """Whole numbers are whole, all else is exact text."""
    found = list(values_in(report_to_wire(report())))
    assert not [value for value in found if isinstance(value, float)]
    assert json.dumps(report_to_wire(report()))


@pytest.mark.parametrize(
    ("epsilon", "level"),
    [
        ("0.999999999999", Level.VERY_STRONG),
        ("1", Level.STRONG),
        ("4.999999999999", Level.STRONG),
        ("5", Level.MODERATE),
        ("9.999999999999", Level.MODERATE),
        ("10", Level.WEAK),
        ("20", Level.WEAK),
        ("20.000000000001", Level.INSUFFICIENT),
    ],
)
def test_a_border_has_the_weaker_level_but_twenty_is_weak(epsilon: str, level: Level) -> None:
    """Exactly, to the last digit that a price has."""
    assert level_of(Decimal(epsilon)) is level


def test_the_level_comes_with_its_caveats() -> None:
    """A convention, a unit, a delta, other releases."""
    wire = report_to_wire(report())
    assert wire["level"]["level"] == "very strong"
    assert wire["level"]["caveats"] == list(CAVEATS)
    for word in ("convention", "unit", "delta", "Every other release"):
        assert any(word in caveat for caveat in CAVEATS)


@given(st.decimals("0.001", "40", places=6), st.decimals("0.001", "40", places=6))
def test_utilisation_is_never_rounded_down(spent: Decimal, target: Decimal) -> None:
    """In per cent, by at most its last place too much; beyond 100 exactly where more was spent than asked for."""
    found = told_of(spent=PrivacyLoss(spent, DELTA), target_epsilon=target)
    assert 0 <= Fraction(found.facts.utilisation) - 100 * Fraction(spent) / Fraction(target) < Fraction(1, 10_000)
    assert report_to_wire(found)["spending"]["within_target"] == (found.facts.utilisation <= 100)


def test_delta_is_set_beside_one_over_n() -> None:
    """Below it: said with what it means. Not below it: said to be hollow."""
    assert told_of(records=20_000).delta_times_records == Fraction(1, 5)
    assert "0.2 times 1/n" in delta_meaning(told_of(records=20_000))
    assert "which is the least that it should be" in delta_meaning(told_of(records=99_999))
    assert "hollow" in delta_meaning(told_of(records=100_000))
    assert report_to_wire(told_of(records=100_000))["delta"]["below_one_over_n"] is False


@pytest.mark.parametrize("status", [HoldStatus.VOIDED, HoldStatus.ADJUSTED])
def test_a_job_whose_charge_was_taken_back_spent_nothing_and_has_no_level(status: HoldStatus) -> None:
    """Nor does any control claim that something was released."""
    found = told_of(**VOIDED | {"status": status})
    wire = report_to_wire(found)
    assert wire["guarantee"]["epsilon"] == "0"
    assert wire["level"]["level"] is None
    assert not [one for one in controls(found.facts) if "differentially private" in one.evidence]


def test_a_job_that_stopped_early_is_told_what_its_steps_alone_would_have_cost() -> None:
    """Beside what is counted, which may be the whole hold."""
    found = report_of(replace(facts(), steps_run=5), calibrate=False)
    assert found.run_epsilon == price_plan(replace(EVENT, count=5), DELTA).loss.epsilon
    assert report().run_epsilon is None


def test_a_smaller_delta_costs_more() -> None:
    """Along the curve, whose middle is the job itself."""
    epsilons = [point.epsilon for point in report().by_delta if point.epsilon is not None]
    assert len(epsilons) == 5
    assert epsilons == sorted(epsilons)


def test_more_steps_cost_more() -> None:
    """Along the curve, beyond the job's own number too."""
    points = [(point.steps, point.epsilon) for point in report().by_steps if point.epsilon is not None]
    assert [steps for steps, _ in points] == [1, 2, 5, 8, 10, 15]
    assert [epsilon for _, epsilon in points] == sorted(epsilon for _, epsilon in points)


def test_each_suggestion_is_the_price_of_the_plan_it_suggests() -> None:
    """Written here by hand, the changed plans cost exactly what the report says."""
    found = {one.change: one.epsilon for one in report().variations}
    step = EVENT.event
    assert isinstance(step, PoissonGaussianEvent)
    for change, event in (
        ("noise × 2", replace(EVENT, event=replace(step, sigma=Decimal(4)))),
        ("expected batch × 0.5", replace(EVENT, event=replace(step, sampling_probability=Decimal("0.05")))),
        ("steps × 1.5", replace(EVENT, count=15)),
    ):
        assert found[change] == price_plan(event, DELTA).loss.epsilon


def test_a_plan_of_several_parts_is_changed_in_all_of_them() -> None:
    """Claims stay as they are, and only subsampled steps are repeated otherwise."""
    claim = ClaimEvent(Decimal("0.1"), Decimal(0))
    step = PoissonGaussianEvent(Decimal(2), Decimal(1), Decimal("0.1"))
    laplace = LaplaceEvent(Decimal(3), Decimal(1))

    def plan(scale: str, sigma: str, rate: str, count: int) -> Event:
        changed = PoissonGaussianEvent(Decimal(sigma), step.sensitivity, Decimal(rate))
        parts = (("a", replace(laplace, scale=Decimal(scale))),)
        return ComposedEvent((claim, ParallelEvent(parts), SelfComposedEvent(SelfComposedEvent(changed, count), 3)))

    whole = plan("3", "2", "0.1", 10)
    assert noisier(whole, Fraction(3, 2)) == plan("4.5", "3", "0.1", 10)
    assert sampled(whole, Fraction(2)) == plan("3", "2", "0.2", 10)
    assert repeated(whole, Fraction(1, 4)) == plan("3", "2", "0.1", 3)


def test_a_batch_of_more_than_all_is_not_suggested() -> None:
    """Nobody takes part with a probability above 1."""
    event = SelfComposedEvent(PoissonLaplaceEvent(Decimal(9), Decimal(1), Decimal("0.6")), 2)
    with pytest.raises(InvalidValueError):
        sampled(event, Fraction(2))
    assert [one.change for one in variations(event, DELTA) if "batch" in one.change] == ["expected batch × 0.5"]


def test_an_event_without_steps_has_no_curve_of_steps() -> None:
    """One release is one release; without a delta it has one point."""
    laplace = LaplaceEvent(Decimal(1), Decimal(1))
    assert step_curve(laplace, Decimal(0), 1) == ()
    assert delta_curve(laplace, Decimal(0)) == (DeltaPoint(Decimal(0), Decimal(1)),)


def test_the_least_noise_keeps_the_target_and_hardly_less_does_not() -> None:
    """On the private side, to ten digits."""
    event = GaussianEvent(Decimal(4), Decimal(1))
    factor = least_factor(event, Decimal(1), DELTA)
    assert factor is not None
    assert price_plan(noisier(event, Fraction(factor)), DELTA).loss.epsilon <= 1
    assert price_plan(noisier(event, Fraction(factor) * Fraction("0.99999999")), DELTA).loss.epsilon > 1
    multiplier = replace(report(), least_factor=factor).least_multiplier
    assert multiplier is not None
    assert 0 <= Fraction(multiplier) / (2 * Fraction(factor)) - 1 < Fraction(1, 10**13)


def test_a_plan_that_was_solved_for_its_target_needs_all_its_noise() -> None:
    """The least factor is 1, to the digit."""
    assert least_factor(EVENT, price_plan(EVENT, DELTA).loss.epsilon, DELTA) == 1


def test_a_claim_has_no_noise_to_tune() -> None:
    """Its epsilon is somebody's word."""
    assert least_factor(ClaimEvent(Decimal(1), Decimal(0)), Decimal(2), DELTA) is None


def test_evidence_is_never_called_more_than_that() -> None:
    """The word of a verdict is neither in what a report says nor in what it is written with."""
    wire = json.dumps(report_to_wire(report()) | comparison_to_wire(compare([facts(), facts_of(job_id="b")])))
    packages = (deployments.reporting, deployments.evaluation)
    texts = [path.read_text() for package in packages for path in Path(str(package.__file__)).parent.glob("*.py")]
    assert len(texts) > 10
    assert not [text for text in (wire, *texts) if re.search("complian|complies|certified", text, re.IGNORECASE)]


def test_every_control_says_what_is_not_shown() -> None:
    """All four frameworks, by the number of their clauses."""
    found = controls(facts())
    assert {one.framework for one in found} == {"HIPAA", "GDPR", "CCPA", "SOC 2"}
    assert all(one.reference and one.evidence and one.limits for one in found)
    named = {one.reference for one in found}
    assert {"45 CFR 164.514(b)(1)", "Art. 25", "Art. 35", "Recital 26", "Cal. Civ. Code 1798.140(m)", "CC6.1"} <= named


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"records": 0}, "records"),
        ({"steps_run": 11}, "steps_run"),
        ({"adjacency": Adjacency.REPLACE_ONE}, "adjacency"),
        ({"target_epsilon": Decimal(0)}, "target_epsilon"),
        ({"delta": Decimal(1)}, "delta"),
        ({"status": HoldStatus.VOIDED}, "spent"),
        ({"status": HoldStatus.ADJUSTED}, "spent"),
        ({"status": HoldStatus.VOIDED, "spent": NO_LOSS}, "steps_run"),
    ],
)
def test_facts_that_contradict_each_other_are_refused(changes: dict[str, object], field: str) -> None:
    """Each by its name: a report of them would be a lie."""
    with pytest.raises(InvalidValueError) as caught:
        told_of(**changes)
    assert caught.value.field == field


def test_models_side_by_side_are_added_up() -> None:
    """For each data set, exactly, by basic composition."""
    one, two, other = facts(), facts_of(job_id="b"), facts_of(job_id="c", dataset_id="elsewhere")
    found = comparison_to_wire(compare([one, two, other]))
    epsilon = price_plan(EVENT, DELTA).loss.epsilon
    assert found["together"][0] == {
        "dataset_id": "visits",
        "epsilon": decimal_text(2 * epsilon),
        "delta": "0.00002",
    }
    assert [row["job_id"] for row in found["models"]] == ["job-1", "b", "c"]


def test_models_that_protect_different_things_come_with_a_warning() -> None:
    """Their epsilons are no measure of each other."""
    assert compare([facts(), facts_of(job_id="b")]).warnings == ()
    (warning,) = compare([facts(), facts_of(job_id="b", unit="visit")]).warnings
    assert "privacy units differ (patient, visit)" in warning


@pytest.mark.parametrize("changes", [[{}], [{}, {}], [{}, {"job_id": "b", "tenant_id": "other"}]])
def test_what_cannot_be_compared_is_refused(changes: list[dict[str, object]]) -> None:
    """One model, the same twice, or two tenants'."""
    with pytest.raises(InvalidValueError, match="jobs"):
        compare([facts_of(**change) for change in changes])
