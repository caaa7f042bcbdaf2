"""A trainer is asked to hide canaries whose gradients nothing else touches; how badly it does bounds epsilon.

Each canary has a weight of its own in an extra linear layer, and its gradient is that coordinate alone, clipped to
exactly the clipping norm: the Dirac canaries of Nasr et al. 2023 ("Tight auditing of differentially private machine
learning"), all in one run. A fair coin of its own puts each into the data. Its score is the sum, over all steps, of
what was released at its coordinate. Nothing here knows how the trainer clips, samples or adds noise.

This is done to the trainer, with rows made up for it, at the numbers of a recipe; never with records.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from accounting.values import InvalidValueError
from deployments.auditing.gaussian_canaries import CanaryBound, canary_bound
from deployments.auditing.one_run import guess, one_run_bound
from deployments.training.private import Options, PrivateOptimisation, entropy_generator
from deployments.training.recipe import Recipe

Scores = NDArray[np.float64]
Optimise = Callable[[nn.Module, torch.optim.Optimizer, Recipe, Options], PrivateOptimisation]

FEWEST_CANARIES = 200
MOST_CANARIES = 20_000
GUESSED = 0.1
"""Share of the coins that are guessed for the bound that holds for every mechanism."""
_COLUMNS, _WIDTH, _CLASSES = 8, 16, 2
_STEEP = 1_000.0
"""Clipping norms: how long a canary's gradient is before it is clipped."""


@dataclass(frozen=True, slots=True)
class CanaryAudit:
    """What an audit found.

    Attributes:
        claim: The epsilon that was charged.
        alarm: The bound if the trainer loses no more than a Gaussian does. It finds most, and is no proof.
        proven: A number that epsilon is at least, with the alarm's confidence, whatever the trainer does.
    """

    claim: float
    alarm: CanaryBound
    proven: float

    @property
    def alarmed(self) -> bool:
        """Whether the trainer seems to lose more than is charged."""
        return max(self.alarm.epsilon, self.proven) > self.claim


def audit(
    recipe: Recipe,
    claim: float,
    delta: float,
    *,
    canaries: int = 2_000,
    confidence: float = 0.99,
    options: Options | None = None,
    optimise: Optimise = PrivateOptimisation,
) -> CanaryAudit:
    """Trains once at the numbers of a recipe, with canaries among made-up rows.

    Args:
        recipe: What is claimed to have the price; with at least as many records as there are canaries.
        claim: Its epsilon at delta.
        delta: In (0, 1).
        canaries: From `FEWEST_CANARIES` to `MOST_CANARIES`.
        confidence: In (0.5, 1); of each bound.
        options: How the trainer works.
        optimise: The trainer.

    Raises:
        InvalidValueError: If a number is out of range.
    """
    included, excluded = canary_scores(recipe, canaries, options or Options(), optimise)
    alarm = canary_bound(included, excluded, delta, confidence)
    guesses = guess(included, excluded, 2 * round(canaries * GUESSED / 2))
    return CanaryAudit(claim, alarm, one_run_bound(guesses, delta, confidence))


def canary_scores(
    recipe: Recipe, canaries: int, options: Options, optimise: Optimise = PrivateOptimisation
) -> tuple[Scores, Scores]:
    """Scores of the canaries that were in the data, and of those that were not, in units of the clipping norm."""
    if not FEWEST_CANARIES <= canaries <= min(MOST_CANARIES, recipe.records):
        most = min(MOST_CANARIES, recipe.records)
        raise InvalidValueError("canaries", f"must be from {FEWEST_CANARIES} to {most}, and at most one a record")
    data = _Data.made(recipe, canaries, torch.device(options.device))
    module = _Watched(canaries).to(options.device)
    # Steps of size 1 leave minus the sum of all that was released in the canaries' weights.
    groups = [{"params": module.watched.parameters(), "lr": 1.0}, {"params": module.model.parameters(), "lr": 0.01}]
    private = optimise(module, torch.optim.SGD(groups), recipe, options)
    private.run(lambda rows, beside: data.losses(private.module, rows))
    released = -module.watched.weight.detach()[0].double().cpu().numpy()
    scores = released * recipe.batch / float(recipe.clip)
    chosen = data.included[:canaries].cpu().numpy()
    return scores[chosen], scores[~chosen]


class _Watched(nn.Module):
    """A model, and beside it a weight for each canary, from 0."""

    def __init__(self, canaries: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Linear(_COLUMNS, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _CLASSES))
        self.watched = nn.Linear(canaries, 1, bias=False)
        nn.init.zeros_(self.watched.weight)

    def forward(self, rows: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
        return self.model(rows), self.watched(marks)[:, 0]


@dataclass(frozen=True, slots=True)
class _Data:
    """Records, canaries first. One that is left out has no loss, as if it were not there."""

    inputs: Tensor
    classes: Tensor
    included: Tensor
    canaries: int
    steepness: float

    @classmethod
    def made(cls, recipe: Recipe, canaries: int, device: torch.device) -> "_Data":
        coins = torch.ones(recipe.records, dtype=torch.bool)
        coins[:canaries] = torch.rand(canaries, generator=entropy_generator()) < 0.5
        inputs = torch.randn(recipe.records, _COLUMNS)
        classes = torch.randint(0, _CLASSES, (recipe.records,))
        steepness = _STEEP * float(recipe.clip)
        return cls(inputs.to(device), classes.to(device), coins.to(device), canaries, steepness)

    def losses(self, module: nn.Module, rows: Tensor) -> Tensor:
        is_canary = rows < self.canaries
        marks = torch.zeros(len(rows), self.canaries, device=rows.device)
        marks[is_canary, rows[is_canary]] = 1
        outputs, watched = module(self.inputs[rows], marks)
        plain = functional.cross_entropy(outputs, self.classes[rows], reduction="none")
        # To a canary's loss the model gives nothing, and to a plain row's the watched weights do.
        chosen = self.included[rows] & is_canary
        return torch.where(is_canary, self.steepness * watched * chosen, plain)
