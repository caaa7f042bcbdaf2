"""A run between two starts: weights, the optimizer's state and the number of steps done.

All of it comes from noisy sums, so a checkpoint is as private as the steps it says. No seed is in it.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accounting.values import InvalidValueError
from deployments.training.learning import Task, learning_to_wire
from deployments.training.recipe import Recipe
from deployments.training.stored import read_tensors, write_tensors

KIND = "checkpoint"
_WEIGHT, _STATE = "weight/", "state/"


def recipe_to_wire(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON-ready data; the inverse of `recipe_from_wire`."""
    return {
        "records": recipe.records,
        "batch": recipe.batch,
        "steps": recipe.steps,
        "clip": str(recipe.clip),
        "multiplier": str(recipe.multiplier),
    }


def write_checkpoint(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, task: Task, done: int
) -> None:
    """Replaces the file by the run as it is after `done` steps, wholly or not at all."""
    tensors = {_WEIGHT + name: tensor for name, tensor in module.state_dict().items()}
    for at, state in optimizer.state_dict()["state"].items():
        tensors |= {f"{_STATE}{at}/{name}": value for name, value in state.items() if isinstance(value, Tensor)}
    about = {"kind": KIND, "done": done, "recipe": recipe_to_wire(recipe), "learning": learning_to_wire(task)}
    write_tensors(path, tensors, about)


def read_checkpoint(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe, task: Task) -> int:
    """Brings module and optimizer to where the file says.

    Args:
        path: Of the file.
        module: As it was made first.
        optimizer: Of the module's parameters, before its first step.
        recipe: Of the run that goes on.
        task: Likewise.

    Returns:
        Steps that are done.

    Raises:
        InvalidValueError: If the file is damaged or of another run, or says more steps than the recipe. Module and
            optimizer are then as they were.
    """
    tensors, about = read_tensors(path, KIND)
    for part, now in (("recipe", recipe_to_wire(recipe)), ("learning", learning_to_wire(task))):
        if about.get(part) != now:
            reason = f"{path.name} is of another run: its {part} is {about.get(part)}, not {now}"
            raise InvalidValueError("checkpoint", reason)
    done = about.get("done")
    if not isinstance(done, int) or not 0 <= done <= recipe.steps:
        raise InvalidValueError("checkpoint", f"{path.name} says {done} steps, and {recipe.steps} were charged")
    _check_fit(tensors, module, optimizer, path)
    weights = {name.removeprefix(_WEIGHT): each for name, each in tensors.items() if name.startswith(_WEIGHT)}
    module.load_state_dict(weights)
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(_STATE):
            _, at, what = name.split("/", 2)
            states.setdefault(int(at), {})[what] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": states})
    return done


def _check_fit(tensors: dict[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Every tensor has its place and its shape."""
    shapes = {_WEIGHT + name: tensor.shape for name, tensor in module.state_dict().items()}
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    places = {str(at): parameter.shape for at, parameter in enumerate(trained)}
    for name, tensor in tensors.items():
        place = name.split("/")[1] if name.startswith(_STATE) else None
        # A state is of its parameter's shape, or one number, such as Adam's count of steps.
        expected = shapes.pop(name, None) if place is None else places.get(place)
        if expected is None or (tensor.shape != expected and not (place is not None and tensor.ndim == 0)):
            raise InvalidValueError("checkpoint", f"{path.name} is of another model: {name} has no place in this one")
    if shapes:
        raise InvalidValueError("checkpoint", f"{path.name} is of another model: it has no {min(shapes)}")
