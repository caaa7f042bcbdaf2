"""Two real processes that train together, and say what came out. Started by `test_training_distributed`."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from accounting.values import InvalidValueError
from deployments.training.distributed import SharedOptimisation
from deployments.training.features import images, labels
from deployments.training.learning import OptimizerName, Schedule, Task
from deployments.training.methods import Method
from deployments.training.models import Form
from deployments.training.private import Options, PrivateOptimisation
from deployments.training.recipe import Recipe
from deployments.training.trainer import Checkpointing, train

SILENT = Recipe(41, 10, 400, Decimal("0.5"), Decimal("0.000001"))
LOUD = replace(SILENT, multiplier=Decimal("1.5"))
NOISY_STEPS = 40
DRAWN = list(range(0, 41, 3))
"""Rows of both processes; more of the first than of the second."""


def a_module(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def released(private: PrivateOptimisation, module: nn.Module, drawn: Tensor) -> Tensor:
    """A step's gradient, which steps of size 1 subtract from the weights."""
    generator = torch.Generator().manual_seed(5)
    inputs, classes = torch.randn(41, 6, generator=generator) * 3, torch.randint(0, 3, (41,), generator=generator)
    before = nn.utils.parameters_to_vector(module.parameters()).detach()
    private.step(
        drawn, lambda rows, _: functional.cross_entropy(private.module(inputs[rows]), classes[rows], reduction="none")
    )
    return before - nn.utils.parameters_to_vector(module.parameters()).detach()


def alone(method: Method) -> Tensor:
    """The same step by one process."""
    module = a_module(0)
    private = PrivateOptimisation(module, torch.optim.SGD(module.parameters(), lr=1.0), SILENT, Options(method))
    return released(private, module, torch.tensor(DRAWN))


def shared(seed: int, recipe: Recipe, method: Method | None = None) -> tuple[SharedOptimisation, nn.Module]:
    module = a_module(seed)
    options = Options(method, physical_batch=3)
    return SharedOptimisation(module, torch.optim.SGD(module.parameters(), lr=1.0), recipe, options), module


def trained(rank: int, folder: Path) -> dict[str, object]:
    """By the trainer, stopped after 4 of 6 steps by the first process, and once more to the end."""
    features = images(np.random.default_rng(1).integers(0, 256, (41, 2, 2)))
    target = labels(np.arange(41) % 3, ("a", "b", "c"))
    task = Task(Form.CNN, (4,), OptimizerName.SGD, schedule=Schedule.COSINE, learning_rate=1.0)
    told: list[int] = []

    def paced(begun: int) -> Callable[[int], bool]:
        def after_step(done: int) -> bool:
            told.append(done)
            return begun == 0 and done == 4

        return after_step

    checkpoint = Checkpointing(folder / "run.safetensors", every=100)
    for _ in range(2):
        # The second process would stop at another step, if it were asked.
        model = train(
            features,
            target,
            replace(LOUD, steps=6),
            task,
            paced=paced if rank == 0 else lambda _: lambda done: done == 2,
            checkpoint=checkpoint,
            workers=True,
        )
    weights = nn.utils.parameters_to_vector(model.module.parameters()).tolist()
    return {"told": told, "weights": weights, "trained": model.done}


def main(rank: int, folder: Path) -> None:
    """One process: writes what it found to the folder."""
    torch.set_num_threads(1)
    store = f"file://{folder / 'store'}"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    mine = torch.tensor([row for row in DRAWN if row % 2 == rank])
    nobody = torch.empty(0, dtype=torch.long)
    found: dict[str, object] = {}
    for method in Method:
        # Every process begins with other weights, and takes the first one's.
        private, module = shared(rank, SILENT, method)
        found[method] = released(private, module, mine).tolist()
        # Only the second process has drawn rows.
        private, module = shared(rank, SILENT, method)
        found[f"one-sided {method}"] = released(private, module, mine if rank else nobody).tolist()
    private, module = shared(rank, LOUD)
    noise = [released(private, module, nobody) for _ in range(NOISY_STEPS)]
    found["noise"] = (torch.cat(noise) * 10 / (1.5 * 0.5)).tolist()
    found["batches"] = [drawn.tolist() for drawn in shared(rank, LOUD)[0].batches()]
    private, module = shared(rank, LOUD)
    private.run(lambda rows, _: private.module(torch.ones(len(rows), 6)).sum(1), lambda done: done == 3)
    found["stopped"] = private.done
    try:
        shared(rank, replace(LOUD, steps=400 + rank))
    except InvalidValueError as error:
        found["refused"] = str(error)
    found |= trained(rank, folder)
    distributed.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
