"""What a plan of k operations costs, under every theorem that prices it.

A plan is fixed before its first step runs: which mechanisms, with which parameters, in what number. The questions may
still depend on earlier answers; the parameters may not. This is what allows the Renyi price: the best order may be
chosen after the curves are known only because nothing in them will change. A plan is then charged whole.

Every figure is an upper bound: exact sums under basic composition, floats widened outward under Renyi composition.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from accounting.calibration import gaussian_for
from accounting.charges import PricingDisagreementError
from accounting.events import LARGEST_PARAMETER
from accounting.values import (
    EXACT,
    NO_LOSS,
    ZERO,
    InvalidValueError,
    PrivacyLoss,
    checked_delta,
    checked_epsilon,
    checked_positive,
    decimal_text,
    round_up,
)

StepMechanism = Literal["laplace", "gaussian", "exponential", "subsampled"]
TheoremName = Literal["basic", "renyi"]
Curve = NDArray[np.float64]
"""Renyi divergence, in nats, at each of `ORDERS`."""

MAX_STEPS = 1000
MAX_TEXT = 1000
"""Characters that a name or a description may have."""
DEFAULT_DELTA = Decimal("0.00001")
"""What a plan without Gaussians pays for its Renyi conversion where no target is given."""
ORDERS: Curve = 1 + np.geomspace(0.1, 1e8, 400)
"""Renyi orders alpha. Neighbours differ by 5 %, which costs a price at most about 0.05 % of itself."""

_SMALLEST_LAPLACE_EPSILON = 1e-4
"""Below, Laplace noise is priced as any pure mechanism: dp-accounting's formula loses digits there, and the two curves
differ by less than a part in a thousand."""
_RELATIVE_SLACK, _ABSOLUTE_SLACK = 1e-9, 1e-12
"""More than the rounding of all floats on the way to a Renyi price together."""

BASIC_THEOREM = "Epsilons and deltas add (Dwork and Roth 2014, Theorem 3.16)."
RENYI_THEOREM = (
    "Renyi divergences add at every order (Mironov 2017, Proposition 1) and are converted once, at the best order "
    "(Canonne, Kamath and Steinke 2020, Proposition 12). Curves: Laplace by Mironov 2017, Proposition 6; Gaussian "
    "alpha sensitivity^2 / (2 sigma^2) by Bun and Steinke 2016, Lemma 2.4; exponential alpha epsilon^2 / 8, as its "
    "loss has a bounded range (Cesar and Rogers 2021); any other epsilon by randomized response, from which every "
    "epsilon-private mechanism can be obtained (Kairouz, Oh and Viswanath 2015), its delta added apart."
)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a plan. `Plan` checks it.

    Attributes:
        step_name: For people.
        mechanism: "laplace" and "exponential" are purely epsilon-private, so their delta is 0; "gaussian" and
            "subsampled" need a delta above 0. "gaussian" is the noise that `accounting.calibration` chooses for
            (epsilon, delta). "exponential" is the exponential mechanism, as Gumbel noise samples it; permute-and-flip
            is another mechanism. "subsampled" is a claim of (epsilon, delta), as the caller's own analysis gives it.
        epsilon: Greater than 0.
        delta: In [0, 1).
        sensitivity: In (0, 1e18]. Does not affect the price: the noise grows with it.
        data_description: For people.
    """

    step_name: str
    mechanism: StepMechanism
    epsilon: Decimal
    delta: Decimal
    sensitivity: Decimal = Decimal(1)
    data_description: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps fixed in advance.

    Attributes:
        name: For people.
        steps: 1 to `MAX_STEPS` of them.

    Raises:
        InvalidValueError: If anything is out of range; `field` names it as in ``steps[3].epsilon``.
    """

    name: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        _check_text(self.name, "name")
        if not self.steps:
            raise InvalidValueError("steps", "must hold at least one step")
        if len(self.steps) > MAX_STEPS:
            raise InvalidValueError("steps", f"must hold at most {MAX_STEPS} steps, not {len(self.steps)}")
        for index, step in enumerate(self.steps):
            _check_step(step, f"steps[{index}]")


@dataclass(frozen=True, slots=True)
class TheoremPrice:
    """A plan's price under one theorem.

    Attributes:
        name: "basic" or "renyi".
        total_epsilon: Never below the true cost; None where the theorem gives no bound.
        total_delta: Exact; None with the epsilon.
        theorem: What is applied, with citation.
        valid: Whether the price is a promise, and keeps within the target where one was given.
        note: For people: how the delta is used, or why the price is not valid.
    """

    name: TheoremName
    total_epsilon: Decimal | None
    total_delta: Decimal | None
    theorem: str
    valid: bool
    note: str


@dataclass(frozen=True, slots=True)
class PlanPrice:
    """A plan's price under every theorem.

    Attributes:
        num_steps: How many steps were priced.
        prices: One for each theorem, basic first.
        tightest: The name of the valid price with the least epsilon, basic where two are equal; None where none is
            valid. Without a target the prices may differ in delta as well.
    """

    num_steps: int
    prices: tuple[TheoremPrice, ...]
    tightest: TheoremName | None

    def price(self, name: TheoremName) -> TheoremPrice:
        """The price under the theorem of that name."""
        return next(price for price in self.prices if price.name == name)


def price_plan(plan: Plan, delta_target: Decimal | None = None) -> PlanPrice:
    """Prices a plan under basic and under Renyi composition.

    The delta of the Renyi conversion is the target less the deltas of the plain claims. Without a target, the
    Gaussians' own deltas pay for it, so that both theorems promise the same delta; a plan without Gaussians pays
    `DEFAULT_DELTA` more.

    Args:
        plan: The steps.
        delta_target: The delta that the whole plan may have, in [0, 1); None to leave it open.

    Returns:
        Both prices. Takes about 6 ms for each Gaussian step unlike the others, less for all else.

    Raises:
        InvalidValueError: If the target is out of range, or no Gaussian noise in range serves a step.
        PricingDisagreementError: If an accountant answers something that is not a finite price.
    """
    if delta_target is not None:
        checked_delta(delta_target, "delta_target")
    prices = (_basic_price(plan, delta_target), _renyi_price(plan, delta_target))
    best: TheoremPrice | None = None
    for candidate in prices:
        if candidate.valid and candidate.total_epsilon is not None:
            if best is None or best.total_epsilon is None or candidate.total_epsilon < best.total_epsilon:
                best = candidate
    return PlanPrice(len(plan.steps), prices, None if best is None else best.name)


def _basic_price(plan: Plan, target: Decimal | None) -> TheoremPrice:
    total = NO_LOSS
    for step in plan.steps:
        total = total.plus(PrivacyLoss(step.epsilon, step.delta))
    valid, note = True, "The steps' deltas, added."
    if total.delta >= 1:
        valid, note = False, "The steps' deltas add up to 1 or more, which promises nothing."
    elif target is not None and total.delta > target:
        valid, note = False, f"The steps' deltas add up to more than the target of {decimal_text(target)}."
    return TheoremPrice("basic", total.epsilon, total.delta, BASIC_THEOREM, valid, note)


def _renyi_price(plan: Plan, target: Decimal | None) -> TheoremPrice:
    claimed = _sum(step.delta for step in plan.steps if step.mechanism == "subsampled")
    if target is not None:
        conversion = EXACT.subtract(target, claimed)
    else:
        conversion = _sum(step.delta for step in plan.steps if step.mechanism == "gaussian") or DEFAULT_DELTA
    total_delta = EXACT.add(conversion, claimed)
    if conversion <= 0:
        note = "The claims' deltas leave nothing of the target for the conversion, which needs a delta above 0."
        return TheoremPrice("renyi", None, None, RENYI_THEOREM, valid=False, note=note)
    if total_delta >= 1:
        note = "The delta would be 1 or more, which promises nothing."
        return TheoremPrice("renyi", None, None, RENYI_THEOREM, valid=False, note=note)
    epsilon = _converted(_composed_curve(plan), conversion)
    note = f"{decimal_text(conversion)} of the delta pays for the conversion, {decimal_text(claimed)} for plain claims."
    return TheoremPrice("renyi", epsilon, total_delta, RENYI_THEOREM, valid=True, note=note)


def _composed_curve(plan: Plan) -> Curve:
    """The sum of the steps' curves. Exactly rounded, so that the order of the steps changes nothing."""
    alike = Counter((step.mechanism, step.epsilon, step.delta) for step in plan.steps)
    curves = []
    for (mechanism, epsilon, delta), count in alike.items():
        try:
            curves.append(count * step_curve(mechanism, epsilon, delta))
        except InvalidValueError as error:
            index = [(s.mechanism, s.epsilon, s.delta) for s in plan.steps].index((mechanism, epsilon, delta))
            raise InvalidValueError(f"steps[{index}].epsilon", f"has no noise in range: {error.reason}") from None
    return np.array([math.fsum(column) for column in zip(*curves, strict=True)])


