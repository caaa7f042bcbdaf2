"""What a plan costs as an (epsilon, delta), under every theorem of composition that gives it a price.

A plan is any event whose parameters are all fixed before its first operation runs. It is priced at one delta and
charged whole, as one event: so a theorem may be used here that would be unsound for operations chosen one after the
other, and the tightest valid price is as good as any. How each theorem comes to its price:

| name | price | delta |
|---|---|---|
| basic | single prices added | what the claims leave is shared equally by the operations that need a delta |
| advanced | single prices by a closed form | half of what the claims leave is shared, the rest is the theorem's slack |
| optimal | single prices, the best that can be said of them | as in advanced |
| zcdp | rho added, converted once | what the claims leave is the conversion's |
| renyi | divergences added at each order, converted at the best one | likewise |
| pld | the distribution of the loss, convolved | the whole |

A single price of a subsampled Gaussian is that of the Gaussian, amplified (Balle, Barthe and Gaboardi 2018, Theorems 8
and 9): a delta of d / q and an epsilon of e there are d and ln(1 + q (exp(e) - 1)) here. Parts on disjoint partitions
are priced one by one and combined by `charges.loss_across`.

The bounds below keep every plan within about five seconds and half a gigabyte; those of `accounting.pld` too.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

from accounting import charges
from accounting.charges import Currency, loss_across, own_cost
from accounting.composition import advanced_composition, optimal_composition, slack_within
from accounting.conversion import renyi_to_epsilon, rho_to_epsilon
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
    leaves,
    parts_of,
)
from accounting.pld import pld_epsilon
from accounting.renyi import divergence
from accounting.values import (
    EXACT,
    MAX_EPSILON,
    MAX_PLACES,
    PRICE_PLACES,
    ZERO,
    InvalidValueError,
    PrivacyLoss,
    checked_delta,
    decimal_text,
    round_down,
    round_up,
)

MAX_DISTINCT_SHARED = 250
"""Operations unlike each other that need a delta: each takes some milliseconds to price at its share."""
MAX_DISTINCT_SAMPLED, MAX_DISTINCT_FIXED_SIZE = 64, 8
"""Subsampled Gaussians unlike each other whose Renyi divergences are added: 20 and 200 milliseconds each."""
MAX_PARTS = 4
"""Partitions with different plans that are composed by distributions of their own."""
ORDERS: tuple[float, ...] = (
    *(round(1 + tenth / 10, 1) for tenth in range(1, 100)),
    *(float(order) for order in (*range(11, 65), 72, 80, 96, 128, 192, 256, 384, 512)),
)
"""Renyi orders that are tried."""
_STRIDE = 8
"""Of those, in steps of so many at first."""
LARGEST_AMPLIFIED = Decimal(1000)
"""Epsilon above which sampling is not counted: it takes off no more than ln(1/q)."""

_WIDE = Context(prec=60)
_SLACK = Decimal("1e-40")
"""More than the rounding of the logarithm of an amplification."""

_Sampled = PoissonGaussianEvent | FixedSizeGaussianEvent
_NEEDS_DELTA = GaussianEvent | DiscreteGaussianEvent | ZCdpEvent | _Sampled
_PRICED_ALONE = (
    ClaimEvent
    | ZCdpEvent
    | GaussianEvent
    | DiscreteGaussianEvent
    | LaplaceEvent
    | DiscreteLaplaceEvent
    | ExponentialEvent
    | RandomizedResponseEvent
    | PoissonLaplaceEvent
)


class Theorem(StrEnum):
    """Theorems of composition. Closed; in the order in which they are told."""

    BASIC = "basic"
    ADVANCED = "advanced"
    OPTIMAL = "optimal"
    ZCDP = "zcdp"
    RENYI = "renyi"
    PLD = "pld"


@dataclass(frozen=True, slots=True)
class TheoremPrice:
    """A plan's price under one theorem.

    Attributes:
        name: Which.
        loss: Never below the true cost, and within the delta asked for; None where the theorem gives no bound.
        theorem: What is applied, with citation.
        valid: Whether there is a price.
        note: For people: how the delta is used, or why there is no price.
    """

    name: Theorem
    loss: PrivacyLoss | None
    theorem: str
    valid: bool
    note: str


@dataclass(frozen=True, slots=True)
class PlanPrice:
    """A plan's price under every theorem.

    Attributes:
        event: The plan.
        delta: What it may have in all.
        prices: One for each theorem, basic first.
        tightest: The theorem of the valid price with the least epsilon, the first of equals; None if none is valid.
    """

    event: Event
    delta: Decimal
    prices: tuple[TheoremPrice, ...]
    tightest: Theorem | None

    def price(self, name: Theorem) -> TheoremPrice:
        """The price under that theorem."""
        return next(price for price in self.prices if price.name == name)

    @property
    def loss(self) -> PrivacyLoss:
        """The tightest price.

        Raises:
            InvalidValueError: If no theorem has one.
        """
        if self.tightest is None:
            reasons = " ".join(f"{price.name}: {price.note}" for price in self.prices)
            raise InvalidValueError("delta", f"of {decimal_text(self.delta)} gives the event no price. {reasons}")
        found = self.price(self.tightest).loss
        assert found is not None
        return found


def price(event: Event, delta: Decimal = ZERO) -> PrivacyLoss:
    """What any event costs as an (epsilon, delta).

    Args:
        event: Any event.
        delta: What it may have in all, in [0, 1). For a single operation with a price of its own see `charges.price`.

    Raises:
        InvalidValueError: If delta does not fit the event, or the event has no price.
        PricingDisagreementError: If two accountants disagree.
    """
    if isinstance(event, _PRICED_ALONE):
        return charges.price(event, delta)
    return price_plan(event, delta).loss


@lru_cache(maxsize=1024)
def price_plan(event: Event, delta: Decimal, theorems: tuple[Theorem, ...] = tuple(Theorem)) -> PlanPrice:
    """Prices a plan under every theorem.

    Args:
        event: Any event.
        delta: What the plan may have in all, in [0, 1).
        theorems: Which of them, where some are enough.

    Returns:
        All prices; those that do not apply say why. Takes up to 5 seconds, mostly far less than one.

    Raises:
        InvalidValueError: If delta is out of range.
        PricingDisagreementError: If two accountants disagree about any of the prices.
    """
    checked_delta(delta)
    prices = tuple(price_under(name, event, delta) for name in theorems)
    best: TheoremPrice | None = None
    for candidate in prices:
        if candidate.loss is not None and (
            best is None or best.loss is None or candidate.loss.epsilon < best.loss.epsilon
        ):
            best = candidate
    return PlanPrice(event, delta, prices, None if best is None else best.name)


def claimed_delta(event: Event) -> Decimal:
    """The delta that the plain claims in an event cost: summed, over partitions combined like every loss. Exact."""
    match event:
        case ClaimEvent():
            return event.delta
        case SelfComposedEvent():
            return EXACT.multiply(claimed_delta(event.event), event.count)
        case ParallelEvent():
            losses = [PrivacyLoss(ZERO, claimed_delta(part)) for part in parts_of(event)]
            return loss_across(losses, event.adjacency).delta
        case _:
            total = ZERO
            for part in parts_of(event):
                total = EXACT.add(total, claimed_delta(part))
            return total


def needs_delta(event: Event) -> bool:
    """Whether an operation in it has an epsilon only at a delta above 0 that nobody has stated."""
    return any(isinstance(operation, _NEEDS_DELTA) for operation in _operations(event))


def price_under(name: Theorem, event: Event, delta: Decimal) -> TheoremPrice:
    """Prices a plan under one theorem; `price_plan` does under all. Arguments and errors are the same."""
    compute, theorem, used = _THEOREMS[name]
    try:
        loss = compute(event, delta)
        if loss.epsilon > MAX_EPSILON:
            raise InvalidValueError("event", f"costs an epsilon of {decimal_text(loss.epsilon)}, above {MAX_EPSILON}")
    except InvalidValueError as error:
        subject = error.field.rpartition(".")[2]
        return TheoremPrice(name, None, theorem, valid=False, note=f"No price: {subject} {error.reason}.")
    return TheoremPrice(name, loss, theorem, valid=True, note=used)


def _basic(event: Event, delta: Decimal) -> PrivacyLoss:
    if isinstance(event, ParallelEvent):
        return _across(event, delta, _basic)
    epsilon = ZERO
    if claimed_delta(event) > delta:
        raise InvalidValueError("delta", "is less than the claims in the plan come to")
    for loss, count in _single_losses(event, delta, Fraction(1)):
        epsilon = EXACT.add(epsilon, EXACT.multiply(loss.epsilon, count))
    return PrivacyLoss(epsilon, delta if needs_delta(event) else claimed_delta(event))


def _advanced(event: Event, delta: Decimal) -> PrivacyLoss:
    if isinstance(event, ParallelEvent):
        return _across(event, delta, _advanced)
    losses = _single_losses(event, delta, Fraction(1, 2))
    slack = slack_within(losses, delta)
    if slack == 0:
        raise InvalidValueError("delta", "has nothing left for the theorem's slack")
    return PrivacyLoss(advanced_composition(losses, slack).epsilon, delta)


def _optimal(event: Event, delta: Decimal, share: int = 1) -> PrivacyLoss:
    if isinstance(event, ParallelEvent):
        return _by_distributions(event, delta, _optimal)
    losses = Counter[PrivacyLoss]()
    for loss, count in _single_losses(event, delta, Fraction(1, 2)):
        losses[loss] += count
    if slack_within(list(losses.items()), delta) == 0:
        raise InvalidValueError("delta", "leaves nothing beside the operations' own deltas")
    if len(losses) == 1:
        loss, count = next(iter(losses.items()))
        if loss.epsilon > 0:
            try:
                return PrivacyLoss(optimal_composition(loss, count, delta), delta)
            except InvalidValueError:
                # Too many for the closed form: a distribution composes them.
                pass
    least = Decimal(10) ** -PRICE_PLACES
    claims = [(ClaimEvent(max(loss.epsilon, least), loss.delta), count) for loss, count in losses.items()]
    return PrivacyLoss(pld_epsilon(claims, delta, share), delta)


def _zcdp(event: Event, delta: Decimal) -> PrivacyLoss:
    conversion = _left(event, delta)
    rho = own_cost(event, Currency.RHO)
    if rho is None:
        raise InvalidValueError("event", "has an operation without a zero-concentrated loss: a subsampled Gaussian")
    return PrivacyLoss(round_up(Fraction(rho_to_epsilon(Fraction(rho.amount), conversion))), delta)


def _renyi(event: Event, delta: Decimal) -> PrivacyLoss:
    conversion = _left(event, delta)
    operations = set(_operations(event))
    for kind, most in ((PoissonGaussianEvent, MAX_DISTINCT_SAMPLED), (FixedSizeGaussianEvent, MAX_DISTINCT_FIXED_SIZE)):
        found = sum(isinstance(operation, kind) for operation in operations)
        if found > most:
            reason = f"has {found} {kind.kind} operations unlike each other: the divergences of {most} are added"
            raise InvalidValueError("event", reason)

    def bound(at: int) -> tuple[float, int]:
        # Which order is best needs no exactness: the bound holds at every order.
        order = ORDERS[at]
        level = float(_divergence(event, order)) + math.log1p(-1 / order)
        return level - math.log(float(conversion) * order) / (order - 1), at

    # Order less one times the bound is convex, so the bound falls, then rises: look from afar, then closely.
    _, near = min(bound(at) for at in range(0, len(ORDERS), _STRIDE))
    _, best = min(bound(at) for at in range(max(near - _STRIDE + 1, 0), min(near + _STRIDE, len(ORDERS))))
    order = ORDERS[best]
    total = _divergence(event, order)
    return PrivacyLoss(round_up(Fraction(renyi_to_epsilon(total, Decimal(order), conversion))), delta)


def _pld(event: Event, delta: Decimal, share: int = 1) -> PrivacyLoss:
    if delta == 0:
        raise InvalidValueError("delta", "must be greater than 0 for a distribution of losses")
    if isinstance(event, ParallelEvent):
        return _by_distributions(event, delta, _pld)
    return PrivacyLoss(pld_epsilon(list(leaves(event)), delta, share), delta)


def _single_losses(event: Event, delta: Decimal, share: Fraction) -> list[tuple[PrivacyLoss, int]]:
    """What each operation costs, if those that need a delta get that share of what the claims leave, equally."""
    operations = Counter[Event]()
    for leaf, count in leaves(event):
        operations[leaf] += count
    needy = [leaf for leaf in operations if needs_delta(leaf)]
    if len(needy) > MAX_DISTINCT_SHARED:
        reason = f"has {len(needy)} operations unlike each other that need a delta: {MAX_DISTINCT_SHARED} can share one"
        raise InvalidValueError("event", reason)
    left = Fraction(delta) - Fraction(claimed_delta(event))
    each = ZERO
    if needy:
        each = round_down(share * left / sum(operations[leaf] for leaf in needy), MAX_PLACES)
        if each <= 0:
            raise InvalidValueError("delta", f"leaves nothing for the operations that need one: {needy[0].kind}")
    return [(_single_loss(leaf, each), count) for leaf, count in operations.items()]


def _single_loss(leaf: Event, share: Decimal) -> PrivacyLoss:
    """The price of one operation that may have that delta beside its claims'."""
    if isinstance(leaf, ParallelEvent):
        return _basic(leaf, EXACT.add(claimed_delta(leaf), share if needs_delta(leaf) else ZERO))
    if isinstance(leaf, PoissonGaussianEvent | FixedSizeGaussianEvent):
        return PrivacyLoss(_amplified(leaf, share), share)
    return charges.price(leaf, share if isinstance(leaf, _NEEDS_DELTA) else ZERO)


