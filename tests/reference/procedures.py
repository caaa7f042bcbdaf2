"""How others came to their numbers, where a number belongs to one library's orders, grid or search, not to the truth.

Each procedure is a few lines on top of our own divergences and prices. Only where the number is the discretization of
one library itself (dp-accounting's privacy loss distributions at some interval, Opacus' random variables) is that
library asked, and the answer is then a second opinion on our own price, never the answer in its place.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from accounting.conversion import renyi_to_epsilon
from accounting.events import Event, FixedSizeGaussianEvent, GaussianEvent, LaplaceEvent, PoissonGaussianEvent
from accounting.renyi import divergence, dp_accounting_divergence
from tests.reference.cases import UnknownCaseError

Counted = Sequence[tuple[Event, int]]
"""Single operations, each with how often it is done."""
Conversion = Callable[[Fraction, Decimal, Decimal], Decimal]
"""From a Renyi divergence, its order and delta to epsilon."""


@dataclass(frozen=True, slots=True)
class RenyiProcedure:
    """The orders at which a library tries, and its divergence of one operation at an order.

    Attributes:
        orders: Above 1.
        divergence: In nats; infinite where the library leaves an order out.
    """

    orders: tuple[float, ...]
    divergence: Callable[[Event, float], Fraction | float]

    def epsilon(self, operations: Counted, delta: Decimal, convert: Conversion = renyi_to_epsilon) -> Decimal:
        """The least epsilon over the orders."""
        found = Decimal("Infinity")
        for order in self.orders:
            total = Fraction(0)
            for event, count in operations:
                once = self.divergence(event, order)
                if once == math.inf:
                    break
                total += count * Fraction(once)
            else:
                found = min(found, convert(total, Decimal(order), delta))
        return found


def loose(event: Event, order: float) -> Fraction | float:
    """dp-accounting's divergence: at broken orders it sums the absolute values of a series that alternates."""
    if isinstance(event, PoissonGaussianEvent | FixedSizeGaussianEvent):
        return dp_accounting_divergence(event, order)
    return divergence(event, order)


OPACUS = RenyiProcedure(tuple([1 + x / 10 for x in range(1, 100)] + [float(x) for x in range(12, 64)]), divergence)
DP_ACCOUNTING = RenyiProcedure(
    tuple([1 + x / 10 for x in range(1, 100)] + [float(x) for x in [*range(11, 64), 128, 256, 512, 1024]]), loose
)
TENSORFLOW_PRIVACY = RenyiProcedure(
    (1.25, 1.5, 1.75, 2, 2.25, 2.5, 3, 3.5, 4, 4.5, *[float(x) for x in [*range(5, 64), 128, 256, 512]]), loose
)
"""The orders of its deprecated `compute_dp_sgd_privacy`; all else of it uses dp-accounting's."""
MOMENTS_ACCOUNTANT = RenyiProcedure(DP_ACCOUNTING.orders, divergence)
"""For papers and tables of older accountants, which summed the series exactly; their orders are not always known."""


def mironov_2017(renyi: Fraction, order: Decimal, delta: Decimal) -> Decimal:
    """The conversion of Mironov 2017, Proposition 3: valid, and looser than the one we use."""
    return Decimal(float(renyi)) - delta.ln() / (order - 1)


def clt_mu(sigma: Decimal, rate: Decimal, steps: int) -> Fraction:
    """The mu that the central limit theorem gives to Poisson-sampled Gaussians (Bu, Dong, Long and Su 2020).

    An approximation, not a bound: what follows from it may be less than the truth, so nothing may be charged by it.
    """
    return Fraction(float(rate) * math.sqrt(steps * math.expm1(float(sigma) ** -2)))


def opacus_noise(target: Decimal, tolerance: Decimal, epsilon_of: Callable[[Decimal], Decimal]) -> Decimal:
    """Opacus' search for a noise multiplier: it stops as soon as an epsilon is within the tolerance of the target."""
    low, high = Decimal(0), Decimal(20)
    found = epsilon_of(high)
    while found > target:
        high *= 2
        found = epsilon_of(high)
    while target - found > tolerance:
        middle = (low + high) / 2
        epsilon = epsilon_of(middle)
        if epsilon < target:
            high, found = middle, epsilon
        else:
            low = middle
    return high


def google_sampled_noise(
    epsilon: float, delta: float, count: int, sensitivity: float, rate: float, unsampled: float
) -> Decimal:
    """dp-accounting's `get_smallest_subsampled_gaussian_noise`: its interval, its bisection from the unsampled noise.

    At that interval its losses are rounded up by so much that the noise comes out a few parts in a million too large.
    """
    from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism

    low, high = 0.0, unsampled
    while high - low > 1e-7:
        middle = (low + high) / 2
        once = from_gaussian_mechanism(
            middle, sensitivity=sensitivity, value_discretization_interval=min(1e-3, 0.1 * epsilon / count),
            sampling_prob=rate,
        )  # fmt: skip
        if once.self_compose(count).get_delta_for_epsilon(epsilon) > delta:
            low = middle
        else:
            high = middle
    return Decimal(high)


def google_distribution_epsilon(operations: Counted, delta: Decimal) -> Decimal:
    """dp-accounting's epsilon by privacy loss distributions, on its default grid."""
    import dp_accounting as dpa
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant()
    for event, count in operations:
        match event:
            case GaussianEvent():
                accountant.compose(dpa.GaussianDpEvent(float(event.sigma / event.sensitivity)), count)
            case PoissonGaussianEvent():
                noise = dpa.GaussianDpEvent(float(event.sigma / event.sensitivity))
                accountant.compose(dpa.PoissonSampledDpEvent(float(event.sampling_probability), noise), count)
            case LaplaceEvent():
                accountant.compose(dpa.LaplaceDpEvent(float(event.scale / event.sensitivity)), count)
            case _:
                raise UnknownCaseError(f"a {event.kind} is not known on dp-accounting's grid")
    return Decimal(float(accountant.get_epsilon(float(delta))))


def opacus_bracket(operations: Sequence[tuple[Decimal, Decimal, int]], delta: float) -> tuple[Decimal, Decimal]:
    """Opacus' bounds below and above on the epsilon of sampled Gaussians, by privacy loss random variables.

    Args:
        operations: Noise multiplier, sampling probability and count of each kind.
        delta: In (0, 1).
    """
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(float(sigma), float(rate), count) for sigma, rate, count in operations]
    error, delta_error = 0.01, delta / 1000
    composed = accountant._get_dprv(eps_error=error, delta_error=delta_error)
    below, _, above = composed.compute_epsilon(delta, delta_error, error)
    return Decimal(float(below)), Decimal(float(above))
