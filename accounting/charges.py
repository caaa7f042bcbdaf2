"""What one event costs: as an (epsilon, delta), and in every currency that a member filter counts in.

| currency | counted by | an event's own cost in it |
|---|---|---|
| epsilon | basic composition | `price` for a single operation, `accounting.plans.price` for any event |
| rho | zCDP | sum over operations of `accounting.renyi.rho_of` |
| Renyi divergence at a committed order | Renyi | sum over operations of `accounting.renyi.divergence` |
| squared mu | Gaussian DP | sum of (sensitivity / sigma)^2 of exact Gaussians, or of the pure epsilon's |

Costs are rounded up once for each single operation, so that a sum of charges is the charge of the sum: counts multiply,
order and grouping change nothing. A plain (epsilon, delta) has its pure part in every currency, its delta beside it
(`proofs/statements/approximate.md`). So has an event without a cost of its own in a currency: what it costs as an
(epsilon, delta) is then counted like a claim. Over partitions the largest cost counts, or under replace-one the sum of
the two largest, since one privacy unit may move from one partition to another.
"""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

import msgspec

from accounting.conversion import (
    COST_PLACES,
    PricingDisagreementError,
    mu_to_epsilon,
    pure_to_mu_squared,
    rho_to_epsilon,
)
from accounting.events import (
    Adjacency,
    ClaimEvent,
    ComposedEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    FixedSizeGaussianEvent,
    GaussianEvent,
    LaplaceEvent,
    ParallelEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    RandomizedResponseEvent,
    SelfComposedEvent,
    ZCdpEvent,
)
from accounting.pure import pure_epsilon
from accounting.renyi import divergence, rho_of
from accounting.values import (
    EXACT,
    ZERO,
    InvalidValueError,
    PrivacyLoss,
    checked_delta,
    round_up,
)

__all__ = ["Cost", "Currency", "PricingDisagreementError", "cost", "own_cost", "price"]

SMALLEST_RHO, LARGEST_RHO = Fraction(1, 10**14), Fraction(10**5)
"""Gaussians outside are refused: the first kind costs nothing anyone could measure, the second promises nothing (at
the smallest delta an epsilon of 105 000)."""


class Currency(StrEnum):
    """What a member filter counts beside deltas. Closed."""

    EPSILON = "epsilon"
    RHO = "rho"
    RENYI = "renyi"
    MU_SQUARED = "mu_squared"


class Cost(msgspec.Struct, frozen=True, gc=False):
    """An amount in some currency and the deltas beside it: of a charge, a sum of charges, or a cap.

    A struct, since several are made for each allocation, and a frozen dataclass takes seven times as long to make.

    Attributes:
        amount: At least 0, exact.
        delta: At least 0, exact. Of plain claims; a conversion's delta is the filter's business.
    """

    amount: Decimal
    delta: Decimal = ZERO

    def plus(self, other: "Cost") -> "Cost":
        """The sum of both, exact."""
        return Cost(EXACT.add(self.amount, other.amount), EXACT.add(self.delta, other.delta))

    def minus(self, other: "Cost") -> "Cost":
        """The difference of both, exact."""
        return Cost(EXACT.subtract(self.amount, other.amount), EXACT.subtract(self.delta, other.delta))

    def times(self, count: int) -> "Cost":
        """The sum of that many, exact."""
        return Cost(EXACT.multiply(self.amount, count), EXACT.multiply(self.delta, count))

    def within(self, cap: "Cost") -> bool:
        """Whether neither part exceeds the cap's."""
        return self.amount <= cap.amount and self.delta <= cap.delta


def price(event: Event, delta: Decimal = ZERO) -> PrivacyLoss:
    """What a single operation costs as an (epsilon, delta).

    Args:
        event: Neither a composition nor a subsampled Gaussian: `accounting.plans.price` prices those, and these too.
        delta: Where the event has an epsilon at every delta: the one to price it at. 0 for all others.

    Returns:
        An (epsilon, delta) that the event satisfies, epsilon rounded up to `values.PRICE_PLACES` unless it was claimed.

    Raises:
        InvalidValueError: If delta does not fit the event, or the price is out of range.
        PricingDisagreementError: If two accountants disagree.
    """
    checked_delta(delta)
    match event:
        case ClaimEvent():
            if delta != 0:
                raise InvalidValueError("delta", "must be 0 here: a claim states its delta inside the event")
            return PrivacyLoss(event.epsilon, event.delta)
        case GaussianEvent() | DiscreteGaussianEvent() | ZCdpEvent():
            return PrivacyLoss(_concentrated_epsilon(event, delta), delta)
        case (
            LaplaceEvent()
            | DiscreteLaplaceEvent()
            | ExponentialEvent()
            | RandomizedResponseEvent()
            | PoissonLaplaceEvent()
        ):
            if delta != 0:
                reason = f"must be 0: a {event.kind} event is purely epsilon-differentially private"
                raise InvalidValueError("delta", reason)
            return PrivacyLoss(pure_epsilon(event), ZERO)
        case _:
            raise TypeError(f"{event.kind} is not a single operation with a price of its own")


