"""What (epsilon, delta)-private operations cost together, when all of them are fixed in advance.

Kairouz, Oh and Viswanathan 2015 ("The composition theorem for differential privacy"): the closed form for operations
unlike each other (Theorem 3.5), and what is best possible for k alike (Theorem 3.3). Nothing here may be used where an
operation's epsilon depends on what came before: that is what `accounting.filters` is for.
"""

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction

from accounting.conversion import PricingDisagreementError
from accounting.values import MAX_PLACES, ZERO, InvalidValueError, PrivacyLoss, checked_delta, round_down, round_up

MAX_OPTIMAL_COUNT = 500
"""How many operations alike dp-accounting composes best possibly: its sum takes quadratic time."""
MAX_OPTIMAL_LOGARITHM = 700
"""ln((1 + exp(epsilon))^count), above which its sum leaves the doubles."""

_WIDE = Context(prec=60)
_UP, _DOWN = Context(prec=60, rounding=ROUND_CEILING), Context(prec=60, rounding=ROUND_FLOOR)
_SLACK = Decimal("1e-40")
"""Relative; more than the rounding of every step of the closed form."""
_AGREEMENT = 1e-9

Losses = Sequence[tuple[PrivacyLoss, int]]
"""What single operations cost, each with its count."""


def advanced_composition(losses: Losses, slack: Decimal) -> PrivacyLoss:
    """Kairouz, Oh and Viswanathan 2015, Theorem 3.5: the least of three epsilons, rounded up, and the delta they need.

    With S = sum of epsilon^2 and E = sum of epsilon (exp(epsilon) - 1) / (exp(epsilon) + 1), epsilon is the least of
    the plain sum, E + sqrt(2 S ln(e + sqrt(S) / slack)) and E + sqrt(2 S ln(1 / slack)); delta is
    1 - (1 - slack) * product of (1 - delta_i), rounded up to `values.MAX_PLACES`.

    Args:
        losses: At least one.
        slack: In [0, 1). With 0 only the plain sum remains.

    Raises:
        InvalidValueError: If the slack is out of range.
    """
    checked_delta(slack, "slack")
    plain = sum((Fraction(loss.epsilon) * count for loss, count in losses), Fraction(0))
    kept = _UP.subtract(1, _DOWN.multiply(_DOWN.subtract(1, slack), kept_of(losses)))
    delta = round_up(Fraction(kept), MAX_PLACES)
    if slack == 0:
        return PrivacyLoss(round_up(plain), delta)
    squares = expected = ZERO
    for loss, count in losses:
        squares = _WIDE.fma(_WIDE.multiply(loss.epsilon, loss.epsilon), Decimal(count), squares)
        expected = _WIDE.fma(_WIDE.multiply(loss.epsilon, _tanh_half(loss.epsilon)), Decimal(count), expected)
    ratio = _WIDE.divide(_WIDE.sqrt(squares), slack)
    closed = [
        _WIDE.add(expected, _WIDE.sqrt(_WIDE.multiply(_WIDE.multiply(2, squares), logarithm)))
        for logarithm in (_WIDE.ln(_WIDE.add(_WIDE.exp(Decimal(1)), ratio)), _WIDE.minus(_WIDE.ln(slack)))
    ]
    widened = [Fraction(_WIDE.multiply(bound, _WIDE.add(1, _SLACK))) for bound in closed]
    return PrivacyLoss(round_up(min(plain, *widened)), delta)


def slack_within(losses: Losses, delta: Decimal) -> Decimal:
    """The largest slack with which `advanced_composition` of those losses stays within delta; 0 if there is none."""
    share = _DOWN.subtract(1, _UP.divide(_UP.subtract(1, delta), kept_of(losses)))
    # One place less, as the delta that is composed with it is rounded up.
    return max(_DOWN.subtract(round_down(Fraction(share), MAX_PLACES), Decimal(10) ** -MAX_PLACES), ZERO)


def kept_of(losses: Losses) -> Decimal:
    """The product of 1 - delta over all operations, rounded down, to 60 digits."""
    kept = Decimal(1)
    for loss, count in losses:
        if loss.delta > 0:
            kept = _DOWN.multiply(kept, _power(_DOWN.subtract(1, loss.delta), count))
    return kept


def optimal_composition(loss: PrivacyLoss, count: int, delta: Decimal) -> Decimal:
    """Kairouz, Oh and Viswanathan 2015, Theorem 3.3: the least (count - 2 i) epsilon that delta covers, rounded up.

    Two accountants: dp-accounting's sum, and the same written with binomial distributions.

    Args:
        loss: Of each operation.
        count: From 1.
        delta: In (0, 1), for all together.

    Raises:
        InvalidValueError: If the deltas alone come to more, or the sum would take too long.
        PricingDisagreementError: If the two disagree.
    """
    from dp_accounting.pld.accountant import advanced_composition as theirs
    from dp_accounting.pld.common import DifferentialPrivacyParameters

    logarithm = count * (float(loss.epsilon) + math.log1p(math.exp(-float(loss.epsilon))))
    if count > MAX_OPTIMAL_COUNT or logarithm > MAX_OPTIMAL_LOGARITHM:
        reason = f"has more than {MAX_OPTIMAL_COUNT} operations, or an epsilon near {MAX_OPTIMAL_LOGARITHM} in all"
        raise InvalidValueError("event", reason)
    target = float(delta)
    found = theirs(DifferentialPrivacyParameters(float(loss.epsilon), float(loss.delta)), count, target)
    if found is None:
        raise InvalidValueError("delta", "is less than the operations' own deltas come to")
    pairs = round(found / float(loss.epsilon))
    steps = (count - pairs) // 2
    holds = optimal_delta(loss, count, steps) <= target * (1 + _AGREEMENT)
    needed = steps + 1 > count // 2 or optimal_delta(loss, count, steps + 1) >= target * (1 - _AGREEMENT)
    if not (math.isfinite(found) and holds and needed):
        raise PricingDisagreementError(f"{count} times {loss} at delta {delta} was priced at an epsilon of {found}")
    return round_up(Fraction(loss.epsilon) * (count - 2 * steps))


def optimal_delta(loss: PrivacyLoss, count: int, steps: int) -> float:
    """The delta of that many operations at epsilon (count - 2 steps): Theorem 3.3 by binomial distributions."""
    from scipy.special import bdtr

    epsilon = float(loss.epsilon)
    excess = 0.0
    if steps > 0:
        # Fewer than `steps` of the answers speak for the neighbour.
        here = float(bdtr(steps - 1, count, 1 / (1 + math.exp(epsilon))))
        there = float(bdtr(steps - 1, count, 1 / (1 + math.exp(-epsilon))))
        excess = here - math.exp((count - 2 * steps) * epsilon) * there
    if excess >= 1:
        return 1.0
    return -math.expm1(count * math.log1p(-float(loss.delta)) + math.log1p(-excess))


def _tanh_half(epsilon: Decimal) -> Decimal:
    """(exp(epsilon) - 1) / (exp(epsilon) + 1), rounded up."""
    falling = _WIDE.exp(_WIDE.minus(epsilon))
    return _UP.divide(_UP.subtract(1, falling), _DOWN.add(1, falling))


def _power(base: Decimal, count: int) -> Decimal:
    """base^count for a base in (0, 1), rounded down: by squaring, as each rounding goes down."""
    result = Decimal(1)
    while count:
        if count & 1:
            result = _DOWN.multiply(result, base)
        base, count = _DOWN.multiply(base, base), count >> 1
    return result
