"""A trained model in a file: its weights, what it is made from, what its outputs mean, and what it has cost."""

from collections.abc import Collection
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from accounting.values import InvalidValueError
from deployments.training.bring import Brought, bring
from deployments.training.checkpoint import recipe_to_wire
from deployments.training.features import Meaning
from deployments.training.methods import Choice, Method
from deployments.training.models import Architecture, Form, build
from deployments.training.recipe import Recipe
from deployments.training.stored import read_tensors, write_tensors
from deployments.training.trainer import Model, TrainedModel

KIND = "model"


def save_model(path: Path, trained: TrainedModel) -> None:
    """Writes or replaces the file, wholly or not at all."""
    made_from = {"architecture" if isinstance(trained.model, Architecture) else "brought": asdict(trained.model)}
    about = {
        "kind": KIND,
        "model": made_from,
        "meaning": asdict(trained.meaning),
        "recipe": recipe_to_wire(trained.recipe),
        "done": trained.done,
        "method": str(trained.choice.method),
        "reason": trained.choice.reason,
    }
    write_tensors(path, trained.module.state_dict(), about)


def load_model(path: Path, allowed: Collection[str] = ()) -> TrainedModel:
    """Reads what `save_model` wrote.

    Args:
        path: Of the file.
        allowed: Import paths of models that may be brought.

    Raises:
        InvalidValueError: If the file is damaged, is no model's, or its model may not be imported.
    """
    weights, about = read_tensors(path, KIND)
    try:
        model = _model(about["model"])
        recipe = about["recipe"]
        numbers = {name: Decimal(recipe[name]) for name in ("clip", "multiplier")}
        charged = Recipe(recipe["records"], recipe["batch"], recipe["steps"], **numbers)
        meaning = about["meaning"]
        meant = Meaning(tuple(meaning["classes"]), meaning["lower"], meaning["upper"])
        choice = Choice(Method(about["method"]), about["reason"])
        done = int(about["done"])
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        if isinstance(error, InvalidValueError):
            raise
        raise InvalidValueError("path", f"{path.name} does not say what its model is made from") from None
    module = build(model) if isinstance(model, Architecture) else bring(model, allowed)
    try:
        module.load_state_dict(weights)
    except RuntimeError:
        raise InvalidValueError("path", f"{path.name} has weights of another model than it says") from None
    return TrainedModel(module, model, meant, charged, done, choice)


def _model(wire: dict[str, Any]) -> Model:
    if "architecture" in wire:
        made = wire["architecture"]
        return Architecture(Form(made["form"]), tuple(made["inputs"]), made["outputs"], tuple(made["hidden"]))
    made = wire["brought"]
    return Brought(made["path"], tuple(made["inputs"]), made["outputs"], made["arguments"])
