"""From one currency of privacy loss to another, each bound evaluated so that rounding can only make it worse.

Renyi divergence of order alpha > 1 at most tau (Canonne, Kamath and Steinke 2020, Proposition 12 in v4):

    epsilon = tau + ln(1 - 1/alpha) - (ln delta + ln alpha) / (alpha - 1)
    delta   = exp((alpha - 1) (tau - epsilon)) / alpha * (1 - 1/alpha)^(alpha - 1)

rho-zero-concentrated DP is tau = alpha rho at every order, so any order gives a bound and the best may be sought by
floats. mu-Gaussian DP (Dong, Roth and Su 2019, Corollary 2.13; Balle and Wang 2018, Theorem 8):

    delta = Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu)

Pure epsilon-DP is mu-Gaussian DP for Phi(-mu/2) = 1 / (1 + exp(epsilon)): the trade-off function of randomized response
has its corner on that of the Gaussian, which is convex and so lies below the two lines to the corner.
"""

import math
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from accounting.values import InvalidValueError, round_down, round_up

COST_PLACES = 15
"""Decimal places of costs in rho, Renyi divergence and squared mu, which are rounded up to them."""
AGREEMENT = 1e-9
"""Largest relative difference between two accountants' figures before a price is refused."""
LARGEST_ORDER = 1024
"""The largest Renyi order that a member filter may be committed to."""

_WIDE = Context(prec=60)
_SLACK = Decimal("1e-40")
"""More than the rounding of every step of a conversion together."""
_DIGITS = 60
"""Digits of the exact Gaussian formula, which loses some of them where both terms are close."""
_FARTHEST, _NEGLIGIBLE, _LEAST_LOGARITHM = 60, Fraction(1, 10**700), Decimal(-1600)
"""Beyond so many standard deviations the exact Gaussian formula is below this, which then stands for it; no delta has a
smaller logarithm: it would leave the decimals, and as a fraction might have more digits than memory holds."""


class PricingDisagreementError(RuntimeError):
    """Two accountants gave different prices for one event, or one gave a non-finite price: nothing may be charged."""


def checked_order(order: int) -> int:
    """Accepts the order of a Renyi filter: a whole number from 2 to `LARGEST_ORDER`.

    Raises:
        InvalidValueError: Otherwise.
    """
    if isinstance(order, bool) or not isinstance(order, int) or not 2 <= order <= LARGEST_ORDER:
        raise InvalidValueError("order", f"must be a whole number from 2 to {LARGEST_ORDER}")
    return order


def renyi_to_epsilon(renyi: Fraction | Decimal, order: Decimal, delta: Decimal) -> Decimal:
    """An epsilon, at least 0, that a Renyi divergence guarantees at delta: not rounded, within 1e-39 above the bound.

    Args:
        renyi: Divergence in nats.
        order: Above 1.
        delta: In (0, 1).
    """
    bound = _WIDE.add(_WIDE.add(_decimal(renyi), _conversion_term(order, delta)), _SLACK)
    return max(bound, Decimal(0))


def renyi_cap(epsilon: Decimal, order: Decimal, delta: Decimal) -> Decimal:
    """The largest Renyi divergence of that order that keeps (epsilon, delta), rounded down; negative if none does."""
    bound = _WIDE.subtract(_WIDE.subtract(epsilon, _conversion_term(order, delta)), _SLACK)
    return round_down(Fraction(bound), COST_PLACES)


def renyi_to_delta(renyi: Fraction | Decimal, order: Decimal, epsilon: Decimal) -> Decimal:
    """The delta that a Renyi divergence guarantees at epsilon, by the module's formula; from 1e-695 up to 1."""
    less_one = _WIDE.subtract(order, Decimal(1))
    exponent = _WIDE.multiply(less_one, _WIDE.subtract(_decimal(renyi), epsilon))
    gain = _WIDE.multiply(less_one, _WIDE.ln(_WIDE.divide(less_one, order)))
    logarithm = _WIDE.add(_WIDE.subtract(_WIDE.add(exponent, gain), _WIDE.ln(order)), _SLACK)
    return Decimal(1) if logarithm >= 0 else _WIDE.exp(max(logarithm, _LEAST_LOGARITHM))


def _conversion_term(order: Decimal, delta: Decimal) -> Decimal:
    less_one = _WIDE.subtract(order, Decimal(1))
    gain = _WIDE.ln(_WIDE.divide(less_one, order))
    loss = _WIDE.divide(_WIDE.add(_WIDE.ln(delta), _WIDE.ln(order)), less_one)
    return _WIDE.subtract(gain, loss)


def _decimal(value: Fraction | Decimal) -> Decimal:
    if isinstance(value, Decimal):
        return value
    return _WIDE.divide(Decimal(value.numerator), Decimal(value.denominator))


@lru_cache(maxsize=4096)
def best_order_for_epsilon(rho: float, delta: float) -> Decimal:
    """The order, to 9 digits, at which rho converts to the least epsilon at delta. Every order above 1 is valid."""
    return _least(lambda order: order * rho + math.log1p(-1 / order) - math.log(delta * order) / (order - 1))


@lru_cache(maxsize=4096)
def best_order_for_delta(rho: float, epsilon: float) -> Decimal:
    """The order, to 9 digits, at which rho converts to the least delta at epsilon."""
    return _least(lambda a: (a - 1) * (a * rho - epsilon + math.log1p(-1 / a)) - math.log(a))


@lru_cache(maxsize=4096)
def best_order_for_cap(epsilon: float, delta: float) -> Decimal:
    """The order, to 9 digits, at which (epsilon, delta) leaves room for the largest rho."""

    def negative_cap(order: float) -> float:
        return -(epsilon - math.log1p(-1 / order) + math.log(delta * order) / (order - 1)) / order

    return _least(negative_cap)


