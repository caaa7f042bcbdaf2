"""A plan never costs less than it says, and the theorems agree where they must."""

import math
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.calibration import gaussian_for
from accounting.charges import PricingDisagreementError, gaussian_price
from accounting.events import GaussianEvent
from accounting.values import ZERO, InvalidValueError
from deployments.planning import plan as room
from deployments.planning.plan import (
    DEFAULT_DELTA,
    MAX_STEPS,
    MAX_TEXT,
    ORDERS,
    Plan,
    PlanPrice,
    Step,
    StepMechanism,
    price_plan,
    step_curve,
)

MILLIONTH = Decimal("0.000001")
TARGET = Decimal("0.00001")


def step(mechanism: StepMechanism, epsilon: str = "0.1", delta: Decimal | None = None) -> Step:
    """A step with a delta of a millionth where its mechanism has one."""
    default = MILLIONTH if mechanism in ("gaussian", "subsampled") else ZERO
    return Step(f"a {mechanism}", mechanism, Decimal(epsilon), default if delta is None else delta)


def priced(*steps: Step, target: Decimal | None = None) -> PlanPrice:
    """The price of a plan of those steps."""
    return price_plan(Plan("plan", steps), target)


def renyi_epsilon(*steps: Step, target: Decimal | None = None) -> Decimal:
    """Its epsilon under Renyi composition."""
    epsilon = priced(*steps, target=target).price("renyi").total_epsilon
    assert epsilon is not None
    return epsilon


# Few distinct values, as each new Gaussian costs a calibration.
mechanisms: st.SearchStrategy[StepMechanism] = st.sampled_from(("laplace", "gaussian", "exponential", "subsampled"))
steps = st.builds(step, mechanisms, st.sampled_from(("0.001", "0.1", "0.25", "1", "3.5")))
plans = st.lists(steps, min_size=1, max_size=8)


@given(plans)
def test_basic_is_the_exact_sum(given_steps: list[Step]) -> None:
    """To the last digit, as rationals."""
    basic = priced(*given_steps).price("basic")
    assert basic.total_epsilon is not None
    assert basic.total_delta is not None
    assert Fraction(basic.total_epsilon) == sum(Fraction(step.epsilon) for step in given_steps)
    assert Fraction(basic.total_delta) == sum(Fraction(step.delta) for step in given_steps)


@settings(deadline=None)
@given(plans, st.randoms(use_true_random=False), st.sampled_from((None, TARGET)))
def test_the_order_of_the_steps_changes_nothing(
    given_steps: list[Step], shuffle: random.Random, target: Decimal | None
) -> None:
    """Not in any digit: curves are summed exactly rounded."""
    other = list(given_steps)
    shuffle.shuffle(other)
    assert priced(*given_steps, target=target) == priced(*other, target=target)


@settings(deadline=None)
@given(plans, steps)
def test_another_step_never_lowers_the_loss(given_steps: list[Step], more: Step) -> None:
    """At one delta, under either theorem."""
    target = Decimal("0.001")
    before, after = priced(*given_steps, target=target), priced(*given_steps, more, target=target)
    for less, greater in zip(before.prices, after.prices, strict=True):
        assert less.total_epsilon is not None
        assert greater.total_epsilon is not None
        assert less.total_epsilon <= greater.total_epsilon


@settings(deadline=None)
@given(plans)
def test_the_tightest_is_the_least_valid_epsilon(given_steps: list[Step]) -> None:
    """And without a target both theorems are valid here."""
    price = priced(*given_steps)
    valid = {one.name: one.total_epsilon for one in price.prices if one.valid and one.total_epsilon is not None}
    assert len(valid) == 2
    assert price.tightest is not None
    assert valid[price.tightest] == min(valid.values())


