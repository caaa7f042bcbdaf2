"""From a query to a noisy answer, in two steps: `prepare` says what it will cost, `Prepared.release` draws the noise.

Between the two the caller makes the charge durable. Noise that was drawn but not charged would be a leak; a charge
without noise is only a waste.
"""

from dataclasses import dataclass
from decimal import Decimal

from accounting.values import PrivacyLoss
from deployments.mechanisms.mechanism import Mechanism, NoiseEvent, mechanism_for
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
        """The price of one release; its epsilon is at most the query's, where that names one."""
        return self.mechanism.charge

    @property
    def noise_scale(self) -> float:
        """Scale of the Laplace noise, or standard deviation of the Gaussian, in the statistic's unit."""
        return self.mechanism.scale

    def release(self) -> list[float] | list[int]:
        """Draws noise and adds it to every coordinate. Every call is one release: charge each of them.

        Takes up to 15 seconds for a million values, while other threads run.

        Returns:
            As many values as the query has, of its data type. Whole numbers stop at the ends of 64 bits, floats at the
            largest double; that is post-processing and costs nothing.
        """
        answer: list[float] | list[int] = self.mechanism.measurement(list(self.query.data))
        return answer


def prepare(query: Query) -> Prepared:
    """Chooses the noise that the query asks for, priced and checked by two accountants.

    Args:
        query: What to release.

    Returns:
        The query with its mechanism.

    Raises:
        InvalidValueError: If no noise in range has that price, or that noise has no price.
        PricingDisagreementError: If OpenDP cannot confirm the price.
    """
    return Prepared(query, mechanism_for(query.noise, len(query.data)))
