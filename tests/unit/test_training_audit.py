"""Canaries in the shipped trainer: it stays below what it charges, and a trainer with half the noise does not."""

from dataclasses import replace
from decimal import Decimal

import pytest
import torch
from torch import nn

from accounting.values import InvalidValueError
from deployments.training.canary_audit import audit, canary_scores
from deployments.training.methods import Method
from deployments.training.private import Options, PrivateOptimisation
from deployments.training.recipe import Recipe

pytestmark = pytest.mark.untraced

DELTA = 1e-5
NOISE = {1: Decimal("4.145993004"), 3: Decimal("1.747718083")}
"""What `recipe_for` gives at each epsilon for 90 steps at a rate of 1/9; a test of recipes sees to that."""


CANARIES = 5_000


def a_recipe(claim: int) -> Recipe:
    return Recipe(5_400, 600, 90, Decimal(1), NOISE[claim])


def half_noise(
    module: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, options: Options
) -> PrivateOptimisation:
    """A trainer that adds half of what is charged."""
    return PrivateOptimisation(module, optimizer, replace(recipe, multiplier=recipe.multiplier / 2), options)


@pytest.mark.parametrize("method", [Method.GHOST, Method.HOOKS])
@pytest.mark.parametrize("claim", [1, 3])
def test_the_shipped_trainer_stays_below_its_claim(claim: int, method: Method) -> None:
    """And the canaries are seen all the same, so that the audit has looked."""
    found = audit(a_recipe(claim), claim, DELTA, canaries=CANARIES, confidence=0.9999, options=Options(method=method))
    assert not found.alarmed, found
    assert found.alarm.area > 0.52


@pytest.mark.parametrize("claim", [1, 3])
def test_half_the_noise_is_caught(claim: int) -> None:
    """The bound exceeds the claim."""
    found = audit(a_recipe(claim), claim, DELTA, canaries=CANARIES, confidence=0.9, optimise=half_noise)
    assert found.alarmed, found
    assert found.alarm.epsilon > claim


def test_without_noise_the_proof_alone_is_enough() -> None:
    """Every canary that was ever drawn is told from the others."""

    def no_noise(
        module: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, options: Options
    ) -> PrivateOptimisation:
        return PrivateOptimisation(module, optimizer, replace(recipe, multiplier=Decimal("0.000001")), options)

    assert audit(a_recipe(3), 3, DELTA, optimise=no_noise).proven > 3


def test_a_canary_gives_exactly_the_clipping_norm() -> None:
    """Without noise its score is the number of steps that drew it, and that of one that is left out is 0."""
    silent = replace(a_recipe(3), multiplier=Decimal("0.000001"), clip=Decimal("0.7"))
    included, excluded = canary_scores(silent, 300, Options())
    assert abs(excluded).max() < 1e-3
    assert abs(included - included.round()).max() < 1e-2
    assert 90 / 9 - 3 < included.mean() < 90 / 9 + 3


def test_too_few_canaries_are_refused() -> None:
    """And so are more than there are records."""
    for canaries in (199, 5_401):
        with pytest.raises(InvalidValueError, match="canaries"):
            audit(a_recipe(3), 3, DELTA, canaries=canaries)