@pytest.mark.parametrize(("epsilon", "count"), [("0.01", 1), ("0.1", 100), ("1", 30), ("10", 3)])
def test_gaussians_alone_cost_what_their_summed_rho_costs(epsilon: str, count: int) -> None:
    """The core prices one Gaussian of the summed rho at 60 digits: never more than here, and hardly less."""
    delta = MILLIONTH * count
    event = gaussian_for(Decimal(epsilon), MILLIONTH, Decimal(1))
    # rho adds, so the whole is one Gaussian of sigma / sqrt(count), here to twelve digits.
    whole = GaussianEvent(Decimal(f"{float(event.sigma) / math.sqrt(count):.12g}"), Decimal(1))
    exact = float(gaussian_price(whole, delta).epsilon)
    ours = float(renyi_epsilon(*[step("gaussian", epsilon)] * count))
    assert exact * (1 - 1e-11) <= ours <= exact * (1 + 1e-3)


@pytest.mark.parametrize("epsilon", ["0.001", "0.1", "1", "5", "100"])
def test_curves_keep_the_bounds_that_every_pure_mechanism_keeps(epsilon: str) -> None:
    """At most epsilon and at most alpha epsilon^2 / 2; Laplace and exponential below randomized response."""
    number = float(epsilon)
    generic = step_curve("subsampled", Decimal(epsilon), MILLIONTH)
    slack = 1 + 1e-9
    assert np.all(generic <= number * slack)
    assert np.all(generic <= ORDERS * number**2 / 2 * slack)
    for mechanism in ("laplace", "exponential"):
        assert np.all(step_curve(mechanism, Decimal(epsilon), ZERO) <= generic * slack)
    assert np.all(step_curve("exponential", Decimal(epsilon), ZERO) <= ORDERS * number**2 / 8 * slack)
    assert generic[-1] == pytest.approx(number, rel=1e-3)


@pytest.mark.parametrize("epsilon", ["0.01", "0.5", "2"])
def test_the_generic_curve_is_that_of_randomized_response(epsilon: str) -> None:
    """Computed from the definition of Renyi divergence on two answers, at moderate orders."""
    number = float(epsilon)
    p = math.exp(number) / (1 + math.exp(number))
    orders = ORDERS[(ORDERS < 100)]
    by_definition = np.log(p**orders * (1 - p) ** (1 - orders) + (1 - p) ** orders * p ** (1 - orders)) / (orders - 1)
    ours = step_curve("subsampled", Decimal(epsilon), MILLIONTH)[: orders.size]
    assert ours == pytest.approx(by_definition, rel=1e-9)


def test_laplace_curves_meet_where_the_formula_changes() -> None:
    """Just below the change-over the price is hardly higher, and never lower than the exact curve."""
    below, above = (step_curve("laplace", Decimal(text), ZERO) for text in ("0.00009999999", "0.0001"))
    assert np.all(below <= above * (1 + 1e-3))
    assert np.all(below >= above * (1 - 1e-6))


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian", "exponential", "subsampled"])
def test_equal_steps_count_each(mechanism: StepMechanism) -> None:
    """Steps that are alike are priced at once; ten of them cost like ten that differ by nothing that matters."""
    epsilons = ["0.2" + "0" * zeros for zeros in range(10)]
    alike = renyi_epsilon(*[step(mechanism, "0.2")] * 10, target=Decimal("0.01"))
    once = renyi_epsilon(step(mechanism, "0.2"), target=Decimal("0.01"))
    assert alike == renyi_epsilon(*[step(mechanism, text) for text in epsilons], target=Decimal("0.01"))
    assert alike > 2 * once


def test_without_a_target_gaussians_pay_for_the_conversion_themselves() -> None:
    """So both theorems promise the same delta, claims included."""
    price = priced(step("gaussian"), step("gaussian"), step("subsampled"), step("laplace"))
    assert [one.total_delta for one in price.prices] == [3 * MILLIONTH, 3 * MILLIONTH]


def test_without_a_target_and_gaussians_the_default_pays() -> None:
    """On top of what the claims need."""
    price = priced(step("laplace"), step("subsampled"))
    assert price.price("basic").total_delta == MILLIONTH
    assert price.price("renyi").total_delta == MILLIONTH + DEFAULT_DELTA