@lru_cache(maxsize=4096)
def _amplified(event: _Sampled, delta: Decimal) -> Decimal:
    if isinstance(event, PoissonGaussianEvent):
        rate = Fraction(event.sampling_probability)
    else:
        rate = Fraction(event.sample_size, event.population)
    unsampled = round_down(Fraction(delta) / rate, MAX_PLACES)
    if unsampled >= 1:
        # Who is not in the sample loses nothing.
        return ZERO
    epsilon = charges.price(GaussianEvent(event.sigma, event.sensitivity), unsampled).epsilon
    if rate == 1 or epsilon > LARGEST_AMPLIFIED:
        return epsilon
    odds = _WIDE.divide(
        _WIDE.multiply(_WIDE.subtract(_WIDE.exp(epsilon), 1), Decimal(rate.numerator)), Decimal(rate.denominator)
    )
    return round_up(Fraction(_WIDE.add(_WIDE.ln(_WIDE.add(odds, 1)), _SLACK)))


def _across(event: ParallelEvent, delta: Decimal, compute: Callable[[Event, Decimal], PrivacyLoss]) -> PrivacyLoss:
    """The price of parts on disjoint partitions, each priced at what makes the whole keep its delta."""
    parts = parts_of(event)
    counted = 1 if event.adjacency is Adjacency.ADD_REMOVE or len(parts) == 1 else 2
    left = EXACT.subtract(delta, claimed_delta(event))
    if left < 0:
        raise InvalidValueError("delta", "is less than the claims in the plan come to")
    share = round_down(Fraction(left) / counted, MAX_PLACES)
    losses = []
    for part in parts:
        allowed = delta if counted == 1 else EXACT.add(claimed_delta(part), share)
        losses.append(compute(part, allowed))
    return loss_across(losses, event.adjacency)


