"""How much a task that is under way has lost so far, as an upper bound that is quick to compute."""

from decimal import Decimal
from functools import lru_cache

from accounting.conversion import PricingDisagreementError
from accounting.events import ComposedEvent, Event, SelfComposedEvent
from accounting.plans import Theorem, price_under
from accounting.values import ZERO, InvalidValueError


@lru_cache(maxsize=4096)
def epsilon_so_far(event: Event, steps: int, through: int, delta: Decimal) -> Decimal | None:
    """The epsilon of what may have been done, at delta, by Renyi composition (Mironov 2017).

    It may be above what the whole was charged, whose price comes from sharper theorems: then the charge is the bound.

    Args:
        event: What is held.
        steps: Noisy steps in it.
        through: Steps that may have been taken.
        delta: At which the event is priced.

    Returns:
        0 before the first step, None where nothing is known of a part.
    """
    done = _part(event, steps, through)
    if done is None:
        return ZERO
    try:
        found = price_under(Theorem.RENYI, done, delta).loss
    except (InvalidValueError, PricingDisagreementError):
        return None
    return None if found is None else found.epsilon


def _part(event: Event, steps: int, through: int) -> Event | None:
    """The event with fewer of its noisy steps; what is not counted in steps is taken to be done."""
    if isinstance(event, SelfComposedEvent) and event.count == steps:
        return SelfComposedEvent(event.event, through) if through else None
    if isinstance(event, ComposedEvent):
        parts = [_part(part, steps, through) if _holds(part, steps) else part for part in event.events]
        left = tuple(part for part in parts if part is not None)
        return ComposedEvent(left, adjacency=event.adjacency) if left else None
    return event


def _holds(event: Event, steps: int) -> bool:
    if isinstance(event, ComposedEvent):
        return any(_holds(part, steps) for part in event.events)
    return isinstance(event, SelfComposedEvent) and event.count == steps
