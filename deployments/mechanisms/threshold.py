"""Which of unknown values are frequent: counts get Laplace noise, and a value is named if its own is high enough.

A value that only one privacy unit has must hardly ever be named. So the promise has a delta: that noise lifts a count
of 1 to the threshold (Rogers 2023, "A unifying privacy analysis framework for unknown domain algorithms in differential
privacy"). OpenDP draws the noise and proves both numbers. What it proves is charged as a claim: no theorem here prices
such a release from its noise.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from opendp import domains, measurements, metrics
from opendp.mod import Measurement, enable_features

from accounting.events import ClaimEvent
from accounting.values import InvalidValueError
from deployments.mechanisms.agreement import agreed, not_below

enable_features("contrib")

MAX_THRESHOLD = 10**12


@dataclass(frozen=True, slots=True)
class FrequentValues:
    """A release of frequent values, from what it may cost. Each privacy unit has at most one value.

    Attributes:
        event: What is charged: an epsilon, and a delta greater than 0.
        scale: Of the Laplace noise, in privacy units.
        threshold: The least noisy count of a value that is named.
        measurement: The OpenDP measurement. It cannot be pickled.

    Raises:
        InvalidValueError: If delta is 0, or no threshold in range keeps it.
        PricingDisagreementError: If OpenDP's epsilon stays above the event's.
    """

    event: ClaimEvent
    scale: float = field(init=False)
    threshold: int = field(init=False)
    measurement: Measurement = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.event.delta == 0:
            raise InvalidValueError("delta", "must be greater than 0: a value that is named tells that somebody has it")
        stated = Decimal(not_below(1 / self.event.epsilon))
        scale, _ = agreed(
            self.event,
            stated,
            lambda scale: _measurement(scale, 1),
            lambda made: [(_proven(made)[0], self.event.epsilon)],
        )
        threshold = _least_threshold(scale, self.event.delta)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "threshold", threshold)
        object.__setattr__(self, "measurement", _measurement(scale, threshold))

    def release(self, counts: Mapping[str, int]) -> list[str]:
        """The frequent values, in the order of the alphabet. Every call is one release: charge each of them.

        Args:
            counts: By value, of privacy units, from 1.
        """
        named: Mapping[str, int] = self.measurement(dict(counts))
        return sorted(named)


def _measurement(scale: float, threshold: int) -> Measurement:
    domain = domains.map_domain(domains.atom_domain(T=str), domains.atom_domain(T="i64"))
    metric = metrics.l01inf_distance(metrics.absolute_distance(T="i64"))
    return measurements.make_laplace_threshold(domain, metric, scale, threshold)


def _proven(measurement: Measurement) -> tuple[float, float]:
    """What OpenDP proves where one value's count differs by one: an epsilon and a delta."""
    loss: Callable[[tuple[int, int, int]], tuple[float, float]] = measurement.map
    return loss((1, 1, 1))


def _least_threshold(scale: float, delta: Decimal) -> int:
    """The least threshold at which a count of 1 is named with a probability of at most delta.

    OpenDP 0.16 names a count that equals the threshold, and leaves that case out of its delta (opendp/opendp#2922). So
    its delta for a threshold is that of the next one.
    """
    # The quantile of the continuous Laplace is within one of the discrete one's.
    proven_at = max(1, math.ceil(1 + scale * max(-math.log(2 * float(delta)), 0.0)) - 2)
    while proven_at <= MAX_THRESHOLD and Decimal(_proven(_measurement(scale, proven_at))[1]) > delta:
        proven_at += 1
    if proven_at > MAX_THRESHOLD:
        raise InvalidValueError("epsilon", "is too small for any threshold in range")
    return proven_at + 1
