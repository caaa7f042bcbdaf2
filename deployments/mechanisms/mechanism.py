"""A mechanism and the event it is charged as, born together.

All noise comes from OpenDP, which samples the discrete Laplace and discrete Gaussian distributions exactly and, for
floats, does so on a grid of doubles that is far finer than the noise, so that no bit of the answer betrays the input.
Mironov 2012 shows how naive floating-point noise does; Canonne, Kamath and Steinke 2020 give the samplers.

Two accountants must agree before any noise is drawn: `accounting.charges`, whose price is charged, and OpenDP's own
privacy map of the very measurement that will run, which must not come out above it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from opendp import combinators, domains, measurements, metrics
from opendp.mod import Measurement, enable_features
from scipy.special import ndtri

from accounting.calibration import discrete_gaussian_for, discrete_laplace_for, laplace_for
from accounting.charges import Currency, own_cost, price
from accounting.events import DiscreteGaussianEvent, DiscreteLaplaceEvent, LaplaceEvent
from accounting.values import InvalidValueError, PrivacyLoss, round_up
from deployments.mechanisms.agreement import agreed, not_below
from deployments.mechanisms.query import DataType, Noise, tail_of

enable_features("contrib")

NoiseEvent = LaplaceEvent | DiscreteLaplaceEvent | DiscreteGaussianEvent
"""What OpenDP's samplers do. Its Gaussians lie on a grid, of whole numbers or as fine as doubles, and are proven in rho
alone; so is what is charged for them."""

FINE_VALUES = 10_000
"""Up to so many floats get noise on the grid of all doubles, the multiples of 2^-1074: 45 us for each with a Gaussian.
Longer vectors get it on one of 2^-80 of their sensitivity, which takes a quarter of that. OpenDP's map counts what
rounding a million values to that grid adds to the sensitivity: a part in 1e18."""
_GRID_BITS = 80
_FINEST_GRID = -1074


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Noise that can be drawn, and its price. Everything follows from the four arguments, so nothing can drift apart.

    Attributes:
        event: What is done to the data.
        delta: The delta at which the event is priced: 0 for Laplace, in (0, 1) for Gaussian.
        data_type: The values it takes and answers.
        length: Of the vectors that it takes, where they are floats and more than `FINE_VALUES`; else None, for any.
        charge: The event's price at that delta.
        scale: The noise in effect, in the statistic's unit: scale of a Laplace, standard deviation of a Gaussian. The
            event's own or, by less than 4e-9 of it, more.
        measurement: The OpenDP measurement, from a vector to a vector. It cannot be pickled.

    Raises:
        InvalidValueError: If the event has no price at that delta.
        PricingDisagreementError: If OpenDP's map stays above the charge.
    """

    event: NoiseEvent
    delta: Decimal
    data_type: DataType
    length: int | None = None
    charge: PrivacyLoss = field(init=False)
    scale: float = field(init=False)
    measurement: Measurement = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        charge = price(self.event, self.delta)
        rho = own_cost(self.event, Currency.RHO)
        assert rho is not None

        def losses(measurement: Measurement) -> list[tuple[float, Decimal]]:
            epsilon = opendp_epsilon(measurement, self.event, self.delta, self.data_type)
            if not isinstance(self.event, DiscreteGaussianEvent):
                return [(epsilon, charge.epsilon)]
            return [(epsilon, charge.epsilon), (opendp_rho(measurement, self.event), rho.amount)]

        scale, measurement = agreed(self.event, stated_noise(self.event), self._measurement, losses)
        object.__setattr__(self, "charge", charge)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "measurement", measurement)

    def accuracy(self, confidence: Decimal, coordinates: int = 1) -> float:
        """How far released coordinates stray at most, with that confidence, from their true values.

        Whole-number noise gets the continuous half-width rounded up to a whole number. For m >= 1 the discrete Gaussian
        is at least m with no more probability than the continuous one is at least m - 1 (Canonne, Kamath and Steinke
        2020); for the discrete Laplace, 2 / (1 + exp(-1/s)) exp(-m/s) <= exp(-(m-1)/s). OpenDP's own quantiles are
        not used: the discrete ones answer minus infinity at small scales and take seconds at large ones, the Gaussian
        one answers infinity where a joint half-width needs it (a tail of 1e-18).

        Args:
            confidence: In (0, 1).
            coordinates: So many are within the half-width all at once, by the union bound.

        Returns:
            The half-width, in the statistic's unit.

        Raises:
            InvalidValueError: If the confidence is out of range.
        """
        tail = tail_of(confidence) / coordinates
        gaussian = isinstance(self.event, DiscreteGaussianEvent)
        width = self.scale * float(-ndtri(tail / 2) if gaussian else -math.log(tail))
        return float(math.ceil(width)) if self.data_type == "integer" else width

    def _measurement(self, scale: float) -> Measurement:
        # OpenDP reads a plain `int` as 32 bits. A scalar is a vector of one: the L1 and L2 norms are its absolute
        # value.
        whole = self.data_type == "integer"
        atoms = domains.atom_domain(T="i64") if whole else domains.atom_domain(T="f64", nan=False)
        domain, grid = domains.vector_domain(atoms), None
        if self.length is not None and not whole:
            domain = domains.vector_domain(atoms, size=self.length)
            grid = max(math.frexp(self.event.sensitivity)[1] - 1 - _GRID_BITS, _FINEST_GRID)
        if not isinstance(self.event, DiscreteGaussianEvent):
            return measurements.make_laplace(domain, metrics.l1_distance(T="i64" if whole else "f64"), scale, k=grid)
        return measurements.make_gaussian(domain, metrics.l2_distance(T="f64"), scale, k=grid)


