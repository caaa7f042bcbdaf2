"""One private optimisation of a torch module: the only place where gradients of records are computed.

Clipping, noise and sampling are Opacus'. What is added here is what keeps a run to its recipe: Poisson batches of
exactly the probability that is charged, exactly the steps that are charged and not one more, a scale that depends on
public numbers alone, and records that can never give more than the clipping norm.

Noise and batches come from torch's generators (Philox on a GPU, Mersenne Twister on a CPU), seeded with 63 bits from
the operating system for each run and each start; the seeds are stored nowhere. These generators are **not**
cryptographically secure, and noise in single precision is not exactly Gaussian (Mironov 2012). `secure_noise` adds four
draws for each coordinate, which defends against the known attack on floating point (Holohan and Braghin 2021).
"""

import secrets
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.uniform_sampler import UniformWithReplacementSampler
from torch import Tensor, nn

from accounting.values import InvalidValueError
from deployments.training.methods import Method, check_module, choose_method, fitting_batch
from deployments.training.recipe import Recipe

# Opacus hooks every layer; the first one's input needs no gradient, which torch finds remarkable.
warnings.filterwarnings("ignore", message="Full backward hook is firing")

LossOf = Callable[[Tensor, int], Tensor]
"""Losses, one a row, of the records with the given indices and then of so many rows that are no records.

Called as `loss_of(indices, beside)`: answers a tensor of `len(indices) + beside` losses from one forward pass. No loss
may depend on another row, so no layer that mixes rows, such as BatchNorm.
"""


class OverrunError(RuntimeError):
    """A step more than was charged was asked for. Nothing was computed."""


class DivergedError(RuntimeError):
    """Rows that are no records have losses that are not finite. This tells nothing about records."""


@dataclass(frozen=True, slots=True)
class Options:
    """How, not what: nothing here changes what a run costs.

    Attributes:
        method: None to choose by `choose_method`.
        physical_batch: Rows in memory at once; a larger batch is worked off in parts. Halved when memory runs out. None
            for `methods.fitting_batch`.
        secure_noise: Whether each noise value is made of four draws.
        device: Where the module is.
    """

    method: Method | None = None
    physical_batch: int | None = None
    secure_noise: bool = False
    device: torch.device | str = "cpu"