def _converted(curve: Curve, delta: Decimal) -> Decimal:
    """The epsilon of a composed curve at a delta in (0, 1), rounded up."""
    from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

    # The conversion answers 0 to a curve that is negative or not a number.
    if not np.all(np.isfinite(curve) & (curve >= 0)):
        raise PricingDisagreementError("a composed Renyi curve is not finite")
    nearest = float(delta)
    below = nearest if Fraction(nearest) <= Fraction(delta) else math.nextafter(nearest, 0)
    epsilon = float(compute_epsilon(ORDERS, curve * (1 + _RELATIVE_SLACK), below)[0])
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise PricingDisagreementError(f"a Renyi curve was converted to an epsilon of {epsilon}")
    return round_up(Fraction(epsilon * (1 + _RELATIVE_SLACK) + _ABSOLUTE_SLACK))


@lru_cache(maxsize=4096)
def step_curve(mechanism: StepMechanism, epsilon: Decimal, delta: Decimal) -> Curve:
    """The Renyi curve of one step at `ORDERS`, without what its delta covers if it is a plain claim.

    Args:
        mechanism: The step's.
        epsilon: Greater than 0.
        delta: In (0, 1) for a Gaussian; not used for the others.

    Returns:
        Divergences at `ORDERS`, at least 0, within 1e-9 of themselves. Not to be written to.

    Raises:
        InvalidValueError: If no Gaussian noise in range serves.
    """
    number = float(epsilon)
    curve: Curve
    match mechanism:
        case "gaussian":
            # Per unit of sensitivity: the ratio of noise to sensitivity is all that counts.
            event = gaussian_for(epsilon, delta, Decimal(1))
            curve = ORDERS * float((Fraction(event.sensitivity) / Fraction(event.sigma)) ** 2 / 2)
        case "laplace":
            curve = _laplace_curve(number) if number >= _SMALLEST_LAPLACE_EPSILON else _pure_curve(number)
        case "exponential":
            curve = np.minimum(ORDERS * (number**2 / 8), _pure_curve(number))
        case "subsampled":
            curve = _pure_curve(number)
    curve.flags.writeable = False
    return curve