@lru_cache(maxsize=4096)
def _concentrated_epsilon(event: GaussianEvent | DiscreteGaussianEvent | ZCdpEvent, delta: Decimal) -> Decimal:
    """The epsilon at delta: exactly for exactly Gaussian noise, by the best Renyi order for what is proven in rho."""
    if delta == 0:
        raise InvalidValueError("delta", f"must be greater than 0: a {event.kind} event has no pure epsilon")
    rho = rho_of(event)
    assert rho is not None
    if not SMALLEST_RHO <= rho <= LARGEST_RHO:
        if isinstance(event, ZCdpEvent):
            raise InvalidValueError("event.rho", f"must be from {float(SMALLEST_RHO)} to {LARGEST_RHO}")
        raise InvalidValueError("event.sigma", "is out of range: sigma / sensitivity must be from 0.0023 to 7000000")
    if isinstance(event, GaussianEvent):
        return mu_to_epsilon(Fraction(event.sensitivity) / Fraction(event.sigma), delta)
    return round_up(Fraction(rho_to_epsilon(rho, delta)))


def own_cost(event: Event, currency: Currency, order: int | None = None) -> Cost | None:
    """What the event costs in a currency other than epsilon, by what is proven of the event itself.

    Args:
        event: Any event.
        currency: Not `Currency.EPSILON`, which needs a theorem of composition: `accounting.plans.price`.
        order: Of the Renyi divergence; None for the others.

    Returns:
        The cost, rounded up; None if the event has none in this currency.

    Raises:
        InvalidValueError: If a parameter is out of range.
        PricingDisagreementError: If two accountants disagree.
    """
    match event:
        case SelfComposedEvent():
            once = own_cost(event.event, currency, order)
            return None if once is None else once.times(event.count)
        case ComposedEvent():
            return _sum([own_cost(part, currency, order) for part in event.events])
        case ParallelEvent():
            return _across([own_cost(part, currency, order) for _, part in event.parts], event.adjacency)
        case _:
            amount = _amount(event, currency, order)
            delta = event.delta if isinstance(event, ClaimEvent) else ZERO
            return None if amount is None else Cost(amount, delta)


@lru_cache(maxsize=65_536)
def cost(event: Event, loss: PrivacyLoss, currency: Currency, order: int | None = None) -> Cost:
    """What a filter counts for the event: its own cost in the filter's currency, else what its (epsilon, delta) costs.

    Args:
        event: Any event.
        loss: Its price as an (epsilon, delta).
        currency: The filter's.
        order: Of the Renyi divergence; None for the others.

    Raises:
        InvalidValueError: If a parameter is out of range.
        PricingDisagreementError: If two accountants disagree.
    """
    if currency is Currency.EPSILON:
        return Cost(loss.epsilon, loss.delta)
    own = own_cost(event, currency, order)
    if own is not None:
        return own
    if loss.epsilon == 0:
        return Cost(ZERO, loss.delta)
    claimed = own_cost(ClaimEvent(loss.epsilon, loss.delta), currency, order)
    assert claimed is not None
    return claimed


def loss_across(losses: Sequence[PrivacyLoss], adjacency: Adjacency | None) -> PrivacyLoss:
    """The (epsilon, delta) of operations on disjoint partitions: the largest, or the two largest together."""
    combined = _across([Cost(loss.epsilon, loss.delta) for loss in losses], adjacency)
    assert combined is not None
    return PrivacyLoss(combined.amount, combined.delta)


def _amount(event: Event, currency: Currency, order: int | None) -> Decimal | None:
    match currency:
        case Currency.RHO:
            rho = rho_of(event)
            return None if rho is None else round_up(rho, COST_PLACES)
        case Currency.RENYI:
            assert order is not None
            return round_up(divergence(event, order), COST_PLACES)
        case Currency.MU_SQUARED:
            return _mu_squared(event)
        case _:
            raise TypeError("epsilons are priced by accounting.plans")


def _mu_squared(event: Event) -> Decimal | None:
    match event:
        case GaussianEvent():
            return round_up((Fraction(event.sensitivity) / Fraction(event.sigma)) ** 2, COST_PLACES)
        case DiscreteGaussianEvent() | ZCdpEvent() | PoissonGaussianEvent() | FixedSizeGaussianEvent():
            return None
        case _:
            return pure_to_mu_squared(pure_epsilon(event))


def _sum(costs: Sequence[Cost | None]) -> Cost | None:
    total = Cost(ZERO)
    for part in costs:
        if part is None:
            return None
        total = total.plus(part)
    return total


def _across(costs: Sequence[Cost | None], adjacency: Adjacency | None) -> Cost | None:
    known = [part for part in costs if part is not None]
    if len(known) < len(costs):
        return None
    # Where nobody says what neighbours are, they may differ in two partitions.
    counted = 1 if adjacency is Adjacency.ADD_REMOVE else 2
    amounts = sorted((part.amount for part in known), reverse=True)[:counted]
    deltas = sorted((part.delta for part in known), reverse=True)[:counted]
    return _sum([Cost(amount, delta) for amount, delta in zip(amounts, deltas, strict=True)])
