"""Networks whose rows do not see each other, each described by numbers alone, so that a saved one is made again.

Without hidden layers this is logistic or linear regression.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from torch import nn

from accounting.values import InvalidValueError

MAX_HIDDEN = 8
"""Hidden layers."""
MAX_WIDTH = 8192
"""Units of a hidden layer, or channels of a convolution."""
MAX_INPUTS = 10**7
MAX_OUTPUTS = 100_000
_GROUP_CHANNELS = 4


class Form(StrEnum):
    """What a network is made of."""

    LINEAR = "linear"
    """One linear layer: logistic regression of classes, linear regression of a number."""
    MLP = "mlp"
    """Linear layers with rectifiers between them."""
    CNN = "cnn"
    """For images: convolutions of 3 by 3 with group normalisation and pooling, then one linear layer."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network.

    Attributes:
        form: What it is made of.
        inputs: The shape of one row: (columns,), or (channels, height, width) for `Form.CNN`.
        outputs: Numbers that come out for each row.
        hidden: Units of each hidden layer, or channels of each convolution; empty for `Form.LINEAR`.

    Raises:
        InvalidValueError: If a number is out of range or does not fit the form.
    """

    form: Form
    inputs: tuple[int, ...]
    outputs: int
    hidden: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if min(self.inputs, default=0) < 1 or math.prod(self.inputs) > MAX_INPUTS:
            raise InvalidValueError("inputs", f"must be sizes from 1, of at most {MAX_INPUTS} numbers a row")
        if not 1 <= self.outputs <= MAX_OUTPUTS:
            raise InvalidValueError("outputs", f"must be from 1 to {MAX_OUTPUTS}")
        if (self.form is Form.LINEAR) != (not self.hidden):
            raise InvalidValueError("hidden", "must be empty for a linear model, and have a layer or more for another")
        if len(self.hidden) > MAX_HIDDEN or not all(1 <= width <= MAX_WIDTH for width in self.hidden):
            raise InvalidValueError("hidden", f"must be at most {MAX_HIDDEN} layers, each of 1 to {MAX_WIDTH}")
        if self.form is Form.CNN:
            _check_image(self.inputs, len(self.hidden))
        elif len(self.inputs) != 1:
            raise InvalidValueError("model", f"{self.form} is for rows of numbers: use {Form.CNN} for images")


def build(architecture: Architecture) -> nn.Module:
    """The network, its first weights drawn by torch, independent of any data.

    A row comes in the architecture's shape; out come `outputs` numbers: logits of classes, or a number as it is.
    """
    if architecture.form is Form.CNN:
        return _convolutions(architecture)
    widths = (*architecture.inputs, *architecture.hidden)
    layers: list[nn.Module] = []
    for width, following in zip(widths, architecture.hidden, strict=False):
        layers += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], architecture.outputs))


def _convolutions(architecture: Architecture) -> nn.Module:
    channels, height, width = architecture.inputs
    layers: list[nn.Module] = []
    for following in architecture.hidden:
        # Group normalisation keeps to a row; batch normalisation would mix rows.
        groups = math.gcd(following, max(1, following // _GROUP_CHANNELS))
        layers += [
            nn.Conv2d(channels, following, 3, padding=1),
            nn.GroupNorm(groups, following),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        channels, height, width = following, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, architecture.outputs))


def _check_image(inputs: tuple[int, ...], convolutions: int) -> None:
    if len(inputs) != 3:
        raise InvalidValueError("model", f"{Form.CNN} is for images of channels, height and width")
    if min(inputs[1:]) < 2**convolutions:
        reason = f"each convolution halves the image: at most {int(math.log2(min(inputs[1:])))} for one of this size"
        raise InvalidValueError("hidden", reason)
