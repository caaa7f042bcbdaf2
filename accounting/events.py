"""What was done to the data, as closed, versioned values.

An event is complete mathematics: two equal events cost the same, always. The meaning of a class is never edited; a new
meaning is a new class with a new kind. What an event costs is computed in `accounting.charges`, never by a caller.

Every event may say its privacy unit (whose data is protected: a record, a patient) and its adjacency (what neighbouring
data sets are). Where the cost depends on the adjacency, the event has the one its theorem needs and refuses others.
A sensitivity is always meant under the event's adjacency: a sum of vectors clipped to norm C has C under add/remove and
2C under replace-one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    decimal_text,
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


EVENT_VERSION = 1


def event_to_wire(event: Event) -> dict[str, Any]:
    """The event as JSON-ready data: kind, version, decimals as strings, parts nested."""
    return {"kind": event.kind, "version": EVENT_VERSION} | {
        name: _to_wire(value) for name, value in event.parameters().items()
    }


def event_from_wire(data: object, field: str = "event") -> Event:
    """The event that the data describes. Numbers may be decimals, whole numbers or decimal strings, never floats.

    Args:
        data: A mapping with ``kind``, optionally ``version``, and the values of that kind.
        field: Where the data stands, for messages.

    Raises:
        InvalidValueError: If the kind is unknown, a value is missing, superfluous or out of range, or the whole is
            larger than a composition may be.
    """
    if _depth(data) > MAX_DEPTH:
        raise InvalidValueError(field, f"may nest compositions at most {MAX_DEPTH} deep")
    return _from_wire(data, field)


def _from_wire(data: object, field: str) -> Event:
    if not isinstance(data, Mapping):
        raise InvalidValueError(field, "must be an object with a kind")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in _EVENTS:
        raise InvalidValueError(f"{field}.kind", f"must be one of {', '.join(sorted(_EVENTS))}")
    version = data.get("version", EVENT_VERSION)
    if type(version) is not int or version != EVENT_VERSION:
        raise InvalidValueError(f"{field}.version", f"must be {EVENT_VERSION}")
    make, readers = _EVENTS[kind]
    given = data.keys() - {"kind", "version"}
    needed = readers.keys() - _OPTIONAL.keys()
    for name in sorted(needed - given):
        raise InvalidValueError(f"{field}.{name}", f"is missing: a {kind} event has {', '.join(sorted(needed))}")
    for name in sorted(given - readers.keys()):
        raise InvalidValueError(f"{field}.{name}", f"is not known: a {kind} event has {', '.join(sorted(needed))}")
    values = {name: readers[name](data[name], f"{field}.{name}") for name in given}
    try:
        return make(**values)
    except InvalidValueError as error:
        raise InvalidValueError(f"{field}.{error.field}", error.reason) from None


def _to_wire(value: object) -> object:
    match value:
        case Decimal():
            return decimal_text(value)
        case StrEnum():
            return value.value
        case tuple():
            return [_to_wire(item) for item in value]
        case _Event():
            return event_to_wire(value)  # type: ignore[arg-type]  # the base class has no values of its own
        case _:
            return value


def _depth(data: object) -> int:
    """How deep compositions are nested in the data; never deeper than one level above what is allowed."""
    level, here = -1, [data]
    while here and level <= MAX_DEPTH:
        level += 1
        here = [inner for item in here if isinstance(item, Mapping) for inner in _inside(item)]
    return level


def _inside(item: Mapping[str, object]) -> Iterator[object]:
    if isinstance(item.get("event"), Mapping):
        yield item["event"]
    events = item.get("events")
    if isinstance(events, Sequence) and not isinstance(events, str):
        yield from events
    parts = item.get("parts")
    if isinstance(parts, Sequence) and not isinstance(parts, str):
        for part in parts:
            if isinstance(part, Sequence) and not isinstance(part, str):
                yield from part


def _number(value: object, field: str) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidValueError(field, "must be a number, best written as a decimal string")
    if isinstance(value, int):
        if abs(value) > LARGEST_PARAMETER:
            raise InvalidValueError(field, f"must be at most {LARGEST_PARAMETER}")
        return Decimal(value)
    return parse_decimal(value, field)


def parse_decimal(text: str, field: str) -> Decimal:
    """A decimal from text in ASCII digits, such as ``0.1`` or ``1e-5``.

    Raises:
        InvalidValueError: If the text is anything else, or longer than 64 characters.
    """
    if len(text) > 64 or not text.isascii() or "_" in text or text != text.strip():
        raise InvalidValueError(field, "must be a plain decimal number such as 0.1")
    try:
        return Decimal(text)
    except ArithmeticError:
        raise InvalidValueError(field, "must be a plain decimal number such as 0.1") from None


def _whole(value: object, field: str) -> int:
    number = _number(value, field)
    if not number.is_finite() or number.adjusted() > 18 or number != number.to_integral_value():
        raise InvalidValueError(field, "must be a whole number")
    return int(number)


def _flag(value: object, field: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidValueError(field, "must be true or false")
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise InvalidValueError(field, "must be text")
    return value


def _choice(choices: type[StrEnum]) -> Callable[[object, str], StrEnum]:
    def read(value: object, field: str) -> StrEnum:
        try:
            return choices(str(value) if isinstance(value, str) else "")
        except ValueError:
            raise InvalidValueError(field, f"must be one of {', '.join(choices)}") from None

    return read


def _list(value: object, field: str) -> Sequence[object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidValueError(field, "must be a list")
    if len(value) > MAX_LEAVES:
        raise InvalidValueError(field, f"must hold at most {MAX_LEAVES}, not {len(value)}")
    return value


def _events(value: object, field: str) -> tuple[Event, ...]:
    return tuple(_from_wire(item, f"{field}[{at}]") for at, item in enumerate(_list(value, field)))


def _parts(value: object, field: str) -> tuple[tuple[str, Event], ...]:
    found = []
    for at, item in enumerate(_list(value, field)):
        pair = _list(item, f"{field}[{at}]")
        if len(pair) != 2:
            raise InvalidValueError(f"{field}[{at}]", "must be a pair: the partition's name and an event")
        found.append((_text(pair[0], f"{field}[{at}]"), _from_wire(pair[1], f"{field}[{at}]")))
    return tuple(found)


_Reader = Callable[[object, str], Any]
_OPTIONAL: dict[str, _Reader] = {"unit": _text, "adjacency": _choice(Adjacency)}
_SPECIAL: dict[str, _Reader] = {
    "categories": _whole,
    "count": _whole,
    "event": _from_wire,
    "events": _events,
    "form": _choice(SelectionForm),
    "monotonic": _flag,
    "parts": _parts,
    "population": _whole,
    "sample_size": _whole,
}
"""How values are read that are not plain numbers."""
_CLASSES: tuple[type[Event], ...] = (
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
_FIELDS: dict[type, tuple[str, ...]] = {made: tuple(field.name for field in fields(made)) for made in _CLASSES}
_EVENTS: dict[str, tuple[Callable[..., Event], dict[str, _Reader]]] = {
    made.kind: (made, {name: _OPTIONAL.get(name) or _SPECIAL.get(name, _number) for name in _FIELDS[made]})
    for made in _CLASSES
}
KINDS = frozenset(_EVENTS)
"""All kinds of events."""
