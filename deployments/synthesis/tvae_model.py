"""What an autoencoder releases: its decoder alone, and rows drawn from it. Free of torch.

A row is made from a few normal numbers: a hidden layer, then for each column in turn a head that sees the hidden layer
and the columns already drawn. Everything here follows from what was released privately; drawing rows costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from deployments.synthesis.conditions import Shares
from deployments.synthesis.networks import NetworkPlan
from deployments.synthesis.sampling import (
    CALIBRATION_ROWS,
    Weights,
    calibrated_heads,
    checked_tensors,
    drawn_by_heads,
    drawn_in_chunks,
    shapes_of_heads,
)
from deployments.synthesis.table import Codes, Table


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
        hidden, latent = self.plan.settings.hidden, self.plan.settings.latent
        shapes = {"hidden.weight": (hidden, latent), "hidden.bias": (hidden,)}
        shapes |= shapes_of_heads(self.plan.schema.sizes, hidden)
        object.__setattr__(self, "tensors", checked_tensors(self.tensors, shapes))

    def sample(self, rows: int, generator: np.random.Generator) -> Table:
        """Draws rows.

        Args:
            rows: How many, from 1 to `sampling.MAX_SAMPLE`.
            generator: Draws them. It has no part in the privacy.

        Raises:
            InvalidValueError: If the number is out of range.
        """
        sizes = self.plan.schema.sizes

        def drawn(some: int) -> Codes:
            return drawn_by_heads(self._hidden(some, generator), self.tensors, sizes, generator)

        return Table(self.plan.schema, drawn_in_chunks(rows, drawn))

    def calibrated(self, shares: Shares, generator: np.random.Generator) -> "TvaeModel":
        """The same with the heads moved so that every column's shares become the released ones."""
        hidden = self._hidden(CALIBRATION_ROWS, generator)
        return TvaeModel(self.plan, calibrated_heads(hidden, self.tensors, shares, generator))

    def _hidden(self, rows: int, generator: np.random.Generator) -> Weights:
        latent = generator.standard_normal((rows, self.plan.settings.latent), dtype=np.float32)
        hidden: Weights = np.maximum(latent @ self.tensors["hidden.weight"].T + self.tensors["hidden.bias"], 0)
        return hidden