def mechanism_for(noise: Noise, length: int = 1) -> Mechanism:
    """The mechanism that a caller wants: with the least noise whose price is at most epsilon, or with that very scale.

    Laplace noise on whole numbers takes the sensitivity up to the next whole number, as no smaller change exists there.

    Args:
        noise: What is wanted. Equal wishes share a mechanism.
        length: Of the statistic.

    Raises:
        InvalidValueError: If no noise in range has that price, or that noise has no price.
        PricingDisagreementError: If OpenDP's map stays above the charge.
    """
    return _mechanism_for(noise, length if noise.data_type == "float" and length > FINE_VALUES else None)


@lru_cache(maxsize=1024)
def _mechanism_for(noise: Noise, length: int | None) -> Mechanism:
    try:
        return Mechanism(_event_for(noise), noise.delta, noise.data_type, length)
    except InvalidValueError as error:
        if error.field in ("epsilon", "delta", "sensitivity"):
            raise
        if noise.scale is not None:
            raise InvalidValueError("scale", f"gives no price at this sensitivity: it {error.reason}") from None
        # The caller knows no scale and no sigma, only the two numbers that they come from.
        reason = f"is out of range for this sensitivity: the noise would have a {error.field} that {error.reason}"
        raise InvalidValueError("epsilon", reason) from None


def _event_for(noise: Noise) -> NoiseEvent:
    whole = noise.data_type == "integer"
    if noise.mechanism == "gaussian":
        if noise.scale is not None:
            return DiscreteGaussianEvent(noise.scale, noise.sensitivity)
        assert noise.epsilon is not None
        return discrete_gaussian_for(noise.epsilon, noise.delta, noise.sensitivity)
    reach = round_up(Fraction(noise.sensitivity), places=0) if whole else noise.sensitivity
    if noise.scale is not None:
        return DiscreteLaplaceEvent(noise.scale, reach) if whole else LaplaceEvent(noise.scale, reach)
    assert noise.epsilon is not None
    return discrete_laplace_for(noise.epsilon, reach) if whole else laplace_for(noise.epsilon, reach)


def stated_noise(event: NoiseEvent) -> Decimal:
    """The scale of a Laplace, the standard deviation of a Gaussian, in the statistic's unit."""
    return event.sigma if isinstance(event, DiscreteGaussianEvent) else event.scale


def opendp_epsilon(measurement: Measurement, event: NoiseEvent, delta: Decimal, data_type: DataType) -> float:
    """What OpenDP itself proves of a measurement: the epsilon of its privacy map at the event's sensitivity and delta.

    Args:
        measurement: A Laplace or Gaussian measurement of OpenDP.
        event: Gives the sensitivity, taken up to the next number that the measurement's metric can hold.
        delta: Where a Gaussian's curve is read; taken down to the next double.
        data_type: The measurement's.
    """
    if not isinstance(event, DiscreteGaussianEvent):
        loss: Callable[[float], float] = measurement.map
        return loss(math.ceil(event.sensitivity) if data_type == "integer" else not_below(event.sensitivity))
    profile: Callable[[float], Any] = combinators.make_zCDP_to_approxDP(measurement).map
    return float(profile(not_below(event.sensitivity)).epsilon(-not_below(-delta)))


def opendp_rho(measurement: Measurement, event: DiscreteGaussianEvent) -> float:
    """The rho that OpenDP itself proves of a Gaussian measurement at the event's sensitivity."""
    loss: Callable[[float], float] = measurement.map
    return loss(not_below(event.sensitivity))
