"""What was done to the data, as closed values; `event_wire` has their form on the wire.

An event is complete mathematics: two equal events cost the same, always. The meaning of a class is never edited; a new
meaning is a new class with a new kind. What an event costs is computed in `accounting.charges`, never by a caller.

Every event may say its privacy unit (whose data is protected: a record, a patient) and its adjacency (what neighbouring
data sets are). Where the cost depends on the adjacency, the event has the one its theorem needs and refuses others.
A sensitivity is always meant under the event's adjacency: a sum of vectors clipped to norm C has C under add/remove and
2C under replace-one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any

from accounting.values import (
    EXACT,
    InvalidValueError,
    checked_delta,
    checked_epsilon,
    checked_positive,
)

LARGEST_PARAMETER = Decimal(10) ** 18
"""Bound on scales and sensitivities."""
MAX_COUNT = 10_000_000
"""How often an event may be composed with itself, nested counts multiplied."""
MAX_LEAVES = 1_000
"""How many events a composition may be written with."""
MAX_DEPTH = 5
"""How deep compositions may be nested."""
MAX_CATEGORIES = 1_000_000
MAX_POPULATION = 10**12
MAX_NAME = 200
"""Characters of a privacy unit or a partition's name."""


class Adjacency(StrEnum):
    """What neighbouring data sets are."""

    ADD_REMOVE = "add_remove"
    """One has a privacy unit that the other lacks."""
    REPLACE_ONE = "replace_one"
    """One privacy unit's data differ; the number of units is the same."""


