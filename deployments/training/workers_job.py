"""Training by several Ray workers: Ray Train makes the process group, `distributed` shares the steps.

Ray Train imports pandas, which is not among our dependencies: without it this module cannot be imported.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from deployments.training.features import Features, Target
from deployments.training.learning import Task
from deployments.training.recipe import Recipe
from deployments.training.saved import save_model
from deployments.training.trainer import Checkpointing, train


@dataclass(frozen=True, slots=True)
class Shared:
    """What every worker is given.

    Attributes:
        load: Reads the rows, the same ones in the same order on every worker.
        recipe: What was charged.
        task: The model and how it learns.
        model: Where the first worker saves it.
        checkpoint: A file that every worker can read.
        allowed: Import paths of models that may be brought.
    """

    load: Callable[[], tuple[Features, Target]]
    recipe: Recipe
    task: Task
    model: Path
    checkpoint: Checkpointing | None = None
    allowed: Collection[str] = field(default_factory=tuple)


def train_on_workers(shared: Shared, workers: int, storage: Path, gpus: bool = False) -> None:
    """Trains on a cluster that `ray.init` has reached, one process a worker, and saves the model.

    Args:
        shared: What every worker is given.
        workers: How many.
        storage: A folder that Ray Train may write to.
        gpus: Whether each worker has a GPU: then sums travel by nccl, otherwise by gloo.
    """
    trainer = TorchTrainer(
        _work,
        train_loop_config={"shared": shared},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=RunConfig(storage_path=str(storage)),
    )
    trainer.fit()


def _work(config: dict[str, Shared]) -> None:
    from torch import distributed

    shared = config["shared"]
    features, target = shared.load()
    trained = train(
        features,
        target,
        shared.recipe,
        shared.task,
        checkpoint=shared.checkpoint,
        allowed=shared.allowed,
        device=get_device(),
        workers=True,
    )
    if distributed.get_rank() == 0:
        save_model(shared.model, trained)
