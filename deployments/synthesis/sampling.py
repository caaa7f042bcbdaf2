"""What drawing rows from a network needs, whatever the network: codes from logits, a bias from shares."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from accounting.values import InvalidValueError
from deployments.synthesis.table import Codes

Weights = npt.NDArray[np.float32]

MAX_SAMPLE = 10_000_000
"""Rows that are drawn in one call."""
CALIBRATION_ROWS = 20_000
_CHUNK = 20_000
_ROUNDS = 30
"""In which a column's shares are brought to what they should be; each gets much nearer."""


def drawn_in_chunks(rows: int, draw: Callable[[int], Codes]) -> Codes:
    """Rows drawn some thousands at a time.

    Raises:
        InvalidValueError: If the number is out of range.
    """
    if not 1 <= rows <= MAX_SAMPLE:
        raise InvalidValueError("rows", f"must be from 1 to {MAX_SAMPLE}")
    return np.concatenate([draw(min(_CHUNK, rows - at)) for at in range(0, rows, _CHUNK)])


def drawn_codes(logits: Weights, generator: np.random.Generator) -> npt.NDArray[np.int32]:
    """One code a row, with the softmax of its logits as probabilities."""
    cumulated = np.cumsum(softmax(logits), axis=1)
    drawn = generator.random((len(logits), 1), dtype=np.float32) * cumulated[:, -1:]
    codes: npt.NDArray[np.int32] = np.minimum((cumulated <= drawn).sum(axis=1), logits.shape[1] - 1).astype(np.int32)
    return codes


def matching_bias(logits: Weights, shares: npt.NDArray[np.float64]) -> Weights:
    """What to add to the logits so that the mean over rows of their softmax becomes the shares."""
    bias = np.zeros(logits.shape[1])
    for _ in range(_ROUNDS):
        bias += np.log(shares) - np.log(np.maximum(softmax(logits + bias).mean(axis=0), 1e-12))
    moved: Weights = (bias - bias.mean()).astype(np.float32)
    return moved


def softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Probabilities along the second axis."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    probabilities: npt.NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return probabilities


def checked_tensors(tensors: Mapping[str, Weights], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Weights]:
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
