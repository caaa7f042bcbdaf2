"""An audit: draws on two adjacent inputs, an event chosen on some of them, the bound counted on the others.

Memory does not grow with the number of draws: those that choose are limited, those that count are only counted.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accounting.values import InvalidValueError
from deployments.auditing.bound import Counts, Numbers, epsilon_bound
from deployments.auditing.events import Event, choose

Outputs = NDArray[Any]
Draw = Callable[[int], Outputs]
"""So many outputs of a mechanism on one fixed input, independent of each other: along the first axis of an array."""
Score = Callable[[Outputs], Numbers]
"""One number for each output. It may use everything that is public: both inputs, the mechanism and its noise."""

FEWEST, MOST = 100, 100_000_000
"""Draws on each input."""
CHOOSING = 200_000
"""How many draws at most, on each input, choose the event. More would hardly choose a better one."""
CHUNK = 10_000
"""How many numbers are drawn at a time."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A mechanism on two adjacent inputs.

    Attributes:
        first: Draws on the first input.
        second: Draws on the second input.
        scores: By name, what events are made of.
        first_input: The input, in words.
        second_input: The other, in words.
        width: Of how many numbers an output is.
    """

    first: Draw
    second: Draw
    scores: Mapping[str, Score]
    first_input: str
    second_input: str
    width: int = 1

    def outputs(self, count: int) -> Iterator[tuple[Outputs, Outputs]]:
        """So many outputs on each of the inputs, a piece at a time."""
        most = max(1, CHUNK // self.width)
        for start in range(0, count, most):
            size = min(most, count - start)
            yield self.first(size), self.second(size)


@dataclass(frozen=True, slots=True)
class Finding:
    """What an audit found.

    Attributes:
        epsilon: The mechanism's epsilon at delta is at least this, except with probability beta.
        delta: In [0, 1).
        beta: In (0, 1).
        event: What gave the bound.
        counts: How often the event was seen, in draws that had no part in choosing it.
    """

    epsilon: float
    delta: float
    beta: float
    event: Event
    counts: Counts


def audit(pair: Pair, samples: int, delta: float, beta: float) -> Finding:
    """Bounds a mechanism's epsilon from below.

    Half of the draws, and at most `CHOOSING`, choose the event; the bound is counted on the others. So no choice,
    however wide, costs any confidence; a Bonferroni correction over the thousands of events that are tried would.

    Args:
        pair: The mechanism and its inputs.
        samples: Draws on each of the two inputs, in [`FEWEST`, `MOST`].
        delta: At which epsilon is bounded, in [0, 1).
        beta: The probability with which the bound may be above the mechanism's true epsilon, in (0, 1).

    Raises:
        InvalidValueError: If one of the three numbers is out of range.
    """
    if not FEWEST <= samples <= MOST:
        raise InvalidValueError("samples", f"must be between {FEWEST} and {MOST}")
    if not 0 <= delta < 1:
        raise InvalidValueError("delta", "must be at least 0 and less than 1")
    if not 0 < beta < 1:
        raise InvalidValueError("beta", "must be greater than 0 and less than 1")
    choosing = min(samples // 2, CHOOSING)
    event = choose(*_scored(pair, choosing), delta=delta, beta=beta)
    counting, score = samples - choosing, pair.scores[event.score]
    first = second = 0
    for here, there in pair.outputs(counting):
        first += event.hits(score(here))
        second += event.hits(score(there))
    hits, other_hits = (first, second) if event.likelier_on_first else (second, first)
    counts = Counts(hits, counting, other_hits, counting)
    return Finding(epsilon_bound(counts, delta, beta), delta, beta, event, counts)


def _scored(pair: Pair, count: int) -> tuple[dict[str, Numbers], dict[str, Numbers]]:
    """The scores of outputs on either input, by name."""
    parts = [
        [{name: score(outputs) for name, score in pair.scores.items()} for outputs in both]
        for both in pair.outputs(count)
    ]
    first, second = (
        {name: np.concatenate([part[name] for part in side]) for name in pair.scores}
        for side in zip(*parts, strict=True)
    )
    return first, second
