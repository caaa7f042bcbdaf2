"""A mechanism and the event it is charged as, born together.

All noise comes from OpenDP, which samples the discrete Laplace and discrete Gaussian distributions exactly and, for
floats, does so on the lattice of all doubles (multiples of 2^-1074), so that no bit of the answer betrays the input.
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

import opendp.prelude as dp

from accounting.calibration import discrete_gaussian_for, discrete_laplace_for, laplace_for
from accounting.charges import PricingDisagreementError, price
from accounting.events import DiscreteGaussianEvent, DiscreteLaplaceEvent, LaplaceEvent
from accounting.values import InvalidValueError, PrivacyLoss, round_up
from deployments.mechanisms.query import DataType, MechanismName

dp.enable_features("contrib")

NoiseEvent = LaplaceEvent | DiscreteLaplaceEvent | DiscreteGaussianEvent
"""What OpenDP's samplers do. Its Gaussians lie on a grid, of whole numbers or as fine as doubles, and are proven in rho
alone; so is what is charged for them."""

_ENLARGEMENTS = 24
"""How often the noise may grow to bring OpenDP's map down to the charge. Each step doubles the one before, from one
unit in the last place, so all of them together stay below 4e-9 of the noise."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """Noise that can be drawn, and its price. Everything follows from the three arguments, so nothing can drift apart.

    Attributes:
        event: What is done to the data.
        delta: The delta at which the event is priced: 0 for Laplace, in (0, 1) for Gaussian.
        data_type: The values it takes and answers.
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
    charge: PrivacyLoss = field(init=False)
    scale: float = field(init=False)
    measurement: dp.Measurement = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        charge = price(self.event, self.delta)
        scale = _not_below(stated_noise(self.event))
        for step in range(_ENLARGEMENTS):
            measurement = _measurement(self.event, self.data_type, scale)
            theirs = opendp_epsilon(measurement, self.event, self.delta, self.data_type)
            if math.isfinite(theirs) and theirs <= charge.epsilon:
                break
            scale *= 1 + 2.0 ** (step - 52)
        else:
            message = f"OpenDP proves an epsilon of {theirs} for {self.event}, more than the charge {charge.epsilon}"
            raise PricingDisagreementError(message)
        object.__setattr__(self, "charge", charge)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "measurement", measurement)


@lru_cache(maxsize=1024)
def calibrated(
    name: MechanismName, epsilon: Decimal, delta: Decimal, sensitivity: Decimal, data_type: DataType
) -> Mechanism:
    """The mechanism with the least noise whose price at delta is at most epsilon.

    Laplace noise on whole numbers takes the sensitivity up to the next whole number, as no smaller change exists there.

    Args:
        name: "laplace" or "gaussian".
        epsilon: Greater than 0.
        delta: 0 for Laplace; in (0, 1) for Gaussian.
        sensitivity: Greater than 0; L1 for Laplace, L2 for Gaussian.
        data_type: The values that it is for.

    Raises:
        InvalidValueError: If no noise in range has that price.
        PricingDisagreementError: If OpenDP's map stays above the charge.
    """
    event: NoiseEvent
    try:
        if name == "gaussian":
            event = discrete_gaussian_for(epsilon, delta, sensitivity)
        elif data_type == "integer":
            event = discrete_laplace_for(epsilon, round_up(Fraction(sensitivity), places=0))
        else:
            event = laplace_for(epsilon, sensitivity)
    except InvalidValueError as error:
        if error.field in ("epsilon", "delta", "sensitivity"):
            raise
        # The caller knows no scale and no sigma, only the two numbers that they come from.
        reason = f"is out of range for this sensitivity: the noise would have a {error.field} that {error.reason}"
        raise InvalidValueError("epsilon", reason) from None
    return Mechanism(event, delta, data_type)


def stated_noise(event: NoiseEvent) -> Decimal:
    """The scale of a Laplace, the standard deviation of a Gaussian, in the statistic's unit."""
    return event.sigma if isinstance(event, DiscreteGaussianEvent) else event.scale


def opendp_epsilon(measurement: dp.Measurement, event: NoiseEvent, delta: Decimal, data_type: DataType) -> float:
    """What OpenDP itself proves of a measurement: the epsilon of its privacy map at the event's sensitivity and delta.

    Args:
        measurement: A Laplace or Gaussian measurement of OpenDP.
        event: Gives the sensitivity, taken up to the next number that the measurement's metric can hold.
        delta: Where a Gaussian's curve is read; taken down to the next double.
        data_type: The measurement's.
    """
    if not isinstance(event, DiscreteGaussianEvent):
        loss: Callable[[float], float] = measurement.map
        return loss(math.ceil(event.sensitivity) if data_type == "integer" else _not_below(event.sensitivity))
    profile: Callable[[float], Any] = dp.c.make_zCDP_to_approxDP(measurement).map
    return float(profile(_not_below(event.sensitivity)).epsilon(-_not_below(-delta)))


def _measurement(event: NoiseEvent, data_type: DataType, scale: float) -> dp.Measurement:
    # OpenDP reads a plain `int` as 32 bits. A scalar is a vector of one: the L1 and L2 norms are its absolute value.
    atoms = dp.atom_domain(T="i64") if data_type == "integer" else dp.atom_domain(T="f64", nan=False)
    domain = dp.vector_domain(atoms)
    if not isinstance(event, DiscreteGaussianEvent):
        return dp.m.make_laplace(domain, dp.l1_distance(T="i64" if data_type == "integer" else "f64"), scale)
    return dp.m.make_gaussian(domain, dp.l2_distance(T="f64"), scale)


def _not_below(value: Decimal) -> float:
    """The smallest double that is not below the decimal."""
    nearest = float(value)
    return nearest if Fraction(nearest) >= Fraction(value) else math.nextafter(nearest, math.inf)
