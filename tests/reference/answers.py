"""What our own code answers to a published case, and that our own price stands on the right side of it.

A case is first described as operations (`tests.reference.mechanisms`), then asked for its quantity (`_QUANTITIES`).
Where a number belongs to one library's procedure, `tests.reference.procedures` follows it; `_require` then holds our
own price against it: never above a valid bound that is looser, always above an approximation that is none.
"""

import math
import re
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction

from accounting import plans
from accounting.calibration import least_noise
from accounting.composition import advanced_composition
from accounting.conversion import (
    best_order_for_delta,
    best_order_for_epsilon,
    gaussian_delta,
    mu_squared_cap,
    mu_to_epsilon,
    renyi_to_delta,
    renyi_to_epsilon,
    rho_to_delta,
    rho_to_epsilon,
)
from accounting.event_wire import event_from_wire
from accounting.events import (
    ClaimEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    ZCdpEvent,
)
from accounting.pld import pld_epsilon
from accounting.pure import pure_epsilon
from accounting.renyi import divergence, rho_of
from accounting.values import InvalidValueError, PrivacyLoss
from tests.reference import procedures
from tests.reference.cases import Case, Parameters, UnknownCaseError
from tests.reference.mechanisms import ONE, ZERO, Plan, count_of, known, plan_of, wire_event

_WIDE = Context(prec=50)
_GOOGLE = ("google/differential-privacy", "tensorflow/privacy")
"""Sources whose numbers are those of dp-accounting."""


class WrongSideError(AssertionError):
    """Our own price is on the wrong side of a published number."""


def answer(case: Case) -> Decimal | None:
    """What our code says, once every check on the way has passed.

    Raises:
        UnknownCaseError: If the case says something that has no answer here.
        WrongSideError: If our own price is on the wrong side of the published number.
    """
    found: Decimal | None
    if case.expect.quantity == "rejected":
        _check_rejected(case)
        found = None
    elif case.mechanism.endswith("_calibration"):
        found = _calibrated(case)
    else:
        quantity = known(_QUANTITIES, case.expect.quantity, "quantity")
        found = quantity(case, plan_of(case.mechanism, case.params))
    case.params.check_all_read()
    return found


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise WrongSideError(what)


# What it costs: quantities.


def _epsilon(case: Case, plan: Plan) -> Decimal | None:
    delta = _delta_stated(case.params)
    if case.mechanism == "approx_dp_optimal_composition":
        # Without a delta nothing is better than the sum.
        return _by_theorem(plan, delta, plans.Theorem.OPTIMAL if delta > 0 else plans.Theorem.BASIC)
    if case.mechanism == "approx_dp_advanced_composition":
        return _advanced(case.params, plan).epsilon
    if case.mechanism == "gaussian_zcdp":
        exact = rho_to_epsilon(_rho_of(plan), delta)
        _require(exact <= _own(plan, delta), "our price is below what rho guarantees")
        return exact
    accountant = case.params.text_or("accountant", "own")
    conversion = case.params.text_or("conversion", "own")
    return known(_ACCOUNTANTS, accountant, "accountant")(case, plan, delta, conversion)


def _own_epsilon(case: Case, plan: Plan, delta: Decimal, conversion: str) -> Decimal:
    """Our price; where a conversion from Renyi divergence is named, the bound of that conversion above our price."""
    own = _own(plan, delta)
    if conversion == "own":
        return own
    rho = _rho_of(plan)
    orders = _grid_beside(conversion, best_order_for_epsilon(float(rho), float(delta)))
    bound = min(renyi_to_epsilon(Fraction(order) * rho, order, delta) for order in orders)
    _require(own <= bound, f"our price {own} is above the Renyi bound {bound}")
    return bound


