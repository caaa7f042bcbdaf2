"""Trains a classifier or a regressor to the end of a recipe.

What leaves a run before its end is the number of steps done. Losses are of private rows, and are told to nobody; so
nothing here stops early, chooses or tunes by them. The learning rate follows the step count alone.

`torch.compile` is not offered: what Opacus computes per row hangs on hooks of every layer, at each of which a compiled
module breaks off, and it was measured to be no faster.
"""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from accounting.values import InvalidValueError
from deployments.training.bring import Brought, bring
from deployments.training.checkpoint import read_checkpoint, write_checkpoint
from deployments.training.distributed import SharedOptimisation
from deployments.training.features import Features, Meaning, Target
from deployments.training.learning import BroughtForm, OptimizerName, Precision, Task, learning_rate
from deployments.training.methods import Choice, Method, check_module, choose_method
from deployments.training.models import Architecture, build
from deployments.training.private import Options, PrivateOptimisation
from deployments.training.recipe import Recipe

Model = Architecture | Brought
Paced = Callable[[int], Callable[[int], bool]]
"""Told the steps that earlier starts have done; answers what is told the steps done after each step, and answers in
turn whether to stop. It must not look at private data, and is given none."""


@dataclass(frozen=True, slots=True)
class Checkpointing:
    """Where and how often a run is kept, to go on after a crash.

    A run that goes on draws new rows and new noise for the steps that were lost; of these nothing is left that could
    tell of rows. **Only one outcome of a run may ever be published**: two that go on from one checkpoint cost twice.

    Attributes:
        path: The file; a run goes on from it where it is there.
        every: Steps from one writing to the next.
    """

    path: Path
    every: int = 100


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """What a run gives; private by its recipe, and so is all that is computed from it.

    Attributes:
        module: The network, to be called on float32 rows.
        model: What it is made from.
        meaning: Of its outputs.
        recipe: What was charged.
        done: Steps that were made; fewer than the recipe's only where the run was stopped.
        choice: How gradients were clipped, and why so.
    """

    module: nn.Module
    model: Model
    meaning: Meaning
    recipe: Recipe
    done: int
    choice: Choice

    def predict(self, features: Features, batch: int = 4096) -> Tensor:
        """Probabilities of classes, of shape (rows, classes), or numbers within their bounds, of shape (rows,)."""
        self.module.eval()
        device = next(self.module.parameters()).device
        with torch.no_grad():
            parts = torch.split(torch.arange(features.rows, device=device), batch)
            outputs = torch.cat([self.module(features.batch(part)) for part in parts])
        if self.meaning.classes:
            return outputs.softmax(1)
        lower, upper = self.meaning.lower, self.meaning.upper
        return lower + (upper - lower) * outputs[:, 0].clamp(0, 1)


