"""What an autoencoder releases: its decoder alone, and rows drawn from it. Free of torch.

A row is made from a few normal numbers: a hidden layer, then for each column in turn a head that sees the hidden layer
and the columns already drawn. Everything here follows from what was released privately; drawing rows costs nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from deployments.synthesis.conditions import Shares, starts_of
from deployments.synthesis.networks import NetworkPlan
from deployments.synthesis.sampling import (
    CALIBRATION_ROWS,
    Weights,
    checked_tensors,
    drawn_codes,
    drawn_in_chunks,
    matching_bias,
)
from deployments.synthesis.table import Codes, Table

MAX_SEEN = 1024
"""Codes of earlier columns that a head sees, the nearest first. A wide table would else have a head of millions of
weights, and noise on each."""


@dataclass(frozen=True, slots=True, eq=False)
class TvaeModel:
    """A decoder.

    Attributes:
        plan: How it was made, and what that cost.
        tensors: `hidden.weight` (hidden, latent), `hidden.bias`, and for each column j `heads.j.weight` (size, hidden
            + codes seen) and `heads.j.bias`. Read-only.

    Raises:
        InvalidValueError: If a tensor is missing, superfluous, of another shape or not finite.
    """

    plan: NetworkPlan
    tensors: Mapping[str, Weights] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", checked_tensors(self.tensors, _shapes(self.plan)))

    def sample(self, rows: int, generator: np.random.Generator) -> Table:
        """Draws rows.

        Args:
            rows: How many, from 1 to `sampling.MAX_SAMPLE`.
            generator: Draws them. It has no part in the privacy.

        Raises:
            InvalidValueError: If the number is out of range.
        """
        return Table(self.plan.schema, drawn_in_chunks(rows, lambda some: self._drawn(some, generator)))

    def calibrated(self, shares: Shares, generator: np.random.Generator) -> "TvaeModel":
        """The same with each head's bias moved so that the column's shares become the released ones."""
        tensors = dict(self.tensors)

        def move(column: int, logits: Weights) -> Weights:
            moved = matching_bias(logits, shares[column])
            tensors[f"heads.{column}.bias"] = self.tensors[f"heads.{column}.bias"] + moved
            return logits + moved

        self._drawn(CALIBRATION_ROWS, generator, move)
        return TvaeModel(self.plan, tensors)

    def _drawn(
        self, rows: int, generator: np.random.Generator, move: Callable[[int, Weights], Weights] | None = None
    ) -> Codes:
        sizes, tensors = self.plan.schema.sizes, self.tensors
        latent = generator.standard_normal((rows, self.plan.settings.latent), dtype=np.float32)
        hidden = np.maximum(latent @ tensors["hidden.weight"].T + tensors["hidden.bias"], 0)
        inputs = np.zeros((rows, sum(sizes)), dtype=np.float32)
        codes = np.empty((rows, len(sizes)), dtype=np.int32)
        for column, (first, start) in enumerate(seen_by_heads(sizes)):
            seen = np.concatenate([hidden, inputs[:, first:start]], axis=1)
            logits = seen @ tensors[f"heads.{column}.weight"].T + tensors[f"heads.{column}.bias"]
            codes[:, column] = drawn_codes(logits if move is None else move(column, logits), generator)
            inputs[np.arange(rows), start + codes[:, column]] = 1
        return codes


def seen_by_heads(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """For each column which one-hot codes of earlier columns its head sees: from, and up to where its own start."""
    starts = starts_of(sizes).tolist()
    return [(min(at for at in starts if start - at <= MAX_SEEN), start) for start in starts]


def _shapes(plan: NetworkPlan) -> dict[str, tuple[int, ...]]:
    hidden = plan.settings.hidden
    shapes: dict[str, tuple[int, ...]] = {"hidden.weight": (hidden, plan.settings.latent), "hidden.bias": (hidden,)}
    for column, (size, (first, start)) in enumerate(
        zip(plan.schema.sizes, seen_by_heads(plan.schema.sizes), strict=True)
    ):
        shapes[f"heads.{column}.weight"] = (size, hidden + start - first)
        shapes[f"heads.{column}.bias"] = (size,)
    return shapes
