"""A network's run between two starts, in one file. All of it was released privately; no seed is in it."""

from dataclasses import dataclass
from pathlib import Path

import torch

from accounting.values import InvalidValueError
from deployments.synthesis.learner import State
from deployments.synthesis.networks import NetworkPlan, plan_to_wire
from deployments.training.stored import read_tensors, write_tensors

KIND = "network-checkpoint"
DONE = "done"


@dataclass(frozen=True, slots=True)
class RunFile:
    """A `learner.Checkpoint` in a file.

    Attributes:
        path: Of the file; its folder must be there.
        plan: Of the run. A file of another plan is refused.
        every: Steps from one writing to the next.
    """

    path: Path
    plan: NetworkPlan
    every: int = 100

    @property
    def done(self) -> int:
        """Steps that the file has; 0 where there is none.

        Raises:
            InvalidValueError: If the file is damaged or of another plan.
        """
        state = self.load()
        return 0 if state is None else int(state[DONE])

    def load(self) -> State | None:
        """What was kept last, or None at the first start.

        Raises:
            InvalidValueError: If the file is damaged or of another plan.
        """
        if not self.path.exists():
            return None
        tensors, about = read_tensors(self.path, KIND)
        if about.get("plan") != plan_to_wire(self.plan):
            raise InvalidValueError("checkpoint", "is of another plan: it cannot be gone on with")
        return tensors

    def due(self, done: int) -> bool:
        """Whether to keep the run after so many steps."""
        return done % self.every == 0

    def save(self, done: int, state: State) -> None:
        """Replaces the file, wholly or not at all."""
        write_tensors(self.path, {**state, DONE: torch.tensor(done)}, {"kind": KIND, "plan": plan_to_wire(self.plan)})
