"""Bounds that hold logarithms and the like, decided with certainty.

Real numbers are enclosed in balls (`flint.arb`, Johansson 2017): a comparison of balls is true only where it is true of
every point in them. Too little precision can only refuse what is true, never accept what is false.
"""

from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import flint

_BITS = 512
"""Working precision, except where sums cancel."""
LARGEST_ORDER = 1024
"""The largest whole Renyi order at which a series is summed."""
_LARGEST_WITH_MOMENTS = 256
"""The largest order at which fixed-size sampling is bounded by moments too."""
_MULTIPLIERS = Fraction(1, 100), Fraction(10**8)
"""Noise multipliers (sigma / sensitivity) for which a series is summed."""


@lru_cache(maxsize=4096)
def renyi_is_converted(renyi: Fraction, order: Fraction, delta: Fraction, epsilon: Fraction) -> bool:
    """Whether epsilon >= renyi + ln(1 - 1/order) - (ln delta + ln order) / (order - 1).

    Canonne, Kamath and Steinke 2020, Proposition 12 (v4). Every order above 1 gives a valid bound.
    """
    if order <= 1 or not 0 < delta < 1:
        return False
    with flint.ctx.workprec(_BITS):
        gain = _ball((order - 1) / order).log()
        needed = _ball(renyi) + gain - (_ball(delta).log() + _ball(order).log()) / _ball(order - 1)
        return bool(_ball(epsilon) >= needed)


@lru_cache(maxsize=4096)
def mu_is_converted(mu_squared: Fraction, delta: Fraction, epsilon: Fraction) -> bool:
    """Whether delta >= Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu).

    Balle and Wang 2018, Theorem 8; Dong, Roth and Su 2022, Corollary 2.13.
    """
    if mu_squared == 0:
        return True
    with flint.ctx.workprec(_BITS):
        mu, level = _ball(mu_squared).sqrt(), _ball(epsilon)
        return bool(_ball(delta) >= _phi(mu / 2 - level / mu) - level.exp() * _phi(-mu / 2 - level / mu))


def mu_covers_pure(mu_squared: Fraction, epsilon: Fraction) -> bool:
    """Whether Phi(-mu/2) <= 1 / (1 + exp(epsilon)): the Gaussian's trade-off lies below that of any such mechanism."""
    if epsilon == 0:
        return True
    with flint.ctx.workprec(_BITS):
        return bool(_phi(-_ball(mu_squared).sqrt() / 2) <= 1 / (1 + _ball(epsilon).exp()))


def covers_log_odds(epsilon: Fraction, odds: Fraction) -> bool:
    """Whether epsilon >= ln(odds)."""
    with flint.ctx.workprec(_BITS):
        return bool(_ball(epsilon) >= _ball(odds).log())


def covers_amplified(epsilon: Fraction, base: Fraction, rate: Fraction) -> bool:
    """Whether epsilon >= ln(1 + rate (exp(base) - 1)): Li, Qardaji and Su 2012, Theorem 1."""
    if epsilon >= base:
        return True
    with flint.ctx.workprec(_BITS):
        return bool(_ball(epsilon) >= (1 + _ball(rate) * _ball(base).expm1()).log())


def covers_pure(renyi: Fraction, order: Fraction, epsilon: Fraction) -> bool:
    """Whether renyi >= ln(cosh((order - 1/2) epsilon) / cosh(epsilon / 2)) / (order - 1).

    The divergence of randomized response, from which all mechanisms of that epsilon are obtained (Kairouz, Oh and
    Viswanathan 2015).
    """
    if renyi >= epsilon:
        return True
    with flint.ctx.workprec(_BITS):
        high, low = _ball((order - Fraction(1, 2)) * epsilon).cosh(), _ball(epsilon / 2).cosh()
        return bool(_ball(renyi) >= (high / low).log() / _ball(order - 1))


def covers_laplace(renyi: Fraction, order: Fraction, epsilon: Fraction) -> bool:
    """Whether renyi covers Laplace noise of sensitivity / scale = epsilon: Mironov 2017, Proposition 6."""
    if renyi >= epsilon:
        return True
    with flint.ctx.workprec(_BITS):
        less_one, twice = _ball(order - 1), _ball(2 * order - 1)
        near = _ball(order) / twice * _ball((order - 1) * epsilon).exp()
        far = less_one / twice * _ball(-order * epsilon).exp()
        return bool(_ball(renyi) >= (near + far).log() / less_one)