class SelectionForm(StrEnum):
    """How the exponential mechanism draws."""

    GUMBEL = "gumbel"
    """The candidate with the highest score after Gumbel noise: probability proportional to exp(score / scale)."""
    PERMUTE_AND_FLIP = "permute_and_flip"
    """The candidate with the highest score after exponential noise (McKenna and Sheldon 2020)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """What all events may say.

    Attributes:
        unit: Whose data is protected, in words; None where only the data set's registration says it.
        adjacency: None likewise.
    """

    unit: str | None = None
    adjacency: Adjacency | None = None

    def __post_init__(self) -> None:
        if self.unit is not None:
            _check_name(self.unit, "unit")

    def parameters(self) -> dict[str, Any]:
        """The values that define the event, by name; what was not stated is left out."""
        named = ((name, getattr(self, name)) for name in _FIELDS[type(self)])
        return {name: value for name, value in named if value is not None}

    def _needs(self, adjacency: Adjacency) -> None:
        if self.adjacency is None:
            object.__setattr__(self, "adjacency", adjacency)
        elif self.adjacency is not adjacency:
            raise InvalidValueError("adjacency", f"must be {adjacency}: the theorem that prices this event needs it")


@dataclass(frozen=True, slots=True)
class ClaimEvent(_Event):
    """A caller's own statement that an operation is (epsilon, delta)-differentially private.

    Attributes:
        epsilon: Greater than 0.
        delta: In [0, 1).
    """

    epsilon: Decimal
    delta: Decimal

    kind = "claim"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        checked_epsilon(self.epsilon)
        checked_delta(self.delta)


@dataclass(frozen=True, slots=True)
class ZCdpEvent(_Event):
    """A caller's own statement that an operation is rho-zero-concentrated differentially private.

    Attributes:
        rho: Greater than 0 (Bun and Steinke 2016, Definition 1.1).
    """

    rho: Decimal

    kind = "zcdp"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        checked_epsilon(self.rho, "rho")


@dataclass(frozen=True, slots=True)
class LaplaceEvent(_Event):
    """Laplace noise of density exp(-|x| / scale) / (2 scale), added to each coordinate of a statistic.

    Attributes:
        scale: Greater than 0, in the statistic's own unit.
        sensitivity: The most that one privacy unit can change the statistic, in the L1 norm and the same unit.
    """

    scale: Decimal
    sensitivity: Decimal

    kind = "laplace"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        checked_positive(self.scale, "scale", LARGEST_PARAMETER)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)


@dataclass(frozen=True, slots=True)
class DiscreteLaplaceEvent(_Event):
    """Noise on whole numbers with probability proportional to exp(-|x| / scale), added to each coordinate.

    Attributes:
        scale: Greater than 0.
        sensitivity: A whole number: the most that one privacy unit can change the statistic, in the L1 norm.
    """

    scale: Decimal
    sensitivity: Decimal

    kind = "discrete_laplace"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        checked_positive(self.scale, "scale", LARGEST_PARAMETER)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)
        if self.sensitivity != self.sensitivity.to_integral_value():
            raise InvalidValueError("sensitivity", "must be a whole number: the statistic has whole numbers only")


@dataclass(frozen=True, slots=True)
class GaussianEvent(_Event):
    """Exactly Gaussian noise of standard deviation sigma, added to each coordinate of a statistic.

    Attributes:
        sigma: Greater than 0, in the statistic's own unit.
        sensitivity: The most that one privacy unit can change the statistic, in the L2 norm and the same unit.
    """

    sigma: Decimal
    sensitivity: Decimal

    kind = "gaussian"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        checked_positive(self.sigma, "sigma", LARGEST_PARAMETER)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)


@dataclass(frozen=True, slots=True)
class DiscreteGaussianEvent(_Event):
    """Noise on a grid (whole numbers, or as fine as doubles) with probability proportional to exp(-x^2 / 2 sigma^2).

    What OpenDP samples. It is proven to be zero-concentrated private like a Gaussian, not to be one.

    Attributes:
        sigma: Greater than 0, in the statistic's own unit.
        sensitivity: The most that one privacy unit can change the statistic, in the L2 norm and the same unit.
    """

    sigma: Decimal
    sensitivity: Decimal

    kind = "discrete_gaussian"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        checked_positive(self.sigma, "sigma", LARGEST_PARAMETER)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)


@dataclass(frozen=True, slots=True)
class ExponentialEvent(_Event):
    """Selection of one candidate by noisy score: the exponential mechanism in one of its forms.

    Attributes:
        scale: Greater than 0; the noise added to each score, in the scores' unit.
        sensitivity: The most that one privacy unit can change any score.
        form: How the noise is drawn.
        monotonic: Whether a privacy unit moves all scores in the same direction, which halves the cost.
    """

    scale: Decimal
    sensitivity: Decimal
    form: SelectionForm
    monotonic: bool

    kind = "exponential"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        checked_positive(self.scale, "scale", LARGEST_PARAMETER)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)


@dataclass(frozen=True, slots=True)
class RandomizedResponseEvent(_Event):
    """One answer out of k is told truthfully with some probability, otherwise another one, each alike.

    Attributes:
        probability: Of the truth: more than 1/k, less than 1.
        categories: k, from 2.
    """

    probability: Decimal
    categories: int

    kind = "randomized_response"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        _check_count(self.categories, "categories", 2, MAX_CATEGORIES)
        checked_positive(self.probability, "probability", Decimal(1))
        if self.probability == 1:
            raise InvalidValueError("probability", "must be less than 1: the truth for certain is not private")
        if EXACT.multiply(self.probability, self.categories) <= 1:
            raise InvalidValueError("probability", "must be more than 1 / categories")


@dataclass(frozen=True, slots=True)
class PoissonGaussianEvent(_Event):
    """One step of DP-SGD: each privacy unit takes part with some probability, then exactly Gaussian noise is added.

    Attributes:
        sigma: Standard deviation, greater than 0, in the sum's unit (noise multiplier times clipping norm).
        sensitivity: The L2 norm of one unit's part in the sum (the clipping norm).
        sampling_probability: In (0, 1], independent for each unit.
        adjacency: `Adjacency.ADD_REMOVE`.
    """

    sigma: Decimal
    sensitivity: Decimal
    sampling_probability: Decimal

    kind = "poisson_gaussian"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        self._needs(Adjacency.ADD_REMOVE)
        checked_positive(self.sigma, "sigma", LARGEST_PARAMETER)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)
        checked_positive(self.sampling_probability, "sampling_probability", Decimal(1))


@dataclass(frozen=True, slots=True)
class PoissonLaplaceEvent(_Event):
    """Each privacy unit takes part with some probability, then Laplace noise is added.

    Attributes:
        scale: Greater than 0, in the sum's unit.
        sensitivity: The L1 norm of one unit's part in the sum.
        sampling_probability: In (0, 1], independent for each unit.
        adjacency: `Adjacency.ADD_REMOVE`.
    """

    scale: Decimal
    sensitivity: Decimal
    sampling_probability: Decimal

    kind = "poisson_laplace"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        self._needs(Adjacency.ADD_REMOVE)
        checked_positive(self.scale, "scale", LARGEST_PARAMETER)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)
        checked_positive(self.sampling_probability, "sampling_probability", Decimal(1))


@dataclass(frozen=True, slots=True)
class FixedSizeGaussianEvent(_Event):
    """A uniform sample of fixed size without replacement, then exactly Gaussian noise on a sum over it.

    Attributes:
        sigma: Standard deviation, greater than 0, in the sum's unit.
        sensitivity: In the L2 norm, **under replace-one**: for parts clipped to norm C it is 2C.
        sample_size: Units drawn, from 1.
        population: Units to draw from, at least the sample size. Public.
        adjacency: `Adjacency.REPLACE_ONE`.
    """

    sigma: Decimal
    sensitivity: Decimal
    sample_size: int
    population: int

    kind = "fixed_size_gaussian"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        self._needs(Adjacency.REPLACE_ONE)
        checked_positive(self.sigma, "sigma", LARGEST_PARAMETER)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)
        _check_count(self.population, "population", 1, MAX_POPULATION)
        _check_count(self.sample_size, "sample_size", 1, self.population)


@dataclass(frozen=True, slots=True)
class SelfComposedEvent(_Event):
    """The same event many times over, on the same data; fixed in advance.

    Attributes:
        event: Any event.
        count: From 1 to `MAX_COUNT`.
    """

    event: "Event"
    count: int

    kind = "self_composed"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        _check_count(self.count, "count", 1, MAX_COUNT)
        _check_whole(self)


@dataclass(frozen=True, slots=True)
class ComposedEvent(_Event):
    """Several events on the same data, fixed in advance.

    Attributes:
        events: One or more.
    """

    events: tuple["Event", ...]

    kind = "composed"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        if not self.events:
            raise InvalidValueError("events", "must hold at least one event")
        _check_whole(self)


@dataclass(frozen=True, slots=True)
class ParallelEvent(_Event):
    """Events on partitions of the privacy units, which are disjoint and do not depend on the data.

    That the partitions are such is not in the event: whoever admits it must know them as registered.

    Attributes:
        parts: Pairs of a partition's name and an event; every name once.
    """

    parts: tuple[tuple[str, "Event"], ...]

    kind = "parallel"

    def __post_init__(self) -> None:
        _Event.__post_init__(self)
        if not self.parts:
            raise InvalidValueError("parts", "must hold at least one part")
        names = [name for name, _ in self.parts]
        for name in names:
            _check_name(name, "parts")
        for _, event in self.parts:
            if any(isinstance(leaf, FixedSizeGaussianEvent) for leaf, _ in leaves(event)):
                raise InvalidValueError(
                    "parts", "may not sample a fixed size: a unit that moves changes two populations"
                )
        if len(set(names)) < len(names):
            raise InvalidValueError("parts", "must name every partition once: events on one partition are composed")
        _check_whole(self)


Event = (
    ClaimEvent
    | ZCdpEvent
    | LaplaceEvent
    | DiscreteLaplaceEvent
    | GaussianEvent
    | DiscreteGaussianEvent
    | ExponentialEvent
    | RandomizedResponseEvent
    | PoissonGaussianEvent
    | PoissonLaplaceEvent
    | FixedSizeGaussianEvent
    | SelfComposedEvent
    | ComposedEvent
    | ParallelEvent
)
Composition = SelfComposedEvent | ComposedEvent | ParallelEvent
"""Events made of others."""


def parts_of(event: Event) -> tuple[Event, ...]:
    """The events that an event is directly made of; none for a single operation."""
    match event:
        case SelfComposedEvent():
            return (event.event,)
        case ComposedEvent():
            return event.events
        case ParallelEvent():
            return tuple(part for _, part in event.parts)
        case _:
            return ()


def leaves(event: Event) -> Iterator[tuple[Event, int]]:
    """The single operations of an event, each with its count. A parallel event is one operation of its own."""
    match event:
        case SelfComposedEvent():
            for leaf, count in leaves(event.event):
                yield leaf, count * event.count
        case ComposedEvent():
            for part in event.events:
                yield from leaves(part)
        case _:
            yield event, 1


def _check_whole(event: Composition) -> None:
    """Bounds what a composition may cost to price, and that its parts speak of the same neighbours."""
    depth, size, count = _measure(event)
    if depth > MAX_DEPTH:
        raise InvalidValueError("event", f"may nest compositions at most {MAX_DEPTH} deep, not {depth}")
    if size > MAX_LEAVES:
        raise InvalidValueError("event", f"may be made of at most {MAX_LEAVES} events, not {size}")
    if count > MAX_COUNT:
        raise InvalidValueError("count", f"may come to at most {MAX_COUNT} operations in all, not {count}")
    for name in ("unit", "adjacency"):
        stated = {getattr(part, name) for part in (event, *parts_of(event))} - {None}
        if len(stated) > 1:
            named = " and ".join(sorted(stated))
            raise InvalidValueError(name, f"must be the same in all parts of a composition, not {named}")
        if stated and getattr(event, name) is None:
            object.__setattr__(event, name, stated.pop())


def _measure(event: Event) -> tuple[int, int, int]:
    """Depth of nesting, number of single events, number of operations."""
    parts = [_measure(part) for part in parts_of(event)]
    if not parts:
        return 0, 1, 1
    times = event.count if isinstance(event, SelfComposedEvent) else 1
    return 1 + max(p[0] for p in parts), sum(p[1] for p in parts), times * sum(p[2] for p in parts)


def _check_count(value: int, field: str, least: int, most: int) -> None:
    # To Python a bool is a whole number; to a caller it is a mistake.
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValueError(field, "must be a whole number")
    if not least <= value <= most:
        raise InvalidValueError(field, f"must be from {least} to {most}")


def _check_name(text: str, field: str) -> None:
    if not text or len(text) > MAX_NAME or not text.isprintable():
        raise InvalidValueError(field, f"must have 1 to {MAX_NAME} printable characters")


CLASSES: tuple[type[Event], ...] = (
    ClaimEvent,
    ZCdpEvent,
    LaplaceEvent,
    DiscreteLaplaceEvent,
    GaussianEvent,
    DiscreteGaussianEvent,
    ExponentialEvent,
    RandomizedResponseEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    FixedSizeGaussianEvent,
    SelfComposedEvent,
    ComposedEvent,
    ParallelEvent,
)
"""All kinds of events."""
_FIELDS: dict[type, tuple[str, ...]] = {made: tuple(field.name for field in fields(made)) for made in CLASSES}
