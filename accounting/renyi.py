"""The Renyi divergence of one event, in nats, at any order above 1: never below the true bound.

Closed forms where they exist. Each is written as the logarithm of one plus something positive, so that small
divergences keep their digits, and is widened by more than the rounding of its doubles.

| event | divergence at order alpha | source |
|---|---|---|
| pure epsilon | that of randomized response, from which all such are obtained | Kairouz, Oh, Viswanathan 2015 |
| Laplace | Mironov 2017, Proposition 6 | |
| discrete Laplace | the same sum over whole numbers, which is geometric | `_discrete_laplace` |
| rho-zCDP, (discrete) Gaussian | alpha rho | Bun and Steinke 2016; Canonne, Kamath and Steinke 2020 |
| exponential by Gumbel noise | alpha epsilon^2 / 8 (bounded range) | Cesar and Rogers 2021, Lemma 3.4 |
| Poisson-sampled Gaussian | Mironov, Talwar and Zhang 2019, section 3.3 | dp-accounting and a second path |
| fixed-size-sampled Gaussian | Wang, Balle and Kasiviswanathan 2019, Theorem 27 | dp-accounting and a second path |

Two accountants price the last two. At whole orders the second path sums the same finite series with positive terms
only (its moments as integrals); it must agree with dp-accounting, and the larger figure counts. Elsewhere the second
path is an integral, which may be tighter than dp-accounting's series, but never larger.
"""

import logging
import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

import numpy as np

from accounting.conversion import AGREEMENT, PricingDisagreementError
from accounting.events import (
    ClaimEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    FixedSizeGaussianEvent,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    RandomizedResponseEvent,
    SelectionForm,
    ZCdpEvent,
)
from accounting.pure import pure_epsilon
from accounting.values import InvalidValueError

SMALLEST_MULTIPLIER = Fraction(1, 10)
"""Least noise multiplier (sigma / sensitivity) of a subsampled Gaussian: less promises nothing and takes long."""
_SMALLEST_LAPLACE = 1e-3
"""Below this epsilon Laplace noise is priced as any pure mechanism: the closed form loses digits there, and the two
differ by less than a part in a thousand."""
_RELATIVE, _ABSOLUTE = 1e-10, 1e-14
"""More than the rounding of all doubles on the way to one divergence."""
_AGREEMENT_FLOOR = 1e-12
"""Differences below are no disagreement: dp-accounting takes a logarithm of a number near 1."""
_LARGEST_EXPONENT = 600.0
"""Beyond, a power is about to leave the doubles, and what is added to it is nothing beside it."""
_SPAN, _NODES_PER_SIGMA = 14.0, 16
"""The integral runs this many sigmas beyond both means, in steps of a sixteenth of sigma: for an analytic integrand
the trapezoid rule is then exact to all digits of a double."""


_Sampled = PoissonGaussianEvent | FixedSizeGaussianEvent
_Numbers = np.ndarray[tuple[int], np.dtype[np.float64]]


def rho_of(event: Event) -> Fraction | None:
    """The exact zero-concentrated DP parameter of a single operation that has one; None otherwise.

    A pure epsilon is rho = epsilon^2 / 2 (Bun and Steinke 2016, Proposition 1.4); a claim counts without its delta.
    """
    match event:
        case ZCdpEvent():
            return Fraction(event.rho)
        case GaussianEvent() | DiscreteGaussianEvent():
            return (Fraction(event.sensitivity) / Fraction(event.sigma)) ** 2 / 2
        case ExponentialEvent(form=SelectionForm.GUMBEL):
            return Fraction(pure_epsilon(event)) ** 2 / 8
        case PoissonGaussianEvent() | FixedSizeGaussianEvent():
            return None
        case ClaimEvent() | LaplaceEvent() | DiscreteLaplaceEvent() | ExponentialEvent() | RandomizedResponseEvent():
            return Fraction(pure_epsilon(event)) ** 2 / 2
        case PoissonLaplaceEvent():
            return Fraction(pure_epsilon(event)) ** 2 / 2
        case _:
            raise TypeError(f"{event.kind} is not a single operation")


