"""One start of a task by several Ray workers: Ray Train makes the process group, `distributed` shares the steps."""

from pathlib import Path

import torch
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch import distributed

from deployments.json_lines import log_to_stderr
from deployments.training.devices import device_here
from deployments.training.start import Start
from deployments.training.work import carry_out


class ProcessGroup:
    """The workers of a process group as a `work.Crew`. The first one leads."""

    @property
    def leads(self) -> bool:
        """See `Crew`."""
        return distributed.get_rank() == 0

    def told_to_go(self, go: bool) -> bool:
        """See `Crew`."""
        word = torch.tensor(int(go), device=device_here())
        distributed.broadcast(word, 0)
        return bool(word)


def carry_out_together(start: Start, token: str, workers: int, storage: Path, *, gpus: bool) -> None:
    """Does the work on a cluster that `ray.init` has reached, one process a worker.

    Args:
        start: Of which task.
        token: To report with.
        workers: How many.
        storage: A folder that Ray Train may write to.
        gpus: Whether each worker gets a GPU: then sums travel by nccl, otherwise by gloo.
    """
    TorchTrainer(
        _work,
        train_loop_config={"start": start, "token": token},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpus),
        run_config=RunConfig(storage_path=str(storage)),
    ).fit()


def _work(config: dict[str, object]) -> None:
    start, token = config["start"], config["token"]
    assert isinstance(start, Start)
    assert isinstance(token, str)
    log_to_stderr(tenant_id=start.tenant_id, job_id=start.task_id, attempt=start.attempt)
    carry_out(start, token, ProcessGroup())
