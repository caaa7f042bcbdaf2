"""An alarm: a lower bound on epsilon from the scores of canaries, if the mechanism loses no more than a Gaussian does.

A mechanism is mu-Gaussian-private if its output on two adjacent inputs is no easier to tell apart than N(0, 1) from
N(mu, 1) (Dong, Roth and Su 2022). No score of such a mechanism can then rank an included canary above an excluded one
more often than Phi(mu / sqrt 2), the area under the Gaussian's own ROC curve. So a lower limit on that share is one on
mu, whatever the scores' distribution, and mu gives epsilon at every delta. The whole curve is used, and no threshold is
chosen.

Two things are taken for granted, which is why this is **an alarm and never a proof**:

* that the mechanism is Gaussian-private at all. One full-batch step of DP-SGD is, exactly; with subsampling and many
  steps it is nearly so, and the bound may be off to either side;
* that the share of pairs is normal in the limit. Its variance is not estimated but bounded by what it can at most be
  (share (1 - share) / the smaller sample: van Dantzig 1951; Birnbaum 1956), and the limit is Wilson's, so that it
  stays below 1 also where all pairs are ranked rightly.

A lower limit on mu below 0 means that nothing was seen. It is 0; its absolute value would be a false alarm. That
nothing was seen is no sign of privacy either.
"""

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from accounting.charges import price
from accounting.events import GaussianEvent
from accounting.values import InvalidValueError

Scores = NDArray[np.float64]

FEWEST = 50
"""Canaries on either side: with fewer, nothing is normal in the limit."""
LEAST_MU = 1e-4
"""A mu below it is taken for 0, as its epsilon is below 0.002 at any delta from 1e-30."""
MEANING = (
    "An alarm, not a proof: it holds if the mechanism is Gaussian-private, which subsampled training is only nearly. "
    "A bound above the claim asks for an explanation; a bound below it, or of 0, is no sign of privacy."
)


@dataclass(frozen=True, slots=True)
class CanaryBound:
    """What the canaries' scores say.

    Attributes:
        epsilon: The lower bound at delta; 0 says nothing.
        mu: The lower limit on mu from which it comes, at least 0.
        area: The share of pairs in which the included canary has the higher score (ties count half), as seen.
        delta: In (0, 1).
        confidence: In (0.5, 1): of the limit on the area, if it is normal.
        included: How many canaries were in the data.
        excluded: How many were left out.
        meaning: What may be concluded.
    """

    epsilon: float
    mu: float
    area: float
    delta: float
    confidence: float
    included: int
    excluded: int
    meaning: str = MEANING


def canary_bound(included: Scores, excluded: Scores, delta: float, confidence: float) -> CanaryBound:
    """Bounds epsilon from below by the scores of canaries.

    Args:
        included: A finite score for each canary that was in the data, shape (n,), n at least `FEWEST`; higher for one
            thought to be in. Independent of each other.
        excluded: Likewise for those left out. **Chance must have decided who is in**: with two kinds of canaries on the
            two sides their difference would be found, not the data's.
        delta: At which epsilon is bounded, in (0, 1).
        confidence: In (0.5, 1).

    Raises:
        InvalidValueError: If anything is out of range.
    """
    for name, scores in (("included", included), ("excluded", excluded)):
        if scores.ndim != 1 or scores.size < FEWEST or not np.isfinite(scores).all():
            raise InvalidValueError(name, f"must be one finite score for each of at least {FEWEST} canaries")
    if not 0 < delta < 1:
        raise InvalidValueError("delta", "must be greater than 0 and less than 1")
    if not 0.5 < confidence < 1:
        raise InvalidValueError("confidence", "must be greater than 0.5 and less than 1")
    area = area_under_curve(included, excluded)
    limit = area_limit(area, min(included.size, excluded.size), confidence)
    mu = max(0.0, math.sqrt(2) * float(special.ndtri(limit)))
    return CanaryBound(gaussian_epsilon(mu, delta), mu, area, delta, confidence, included.size, excluded.size)


def area_under_curve(included: Scores, excluded: Scores) -> float:
    """The share of pairs in which the included one has the higher score; ties count half (Mann and Whitney 1947)."""
    ranks = stats.rankdata(np.concatenate([included, excluded]))[: included.size]
    wins = float(ranks.sum()) - included.size * (included.size + 1) / 2
    return wins / (included.size * excluded.size)


def area_limit(area: float, smaller: int, confidence: float) -> float:
    """Wilson's lower limit on the area, at the largest variance that it can have.

    Args:
        area: As seen, in [0, 1].
        smaller: The size of the smaller sample.
        confidence: In (0.5, 1).
    """
    z = float(special.ndtri(confidence))
    centre = area + z * z / (2 * smaller)
    spread = z * math.sqrt(area * (1 - area) / smaller + (z / (2 * smaller)) ** 2)
    # Rounding alone could take it beyond these.
    return min(area, max(0.0, (centre - spread) / (1 + z * z / smaller)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The epsilon at delta of a mechanism that is exactly mu-Gaussian-private, by the service's own accountant."""
    if mu < LEAST_MU:
        return 0.0
    noise = GaussianEvent(Decimal(f"{1 / mu:.15g}"), Decimal(1))
    return float(price(noise, Decimal(f"{delta:.15g}")).epsilon)
