"""From a wanted (epsilon, delta) to the noise, or the number of steps, that keeps it: always on the private side.

Each function ends by pricing the very event it proposes, so a result that would cost more than was asked cannot leave.
"""

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import TypeVar

from accounting.charges import PricingDisagreementError, price
from accounting.events import (
    LARGEST_PARAMETER,
    MAX_COUNT,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    FixedSizeGaussianEvent,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    SelectionForm,
    SelfComposedEvent,
    leaves,
)
from accounting.plans import Theorem, price_plan
from accounting.values import PRICE_PLACES, ZERO, InvalidValueError, checked_delta, checked_epsilon, round_down

_Pure = TypeVar("_Pure", LaplaceEvent, DiscreteLaplaceEvent, ExponentialEvent)

LEAST_MULTIPLIER = Decimal("0.0025")
"""Least noise that Gaussian calibration gives, per unit of sensitivity: with less nothing is promised."""

_PARAMETER = Context(prec=15, rounding=ROUND_CEILING)
"""Scales keep 15 significant digits, rounded up, so that a double holds them and more noise is what rounding gives."""
_WIDENINGS = (Decimal(0), *(Decimal(10) ** -power for power in range(13, 1, -1)))
"""Relative: what an accountant's root may be short of, tried in turn."""
_PRECISION = 1e-10
"""Relative: how near the least noise is found."""
_LEAST_NOISE, _MOST_NOISE = 1e-9, float(LARGEST_PARAMETER)
_GAUSSIAN = GaussianEvent | DiscreteGaussianEvent | PoissonGaussianEvent | FixedSizeGaussianEvent
_SEARCHED = tuple(theorem for theorem in Theorem if theorem is not Theorem.OPTIMAL)
"""What a search asks about Gaussian noise first. Optimal composition knows of each operation one (epsilon, delta) only,
so where the distribution of losses has a price it is the lower one; and it takes as long as all others together."""
_FAR = 10.0
"""By how many times a price is above or below the target at most, as far as a search looks; without a price, above."""


def laplace_for(epsilon: Decimal, sensitivity: Decimal) -> LaplaceEvent:
    """The least Laplace noise whose price is at most epsilon.

    Raises:
        InvalidValueError: If epsilon is below the grid of prices or a number is out of range.
    """
    event = LaplaceEvent(_PARAMETER.divide(sensitivity, _on_price_grid(epsilon)), sensitivity)
    return _kept(event, epsilon)


def discrete_laplace_for(epsilon: Decimal, sensitivity: Decimal) -> DiscreteLaplaceEvent:
    """The least Laplace noise on whole numbers whose price is at most epsilon.

    Raises:
        InvalidValueError: If epsilon is below the grid of prices, the sensitivity no whole number, or one out of range.
    """
    event = DiscreteLaplaceEvent(_PARAMETER.divide(sensitivity, _on_price_grid(epsilon)), sensitivity)
    return _kept(event, epsilon)


def exponential_for(
    epsilon: Decimal, sensitivity: Decimal, form: SelectionForm, monotonic: bool = False
) -> ExponentialEvent:
    """The exponential mechanism with the least noise whose price is at most epsilon.

    Args:
        epsilon: Greater than 0.
        sensitivity: The most that one privacy unit can change any score.
        form: How the noise is drawn.
        monotonic: Whether a privacy unit moves all scores in the same direction.

    Raises:
        InvalidValueError: If epsilon is below the grid of prices or a number is out of range.
    """
    reach = sensitivity if monotonic else _PARAMETER.multiply(sensitivity, 2)
    scale = _PARAMETER.divide(reach, _on_price_grid(epsilon))
    return _kept(ExponentialEvent(scale, sensitivity, form, monotonic), epsilon)


def gaussian_for(epsilon: Decimal, delta: Decimal, sensitivity: Decimal) -> GaussianEvent:
    """The least exactly Gaussian noise whose price at delta is at most epsilon (Balle and Wang 2018).

    Raises:
        InvalidValueError: If delta is 0, or no noise in range has that price.
    """
    from dp_accounting import get_sigma_gaussian

    target = _on_price_grid(epsilon)
    _check_positive(delta)
    start = max(Decimal(float(get_sigma_gaussian(float(target), float(delta)))), LEAST_MULTIPLIER)
    if start.is_finite():
        for widening in _WIDENINGS:
            sigma = _PARAMETER.multiply(_PARAMETER.multiply(start, 1 + widening), sensitivity)
            event = GaussianEvent(sigma, sensitivity)
            if _costs_at_most(event, target, delta):
                return event
    raise InvalidValueError("epsilon", "is too small for Gaussian noise at this delta")


def discrete_gaussian_for(epsilon: Decimal, delta: Decimal, sensitivity: Decimal) -> DiscreteGaussianEvent:
    """The least Gaussian noise on a grid (to twelve digits) whose price at delta, by its rho, is at most epsilon.

    Raises:
        InvalidValueError: If delta is 0, or no noise in range has that price.
    """
    target = _on_price_grid(epsilon)
    _check_positive(delta)

    def event_at(multiplier: float) -> DiscreteGaussianEvent:
        sigma = _PARAMETER.multiply(Decimal(f"{multiplier:.12e}"), sensitivity)
        return DiscreteGaussianEvent(sigma, sensitivity)

    def holds(multiplier: float) -> bool:
        return price(event_at(multiplier), delta).epsilon <= target

    # A first guess from rho of epsilon alone; from there down until the price no longer fits, or up until it does.
    least = float(LEAST_MULTIPLIER)
    low = high = max(least, 0.5 / math.sqrt(2 * float(target)) if target < 1 else least)
    while low > least and holds(low):
        low, high = max(low / 2, least), low
    while not holds(high):
        low, high = high, high * 2
        if high > 5e6:
            raise InvalidValueError("epsilon", "is too small for Gaussian noise at this delta")
    while high / low > 1 + 2e-13:
        middle = math.sqrt(low * high)
        if holds(middle):
            high = middle
        else:
            low = middle
    return event_at(high)


