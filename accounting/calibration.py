"""From a wanted (epsilon, delta) to the noise that keeps it: always on the private side.

Each function ends by pricing the very event it proposes, so a result that would cost more than was asked cannot leave.
"""

import math
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction

from accounting.charges import price
from accounting.events import GaussianEvent, LaplaceEvent
from accounting.values import PRICE_PLACES, InvalidValueError, checked_delta, checked_epsilon, round_down

_PARAMETER = Context(prec=15, rounding=ROUND_CEILING)
"""Scales keep 15 significant digits, rounded up, so that a double holds them and more noise is what rounding gives."""


def laplace_for(epsilon: Decimal, sensitivity: Decimal) -> LaplaceEvent:
    """The least Laplace noise whose price is at most epsilon.

    Raises:
        InvalidValueError: If epsilon is below the grid of prices or a number is out of range.
    """
    target = _on_price_grid(epsilon)
    scale = _PARAMETER.divide(sensitivity, target)
    event = LaplaceEvent(scale, sensitivity)
    if price(event).epsilon > epsilon:
        raise InvalidValueError("epsilon", "has no Laplace scale of 15 digits: choose a larger epsilon")
    return event


def gaussian_for(epsilon: Decimal, delta: Decimal, sensitivity: Decimal) -> GaussianEvent:
    """The least Gaussian noise (to nine digits) whose price at delta is at most epsilon.

    Raises:
        InvalidValueError: If delta is 0, or no noise in range has that price.
    """
    target = _on_price_grid(epsilon)
    checked_delta(delta)
    if delta == 0:
        raise InvalidValueError("delta", "must be greater than 0 for Gaussian noise")

    def event_at(multiplier: float) -> GaussianEvent:
        sigma = _PARAMETER.multiply(Decimal(f"{multiplier:.12e}"), sensitivity)
        return GaussianEvent(sigma, sensitivity)

    def holds(multiplier: float) -> bool:
        return price(event_at(multiplier), delta).epsilon <= target

    # A first guess from rho of epsilon alone; from there down until the price no longer fits, or up until it does.
    low = high = max(0.0025, 0.5 / math.sqrt(2 * float(target)) if target < 1 else 0.0025)
    while low > 0.0025 and holds(low):
        low, high = max(low / 2, 0.0025), low
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


def _on_price_grid(epsilon: Decimal) -> Decimal:
    target = round_down(Fraction(checked_epsilon(epsilon)))
    if target == 0:
        raise InvalidValueError("epsilon", f"must be at least 1e-{PRICE_PLACES} for a calibrated mechanism")
    return target
