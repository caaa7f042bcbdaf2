"""How near the distributions of two tables are, column by column and pair by pair.

Numbers are known by their bins only: a value is its bin's midpoint. Tests of equality take rows as independent draws.
Where two tables are large, the smallest difference is significant; where they are small, none is: so every p-value
stands beside a distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats

from accounting.values import InvalidValueError
from deployments.synthesis.schema import Category, Number
from deployments.synthesis.table import Table

Numbers = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

LEAST_EXPECTED = 5.0
"""Cells of a chi-square test of which fewer are expected, in either table, are counted together as one."""
MOST_PAIRS = 5_000
"""So many pairs of columns are compared; of more, as many drawn at random."""
WORST = 10
"""So many pairs are named."""
_LARGEST_TABLE = 2_000_000
"""Cells up to which a pair is counted in full; beyond it only those that occur are."""
_KS_NOTE = "Values are rounded to their bins, and ties make the true p-value smaller than the one given."


@dataclass(frozen=True, slots=True)
class EqualityTest:
    """A test of the hypothesis that two samples come from one distribution.

    Attributes:
        statistic: Its value.
        p_value: In [0, 1]; None where the test has nothing to compare.
        note: What was done that a reader should know.
    """

    statistic: float
    p_value: float | None
    note: str


@dataclass(frozen=True, slots=True)
class ColumnFidelity:
    """One column.

    Attributes:
        name: The column's.
        total_variation: Half the sum of the differences of the shares of all codes, in [0, 1].
        kolmogorov_smirnov: Of a column of numbers, without missing values.
        wasserstein: The least mean way to carry one distribution into the other, in the column's unit; of numbers.
        wasserstein_of_range: The same as a share of the column's range.
        chi_square: Of a column of categories.
    """

    name: str
    total_variation: float
    kolmogorov_smirnov: EqualityTest | None = None
    wasserstein: float | None = None
    wasserstein_of_range: float | None = None
    chi_square: EqualityTest | None = None


@dataclass(frozen=True, slots=True)
class PairFidelity:
    """Total variation between two tables' joint distributions of two columns, in [0, 1]."""

    first: str
    second: str
    total_variation: float


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near two tables are.

    Attributes:
        columns: One for each column.
        one_way: Mean total variation over all columns.
        two_way: The same over the pairs; 0 for a single column.
        pairs: How many pairs were compared.
        worst: Those that are furthest apart, the worst first.
    """

    columns: tuple[ColumnFidelity, ...]
    one_way: float
    two_way: float
    pairs: int
    worst: tuple[PairFidelity, ...]


def fidelity(table: Table, other: Table) -> Fidelity:
    """Compares two tables of one schema.

    Raises:
        InvalidValueError: If their schemas differ.
    """
    check_same_schema(table, other)
    columns = tuple(_column(table, other, place) for place in range(len(table.schema.columns)))
    pairs = [_pair(table, other, *places) for places in _pairs(len(columns))]
    return Fidelity(
        columns,
        float(np.mean([column.total_variation for column in columns])),
        float(np.mean([pair.total_variation for pair in pairs])) if pairs else 0.0,
        len(pairs),
        tuple(sorted(pairs, key=lambda pair: -pair.total_variation)[:WORST]),
    )


def check_same_schema(*tables: Table) -> None:
    """Refuses tables that do not speak of the same columns.

    Raises:
        InvalidValueError: If their schemas differ.
    """
    if any(table.schema != tables[0].schema for table in tables):
        raise InvalidValueError("schema", "must be the same for all tables that are compared")


def variation(counts: Counts, other: Counts) -> float:
    """Total variation between two samples, from how often each value is in them."""
    return float(np.abs(counts / counts.sum() - other / other.sum()).sum() / 2)


def chi_square(counts: Counts, other: Counts) -> EqualityTest:
    """Pearson's test of homogeneity, with rare cells pooled.

    Args:
        counts: How often each category is in one sample, not all 0.
        other: The same of the other.
    """
    both = np.stack([counts, other]).astype(np.float64)
    both = both[:, both.sum(axis=0) > 0]
    expected = np.outer(both.sum(axis=1), both.sum(axis=0)) / both.sum()
    rare = expected.min(axis=0) < LEAST_EXPECTED
    note = "No category was rare."
    if rare.any():
        pooled = both[:, rare].sum(axis=1, keepdims=True)
        both = np.concatenate([both[:, ~rare], pooled], axis=1)
        note = f"{int(rare.sum())} rare categories (fewer than {LEAST_EXPECTED:g} expected) were counted as one."
        if (np.outer(both.sum(axis=1), pooled.sum()) / both.sum()).min() < LEAST_EXPECTED:
            # Even together they are rare: the least of the others takes them in.
            both = _with_last_joined(both)
            note += " Being rare even so, they were counted with the rarest of the others."
    if both.shape[1] < 2:
        return EqualityTest(0.0, None, note + " Fewer than two are left, so there is nothing to test.")
    found = stats.chi2_contingency(both, correction=False)
    return EqualityTest(float(found.statistic), float(found.pvalue), note)


def kolmogorov_smirnov(counts: Counts, other: Counts) -> EqualityTest:
    """The test of Kolmogorov and Smirnov, in the limit of many rows.

    Args:
        counts: How often each value is in one sample, in the values' order, not all 0.
        other: The same of the other.
    """
    gap = float(np.abs(np.cumsum(counts) / counts.sum() - np.cumsum(other) / other.sum()).max())
    size = counts.sum() * other.sum() / (counts.sum() + other.sum())
    return EqualityTest(gap, float(stats.kstwo.sf(gap, max(1, round(size)))), _KS_NOTE)


def _with_last_joined(both: Numbers) -> Numbers:
    if both.shape[1] < 2:
        return both
    kept, last = both[:, :-1].copy(), both[:, -1]
    kept[:, int(np.argmin(kept.sum(axis=0)))] += last
    return kept


def _column(table: Table, other: Table, place: int) -> ColumnFidelity:
    column = table.schema.columns[place]
    counts, others = (np.bincount(one.codes[:, place], minlength=column.size) for one in (table, other))
    distance = variation(counts, others)
    if isinstance(column, Category):
        return ColumnFidelity(column.name, distance, chi_square=chi_square(counts, others))
    known, known_other = counts[: column.bins], others[: column.bins]
    if not known.any() or not known_other.any():
        # In one of them all values are missing: there are no numbers to compare.
        return ColumnFidelity(column.name, distance)
    middles = midpoints(column)
    way = float(stats.wasserstein_distance(middles, middles, known, known_other))
    test = kolmogorov_smirnov(known, known_other)
    return ColumnFidelity(column.name, distance, test, way, way / (column.edges[-1] - column.edges[0]))


def midpoints(column: Number) -> Numbers:
    """The middle of each bin, shape (bins,)."""
    edges = np.array(column.edges)
    middles: Numbers = edges[:-1] + np.diff(edges) / 2
    return middles


def _pairs(columns: int) -> Sequence[tuple[int, int]]:
    pairs = list(combinations(range(columns), 2))
    if len(pairs) <= MOST_PAIRS:
        return pairs
    # Which pairs are looked at depends on no data; the same ones every time.
    chosen = np.random.default_rng(0).choice(len(pairs), MOST_PAIRS, replace=False)
    return [pairs[index] for index in np.sort(chosen)]


def _pair(table: Table, other: Table, first: int, second: int) -> PairFidelity:
    width, names = table.schema.sizes[second], table.schema.names
    cells = [one.codes[:, first].astype(np.int64) * width + one.codes[:, second] for one in (table, other)]
    total = table.schema.sizes[first] * width
    if total > _LARGEST_TABLE:
        seen, places = np.unique(np.concatenate(cells), return_inverse=True)
        cells, total = [places[: table.rows], places[table.rows :]], seen.size
    counts, others = (np.bincount(cell, minlength=total) for cell in cells)
    return PairFidelity(names[first], names[second], variation(counts, others))
