"""Any history over tenant, data sets, partitions and windows keeps every invariant, derived a second time.

The decisions are the service's own; each entry that they give is checked by `tests.simulation.fold`, which computes all
balances again from what the entries say happened, in arithmetic of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.admission import Limits, Outcome, Verdict, decide_allocation
from accounting.datasets import Dataset
from accounting.events import Adjacency, ClaimEvent, Event, GaussianEvent, LaplaceEvent, SelfComposedEvent
from accounting.filters import Budget, FilterKind, Share, basic_budget, budget, standard_budget
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind, entry_from_body
from accounting.ledger.state import fold
from accounting.plans import price
from accounting.policy import (
    SetBudget,
    SetDataset,
    SetLegalHold,
    decide_budget,
    decide_dataset,
    decide_legal_hold,
    renewal,
)
from accounting.settlement import Settle, decide_settlement
from accounting.values import EXACT, ZERO, PrivacyLoss
from tests.ledgers import NOW, asked, loss
from tests.simulation.fold import TenantFold

BUDGETS = [
    basic_budget(loss("3")),
    standard_budget(loss("3", "0.0001")),
    budget(
        loss("2", "0.02"),
        [Share(FilterKind.BASIC, ZERO), *(Share(kind, ZERO, Decimal("0.005")) for kind in list(FilterKind)[1:])],
    ),
]
LAPLACE = LaplaceEvent(Decimal(20), Decimal(1))
EVENTS: list[Event] = [
    ClaimEvent(Decimal("0.25"), ZERO),
    ClaimEvent(Decimal("0.1"), Decimal("0.000001")),
    LAPLACE,
    SelfComposedEvent(LAPLACE, 12),
    SelfComposedEvent(GaussianEvent(Decimal(20), Decimal(1)), 8),
]
DATASETS = ["cohort", "registry"]
PARTS = ["north", "south", "east"]
LIMITS = Limits(Decimal(2))


@lru_cache(maxsize=64)
def loss_of(event: Event) -> PrivacyLoss:
    """What an event is priced at, as an (epsilon, delta)."""
    gaussian = isinstance(event, SelfComposedEvent) and isinstance(event.event, GaussianEvent)
    return price(event, Decimal("1e-7") if gaussian else ZERO)


@dataclass(frozen=True)
class Step:
    """One thing that somebody does, or that time does; the numbers choose among what there is."""

    what: str
    event: Event
    pick: int
    place: int
    hours: int


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            "spend spend hold hold commit part void expire adjust repeat raise window dataset more legal pass".split()
        ),
        st.sampled_from(EVENTS),
        st.integers(0, 20),
        st.integers(0, 20),
        st.integers(0, 60),
    ),
    max_size=40,
)


@dataclass
class World:
    """One tenant's history as it grows."""

    held: Budget
    adjacency: Adjacency
    now: datetime = NOW
    history: list[Entry] = field(default_factory=list)
    derived: TenantFold = field(default_factory=lambda: TenantFold(loss_of))

    def take(self, verdict: Verdict) -> Verdict:
        """Appends what was decided; a refusal and a replay append nothing."""
        assert bool(verdict.entries) == (verdict.outcome is Outcome.ADMITTED)
        for entry in verdict.entries:
            # Raises where the entry does not follow, a scope is overspent or some are charged and others not.
            self.derived.add(entry)
            self.history.append(entry_from_body(entry.body))
            assert self.history[-1].hash == entry.hash
        return verdict

    def act(self, step: Step) -> None:
        """Does it."""
        # Time passes in any case, so that no two steps happen at one moment.
        self.now += timedelta(hours=step.hours) if step.what == "pass" else timedelta(seconds=1)
        if not self.history:
            self.take(decide_budget(None, SetBudget("t", self.held, "admin"), self.now))
        window = renewal(self.history[-1], self.now)
        if window is not None:
            self.take(Verdict(Outcome.ADMITTED, (window,)))
        head = self.history[-1]
        openings = [entry for entry in self.history if entry.kind in OPENING_KINDS]
        if step.what in ("spend", "hold"):
            self.take(self._allocate(step))
        elif step.what == "repeat" and openings:
            earlier = openings[step.pick % len(openings)]
            request = replace(asked("t", "1", key=earlier.idempotency_key), request_hash=earlier.request_hash or "")
            assert decide_allocation(head, earlier, request, LIMITS, self.now).outcome is Outcome.REPLAYED
        elif step.what in ENDS and openings:
            self.take(self._settle(openings[step.pick % len(openings)], step))
        elif step.what == "raise":
            more = PrivacyLoss(EXACT.add(head.budget.promise.epsilon, Decimal("0.5")), head.budget.promise.delta)
            self.take(decide_budget(head, SetBudget("t", basic_budget(more), "admin"), self.now))
        elif step.what == "window":
            days = [None, 1, 2][step.pick % 3]
            wish = SetBudget("t", head.budget, "admin", renewal_days=days, renewal_stated=True)
            self.take(decide_budget(head, wish, self.now))
        elif step.what in ("dataset", "more"):
            self.take(self._register(step))
        elif step.what == "legal":
            self.take(decide_legal_hold(head, SetLegalHold("t", step.pick % 2 == 0, "a lawsuit", "admin"), self.now))

    def _allocate(self, step: Step) -> Verdict:
        place = [None, *PARTS][step.place % 4]
        named = [None, *DATASETS][step.pick % 3]
        state = fold(self.history)
        dataset = None if state is None or named is None else state.datasets.get(named)
        request = asked("t", "1", key=f"key {len(self.history)}", ttl=3_600 if step.what == "hold" else None)
        request = replace(request, event=step.event, loss=loss_of(step.event))
        request = replace(request, dataset_id=named, partition=None if named is None else place)
        return decide_allocation(self.history[-1], None, request, LIMITS, self.now, dataset)

    def _settle(self, opening: Entry, step: Step) -> Verdict:
        own = tuple(entry for entry in self.history if entry.allocation_id == opening.allocation_id)
        state = fold(self.history)
        assert state is not None
        dataset = None if opening.dataset is None else state.datasets[opening.dataset.dataset_id]
        count = step.place if step.what == "part" else None
        word = "a signed word" if step.what == "adjust" else None
        request = Settle("t", opening.allocation_id or "", ENDS[step.what], "somebody", own, count, word)
        return decide_settlement(self.history[-1], request, self.now, dataset)

    def _register(self, step: Step) -> Verdict:
        state = fold(self.history)
        assert state is not None
        name = DATASETS[step.pick % 2]
        known = state.datasets.get(name)
        parts = tuple(PARTS[: step.place % 4])
        if known is not None and step.what == "more":
            parts = tuple(PARTS)
        held = BUDGETS[step.place % 3] if known is None else known.budget
        dataset = Dataset(name, "patient", self.adjacency, parts, "by hospital" if parts else "")
        return decide_dataset(self.history[-1], known, SetDataset("t", dataset, held, "admin"), self.now)


