"""A joint distribution of all columns as a chain of conditional ones, and rows drawn from it.

The columns are ordered. Each has parents among those before it, which are parents of one another: the graph is chordal.
So a distribution that fits given marginals can be computed exactly (`marginal_inference`), and rows are drawn column by
column.

Everything in a model was released privately or follows from what was. Drawing rows costs nothing.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from accounting.values import InvalidValueError
from deployments.synthesis import wire
from deployments.synthesis.schema import Schema, schema_from_wire, schema_to_wire
from deployments.synthesis.table import Table

Array = npt.NDArray[np.float64]

MODEL_VERSION = 1
MAX_SAMPLE = 10_000_000
"""Rows that are drawn at once."""


@dataclass(frozen=True, slots=True)
class Node:
    """A column in the order.

    Attributes:
        column: Its place in the schema.
        parents: Places of the columns it depends on, the latest in the order first.
    """

    column: int
    parents: tuple[int, ...]

    @property
    def clique(self) -> tuple[int, ...]:
        """The column and its parents: the axes of its conditional distribution."""
        return (self.column, *self.parents)


@dataclass(frozen=True, slots=True, eq=False)
class MarginalModel:
    """A distribution over the rows of a schema.

    Attributes:
        schema: The public columns.
        nodes: Every column once, in the order.
        conditionals: For each node the probabilities of its codes given its parents': of shape (size of the column,
            sizes of the parents), at least 0, summing to 1 along the first axis. Read-only.

    Raises:
        InvalidValueError: If the parts do not fit together.
    """

    schema: Schema
    nodes: tuple[Node, ...]
    conditionals: tuple[Array, ...] = field(repr=False)

    def __post_init__(self) -> None:
        sizes = self.schema.sizes
        seen: set[int] = set()
        if sorted(node.column for node in self.nodes) != list(range(len(sizes))):
            raise InvalidValueError("nodes", "must name every column of the schema once")
        if len(self.conditionals) != len(self.nodes):
            raise InvalidValueError("conditionals", "must be one for each node")
        copies = []
        for at, (node, given) in enumerate(zip(self.nodes, self.conditionals, strict=True)):
            if not seen.issuperset(node.parents) or len(set(node.parents)) < len(node.parents):
                raise InvalidValueError(f"nodes[{at}].parents", "must be columns that come before, each once")
            seen.add(node.column)
            conditional = np.array(given, dtype=np.float64)
            shape = tuple(sizes[column] for column in node.clique)
            if conditional.shape != shape:
                raise InvalidValueError(f"conditionals[{at}]", f"must be of shape {shape}")
            if not ((conditional >= 0).all() and np.allclose(conditional.sum(axis=0), 1, rtol=0, atol=1e-6)):
                reason = "must be probabilities that sum to 1 along the first axis"
                raise InvalidValueError(f"conditionals[{at}]", reason)
            conditional.setflags(write=False)
            copies.append(conditional)
        object.__setattr__(self, "conditionals", tuple(copies))

    def sample(self, rows: int, generator: np.random.Generator) -> Table:
        """Draws rows.

        Among rows that agree in a column's parents, each code is drawn as often as is expected of it, up to one time:
        so the rows' statistics stray less from the model's than those of independent draws.

        Args:
            rows: How many, from 1 to `MAX_SAMPLE`.
            generator: Draws them. It has no part in the privacy.

        Raises:
            InvalidValueError: If the number is out of range.
        """
        if not 1 <= rows <= MAX_SAMPLE:
            raise InvalidValueError("rows", f"must be from 1 to {MAX_SAMPLE}")
        codes = np.zeros((rows, len(self.schema.columns)), dtype=np.int32)
        for node, conditional in zip(self.nodes, self.conditionals, strict=True):
            groups = np.zeros(rows, dtype=np.int64)
            for parent in node.parents:
                groups = groups * self.schema.sizes[parent] + codes[:, parent]
            codes[:, node.column] = _drawn(conditional.reshape(len(conditional), -1), groups, generator)
        return Table(self.schema, codes)


def model_to_wire(model: MarginalModel) -> dict[str, Any]:
    """The model as JSON-ready data."""
    return {
        "version": MODEL_VERSION,
        "schema": schema_to_wire(model.schema),
        "nodes": [
            {"column": node.column, "parents": list(node.parents), "conditional": conditional.ravel().tolist()}
            for node, conditional in zip(model.nodes, model.conditionals, strict=True)
        ],
    }


def model_from_wire(data: object) -> MarginalModel:
    """The model that the data describes.

    Raises:
        InvalidValueError: If the data are not a model's.
    """
    found = wire.members(data, "model", {"version", "schema", "nodes"})
    if found["version"] != MODEL_VERSION:
        raise InvalidValueError("model.version", f"must be {MODEL_VERSION}")
    schema = schema_from_wire(found["schema"], "model.schema")
    parts = [
        _node_from_wire(node, schema, f"model.nodes[{at}]")
        for at, node in enumerate(wire.listed(found["nodes"], "model.nodes"))
    ]
    return MarginalModel(schema, tuple(node for node, _ in parts), tuple(conditional for _, conditional in parts))


def _node_from_wire(data: object, schema: Schema, path: str) -> tuple[Node, Array]:
    found = wire.members(data, path, {"column", "parents", "conditional"})
    clique = [wire.typed(found["column"], int, f"{path}.column", "a whole number")]
    for at, parent in enumerate(wire.listed(found["parents"], f"{path}.parents")):
        clique.append(wire.typed(parent, int, f"{path}.parents[{at}]", "a whole number"))
    if not all(0 <= column < len(schema.columns) for column in clique):
        raise InvalidValueError(path, f"must name columns from 0 to {len(schema.columns) - 1}")
    chances = [
        wire.number(chance, f"{path}.conditional[{at}]")
        for at, chance in enumerate(wire.listed(found["conditional"], f"{path}.conditional"))
    ]
    shape = [schema.sizes[column] for column in clique]
    if len(chances) != math.prod(shape):
        raise InvalidValueError(f"{path}.conditional", f"must have {math.prod(shape)} numbers, not {len(chances)}")
    return Node(clique[0], tuple(clique[1:])), np.array(chances).reshape(shape)


def _drawn(chances: Array, groups: npt.NDArray[np.int64], generator: np.random.Generator) -> npt.NDArray[np.int32]:
    """A code for each row, by the column of `chances` that its group names."""
    # The rows of a group, in random order, take evenly spaced places on its cumulated chances.
    order = generator.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    present, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    codes = np.empty(len(groups), dtype=np.int32)
    for group, start, count in zip(present.tolist(), starts.tolist(), counts.tolist(), strict=True):
        cumulated = np.cumsum(chances[:, group])
        places = (np.arange(count) + generator.random()) / count * cumulated[-1]
        codes[order[start : start + count]] = np.searchsorted(cumulated, places, side="right")
    # A place that rounds up to the end is past the last code.
    return np.minimum(codes, len(chances) - 1)
