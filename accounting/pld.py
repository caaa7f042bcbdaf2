"""The price of a fixed sequence of operations by the distribution of its privacy loss, confirmed by a second path.

dp-accounting puts the loss of each operation on a grid, rounded so that delta is never too small (Doroshenko, Ghazi,
Kamath, Kumar and Manurangsi 2022), and composes by convolution. `accounting.saddle_point` knows no grid: where it finds
a larger delta than was promised, the plan is refused. Valid for a plan whose parameters are fixed in advance, and not
as a filter: what comes next may not depend on what came before.

Laplace noise on several coordinates counts as that on one with the same total sensitivity, as Gaussian noise does.
No distribution is known here of what is proven in rho alone (zero-concentrated, discrete Gaussian on vectors) or of
samples of a fixed size. Selection by an exponential mechanism counts as any purely private operation.
"""

import math
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from accounting.conversion import PricingDisagreementError
from accounting.events import (
    ClaimEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    RandomizedResponseEvent,
)
from accounting.pure import pure_epsilon
from accounting.saddle_point import ACCURACY, Numbers, Operation, OutOfReachError, delta_at, log_moment
from accounting.values import InvalidValueError, decimal_text, round_up

if TYPE_CHECKING:
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

INTERVAL = Decimal("0.0001")
"""dp-accounting's own grid of losses. It is wider or narrower, by tens, where the losses are."""
WIDEST_INTERVAL, NARROWEST_INTERVAL = Decimal("0.01"), Decimal("0.00000001")
FINE, COARSE = 0.05, 0.5
"""Shares by which the grid may widen the variance of the whole loss: the first where there is room, the second at most.
An epsilon grows by about half of that."""
MAX_POINTS = 2_500_000
"""Grid points of the work that a price takes, each about a microsecond and a hundred bytes."""
MAX_WIDTH = 600
"""Nats that the loss of one operation may be spread over: more promises nothing, and leaves the doubles."""
MAX_DISTINCT = 64
"""Operations unlike each other."""
MAX_DISCRETE_SENSITIVITY = 20_000
"""Of discrete Laplace noise, whose distribution is built value by value."""
RESOLVED_DELTA = 1e-9
"""The convolution works in doubles: a delta below this may come out anyhow, so a disagreement there only means that
there is no price by this theorem."""
UNDERSTATED, OVERSTATED = 4 * ACCURACY, 0.25
"""What the second path may find: a delta larger by the first share than was promised, which is more than both paths'
errors together; or a true epsilon that is smaller than the price by the second, which is more than the grid costs."""

_SAMPLED = PoissonGaussianEvent | PoissonLaplaceEvent
_SUPPORTED = (
    GaussianEvent
    | LaplaceEvent
    | DiscreteLaplaceEvent
    | ExponentialEvent
    | RandomizedResponseEvent
    | ClaimEvent
    | PoissonGaussianEvent
    | PoissonLaplaceEvent
)
_OF_FEW_LOSSES = ClaimEvent | ExponentialEvent | RandomizedResponseEvent | DiscreteLaplaceEvent
_AT_ONCE = 1_000
"""How often a table of losses is composed with itself in one step."""
_TAIL = 1e-15
"""Probability that dp-accounting cuts from each composition."""
_CUT_NOISE = 20.0
"""Width of the loss of Gaussian noise in units of mu: dp-accounting keeps all but exp(-50) of it."""
_LEAST_VARIANCE = 1e-16
"""Of a loss: below, doubles do not tell it from 0."""
_TILTS = np.geomspace(1e-3, 1e3, 25)
_SINGLE_SAMPLED, _SINGLE, _COMPOSED = 4.0, 2.5, 0.5
"""Microseconds for a point: to build, on both sides of a sample or otherwise; to compose, on each side."""
_ROUNDING = Fraction(1, 10**9)
"""More than the doubles of the whole cost."""


