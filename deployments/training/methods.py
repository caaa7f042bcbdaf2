"""Which modules can be trained privately, and how their per-row gradients are clipped."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.validators import ModuleValidator
from torch import nn

from accounting.values import InvalidValueError


class Method(StrEnum):
    """How per-row gradients are clipped. All give the same sum; they differ in time and memory."""

    GHOST = "ghost"
    """Norms from activations, then a second backward pass of the weighted losses (Li et al. 2022; Opacus)."""
    HOOKS = "hooks"
    """Each layer's per-row gradients from activations and backpropagated errors."""
    FUNCTORCH = "functorch"
    """Per-row gradients by vectorised automatic differentiation: any layer."""


def check_module(module: nn.Module) -> None:
    """Refuses a module whose rows would not be independent of each other, or that Opacus cannot make private.

    Raises:
        InvalidValueError: Naming each layer and what is wrong with it.
    """
    faults = []
    for name, layer in module.named_modules():
        told = [str(error) for error in ModuleValidator.VALIDATORS.get(type(layer), _no_faults)(layer)]
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            told.insert(0, "mixes rows: use GroupNorm")
        elif kept := [buffer for buffer, _ in layer.named_buffers(recurse=False)]:
            told.append(f"has buffers ({', '.join(kept)}), which could keep what rows show without noise")
        faults += [f"layer {name or 'at the top'} ({type(layer).__name__}) {fault}" for fault in told]
    if not any(parameter.requires_grad for parameter in module.parameters()):
        faults.append("it has no parameter to train")
    if faults:
        raise InvalidValueError("module", f"cannot be trained privately: {'; '.join(faults)}")


def _no_faults(_: nn.Module) -> list[Exception]:
    return []


@dataclass(frozen=True, slots=True)
class Choice:
    """A method, and why it, in words for people."""

    method: Method
    reason: str


LARGEST_PART = 4096
"""Rows in memory at once."""
CACHED_PART = 256
"""The same on a CPU, where each row's gradient of every weight is made: more of them do not fit into its caches."""
GHOST_SHARE = 0.9
"""Ghost clipping pays where at least this share of the parameters has a rule for its norm."""


def choose_method(module: nn.Module, known: bool = True) -> Choice:
    """The fastest method that is valid for the module.

    Ghost clipping spares per-row gradients of linear layers and embeddings at the price of a second backward pass. It
    takes about a twelfth of the time of hooks where these layers hold nearly all parameters, and a little more than
    hooks where convolutions do, for whose norms Opacus has no rule. On sequences its rule costs the square of their
    length, which a module does not show: name the method there.

    Args:
        module: That passed `check_module`.
        known: Whether parameters are used by calling their layers alone. Ghost clipping sees no other use, whose
            gradient it would let pass unclipped; the other methods leave such a gradient out.
    """
    layers = [layer for layer in module.modules() if any(True for _ in layer.parameters(recurse=False))]
    sizes = [sum(parameter.numel() for parameter in layer.parameters(recurse=False)) for layer in layers]
    rules = GradSampleModuleFastGradientClipping.NORM_SAMPLERS
    share = sum(size for layer, size in zip(layers, sizes, strict=True) if type(layer) in rules) / sum(sizes)
    shared = sum(sizes) > sum(parameter.numel() for parameter in module.parameters())
    if known and not shared and share >= GHOST_SHARE:
        return Choice(Method.GHOST, f"{share:.0%} of the parameters are in layers whose norms need no per-row gradient")
    if not known:
        why = "the module is not ours, and ghost clipping would miss a parameter that is used without its layer"
    elif shared:
        why = "layers share parameters"
    else:
        why = f"only {share:.0%} of the parameters are in layers whose norms need no per-row gradient"
    if all(type(layer) in GradSampleModule.GRAD_SAMPLERS for layer in layers):
        return Choice(Method.HOOKS, f"{why}; every layer has a rule for its per-row gradients")
    return Choice(Method.FUNCTORCH, f"{why}; a layer has no rule for its per-row gradients")


def fitting_batch(method: Method, device: torch.device | str) -> int:
    """How many rows are best worked off at once. All of a step's rows are, part after part; only time depends on it."""
    cached = method is not Method.GHOST and torch.device(device).type == "cpu"
    return CACHED_PART if cached else LARGEST_PART
