"""Noise that is drawn only as far as an event allows: what is charged and what is drawn cannot drift apart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from accounting.events import ClaimEvent, DiscreteGaussianEvent, Event, ExponentialEvent, leaves
from deployments.mechanisms.mechanism import Mechanism
from deployments.mechanisms.selection import Scores, Selector
from deployments.mechanisms.threshold import FrequentValues

Counts = npt.NDArray[np.int64]


class Draws:
    """The single operations of an event, each to be done as often as it is in there.

    The noise is OpenDP's own, from the operating system's entropy.
    """

    def __init__(self, event: Event, delta: Decimal) -> None:
        """Starts with all of the event.

        Args:
            event: What is charged.
            delta: At which its Gaussians are compared with OpenDP's proof, in (0, 1).

        Raises:
            PricingDisagreementError: If OpenDP cannot confirm the price of an operation.
        """
        self._left = Counter[Event]()
        for leaf, count in leaves(event):
            self._left[leaf] += count
        self._mechanisms = {
            leaf: Mechanism(leaf, delta, "integer") for leaf in self._left if isinstance(leaf, DiscreteGaussianEvent)
        }
        self._selectors = {leaf: Selector(leaf) for leaf in self._left if isinstance(leaf, ExponentialEvent)}
        self._frequent = {leaf: FrequentValues(leaf) for leaf in self._left if isinstance(leaf, ClaimEvent)}

    @property
    def left(self) -> int:
        """How many operations have not been done yet."""
        return self._left.total()

    def noisy(self, leaf: DiscreteGaussianEvent, counts: Counts) -> Counts:
        """Whole numbers with the event's noise: one release.

        Raises:
            RuntimeError: If the event does not hold this operation, or no more of it.
        """
        self._take(leaf)
        drawn: Any = self._mechanisms[leaf].measurement(counts.ravel().tolist())
        return np.array(drawn, dtype=np.int64).reshape(counts.shape)

    def choose(self, leaf: ExponentialEvent, scores: Sequence[float]) -> int:
        """The place of one candidate, by its noisy score: one release.

        Raises:
            InvalidValueError: If there are no scores, or too many.
            RuntimeError: If the event does not hold this operation, or no more of it.
        """
        self._take(leaf)
        return self._selectors[leaf].select(Scores(tuple(scores)))[0]

    def frequent(self, leaf: ClaimEvent, counts: Mapping[str, int]) -> list[str]:
        """The values that are frequent, by their noisy counts: one release.

        Raises:
            RuntimeError: If the event does not hold this operation, or no more of it.
        """
        self._take(leaf)
        return self._frequent[leaf].release(counts)

    def _take(self, leaf: Event) -> None:
        if self._left[leaf] < 1:
            raise RuntimeError(f"{leaf.kind} was not charged, or not so often: no noise is drawn for it")
        self._left[leaf] -= 1
