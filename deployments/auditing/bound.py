"""From how often an event was seen on two adjacent inputs to a lower bound on epsilon, with stated confidence.

If a mechanism is (epsilon, delta)-differentially private, then P[S on D] <= exp(epsilon) P[S on D'] + delta for every
event S. So any event gives epsilon >= ln((P[S on D] - delta) / P[S on D']), and limits of confidence on the two
probabilities make of it a bound that sampling supports (Ding et al. 2018, "Detecting violations of differential
privacy"; Jagielski, Ullman and Oprea 2020, "Auditing differentially private machine learning"; Nasr et al. 2021,
"Adversary instantiation").

The limits are those of Clopper and Pearson 1934, which are exact for every number of draws. They hold for one event
that was fixed beforehand, so the event is chosen on draws of its own (`deployments.auditing.events`).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Counts:
    """How often an event was seen on two inputs.

    Attributes:
        hits: On the input where it is thought likelier.
        draws: On that input, at least 1.
        other_hits: On the other input.
        other_draws: On the other input, at least 1.
    """

    hits: int
    draws: int
    other_hits: int
    other_draws: int


def epsilon_bound(counts: Counts, delta: float, beta: float) -> float:
    """A number that the mechanism's true epsilon at delta is not below, except with probability beta.

    Each of the two limits may fail with probability beta / 2.

    Args:
        counts: Of independent draws, and of an event that does not depend on them.
        delta: In [0, 1).
        beta: In (0, 1).

    Returns:
        At least 0, which says nothing.
    """
    low = lower_limit(counts.hits, counts.draws, beta / 2)
    high = upper_limit(counts.other_hits, counts.other_draws, beta / 2)
    return max(0.0, math.log((low - delta) / high)) if low > delta else 0.0


def lower_limit(hits: int, draws: int, level: float) -> float:
    """The largest probability at which so many hits or more still have at most that probability.

    SciPy's inverse of the incomplete beta function is only a first guess: version 1.17.1 answers 1.9e-6 to 1,000 hits
    in 1e9 draws, twice the share that was seen. The tail of the binomial itself decides.

    Args:
        hits: In [0, draws].
        draws: At least 1; accurate up to 1e8.
        level: In (0, 1).
    """
    if hits == 0:
        return 0.0
    limit, step = float(special.betaincinv(hits, draws - hits + 1, level)), 1e-15
    while not special.betainc(hits, draws - hits + 1, limit) <= level:
        limit, step = (limit * (1 - step), step * 2) if step < 1 else (0.0, step)
    return limit


def upper_limit(hits: int, draws: int, level: float) -> float:
    """The smallest probability at which so few hits or fewer still have at most that probability.

    Args:
        hits: In [0, draws].
        draws: At least 1; accurate up to 1e8.
        level: In (0, 1).
    """
    if hits == draws:
        return 1.0
    limit, step = float(special.betainccinv(hits + 1, draws - hits, level)), 1e-15
    while not special.betaincc(hits + 1, draws - hits, limit) <= level:
        limit, step = (limit + (1 - limit) * step, step * 2) if step < 1 else (1.0, step)
    return limit


def promise(hits: Numbers, draws: int, other_hits: Numbers, other_draws: int, delta: float, beta: float) -> Numbers:
    """What `epsilon_bound` would about be for many events at once, to rank them by. May be below 0, or minus infinity.

    Args:
        hits: One for each event, in [0, draws].
        draws: At least 1.
        other_hits: Likewise on the other input.
        other_draws: At least 1.
        delta: In [0, 1).
        beta: In (0, 1).
    """
    low = np.where(hits > 0, special.betaincinv(np.maximum(hits, 1), draws - hits + 1, beta / 2), 0.0)
    rest = np.maximum(other_draws - other_hits, 1)
    high = np.where(other_hits < other_draws, special.betainccinv(other_hits + 1, rest, beta / 2), 1.0)
    with np.errstate(divide="ignore"):
        ratio: Numbers = np.log(np.maximum(low - delta, 0.0)) - np.log(high)
    return np.nan_to_num(ratio, nan=-np.inf, neginf=-np.inf)
