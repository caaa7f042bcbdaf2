"""Shares of each column's values, released privately, and the conditions that are drawn from them.

A condition is one value of one column. A real row's is its own value, in a column drawn uniformly; a made-up row's is
drawn from the released shares. Exact frequencies, after which rows are resampled elsewhere, have no part in it.
"""

from decimal import Decimal

import numpy as np
import numpy.typing as npt

from accounting.events import DiscreteGaussianEvent, SelfComposedEvent
from deployments.synthesis.draws import Draws
from deployments.synthesis.table import Codes, Table

Array = npt.NDArray[np.float64]
Shares = tuple[Array, ...]
"""For each column the probabilities of its codes: positive, summing to 1."""

_LEAST_SHARE = 1e-6
"""Of a code whose noisy count is not positive."""


def release_shares(table: Table, records: int, event: DiscreteGaussianEvent, delta: Decimal) -> Shares:
    """Every column's shares out of noisy counts: one release of the event for each column. The noise is OpenDP's.

    Args:
        table: The private rows.
        records: How many there are. Public.
        event: Noise on one column's counts.
        delta: At which the event is priced.

    Raises:
        PricingDisagreementError: If OpenDP cannot confirm the price.
    """
    draws = Draws(SelfComposedEvent(event, len(table.schema.sizes)), delta)
    shares = []
    for column, size in enumerate(table.schema.sizes):
        noisy = draws.noisy(event, np.bincount(table.codes[:, column], minlength=size))
        shares.append(shares_of(noisy.astype(np.float64), records))
    return tuple(shares)


def shares_of(counts: Array, records: int) -> Array:
    """Probabilities out of noisy counts: the nearest counts that are not negative and sum to the number of records."""
    downward = np.sort(counts)[::-1]
    excess = (np.cumsum(downward) - records) / np.arange(1, len(counts) + 1)
    last = int(np.flatnonzero(downward > excess)[-1])
    kept = np.maximum(counts - excess[last], _LEAST_SHARE * records)
    normalised: Array = kept / kept.sum()
    return normalised


def drawn_conditions(shares: Shares, rows: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Conditions of made-up rows, each a place in the one-hot codes of all columns side by side.

    Args:
        shares: As released.
        rows: How many.
        generator: Draws them. It has no part in the privacy.
    """
    column = generator.integers(len(shares), size=rows)
    starts = starts_of([len(share) for share in shares])
    places = np.empty(rows, dtype=np.int64)
    for at, share in enumerate(shares):
        rows_here = np.flatnonzero(column == at)
        places[rows_here] = starts[at] + generator.choice(len(share), size=len(rows_here), p=share)
    return places


def own_conditions(codes: Codes, sizes: tuple[int, ...], generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Each row's own value in a column drawn uniformly, as a place in the one-hot codes of all columns side by side."""
    column = generator.integers(len(sizes), size=len(codes))
    places: npt.NDArray[np.int64] = starts_of(sizes)[column] + codes[np.arange(len(codes)), column]
    return places


def starts_of(sizes: tuple[int, ...] | list[int]) -> npt.NDArray[np.int64]:
    """Where each column starts in the one-hot codes of all columns side by side."""
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
