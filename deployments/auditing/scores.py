"""What events are made of: one number for each output of a mechanism.

Any function of the output will do, because privacy survives post-processing; a good one grows with the likelihood
ratio of the two inputs.
"""

from collections.abc import Callable

import numpy as np

from deployments.auditing.bound import Numbers

COARSEST = 1024.0
"""The grain of 0, which is a multiple of every power of two."""


def along(first: Numbers, second: Numbers) -> Callable[[Numbers], Numbers]:
    """How far each output lies from the first input in the direction of the second.

    For Gaussian noise no other number tells more.

    Args:
        first: Of shape (coordinates,).
        second: Likewise, and different.

    Returns:
        From outputs of shape (draws, coordinates) to (draws,).
    """
    direction = (second - first) / np.linalg.norm(second - first)
    return lambda outputs: (outputs - first) @ direction


def nearer(first: Numbers, second: Numbers) -> Callable[[Numbers], Numbers]:
    """How much nearer, in the L1 norm, each output is to the second input than to the first.

    Times the scale, this is the likelihood ratio's logarithm for Laplace noise on several coordinates.

    Args:
        first: Of shape (coordinates,).
        second: Likewise.

    Returns:
        From outputs of shape (draws, coordinates) to (draws,).
    """

    def score(outputs: Numbers) -> Numbers:
        distances: Numbers = np.abs(outputs - first).sum(axis=1) - np.abs(outputs - second).sum(axis=1)
        return distances

    return score


def grain(outputs: Numbers) -> Numbers:
    """The exponent of the lowest bit that is set, in whichever coordinate of an output it is lowest.

    A double on a coarse grid gives away that it was rounded there: naive noise added to 1 never answers a value near 0
    with bits below 2^-53, added to 0 it mostly does (Mironov 2012, "On significance of the least significant bits for
    differential privacy").

    Args:
        outputs: Finite, of shape (draws, coordinates).

    Returns:
        Whole numbers of shape (draws,); `COARSEST` for 0.
    """
    fraction, exponent = np.frexp(outputs)
    mantissa = np.ldexp(fraction, 53).astype(np.int64)
    lowest = np.frexp((mantissa & -mantissa).astype(np.float64))[1] - 1
    grains: Numbers = np.where(mantissa == 0, COARSEST, exponent - 53.0 + lowest).min(axis=1)
    return grains
