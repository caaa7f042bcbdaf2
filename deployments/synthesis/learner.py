"""A module in training: its Adam, its learning rate, the average of its parameters, and all that as plain tensors.

The average is what is released. It follows from the noisy steps, so it costs nothing, and it takes much of their noise
away.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from accounting.values import InvalidValueError
from deployments.synthesis.conditions import Shares
from deployments.synthesis.networks import NetworkPlan
from deployments.synthesis.table import Table

Progress = Callable[[int], bool]
"""Told how many steps are done, never a loss; answers whether to stop. It must not depend on private data."""
State = dict[str, Tensor]

_WARM_UP = 20
_LAST_RATE = 0.1
_MEMORY = 0.99


class StoppedError(RuntimeError):
    """`progress` asked to stop. What was charged stays charged."""


class Checkpoint(Protocol):
    """Where a run is kept from time to time. All that is kept was released privately, the encoder too."""

    def load(self) -> State | None:
        """What was kept last, or None at the first start."""

    def due(self, done: int) -> bool:
        """Whether to keep the run after so many steps."""

    def save(self, done: int, state: State) -> None:
        """Keeps the run."""


class Learner:
    """A module with Adam and the average of its parameters."""

    def __init__(self, module: nn.Module, peak: float, steps: int, inertia: float = 0.9) -> None:
        """Starts at a rate of zero.

        Args:
            module: On its device.
            peak: The highest learning rate.
            steps: After which training ends.
            inertia: Adam's memory of gradients.
        """
        self.module = module
        self.optimizer = torch.optim.Adam(module.parameters(), lr=0.0, betas=(inertia, 0.999))
        self.average = [parameter.detach().clone() for parameter in module.parameters()]
        self._peak, self._steps = peak, steps
        self.set_rate(0)

    def follow(self, done: int) -> None:
        """After so many steps: takes the parameters into the average and sets the rate of the next step."""
        memory = min(_MEMORY, (1 + done) / (10 + done))
        for average, parameter in zip(self.average, self.module.parameters(), strict=True):
            average.lerp_(parameter.detach(), 1 - memory)
        self.set_rate(done)

    def set_rate(self, done: int) -> None:
        """Sets the rate of the step that comes after so many."""
        warm = min(1.0, (done + 1) / _WARM_UP)
        late = max(0.0, 2 * done / self._steps - 1)
        for group in self.optimizer.param_groups:
            group["lr"] = self._peak * warm * (1 - (1 - _LAST_RATE) * late)

    def averaged(self) -> nn.Module:
        """The module itself, its parameters now the average."""
        with torch.no_grad():
            for average, parameter in zip(self.average, self.module.parameters(), strict=True):
                parameter.copy_(average)
        return self.module

    def state(self, prefix: str) -> State:
        """Everything, by names that start with the prefix."""
        return {f"{prefix}.{name}": tensor.detach().clone() for name, tensor in self._tensors()}

    def load(self, prefix: str, state: Mapping[str, Tensor]) -> None:
        """Puts a state back.

        Raises:
            InvalidValueError: If it is not of such a module.
        """
        for parameter in self.module.parameters():
            # As Adam itself starts.
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {"step": torch.tensor(0.0), **moments}
        with torch.no_grad():
            for name, tensor in self._tensors():
                kept = state.get(f"{prefix}.{name}")
                if kept is None or kept.shape != tensor.shape:
                    raise InvalidValueError("checkpoint", f"is of another network: {prefix}.{name} does not fit")
                tensor.copy_(kept)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self.module.state_dict().items():
            yield f"module.{name}", tensor
        for at, (average, parameter) in enumerate(zip(self.average, self.module.parameters(), strict=True)):
            yield f"average.{at}", average
            for name, tensor in self.optimizer.state[parameter].items():
                yield f"optimizer.{at}.{name}", tensor


def check_table(table: Table, plan: NetworkPlan, kind: str) -> None:
    """Refuses a table that the plan is not for.

    Raises:
        InvalidValueError: Naming what differs.
    """
    if plan.kind != kind:
        raise InvalidValueError("plan", f"is for a {plan.kind}, not for a {kind}")
    if table.schema != plan.schema:
        raise InvalidValueError("schema", "is not the plan's: make the plan for the schema that the table has")
    if table.rows != plan.recipe.records:
        raise InvalidValueError("records", "is not the table's number of rows: make the plan for the rows there are")


def one_hot(places: Tensor, width: int) -> Tensor:
    """Rows of zeros with ones at the places, of shape (rows, columns) to (rows, width)."""
    return torch.zeros((len(places), width), device=places.device).scatter_(1, places, 1.0)


def shares_to_state(shares: Shares) -> State:
    """Released shares, as they stand in a checkpoint."""
    return {f"shares.{at}": torch.from_numpy(share) for at, share in enumerate(shares)}


def shares_from_state(state: Mapping[str, Tensor], columns: int) -> Shares:
    """The same, back."""
    return tuple(state[f"shares.{at}"].cpu().numpy() for at in range(columns))
