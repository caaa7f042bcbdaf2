"""Which event tells two samples apart best: an interval of a score, an open end or a single value among them.

A score is a number computed from an output. For one coordinate it is the value itself, whose tails are the best events
that there are wherever the likelihood ratio grows with the value, as for Laplace and Gaussian noise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deployments.auditing.bound import Numbers, promise

GRID = 64
"""Into how many equally likely parts the thresholds cut a sample. Beyond it, they halve the tails towards the ends."""
SINGLES = 32
"""How many single values are tried besides, those first whose counts differ most."""


@dataclass(frozen=True, slots=True)
class Event:
    """That a score lies in a closed interval.

    Attributes:
        score: The score's name.
        low: May be minus infinity.
        high: May be infinity; equal to low for a single value.
        likelier_on_first: Whether it is thought likelier on the first input than on the second.
    """

    score: str
    low: float
    high: float
    likelier_on_first: bool

    def hits(self, scores: Numbers) -> int:
        """In how many of the scores it occurs."""
        return int(np.count_nonzero((scores >= self.low) & (scores <= self.high)))

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.score} = {self.low:.17g}"
        if math.isinf(self.low):
            return f"{self.score} <= {self.high:.17g}"
        if math.isinf(self.high):
            return f"{self.score} >= {self.low:.17g}"
        return f"{self.low:.17g} <= {self.score} <= {self.high:.17g}"


def choose(first: Mapping[str, Numbers], second: Mapping[str, Numbers], delta: float, beta: float) -> Event:
    """The event whose bound on epsilon would be highest on these samples.

    They are used up by that: the bound has to come from other draws.

    Args:
        first: The scores of outputs on the first input, by name; not empty.
        second: The same scores on the second input.
        delta: At which epsilon is to be bounded, in [0, 1).
        beta: The probability with which the bound may be wrong, in (0, 1).
    """
    best, best_event = -math.inf, None
    for name, ours in first.items():
        here, there = np.sort(ours), np.sort(second[name])
        lows, highs = _intervals(_thresholds(here, there))
        hits, other = (_inside(sample, lows, highs) for sample in (here, there))
        # Among thousands a rare event would win by luck, were each ranked as if it were the only one.
        each = beta / lows.size
        for likelier_on_first, ranks in (
            (True, promise(hits, here.size, other, there.size, delta, each)),
            (False, promise(other, there.size, hits, here.size, delta, each)),
        ):
            index = int(np.argmax(ranks))
            if best_event is None or ranks[index] > best:
                best = float(ranks[index])
                best_event = Event(name, float(lows[index]), float(highs[index]), likelier_on_first)
    if best_event is None:
        raise ValueError("there is no score to choose an event of")
    return best_event


def _thresholds(here: Numbers, there: Numbers) -> Numbers:
    """Where intervals may begin and end, from two sorted samples: all values where they are few."""
    pooled = np.concatenate([here, there])
    distinct = np.unique(pooled)
    if distinct.size <= GRID:
        return distinct
    tails = 0.5 ** np.arange(math.log2(GRID) + 1, math.log2(pooled.size))
    levels = np.concatenate([np.linspace(0, 1, GRID + 1), tails, 1 - tails])
    differences = np.abs(_inside(here, distinct, distinct) - _inside(there, distinct, distinct))
    singles = distinct[np.argsort(-differences, kind="stable")[:SINGLES]]
    quantiles: Numbers = np.quantile(pooled, levels, method="inverted_cdf")
    return np.unique(np.concatenate([quantiles, singles]))


def _intervals(thresholds: Numbers) -> tuple[Numbers, Numbers]:
    """The ends of all intervals between thresholds, single values and open ends too; the widest first, to win ties."""
    lows = np.concatenate([[-np.inf], thresholds])
    highs = np.concatenate([[np.inf], thresholds[::-1]])
    low, high = np.nonzero(highs[None, :] >= lows[:, None])
    return lows[low], highs[high]


def _inside(ordered: Numbers, lows: Numbers, highs: Numbers) -> Numbers:
    """How many of a sorted sample lie in each closed interval."""
    count = np.searchsorted(ordered, highs, side="right") - np.searchsorted(ordered, lows, side="left")
    return count.astype(np.float64)