@lru_cache(maxsize=65_536)
def divergence(event: Event, order: float) -> Fraction:
    """An upper bound on the Renyi divergence of a single operation, in both directions; without a claim's delta.

    Args:
        event: Not a composition.
        order: Above 1.

    Raises:
        InvalidValueError: If the noise is too small to be priced.
        PricingDisagreementError: If two accountants disagree.
    """
    match event:
        case GaussianEvent() | DiscreteGaussianEvent() | ZCdpEvent():
            return Fraction(order) * _known(rho_of(event))
        case ExponentialEvent(form=SelectionForm.GUMBEL):
            bounded_range = Fraction(order) * _known(rho_of(event))
            return min(bounded_range, _widened(pure_divergence(float(pure_epsilon(event)), order)))
        case PoissonGaussianEvent():
            return _widened(_poisson_gaussian(event, order))
        case FixedSizeGaussianEvent():
            return _widened(_fixed_size_gaussian(event, order))
    epsilon = float(pure_epsilon(event))
    worst = pure_divergence(epsilon, order)
    if isinstance(event, LaplaceEvent) and epsilon >= _SMALLEST_LAPLACE:
        return _widened(min(worst, _laplace(epsilon, order)))
    if isinstance(event, DiscreteLaplaceEvent) and epsilon >= _SMALLEST_LAPLACE:
        return _widened(min(worst, _discrete_laplace(epsilon, int(event.sensitivity), order)))
    return _widened(worst)


def inverse_pure_divergence(target: float, order: float) -> float:
    """The epsilon at which the worst epsilon-private mechanism has that divergence, to about ten digits.

    Newton's method from above, where the divergence is convex enough not to overshoot: epsilon is at most the target
    and ln(2) order / (order - 1) more.
    """
    epsilon = target + math.log(2) * order / (order - 1)
    for _ in range(100):
        slope = ((order - 0.5) * math.tanh((order - 0.5) * epsilon) - math.tanh(epsilon / 2) / 2) / (order - 1)
        step = (pure_divergence(epsilon, order) - target) / slope
        epsilon -= step
        if abs(step) <= 1e-11 * epsilon:
            break
    return epsilon


def _known(rho: Fraction | None) -> Fraction:
    assert rho is not None
    return rho


def _widened(value: float) -> Fraction:
    if not (math.isfinite(value) and value >= 0):
        raise PricingDisagreementError(f"a Renyi divergence came out as {value}")
    return Fraction(value * (1 + _RELATIVE) + _ABSOLUTE)


def pure_divergence(epsilon: float, order: float) -> float:
    """The divergence of randomized response, the worst of all pure epsilon-private mechanisms, by doubles alone.

    It is ln(cosh((order - 1/2) epsilon) / cosh(epsilon / 2)) / (order - 1), written without its cancellation, and at
    most epsilon. `divergence` widens it by more than the rounding.
    """
    if order * epsilon > _LARGEST_EXPONENT:
        return epsilon - math.log1p(math.exp(-epsilon)) / (order - 1)
    excess = 2 * math.sinh(order * epsilon / 2) * math.sinh((order - 1) * epsilon / 2) / math.cosh(epsilon / 2)
    return min(math.log1p(excess) / (order - 1), epsilon)


def _laplace(epsilon: float, order: float) -> float:
    return _two_exponentials(order / (2 * order - 1), epsilon, order)


def _discrete_laplace(epsilon: float, sensitivity: int, order: float) -> float:
    """Noise c exp(-a|x|), a = epsilon / sensitivity, shifted by the sensitivity: the sum of P^order Q^(1 - order).

    Outside both peaks the ratio is constant; between them the sum is geometric with ratio w = exp(-a (2 order - 1)). In
    all, exp((order - 1) epsilon) has the factor (1 + tanh(a / 2)) / 2 + tanh(a / 2) w / (1 - w).
    """
    a = epsilon / sensitivity
    step, slope = -a * (2 * order - 1), math.tanh(a / 2)
    return _two_exponentials((1 + slope) / 2 - slope * math.exp(step) / math.expm1(step), epsilon, order)


def _two_exponentials(share: float, epsilon: float, order: float) -> float:
    """ln(share exp((order - 1) epsilon) + (1 - share) exp(-order epsilon)) / (order - 1)."""
    if order * epsilon > _LARGEST_EXPONENT:
        return epsilon + math.log(share) / (order - 1)
    rise, fall = math.expm1((order - 1) * epsilon), math.expm1(-order * epsilon)
    return math.log1p(share * rise + (1 - share) * fall) / (order - 1)


