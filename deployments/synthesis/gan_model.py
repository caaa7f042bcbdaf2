"""What a conditional GAN releases: its generator alone, and rows drawn from it. Free of torch.

A row is made from a condition (one value of one column, drawn from the released shares) and normal numbers: two hidden
layers, each with its units normalised, then for each column in turn a head that sees the hidden layer and the columns
already drawn. The column of the condition has its value. Everything here follows from what was released privately;
drawing rows costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from deployments.synthesis.conditions import Shares, drawn_conditions
from deployments.synthesis.networks import NetworkPlan
from deployments.synthesis.sampling import (
    CALIBRATION_ROWS,
    Given,
    Weights,
    calibrated_heads,
    checked_tensors,
    drawn_by_heads,
    drawn_in_chunks,
    shapes_of_heads,
)
from deployments.synthesis.table import Codes, Table

_NORM_LEAST = 1e-5
"""Added to a variance; torch's own default."""


@dataclass(frozen=True, slots=True, eq=False)
class GanModel:
    """A generator.

    Attributes:
        plan: How it was made, and what that cost.
        tensors: For layers i of 1 and 2 `layers.i.weight`, `layers.i.bias`, `norms.i.weight`, `norms.i.bias`; for each
            column j `heads.j.weight` (size, hidden + codes seen), `heads.j.bias`, and what was released of its shares,
            `shares.j`. Read-only.

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
        sizes = self.plan.schema.sizes

        def drawn(some: int) -> Codes:
            given, hidden = self._hidden(some, generator)
            return drawn_by_heads(hidden, self.tensors, sizes, generator, given)

        return Table(self.plan.schema, drawn_in_chunks(rows, drawn))

    def calibrated(self, generator: np.random.Generator) -> "GanModel":
        """The same with the heads moved so that every column's shares become the released ones."""
        given, hidden = self._hidden(CALIBRATION_ROWS, generator)
        return GanModel(self.plan, calibrated_heads(hidden, self.tensors, self._shares, generator, given))

    @property
    def _shares(self) -> Shares:
        shares = [self.tensors[f"shares.{at}"].astype(np.float64) for at in range(len(self.plan.schema.sizes))]
        return tuple(share / share.sum() for share in shares)

    def _hidden(self, rows: int, generator: np.random.Generator) -> tuple[Given, Weights]:
        """Conditions, and the last hidden layer under them."""
        tensors, latent = self.tensors, self.plan.settings.latent
        conditions = drawn_conditions(self._shares, rows, generator)
        units = np.zeros((rows, latent + sum(self.plan.schema.sizes)), dtype=np.float32)
        units[:, :latent] = generator.standard_normal((rows, latent), dtype=np.float32)
        units[np.arange(rows), latent + conditions] = 1
        for layer in ("1", "2"):
            units = units @ tensors[f"layers.{layer}.weight"].T + tensors[f"layers.{layer}.bias"]
            units = units - units.mean(axis=1, keepdims=True)
            units = units / np.sqrt(np.square(units).mean(axis=1, keepdims=True) + _NORM_LEAST)
            units = np.maximum(units * tensors[f"norms.{layer}.weight"] + tensors[f"norms.{layer}.bias"], 0)
        return conditions, units


def _shapes(plan: NetworkPlan) -> dict[str, tuple[int, ...]]:
    hidden, sizes = plan.settings.hidden, plan.schema.sizes
    shapes: dict[str, tuple[int, ...]] = {f"shares.{at}": (size,) for at, size in enumerate(sizes)}
    for layer, inputs in (("1", plan.settings.latent + sum(sizes)), ("2", hidden)):
        shapes[f"layers.{layer}.weight"] = (hidden, inputs)
        shapes |= {f"{part}.{layer}.bias": (hidden,) for part in ("layers", "norms")}
        shapes[f"norms.{layer}.weight"] = (hidden,)
    return shapes | shapes_of_heads(sizes, hidden)