def covers_discrete_laplace(renyi: Fraction, order: Fraction, epsilon: Fraction, shift: Fraction) -> bool:
    """Whether renyi covers noise with probability proportional to exp(-|x| epsilon / shift) on whole numbers.

    Shifted by a whole number, the sum of P^order Q^(1 - order) is geometric: on either side of both peaks with the
    ratio r = exp(-epsilon / shift), and between them with the ratio r^(2 order - 1).
    """
    if renyi >= epsilon:
        return True
    with flint.ctx.workprec(_BITS):
        r = _ball(-epsilon / shift).exp()
        high, low = _ball((order - 1) * epsilon).exp(), _ball(-order * epsilon).exp()
        step = -(2 * order - 1) * epsilon / shift
        inside = _ball(step).exp() * _ball(step * (shift - 1)).expm1() / _ball(step).expm1()
        total = (high + low) / (1 + r) + (1 - r) / (1 + r) * high * inside
        return bool(_ball(renyi) >= total.log() / _ball(order - 1))


def series_terms(order: Fraction, moments: bool) -> int:
    """About how many terms the series below take, moments included. Each costs some microseconds."""
    if not moments or order > _LARGEST_WITH_MOMENTS:
        return int(order)
    return int(order) + int(order) ** 2 // 8


def in_series_range(order: Fraction, multiplier: Fraction) -> bool:
    """Whether the series below are summed for these."""
    whole = order.denominator == 1 and 2 <= order <= LARGEST_ORDER
    return whole and _MULTIPLIERS[0] <= multiplier <= _MULTIPLIERS[1]


def covers(amount: Fraction, needed: flint.arb) -> bool:
    """Whether the amount is at least what is needed."""
    with flint.ctx.workprec(_BITS):
        return bool(_ball(amount) >= needed)


@lru_cache(maxsize=4096)
def poisson_gaussian(order: int, multiplier: Fraction, rate: Fraction) -> flint.arb:
    """The Renyi divergence of a Poisson-sampled Gaussian: Mironov, Talwar and Zhang 2019, section 3.3.

    exp((order - 1) divergence) is the sum over k of
    binomial(order, k) (1 - rate)^(order - k) rate^k exp((k^2 - k) / 2 sigma^2).
    """
    with flint.ctx.workprec(_BITS):
        growth, drawn, kept = _ball(1 / (2 * multiplier**2)), _ball(rate), _ball(1 - rate)
        total = flint.arb(0)
        for k in range(order + 1):
            chance = _binomial(order, k) * kept ** (order - k) * drawn**k
            total += chance * (growth * (k * k - k)).exp()
        return total.log() / (order - 1)


@lru_cache(maxsize=4096)
def fixed_size_gaussian(order: int, multiplier: Fraction, rate: Fraction) -> flint.arb:
    """A bound on that of a Gaussian on a sample without replacement: Wang, Balle and Kasiviswanathan 2019, Theorem 27.

    exp((order - 1) divergence) = 1 + sum over j >= 2 of binomial(order, j) rate^j t_j, where t_j is the smaller of
    2 exp((j - 1) j / 2 sigma^2) and 4 sqrt(B(2 floor(j/2)) B(2 ceil(j/2))), with B(n) = E[(ratio - 1)^n]. As
    B(2) = exp(1 / sigma^2) - 1, the second is 4 (exp(1 / sigma^2) - 1) for j = 2.
    """
    with flint.ctx.workprec(_BITS):
        growth = _ball(1 / (2 * multiplier**2))
        if rate == 1:
            return order * growth
        moments = _moments(multiplier, order) if order <= _LARGEST_WITH_MOMENTS else {}
        total = flint.arb(1)
        for j in range(2, order + 1):
            term = 2 * (growth * (j * j - j)).exp()
            if moments:
                closer = 4 * (moments[2 * (j // 2)] * moments[2 * ((j + 1) // 2)]).sqrt()
                # Both are valid; a ball that is too wide to compare, or no number, is passed over.
                term = closer if closer < term else term
            total += _binomial(order, j) * _ball(rate) ** j * term
        return total.log() / (order - 1)


def _moments(multiplier: Fraction, order: int) -> dict[int, flint.arb]:
    """E[(ratio - 1)^n] of two Gaussians one sensitivity apart, for even n up to order + 1.

    The n-th difference of exp(k (k - 1) / 2 sigma^2) at k = 0. It is about sigma^-n where its terms are about 2^n, so
    the sum loses that many bits of its precision.
    """
    bits = _BITS + 4 * order + 2 * order * max(0, (multiplier.numerator // multiplier.denominator).bit_length())
    with flint.ctx.workprec(bits):
        growth = _ball(1 / (2 * multiplier**2))
        row = [(growth * (k * k - k)).exp() for k in range(order + 2)]
        found = {}
        for n in range(1, order + 2):
            row = [later - earlier for earlier, later in pairwise(row)]
            if n % 2 == 0:
                found[n] = row[0]
        return found


def _phi(x: flint.arb) -> flint.arb:
    """The normal distribution function."""
    return (-x / flint.arb(2).sqrt()).erfc() / 2


def _binomial(n: int, k: int) -> flint.arb:
    return flint.arb.bin_uiui(n, k)


def _ball(value: Fraction) -> flint.arb:
    return flint.arb(flint.fmpq(value.numerator, value.denominator))
