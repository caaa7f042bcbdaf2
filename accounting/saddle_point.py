"""The delta of a fixed sequence of operations at some epsilon: a second path beside dp-accounting's distributions.

With L the privacy loss of the whole, K(s) = ln E[exp(s L)] the sum of the operations' own, and any c > 0,

    delta(epsilon) = E[(1 - exp(epsilon - L))+]
                   = 1/(2 pi i) * integral over s = c + it of exp(K(s) - s epsilon) / (s (s + 1))

since (1 - exp(-y))+ is the inverse Laplace transform of 1/s - 1/(s + 1) = 1 / (s (s + 1)) (Alghamdi, Gomez, Asoodeh,
Calmon, Kosut and Sankar 2023, Theorem 3.1). The line goes through the saddle point, where the integrand is least along
the real axis, so that no digits are lost however small delta is. Nothing here is shared with dp-accounting: no grid of
losses, no convolution.

The line is cut where a loss blurred by a hundredth of the scale on which delta changes, or less, has no more to say.
That blur, not the arithmetic, is what `ACCURACY` is for: a loss with atoms, such as that of Laplace noise, has an
integrand that never fades of itself.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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

ACCURACY = 5e-4
"""Relative error of a delta, of either sign, that window and arithmetic may come to together."""

_REACH, _REACH_OF_SAMPLED = 1000.0, 100.0
"""The window is flat up to nearly that many times the saddle point, then falls: exp(-(t / reach)^8). Delta is thereby
blurred on a thousandth, or a hundredth, of the scale on which it changes; sampled noise has a smooth loss, or nearly
so, for which less of the line will do. Where narrower windows give another delta, it is doubled."""
_NARROWER, _RESOLVED = (0.5, 0.7), 1e-4
"""Shares of the window, and how far, relatively, the deltas that they give may be from that of the whole."""
_WINDOW_END = 1.4
"""In units of the reach: exp(-1.4^8) is 4e-7."""
_FADED = 1e-9
"""Where continuous noise has damped the integrand to this, the line ends before that."""
_BLOCK = 4096
"""Points of the line that are taken together, at most."""
_SETTLED = 1e-3
"""Relative difference to twice the step that shows that the step is fine enough: its own error is far less."""
_ATTEMPTS = 10
"""How often the step may be halved or the window doubled."""
_LARGEST_SADDLE = 1e9
_CUSP, _CUSP_DEPTH = 8.0, 3.0
"""Width of the tilted loss, in units of the inverse of the tilt, that is more than most saddles have; and how much
higher, as a logarithm, the line may run where it is less: that many digits are there to lose."""
_NOTHING = -100.0
"""Logarithm of a delta that is taken for 0: nobody promises one of 1e-43."""
_LONGEST = 400_000
"""Points of the line after which no answer is expected."""
_LARGEST_EFFORT = 300_000_000
"""Points of the line times nodes of the noise, each some three nanoseconds."""
_SPAN = 9.0
"""Standard deviations of the noise beyond which its probability is below that of a rounding error."""
_PANEL_NODES = 20
"""Integrals over the noise are taken panel by panel, each with 20 nodes of Gauss and Legendre."""
_LARGEST_PANELS = 20_000
_NEGLIGIBLE = 36.0
"""Terms smaller than the largest by this factor, as a logarithm, are left out of a sum."""

Line = NDArray[np.complex128]
Numbers = NDArray[np.float64]
Operation = tuple[Event, int]


class OutOfReachError(ArithmeticError):
    """An integral would take too long, or does not settle: there is no second opinion."""


class _Effort:
    """What one answer may still cost."""

    def __init__(self) -> None:
        self._left = _LARGEST_EFFORT

    def spend(self, cells: int) -> None:
        self._left -= cells
        if self._left < 0:
            raise OutOfReachError("an integral over sampled noise takes too long")


def delta_at(operations: Sequence[Operation], epsilon: float) -> float:
    """The delta of all operations together at epsilon, in the worse direction, within `ACCURACY` of itself.

    Args:
        operations: Single operations with their counts. Those without a privacy loss distribution are refused.
        epsilon: At least 0.

    Raises:
        TypeError: If an operation has no distribution: zero-concentrated, discrete Gaussian, fixed-size.
        OutOfReachError: If the integral would take too long.
    """
    claimed = math.fsum(
        count * math.log1p(-float(event.delta)) for event, count in operations if isinstance(event, ClaimEvent)
    )
    sampled = any(isinstance(event, PoissonGaussianEvent | PoissonLaplaceEvent) for event, _ in operations)
    effort = _Effort()
    parts = [_delta(operations, epsilon, removed, effort) for removed in ((True, False) if sampled else (True,))]
    return -math.expm1(claimed) + math.exp(claimed) * max(parts)


def log_moment(event: Event, s: Line, removed: bool = True, effort: _Effort | None = None) -> Line:
    """K(s) of one operation, without a claim's delta.

    Args:
        event: A single operation that has a privacy loss distribution.
        s: Equally spaced points of one vertical line, to the right of 0.
        removed: Whether the loss is that of a data set against the same with one unit less; else the other way round.
            Only sampled operations tell the two apart.
        effort: What may still be spent on the answer that this is for; None for one of its own.

    Raises:
        TypeError: If the operation has none.
        OutOfReachError: If it would take too long.
    """
    match event:
        case GaussianEvent():
            return (s * s + s) * (_ratio(event) ** 2 / 2)
        case LaplaceEvent():
            epsilon = float(pure_epsilon(event))
            return s * epsilon + np.log((s + 1 + s * np.exp(-(2 * s + 1) * epsilon)) / (2 * s + 1))
        case DiscreteLaplaceEvent():
            return _discrete_laplace(event, s)
        case RandomizedResponseEvent():
            other = float(1 - event.probability) / (event.categories - 1)
            epsilon = math.log(float(event.probability) / other)
            rest = (event.categories - 2) * other
            inside = float(event.probability) + other * np.exp(-2 * s * epsilon) + rest * np.exp(-s * epsilon)
            return s * epsilon + np.log(inside)
        case ClaimEvent() | ExponentialEvent():
            epsilon = float(pure_epsilon(event))
            return s * epsilon + np.log((1 + np.exp(-(2 * s + 1) * epsilon)) / (1 + math.exp(-epsilon)))
        case PoissonGaussianEvent() | PoissonLaplaceEvent():
            return _sampled(event, s + 1 if removed else -s, effort or _Effort())
        case _:
            raise TypeError(f"a {event.kind} event has no privacy loss distribution here")


def largest_loss(event: Event, removed: bool = True) -> float:
    """The most that L can be; infinite for Gaussian noise, whose loss has no bound in the direction that adds up."""
    match event:
        case GaussianEvent():
            return math.inf
        case PoissonGaussianEvent():
            rate = float(event.sampling_probability)
            return math.inf if removed or rate == 1 else -math.log1p(-rate)
        case PoissonLaplaceEvent():
            rate, epsilon = float(event.sampling_probability), _ratio(event)
            if removed or rate == 1:
                return float(pure_epsilon(event))
            return -math.log1p(rate * math.expm1(-epsilon))
        case RandomizedResponseEvent():
            return math.log(float(event.probability) * (event.categories - 1) / float(1 - event.probability))
        case ClaimEvent() | LaplaceEvent() | DiscreteLaplaceEvent() | ExponentialEvent():
            return float(pure_epsilon(event))
        case _:
            raise TypeError(f"a {event.kind} event has no privacy loss distribution here")


def _delta(operations: Sequence[Operation], epsilon: float, removed: bool, effort: _Effort) -> float:
    if epsilon >= math.fsum(count * largest_loss(event, removed) for event, count in operations):
        return 0.0
    smooth = [(event, count) for event, count in operations if isinstance(event, GaussianEvent | PoissonGaussianEvent)]
    rough = [(event, count) for event, count in operations if (event, count) not in smooth]
    sampled = any(isinstance(event, PoissonGaussianEvent | PoissonLaplaceEvent) for event, _ in operations)
    integrand = _Integrand(smooth, rough, removed, epsilon, effort)
    saddle, least, width = _saddle(integrand.height)
    if least < _NOTHING:
        return 0.0
    # Seen through the periods of a sum over a grid, the mass far from epsilon must weigh nothing.
    step = 2 * math.pi * min(saddle / (18 + max(-least, 0)), 1 / (14 * width))
    reach = (_REACH_OF_SAMPLED if sampled else _REACH) * saddle
    for _ in range(_ATTEMPTS):
        found, coarse, *blurred = integrand.sum_on_line(saddle, least, step, reach)
        settled, resolved = _SETTLED * abs(found), _RESOLVED * abs(found)
        if abs(coarse - found) <= settled and max(abs(other - found) for other in blurred) <= resolved:
            return max(math.exp(least) * found, 0.0)
        # A loss that is rarely large changes near 0 on a smaller scale than its tail, by which the window was chosen.
        if abs(coarse - found) > settled:
            step /= 2
        else:
            reach *= 2
    raise OutOfReachError(f"the integral for a delta at epsilon {epsilon} does not settle")


@dataclass(frozen=True, slots=True)
class _Integrand:
    """exp(K(s) - s epsilon) / (s (s + 1)).

    Attributes:
        smooth: Operations whose noise damps it away from the axis.
        rough: The others, whose losses have atoms.
        removed: The direction.
        epsilon: Where delta is sought.
        effort: What it may cost to evaluate.
    """

    smooth: Sequence[Operation]
    rough: Sequence[Operation]
    removed: bool
    epsilon: float
    effort: _Effort

    def height(self, at: float) -> float:
        """Its logarithm on the positive real axis: convex."""
        s = np.array([at + 0j])
        moment = self._moment(self.smooth, s) + self._moment(self.rough, s)
        return float(moment[0].real) - at * self.epsilon - math.log(at) - math.log1p(at)

    def sum_on_line(self, saddle: float, least: float, step: float, reach: float) -> list[float]:
        """The integral over exp(least) by the trapezoid rule; with twice the step; and with narrower windows."""
        points = math.ceil(_WINDOW_END * reach / step)
        undamped = float(self._moment(self.smooth, np.array([saddle + 0j]))[0].real)
        sums, first, size = np.zeros(2 + len(_NARROWER)), 0, 64
        while first <= points:
            if first > _LONGEST:
                raise OutOfReachError(f"the integral for a delta at epsilon {self.epsilon} needs {points} points")
            index = np.arange(first, min(first + size, points + 1))
            s: Line = np.asarray(saddle + 1j * (index * step), dtype=np.complex128)
            smooth = self._moment(self.smooth, s)
            window = (index * (step / reach)) ** 8
            moment: Line = smooth + self._moment(self.rough, s)
            values = (np.exp(moment - s * self.epsilon - least - window) / (s * (s + 1))).real
            if first == 0:
                values[0] /= 2
            narrower = [(values * np.exp(window - window / share**8)).sum() for share in _NARROWER]
            sums += [values.sum(), 2 * values[::2].sum(), *narrower]
            if np.all(smooth.real < undamped + math.log(_FADED)):
                break
            first, size = first + size, min(2 * size, _BLOCK)
        return [float(value) for value in sums * (step / math.pi)]

    def _moment(self, operations: Sequence[Operation], s: Line) -> Line:
        total = np.zeros_like(s)
        for event, count in operations:
            total += count * log_moment(event, s, self.removed, self.effort)
        return total


def _saddle(height: Callable[[float], float]) -> tuple[float, float, float]:
    """Where a convex function of positive numbers is least, roughly; its value there, and the root of its curvature."""
    at, factor = 1.0, 4.0
    values = {at: height(at)}

    def value(place: float) -> float:
        if place not in values:
            values[place] = height(place)
        return values[place]

    while factor > 1.02:
        # Down or up by the factor while that helps, then by a smaller one.
        if value(at * factor) < value(at) and at < _LARGEST_SADDLE:
            at *= factor
        elif value(at / factor) < value(at) and at > 1 / _LARGEST_SADDLE:
            at /= factor
        else:
            factor = math.sqrt(factor)
    lowest, width = value(at), _width(height, at, value(at))
    # Where a rare but large loss takes over, the least is in a cusp. Any place will do, so one beside it.
    while width * at > _CUSP and value(0.9 * at) < lowest + _CUSP_DEPTH:
        at *= 0.9
        width = _width(height, at, value(at))
    return at, value(at), width


def _width(height: Callable[[float], float], at: float, value: float) -> float:
    apart = 0.05 * at
    curvature = (height(at + apart) - 2 * value + height(at - apart)) / apart**2
    # The two logarithms alone have a curvature above 1 / at^2.
    return math.sqrt(max(curvature, 1 / at**2))


def _ratio(event: GaussianEvent | PoissonGaussianEvent | PoissonLaplaceEvent) -> float:
    """Sensitivity over sigma or scale."""
    noise = event.scale if isinstance(event, PoissonLaplaceEvent) else event.sigma
    return float(Fraction(event.sensitivity) / Fraction(noise))


def _discrete_laplace(event: DiscreteLaplaceEvent, s: Line) -> Line:
    """Outside both peaks the loss is constant; between them it falls by equal steps, so the sum is geometric."""
    epsilon, distance = float(pure_epsilon(event)), int(event.sensitivity)
    each = epsilon / distance
    ratio = -each * (2 * s + 1)
    outside = (1 + np.exp(-(2 * s + 1) * epsilon)) / (1 + math.exp(-each))
    inside = np.exp(ratio) * np.expm1(ratio * (distance - 1)) / np.expm1(ratio)
    return s * epsilon + np.log(outside + math.tanh(each / 2) * inside)


def _sampled(event: PoissonGaussianEvent | PoissonLaplaceEvent, powers: Line, effort: _Effort) -> Line:
    """ln E[ratio^power] under the noise alone; the ratio is that of its mixture with the shifted noise to itself."""
    ratio, rate = _ratio(event), float(event.sampling_probability)
    logarithms = []
    for at in range(0, len(powers), 64):
        block = powers[at : at + 64]
        if isinstance(event, PoissonGaussianEvent):
            log_weight, loss = _sampled_gaussian(1 / ratio, rate, block)
        else:
            log_weight, loss = _sampled_laplace(ratio, rate, block)
        effort.spend(len(loss) * len(block))
        logarithms.append(_log_sum(log_weight, loss, block))
    return np.concatenate(logarithms)


def _log_ratio(rate: float, exponent: Numbers) -> Numbers:
    """ln(1 - rate + rate exp(exponent))."""
    if rate == 1:
        return exponent
    return np.logaddexp(math.log1p(-rate), math.log(rate) + exponent)


def _sampled_gaussian(sigma: float, rate: float, powers: Line) -> tuple[Numbers, Numbers]:
    """Logarithms of weights, and losses, whose sum of weight times exp(power loss) is the expected value."""
    real = float(powers[0].real)

    def loss(x: Numbers) -> Numbers:
        return _log_ratio(rate, (2 * x - 1) / (2 * sigma**2))

    def log_density(x: Numbers) -> Numbers:
        density: Numbers = -(x**2) / (2 * sigma**2) - math.log(sigma * math.sqrt(2 * math.pi))
        return density

    first, last = -_SPAN * sigma, max(real, 0.0) + _SPAN * sigma
    # A negative power moves the integrand to the left, at most as far as the power is.
    while first > real - _SPAN * sigma:
        probed = np.linspace(first, last, 100)
        size = log_density(probed) + real * loss(probed)
        if size[0] < np.max(size) - _NEGLIGIBLE:
            break
        first = max(2 * first, real - _SPAN * sigma)
    # The loss bends within sigma squared; as a complex function it is singular at pi times that.
    nodes, log_weight = _panels(first, last, min(sigma, 2 * sigma**2), loss, log_density, powers)
    return log_weight, loss(nodes)


def _sampled_laplace(epsilon: float, rate: float, powers: Line) -> tuple[Numbers, Numbers]:
    """The same for Laplace noise: atoms of the loss outside both peaks, and between them an integral."""

    def loss(x: Numbers) -> Numbers:
        return _log_ratio(rate, epsilon * (2 * x - 1))

    def log_density(x: Numbers) -> Numbers:
        density: Numbers = math.log(epsilon / 2) - epsilon * x
        return density

    nodes, log_weight = _panels(0.0, 1.0, min(1.0, 1 / epsilon), loss, log_density, powers)
    outside = np.array([math.log(0.5), math.log(0.5) - epsilon])
    ends = loss(np.array([0.0, 1.0]))
    return np.concatenate([outside, log_weight]), np.concatenate([ends, loss(nodes)])


def _panels(
    first: float,
    last: float,
    widest: float,
    loss: Callable[[Numbers], Numbers],
    log_density: Callable[[Numbers], Numbers],
    powers: Line,
) -> tuple[Numbers, Numbers]:
    """Nodes, where they count, and logarithms of their weights.

    No panel is wider than that, nor turns exp(i t loss) by more than ten radians.
    """
    places = np.linspace(first, last, 2 + math.ceil(8 * (last - first) / widest))
    losses = loss(places)
    size = log_density(places) + float(powers[0].real) * losses
    counted = np.flatnonzero(size > np.max(size) - _NEGLIGIBLE)
    counted = np.arange(max(counted[0] - 1, 0), min(counted[-1] + 2, len(places)))
    places, losses = places[counted], losses[counted]
    turning = float(np.max(np.abs(powers.imag))) / 10
    measure = (places - places[0]) / widest + turning * (losses - losses[0])
    panels = math.ceil(measure[-1])
    if panels > _LARGEST_PANELS:
        raise OutOfReachError(f"an integral over sampled noise needs {panels} panels")
    edges = np.interp(np.linspace(0, measure[-1], panels + 1), measure, places)
    inner, weights = _gauss_legendre()
    half = np.diff(edges)[:, None] / 2
    nodes = (edges[:-1, None] + half * (inner + 1)).ravel()
    return nodes, np.log(half * weights).ravel() + log_density(nodes)


@lru_cache(maxsize=1)
def _gauss_legendre() -> tuple[Numbers, Numbers]:
    inner, weights = np.polynomial.legendre.leggauss(_PANEL_NODES)
    return inner, weights


def _log_sum(log_weight: Numbers, loss: Numbers, powers: Line) -> Line:
    """ln of the sum of weight times exp(power loss), for equally spaced powers of the same real part."""
    exponent = log_weight + float(powers[0].real) * loss
    largest = float(np.max(exponent))
    counted = exponent > largest - _NEGLIGIBLE
    loss = loss[counted]
    terms = np.exp(exponent[counted] - largest + 1j * (powers[0].imag * loss))
    turn = np.exp(1j * ((powers[-1].imag - powers[0].imag) / max(len(powers) - 1, 1) * loss))
    sums: Line = np.empty(len(powers), dtype=np.complex128)
    for at in range(len(powers)):
        sums[at] = terms.sum()
        terms *= turn
    sums = np.log(sums)
    return sums + largest
