"""Budgets with every kind of filter, what they charge, and what they admit in turn."""

from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest
from hypothesis import strategies as st

from accounting.events import (
    ClaimEvent,
    Event,
)
from accounting.filters import (
    Budget,
    Charge,
    FilterKind,
    Share,
    budget,
)
from accounting.values import InvalidValueError
from tests.ledgers import loss
from tests.strategies import loss_of

ONE = Decimal(1)
BASIC, RENYI, ZCDP, GDP = FilterKind.BASIC, FilterKind.RENYI, FilterKind.ZCDP, FilterKind.GDP
HALF = loss("1", "0.5")
EVERY = [
    Share(BASIC, Decimal("0.1")),
    Share(RENYI, Decimal("0.05"), Decimal("0.1")),
    Share(ZCDP, Decimal("0.05"), Decimal("0.1")),
    Share(GDP, Decimal("0.05"), Decimal("0.05")),
]
ALL_MEMBERS = budget(HALF, EVERY)

promised_epsilons = st.decimals("0.01", 100, places=4)
promised_deltas = st.decimals("0.000000000001", "0.9", places=14)


def field_of(make: Callable[[], object]) -> str:
    """The field that a refusal names."""
    with pytest.raises(InvalidValueError) as refused:
        make()
    assert refused.value.reason
    return refused.value.field


def charge_of(held: Budget, event: Event) -> Charge:
    """What the budget counts for an event at a sound price."""
    return held.charge(event, loss_of(event))


def claim(epsilon: Decimal | str, delta: Decimal | str = "0") -> ClaimEvent:
    """A plain claim."""
    return ClaimEvent(Decimal(epsilon), Decimal(delta))


def reached(held: Budget, history: Sequence[Event]) -> Charge:
    """The sum after those of the history that are admitted, in turn."""
    spent = held.nothing()
    for event in history:
        after = spent.plus(charge_of(held, event))
        spent = after if held.admits(after) else spent
    return spent
