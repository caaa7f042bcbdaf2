"""Steps as engines describe them become one event that costs what the steps do."""

import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.calibration import discrete_gaussian_for
from accounting.charges import price
from accounting.events import (
    ClaimEvent,
    ComposedEvent,
    DiscreteGaussianEvent,
    Event,
    ExponentialEvent,
    LaplaceEvent,
    SelectionForm,
    SelfComposedEvent,
    leaves,
)
from accounting.filters import budget_for_claims
from accounting.plans import Theorem, price_plan
from accounting.values import ZERO, InvalidValueError, PrivacyLoss
from deployments.mechanisms.query import Query
from deployments.mechanisms.release import prepare
from deployments.planning.plan import (
    MAX_STEPS,
    MAX_TEXT,
    Plan,
    Step,
    StepMechanism,
    composed,
    plan_event,
)

ONE = Decimal(1)
MILLIONTH = Decimal("0.000001")


def step(
    mechanism: StepMechanism, epsilon: str = "0.1", *, delta: Decimal | None = None, sensitivity: Decimal = ONE
) -> Step:
    """A step; Gaussians and claims have a delta of a millionth unless another is given."""
    default = MILLIONTH if mechanism in ("gaussian", "subsampled") else ZERO
    return Step(f"a {mechanism}", mechanism, Decimal(epsilon), default if delta is None else delta, sensitivity)


def event_of(*steps: Step) -> ComposedEvent:
    """The event of a plan of those steps."""
    return plan_event(Plan("plan", steps))


def operations(event: Event) -> list[Event]:
    """The event's single operations, each as often as it is done."""
    return [leaf for leaf, count in leaves(event) for _ in range(count)]


# Few distinct values, as each new Gaussian costs a calibration.
mechanisms: st.SearchStrategy[StepMechanism] = st.sampled_from(("laplace", "gaussian", "exponential", "subsampled"))
steps = st.builds(step, mechanisms, st.sampled_from(("0.001", "0.1", "0.25", "1", "3.5")))
plans = st.lists(steps, min_size=1, max_size=8)


@given(plans)
def test_no_step_costs_more_than_it_says_and_hardly_less(given_steps: list[Step]) -> None:
    """Each step's own price at its own delta is its epsilon, to a part in a million, and never above."""
    for given_step in given_steps:
        (operation,) = operations(event_of(given_step))
        delta = given_step.delta if isinstance(operation, DiscreteGaussianEvent) else ZERO
        loss = price(operation, delta)
        assert loss.epsilon <= given_step.epsilon
        assert Fraction(loss.epsilon) >= Fraction(given_step.epsilon) * (1 - Fraction(1, 10**6))
        assert loss.delta == given_step.delta


@given(plans, st.randoms(use_true_random=False))
def test_every_step_is_in_the_event_as_often_as_in_the_plan(given_steps: list[Step], shuffle: random.Random) -> None:
    """Steps that are alike stand in it once with their number, whatever the order."""
    other = list(given_steps)
    shuffle.shuffle(other)
    event = event_of(*given_steps)
    singly = [operation for given_step in given_steps for operation in operations(event_of(given_step))]
    assert sorted(operations(event), key=repr) == sorted(singly, key=repr)
    assert len(event.events) == len({(one.mechanism, one.epsilon) for one in given_steps})
    assert sorted(operations(event_of(*other)), key=repr) == sorted(singly, key=repr)


@settings(max_examples=10)
@given(st.lists(steps, min_size=2, max_size=3))
def test_a_plan_costs_its_filters_what_its_steps_cost_one_by_one(given_steps: list[Step]) -> None:
    """In the currency of the Renyi filter, so that it does not matter whether a plan is charged whole or in steps."""
    budget = budget_for_claims(Decimal(100), Decimal("0.001"))
    whole = budget.charge(event_of(*given_steps), PrivacyLoss(ONE, ZERO)).costs[1]
    parts = budget.nothing().costs[1]
    for given_step in given_steps:
        parts = parts.plus(budget.charge(event_of(given_step), PrivacyLoss(ONE, ZERO)).costs[1])
    assert whole == parts


def test_the_kinds_of_steps_and_their_events() -> None:
    """What OpenDP samples is what is planned; a subsampled step is the caller's own claim."""
    laplace, gaussian, exponential, subsampled = (
        event
        for mechanism in ("laplace", "gaussian", "exponential", "subsampled")
        for event in operations(event_of(step(mechanism, sensitivity=Decimal(2))))
    )
    assert laplace == LaplaceEvent(Decimal(20), Decimal(2))
    assert gaussian == discrete_gaussian_for(Decimal("0.1"), MILLIONTH, Decimal(2))
    assert exponential == ExponentialEvent(Decimal(40), Decimal(2), SelectionForm.GUMBEL, False)
    assert subsampled == ClaimEvent(Decimal("0.1"), MILLIONTH)


