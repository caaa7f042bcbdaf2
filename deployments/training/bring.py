"""A network of one's own, by its import path. Only exact names of a list are imported: importing runs code.

Its code sees private rows, so whoever writes the list trusts what is on it. Two things are checked all the same: layer
by layer whether Opacus can make it private, and on random numbers whether its rows see each other.
"""

import importlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from accounting.values import InvalidValueError
from deployments.training.methods import check_module

MOST_UNLIKE = 1e-3
"""By how much, of the largest output, a row's output may differ for its company: sums round in another order."""

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class Brought:
    """A network that somebody brings.

    Attributes:
        path: ``package.module:Factory``.
        inputs: The shape of one row.
        outputs: Numbers that come out for each row.
        arguments: Of the factory, by name; plain JSON.
    """

    path: str
    inputs: tuple[int, ...]
    outputs: int
    arguments: Mapping[str, Json] = field(default_factory=dict)


def bring(brought: Brought, allowed: Collection[str] = ()) -> nn.Module:
    """Imports and makes the network.

    Args:
        brought: Which.
        allowed: Exact paths that may be imported; none by default.

    Raises:
        InvalidValueError: If the path is not allowed, is not there, makes no module, or makes one that cannot be
            trained privately.
    """
    if brought.path not in allowed:
        told = f"allowed are {', '.join(sorted(allowed))}" if allowed else "none is allowed here"
        raise InvalidValueError("model.path", f"{brought.path!r} may not be imported: {told}")
    name, _, factory = brought.path.partition(":")
    try:
        make = getattr(importlib.import_module(name), factory)
    except (ImportError, AttributeError, ValueError):
        raise InvalidValueError("model.path", f"{brought.path!r} is allowed but not installed here") from None
    try:
        module = make(**brought.arguments)
    except (TypeError, ValueError) as error:
        raise InvalidValueError("model.arguments", f"{brought.path} does not take them: {error}") from None
    if not isinstance(module, nn.Module):
        raise InvalidValueError("model.path", f"{brought.path!r} makes no torch module")
    check_module(module)
    check_rows(module, brought.inputs, brought.outputs)
    return module


def check_rows(module: nn.Module, inputs: tuple[int, ...], outputs: int) -> None:
    """Refuses a module whose output for a row depends on other rows, as seen on random numbers.

    Dropout is off meanwhile. A module that mixes rows only while it trains is not found out.

    Raises:
        InvalidValueError: With what was seen.
    """
    was_training = module.training
    module.eval()
    rows = torch.randn(5, *inputs)
    try:
        with torch.no_grad():
            together = module(rows)
            alone = torch.cat([module(row[None]) for row in rows])
    except RuntimeError as error:
        raise InvalidValueError("model", f"does not take rows of shape {inputs}: {error}") from None
    finally:
        module.train(was_training)
    if together.shape != (len(rows), outputs):
        reason = f"gives {tuple(together.shape[1:])} for a row, and must give ({outputs},)"
        raise InvalidValueError("model", reason)
    if not bool((together - alone).abs().max() <= MOST_UNLIKE * together.abs().max()):
        raise InvalidValueError("model", "gives a row another output in other company: no row may depend on another")
