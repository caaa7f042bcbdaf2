"""What a conditional GAN releases: its generator alone, and rows drawn from it. Free of torch.

A row is made from a condition (one value of one column) and normal numbers: two hidden layers, each with its units
normalised, then logits of all columns. The column of the condition has its value. Everything here follows from what was
released privately; drawing rows costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from deployments.synthesis.conditions import Shares, drawn_conditions, starts_of
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

_NORM_LEAST = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class GanModel:
    """A generator.

    Attributes:
        plan: How it was made, and what that cost.
        tensors: For layers i of 1 and 2 `layers.i.weight`, `layers.i.bias`, `norms.i.weight`, `norms.i.bias`; then
            `logits.weight`, `logits.bias`, and for each column j its released `shares.j`. Read-only.

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

    def calibrated(self, generator: np.random.Generator) -> "GanModel":
        """The same with the logits' bias moved so that every column's shares become the released ones."""
        _, logits = self._logits(CALIBRATION_ROWS, generator)
        bounds = pairwise((*starts_of(self.plan.schema.sizes).tolist(), logits.shape[1]))
        moved = [matching_bias(logits[:, a:b], share) for (a, b), share in zip(bounds, self._shares, strict=True)]
        return GanModel(self.plan, {**self.tensors, "logits.bias": self.tensors["logits.bias"] + np.concatenate(moved)})

    @property
    def _shares(self) -> Shares:
        shares = [self.tensors[f"shares.{at}"].astype(np.float64) for at in range(len(self.plan.schema.sizes))]
        return tuple(share / share.sum() for share in shares)

    def _drawn(self, rows: int, generator: np.random.Generator) -> Codes:
        sizes = self.plan.schema.sizes
        conditions, logits = self._logits(rows, generator)
        codes = np.empty((rows, len(sizes)), dtype=np.int32)
        for column, (size, start) in enumerate(zip(sizes, starts_of(sizes).tolist(), strict=True)):
            own = conditions - start
            drawn = drawn_codes(logits[:, start : start + size], generator)
            codes[:, column] = np.where((own >= 0) & (own < size), own, drawn)
        return codes

    def _logits(self, rows: int, generator: np.random.Generator) -> tuple[npt.NDArray[np.int64], Weights]:
        """Conditions, and the logits of all columns under them."""
        tensors = self.tensors
        conditions = drawn_conditions(self._shares, rows, generator)
        latent = self.plan.settings.latent
        units = np.zeros((rows, latent + sum(self.plan.schema.sizes)), dtype=np.float32)
        units[:, :latent] = generator.standard_normal((rows, latent), dtype=np.float32)
        units[np.arange(rows), latent + conditions] = 1
        for layer in ("1", "2"):
            units = units @ tensors[f"layers.{layer}.weight"].T + tensors[f"layers.{layer}.bias"]
            centred = units - units.mean(axis=1, keepdims=True)
            normal = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + _NORM_LEAST)
            units = np.maximum(normal * tensors[f"norms.{layer}.weight"] + tensors[f"norms.{layer}.bias"], 0)
        return conditions, units @ tensors["logits.weight"].T + tensors["logits.bias"]


def _shapes(plan: NetworkPlan) -> dict[str, tuple[int, ...]]:
    hidden, width = plan.settings.hidden, sum(plan.schema.sizes)
    shapes: dict[str, tuple[int, ...]] = {f"shares.{at}": (size,) for at, size in enumerate(plan.schema.sizes)}
    for layer, inputs in (("1", plan.settings.latent + width), ("2", hidden)):
        shapes[f"layers.{layer}.weight"] = (hidden, inputs)
        shapes |= {f"{part}.{layer}.bias": (hidden,) for part in ("layers", "norms")}
        shapes[f"norms.{layer}.weight"] = (hidden,)
    return {**shapes, "logits.weight": (width, hidden), "logits.bias": (width,)}
