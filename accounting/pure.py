"""The pure epsilon of single operations that have one, exact and rounded up."""

from decimal import Context, Decimal
from fractions import Fraction
from functools import lru_cache

from accounting.events import (
    ClaimEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    LaplaceEvent,
    PoissonLaplaceEvent,
    RandomizedResponseEvent,
)
from accounting.values import EXACT, MAX_EPSILON, InvalidValueError, decimal_text, round_up

_WIDE = Context(prec=60)
_SLACK = Decimal("1e-40")
"""More than the rounding of every step of a logarithm below together."""
_LARGEST_AMPLIFIED = Decimal(1000)


@lru_cache(maxsize=4096)
def pure_epsilon(event: Event) -> Decimal:
    """The epsilon of a purely private operation, rounded up to `values.PRICE_PLACES`; for a claim its pure part.

    | event | epsilon | source |
    |---|---|---|
    | claim | as stated | |
    | (discrete) Laplace | sensitivity / scale | Dwork, McSherry, Nissim and Smith 2006; Ghosh et al. 2009 |
    | exponential, either form | 2 sensitivity / scale; half of it if monotonic | McSherry and Talwar 2007 |
    | randomized response | ln(p (k - 1) / (1 - p)) | Warner 1965; Kairouz, Bonawitz and Ramage 2016 |
    | Poisson-sampled Laplace | ln(1 + q (exp(epsilon) - 1)) | Li, Qardaji and Su 2012, Theorem 1 |

    Raises:
        InvalidValueError: If there is none, or it is above `values.MAX_EPSILON`.
    """
    match event:
        case ClaimEvent():
            return event.epsilon
        case LaplaceEvent() | DiscreteLaplaceEvent():
            return _bounded(round_up(Fraction(event.sensitivity) / Fraction(event.scale)))
        case ExponentialEvent():
            ratio = Fraction(event.sensitivity) / Fraction(event.scale)
            return _bounded(round_up(ratio if event.monotonic else 2 * ratio))
        case RandomizedResponseEvent():
            odds = _WIDE.divide(
                EXACT.multiply(event.probability, event.categories - 1), EXACT.subtract(1, event.probability)
            )
            return _bounded(round_up(Fraction(_WIDE.add(_WIDE.ln(odds), _SLACK))))
        case PoissonLaplaceEvent():
            return _amplified(event)
        case _:
            raise InvalidValueError("event", f"of kind {event.kind} has no pure epsilon")


def _amplified(event: PoissonLaplaceEvent) -> Decimal:
    base = _bounded(round_up(Fraction(event.sensitivity) / Fraction(event.scale)))
    if event.sampling_probability == 1 or base > _LARGEST_AMPLIFIED:
        # Sampling never costs anything.
        return base
    odds = _WIDE.multiply(event.sampling_probability, _WIDE.subtract(_WIDE.exp(base), 1))
    return round_up(Fraction(_WIDE.add(_WIDE.ln(_WIDE.add(odds, 1)), _SLACK)))


def _bounded(epsilon: Decimal) -> Decimal:
    if epsilon > MAX_EPSILON:
        raise InvalidValueError("event", f"costs an epsilon of {decimal_text(epsilon)}, more than {MAX_EPSILON}")
    return epsilon