def _laplace_curve(epsilon: float) -> Curve:
    from dp_accounting import LaplaceDpEvent
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(ORDERS)
    accountant.compose(LaplaceDpEvent(noise_multiplier=1 / epsilon))
    curve: Curve = np.array(accountant.rdp, dtype=np.float64)
    return curve


def _pure_curve(epsilon: float) -> Curve:
    """The curve of randomized response, the worst of all epsilon-private mechanisms, and at most epsilon.

    Its divergence of order alpha is ln(cosh((alpha - 1/2) epsilon) / cosh(epsilon / 2)) / (alpha - 1), here written
    without the cancellation that would cost all digits at small epsilon.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        excess = 2 * np.sinh(ORDERS * epsilon / 2) * np.sinh((ORDERS - 1) * epsilon / 2) / np.cosh(epsilon / 2)
        curve: Curve = np.log1p(excess) / (ORDERS - 1)
    # Where the hyperbolic functions leave the doubles, the curve has reached epsilon.
    return np.fmin(curve, epsilon)


def _sum(values: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total


def _check_step(step: Step, field: str) -> None:
    _check_text(step.step_name, f"{field}.step_name")
    _check_text(step.data_description, f"{field}.data_description")
    if step.mechanism not in get_args(StepMechanism):
        raise InvalidValueError(f"{field}.mechanism", f"must be one of {', '.join(get_args(StepMechanism))}")
    checked_epsilon(step.epsilon, f"{field}.epsilon")
    checked_delta(step.delta, f"{field}.delta")
    pure = step.mechanism in ("laplace", "exponential")
    if pure and step.delta != 0:
        raise InvalidValueError(f"{field}.delta", f"must be 0 for {step.mechanism}")
    if not pure and step.delta == 0:
        raise InvalidValueError(f"{field}.delta", f"must be greater than 0 for {step.mechanism}")
    checked_positive(step.sensitivity, f"{field}.sensitivity", LARGEST_PARAMETER)


def _check_text(text: str, field: str) -> None:
    if len(text) > MAX_TEXT:
        raise InvalidValueError(field, f"must have at most {MAX_TEXT} characters")