def _by_distributions(
    event: ParallelEvent, delta: Decimal, compute: Callable[[Event, Decimal, int], PrivacyLoss]
) -> PrivacyLoss:
    """The same where each part takes long: equal parts are priced once."""
    distinct = len(set(parts_of(event)))
    if distinct > MAX_PARTS:
        reason = f"has {distinct} different plans on its partitions: distributions of {MAX_PARTS} are computed"
        raise InvalidValueError("event", reason)
    cached = lru_cache(lambda part, allowed: compute(part, allowed, distinct))
    return _across(event, delta, cached)


def _left(event: Event, delta: Decimal) -> Decimal:
    """What the claims leave of delta, for a conversion."""
    left = EXACT.subtract(delta, claimed_delta(event))
    if left <= 0:
        raise InvalidValueError("delta", "leaves nothing for the conversion beside the claims in the plan")
    return left


def _divergence(event: Event, order: float) -> Fraction:
    """The Renyi divergence of any event, without what its claims' deltas cover."""
    match event:
        case SelfComposedEvent():
            return event.count * _divergence(event.event, order)
        case ComposedEvent():
            return sum((_divergence(part, order) for part in event.events), Fraction(0))
        case ParallelEvent():
            counted = 1 if event.adjacency is Adjacency.ADD_REMOVE else 2
            return sum(
                sorted((_divergence(part, order) for _, part in event.parts), reverse=True)[:counted], Fraction(0)
            )
        case _:
            return divergence(event, order)


