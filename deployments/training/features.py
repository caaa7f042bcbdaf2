"""From a private table or private images to what a network takes, by public rules alone.

Nothing is fitted: no mean, no extreme, no list of categories is taken from rows. Rows stay small whole numbers in
memory and become floats batch by batch.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from accounting.values import InvalidValueError
from deployments.synthesis.schema import OTHER, Category, Number
from deployments.synthesis.table import Table

MAX_PIXEL = 2**16 - 1


class Features(Protocol):
    """What a model is given of each row."""

    @property
    def rows(self) -> int:
        """How many rows there are."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""

    def batch(self, indices: Tensor) -> Tensor:
        """The rows with these indices as float32, of shape (len(indices), *shape), on the device of the rows."""

    def to(self, device: torch.device) -> "Features":
        """The same on a device."""


@dataclass(frozen=True, slots=True, eq=False)
class OneHot:
    """Every column as one 1 among as many 0 as it has other codes.

    Attributes:
        places: For each row and column where the 1 stands; int64, of shape (rows, columns).
        width: Codes of all columns together.
    """

    places: Tensor
    width: int

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.places)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row: (width,)."""
        return (self.width,)

    def batch(self, indices: Tensor) -> Tensor:
        """Of shape (len(indices), width)."""
        chosen = self.places.index_select(0, indices)
        return torch.zeros(len(indices), self.width, device=chosen.device).scatter_(1, chosen, 1.0)

    def to(self, device: torch.device) -> "OneHot":
        """The same on a device."""
        return OneHot(self.places.to(device), self.width)


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Pixels, scaled by public bounds to -1 to 1.

    Attributes:
        pixels: Whole numbers of shape (rows, channels, height, width).
        lower: The least that a pixel may be.
        upper: The most, greater.
    """

    pixels: Tensor
    lower: int
    upper: int

    @property
    def rows(self) -> int:
        """How many images there are."""
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: (channels, height, width)."""
        return tuple(self.pixels.shape[1:])

    def batch(self, indices: Tensor) -> Tensor:
        """Of shape (len(indices), channels, height, width)."""
        chosen = self.pixels.index_select(0, indices).float()
        return (chosen - self.lower).mul_(2 / (self.upper - self.lower)).sub_(1)

    def to(self, device: torch.device) -> "Images":
        """The same on a device."""
        return Images(self.pixels.to(device), self.lower, self.upper)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a model's outputs mean. Public.

    Attributes:
        classes: A name for each output, which is then a logit; empty where the only output is a number.
        lower: The least that the number may be, for which the model says 0.
        upper: The most, for which it says 1.
    """

    classes: tuple[str, ...] = ()
    lower: float = 0.0
    upper: float = 1.0

    @property
    def outputs(self) -> int:
        """Numbers that a model gives for a row."""
        return len(self.classes) or 1


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What a model is to say of each row.

    Attributes:
        values: Of shape (rows,): int64 classes, or float32 from 0 to 1 for a number between its bounds.
        meaning: What they mean.
    """

    values: Tensor
    meaning: Meaning

    def to(self, device: torch.device) -> "Target":
        """The same on a device."""
        return Target(self.values.to(device), self.meaning)


def one_hot(table: Table, target: str) -> OneHot:
    """All columns but the target's.

    Args:
        table: The rows.
        target: The name of a column.

    Raises:
        InvalidValueError: If there is no such column, or no other.
    """
    left_out = table.schema.index(target)
    kept = [at for at in range(len(table.schema.columns)) if at != left_out]
    if not kept:
        raise InvalidValueError("target", "is the only column: a model needs another to learn from")
    sizes = [table.schema.sizes[at] for at in kept]
    starts = np.array([0, *accumulate(sizes[:-1])])
    return OneHot(torch.from_numpy(table.codes[:, kept].astype(np.int64) + starts), sum(sizes))


def class_target(table: Table, target: str) -> Target:
    """A column's codes as classes: a category's values and everything else, or a number's bins.

    Raises:
        InvalidValueError: If there is no such column.
    """
    at = table.schema.index(target)
    column = table.schema.columns[at]
    if isinstance(column, Category):
        names = (*column.values, OTHER)
    else:
        bins = (f"{lower:g} to {upper:g}" for lower, upper in zip(column.edges, column.edges[1:], strict=False))
        names = (*bins, *(["missing"] if column.missing else []))
    return Target(torch.from_numpy(table.codes[:, at].astype(np.int64)), Meaning(names))


def number_target(table: Table, target: str) -> Target:
    """A column of numbers, each taken for the middle of its bin and scaled by the column's bounds to 0 to 1.

    Raises:
        InvalidValueError: If there is no such column, or it is not always a number.
    """
    at = table.schema.index(target)
    column = table.schema.columns[at]
    if not isinstance(column, Number):
        raise InvalidValueError("target", f"{target} is no number: train a classifier")
    if column.missing:
        raise InvalidValueError("target", f"{target} may be missing: declare that it may not, or train a classifier")
    edges = np.array(column.edges)
    middles = ((edges[:-1] + edges[1:]) / 2 - edges[0]) / (edges[-1] - edges[0])
    values = torch.from_numpy(middles.astype(np.float32)[table.codes[:, at]])
    return Target(values, Meaning((), column.edges[0], column.edges[-1]))


def images(pixels: NDArray[np.integer], lower: int = 0, upper: int = 255) -> Images:
    """Images of whole numbers between public bounds. A pixel beyond a bound counts as the bound.

    Args:
        pixels: Of shape (rows, height, width) or (rows, channels, height, width).
        lower: The least that a pixel may be, at least 0.
        upper: The most, at most `MAX_PIXEL`.

    Raises:
        InvalidValueError: If the shape, the type or a bound is not such.
    """
    if not np.issubdtype(pixels.dtype, np.integer) or pixels.ndim not in (3, 4) or 0 in pixels.shape:
        raise InvalidValueError(
            "images", "must be whole numbers of shape (rows, height, width) or with channels second"
        )
    if not 0 <= lower < upper <= MAX_PIXEL:
        raise InvalidValueError("upper", f"must be greater than lower, and both from 0 to {MAX_PIXEL}")
    kept = np.clip(pixels, lower, upper).astype(np.uint8 if upper < 256 else np.int32)
    return Images(torch.from_numpy(kept if kept.ndim == 4 else kept[:, None]), lower, upper)


def labels(codes: NDArray[np.integer], classes: tuple[str, ...]) -> Target:
    """Classes of images.

    Args:
        codes: From 0 to `len(classes) - 1`, of shape (rows,).
        classes: A name for each, at least two. Public.

    Raises:
        InvalidValueError: If a code is none of these; it does not say which.
    """
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise InvalidValueError("classes", "must be at least two different names")
    if codes.ndim != 1 or not np.issubdtype(codes.dtype, np.integer) or not len(codes):
        raise InvalidValueError("labels", "must be one whole number for each row")
    if codes.min() < 0 or codes.max() >= len(classes):
        raise InvalidValueError("labels", f"must be from 0 to {len(classes) - 1}")
    return Target(torch.from_numpy(codes.astype(np.int64)), Meaning(classes))