def _multiplier(event: _Sampled) -> float:
    ratio = Fraction(event.sigma) / Fraction(event.sensitivity)
    if not SMALLEST_MULTIPLIER <= ratio <= 10**7:
        reason = f"is out of range: sigma / sensitivity must be from {float(SMALLEST_MULTIPLIER)} to 10000000"
        raise InvalidValueError("event.sigma", reason)
    # Less noise costs more, so rounding to a double must not raise it.
    nearest = float(ratio)
    return nearest if Fraction(nearest) <= ratio else math.nextafter(nearest, 0)


def _rate(event: _Sampled) -> float:
    if isinstance(event, PoissonGaussianEvent):
        return float(event.sampling_probability)
    return event.sample_size / event.population


def dp_accounting_divergence(event: PoissonGaussianEvent | FixedSizeGaussianEvent, order: float) -> float:
    """The same by dp-accounting alone: infinite where its series does not converge, loose at broken orders."""
    from dp_accounting import GaussianDpEvent, NeighboringRelation, dp_event
    from dp_accounting.rdp import RdpAccountant

    # It warns of every series that does not converge, which is told by the answer.
    logging.getLogger("absl").setLevel(logging.ERROR)
    noise = GaussianDpEvent(_multiplier(event))
    if isinstance(event, PoissonGaussianEvent):
        accountant = RdpAccountant([order], NeighboringRelation.ADD_OR_REMOVE_ONE)
        accountant.compose(dp_event.PoissonSampledDpEvent(float(event.sampling_probability), noise))
    else:
        accountant = RdpAccountant([order], NeighboringRelation.REPLACE_ONE)
        accountant.compose(dp_event.SampledWithoutReplacementDpEvent(event.population, event.sample_size, noise))
    return float(accountant.rdp[0])


def _poisson_gaussian(event: _Sampled, order: float) -> float:
    sigma, rate = _multiplier(event), _rate(event)
    if rate == 1:
        return order / (2 * sigma**2)
    theirs = dp_accounting_divergence(event, order)
    if float(order).is_integer():
        return _agreed(theirs, _log1p_sum(order, _poisson_terms(sigma, rate, int(order))), event, order)
    if math.isinf(theirs):
        # Their series did not converge, so nobody confirms the integral.
        return _chord(_poisson_gaussian, event, order)
    return _not_above(theirs, _poisson_integral(sigma, rate, order), event, order)


def _fixed_size_gaussian(event: _Sampled, order: float) -> float:
    sigma, rate = _multiplier(event), _rate(event)
    if rate == 1:
        return order / (2 * sigma**2)
    theirs = dp_accounting_divergence(event, order)
    if float(order).is_integer():
        return _agreed(theirs, _log1p_sum(order, _fixed_size_terms(sigma, rate, int(order))), event, order)
    return _not_above(theirs, _chord(_fixed_size_gaussian, event, order), event, order)


def _chord(at_whole: Callable[[_Sampled, float], float], event: _Sampled, order: float) -> float:
    """Between whole orders (order - 1) times the divergence is convex, so a chord lies above it.

    Wang, Balle and Kasiviswanathan 2019, Corollary 10. At order 1 the product is 0.
    """
    below, above = math.floor(order), math.ceil(order)
    start = 0.0 if below == 1 else (below - 1) * at_whole(event, float(below))
    end = (above - 1) * at_whole(event, float(above))
    share = order - below
    return ((1 - share) * start + share * end) / (order - 1)


def _agreed(theirs: float, ours: float, event: Event, order: float) -> float:
    if not math.isfinite(theirs) or abs(theirs - ours) > AGREEMENT * ours + _AGREEMENT_FLOOR:
        raise PricingDisagreementError(f"{event} at order {order} has a divergence of {ours} here, {theirs} there")
    return max(ours, theirs)


def _not_above(theirs: float, ours: float, event: Event, order: float) -> float:
    if not math.isfinite(theirs) or ours > theirs * (1 + AGREEMENT) + _AGREEMENT_FLOOR:
        raise PricingDisagreementError(f"{event} at order {order} has a divergence of {ours} here, {theirs} there")
    return ours


def _log1p_sum(order: float, logarithms: list[float]) -> float:
    """ln(1 + sum of exponentials) / (order - 1), where the sum may leave the doubles."""
    largest = max(logarithms)
    total = largest + math.log(math.fsum(math.exp(term - largest) for term in logarithms))
    # ln(1 + exp(total)), exact for totals of any size.
    logarithm = math.log1p(math.exp(total)) if total < 0 else total + math.log1p(math.exp(-total))
    return logarithm / (order - 1)