def test_a_target_bounds_the_delta_of_the_whole() -> None:
    """Renyi takes exactly the target; basic is valid only where its own sum fits."""
    many = [step("gaussian")] * 20
    price = priced(*many, target=TARGET)
    assert price.price("renyi").total_delta == TARGET
    assert not price.price("basic").valid
    assert price.tightest == "renyi"
    assert priced(*many[:10], target=TARGET).price("basic").valid


def test_without_delta_only_basic_holds() -> None:
    """A target of 0 leaves a Renyi conversion nothing to work with."""
    price = priced(*[step("laplace")] * 100, target=ZERO)
    assert price.tightest == "basic"
    renyi = price.price("renyi")
    assert (renyi.valid, renyi.total_epsilon, renyi.total_delta) == (False, None, None)


def test_where_no_theorem_keeps_the_target_none_is_named() -> None:
    """Claims that need more than the target on their own."""
    price = priced(step("subsampled"), target=MILLIONTH / 10)
    assert price.tightest is None
    assert not any(one.valid for one in price.prices)


def test_a_delta_of_one_is_no_promise() -> None:
    """Nothing is valid whose delta reaches 1."""
    price = priced(*[step("subsampled", delta=Decimal("0.5"))] * 2)
    assert price.tightest is None


def test_renyi_wins_over_many_steps_and_basic_over_one() -> None:
    """The reason to plan at all."""
    assert priced(*[step("laplace")] * 100).tightest == "renyi"
    assert priced(step("gaussian", "3")).tightest == "basic"


@pytest.mark.parametrize("mechanism", ["laplace", "exponential", "subsampled"])
def test_renyi_of_huge_epsilons_stays_finite_and_above_nothing(mechanism: StepMechanism) -> None:
    """The largest epsilon accepted anywhere costs about itself."""
    assert float(renyi_epsilon(step(mechanism, "1000000"))) == pytest.approx(1e6, rel=1e-3)


def test_renyi_of_tiny_epsilons_does_not_vanish() -> None:
    """A thousand steps of 1e-9 at a delta of 1e-15: cancellation must not turn them into nothing."""
    epsilon = renyi_epsilon(*[step("laplace", "0.000000001")] * 1000, target=Decimal("1e-15"))
    # rho = 1000 (1e-9)^2 / 2, by the closed form sqrt(4 rho ln(1/delta)) about 2.6e-7.
    assert Decimal("1e-7") < epsilon < Decimal("4e-7")


@pytest.mark.parametrize("curve", [math.nan, math.inf, -1.0])
def test_a_curve_that_is_not_finite_is_never_converted(curve: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library would answer an epsilon of 0 to some of them."""
    monkeypatch.setattr(room, "step_curve", lambda *_: np.full(ORDERS.shape, curve))
    with pytest.raises(PricingDisagreementError):
        priced(step("laplace"))


@pytest.mark.parametrize("answer", [math.nan, math.inf, -0.1])
def test_a_conversion_that_is_no_price_is_refused(answer: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the library says, only a finite epsilon of at least 0 leaves."""
    name = "dp_accounting.rdp.rdp_privacy_accountant.compute_epsilon"
    monkeypatch.setattr(name, lambda *_: (answer, 2.0))
    with pytest.raises(PricingDisagreementError):
        priced(step("laplace"))


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
    assert priced(*[step("laplace")] * MAX_STEPS).num_steps == MAX_STEPS


@pytest.mark.parametrize("target", [Decimal(1), Decimal(-1), Decimal("NaN")])
def test_a_target_out_of_range_is_refused(target: Decimal) -> None:
    """It is a delta."""
    with pytest.raises(InvalidValueError) as caught:
        priced(step("laplace"), target=target)
    assert caught.value.field == "delta_target"


def test_a_gaussian_that_no_noise_serves_is_refused_by_its_place() -> None:
    """Found only when its noise is calibrated."""
    with pytest.raises(InvalidValueError) as caught:
        priced(step("laplace"), step("gaussian", "0.00000000001", delta=Decimal("1e-25")))
    assert caught.value.field == "steps[1].epsilon"