def train(
    features: Features,
    target: Target,
    recipe: Recipe,
    task: Task,
    *,
    paced: Paced | None = None,
    checkpoint: Checkpointing | None = None,
    allowed: Collection[str] = (),
    device: torch.device | str = "cpu",
    workers: bool = False,
) -> TrainedModel:
    """Makes every step of the recipe that is left.

    Args:
        features: What the model is given of each row.
        target: What it is to say of it.
        recipe: What was charged; for as many records as there are rows.
        task: The model and how it learns.
        paced: Called once before the first step, and what it answers after each; see `Paced`.
        checkpoint: Where the run is kept; None for nowhere.
        allowed: Import paths of models that may be brought.
        device: Where it is computed.
        workers: Whether every process of the process group is called with the same arguments, to share the work. Only
            the first one writes, tells and is asked.

    Raises:
        InvalidValueError: If the rows do not fit the recipe, the model cannot be made, or the checkpoint is of another
            run. Nothing was computed.
    """
    if not features.rows == len(target.values) == recipe.records:
        told = f"{features.rows} rows of features and {len(target.values)} of the target"
        raise InvalidValueError("records", f"are {recipe.records} in the recipe, but there are {told}")
    device = torch.device(device)
    features, target = features.to(device), target.to(device)
    model, module = made(features, target.meaning, task, allowed)
    module.to(device)
    choice = clipping(module, task, ours=isinstance(model, Architecture))
    optimizer = _optimizer(module, task)
    done = 0
    if checkpoint is not None and checkpoint.path.exists():
        done = read_checkpoint(checkpoint.path, module, optimizer, recipe, task)
    options = Options(choice.method, task.physical_batch, task.secure_noise, device)
    optimisation = SharedOptimisation if workers else PrivateOptimisation
    private = optimisation(module, optimizer, recipe, options, done=done)
    first = not workers or distributed.get_rank() == 0
    tell = paced(done) if paced is not None and first else None

    def set_rate(steps: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(task, steps, recipe.steps)

    def after_step(steps: int) -> bool:
        set_rate(steps)
        stopped = tell is not None and tell(steps)
        if checkpoint is not None and first and (stopped or steps % checkpoint.every == 0 or steps == recipe.steps):
            write_checkpoint(checkpoint.path, module, optimizer, recipe, task, steps)
        return stopped

    set_rate(done)
    private.run(losses_of(private.module, features, target, task.precision), after_step)
    return TrainedModel(module, model, target.meaning, recipe, private.done, choice)


def made(features: Features, meaning: Meaning, task: Task, allowed: Collection[str]) -> tuple[Model, nn.Module]:
    """The task's network for these rows, and its description."""
    if isinstance(task.model, BroughtForm):
        brought = Brought(task.model.path, features.shape, meaning.outputs, task.model.arguments)
        return brought, bring(brought, allowed)
    architecture = Architecture(task.model, features.shape, meaning.outputs, task.hidden)
    return architecture, build(architecture)


def clipping(module: nn.Module, task: Task, ours: bool) -> Choice:
    """How per-row gradients are clipped: as the task says, or the fastest valid way.

    In half precision, ghost clipping would take norms from rounded activations, and what is summed after a second
    backward pass is rounded otherwise: its norm may be above the bound. The other methods take norms, in single
    precision, of the very per-row gradients that they sum, however those were rounded before.

    Raises:
        InvalidValueError: If the task's method is not valid here.
    """
    check_module(module)
    half = task.precision is Precision.BFLOAT16
    if task.method is Method.GHOST and half:
        raise InvalidValueError("method", "ghost clipping would not bound gradients in bfloat16: use hooks")
    if task.method is Method.GHOST and not ours:
        raise InvalidValueError("method", "ghost clipping would miss parameters used without their layer: use hooks")
    if task.method is not None:
        return Choice(task.method, "the task names it")
    choice = choose_method(module, known=ours)
    if choice.method is Method.GHOST and half:
        return Choice(Method.HOOKS, "ghost clipping would not bound gradients in bfloat16")
    return choice


def losses_of(
    module: nn.Module, features: Features, target: Target, precision: Precision
) -> Callable[[Tensor, int], Tensor]:
    """Cross entropy of classes, or the squared error of a number, for each row."""

    def losses(rows: Tensor, beside: int) -> Tensor:
        with _precision(precision, rows.device):
            outputs = module(features.batch(rows))
        values = target.values.index_select(0, rows)
        if target.meaning.classes:
            return functional.cross_entropy(outputs.float(), values, reduction="none")
        errors: Tensor = outputs[:, 0].float() - values
        return errors.square()

    return losses


def _precision(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    if precision is Precision.FLOAT32:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _optimizer(module: nn.Module, task: Task) -> torch.optim.Optimizer:
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if task.optimizer is OptimizerName.ADAM:
        return torch.optim.Adam(trained, lr=task.learning_rate)
    return torch.optim.SGD(trained, lr=task.learning_rate, momentum=task.momentum)