def least_noise(family: Callable[[Decimal], Event], epsilon: Decimal, delta: Decimal) -> Decimal:
    """The least parameter, to ten digits, whose event's tightest price at delta is at most epsilon.

    Args:
        family: The event for a parameter: a scale, a noise multiplier. A larger one must not cost more.
        epsilon: Greater than 0.
        delta: What the event may have in all, in [0, 1).

    Returns:
        The parameter, of at most 15 digits. Takes a dozen prices or two of `accounting.plans.price_plan`.

    Raises:
        InvalidValueError: If no parameter has that price.
    """
    from scipy.optimize import brentq

    target = _on_price_grid(epsilon)
    checked_delta(delta)
    seen: dict[Decimal, float] = {}

    def excess(logarithm: float) -> float:
        """In logarithms on both sides it is nearly a straight line, whose root takes few prices to find."""
        parameter = _PARAMETER.create_decimal(Decimal(math.exp(logarithm)))
        if parameter not in seen:
            seen[parameter] = _excess(family, parameter, target, delta)
        return seen[parameter]

    low = high = 0.0
    while excess(high) > 0:
        low, high = high, high + math.log(2)
        if math.exp(high) > _MOST_NOISE:
            raise InvalidValueError("epsilon", "is too small for any noise in range")
    while low == high or excess(low) <= 0:
        low, high = low - math.log(2), low
        if math.exp(low) < _LEAST_NOISE:
            raise InvalidValueError("epsilon", "is so large that any noise would do")
    root = brentq(excess, low, high, xtol=_PRECISION / 4, rtol=_PRECISION / 4)
    for widening in range(12):
        parameter = _PARAMETER.create_decimal(Decimal(math.exp(min(root + _PRECISION / 4 * (2**widening - 1), high))))
        if _excess(family, parameter, target, delta) <= 0:
            return parameter
    return _PARAMETER.create_decimal(Decimal(math.exp(high)))


def most_steps(event: Event, epsilon: Decimal, delta: Decimal) -> int:
    """How many times an event may be composed with itself at a tightest price of at most epsilon; 0 if not once.

    Args:
        event: Any event that may be composed with itself.
        epsilon: Greater than 0.
        delta: What all steps may have together, in [0, 1).

    Raises:
        InvalidValueError: If epsilon or delta is out of range.
    """
    target = _on_price_grid(epsilon)
    checked_delta(delta)

    def fits(count: int) -> bool:
        return _excess(lambda _: SelfComposedEvent(event, count), ZERO, target, delta) <= 0

    few, many = 0, 1
    while many <= MAX_COUNT and fits(many):
        few, many = many, many * 4
    many = min(many, MAX_COUNT + 1)
    while many - few > 1:
        middle = (few + many) // 2 if few < 4 else math.isqrt(few * many)
        middle = min(max(middle, few + 1), many - 1)
        if fits(middle):
            few = middle
        else:
            many = middle
    return few


def _excess(family: Callable[[Decimal], Event], parameter: Decimal, target: Decimal, delta: Decimal) -> float:
    """The logarithm of how many times the target the price is: above 0 where it costs too much."""
    try:
        found = _tightest(family(parameter), delta)
    except (InvalidValueError, PricingDisagreementError):
        return math.log(_FAR)
    # The sign must not be lost to rounding.
    share = float(Fraction(found) / Fraction(target) - 1)
    return math.log1p(min(max(share, 1 / _FAR - 1), _FAR - 1))


def _tightest(event: Event, delta: Decimal) -> Decimal:
    """The epsilon of the tightest price. Errors as of `price_plan`."""
    if all(isinstance(operation, _GAUSSIAN) for operation, _ in leaves(event)):
        found = price_plan(event, delta, _SEARCHED)
        if found.price(Theorem.PLD).loss is not None:
            return found.loss.epsilon
    return price_plan(event, delta).loss.epsilon


def _costs_at_most(event: Event, epsilon: Decimal, delta: Decimal = ZERO) -> bool:
    try:
        return price(event, delta).epsilon <= epsilon
    except (InvalidValueError, PricingDisagreementError):
        return False


def _kept(event: _Pure, epsilon: Decimal) -> _Pure:
    if price(event).epsilon > epsilon:
        raise InvalidValueError("epsilon", "has no scale of 15 digits: choose a larger epsilon")
    return event


def _check_positive(delta: Decimal) -> None:
    if checked_delta(delta) == 0:
        raise InvalidValueError("delta", "must be greater than 0 for Gaussian noise")


def _on_price_grid(epsilon: Decimal) -> Decimal:
    target = round_down(Fraction(checked_epsilon(epsilon)))
    if target == 0:
        raise InvalidValueError("epsilon", f"must be at least 1e-{PRICE_PLACES} for a calibrated mechanism")
    return target
