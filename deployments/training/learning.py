"""How a model learns: what a person chooses beside the recipe. None of it changes what a run costs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from accounting.values import InvalidValueError
from deployments.training.methods import Method
from deployments.training.models import Form

LARGEST_RATE = 100.0
MAX_PHYSICAL_BATCH = 2**20


class OptimizerName(StrEnum):
    """How noisy gradients move the weights."""

    ADAM = "adam"
    SGD = "sgd"


class Schedule(StrEnum):
    """How the learning rate goes with the steps done."""

    CONSTANT = "constant"
    COSINE = "cosine"
    """From the rate to nothing, along half a cosine."""


class Precision(StrEnum):
    """In which numbers layers compute. Weights, norms, noise and sums are always in single precision."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True)
class BroughtForm:
    """A model of somebody's own: its import path and its arguments, as `bring.Brought` has them."""

    path: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """A model and how it learns.

    Attributes:
        model: The form of a model of ours, or one that is brought.
        hidden: Units of each hidden layer, or channels of each convolution; of a model of ours.
        optimizer: How noisy gradients move the weights.
        learning_rate: In (0, 100]; for Adam 0.001 is usual, for SGD with clipping at 1 about 1.
        momentum: Of SGD, in [0, 1).
        schedule: How the rate goes with the steps.
        physical_batch: Rows in memory at once; None for what fits the method and the device.
        precision: In which numbers layers compute.
        method: How per-row gradients are clipped; None for the fastest.
        secure_noise: Whether each noise value is made of four draws.

    Raises:
        InvalidValueError: If a number is out of range.
    """

    model: Form | BroughtForm
    hidden: tuple[int, ...] = ()
    optimizer: OptimizerName = OptimizerName.ADAM
    learning_rate: float = 0.001
    momentum: float = 0.0
    schedule: Schedule = Schedule.CONSTANT
    physical_batch: int | None = None
    precision: Precision = Precision.FLOAT32
    method: Method | None = None
    secure_noise: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate <= LARGEST_RATE:
            raise InvalidValueError("learning_rate", f"must be greater than 0 and at most {LARGEST_RATE:g}")
        if not 0 <= self.momentum < 1 or (self.momentum and self.optimizer is not OptimizerName.SGD):
            raise InvalidValueError("momentum", "must be from 0 to less than 1, and 0 for another optimizer than sgd")
        if self.physical_batch is not None and not 1 <= self.physical_batch <= MAX_PHYSICAL_BATCH:
            raise InvalidValueError("physical_batch", f"must be from 1 to {MAX_PHYSICAL_BATCH}")
        if self.hidden and isinstance(self.model, BroughtForm):
            raise InvalidValueError("hidden", "is for models of ours: give a brought one its arguments")


def learning_rate(task: Task, done: int, steps: int) -> float:
    """The rate of the step after `done` of `steps`."""
    if task.schedule is Schedule.CONSTANT:
        return task.learning_rate
    return task.learning_rate * (1 + math.cos(math.pi * done / steps)) / 2


def learning_to_wire(task: Task) -> dict[str, Any]:
    """What makes the weights what they become, as JSON-ready data: all but how much fits into memory."""
    model: Any = str(task.model)
    if isinstance(task.model, BroughtForm):
        model = {"path": task.model.path, "arguments": dict(task.model.arguments)}
    return {
        "model": model,
        "hidden": list(task.hidden),
        "optimizer": str(task.optimizer),
        "learning_rate": task.learning_rate,
        "momentum": task.momentum,
        "schedule": str(task.schedule),
        "precision": str(task.precision),
    }