def pld_epsilon(operations: Sequence[Operation], delta: Decimal, share: int = 1) -> Decimal:
    """The epsilon of all operations together at delta, rounded up. Their order and grouping change nothing.

    Args:
        operations: Single operations with their counts.
        delta: In (0, 1).
        share: The bounds are for one price; this many prices share them.

    Raises:
        InvalidValueError: If there is no distribution, its price would take too long, or the grid would make it far
            too dear; the reason says which.
        PricingDisagreementError: If dp-accounting's price does not hold on the second path.
    """
    merged = _merged(operations, MAX_DISTINCT // share)
    interval = _interval(merged, MAX_POINTS // share)
    target, noise = _below(delta), _convolution_noise(merged)
    try:
        composed = _composed(merged, float(interval))
        found = float(composed.get_epsilon_for_delta(target - noise if noise < target / 2 else target))
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, InvalidValueError):
            raise
        raise InvalidValueError("event", "has a distribution of losses that cannot be computed in doubles") from error
    if found == math.inf:
        raise InvalidValueError("delta", "is smaller than what a distribution on a grid can resolve")
    if not (math.isfinite(found) and found >= 0):
        raise PricingDisagreementError(f"a privacy loss distribution was priced at an epsilon of {found}")
    epsilon = round_up(Fraction(found) * (1 + _ROUNDING))
    _confirm(merged, float(epsilon), target, float(interval))
    return epsilon


def _confirm(operations: Sequence[Operation], epsilon: float, delta: float, interval: float) -> None:
    """Asks the second path; see `confirm`."""
    try:
        confirm(operations, epsilon, delta, interval)
    except OutOfReachError:
        raise InvalidValueError("event", "has a loss that the second accountant cannot follow") from None
    except PricingDisagreementError:
        if delta >= RESOLVED_DELTA:
            raise
        raise InvalidValueError("delta", f"is below {RESOLVED_DELTA}, where the grid's rounding shows") from None


def confirm(operations: Sequence[Operation], epsilon: float, delta: float, interval: float = float(INTERVAL)) -> None:
    """Passes if the second path finds delta at epsilon, and epsilon not far above what is needed.

    Args:
        operations: Single operations with their counts.
        epsilon: The price.
        delta: The target, in (0, 1).
        interval: The grid on which the price was found.

    Raises:
        PricingDisagreementError: If the second path finds a larger delta.
        InvalidValueError: If the price is far too dear.
        OutOfReachError: If the second path does not get there.
    """
    second = delta_at(operations, epsilon)
    if not second <= delta * (1 + UNDERSTATED):
        raise PricingDisagreementError(f"an epsilon of {epsilon} has a delta of {second}, not {delta}")
    much_less = epsilon * (1 - OVERSTATED) - 100 * interval
    if much_less > 0 and delta_at(operations, much_less) < delta * (1 - UNDERSTATED):
        # A price that is merely too dear is no disagreement; another theorem will have a better one.
        raise InvalidValueError("event", f"has losses too fine for the grid: {epsilon:.6g} is far above its epsilon")


def _merged(operations: Sequence[Operation], most: int) -> list[Operation]:
    """Equal operations together, in an order of their own, so that neither order nor grouping changes a digit."""
    counts: Counter[Event] = Counter()
    for event, count in operations:
        if not isinstance(event, _SUPPORTED):
            raise InvalidValueError("event", f"has no privacy loss distribution: it is a {event.kind} event")
        counts[event] += count
    if len(counts) > most:
        reason = f"is made of {len(counts)} operations unlike each other: distributions of {most} are composed"
        raise InvalidValueError("event", reason)
    return sorted(counts.items(), key=lambda item: repr(item[0]))


def _interval(operations: Sequence[Operation], points: int) -> Decimal:
    """The grid: dp-accounting's own, narrower where a loss is narrow, wider where the work would be too much."""
    widths = [(_width(event), count) for event, count in _units(operations)]
    if max(width for width, _ in widths) > MAX_WIDTH:
        raise InvalidValueError("event", f"has a loss spread over more than {MAX_WIDTH} nats: use more noise")
    interval, work, widening = INTERVAL, _work(operations), _widening(_units(operations))
    while widening * float(interval) > FINE and interval > NARROWEST_INTERVAL:
        interval /= 10
    while work > points * float(interval):
        interval *= 10
        if interval > WIDEST_INTERVAL:
            reason = f"has too wide a distribution of losses: more than {points} points of {WIDEST_INTERVAL}"
            raise InvalidValueError("event", reason)
    if widening * float(interval) > COARSE:
        reason = f"has losses too fine for the grid: {points} points of {decimal_text(interval)} are too coarse"
        raise InvalidValueError("event", reason)
    return interval


def _widening(operations: Sequence[Operation]) -> float:
    """By how much, relatively and for each unit of the interval, a grid widens the variance of the whole loss.

    Rounding a loss both ways to the grid, so that its mean stays, adds at most the interval times its size to its
    variance. K(1) stands for the variance, which it is for Gaussian noise and nearly is for small losses.
    """
    added = total = 0.0
    for event, count in operations:
        variance = max(float(log_moment(event, np.array([1 + 0j]))[0].real), _LEAST_VARIANCE)
        added, total = added + count * math.sqrt(variance), total + count * variance
    return added / total


def _work(operations: Sequence[Operation]) -> float:
    """Microseconds times the interval: how long building and composing takes, predicted from above."""
    units = _units(operations)
    total = sum(_width(event) * (_SINGLE_SAMPLED if isinstance(event, _SAMPLED) else _SINGLE) for event, _ in units)
    for removed in (True, False) if any(isinstance(event, _SAMPLED) for event, _ in units) else (True,):
        moments, so_far = np.zeros(len(_TILTS)), 0.0
        for event, count in units:
            once = _width(event)
            own = once if count == 1 else _composed_width(event, count, once, removed)
            moments += count * _moments(event, _TILTS, removed)
            total += _COMPOSED * (own + so_far + own)
            # What is left after both tails are cut.
            so_far = min(so_far + own, _spread(moments, _TILTS))
    return total


def _composed_width(event: Event, count: int, width: float, removed: bool) -> float:
    """What dp-accounting keeps of many: it bounds the tails by moments at twenty tilts."""
    tilts = np.arange(1, 21) / width
    kept = _spread(count * _moments(event, tilts, removed), tilts)
    return min(count * width, kept + 2 * width)


def _spread(moments: Numbers, tilts: Numbers) -> float:
    """Between the tails. The lower one is lighter, and below -36 there is nothing at all: P(L < -x) <= exp(-x)."""
    upper = float(np.min((moments - math.log(_TAIL)) / tilts))
    return upper + min(upper, 36.0)


def _moments(event: Event, tilts: Numbers, removed: bool) -> Numbers:
    return np.array([log_moment(event, np.array([tilt + 0j]), removed)[0].real for tilt in tilts])


def _units(operations: Sequence[Operation]) -> list[Operation]:
    """The operations with all Gaussians as one: their squared ratios of sensitivity to sigma add up, exactly."""
    square = sum(
        (count * (Fraction(event.sensitivity) / Fraction(event.sigma)) ** 2 for event, count in operations
         if isinstance(event, GaussianEvent)), Fraction(0),
    )  # fmt: skip
    others: list[Operation] = [(event, count) for event, count in operations if not isinstance(event, GaussianEvent)]
    if square == 0:
        return others
    mu = round_up(Fraction(math.sqrt(square) * (1 + 1e-15)), places=17)
    return [*others, (GaussianEvent(Decimal(1), mu), 1)]


def _width(event: Event) -> float:
    """How many nats the loss of one operation is spread over on dp-accounting's grid."""
    match event:
        case GaussianEvent():
            return _CUT_NOISE * float(event.sensitivity)
        case PoissonGaussianEvent():
            sigma, rate = float(Fraction(event.sigma) / Fraction(event.sensitivity)), float(event.sampling_probability)
            most = (1 + _CUT_NOISE * sigma) / (2 * sigma**2)
            kept = -math.log1p(-rate) if rate < 1 else most
            return (
                min(kept, most) + float(np.logaddexp(math.log1p(-rate), math.log(rate) + most))
                if rate < 1
                else 2 * most
            )
        case _:
            return 2 * float(pure_epsilon(event))


def _convolution_noise(operations: Sequence[Operation]) -> float:
    """What a delta may be wrong by, as the Fourier transforms of doubles are raised to the power of the count."""
    return 1e-12 * max(1.0, max(count for _, count in operations) / 10_000)


def _composed(operations: Sequence[Operation], interval: float) -> "PrivacyLossDistribution":
    units = _units(operations)
    found = None
    for event, count in units:
        many = _repeated(_distribution(event, interval), count, few_points=_few_points(event, interval))
        found = many if found is None else found.compose(many)
    assert found is not None
    return found


def _repeated(once: "PrivacyLossDistribution", count: int, few_points: bool) -> "PrivacyLossDistribution":
    """So many of one. A distribution of few points is composed in two steps: dp-accounting computes points^count."""
    if not few_points or count <= _AT_ONCE:
        return once.self_compose(count) if count > 1 else once
    times, rest = divmod(count, _AT_ONCE)
    many = once.self_compose(_AT_ONCE, _TAIL / times)
    if times > 1:
        many = many.self_compose(times)
    return many.compose(once.self_compose(rest)) if rest else many


def _few_points(event: Event, interval: float) -> bool:
    """Whether dp-accounting may keep the losses of one operation as a table, which it does up to a thousand."""
    return isinstance(event, _OF_FEW_LOSSES) or _width(event) <= 1_100 * interval


# Most of a price's work, and the same at every delta and for every number of steps. At most ten megabytes each.
@lru_cache(maxsize=4)
def _distribution(event: Event, interval: float) -> "PrivacyLossDistribution":
    from dp_accounting.pld import privacy_loss_distribution as pld
    from dp_accounting.pld.common import DifferentialPrivacyParameters

    match event:
        case GaussianEvent():
            return pld.from_gaussian_mechanism(1 / float(event.sensitivity), value_discretization_interval=interval)
        case PoissonGaussianEvent():
            return pld.from_gaussian_mechanism(
                float(Fraction(event.sigma) / Fraction(event.sensitivity)),
                sampling_prob=float(event.sampling_probability),
                value_discretization_interval=interval,
            )
        case LaplaceEvent():
            scale = float(Fraction(event.scale) / Fraction(event.sensitivity))
            return pld.from_laplace_mechanism(scale, value_discretization_interval=interval)
        case PoissonLaplaceEvent():
            return pld.from_laplace_mechanism(
                float(Fraction(event.scale) / Fraction(event.sensitivity)),
                sampling_prob=float(event.sampling_probability),
                value_discretization_interval=interval,
            )
        case DiscreteLaplaceEvent():
            if event.sensitivity > MAX_DISCRETE_SENSITIVITY:
                raise InvalidValueError("sensitivity", f"is above {MAX_DISCRETE_SENSITIVITY}: too much to enumerate")
            return pld.from_discrete_laplace_mechanism(
                float(1 / Fraction(event.scale)),
                int(event.sensitivity),
                value_discretization_interval=interval,
                use_connect_dots=True,
            )
        case RandomizedResponseEvent() if event.categories > 2:
            anything = float(Fraction(1 - event.probability) * event.categories / (event.categories - 1))
            return pld.from_randomized_response(anything, event.categories, value_discretization_interval=interval)
        case _:
            loss = DifferentialPrivacyParameters(
                float(pure_epsilon(event)), float(event.delta) if isinstance(event, ClaimEvent) else 0.0
            )
            return pld.from_privacy_parameters(loss, value_discretization_interval=interval)


def _below(value: Decimal) -> float:
    nearest = float(value)
    return nearest if Fraction(nearest) <= Fraction(value) else math.nextafter(nearest, 0)
