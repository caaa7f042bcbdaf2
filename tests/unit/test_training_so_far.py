"""What a training has lost so far: it grows with the steps and ends where the whole is priced by the same theorem."""

from decimal import Decimal
from itertools import pairwise

from accounting.events import Adjacency, ComposedEvent, DiscreteGaussianEvent, SelfComposedEvent
from accounting.plans import Theorem, price_under
from deployments.training.recipe import training_event
from deployments.training.so_far import epsilon_so_far

DELTA = Decimal("0.00001")
STEPS = training_event(10_000, 500, 300, Decimal(4))
COUNTS = SelfComposedEvent(DiscreteGaussianEvent(Decimal(50), Decimal(1)), 7)
BOTH = ComposedEvent((COUNTS, STEPS), adjacency=Adjacency.ADD_REMOVE)


def test_nothing_is_lost_before_the_first_step() -> None:
    """Of an event that is steps alone."""
    assert epsilon_so_far(STEPS, 300, 0, DELTA) == 0


def test_it_grows_with_the_steps_to_the_whole() -> None:
    """The last one is the whole event's own price."""
    for event in (STEPS, BOTH):
        found = [epsilon_so_far(event, 300, through, DELTA) for through in (0, 1, 30, 299, 300)]
        known = [epsilon for epsilon in found if epsilon is not None]
        assert len(known) == len(found)
        assert all(one < other for one, other in pairwise(known))
        whole = price_under(Theorem.RENYI, event, DELTA).loss
        assert whole is not None
        assert known[-1] == whole.epsilon
