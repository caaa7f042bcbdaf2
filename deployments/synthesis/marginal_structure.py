"""Which columns are measured together: a graph that grows by one column at a time, each choice private.

A candidate is a column that is not in the model yet and a few that are, which it will depend on. Its score says how far
the table is from what the model would say without that dependence: the L1 distance, in records, between the counts of
all of them and those that there would be if the new column depended on the target alone; less a share of the noise that
measuring them would add (as in AIM: McKenna, Mullins, Sheldon and Miklau 2022).

One record moves a score by at most 2. The counts that it is compared with are those of the parents, spread over the new
column's codes by fixed probabilities. So the record adds 1 - p to the difference in its own cell, where p is the
probability of its code, and takes as much from the cells of the other codes together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from deployments.synthesis.draws import Counts
from deployments.synthesis.marginal_model import Array, Node
from deployments.synthesis.marginal_plan import MAX_CELLS, MarginalPlan
from deployments.synthesis.table import Table

_LASTING_NOISE = 0.25
"""The part of the noise's expected L1 norm that counts against a score. The rest goes when a distribution is fitted, as
that is nowhere negative. Chosen on the census data: with all of it, as in AIM, more is lost by what is not measured."""


def counts_of(table: Table, columns: Sequence[int]) -> Counts:
    """How many rows have each combination of codes: of the shape of the columns' sizes.

    One record adds 1 to one cell.
    """
    shape = tuple(table.schema.sizes[column] for column in columns)
    cells = np.ravel_multi_index(tuple(table.codes[:, column] for column in columns), shape)
    return np.bincount(cells, minlength=math.prod(shape)).reshape(shape)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A column that may join the graph.

    Attributes:
        column: Its place in the schema.
        beside: Places of the columns that it would depend on, the target left out; the latest in the order first.
    """

    column: int
    beside: tuple[int, ...]


def first_nodes(plan: MarginalPlan) -> list[Node]:
    """The graph before anything is chosen: the target, where there is one, and the first other column."""
    root = [Node(place, ()) for place in plan.beside]
    return [*root, Node(plan.columns[0], plan.beside)]


def candidates(plan: MarginalPlan, nodes: Sequence[Node]) -> list[Candidate]:
    """Every way to join the graph that may pay. Public: the plan and the earlier choices say it.

    The parents must be together in a clique, so that the graph stays chordal. A marginal whose noise would be larger
    than any score is left out; a column with no parent but the target is always there.
    """
    joined = {node.column for node in nodes}
    sets: dict[tuple[int, ...], None] = {(): None}
    for node in nodes:
        if node.column != plan.target:
            clique = [column for column in node.clique if column != plan.target]
            sets.update((chosen, None) for size in range(1, plan.parents + 1) for chosen in combinations(clique, size))
    return [
        Candidate(column, beside)
        for column in plan.columns
        if column not in joined
        for beside in sets
        if not beside or _may_pay(plan, (column, *beside))
    ]


def score(plan: MarginalPlan, table: Table, candidate: Candidate, given_target: Array) -> float:
    """A candidate's score, in records. One record moves it by at most 2.

    Args:
        plan: Says the noise of measuring it.
        table: The private rows.
        candidate: What is scored.
        given_target: Probabilities of the column's codes, by the target's code where there is one; privately released.
    """
    columns = (candidate.column, *candidate.beside, *plan.beside)
    counts = counts_of(table, columns)
    apart = given_target.reshape(
        given_target.shape[0], *(1 for _ in candidate.beside), *given_target.shape[1:]
    ) * counts.sum(axis=0)
    return float(np.abs(counts - apart).sum()) - _noise_of(plan, counts.size)


def _may_pay(plan: MarginalPlan, columns: tuple[int, ...]) -> bool:
    cells = math.prod(plan.schema.sizes[column] for column in (*columns, *plan.beside))
    return cells <= MAX_CELLS and _noise_of(plan, cells) < 2 * plan.records


def _noise_of(plan: MarginalPlan, cells: int) -> float:
    """What the noise on so many counts takes from a score, in records."""
    return _LASTING_NOISE * math.sqrt(2 / math.pi) * float(plan.joint.sigma) * cells