ENDS = {
    "commit": EntryKind.COMMITTED,
    "part": EntryKind.COMMITTED,
    "void": EntryKind.VOIDED,
    "expire": EntryKind.EXPIRED_SPENT,
    "adjust": EntryKind.ADJUSTED,
}


@settings(max_examples=200)
@given(st.sampled_from(BUDGETS), st.sampled_from(Adjacency), steps)
def test_any_history_keeps_every_invariant_at_every_step(
    held: Budget, adjacency: Adjacency, commands: list[Step]
) -> None:
    """Every scope within its cap, all charged or none, one end each, no sum but by a void, a part or an adjustment."""
    world = World(held, adjacency)
    for command in commands:
        before = world.history[-1] if world.history else None
        world.act(command)
        if before is None:
            continue
        taken_back = [entry for entry in world.history[before.seq :] if entry.kind in GIVING_BACK]
        after = world.history[-1]
        for then, now in zip(before.lifetime.costs, after.lifetime.costs, strict=True):
            assert now.amount >= then.amount or taken_back
        assert after.budget.covers(before.budget)
        assert_accounted_for(world.history)


GIVING_BACK = {EntryKind.VOIDED, EntryKind.COMMITTED, EntryKind.ADJUSTED}


def assert_accounted_for(history: Sequence[Entry]) -> None:
    """The last entry's lifetime is what the openings charged, less what later entries gave back; no more, no less."""
    nothing = history[0].budget.nothing()
    total = nothing
    for entry in history:
        if entry.charge is not None:
            opens = entry.kind in OPENING_KINDS
            total = total.plus(entry.charge) if opens else total.minus(entry.charge)
    assert history[-1].lifetime == total
    ended = [entry.allocation_id for entry in history if entry.kind in ENDS.values()]
    adjusted = [entry.allocation_id for entry in history if entry.kind is EntryKind.ADJUSTED]
    assert len(adjusted) == len(set(adjusted))
    once = [identity for identity in ended if identity not in adjusted]
    assert len(once) == len(set(once))


def test_the_histories_that_are_drawn_reach_every_kind_of_entry() -> None:
    """A test of random histories that never adjust, renew or expire would hold nothing of those."""
    world = World(BUDGETS[1], Adjacency.ADD_REMOVE)

    def act(what: str, pick: int = 0, place: int = 0, hours: int = 0, event: int = 2) -> None:
        world.act(Step(what, EVENTS[event], pick, place, hours))

    act("dataset", place=3)
    act("window", pick=1)
    act("spend", pick=1, place=1)
    act("hold", pick=1, place=2, event=3)
    act("part", pick=1, place=3)
    for pick, end in ((2, "commit"), (3, "void"), (4, "expire")):
        act("hold", pick=1)
        if end == "expire":
            act("pass", hours=2)
        act(end, pick=pick)
    act("adjust", pick=0)
    act("legal", pick=0)
    act("legal", pick=1)
    act("raise")
    act("more", pick=0)
    act("pass", hours=60)
    assert {entry.kind for entry in world.history} == set(EntryKind)
