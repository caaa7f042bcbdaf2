"""From a query to a noisy answer, in two steps: `prepare` says what it will cost, `Prepared.release` draws the noise.

Between the two the caller makes the charge durable. Noise that was drawn but not charged would be a leak; a charge
without noise is only a waste.
"""

import math
from dataclasses import dataclass
from decimal import Decimal

import opendp.prelude as dp

from accounting.events import DiscreteGaussianEvent
from accounting.values import InvalidValueError, PrivacyLoss
from deployments.mechanisms.mechanism import Mechanism, NoiseEvent, calibrated
from deployments.mechanisms.query import Query


@dataclass(frozen=True, slots=True)
class Prepared:
    """A query with the mechanism that will answer it. No noise has been drawn yet.

    Attributes:
        query: What was asked.
        mechanism: What will be done, with its event and its price.
    """

    query: Query
    mechanism: Mechanism

    @property
    def event(self) -> NoiseEvent:
        """What to charge."""
        return self.mechanism.event

    @property
    def delta(self) -> Decimal:
        """The delta at which the event is to be charged."""
        return self.mechanism.delta

    @property
    def charge(self) -> PrivacyLoss:
        """The price of one release; its epsilon is at most the query's."""
        return self.mechanism.charge

    @property
    def noise_scale(self) -> float:
        """Scale of the Laplace noise, or standard deviation of the Gaussian, in the statistic's unit."""
        return self.mechanism.scale

    def release(self) -> list[float] | list[int]:
        """Draws noise and adds it to every coordinate. Every call is one release: charge each of them.

        Takes up to five seconds for 100,000 values, while other threads run.

        Returns:
            As many values as the query has, of its data type. Whole numbers stop at the ends of 64 bits, floats at the
            largest double; that is post-processing and costs nothing.
        """
        answer: list[float] | list[int] = self.mechanism.measurement(list(self.query.data))
        return answer

    def accuracy(self, confidence: float = 0.95) -> float:
        """How far a released coordinate strays at most, with that confidence, from its true value.

        Whole-number noise gets the continuous half-width rounded up to a whole number. For m >= 1 the discrete Gaussian
        is at least m with no more probability than the continuous one is at least m - 1 (Canonne, Kamath and Steinke
        2020); for the discrete Laplace, 2 / (1 + exp(-1/s)) exp(-m/s) <= exp(-(m-1)/s). OpenDP's own discrete
        quantiles are closer by about one, but answer minus infinity at small scales and take seconds at large ones.

        Args:
            confidence: For each coordinate by itself, in (0, 1).

        Returns:
            The half-width, in the statistic's unit.

        Raises:
            InvalidValueError: If the confidence is out of range.
        """
        if not 0 < confidence < 1:
            raise InvalidValueError("confidence", "must be greater than 0 and less than 1")
        gaussian = isinstance(self.event, DiscreteGaussianEvent)
        to_accuracy = dp.gaussian_scale_to_accuracy if gaussian else dp.laplacian_scale_to_accuracy
        width = float(to_accuracy(self.noise_scale, 1 - confidence))
        return float(math.ceil(width)) if self.query.data_type == "integer" else width


def prepare(query: Query) -> Prepared:
    """Chooses the least noise whose price is at most what the query grants, checked by two accountants.

    Args:
        query: What to release.

    Returns:
        The query with its mechanism. Only the values of the query are new: equal privacy parameters share a mechanism.

    Raises:
        InvalidValueError: If no noise in range has that price.
        PricingDisagreementError: If OpenDP cannot confirm the price.
    """
    mechanism = calibrated(query.mechanism, query.epsilon, query.delta, query.sensitivity, query.data_type)
    return Prepared(query, mechanism)