def entropy_generator(device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by the operating system. The seed is not kept."""
    generator = torch.Generator(device=device)
    generator.manual_seed(secrets.randbits(63))
    return generator


class PrivateOptimisation:
    """Trains a module for the steps of a recipe. Every step is one that was charged."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        options: Options | None = None,
        *,
        beside: int = 0,
        done: int = 0,
    ) -> None:
        """Wraps the module; call `module` itself to evaluate it without gradients.

        Args:
            module: On `options.device`, its parameters in single precision.
            optimizer: Of the module's parameters, such as `torch.optim.Adam`.
            recipe: What was charged.
            options: How it is done.
            beside: Rows that are no records in each step, such as a generator's; their number is public and fixed.
            done: Steps that an earlier start has done, from its checkpoint.

        Raises:
            InvalidValueError: If the module cannot be trained privately, or more steps are done than were charged.
        """
        check_module(module)
        if not 0 <= done <= recipe.steps:
            raise InvalidValueError("done", f"must be from 0 to the {recipe.steps} steps that were charged")
        self.recipe = recipe
        self.options = options or Options()
        self.method = self.options.method or choose_method(module).method
        self.done = done
        self.physical_batch = self.options.physical_batch or fitting_batch(self.method, self.options.device)
        self._beside = beside
        self._broken = False
        self._wrapped = _wrapped(module, self.method, float(recipe.clip))
        self._reached = _reached(module)
        self._optimizer = self._noisy(optimizer)

    @property
    def module(self) -> nn.Module:
        """The module, as something to call in `loss_of`: its hooks see the call."""
        return self._wrapped

    def batches(self) -> Iterator[Tensor]:
        """The indices of each step that is left, each record in with the recipe's probability, independently."""
        return self._drawn(self.recipe.records)

    def _drawn(self, records: int) -> Iterator[Tensor]:
        sampler = UniformWithReplacementSampler(
            num_samples=records,
            sample_rate=float(self.recipe.probability),
            generator=entropy_generator(),
            steps=self.recipe.steps - self.done,
        )
        for drawn in sampler:
            yield torch.tensor(drawn, dtype=torch.long, device=self.options.device)

    def step(self, drawn: Tensor, loss_of: LossOf) -> None:
        """One noisy step on the records drawn.

        Raises:
            OverrunError: If all steps that were charged are done.
            DivergedError: If rows that are no records have no finite gradient.
            RuntimeError: If an earlier step has failed.
        """
        if self.done >= self.recipe.steps:
            raise OverrunError(f"all {self.recipe.steps} steps that were charged are done")
        if self._broken:
            raise RuntimeError("a step has failed: start again from the last checkpoint")
        # A step that fails half-way leaves sums behind. Rows would count twice in another one.
        self._broken = True
        self._optimizer.zero_grad()
        at, first = 0, True
        while first or at < len(drawn):
            part = drawn[at : at + self.physical_batch]
            last = at + len(part) >= len(drawn)
            try:
                self._accumulate(part, self._beside if first else 0, loss_of)
            except torch.OutOfMemoryError:
                if self.physical_batch == 1:
                    raise
                # The same batch, in smaller parts: what is charged does not change.
                self.physical_batch = max(1, self.physical_batch // 2)
                self._forget()
                continue
            self._optimizer.signal_skip_step(do_skip=not last)
            self._optimizer.step()
            if not last:
                self._optimizer.zero_grad()
            at, first = at + len(part), False
        self.done += 1
        self._broken = False
        self._optimizer.zero_grad()

    def run(self, loss_of: LossOf, after_step: Callable[[int], bool] | None = None) -> None:
        """All steps that are left.

        Args:
            loss_of: See `LossOf`; it calls `module`.
            after_step: Told how many steps are done; answers whether to stop. It must not depend on private data.
        """
        for drawn in self.batches():
            self.step(drawn, loss_of)
            if after_step is not None and after_step(self.done):
                return

    def _noisy(self, optimizer: torch.optim.Optimizer) -> DPOptimizer:
        made = DPOptimizerFastGradientClipping if self.method is Method.GHOST else DPOptimizer
        return made(optimizer, **self._noise())

    def _noise(self) -> dict[str, Any]:
        return {
            "noise_multiplier": float(self.recipe.multiplier),
            "max_grad_norm": float(self.recipe.clip),
            # Public, whatever number of records is drawn.
            "expected_batch_size": self.recipe.batch + self._beside,
            "loss_reduction": "mean",
            "generator": entropy_generator(self.options.device),
            "secure_mode": self.options.secure_noise,
        }

    def _accumulate(self, rows: Tensor, beside: int, loss_of: LossOf) -> None:
        """The clipped sum of these rows' gradients, ready for the optimizer to add to the step's."""
        if len(rows) + beside == 0:
            self._nothing()
            return
        finite = self._gradients(rows, beside, loss_of)
        # With dropout another row may fail the second time.
        while not bool(finite.all()):
            if not bool(finite[len(rows) :].all()):
                raise DivergedError("a row that is no record has no finite gradient: lower the learning rate")
            # What has no finite gradient gives nothing, so that it gives no more than the clipping norm.
            rows = rows[finite[: len(rows)]]
            if len(rows) + beside == 0:
                self._nothing()
                return
            finite = self._gradients(rows, beside, loss_of)

    def _gradients(self, rows: Tensor, beside: int, loss_of: LossOf) -> Tensor:
        """Computes them, and tells for each row whether its gradient is finite."""
        # A layer that is not called this time must not bring a norm of another time.
        self._forget()
        wrapped = cast(Any, self._wrapped)
        wrapped.train()
        wrapped.enable_hooks()
        losses: Any = loss_of(rows, beside)
        if losses.shape != (len(rows) + beside,):
            raise ValueError(f"loss_of gave losses of shape {tuple(losses.shape)} for {len(rows)} + {beside} rows")
        if self.method is not Method.GHOST:
            losses.sum().backward(inputs=self._reached)
            self._check_all_used("grad_sample")
            for parameter in self._optimizer.params:
                # Under autocast they come in half precision; a norm in it could be below the true one.
                parameter.grad_sample = parameter.grad_sample.to(parameter.dtype)
            norms = torch.stack([each.flatten(1).norm(2, dim=1) for each in self._optimizer.grad_samples]).norm(2, 0)
            return torch.isfinite(norms)
        losses.sum().backward(retain_graph=True, inputs=self._reached)
        self._check_all_used("_norm_sample")
        # Norms are known now; the gradients of the sum are not wanted.
        self._optimizer.original_optimizer.zero_grad()
        norms = wrapped.get_norm_sample()
        factors = wrapped.get_clipping_coef()
        wrapped.disable_hooks()
        (factors.detach() * losses).sum().backward()
        return torch.isfinite(norms)

    def _check_all_used(self, name: str) -> None:
        if any(getattr(parameter, name, None) is None for parameter in self._optimizer.params):
            raise ValueError("a parameter took no part in the losses: every layer must be called at every step")

    def _nothing(self) -> None:
        """An empty part: no record was drawn."""
        for parameter in self._optimizer.params:
            if self.method is Method.GHOST:
                parameter.grad = torch.zeros_like(parameter)
            else:
                parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))

    def _forget(self) -> None:
        """What an attempt has left behind in this part; not what earlier parts of the step gave."""
        for parameter in cast(Iterator[Any], self._wrapped.parameters()):
            parameter.grad = None
            parameter.grad_sample = None
            parameter._forward_counter = 0
            for name in ("_current_grad_sample", "_norm_sample"):
                if hasattr(parameter, name):
                    delattr(parameter, name)
        for layer in self._wrapped.modules():
            for name in ("activations", "max_batch_len"):
                if hasattr(layer, name):
                    delattr(layer, name)


def _reached(module: nn.Module) -> list[nn.Parameter]:
    """The smallest parameter of each layer: a backward pass to these runs every layer's hook and little else.

    The gradient of the sum over rows, which plain backward computes for every parameter, is not wanted there. Of a
    layer that Opacus does not know, all parameters, as its output may not depend on each.
    """
    reached: list[nn.Parameter] = []
    for layer in module.modules():
        trained = [each for each in layer.parameters(recurse=False) if each.requires_grad]
        known = type(layer) in GradSampleModule.GRAD_SAMPLERS
        reached += [min(trained, key=Tensor.numel)] if known and trained else trained
    return reached


def _wrapped(module: nn.Module, method: Method, clip: float) -> nn.Module:
    if method is Method.GHOST:
        made = GradSampleModuleFastGradientClipping(module, loss_reduction="sum", max_grad_norm=clip)
    else:
        made = GradSampleModule(module, loss_reduction="sum", force_functorch=method is Method.FUNCTORCH)
    return cast(nn.Module, made)
