"""Privacy filters: what a budget counts, when it is full, and what would still fit.

A tenant chooses each operation after seeing earlier answers, so a budget is not a sum that somebody converts afterwards
but a set of **member filters** with caps fixed in advance. Each member alone keeps its part of the promise against such
a tenant:

| member | counts | theorem |
|---|---|---|
| basic | epsilons and deltas | Rogers, Roth, Ullman and Vadhan 2016 |
| zcdp | rho, and deltas of claims | Whitehouse, Ramdas, Rogers and Wu 2023, Theorem 1 |
| renyi | Renyi divergence at one order committed in advance, and deltas | Feldman and Zrnic 2021, Theorem 4.3 |
| gdp | squared mu, and deltas | Smith and Thakurta 2022 |

A charge is admitted while **any** member still holds after it. That is sound because the members' shares of delta sum
to at most the promised delta: the proof is written out in `proofs/statements/composed_filter.md`. A share is split,
once and for ever, into what pays for the conversion from the member's currency and a cap on the deltas of plain claims.

Time and memory of an admission do not depend on the history: a charge is added, exactly, to one sum for each member.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache

import msgspec

from accounting.charges import Cost, Currency, cost, own_cost
from accounting.conversion import (
    COST_PLACES,
    LARGEST_ORDER,
    PricingDisagreementError,
    best_order_for_cap,
    checked_order,
    mu_squared_cap,
    renyi_cap,
)
from accounting.events import ClaimEvent, Event
from accounting.renyi import inverse_pure_divergence, pure_divergence
from accounting.values import (
    EXACT,
    MAX_EPSILON,
    MAX_PLACES,
    ZERO,
    InvalidValueError,
    PrivacyLoss,
    checked_delta,
    checked_epsilon,
    decimal_text,
    round_down,
    round_up,
)


class FilterKind(StrEnum):
    """The member filters. Closed; the order in which they are tried and told."""

    BASIC = "basic"
    RENYI = "renyi"
    ZCDP = "zcdp"
    GDP = "gdp"


CURRENCIES = {
    FilterKind.BASIC: Currency.EPSILON,
    FilterKind.RENYI: Currency.RENYI,
    FilterKind.ZCDP: Currency.RHO,
    FilterKind.GDP: Currency.MU_SQUARED,
}
"""What each member counts."""
THEOREMS = {
    FilterKind.BASIC: "basic composition: epsilons and deltas add up (Rogers, Roth, Ullman and Vadhan 2016)",
    FilterKind.RENYI: "Renyi divergences at one committed order add up (Feldman and Zrnic 2021, Theorem 4.3)",
    FilterKind.ZCDP: "zero-concentrated losses add up (Whitehouse, Ramdas, Rogers and Wu 2023, Theorem 1)",
    FilterKind.GDP: "squared Gaussian losses add up (Smith and Thakurta 2022)",
}


@dataclass(frozen=True, slots=True)
class Share:
    """A member's part of a promise, as an administrator may set it when the budget is created.

    Attributes:
        kind: Which filter.
        delta: Cap on the sum of the deltas of plain claims, at least 0.
        conversion_delta: What the conversion may use: greater than 0, except for basic, where it is 0.
        order: Of the Renyi filter; None for the best one, and for the others.
    """

    kind: FilterKind
    delta: Decimal
    conversion_delta: Decimal = ZERO
    order: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A member filter of a budget.

    Attributes:
        kind: Which.
        cap: The amount in the member's currency, and the deltas of plain claims, that may be spent.
        conversion_delta: What the conversion of the amount costs; 0 for basic.
        order: Of the Renyi divergence, committed; None for the others.
    """

    kind: FilterKind
    cap: Cost
    conversion_delta: Decimal = ZERO
    order: int | None = None

    @property
    def currency(self) -> Currency:
        """What the member counts."""
        return CURRENCIES[self.kind]

    def share(self) -> Decimal:
        """The member's part of the budget's delta."""
        return EXACT.add(self.cap.delta, self.conversion_delta)

    def cost(self, event: Event, loss: PrivacyLoss) -> Cost:
        """What the member counts for an event whose price is `loss`; see `accounting.charges.cost`."""
        return cost(event, loss, self.currency, self.order)