def _least(bound: Callable[[float], float]) -> Decimal:
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda x: bound(1 + math.exp(x)),
        bounds=(math.log(0.02), math.log(1e10)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return Decimal(f"{1 + math.exp(found.x):.9g}")


def rho_to_epsilon(rho: Fraction, delta: Decimal) -> Decimal:
    """The least epsilon that rho-zCDP guarantees at delta in (0, 1), over all orders to 9 digits; not rounded."""
    order = best_order_for_epsilon(float(rho), float(delta))
    return renyi_to_epsilon(Fraction(order) * rho, order, delta)


def rho_to_delta(rho: Fraction, epsilon: Decimal) -> Decimal:
    """The least delta that rho-zCDP guarantees at epsilon, over all orders to 9 digits."""
    order = best_order_for_delta(float(rho), float(epsilon))
    return renyi_to_delta(Fraction(order) * rho, order, epsilon)


def gaussian_delta(mu: Fraction, epsilon: Fraction | Decimal) -> Fraction:
    """The exact delta of mu-Gaussian DP at epsilon, to about 50 digits; 1e-700 beyond 60 deviations.

    Args:
        mu: Greater than 0: sensitivity over standard deviation.
        epsilon: At least 0.
    """
    import mpmath

    # Both terms may agree in their leading digits: for small mu in about as many as 1/mu has.
    with mpmath.workdps(_DIGITS + 2 * max(0, -math.floor(math.log10(mu)))):
        mean, level = _mpf(mu), _mpf(Fraction(epsilon))
        if level / mean - mean / 2 > _FARTHEST:
            return _NEGLIGIBLE
        near = mpmath.ncdf(mean / 2 - level / mean)
        far = mpmath.exp(level) * mpmath.ncdf(-mean / 2 - level / mean)
        return max(_fraction(near - far), Fraction(0))


def _mpf(value: Fraction) -> Any:  # noqa: ANN401 - mpmath has no types
    import mpmath

    return mpmath.mpf(value.numerator) / value.denominator


def _fraction(value: Any) -> Fraction:  # noqa: ANN401 - mpmath has no types
    sign, mantissa, exponent, _ = value._mpf_
    power: Fraction = Fraction(2) ** exponent
    return Fraction(-1 if sign else 1) * Fraction(int(mantissa)) * power


def mu_to_epsilon(mu: Fraction, delta: Decimal) -> Decimal:
    """The epsilon of mu-Gaussian DP at delta in (0, 1), rounded up to `values.PRICE_PLACES`.

    Raises:
        PricingDisagreementError: If dp-accounting's figure does not hold in the exact formula, or is far above it.
    """
    from dp_accounting import get_epsilon_gaussian

    theirs = float(get_epsilon_gaussian(1 / float(mu), float(delta)))
    if not (math.isfinite(theirs) and theirs >= 0):
        raise PricingDisagreementError(f"a Gaussian of mu {float(mu)} at delta {delta} was priced at {theirs}")
    # Their root is good to 1e-12 and to the precision of doubles; beyond that the exact formula decides.
    for widening in (0, 1, 4, 16, 64):
        epsilon = round_up(Fraction(theirs) * (1 + widening * Fraction(1, 10**12)) + widening * Fraction(1, 10**12))
        if gaussian_delta(mu, epsilon) <= delta:
            return epsilon
    raise PricingDisagreementError(f"a Gaussian of mu {float(mu)} has a larger delta than {delta} at epsilon {theirs}")


def mu_squared_cap(epsilon: Decimal, delta: Decimal) -> Decimal:
    """The largest squared mu whose Gaussian DP keeps (epsilon, delta), rounded down to `COST_PLACES`, so maybe to 0.

    Raises:
        PricingDisagreementError: If dp-accounting's figure does not hold in the exact formula.
    """
    from dp_accounting import get_sigma_gaussian

    sigma = float(get_sigma_gaussian(float(epsilon), float(delta)))
    if not (math.isfinite(sigma) and sigma > 0):
        raise PricingDisagreementError(f"the Gaussian for ({epsilon}, {delta}) was given a sigma of {sigma}")
    for widening in (0, 1, 4, 16, 64):
        wider = Fraction(sigma) * (1 + widening * Fraction(1, 10**12)) + widening * Fraction(1, 10**12)
        cap = round_down(1 / wider**2, COST_PLACES)
        if cap == 0 or gaussian_delta(_root_above(cap), epsilon) <= delta:
            return cap
    raise PricingDisagreementError(f"no Gaussian near sigma {sigma} keeps ({epsilon}, {delta})")


def _root_above(square: Decimal) -> Fraction:
    """A number not below the square root, within 1e-50 of it, relatively."""
    return Fraction(_WIDE.sqrt(square)) * (1 + Fraction(1, 10**50))


def pure_to_mu_squared(epsilon: Decimal) -> Decimal:
    """The squared mu of pure epsilon-DP, rounded up to `COST_PLACES`: the module's docstring says why it is valid."""
    from scipy.special import log_ndtr, ndtri_exp

    level = float(epsilon)
    tail = -(level + math.log1p(math.exp(-level)))
    # Twice the quantile, a little more than it is good for; the check decides with the other function.
    mu = -2 * float(ndtri_exp(tail)) * (1 + 1e-10) + 1e-16
    if not (math.isfinite(mu) and float(log_ndtr(-mu / 2)) <= tail * (1 - 1e-14)):
        raise PricingDisagreementError(f"no Gaussian was found that covers an epsilon of {epsilon}")
    return round_up(Fraction(mu) ** 2, COST_PLACES)
