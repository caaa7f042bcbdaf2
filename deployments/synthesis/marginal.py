"""Fits the marginal engine: draws the plan's noise, and nothing else, from the private table."""

from dataclasses import dataclass

import numpy as np

from accounting.values import InvalidValueError
from deployments.synthesis.draws import Draws
from deployments.synthesis.marginal_inference import Measurement, infer
from deployments.synthesis.marginal_model import Array, MarginalModel, Node
from deployments.synthesis.marginal_plan import MarginalPlan
from deployments.synthesis.marginal_structure import Candidate, candidates, counts_of, first_nodes, score
from deployments.synthesis.table import Table

_LEAST_CHANCE = 1e-6
"""Of a code whose noisy count is not positive."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """What was released: a graph and noisy counts, by column.

    Attributes:
        nodes: The graph, in order.
        singles: Counts of each column with the target.
        joints: Counts of each column that was chosen with its parents.
    """

    nodes: tuple[Node, ...]
    singles: dict[int, Array]
    joints: dict[int, Array]


def fit(table: Table, plan: MarginalPlan) -> MarginalModel:
    """Measures what the plan says and fits a model to it. Every call is one release of `plan.event`: charge each.

    The noise is OpenDP's own, from the operating system's entropy. Takes a second or two for 30,000 rows of a dozen
    columns.

    Args:
        table: The private rows.
        plan: For the table's schema.

    Raises:
        InvalidValueError: If the plan is for another schema.
        PricingDisagreementError: If OpenDP cannot confirm the price of a step.
    """
    if table.schema != plan.schema:
        raise InvalidValueError("schema", "is not the plan's: make the plan for the schema that the table has")
    measured = _measure(table, plan, Draws(plan.event, plan.delta))
    conditionals = infer(measured.nodes, plan.schema.sizes, _measurements(measured, plan))
    return MarginalModel(plan.schema, measured.nodes, tuple(conditionals))


def _measure(table: Table, plan: MarginalPlan, draws: Draws) -> _Measured:
    """All that looks at private rows."""
    singles: dict[int, Array] = {
        column: draws.noisy(plan.single, counts_of(table, (column, *plan.beside))).astype(np.float64)
        for column in plan.columns
    }
    given_target = {column: _given_target(counts) for column, counts in singles.items()}
    nodes, joints = first_nodes(plan), dict[int, Array]()
    scores: dict[Candidate, float] = {}
    while len(joints) < len(plan.columns) - 1:
        found = candidates(plan, nodes)
        for candidate in found:
            if candidate not in scores:
                scores[candidate] = score(plan, table, candidate, given_target[candidate.column])
        chosen = found[draws.choose(plan.choice, [scores[candidate] for candidate in found])]
        node = Node(chosen.column, (*chosen.beside, *plan.beside))
        joints[node.column] = draws.noisy(plan.joint, counts_of(table, node.clique)).astype(np.float64)
        nodes.append(node)
    return _Measured(tuple(nodes), singles, joints)


def _measurements(measured: _Measured, plan: MarginalPlan) -> list[Measurement]:
    """The counts, each where it is in the graph."""
    found = []
    for at, node in enumerate(measured.nodes):
        if node.column in measured.singles:
            axes = tuple(axis for axis, column in enumerate(node.clique) if column in (node.column, plan.target))
            found.append(Measurement(at, axes, measured.singles[node.column], float(plan.single.sigma)))
        if node.column in measured.joints:
            axes = tuple(range(len(node.clique)))
            found.append(Measurement(at, axes, measured.joints[node.column], float(plan.joint.sigma)))
    return found


def _given_target(counts: Array) -> Array:
    """Probabilities along the first axis, out of noisy counts."""
    raised = np.maximum(counts, _LEAST_CHANCE * max(float(counts.sum()), 1.0))
    chances: Array = raised / raised.sum(axis=0)
    return chances
