"""What an event costs under basic composition: one (epsilon, delta), rounded up.

A Gaussian has no single (epsilon, delta); it has an epsilon at every delta. The caller names the delta at which it is
to be priced, and the price follows from the event: rho = sensitivity^2 / (2 sigma^2) in zero-concentrated DP (Bun and
Steinke 2016, Lemma 2.4), hence alpha * rho in Renyi DP at every order alpha > 1, hence, at the order that serves best,

    epsilon = alpha rho + ln(1 - 1/alpha) - (ln delta + ln alpha) / (alpha - 1)

(Canonne, Kamath and Steinke 2020, Proposition 12 in v4). Every order gives a valid bound, so only the last evaluation
has to be rigorous: it is done with 60 digits and rounded up, and must agree with dp-accounting's own conversion.
"""

import math
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

from accounting.events import ClaimEvent, Event, GaussianEvent, LaplaceEvent
from accounting.values import (
    MAX_EPSILON,
    ZERO,
    InvalidValueError,
    PrivacyLoss,
    checked_delta,
    decimal_text,
    round_up,
)

AGREEMENT = 1e-9
"""Largest relative difference between our evaluation and dp-accounting's before a price is refused."""
SMALLEST_RHO, LARGEST_RHO = Fraction(1, 10**14), Fraction(10**5)
"""Gaussians outside are refused: the first kind costs nothing anyone could measure, the second promises nothing."""

_WIDE = Context(prec=60)
_SLACK = Decimal("1e-45")
"""More than the rounding of every step of `_epsilon_at_order` together."""


class PricingDisagreementError(RuntimeError):
    """Two accountants gave different prices for one event, or one gave a non-finite price: nothing may be charged."""


def price(event: Event, delta: Decimal = ZERO) -> PrivacyLoss:
    """What the event costs a basic-composition filter.

    Args:
        event: The event.
        delta: The delta at which a Gaussian is priced; must be 0 for events that need none.

    Returns:
        An (epsilon, delta) that the event satisfies, epsilon rounded up to `PRICE_PLACES` unless it is a plain claim.

    Raises:
        InvalidValueError: If delta does not fit the event, or the price is out of range.
        PricingDisagreementError: If the two accountants disagree.
    """
    match event:
        case ClaimEvent():
            if delta != 0:
                raise InvalidValueError("delta", "must be 0 here: a claim states its delta inside the event")
            return PrivacyLoss(event.epsilon, event.delta)
        case LaplaceEvent():
            if delta != 0:
                raise InvalidValueError("delta", "must be 0: Laplace noise is purely epsilon-differentially private")
            return PrivacyLoss(_bounded(round_up(Fraction(event.sensitivity) / Fraction(event.scale))), ZERO)
        case GaussianEvent():
            checked_delta(delta)
            return PrivacyLoss(gaussian_price(event, delta).epsilon, delta)


@dataclass(frozen=True, slots=True)
class GaussianPrice:
    """A Gaussian's price with what is needed to check it.

    Attributes:
        epsilon: The price, rounded up.
        order: The Renyi order alpha > 1 at which the conversion was evaluated.
        rho: The exact zero-concentrated DP parameter.
    """

    epsilon: Decimal
    order: Decimal
    rho: Fraction


@lru_cache(maxsize=4096)
def gaussian_price(event: GaussianEvent, delta: Decimal) -> GaussianPrice:
    """The epsilon of a Gaussian at a delta in (0, 1), by the formula in the module's docstring.

    Raises:
        InvalidValueError: If delta is not in (0, 1) or the noise is out of range for the sensitivity.
        PricingDisagreementError: If dp-accounting's conversion gives another figure.
    """
    if not 0 < delta < 1:
        raise InvalidValueError("delta", "must be greater than 0 and less than 1: a Gaussian has no pure epsilon")
    rho = (Fraction(event.sensitivity) / Fraction(event.sigma)) ** 2 / 2
    if not SMALLEST_RHO <= rho <= LARGEST_RHO:
        raise InvalidValueError("event.sigma", "is out of range: sigma / sensitivity must be from 0.0023 to 7000000")
    order = _best_order(float(rho), float(delta))
    exact = _epsilon_at_order(rho, order, delta)
    _check_agreement(exact, order, float(rho), float(delta))
    return GaussianPrice(_bounded(round_up(Fraction(max(exact, ZERO)))), order, rho)


def _best_order(rho: float, delta: float) -> Decimal:
    """An order close to the best, with 9 significant digits. Not critical: every order above 1 is valid."""
    from scipy.optimize import minimize_scalar

    def epsilon(log_order_less_one: float) -> float:
        order = 1 + math.exp(log_order_less_one)
        return order * rho + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)

    found = minimize_scalar(epsilon, bounds=(math.log(0.02), math.log(1e10)), method="bounded", options={"xatol": 1e-9})
    return Decimal(f"{1 + math.exp(found.x):.9g}")


def _epsilon_at_order(rho: Fraction, order: Decimal, delta: Decimal) -> Decimal:
    """An upper bound, within 1e-40, of the conversion at that order."""
    wide = _WIDE
    less_one = wide.subtract(order, Decimal(1))
    renyi = wide.multiply(order, wide.divide(Decimal(rho.numerator), Decimal(rho.denominator)))
    gain = wide.ln(wide.divide(less_one, order))
    loss = wide.divide(wide.add(wide.ln(delta), wide.ln(order)), less_one)
    return wide.add(wide.subtract(wide.add(renyi, gain), loss), _SLACK)


def _check_agreement(ours: Decimal, order: Decimal, rho: float, delta: float) -> None:
    from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

    theirs, _ = compute_epsilon([float(order)], [float(order) * rho], delta)
    # They answer 0 where a bound by the Kullback-Leibler divergence already suffices; ours is then merely larger.
    if theirs == 0:
        return
    if not math.isfinite(theirs) or abs(float(ours) - theirs) > AGREEMENT * max(1.0, abs(theirs)):
        message = f"a Gaussian of rho {rho} at delta {delta} and order {order} costs {ours} here, {theirs} there"
        raise PricingDisagreementError(message)


def _bounded(epsilon: Decimal) -> Decimal:
    if epsilon > MAX_EPSILON:
        raise InvalidValueError("event", f"costs an epsilon of {decimal_text(epsilon)}, more than {MAX_EPSILON}")
    return epsilon
