"""The patients' table and the statistics on it, each with a sensitivity that holds exactly.

The privacy unit is one patient, that is, one row; neighbouring tables differ by one row added or removed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist

_GRID = 2.0**20
"""Steps to one: fine enough for every measurement here, coarse enough for sums of them to be exact in doubles."""


@dataclass(frozen=True)
class Column:
    """A measurement and its bound.

    Attributes:
        name: In the table.
        upper: The largest value that is counted: public, chosen from what such a measurement can be, never from the
            table. The smallest is 0.
    """

    name: str
    upper: Decimal


RADIUS = Column("mean radius", Decimal(30))
TEXTURE = Column("mean texture", Decimal(40))
SMOOTHNESS = Column("mean smoothness", Decimal("0.2"))
PERIMETER = Column("mean perimeter", Decimal(200))
AREA = Column("mean area", Decimal(3000))

RADIUS_EDGES = tuple(range(0, 31, 5))
"""Public bins of the histogram."""


def load_patients() -> Mapping[str, Sequence[float]]:
    """The breast-cancer table of Wolberg, Street and Mangasarian (1995), as scikit-learn ships it: values by column."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    return {str(name): table.data[:, index].tolist() for index, name in enumerate(table.feature_names)}


def clipped_sum(values: Sequence[float], upper: float) -> float:
    """The sum of the values, each taken into [0, upper]: one row more or less moves it by at most `upper`.

    That holds of the double that is returned, too: values are taken down to a grid on which their sum is exact, where
    a plain sum of doubles could move by a rounding error more.
    """
    return math.fsum(math.floor(min(max(value, 0.0), upper) * _GRID) / _GRID for value in values)


def scaled_sum(values: Sequence[float], upper: float) -> float:
    """The sum of the values as shares of `upper`, each taken into [0, 1]: one row moves it by at most 1."""
    return clipped_sum([value / upper for value in values], 1.0)


def l2_sensitivity(coordinates: int) -> Decimal:
    """The most that one row moves as many sums at once, each by at most 1: the square root, rounded up to 6 places."""
    scale = 10**6
    root = math.isqrt(coordinates * scale**2)
    return Decimal(root if root**2 == coordinates * scale**2 else root + 1) / scale


def bin_counts(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many values lie in each bin [edge, next edge); values beyond the ends count in the outermost bins.

    Every value counts in one bin, so one row more or less moves the counts by 1 in the L1 norm.
    """
    counts = [0] * (len(edges) - 1)
    for value in values:
        place = sum(value >= edge for edge in edges[1:-1])
        counts[place] += 1
    return counts


def laplace_half_width(scale: float, confidence: float) -> float:
    """How far Laplace noise of that scale strays at most from 0, with that confidence."""
    return scale * math.log(1 / (1 - confidence))


def gaussian_half_width(sigma: float, confidence: float) -> float:
    """How far Gaussian noise of that standard deviation strays at most from 0, with that confidence."""
    return sigma * NormalDist().inv_cdf((1 + confidence) / 2)


def mean_half_width(sum_half_width: float, count_half_width: float, mean: float, count: float) -> float:
    """How far a noisy sum divided by a noisy count strays at most from the true mean, if neither strays further.

    With noisy sum s', noisy count n', and D the distance of s'/n' from the true mean m: n' D <= sum_half_width +
    m * count_half_width, and m <= s'/n' + D. Solved for D.

    Args:
        sum_half_width: Of the sum.
        count_half_width: Of the count.
        mean: The noisy sum divided by the noisy count.
        count: The noisy count.
    """
    if count <= count_half_width:
        return math.inf
    return (sum_half_width + abs(mean) * count_half_width) / (count - count_half_width)
