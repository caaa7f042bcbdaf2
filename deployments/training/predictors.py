"""Models that predict a column, trained by DP-SGD, as kinds of tasks."""

from collections.abc import Mapping
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

from accounting.events import Event
from accounting.values import InvalidValueError, decimal_text
from deployments.synthesis.schema import Category
from deployments.synthesis.table import Table
from deployments.training.document import TaskDocument
from deployments.training.folders import private_folder
from deployments.training.kinds import Order, Planned, Work
from deployments.training.recipe import Recipe, recipe_for, steps_of

CHECKPOINT = "run.safetensors"
MODEL = "model.safetensors"
DEFAULT_EPOCHS = Decimal(10)
DEFAULT_HIDDEN = {"mlp": [64, 64], "cnn": [16, 32]}
MAX_WEIGHTS = 200_000_000
_LEAST_BATCH, _MOST_BATCH, _PART = 64, 8192, 20


class PredictorKind:
    """Logistic and linear regression, multilayer perceptrons, small convolutional networks, and brought modules.

    A category is predicted as a class, a number as a number.
    """

    makes_rows = False
    shares_work = True

    def __init__(self, name: str) -> None:
        self._name = name

    def plan(self, order: Order) -> Planned:
        """See `Kind.plan`."""
        given = {name: value for name, value in order.options.items() if value is not None}
        if order.target is None:
            raise InvalidValueError("target", "is missing: name the column to predict")
        order.schema.index(order.target)
        batch = given.get("batch_size")
        if batch is None:
            batch = min(order.records, max(_LEAST_BATCH, min(_MOST_BATCH, order.records // _PART)))
        steps = given.get("steps")
        if steps is not None and "epochs" in given:
            raise InvalidValueError("steps", "or epochs: give one of both")
        if steps is None:
            steps = steps_of(order.records, batch, given.get("epochs", DEFAULT_EPOCHS))
        clip = given.get("max_grad_norm", Decimal(1))
        learning = {
            "hidden": given.get("hidden", DEFAULT_HIDDEN.get(self._name, [])),
            "learning_rate": given.get("learning_rate", 0.01),
            "image": given.get("image"),
            "module": given.get("module"),
            "arguments": given.get("arguments") or {},
        }
        _check_learning(self._name, learning, order)
        recipe = recipe_for(order.records, batch, steps, clip, order.epsilon, order.delta)
        return Planned(recipe.event, steps, {"recipe": _to_wire(recipe), "target": order.target, **learning})

    def rebuilt(self, document: TaskDocument) -> Event:
        """See `Kind.rebuilt`."""
        return _recipe(document.plan).event

    def carry_out(self, work: Work) -> bool:
        """See `Kind.carry_out`."""
        from deployments.training.devices import device_here
        from deployments.training.saved import save_model
        from deployments.training.trainer import Checkpointing, train

        plan = work.document.plan
        features, target = _features(work.table, plan["target"], plan["image"])
        private_folder(work.checkpoint)
        recipe = _recipe(plan)
        trained = train(
            features,
            target,
            recipe,
            _task(self._name, plan),
            paced=work.begin,
            checkpoint=Checkpointing(work.checkpoint / CHECKPOINT, every=max(10, recipe.steps // 50)),
            allowed=work.allowed,
            device=device_here(),
            workers=work.document.workers > 1,
        )
        if trained.done < recipe.steps:
            return False
        if work.leads:
            save_model(work.results / MODEL, trained)
        return True


def _check_learning(name: str, learning: Mapping[str, Any], order: Order) -> None:
    """Makes the model once, without any data, so that what is wrong with it is told before anything is held."""
    if (name == "module") != (learning["module"] is not None):
        raise InvalidValueError("module", "belongs to kind 'module', which needs it: package.module:Factory")
    if (name == "cnn") != (learning["image"] is not None):
        raise InvalidValueError("image", "belongs to kind 'cnn', which needs it: channels, height and width")
    if name != "module" and learning["arguments"]:
        raise InvalidValueError("arguments", "belong to kind 'module': they are its factory's")
    import numpy as np
    import torch

    from deployments.training.trainer import clipping, made

    # A row of zeros has the shape of a row of people.
    zeros = Table(order.schema, np.zeros((1, len(order.schema.columns)), np.int32))
    assert order.target is not None
    features, meant = _features(zeros, order.target, learning["image"])
    task = _task(name, learning)
    ours = name != "module"
    # One of ours has its shapes without its weights, of which there may be more than fit here.
    with torch.device("meta") if ours else nullcontext():
        _, module = made(features, meant.meaning, task, order.allowed)
    weights = sum(parameter.numel() for parameter in module.parameters())
    if weights > MAX_WEIGHTS:
        raise InvalidValueError("hidden" if ours else "module", f"makes {weights} weights, more than {MAX_WEIGHTS}")
    clipping(module, task, ours=ours)


def _features(table: Table, target: str, image: list[int] | None) -> tuple[Any, Any]:
    from deployments.training.features import class_target, images, number_target, one_hot

    column = table.schema.columns[table.schema.index(target)]
    meant = class_target(table, target) if isinstance(column, Category) else number_target(table, target)
    if image is None:
        return one_hot(table, target), meant
    kept = [at for at, name in enumerate(table.schema.names) if name != target]
    shades = {table.schema.sizes[at] for at in kept}
    if len(shades) != 1 or min(shades) < 2:
        raise InvalidValueError(
            "columns", "must all have the same number of bins, 2 or more: they are an image's pixels"
        )
    if len(image) != 3 or min(image) < 1 or image[0] * image[1] * image[2] != len(kept):
        raise InvalidValueError("image", f"must be channels, height and width of the {len(kept)} pixel columns")
    return images(table.codes[:, kept].reshape(-1, *image), 0, shades.pop() - 1), meant


def _task(name: str, learning: Mapping[str, Any]) -> Any:  # noqa: ANN401 - torch is loaded where it is used
    from deployments.training.learning import BroughtForm, Schedule, Task
    from deployments.training.models import Form

    forms = {"logistic": Form.LINEAR, "mlp": Form.MLP, "cnn": Form.CNN}
    model = forms[name] if name in forms else BroughtForm(learning["module"], learning["arguments"])
    return Task(model, tuple(learning["hidden"]), learning_rate=learning["learning_rate"], schedule=Schedule.COSINE)


def _to_wire(recipe: Recipe) -> dict[str, Any]:
    return {
        "records": recipe.records,
        "batch": recipe.batch,
        "steps": recipe.steps,
        "clip": decimal_text(recipe.clip),
        "multiplier": decimal_text(recipe.multiplier),
    }


def _recipe(plan: Mapping[str, Any]) -> Recipe:
    wire = dict(plan["recipe"])
    return Recipe(**wire | {name: Decimal(wire[name]) for name in ("clip", "multiplier")})