def test_a_gaussian_step_is_planned_with_the_noise_that_is_drawn_for_it() -> None:
    """``mechanism/apply`` with the same numbers charges the very event."""
    query = Query("gaussian", Decimal("0.1"), MILLIONTH, Decimal(2), (1.0,))
    assert operations(event_of(step("gaussian", sensitivity=Decimal(2)))) == [prepare(query).event]


def test_many_small_steps_are_priced_below_their_sum() -> None:
    """The reason to plan at all: at the very delta of the sum."""
    plan = Plan("plan", (step("gaussian"),) * 100)
    found = price_plan(plan_event(plan), plan.delta())
    assert found.tightest is not None
    assert found.tightest is not Theorem.BASIC
    assert found.loss.epsilon < 10
    assert found.loss.delta <= 100 * MILLIONTH


def test_a_plan_of_as_many_steps_as_allowed_fits_into_an_event() -> None:
    """The limits of steps and of events are the same, so no plan is too long to be charged."""
    epsilons = [str(Decimal(1) + Decimal(index) / 1000) for index in range(MAX_STEPS)]
    event = event_of(*[step("laplace", epsilon) for epsilon in epsilons])
    assert len(operations(event)) == MAX_STEPS


def test_the_delta_of_a_plan_is_the_exact_sum() -> None:
    """To the last digit, claims and Gaussians alike."""
    tiny = Decimal("0.000000000000000000000000000001")
    assert Plan("plan", (step("gaussian"), step("subsampled", delta=tiny), step("laplace"))).delta() == MILLIONTH + tiny


def test_a_composition_stays_what_it_is_and_a_single_event_becomes_one() -> None:
    """Compositions alone have a price under every theorem."""
    single = LaplaceEvent(ONE, ONE)
    many = SelfComposedEvent(single, 2)
    assert composed(many) is many
    assert composed(single) == ComposedEvent((single,))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mechanism": "magic"}, "steps[1].mechanism"),
        ({"epsilon": ZERO}, "steps[1].epsilon"),
        ({"epsilon": Decimal("NaN")}, "steps[1].epsilon"),
        ({"epsilon": Decimal("Infinity")}, "steps[1].epsilon"),
        ({"delta": MILLIONTH}, "steps[1].delta"),
        ({"mechanism": "exponential", "delta": MILLIONTH}, "steps[1].delta"),
        ({"mechanism": "gaussian"}, "steps[1].delta"),
        ({"mechanism": "subsampled"}, "steps[1].delta"),
        ({"mechanism": "gaussian", "delta": Decimal(1)}, "steps[1].delta"),
        ({"delta": Decimal(-1)}, "steps[1].delta"),
        ({"sensitivity": ZERO}, "steps[1].sensitivity"),
        ({"sensitivity": Decimal("sNaN")}, "steps[1].sensitivity"),
        ({"step_name": "x" * (MAX_TEXT + 1)}, "steps[1].step_name"),
        ({"data_description": "x" * (MAX_TEXT + 1)}, "steps[1].data_description"),
    ],
)
def test_a_step_out_of_range_is_refused_by_its_place(changes: dict[str, Any], field: str) -> None:
    """So that the author of a long plan knows where to look."""
    arguments: dict[str, Any] = {"step_name": "s", "mechanism": "laplace", "epsilon": Decimal(1), "delta": ZERO}
    with pytest.raises(InvalidValueError) as caught:
        Plan("plan", (step("laplace"), Step(**(arguments | changes))))
    assert caught.value.field == field


def test_a_plan_has_steps_but_not_too_many_and_a_name_of_reasonable_length() -> None:
    """The limits are inclusive."""
    for name, given_steps, field in (
        ("plan", (), "steps"),
        ("plan", (step("laplace"),) * (MAX_STEPS + 1), "steps"),
        ("x" * (MAX_TEXT + 1), (step("laplace"),), "name"),
    ):
        with pytest.raises(InvalidValueError) as caught:
            Plan(name, given_steps)
        assert caught.value.field == field
    assert len(Plan("x" * MAX_TEXT, (step("laplace"),) * MAX_STEPS).steps) == MAX_STEPS


@pytest.mark.parametrize(
    "hopeless",
    [step("gaussian", "0.00000000001", delta=Decimal("1e-25")), step("laplace", "1e-9", sensitivity=Decimal(10) ** 18)],
    ids=["Gaussian", "Laplace"],
)
def test_a_step_that_no_noise_serves_is_refused_by_its_place(hopeless: Step) -> None:
    """Found only when its noise is calibrated; the caller knows its epsilon, not the noise."""
    with pytest.raises(InvalidValueError) as caught:
        event_of(step("laplace"), hopeless)
    assert caught.value.field == "steps[1].epsilon"
