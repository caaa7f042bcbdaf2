"""What a job would have cost had it been planned otherwise: other noise, other batches, more or fewer steps.

Each number is a price of the very event that would be charged, by the accountants that price charges; no rule of thumb
stands behind any of them. An event is changed at its leaves, so a plan that is composed of several is changed in all.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction

from accounting.calibration import least_noise
from accounting.charges import PricingDisagreementError
from accounting.events import (
    ComposedEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    FixedSizeGaussianEvent,
    GaussianEvent,
    LaplaceEvent,
    ParallelEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    SelfComposedEvent,
    leaves,
    parts_of,
)
from accounting.plans import price_plan
from accounting.values import MAX_PLACES, InvalidValueError

_PARAMETER = Context(prec=15, rounding=ROUND_CEILING)
"""Parameters of a variation keep 15 digits."""
_DELTA_FACTORS = (Decimal(100), Decimal(10), Decimal(1), Decimal("0.1"), Decimal("0.01"))
_LARGEST_DELTA = Decimal("0.1")
_JUST_LESS = 1 - Fraction(1, 2 * 10**9)
"""A factor that ten digits do not tell from 1."""
_STEP_SHARES = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1), Fraction(3, 2))

_Gaussian = GaussianEvent | DiscreteGaussianEvent | PoissonGaussianEvent | FixedSizeGaussianEvent
_Scaled = LaplaceEvent | DiscreteLaplaceEvent | ExponentialEvent | PoissonLaplaceEvent
_Poisson = PoissonGaussianEvent | PoissonLaplaceEvent


@dataclass(frozen=True, slots=True)
class DeltaPoint:
    """The same event at another delta; epsilon is None where it has no price there."""

    delta: Decimal
    epsilon: Decimal | None


@dataclass(frozen=True, slots=True)
class StepPoint:
    """The same event with another number of steps."""

    steps: int
    epsilon: Decimal | None


@dataclass(frozen=True, slots=True)
class Variation:
    """A plan that differs in one thing.

    Attributes:
        change: In words, such as "noise × 1.5".
        epsilon: What it would cost at the same delta; None where it has no price.
    """

    change: str
    epsilon: Decimal | None


def epsilon_at(event: Event, delta: Decimal) -> Decimal | None:
    """The event's tightest price at delta, as a charge has it; None where there is none."""
    try:
        return price_plan(event, delta).loss.epsilon
    except (InvalidValueError, PricingDisagreementError):
        return None


def delta_curve(event: Event, delta: Decimal) -> tuple[DeltaPoint, ...]:
    """Epsilon at deltas around that one, the largest delta first; at delta 0 that alone."""
    deltas = [delta]
    if delta > 0:
        around = (_PARAMETER.multiply(delta, factor) for factor in _DELTA_FACTORS)
        deltas = [near for near in around if near <= max(delta, _LARGEST_DELTA) and _written(near)]
    return tuple(DeltaPoint(near, epsilon_at(event, near)) for near in deltas)


def step_curve(event: Event, delta: Decimal, steps: int) -> tuple[StepPoint, ...]:
    """Epsilon after fewer steps and more, at the same delta; nothing for an event that is not made of steps."""
    if not is_repeated(event):
        return ()
    counts = sorted({max(1, round(steps * share)) for share in _STEP_SHARES})
    return tuple(StepPoint(count, epsilon_with_steps(event, delta, Fraction(count, steps))) for count in counts)


def epsilon_with_steps(event: Event, delta: Decimal, share: Fraction) -> Decimal | None:
    """What that share of the steps costs."""
    try:
        return epsilon_at(repeated(event, share), delta)
    except InvalidValueError:
        return None


def variations(event: Event, delta: Decimal) -> tuple[Variation, ...]:
    """Plans that differ in one thing from the event, with the epsilon of each at the same delta."""
    wanted: tuple[tuple[str, Callable[[Event, Fraction], Event], tuple[str, ...]], ...] = (
        ("noise", noisier, ("0.75", "1.25", "1.5", "2")),
        ("expected batch", sampled, ("0.5", "2")),
        ("steps", repeated, ("0.5", "1.5")),
    )
    found = []
    for name, change, factors in wanted:
        for factor in factors:
            try:
                changed = change(event, Fraction(factor))
            except InvalidValueError:
                continue
            if changed != event:
                found.append(Variation(f"{name} × {factor}", epsilon_at(changed, delta)))
    return tuple(found)


def least_factor(event: Event, target: Decimal, delta: Decimal) -> Decimal | None:
    """The least factor on all noise with which the event costs at most the target; None if no noise does that.

    Takes a dozen prices or two; only one where the event has the least noise itself, as one that was solved for has.
    """
    if not any(isinstance(leaf, _Gaussian | _Scaled) for leaf, _ in leaves(event)):
        return None
    own, nearly = epsilon_at(event, delta), epsilon_at(noisier(event, _JUST_LESS), delta)
    if own is not None and own <= target and (nearly is None or nearly > target):
        return Decimal(1)
    try:
        return least_noise(lambda factor: noisier(event, Fraction(factor)), target, delta)
    except InvalidValueError:
        return None


def noisier(event: Event, factor: Fraction) -> Event:
    """The event with that factor on all its noise. Plain claims and randomized answers stay as they are."""

    def louder(leaf: Event) -> Event:
        if isinstance(leaf, _Gaussian):
            return replace(leaf, sigma=_times(leaf.sigma, factor))
        return replace(leaf, scale=_times(leaf.scale, factor)) if isinstance(leaf, _Scaled) else leaf

    return _changed(event, louder)


def sampled(event: Event, factor: Fraction) -> Event:
    """The event with that factor on the probability of taking part, which is the factor of the expected batch.

    Raises:
        InvalidValueError: If the probability would be above 1.
    """

    def larger(leaf: Event) -> Event:
        if isinstance(leaf, _Poisson):
            return replace(leaf, sampling_probability=_times(leaf.sampling_probability, factor))
        return leaf

    return _changed(event, larger)


def repeated(event: Event, factor: Fraction) -> Event:
    """The event with that factor on the number of every subsampled step, rounded up.

    Raises:
        InvalidValueError: If there would be more steps than an event may have.
    """
    match event:
        case SelfComposedEvent() if isinstance(event.event, _Poisson):
            count = -(-event.count * factor.numerator // factor.denominator)
            return replace(event, count=count)
        case SelfComposedEvent():
            return replace(event, event=repeated(event.event, factor))
        case ComposedEvent():
            return replace(event, events=tuple(repeated(part, factor) for part in event.events))
        case ParallelEvent():
            return replace(event, parts=tuple((name, repeated(part, factor)) for name, part in event.parts))
        case _:
            return event


def is_repeated(event: Event) -> bool:
    """Whether it has subsampled steps that are repeated."""
    if isinstance(event, SelfComposedEvent) and isinstance(event.event, _Poisson):
        return True
    return any(is_repeated(part) for part in parts_of(event))


def _changed(event: Event, change: Callable[[Event], Event]) -> Event:
    match event:
        case SelfComposedEvent():
            return replace(event, event=_changed(event.event, change))
        case ComposedEvent():
            return replace(event, events=tuple(_changed(part, change) for part in event.events))
        case ParallelEvent():
            return replace(event, parts=tuple((name, _changed(part, change)) for name, part in event.parts))
        case _:
            return change(event)


def _times(value: Decimal, factor: Fraction) -> Decimal:
    return _PARAMETER.divide(_PARAMETER.multiply(value, factor.numerator), factor.denominator)


def _written(delta: Decimal) -> bool:
    exponent = delta.normalize().as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MAX_PLACES