def _poisson_terms(sigma: float, rate: float, order: int) -> list[float]:
    """Logarithms of binomial(order, k) (1 - q)^(order - k) q^k (exp((k^2 - k) / 2 sigma^2) - 1) for k from 2.

    The binomial weights sum to 1, so taking 1 from each exponential leaves what exceeds 1, with positive terms only.
    """
    kept, drawn = math.log1p(-rate), math.log(rate)
    return [
        _log_binomial(order, k) + (order - k) * kept + k * drawn + _log_expm1((k * k - k) / (2 * sigma**2))
        for k in range(2, order + 1)
    ]


def _fixed_size_terms(sigma: float, rate: float, order: int) -> list[float]:
    """Logarithms of the terms of Wang, Balle and Kasiviswanathan 2019, Theorem 27, for the Gaussian; all positive.

    Term j is binomial(order, j) rate^j times the smaller of 2 exp((j - 1) D_j) and a bound by moments of the ratio
    less one: 4 (exp(D_2) - 1) for j = 2, 4 sqrt(B(2 floor(j/2)) B(2 ceil(j/2))) above, D_j = j / 2 sigma^2.
    """
    terms = []
    for j in range(2, order + 1):
        plain = math.log(2) + (j - 1) * j / (2 * sigma**2)
        if j == 2:
            moments = math.log(4) + _log_expm1(1 / sigma**2)
        elif order <= 256:
            lower, upper = _log_moment(sigma, 2 * (j // 2)), _log_moment(sigma, 2 * ((j + 1) // 2))
            moments = math.log(4) + (lower + upper) / 2
        else:
            moments = plain
        terms.append(_log_binomial(order, j) + j * math.log(rate) + min(plain, moments))
    return terms


@lru_cache(maxsize=65_536)
def _log_moment(sigma: float, power: int) -> float:
    """The logarithm of E[(ratio - 1)^power] for two Gaussians one sensitivity apart; power even, so nothing cancels."""
    # For much noise the integrand is like x^power times the Gaussian, which peaks at sqrt(power) sigmas on both sides.
    beyond = (_SPAN + math.sqrt(power)) * sigma
    nodes, log_weight = _nodes(sigma, -beyond, power + beyond)
    exponent = (2 * nodes - 1) / (2 * sigma**2)
    with np.errstate(divide="ignore"):
        # ln |exp(x) - 1|, for x of any size; minus infinity where the ratio is 1.
        log_distance = np.maximum(exponent, 0) + np.log(-np.expm1(-np.abs(exponent)))
    return _log_sum(log_weight + power * log_distance)


def _poisson_integral(sigma: float, rate: float, order: float) -> float:
    """The divergence by the trapezoid rule over the noise: E[ratio^order - 1 - order (ratio - 1)], nowhere negative."""
    nodes, log_weight = _nodes(sigma, -_SPAN * sigma, order + _SPAN * sigma)
    # The logarithm of 1 - rate + rate exp((2x - 1) / 2 sigma^2).
    log_ratio = np.logaddexp(math.log1p(-rate), math.log(rate) + (2 * nodes - 1) / (2 * sigma**2))
    if order * float(np.max(log_ratio)) > _LARGEST_EXPONENT:
        return max(_log_sum(log_weight + order * log_ratio), 0.0) / (order - 1)
    excess = np.expm1(order * log_ratio) - order * np.expm1(log_ratio)
    return math.log1p(float(np.sum(np.exp(log_weight) * np.maximum(excess, 0)))) / (order - 1)


def _nodes(sigma: float, start: float, end: float) -> tuple[_Numbers, _Numbers]:
    """Values of the noise from start to end, and the logarithms of their weights under Gaussian noise around 0."""
    nodes = np.arange(start, end, sigma / _NODES_PER_SIGMA)
    return nodes, -(nodes**2) / (2 * sigma**2) - math.log(_NODES_PER_SIGMA * math.sqrt(2 * math.pi))


def _log_sum(logarithms: _Numbers) -> float:
    peak = float(np.max(logarithms))
    return peak + math.log(float(np.sum(np.exp(logarithms - peak))))


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _log_expm1(x: float) -> float:
    """ln(exp(x) - 1) for x > 0."""
    return math.log(math.expm1(x)) if x < 30 else x + math.log1p(-math.exp(-x))
