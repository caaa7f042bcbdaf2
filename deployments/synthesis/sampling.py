"""Drawing rows from a network's last layers: for each column in turn a head that sees the columns already drawn."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from accounting.values import InvalidValueError
from deployments.synthesis.conditions import Array, Shares, starts_of
from deployments.synthesis.table import Codes

Weights = npt.NDArray[np.float32]
Tensors = Mapping[str, Weights]
Given = npt.NDArray[np.int64]
"""For each row a value that it must have, as a place in the one-hot codes of all columns side by side."""

MAX_SAMPLE = 10_000_000
"""Rows that are drawn in one call."""
MAX_SEEN = 1024
"""Codes of earlier columns that a head sees, the nearest first. A wide table would else have a head of millions of
weights, and noise on each."""
CALIBRATION_ROWS = 20_000
_CHUNK = 20_000
_ROUNDS = 30
"""In which a column's shares are brought to what they should be; each gets much nearer."""


def seen_by_heads(sizes: tuple[int, ...]) -> list[tuple[int, int]]:
    """For each column which one-hot codes of earlier columns its head sees: from, and up to where its own start."""
    starts = starts_of(sizes).tolist()
    return [(min(at for at in starts if start - at <= MAX_SEEN), start) for start in starts]


def shapes_of_heads(sizes: tuple[int, ...], hidden: int) -> dict[str, tuple[int, ...]]:
    """Of every head's weight and bias."""
    shapes: dict[str, tuple[int, ...]] = {}
    for column, (size, (first, start)) in enumerate(zip(sizes, seen_by_heads(sizes), strict=True)):
        shapes[f"heads.{column}.weight"] = (size, hidden + start - first)
        shapes[f"heads.{column}.bias"] = (size,)
    return shapes


def drawn_by_heads(
    hidden: Weights,
    tensors: Tensors,
    sizes: tuple[int, ...],
    generator: np.random.Generator,
    given: Given | None = None,
    move: Callable[[int, Weights], Weights] | None = None,
) -> Codes:
    """Rows, column by column.

    Args:
        hidden: Of shape (rows, units): what every head sees of its row.
        tensors: With the heads among them.
        sizes: How many codes each column has.
        generator: Draws.
        given: None where no row must have a value.
        move: What each column's logits are replaced by.
    """
    inputs = np.zeros((len(hidden), sum(sizes)), dtype=np.float32)
    codes = np.empty((len(hidden), len(sizes)), dtype=np.int32)
    for column, (size, (first, start)) in enumerate(zip(sizes, seen_by_heads(sizes), strict=True)):
        seen = np.concatenate([hidden, inputs[:, first:start]], axis=1)
        logits = seen @ tensors[f"heads.{column}.weight"].T + tensors[f"heads.{column}.bias"]
        drawn = _drawn_codes(logits if move is None else move(column, logits), generator)
        if given is not None:
            own = given - start
            drawn = np.where((own >= 0) & (own < size), own, drawn).astype(np.int32)
        codes[:, column] = drawn
        inputs[np.arange(len(hidden)), start + drawn] = 1
    return codes


def calibrated_heads(
    hidden: Weights, tensors: Tensors, shares: Shares, generator: np.random.Generator, given: Given | None = None
) -> dict[str, Weights]:
    """The tensors with each head's bias moved so that its column's shares become the released ones.

    Args:
        hidden: As in `drawn_by_heads`, of some thousands of rows.
        tensors: Likewise.
        shares: For each column.
        generator: Draws.
        given: As in `drawn_by_heads`.
    """
    calibrated = dict(tensors)

    def move(column: int, logits: Weights) -> Weights:
        moved = _matching_bias(logits, shares[column])
        calibrated[f"heads.{column}.bias"] = tensors[f"heads.{column}.bias"] + moved
        return logits + moved

    drawn_by_heads(hidden, tensors, tuple(len(share) for share in shares), generator, given, move)
    return calibrated


def drawn_in_chunks(rows: int, draw: Callable[[int], Codes]) -> Codes:
    """Rows drawn some thousands at a time.

    Raises:
        InvalidValueError: If the number is out of range.
    """
    if not 1 <= rows <= MAX_SAMPLE:
        raise InvalidValueError("rows", f"must be from 1 to {MAX_SAMPLE}")
    return np.concatenate([draw(min(_CHUNK, rows - at)) for at in range(0, rows, _CHUNK)])


def checked_tensors(tensors: Tensors, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Weights]:
    """Copies that cannot be written to.

    Raises:
        InvalidValueError: If one is missing, superfluous, of another shape or not finite.
    """
    if tensors.keys() != shapes.keys():
        wrong = ", ".join(sorted(tensors.keys() ^ shapes.keys()))
        raise InvalidValueError("tensors", f"must be those of the plan's network: missing or superfluous are {wrong}")
    copies = {}
    for name, shape in shapes.items():
        copies[name] = np.array(tensors[name], dtype=np.float32)
        if copies[name].shape != shape or not np.isfinite(copies[name]).all():
            raise InvalidValueError(f"tensors.{name}", f"must be of shape {shape}, of finite numbers")
        copies[name].setflags(write=False)
    return copies


def _drawn_codes(logits: Weights, generator: np.random.Generator) -> npt.NDArray[np.int32]:
    """One code a row, with the softmax of its logits as probabilities."""
    cumulated = np.cumsum(_softmax(logits), axis=1)
    drawn = generator.random((len(logits), 1)) * cumulated[:, -1:]
    codes: npt.NDArray[np.int32] = np.minimum((cumulated <= drawn).sum(axis=1), logits.shape[1] - 1).astype(np.int32)
    return codes


def _matching_bias(logits: Weights, shares: Array) -> Weights:
    """What to add to the logits so that the mean over rows of their softmax becomes the shares."""
    bias = np.zeros(logits.shape[1])
    for _ in range(_ROUNDS):
        bias += np.log(shares) - np.log(np.maximum(_softmax(logits + bias).mean(axis=0), 1e-12))
    moved: Weights = (bias - bias.mean()).astype(np.float32)
    return moved


def _softmax(logits: npt.NDArray[np.floating]) -> Array:
    """Probabilities along the second axis."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    probabilities: Array = raised / raised.sum(axis=1, keepdims=True)
    return probabilities