def _operations(event: Event) -> Iterator[Event]:
    """The single operations of an event, those on partitions too, without their counts."""
    parts: Sequence[Event] = parts_of(event)
    if not parts:
        yield event
    for part in parts:
        yield from _operations(part)


_CONVERTED = "What the claims leave of the delta pays for the conversion."
_THEOREMS: dict[Theorem, tuple[Callable[[Event, Decimal], PrivacyLoss], str, str]] = {
    Theorem.BASIC: (
        _basic,
        "Epsilons and deltas add (Dwork and Roth 2014, Theorem 3.16); sampling amplifies (Balle, Barthe and Gaboardi "
        "2018, Theorems 8 and 9)",
        "The operations that need a delta share equally what the claims leave.",
    ),
    Theorem.ADVANCED: (
        _advanced,
        "Advanced composition of operations unlike each other (Kairouz, Oh and Viswanathan 2015, Theorem 3.5)",
        "Half of what the claims leave is shared by the operations that need a delta, the rest is the theorem's slack.",
    ),
    Theorem.OPTIMAL: (
        _optimal,
        "Optimal composition: exactly what epsilons and deltas alone imply (Kairouz, Oh and Viswanathan 2015, Theorem "
        "3.3; for operations unlike each other by the distributions of their worst losses)",
        "Half of what the claims leave is shared by the operations that need a delta, the rest is for composition.",
    ),
    Theorem.ZCDP: (
        _zcdp,
        "Zero-concentrated losses add (Bun and Steinke 2016, Lemma 1.7), converted once (Canonne, Kamath and Steinke "
        "2020, Proposition 12)",
        _CONVERTED,
    ),
    Theorem.RENYI: (
        _renyi,
        "Renyi divergences add at each order (Mironov 2017, Proposition 1), converted once at the best order (Canonne, "
        "Kamath and Steinke 2020, Proposition 12)",
        _CONVERTED,
    ),
    Theorem.PLD: (
        _pld,
        "Privacy loss distributions convolve (Sommer, Meiser and Mohammadi 2019), rounded by connecting the dots "
        "(Doroshenko, Ghazi, Kamath, Kumar and Manurangsi 2022)",
        "The whole delta, the claims' within it.",
    ),
}
"""How each price is computed, what is applied, and how the delta is used."""