class Charge(msgspec.Struct, frozen=True):
    """What was counted, member by member in the order of a budget's members: of one event, or summed over a history."""

    costs: tuple[Cost, ...]

    @property
    def basic(self) -> PrivacyLoss:
        """The (epsilon, delta) under basic composition, which every budget counts first."""
        first = self.costs[0]
        return PrivacyLoss(first.amount, first.delta)

    def is_something(self) -> bool:
        """Whether any member has counted anything."""
        # Asked for each entry; a generator would take longer than the answer.
        for counted in self.costs:
            if counted.amount or counted.delta:
                return True
        return False

    def plus(self, other: "Charge") -> "Charge":
        """The sum of both, exact."""
        return Charge(tuple([a.plus(b) for a, b in zip(self.costs, other.costs, strict=True)]))

    def minus(self, other: "Charge") -> "Charge":
        """The difference of both, exact."""
        return Charge(tuple([a.minus(b) for a, b in zip(self.costs, other.costs, strict=True)]))


@dataclass(frozen=True, slots=True)
class Budget:
    """A promise and the member filters that keep it. Built by `budget`, which checks it.

    Attributes:
        promise: The (epsilon, delta) that the whole history keeps, however it was chosen.
        members: Basic first; every kind at most once.
    """

    promise: PrivacyLoss
    members: tuple[Member, ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Every entry looks up the text of its budget by the budget, and hashing all these decimals takes microseconds.
        object.__setattr__(self, "_hash", hash((self.promise, self.members)))

    def __hash__(self) -> int:
        return self._hash

    def nothing(self) -> Charge:
        """The sum over an empty history."""
        return Charge(tuple([Cost(ZERO)] * len(self.members)))

    def charge(self, event: Event, loss: PrivacyLoss) -> Charge:
        """What each member counts for an event whose price is `loss`.

        Raises:
            InvalidValueError: If a parameter is out of range.
            PricingDisagreementError: If two accountants disagree.
        """
        return Charge(tuple([member.cost(event, loss) for member in self.members]))

    def admits(self, spent: Charge) -> bool:
        """Whether a history of that sum, the charge in question included, is within the promise: any member holds."""
        for member, counted in zip(self.members, spent.costs, strict=True):
            if counted.within(member.cap):
                return True
        return False

    def nearly_exhausted(self, spent: Charge) -> bool:
        """Whether less than a tenth is left: a plain claim of a tenth of the promised epsilon would not be admitted."""
        for last, counted in zip(_last_tenth(self), spent.costs, strict=True):
            if counted.within(last):
                return False
        return True

    def covers(self, other: "Budget") -> bool:
        """Whether every history that the other budget admits is admitted here: same members, no cap lower."""
        return (
            [(member.kind, member.order) for member in self.members]
            == [(member.kind, member.order) for member in other.members]
            and other.promise.within(self.promise)
            and all(
                theirs.cap.within(ours.cap) and theirs.conversion_delta <= ours.conversion_delta
                for ours, theirs in zip(self.members, other.members, strict=True)
            )
        )


def budget(promise: PrivacyLoss, shares: Sequence[Share]) -> Budget:
    """A budget of the given members.

    Args:
        promise: The (epsilon, delta) to keep.
        shares: The members' parts of its delta; basic first.

    Raises:
        InvalidValueError: If a number is out of range, basic is not the first or a kind comes twice, the shares sum to
            more than the promised delta, or a member could never admit anything.
    """
    checked_epsilon(promise.epsilon)
    checked_delta(promise.delta)
    if not shares or shares[0].kind is not FilterKind.BASIC:
        raise InvalidValueError("filters", "must begin with basic, which every answer is told in")
    if len({share.kind for share in shares}) < len(shares):
        raise InvalidValueError("filters", "must name every filter once")
    members = tuple(_member(promise.epsilon, share) for share in shares)
    total = ZERO
    for member in members:
        total = EXACT.add(total, member.share())
    if total > promise.delta:
        reason = f"have shares of delta of {decimal_text(total)}, more than the promised {decimal_text(promise.delta)}"
        raise InvalidValueError("filters", reason)
    return Budget(promise, members)


def standard_budget(promise: PrivacyLoss) -> Budget:
    """The budget that a promise gets if nobody says otherwise.

    Basic with nine tenths of delta; Renyi with one tenth, half of it for the conversion. Basic alone where delta is 0,
    or so small an epsilon is promised that no Renyi order could admit anything.

    Raises:
        InvalidValueError: If the promise is out of range.
    """
    checked_delta(promise.delta)
    for_basic = round_down(Fraction(promise.delta) * Fraction(9, 10), MAX_PLACES)
    return _with_renyi(promise, for_basic, EXACT.subtract(promise.delta, for_basic))


def budget_for_claims(epsilon: Decimal, delta: Decimal) -> Budget:
    """The budget under which plain claims may sum to exactly (epsilon, delta): the promise is a ninth of delta more.

    Basic alone, and no more promised, where no Renyi order could admit anything.

    Raises:
        InvalidValueError: If a number is out of range.
    """
    checked_delta(delta)
    ninth = round_down(Fraction(delta) / 9, MAX_PLACES)
    held = _with_renyi(PrivacyLoss(epsilon, EXACT.add(delta, ninth)), delta, ninth)
    return held if len(held.members) > 1 else basic_budget(PrivacyLoss(epsilon, delta))


def basic_budget(promise: PrivacyLoss) -> Budget:
    """The budget of basic composition alone, with the whole delta."""
    return budget(promise, [Share(FilterKind.BASIC, promise.delta)])


def raised(current: Budget, promise: PrivacyLoss) -> Budget:
    """The budget with a new promise: the same members, the same orders, delta shared in the same proportions.

    Raises:
        InvalidValueError: If the promise is out of range.
    """
    checked_delta(promise.delta)
    if current.promise.delta == 0:
        return basic_budget(promise)
    factor = Fraction(promise.delta) / Fraction(current.promise.delta)
    shares = [
        Share(
            member.kind,
            round_down(Fraction(member.cap.delta) * factor, MAX_PLACES),
            round_down(Fraction(member.conversion_delta) * factor, MAX_PLACES),
            member.order,
        )
        for member in current.members
    ]
    return budget(promise, shares)


def _with_renyi(promise: PrivacyLoss, basic_delta: Decimal, renyi_delta: Decimal) -> Budget:
    half = round_down(Fraction(renyi_delta) / 2, MAX_PLACES)
    if half > 0 and best_order(promise.epsilon, half) is not None:
        renyi = Share(FilterKind.RENYI, EXACT.subtract(renyi_delta, half), half)
        return budget(promise, [Share(FilterKind.BASIC, basic_delta), renyi])
    return basic_budget(promise)


def best_order(epsilon: Decimal, conversion_delta: Decimal) -> int | None:
    """The Renyi order under which the most Gaussians fit; None if no order admits any."""
    checked_epsilon(epsilon)
    ideal = best_order_for_cap(float(epsilon), float(conversion_delta))
    # The room is unimodal in the order, so the best whole order is beside the best order, within the bounds.
    below = min(max(int(ideal), 2), LARGEST_ORDER)
    candidates = [below, min(below + 1, LARGEST_ORDER)]
    caps = {order: renyi_cap(epsilon, Decimal(order), conversion_delta) / order for order in candidates}
    best = max(candidates, key=lambda order: caps[order])
    return best if caps[best] > 0 else None


def _member(epsilon: Decimal, share: Share) -> Member:
    kind = share.kind
    checked_delta(share.delta, f"filters.{kind}.delta")
    checked_delta(share.conversion_delta, f"filters.{kind}.conversion_delta")
    if share.order is not None:
        if kind is not FilterKind.RENYI:
            raise InvalidValueError(f"filters.{kind}.order", "belongs to the renyi filter alone")
        checked_order(share.order)
    if kind is FilterKind.BASIC:
        if share.conversion_delta != 0:
            raise InvalidValueError("filters.basic.conversion_delta", "must be 0: basic composition converts nothing")
        return Member(kind, Cost(epsilon, share.delta))
    if share.conversion_delta == 0:
        raise InvalidValueError(f"filters.{kind}.conversion_delta", "must be greater than 0")
    order = None
    if kind is FilterKind.RENYI:
        order = share.order or best_order(epsilon, share.conversion_delta) or 2
    amount = _cap(kind, epsilon, share.conversion_delta, order)
    if amount <= 0:
        raise InvalidValueError(f"filters.{kind}", "admits nothing: epsilon is too small for this share of delta")
    return Member(kind, Cost(amount, share.delta), share.conversion_delta, order)


@lru_cache(maxsize=1024)
def _cap(kind: FilterKind, epsilon: Decimal, delta: Decimal, order: int | None) -> Decimal:
    if kind is FilterKind.GDP:
        return mu_squared_cap(epsilon, delta)
    if kind is FilterKind.ZCDP:
        best = best_order_for_cap(float(epsilon), float(delta))
        return round_down(Fraction(renyi_cap(epsilon, best, delta)) / Fraction(best), COST_PLACES)
    assert order is not None
    return renyi_cap(epsilon, Decimal(order), delta)


@lru_cache(maxsize=1024)
def _last_tenth(held: Budget) -> tuple[Cost, ...]:
    """For each member, its cap less what a claim of a tenth of the promised epsilon would cost it."""
    epsilon = round_down(Fraction(held.promise.epsilon) / 10)
    if epsilon == 0:
        return tuple(member.cap for member in held.members)
    tenth = held.charge(ClaimEvent(epsilon, ZERO), PrivacyLoss(epsilon, ZERO))
    return tuple(member.cap.minus(cost) for member, cost in zip(held.members, tenth.costs, strict=True))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a member stands: what it has counted, and what it has left.

    Attributes:
        member: Which.
        spent: Counted so far.
        remaining: Cap less spent; negative in a part where the member holds no longer.
        holds: Whether the member is within its cap.
    """

    member: Member
    spent: Cost
    remaining: Cost
    holds: bool


def standings(held: Budget, spent: Charge) -> tuple[Standing, ...]:
    """How each member of a budget stands after a history of that sum."""
    return tuple(
        Standing(member, counted, member.cap.minus(counted), counted.within(member.cap))
        for member, counted in zip(held.members, spent.costs, strict=True)
    )


def binding(held: Budget, spent: Charge, charge: Charge) -> Standing | None:
    """The member that came closest to admitting a refused charge; None if one admits it.

    Closest is the member whose cap would have to grow by the least factor.
    """
    after = standings(held, spent.plus(charge))
    if any(standing.holds for standing in after):
        return None
    before = standings(held, spent)
    return min(zip(before, after, strict=True), key=lambda pair: _excess(pair[1]))[0]


def _excess(standing: Standing) -> Fraction:
    """By what factor spending exceeds the cap, in the part that exceeds it more."""
    spent, cap = standing.spent, standing.member.cap
    return max(
        Fraction(part) / Fraction(limit) if limit else Fraction(int(part > 0)) * 10**40
        for part, limit in ((spent.amount, cap.amount), (spent.delta, cap.delta))
    )


def largest_claim(held: Budget, spent: Charge, delta: Decimal = ZERO) -> Decimal:
    """The largest epsilon that a plain claim with that delta could still have; 0 if none fits.

    Exact where basic composition decides; at most a part in 10^8 below the largest where another member does.
    """
    largest = ZERO
    for member, counted in zip(held.members, spent.costs, strict=True):
        room = EXACT.subtract(member.cap.amount, counted.amount)
        if room > 0 and EXACT.add(counted.delta, delta) <= member.cap.delta:
            largest = max(largest, min(_largest_under(member, room, largest), MAX_EPSILON))
    return largest


def largest_delta(held: Budget, spent: Charge) -> Decimal:
    """The largest delta that a plain claim of hardly any epsilon could still have."""
    largest = ZERO
    for member, counted in zip(held.members, spent.costs, strict=True):
        if counted.amount < member.cap.amount:
            largest = max(largest, EXACT.subtract(member.cap.delta, counted.delta))
    return largest


def _largest_under(member: Member, room: Decimal, known: Decimal) -> Decimal:
    """The largest epsilon of a claim that costs the member at most `room`; any smaller one if that is below `known`."""
    if member.kind is FilterKind.BASIC:
        return room
    if known > 0 and not _might_cost_at_most(member, known, room):
        return ZERO
    guess = Fraction(_claim_worth(member, float(room)))
    for shrink in (Fraction(1, 10**9), Fraction(1, 10**8), Fraction(1, 10**5), Fraction(1, 10**2)):
        epsilon = round_down(guess * (1 - shrink))
        if 0 < epsilon <= MAX_EPSILON and _costs_at_most(member, epsilon, room):
            return epsilon
    return ZERO


def _might_cost_at_most(member: Member, epsilon: Decimal, room: Decimal) -> bool:
    """The same, at a glance: for Renyi by doubles, which may say yes where the truth is no."""
    if member.order is not None:
        return pure_divergence(float(epsilon), member.order) <= float(room) * (1 + 1e-9)
    return _costs_at_most(member, epsilon, room)


def _costs_at_most(member: Member, epsilon: Decimal, room: Decimal) -> bool:
    # What remains of a budget may have more digits than a claim may have.
    claimed = own_cost(ClaimEvent(round_up(Fraction(epsilon)), ZERO), member.currency, member.order)
    return claimed is not None and claimed.amount <= room


def _claim_worth(member: Member, room: float) -> float:
    """About the epsilon of a claim that costs `room` in the member's currency."""
    if member.kind is FilterKind.ZCDP:
        return math.sqrt(2 * room)
    if member.kind is FilterKind.GDP:
        from scipy.special import log_ndtr

        half = math.sqrt(room) / 2
        return float(log_ndtr(half) - log_ndtr(-half))
    return inverse_pure_divergence(room, member.order or 2)


def largest_epsilon(
    held: Budget, spent: Charge, family: Callable[[Decimal], tuple[Event, PrivacyLoss]], steps: int = 40
) -> Decimal:
    """The largest epsilon, to about nine digits, at which an event of some family would still be admitted; 0 if none.

    Args:
        held: The budget.
        spent: What its members have counted.
        family: The event for an epsilon and its price, such as the calibrated Gaussian at some delta: the larger the
            epsilon, the larger every cost. Raises `InvalidValueError` where it has no event.
        steps: Halvings of the interval.
    """

    def fits(epsilon: Decimal) -> bool:
        try:
            event, loss = family(epsilon)
            return held.admits(spent.plus(held.charge(event, loss)))
        except (InvalidValueError, PricingDisagreementError):
            return False

    # No useful mechanism of the standard families has an epsilon of four times what the whole budget promises.
    low, high = Fraction(0), Fraction(held.promise.epsilon) * 4
    for _ in range(steps):
        middle = (low + high) / 2
        candidate = round_down(middle)
        if candidate > 0 and fits(candidate):
            low = Fraction(candidate)
        else:
            high = middle
    return round_down(low)
