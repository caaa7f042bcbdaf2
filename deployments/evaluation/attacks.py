"""Attacks on synthetic rows by who sees nothing else. They can find a leak; they can never show that there is none.

Against generators that are not private at all, and against one with a planted fault, such attacks reached an area under
the curve of .51 to .52. So a result near one half says nothing, and is never to be shown as a pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accounting.values import InvalidValueError
from deployments.auditing.bound import lower_limit, upper_limit
from deployments.auditing.gaussian_canaries import area_limit, area_under_curve
from deployments.evaluation.fidelity import check_same_schema, midpoints
from deployments.synthesis.schema import Category
from deployments.synthesis.table import Table

Numbers = npt.NDArray[np.float64]

MOST_QUERIES, MOST_REFERENCES = 2_000, 10_000
"""Rows whose neighbours are looked for, and rows among which; of more, as many drawn at random."""
FEWEST = 200
"""Rows that each table must have: fewer say nothing."""
CONFIDENCE = 0.95
FALSE_POSITIVES = 0.01
_CHUNK = 100

MEANING = (
    "An attack can only ever find leaks. A result near one half does not show that there are none: generators without "
    "any privacy score .51 to .52 here. What protects people is the proven bound, and nothing in this section."
)
NEARER_NOTE = (
    "The limits count the synthetic rows alone. Which real rows were trained on was chance as well, so a share that is "
    "a few hundredths away from one half is no finding."
)


@dataclass(frozen=True, slots=True)
class Share:
    """A share of rows, with its exact two-sided limits (Clopper and Pearson 1934) at `CONFIDENCE`."""

    share: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Distances:
    """Distances to the closest record: the mean over columns, of categories 0 or 1, of numbers as shares of the range.

    Attributes:
        synthetic_to_train: 5th, 25th and 50th percentile of synthetic rows' distances to their closest training row.
        holdout_to_train: The same of real rows that were not trained on: what is usual among people.
        copies: Share of synthetic rows that a training row equals, code for code.
        holdout_copies: Share of rows not trained on that a training row equals: what is usual.
        nearer_to_train: Share of synthetic rows that are nearer to the training rows than to as many other real ones;
            rows as far from both are left out. One half is to be expected where nothing was remembered, but see
            `NEARER_NOTE`.
    """

    synthetic_to_train: tuple[float, float, float]
    holdout_to_train: tuple[float, float, float]
    copies: Share
    holdout_copies: Share
    nearer_to_train: Share


@dataclass(frozen=True, slots=True)
class MembershipInference:
    """An attack that ranks real rows by how likely they were trained on.

    Attributes:
        attack: How it ranks.
        auc: Area under its ROC curve; one half is guessing.
        auc_lower: Its limit at `CONFIDENCE`, one-sided and conservative.
        true_positives: Share of members found at a threshold that at most `FALSE_POSITIVES` of the others pass.
        false_positives: Share of the others that pass it, as seen.
        members: Rows that were trained on, attacked.
        others: Rows that were not.
    """

    attack: str
    auc: float
    auc_lower: float
    true_positives: Share
    false_positives: Share
    members: int
    others: int


@dataclass(frozen=True, slots=True)
class Attacks:
    """What was tried, and what may be concluded."""

    distances: Distances
    membership: tuple[MembershipInference, ...]
    meaning: str = MEANING


def enough(synthetic: Table, train: Table, holdout: Table) -> bool:
    """Whether there are as many rows as `attacks` needs."""
    return min(synthetic.rows, train.rows) >= FEWEST and holdout.rows >= 2 * FEWEST


def attacks(synthetic: Table, train: Table, holdout: Table, generator: np.random.Generator) -> Attacks:
    """Attacks synthetic rows.

    Args:
        synthetic: What was released, at least `FEWEST` rows.
        train: Real rows that were trained on, likewise.
        holdout: Real rows from the same people at large that were not, at least twice as many: half of them tell the
            attacker what is usual.
        generator: Draws the rows that are looked at.

    Raises:
        InvalidValueError: If the schemas differ or there are too few rows.
    """
    check_same_schema(synthetic, train, holdout)
    for name, table, least in (
        ("synthetic", synthetic, FEWEST),
        ("train", train, FEWEST),
        ("holdout", holdout, 2 * FEWEST),
    ):
        if table.rows < least:
            raise InvalidValueError(name, f"must have at least {least} rows, not {table.rows}: fewer say nothing")
    return Attacks(
        _distances(synthetic, train, holdout, generator), tuple(_membership(synthetic, train, holdout, generator))
    )


def closest(queries: Table, references: Table) -> Numbers:
    """The distance of each query to the reference closest to it, shape (queries,), in [0, 1]."""
    ours, theirs = _positions(queries), _positions(references)
    nearest = np.empty(queries.rows)
    for start in range(0, queries.rows, _CHUNK):
        some = ours[start : start + _CHUNK]
        total = np.zeros((len(some), references.rows), dtype=np.float32)
        for at in range(ours.shape[1]):
            # Whatever is no number is a whole unit away from all else.
            total += np.minimum(np.abs(some[:, at, None] - theirs[None, :, at]), 1)
        nearest[start : start + _CHUNK] = total.min(axis=1) / ours.shape[1]
    return nearest


def share(hits: int, of: int) -> Share:
    """A share with its limits; of nothing, it may be anything."""
    if of == 0:
        return Share(0.5, 0.0, 1.0)
    level = (1 - CONFIDENCE) / 2
    return Share(hits / of, lower_limit(hits, of, level), upper_limit(hits, of, level))


def inferred(attack: str, members: Numbers, others: Numbers) -> MembershipInference:
    """What an attack that gives these scores achieves.

    Args:
        attack: How it ranks.
        members: A score for each row that was trained on, higher for one thought to be such.
        others: A score for each row that was not.
    """
    allowed = int(FALSE_POSITIVES * others.size)
    threshold = np.sort(others)[::-1][allowed]
    auc = area_under_curve(members, others)
    return MembershipInference(
        attack,
        auc,
        area_limit(auc, min(members.size, others.size), CONFIDENCE),
        share(int(np.count_nonzero(members > threshold)), members.size),
        share(int(np.count_nonzero(others > threshold)), others.size),
        members.size,
        others.size,
    )


def _distances(synthetic: Table, train: Table, holdout: Table, generator: np.random.Generator) -> Distances:
    # As many of either kind, or the larger would be nearer by its size alone.
    size = min(train.rows, holdout.rows, MOST_REFERENCES)
    trained, unseen = _some(train, size, generator), _some(holdout, size, generator)
    queries = _some(synthetic, MOST_QUERIES, generator)
    to_train, to_unseen = closest(queries, trained), closest(queries, unseen)
    usual = closest(_some(holdout, MOST_QUERIES, generator), trained)
    nearer, further = int(np.count_nonzero(to_train < to_unseen)), int(np.count_nonzero(to_train > to_unseen))
    return Distances(
        _percentiles(to_train),
        _percentiles(usual),
        share(int(np.count_nonzero(to_train == 0)), to_train.size),
        share(int(np.count_nonzero(usual == 0)), usual.size),
        share(nearer, nearer + further),
    )


def _membership(
    synthetic: Table, train: Table, holdout: Table, generator: np.random.Generator
) -> Iterator[MembershipInference]:
    shuffled = generator.permutation(holdout.rows)
    half = holdout.rows // 2
    members = _some(train, MOST_QUERIES, generator)
    others = _some(_rows(holdout, shuffled[:half]), MOST_QUERIES, generator)
    usual = _some(_rows(holdout, shuffled[half:]), MOST_REFERENCES, generator)
    released = _some(synthetic, MOST_REFERENCES, generator)
    near = [closest(rows, released) for rows in (members, others)]
    yield inferred("nearness to the closest synthetic row", -near[0], -near[1])
    # A row in a crowded place is near to everything: how near it is to other people's rows is taken off.
    excess = [closest(rows, usual) - distance for rows, distance in zip((members, others), near, strict=True)]
    yield inferred("nearness to the closest synthetic row, beside that to other real rows", excess[0], excess[1])


def _positions(table: Table) -> npt.NDArray[np.float32]:
    """Where each value lies: categories whole units apart, numbers at their shares of the range, missing ones far."""
    found = np.empty(table.codes.shape, dtype=np.float32)
    for at, column in enumerate(table.schema.columns):
        places = np.arange(column.size, dtype=np.float64)
        if not isinstance(column, Category):
            middles = midpoints(column)
            places[:] = 3.0
            places[: column.bins] = (middles - column.edges[0]) / (column.edges[-1] - column.edges[0])
        found[:, at] = places[table.codes[:, at]]
    return found


def _percentiles(distances: Numbers) -> tuple[float, float, float]:
    fifth, quarter, half = np.percentile(distances, [5, 25, 50])
    return float(fifth), float(quarter), float(half)


def _some(table: Table, most: int, generator: np.random.Generator) -> Table:
    """The table, or so many of its rows drawn at random."""
    if table.rows <= most:
        return table
    return _rows(table, generator.choice(table.rows, most, replace=False))


def _rows(table: Table, places: npt.NDArray[np.int64]) -> Table:
    return Table(table.schema, table.codes[places])
