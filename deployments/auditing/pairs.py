"""The adjacent inputs on which a mechanism shows most of what it reveals.

They differ by the whole sensitivity, never by a hair more: a double that was rounded up would be a false alarm.
"""

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import numpy as np

from accounting.events import DiscreteGaussianEvent, ExponentialEvent, SelfComposedEvent
from accounting.values import InvalidValueError
from deployments.auditing.audit import Draw, Outputs, Pair, Score
from deployments.auditing.scores import along, grain, nearer
from deployments.mechanisms.mechanism import Mechanism
from deployments.mechanisms.selection import MAX_CANDIDATES, Scores, Selector

Value = float | int


def shifted(mechanism: Mechanism, start: Value = 0, sensitivity: Decimal | None = None) -> Pair:
    """One value and the same moved by the sensitivity: nothing tells Laplace or Gaussian noise apart better.

    Many draws are one call, on a vector of copies, as every coordinate gets noise of its own. Were the noise shared
    between them the draws would not be independent; `spread` would find that.

    Args:
        mechanism: Adds noise.
        start: The value on the first input; a whole number for a mechanism on whole numbers. Near 0 the sum of a value
            and naive noise has bits that the value's own rounding would have taken away.
        sensitivity: How far the other input is. By default what the mechanism is charged for.

    Raises:
        InvalidValueError: If no other value is so near.
    """
    moved = _moved(mechanism, start, Fraction(sensitivity or mechanism.event.sensitivity))
    return Pair(
        _copies(mechanism, start),
        _copies(mechanism, moved),
        _scores(mechanism, [start], [moved]),
        f"{start:.17g}",
        f"{moved:.17g}",
    )


def spread(mechanism: Mechanism, coordinates: int) -> Pair:
    """Zeros, and a vector that goes up and down by turns, by equal shares of the sensitivity.

    Every draw is a call. Noise that coordinates shared would cancel between those that go up and those that go down.

    Args:
        mechanism: Adds noise.
        coordinates: At least 2.

    Raises:
        InvalidValueError: If the sensitivity cannot be shared by so many.
    """
    if coordinates < 2:
        raise InvalidValueError("coordinates", "must be at least 2 to spread a change over them")
    share = _share(mechanism, coordinates)
    zero: Value = 0 if mechanism.data_type == "integer" else 0.0
    first, second = [zero] * coordinates, [share if index % 2 == 0 else -share for index in range(coordinates)]
    return Pair(
        _calls(mechanism, first),
        _calls(mechanism, second),
        _scores(mechanism, first, second),
        f"{coordinates} zeros",
        f"{share:.17g} and {-share:.17g} by turns",
        width=coordinates,
    )


def raised(selector: Selector, candidates: int) -> Pair:
    """Equal scores, and scores of which the first few are raised by the sensitivity and the others lowered by it.

    As many are raised as are chosen. Their odds change by exactly what is charged; so does their probability but for
    what the change adds to it, and that is little among many candidates.

    Args:
        selector: Chooses candidates.
        candidates: More than it chooses. If its privacy units move all scores in one direction, none is lowered.

    Raises:
        InvalidValueError: If there are too few candidates, or too many.
    """
    chosen = selector.event.count if isinstance(selector.event, SelfComposedEvent) else 1
    once = selector.event.event if isinstance(selector.event, SelfComposedEvent) else selector.event
    if not chosen < candidates <= MAX_CANDIDATES:
        raise InvalidValueError("candidates", f"must be more than are chosen, and at most {MAX_CANDIDATES}")
    assert isinstance(once, ExponentialEvent)
    reach = _moved_float(0.0, Fraction(once.sensitivity))
    others = 0.0 if once.monotonic else -reach
    return Pair(
        _choices(selector, [0.0] * candidates),
        _choices(selector, [reach] * chosen + [others] * (candidates - chosen)),
        {f"chosen of the first {chosen}": lambda places: np.count_nonzero(places < chosen, axis=1).astype(np.float64)},
        f"{candidates} scores of 0",
        f"{chosen} of {reach:.17g} and {candidates - chosen} of {others:.17g}",
        width=chosen,
    )


def _scores(mechanism: Mechanism, first: list[Value], second: list[Value]) -> Mapping[str, Score]:
    """By name. Whole numbers have no bits below 1 to look at."""
    here, there = np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)
    if len(first) == 1:
        # Exact in whole numbers; in doubles a function of the output, which is all that it has to be.
        scores: dict[str, Score] = {"output - input": lambda outputs: (outputs[:, 0] - first[0]).astype(np.float64)}
    else:
        scores = {"projection": along(here, there), "nearness": nearer(here, there)}
    return scores if mechanism.data_type == "integer" else scores | {"lowest bit": grain}


def _moved(mechanism: Mechanism, start: Value, most: Fraction) -> Value:
    """The farthest value above start that is at most so far away."""
    if mechanism.data_type == "integer":
        moved: Value = int(start) + math.floor(most)
    else:
        moved = _moved_float(float(start), most)
    if moved <= start:
        raise InvalidValueError("sensitivity", "must be at least the distance from this value to the next")
    return moved


def _moved_float(start: float, most: Fraction) -> float:
    moved = start + float(most)
    while Fraction(moved) - Fraction(start) > most:
        moved = math.nextafter(moved, -math.inf)
    return moved


def _share(mechanism: Mechanism, coordinates: int) -> Value:
    """What each coordinate may change by, in the norm that the mechanism's noise is for."""
    sensitivity = Fraction(mechanism.event.sensitivity)
    squared = isinstance(mechanism.event, DiscreteGaussianEvent)
    if mechanism.data_type == "integer":
        share: Value = math.isqrt(math.floor(sensitivity**2 / coordinates)) if squared else sensitivity // coordinates
    else:
        share = float(sensitivity) / (math.sqrt(coordinates) if squared else coordinates)
        power = 2 if squared else 1
        while coordinates * Fraction(share) ** power > sensitivity**power:
            share = math.nextafter(share, 0.0)
    if share <= 0:
        raise InvalidValueError("coordinates", "must be fewer: the sensitivity leaves none of them a change")
    return share


def _copies(mechanism: Mechanism, value: Value) -> Draw:
    # A mechanism for long vectors takes one length only, which may be more than is asked for.
    left: Outputs = np.empty(0, dtype=np.int64 if mechanism.data_type == "integer" else np.float64)

    def draw(count: int) -> Outputs:
        nonlocal left
        while left.size < count:
            size = mechanism.length or count - left.size
            left = np.concatenate([left, mechanism.measurement([value] * size)])
        outputs, left = left[:count, None], left[count:]
        return outputs

    return draw


def _calls(mechanism: Mechanism, values: list[Value]) -> Draw:
    def draw(count: int) -> Outputs:
        return np.array([mechanism.measurement(values) for _ in range(count)])

    return draw


def _choices(selector: Selector, scores: list[float]) -> Draw:
    return lambda count: np.array([selector.select(Scores(tuple(scores))) for _ in range(count)])
