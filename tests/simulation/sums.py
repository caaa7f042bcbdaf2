"""Sums of charges, in arithmetic of the simulation's own: a tuple of amount and delta of each member filter."""

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from functools import lru_cache

from accounting.charges import Currency, own_cost
from accounting.events import ClaimEvent, Event, LaplaceEvent, SelfComposedEvent
from accounting.filters import Budget, Charge
from accounting.ledger.entry import Entry
from accounting.values import PrivacyLoss
from tests.simulation.violation import require

Sums = tuple[Decimal, ...]

_EXACTLY = Context(prec=400, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])


def sums(charge: Charge) -> Sums:
    """A charge as a tuple."""
    return tuple([part for cost in charge.costs for part in (cost.amount, cost.delta)])


@lru_cache(maxsize=4096)
def caps(budget: Budget) -> Sums:
    """A budget's caps as a tuple."""
    return tuple(part for member in budget.members for part in (member.cap.amount, member.cap.delta))


def plus(a: Sums, b: Sums) -> Sums:
    """The sum, exact."""
    return tuple(map(_EXACTLY.add, a, b))


def minus(a: Sums, b: Sums) -> Sums:
    """The difference, exact."""
    return tuple(map(_EXACTLY.subtract, a, b))


def within(spent: Sums, cap: Sums) -> bool:
    """Whether any member holds: neither its amount nor its delta above the cap."""
    return any(spent[i] <= cap[i] and spent[i + 1] <= cap[i + 1] for i in range(0, len(cap), 2))


def largest(of: list[Sums], count: int, nothing: Sums) -> Sums:
    """The sum of the `count` largest, each component by itself."""
    total = nothing
    for rank in range(min(count, len(of))):
        total = plus(total, tuple(sorted(column, reverse=True)[rank] for column in zip(*of, strict=True)))
    return total


def nothing_of(budget: Budget) -> Sums:
    """The sum of no charges."""
    return (Decimal(0),) * (2 * len(budget.members))


@lru_cache(maxsize=65_536)
def charge_of(budget: Budget, event: Event, loss: PrivacyLoss) -> Sums:
    """What a budget's members count for an event."""
    return sums(budget.charge(event, loss))


def nearly_full(budget: Budget, spent: Sums) -> bool:
    """Whether a plain claim of a tenth of the promise would not fit any more."""
    tenth = ClaimEvent(_EXACTLY.divide(budget.promise.epsilon, Decimal(10)), Decimal(0))
    return not within(plus(spent, charge_of(budget, tenth, PrivacyLoss(tenth.epsilon, Decimal(0)))), caps(budget))


def given_back_of(opening: Entry, budget: Budget, charge: Charge, steps: int | None) -> Sums:
    """What an end gives back of a charge: all, or what the steps that were not run would have cost by themselves."""
    if steps is None:
        return sums(charge)
    event = opening.event
    assert isinstance(event, SelfComposedEvent)
    require(0 <= steps <= event.count, "more steps were committed than held")
    back: Sums = ()
    for member, cost in zip(budget.members, charge.costs, strict=True):
        if member.currency is not Currency.EPSILON:
            once = own_cost(event.event, member.currency, member.order)
        else:
            # Of the events asked for here, Laplace noise alone has an epsilon without a delta.
            once = member.cost(event.event, _pure(event.event)) if isinstance(event.event, LaplaceEvent) else None
        left = (Decimal(0), Decimal(0))
        if once is not None:
            ran = (_EXACTLY.multiply(once.amount, steps), _EXACTLY.multiply(once.delta, steps))
            if ran[0] <= cost.amount and ran[1] <= cost.delta:
                left = (_EXACTLY.subtract(cost.amount, ran[0]), _EXACTLY.subtract(cost.delta, ran[1]))
        back += left
    return back


def _pure(event: LaplaceEvent) -> PrivacyLoss:
    return PrivacyLoss(_EXACTLY.divide(event.sensitivity, event.scale), Decimal(0))
