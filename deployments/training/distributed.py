"""The same private optimisation by several processes, each with a share of the records that is public.

Record i belongs to process i modulo their number, which draws it with the recipe's probability, as one process would.
Each clips and sums its rows; the first one adds the noise of the whole step; the sums are added up (Opacus' distributed
optimizers). So a step is what it is in one process, and costs the same. Processes see each other's sums before there is
noise in them: all of them are trusted.

Opacus' own distributed sampler is not used, as it leaves a step out on a process that has drawn no row.

Needs a process group (`torch.distributed.init_process_group`); gloo for CPUs, nccl for GPUs.
"""

import hashlib
from collections.abc import Callable, Iterator

import torch
from opacus.distributed import DifferentiallyPrivateDistributedDataParallel
from opacus.optimizers import DPOptimizer
from opacus.optimizers.ddpoptimizer import DistributedDPOptimizer
from opacus.optimizers.ddpoptimizer_fast_gradient_clipping import DistributedDPOptimizerFastGradientClipping
from torch import Tensor, distributed, nn

from accounting.values import InvalidValueError
from deployments.training.methods import Method
from deployments.training.private import LossOf, Options, PrivateOptimisation
from deployments.training.recipe import Recipe


class SharedOptimisation(PrivateOptimisation):
    """One process' part of a private optimisation that all processes of the group make together."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        options: Options | None = None,
        *,
        done: int = 0,
    ) -> None:
        """As `PrivateOptimisation`, on every process of the group; all start from the first one's weights.

        Raises:
            InvalidValueError: Likewise, and if processes have different recipes, methods or steps done.
        """
        self.rank, self.workers = distributed.get_rank(), distributed.get_world_size()
        super().__init__(module, optimizer, recipe, options, done=done)
        self._check_agreement()
        # Sends the first process' weights to all.
        DifferentiallyPrivateDistributedDataParallel(module)

    def batches(self) -> Iterator[Tensor]:
        """The indices, of this process' records, of each step that is left; often none."""
        own = torch.arange(self.rank, self.recipe.records, self.workers, device=self.options.device)
        for drawn in self._drawn(len(own)):
            yield own[drawn]

    def run(self, loss_of: LossOf, after_step: Callable[[int], bool] | None = None) -> None:
        """All steps that are left. Every process' `after_step` is told; the first one's answer counts for all."""

        def agreed(done: int) -> bool:
            stop = after_step is not None and after_step(done)
            answer = torch.tensor(int(stop), device=self.options.device)
            distributed.broadcast(answer, 0)
            return bool(answer)

        super().run(loss_of, agreed)

    def _noisy(self, optimizer: torch.optim.Optimizer) -> DPOptimizer:
        made = DistributedDPOptimizerFastGradientClipping if self.method is Method.GHOST else DistributedDPOptimizer
        noise = self._noise()
        # Opacus divides by this and then by the number of processes.
        noise["expected_batch_size"] /= self.workers
        return made(optimizer, **noise)

    def _check_agreement(self) -> None:
        told = repr((self.recipe, self.method, self.done)).encode()
        digest = torch.tensor(list(hashlib.sha256(told).digest()), device=self.options.device)
        all_digests = [torch.empty_like(digest) for _ in range(self.workers)]
        distributed.all_gather(all_digests, digest)
        if not all(torch.equal(each, digest) for each in all_digests):
            raise InvalidValueError("workers", "do not agree on the recipe, the method or the steps that are done")
