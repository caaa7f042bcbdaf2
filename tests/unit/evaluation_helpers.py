"""Real rows to compare: the handwritten digits that come with scikit-learn, some pixels and which digit it is."""

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from deployments.synthesis.schema import Category, Number, Schema, evenly
from deployments.synthesis.table import Table, encode

PIXELS = (10, 18, 20, 21, 26, 28, 36, 42, 43, 53)
SCHEMA = Schema(
    (
        *(Number(f"pixel {pixel}", evenly(0, 16, 8), whole=True) for pixel in PIXELS),
        Category("digit", tuple("0123456789")),
    )
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small models on a busy machine: threads that wait for each other take longer than one alone."""
    with threadpool_limits(1):
        yield


def digits() -> Table:
    """All 1,797 rows, in an order that means nothing."""
    images = load_digits()
    order = np.random.default_rng(0).permutation(len(images.target))
    columns = {f"pixel {pixel}": images.data[order, pixel].tolist() for pixel in PIXELS}
    return encode(columns | {"digit": images.target[order].tolist()}, SCHEMA)


def rows_of(table: Table, start: int, stop: int) -> Table:
    """Some of the rows."""
    return Table(table.schema, table.codes[start:stop])


def shuffled(table: Table, seed: int = 0) -> Table:
    """Each column by itself in another order: the same columns, and nothing that holds between them."""
    rng = np.random.default_rng(seed)
    return Table(table.schema, np.column_stack([rng.permutation(column) for column in table.codes.T]))
