"""A lower bound on epsilon from one run: how many of the coins that decided who is in were guessed right.

Each of m canaries is put into the data or left out by a fair coin of its own; the run's output is used to guess some of
the coins. Steinke, Nasr and Jagielski 2023 ("Privacy auditing with one (1) training run", Theorem 5.2): if the run is
(epsilon, delta)-differentially private under addition and removal of one canary, then of at most r guesses at least v
are right with probability at most

    f(v) + 2 m delta max over i >= 1 of (f(v - i) - f(v)) / i,
    f(v) = P[Binomial(r, e^epsilon / (e^epsilon + 1)) >= v].

Where that probability is small, epsilon is larger, with confidence. The theorem asks nothing of the mechanism, so what
it finds is a proof up to chance. It needs many canaries: that it finds little says nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from accounting.values import InvalidValueError

Scores = NDArray[np.float64]

MOST_CANARIES = 100_000
_ROUNDING = 1e-9
"""Relative: more than what the incomplete beta function may err by."""
_PRECISION = 1e-9
_LARGEST = 700.0
"""Of epsilon: beyond it e^-epsilon is lost in a double."""


@dataclass(frozen=True, slots=True)
class Guesses:
    """What was guessed of the coins.

    Attributes:
        made: How many were guessed; the others were passed over.
        correct: How many of those rightly.
        canaries: How many coins there were.
    """

    made: int
    correct: int
    canaries: int


def guess(included: Scores, excluded: Scores, most: int) -> Guesses:
    """Guesses that the canaries of the highest scores were included, those of the lowest left out, equally many.

    Of equal scores, those that make a wrong guess count first: a rule that broke ties by their place would know who is
    who.

    Args:
        included: A finite score for each canary that was in the data, shape (n,), higher for one thought to be in.
        excluded: Likewise for those left out, shape (k,). n and k must have come from fair coins.
        most: How many guesses, an even number, at most n + k. **Fixed before the scores are seen**: the best of several
            numbers would be no bound.

    Raises:
        InvalidValueError: If the scores are not such, or `most` is out of range.
    """
    for name, scores in (("included", included), ("excluded", excluded)):
        if scores.ndim != 1 or not np.isfinite(scores).all():
            raise InvalidValueError(name, "must be one finite score for each canary")
    total = included.size + excluded.size
    if most % 2 or not 2 <= most <= total:
        raise InvalidValueError("most", f"must be an even number from 2 to the number of canaries, {total}")
    scores = np.concatenate([included, excluded])
    is_in = np.arange(total) < included.size
    half = most // 2
    highest = np.lexsort((is_in, -scores))[:half]
    lowest = np.lexsort((~is_in, scores))[:half]
    return Guesses(most, int(is_in[highest].sum() + (~is_in[lowest]).sum()), total)


def one_run_bound(guesses: Guesses, delta: float, confidence: float) -> float:
    """A number that the run's true epsilon at delta is not below, except with probability 1 - confidence.

    If a run is private at some epsilon it is so at every larger one, so every epsilon whose probability is small is
    refuted, and any root found by halving is sound.

    Args:
        guesses: Of coins that were fair and independent, made from the run's output alone. At most `MOST_CANARIES`.
        delta: At which epsilon is bounded, in [0, 1).
        confidence: In (0, 1).

    Returns:
        At least 0, which says nothing.

    Raises:
        InvalidValueError: If a number is out of range.
    """
    if not 1 <= guesses.canaries <= MOST_CANARIES:
        raise InvalidValueError("canaries", f"must be from 1 to {MOST_CANARIES}")
    if not 0 <= guesses.correct <= guesses.made <= guesses.canaries:
        raise InvalidValueError("guesses", "must be at most as many as the canaries, and at least as many as are right")
    if not 0 <= delta < 1:
        raise InvalidValueError("delta", "must be at least 0 and less than 1")
    if not 0 < confidence < 1:
        raise InvalidValueError("confidence", "must be greater than 0 and less than 1")
    level = (1 - confidence) * (1 - _ROUNDING)
    if likelihood(guesses, 0.0, delta) > level:
        return 0.0
    low, high = 0.0, 1.0
    while likelihood(guesses, high, delta) <= level:
        low, high = high, high * 2
        if high > _LARGEST:
            return low
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if likelihood(guesses, middle, delta) <= level:
            low = middle
        else:
            high = middle
    return low


def likelihood(guesses: Guesses, epsilon: float, delta: float) -> float:
    """The most probable that so many right guesses or more can be in an (epsilon, delta)-private run; at most 1."""
    made, correct = guesses.made, guesses.correct
    right = 1 / (1 + math.exp(-epsilon))
    exact = _tail(np.array([correct]), made, right)[0]
    if delta == 0 or correct == 0:
        return float(exact)
    # For i above v the tail stays 1 while its divisor grows: the largest quotient is at i of at most v.
    steps = np.arange(1, correct + 1)
    steepest = np.max((_tail(correct - steps, made, right) - exact) / steps)
    return float(min(1.0, exact + 2 * guesses.canaries * delta * steepest))


def _tail(least: NDArray[np.int64], draws: int, probability: float) -> Scores:
    """The probability of at least so many successes, one for each number."""
    some = np.maximum(least, 1)
    tail: Scores = np.where(least <= 0, 1.0, special.betainc(some, draws - some + 1, probability))
    return tail
