"""Networks that somebody brings, for tests: one that can be trained privately, and some that cannot."""

from torch import Tensor, nn


class Small(nn.Sequential):
    """For rows of so many numbers, with two classes and everything else."""

    def __init__(self, inputs: int = 4, outputs: int = 3) -> None:
        super().__init__(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, outputs))


class WithBatchNorm(nn.Sequential):
    """Two layers that mix rows."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3), nn.BatchNorm1d(3))


class Centred(nn.Module):
    """Takes the mean of the batch off: no layer that anybody knows is at fault."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, rows: Tensor) -> Tensor:
        """Of shape (rows, 3)."""
        outputs: Tensor = self.layer(rows - rows.mean(0))
        return outputs


def nothing() -> str:
    """Makes no network."""
    return "nothing"
