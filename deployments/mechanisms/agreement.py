"""The second accountant's say: noise grows by a hair until OpenDP proves no more loss of it than is charged."""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from accounting.charges import PricingDisagreementError
from accounting.events import Event

T = TypeVar("T")

_ENLARGEMENTS = 24
"""How often the noise may grow to bring OpenDP's map down to the charge. Each step doubles the one before, from one
unit in the last place, so all of them together stay below 4e-9 of the noise."""


def agreed(
    event: Event, stated: Decimal, make: Callable[[float], T], losses: Callable[[T], list[tuple[float, Decimal]]]
) -> tuple[float, T]:
    """The least noise, from the stated one, of which OpenDP proves no more loss than is charged, in every currency.

    Args:
        event: What is charged, for messages.
        stated: The event's own noise.
        make: Makes what draws noise of that scale.
        losses: What OpenDP proves of it, each figure beside the charge that it may not exceed.

    Returns:
        The noise in effect, by less than 4e-9 above the stated, and what draws it.

    Raises:
        PricingDisagreementError: If OpenDP's figure stays above the charge.
    """
    scale = not_below(stated)
    for step in range(_ENLARGEMENTS):
        made = make(scale)
        found = losses(made)
        if all(math.isfinite(theirs) and theirs <= ours for theirs, ours in found):
            return scale, made
        scale *= 1 + 2.0 ** (step - 52)
    theirs, ours = max(found, key=lambda loss: loss[0] / float(loss[1]))
    raise PricingDisagreementError(f"OpenDP proves a loss of {theirs} for {event}, more than the charge {ours}")


def not_below(value: Decimal) -> float:
    """The smallest double that is not below the decimal."""
    nearest = float(value)
    return nearest if Fraction(nearest) >= Fraction(value) else math.nextafter(nearest, math.inf)