def _grid_beside(conversion: str, ideal: Decimal) -> list[Decimal]:
    """The orders of a fine grid beside the ideal one: the bound is unimodal in the order, so one is the best."""
    grid = re.fullmatch(r"rdp fine grid ([\d.]+)\.\.([\d.]+) step ([\d.]+)", conversion)
    if grid is None:
        raise UnknownCaseError(f"the conversion {conversion!r} is unknown")
    first, last, step = (Decimal(number) for number in grid.groups())
    below = first + step * ((ideal - first) // step)
    return [order for order in (below, below + step) if max(first, ONE) < order <= last]


def _renyi_epsilon(case: Case, plan: Plan, delta: Decimal, conversion: str) -> Decimal:
    if conversion == "mironov2017":
        bound = procedures.MOMENTS_ACCOUNTANT.epsilon(plan.parts, delta, procedures.mironov_2017)
    elif conversion == "own":
        bound = _renyi_procedure(case.source).epsilon(plan.parts, delta)
    else:
        raise UnknownCaseError(f"the conversion {conversion!r} is unknown")
    own = _own(plan, delta)
    _require(0 <= own <= bound, f"our price {own} is above the Renyi bound {bound}")
    return bound


def _renyi_procedure(source: str) -> procedures.RenyiProcedure:
    if source.startswith("meta-pytorch/opacus"):
        return procedures.OPACUS
    if "test_compute_dp_sgd_privacy" in source:
        return procedures.TENSORFLOW_PRIVACY
    if source.startswith(_GOOGLE):
        return procedures.DP_ACCOUNTING
    return procedures.MOMENTS_ACCOUNTANT


def _pld_epsilon(case: Case, plan: Plan, delta: Decimal, conversion: str) -> Decimal | None:
    """Our price by distributions; the last digits of a published one are those of dp-accounting's grid.

    Where a source that used dp-accounting asks for other digits than ours, its number is recomputed on its grid, and
    ours must be beside it.
    """
    if conversion != "own":
        raise UnknownCaseError(f"the conversion {conversion!r} is unknown beside privacy loss distributions")
    own = _by_theorem(plan, delta, plans.Theorem.PLD)
    if own is None or case.expect.met_by(own) or not case.source.startswith(_GOOGLE):
        return own
    theirs = procedures.google_distribution_epsilon(plan.parts, delta)
    _require(
        abs(own - theirs) <= theirs * Decimal("0.00001"), f"our price {own} is not beside dp-accounting's {theirs}"
    )
    return theirs


def _prv_epsilon(case: Case, plan: Plan, delta: Decimal, conversion: str) -> Decimal:
    """Opacus' upper bound, whose digits are those of its own grid; ours is within its bracket."""
    if conversion != "own":
        raise UnknownCaseError(f"the conversion {conversion!r} is unknown beside privacy loss random variables")
    below, above = procedures.opacus_bracket([_sampled(event, count) for event, count in plan.parts], float(delta))
    own = _own(plan, delta)
    # Where the true epsilon is 0 their bounds are below it.
    above = max(above, ZERO)
    _require(below <= own <= above, f"our price {own} is not within {below} and {above}")
    return above


def _clt_epsilon(case: Case, plan: Plan, delta: Decimal, conversion: str) -> Decimal:
    """The central limit theorem's figure: no bound. Our price is above it, so whoever charges it would be refused."""
    if conversion != "own" or len(plan.parts) != 1:
        raise UnknownCaseError("the central limit theorem is known for one sampled Gaussian only")
    approximate = mu_to_epsilon(procedures.clt_mu(*_sampled(*plan.parts[0])), delta)
    own = _own(plan, delta)
    _require(own > approximate, f"our price {own} is not above the approximation {approximate}")
    return approximate


_ACCOUNTANTS: dict[str, Callable[[Case, Plan, Decimal, str], Decimal | None]] = {
    "own": _own_epsilon,
    "rdp": _renyi_epsilon,
    "pld": _pld_epsilon,
    "prv": _prv_epsilon,
    "gdp-clt": _clt_epsilon,
}


def _delta(case: Case, plan: Plan) -> Decimal:
    if case.mechanism == "approx_dp_advanced_composition":
        return _advanced(case.params, plan).delta
    epsilon = case.params.number("epsilon")
    accountant = case.params.text_or("accountant", "own")
    if accountant not in ("own", "pld"):
        raise UnknownCaseError(f"the accountant {accountant!r} is unknown for a delta")
    events = [event for event, _ in plan.parts]
    if all(isinstance(event, DiscreteGaussianEvent | ZCdpEvent) for event in events):
        return rho_to_delta(_rho_of(plan), epsilon)
    if all(isinstance(event, GaussianEvent) for event in events):
        rho = _rho_of(plan)
        exact = _decimal(gaussian_delta(Fraction(_WIDE.sqrt(_decimal(2 * rho))), epsilon))
        conversion = case.params.text_or("conversion", "own")
        if conversion == "own":
            return exact
        orders = _grid_beside(conversion, best_order_for_delta(float(rho), float(epsilon)))
        bound = min(renyi_to_delta(Fraction(order) * rho, order, epsilon) for order in orders)
        _require(exact <= bound, f"the exact delta {exact} is above the Renyi bound {bound}")
        return bound
    return _least_delta(plan, epsilon)


def _least_delta(plan: Plan, epsilon: Decimal) -> Decimal:
    """The least delta, to four digits, at which our price by distributions is at most epsilon; 0 if it needs none."""
    if _pure(plan) <= epsilon:
        return ZERO
    low, high = -15.0, 0.0
    while high - low > 4e-5:
        middle = (low + high) / 2
        if pld_epsilon(plan.parts, _power_of_ten(middle)) <= epsilon:
            high = middle
        else:
            low = middle
    found = _power_of_ten(high)
    _require(_own(plan, found) <= epsilon, f"our price at a delta of {found} is above {epsilon}")
    return found


def _power_of_ten(exponent: float) -> Decimal:
    return Decimal(f"{10**exponent:.6e}")


def _renyi(case: Case, plan: Plan) -> Decimal:
    order = case.params.number(case.params.first_of("alpha", "order") or "alpha")
    library = case.params.text_or("library", "dp_accounting")
    if library not in ("opacus", "dp_accounting"):
        raise UnknownCaseError(f"the library {library!r} is unknown")
    if order.is_infinite():
        return sum((count * _largest_loss(event) for event, count in plan.parts), ZERO)
    total = sum((count * divergence(event, float(order)) for event, count in plan.parts), Fraction(0))
    broken = order != order.to_integral_value()
    if broken and case.source.startswith("google/differential-privacy"):
        theirs = sum(
            (count * Fraction(procedures.loose(event, float(order))) for event, count in plan.parts), Fraction(0)
        )
        _require(total <= theirs * (1 + Fraction(1, 10**9)), "our divergence is above dp-accounting's, which is loose")
        return _decimal(theirs)
    return _decimal(total)


def _largest_loss(event: Event) -> Decimal:
    """The divergence of infinite order: the pure epsilon, if there is one."""
    try:
        return pure_epsilon(event)
    except InvalidValueError:
        return Decimal("Infinity")


def _rho(case: Case, plan: Plan) -> Decimal:
    return _decimal(_rho_of(plan))


_QUANTITIES: dict[str, Callable[[Case, Plan], Decimal | None]] = {
    "epsilon": _epsilon,
    "delta": _delta,
    "rdp": _renyi,
    "rho": _rho,
}


def _own(plan: Plan, delta: Decimal) -> Decimal:
    """The epsilon that we would charge for the whole plan."""
    return plans.price_plan(plan.event, delta).loss.epsilon


def _pure(plan: Plan) -> Decimal:
    """The epsilon that holds without any delta; infinite if none does."""
    try:
        return _own(plan, ZERO)
    except InvalidValueError:
        return Decimal("Infinity")


def _by_theorem(plan: Plan, delta: Decimal, theorem: plans.Theorem) -> Decimal | None:
    """The epsilon by one theorem, which our price is never above; None if the theorem has none at this delta."""
    try:
        priced = plans.price_plan(plan.event, delta)
    except InvalidValueError:
        return None
    loss = priced.price(theorem).loss
    if loss is None:
        return None
    _require(priced.loss.epsilon <= loss.epsilon, f"our price {priced.loss} is above that of {theorem}")
    return loss.epsilon


def _delta_stated(params: Parameters) -> Decimal:
    name = params.first_of("total_delta", "target_delta") or params.first_of("delta")
    if name is None:
        return ZERO
    return params.number(name)


def _advanced(params: Parameters, plan: Plan) -> PrivacyLoss:
    """Kairouz, Oh and Viswanathan 2015, Theorem 3.5, with a slack; its delta is 1 - (1 - delta)^k (1 - slack)."""
    [(claim, count)] = plan.parts
    slack = params.number("delta_slack")
    loss = advanced_composition([(plans.price(claim), count)], slack)
    assert isinstance(claim, ClaimEvent)
    needed = 1 - (1 - Fraction(claim.delta)) ** count * (1 - Fraction(slack))
    _require(loss.delta >= needed, f"our delta {loss.delta} is below the theorem's")
    return loss


def _rho_of(plan: Plan) -> Fraction:
    total = Fraction(0)
    for event, count in plan.parts:
        rho = rho_of(event)
        if rho is None:
            raise UnknownCaseError(f"a {event.kind} has no rho")
        total += count * rho
    return total


def _sampled(event: Event, count: int) -> tuple[Decimal, Decimal, int]:
    if not isinstance(event, PoissonGaussianEvent):
        raise UnknownCaseError("this accountant is known for sampled Gaussians only")
    return event.sigma / event.sensitivity, event.sampling_probability, count


def _decimal(value: Fraction) -> Decimal:
    return _WIDE.divide(Decimal(value.numerator), Decimal(value.denominator))


# How much noise is needed: calibration.


def _calibrated(case: Case) -> Decimal:
    """The least noise of a family that keeps (epsilon, delta); a discrete Laplace parameter is 1 / scale."""
    params, kind = case.params, case.mechanism.removesuffix("_calibration")
    epsilon = params.number(params.first_of("target_epsilon", "epsilon") or "epsilon")
    delta = _delta_stated(params)
    rate_name = params.first_of("sampling_probability", "sampling_prob")
    rate = params.number(rate_name) if rate_name else None
    opacus = case.source.startswith("meta-pytorch/opacus")
    count, sensitivity = count_of(params, rate, floored=opacus), params.number_or("sensitivity", ONE)
    makers: dict[str, Callable[[Decimal], Event]] = {
        "laplace": lambda scale: LaplaceEvent(scale, sensitivity),
        "discrete_laplace": lambda scale: DiscreteLaplaceEvent(scale, sensitivity),
        "gaussian": lambda sigma: GaussianEvent(sigma, sensitivity),
        "poisson_subsampled_gaussian": lambda sigma: PoissonGaussianEvent(sigma, sensitivity, rate or ONE),
    }
    make = known(makers, kind, "mechanism to calibrate")

    def plan_at(noise: Decimal) -> Plan:
        return Plan(((make(noise), count),))

    least = least_noise(lambda noise: plan_at(noise).event, epsilon, delta)
    _require(_own(plan_at(least), delta) <= epsilon, f"a noise of {least} costs more than {epsilon}")
    accountant = params.text_or("accountant", "own")
    if accountant != "own":
        found = _opacus_noise(case, plan_at, epsilon, delta, accountant)
        # The approximation asks for too little noise, all others for too much.
        right = found < least if accountant == "gdp-clt" else found >= least
        _require(right, f"our noise of {least} is on the wrong side of {found}")
    elif kind == "poisson_subsampled_gaussian":
        unsampled = float(sensitivity) * math.sqrt(count / mu_squared_cap(epsilon, delta))
        found = procedures.google_sampled_noise(
            float(epsilon), float(delta), count, float(sensitivity), float(rate or ONE), unsampled
        )
        _require(least <= found + Decimal("1e-7"), f"our noise of {least} is above dp-accounting's {found}")
    else:
        found = least
    units = {"scale": found, "sigma": found, "noise_multiplier": found / sensitivity, "noise_parameter_a": 1 / found}
    return known(units, case.expect.quantity, "quantity of a calibration")


def _opacus_noise(
    case: Case, plan_at: Callable[[Decimal], Plan], epsilon: Decimal, delta: Decimal, accountant: str
) -> Decimal:
    def by_random_variables(plan: Plan) -> Decimal:
        # Opacus takes a thousandth of delta for its errors, and adds a hundredth to epsilon.
        return _own(plan, delta * Decimal("0.999")) + Decimal("0.01")

    priced: dict[str, Callable[[Plan], Decimal]] = {
        "rdp": lambda plan: procedures.OPACUS.epsilon(plan.parts, delta),
        "prv": by_random_variables,
        "gdp-clt": lambda plan: mu_to_epsilon(procedures.clt_mu(*_sampled(*plan.parts[0])), delta),
    }
    price = known(priced, accountant, "accountant to calibrate by")
    tolerance = case.params.number_or("epsilon_tolerance", Decimal("0.01"))
    return procedures.opacus_noise(epsilon, tolerance, lambda sigma: price(plan_at(sigma)))


# What must be refused.


def _check_rejected(case: Case) -> None:
    """What comes first has a price; what comes then, described as it would arrive over the wire, has none."""
    params = case.params
    delta = params.number("delta")
    first = params.value("first")
    plans.price(event_from_wire(wire_event(first)), Decimal("0.00001"))
    then = params.value("then") if params.has("then") else first
    try:
        loss = plans.price(event_from_wire(wire_event(then)), delta)
    except InvalidValueError:
        return
    raise WrongSideError(f"{then} at delta {delta} is not rejected but costs {loss}")
