"""Data sets: nobody is exposed to more than what is counted, and what is registered protects people for good."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.admission import Outcome, decide_allocation
from accounting.charges import Cost
from accounting.datasets import MAX_PARTITIONS, Dataset, DatasetState
from accounting.events import (
    Adjacency,
    Event,
    FixedSizeGaussianEvent,
    LaplaceEvent,
    PoissonLaplaceEvent,
    SelfComposedEvent,
)
from accounting.filters import Budget, Charge, basic_budget, standard_budget
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.state import dataset_of
from accounting.policy import SetDataset, decide_dataset
from accounting.values import ZERO, InvalidValueError
from tests.ledgers import NOW, WIDE, asked, dataset_in, ended, loss, opened, opened_under, registered, spent

ADD_REMOVE, REPLACE_ONE = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE
PARTS = ("north", "south", "east")
TWO_MEMBERS = standard_budget(loss("3", "0.00001"))
ONE_MEMBER = basic_budget(loss("3"))

places = st.sampled_from([None, *PARTS])
adjacencies = st.sampled_from(Adjacency)
amounts = st.decimals(0, 2, places=6)


def dataset(adjacency: Adjacency = ADD_REMOVE, partitions: Sequence[str] = PARTS) -> Dataset:
    """A cohort of patients."""
    return Dataset("cohort", "patient", adjacency, tuple(partitions), "by hospital" if partitions else "")


def charges(held: Budget) -> st.SearchStrategy[Charge]:
    """Charges of that many members, each amount and delta by itself."""
    costs = st.builds(Cost, amounts, st.decimals(0, "0.001", places=6))
    return st.tuples(*[costs] * len(held.members)).map(Charge)


def charged(adjacency: Adjacency, held: Budget, history: Sequence[tuple[str | None, Charge]]) -> DatasetState:
    """The state after charges on the whole and on partitions."""
    state = DatasetState(dataset(adjacency), held, held.nothing(), {})
    for place, charge in history:
        state = state.charged(place, state.spent_on(place).plus(charge))
    return state


def neighbours(adjacency: Adjacency) -> Iterator[frozenset[str]]:
    """Which partitions two neighbouring data sets may differ in: a person's own, none, or the two of who moves."""
    yield frozenset()
    for part in PARTS:
        yield frozenset({part})
    if adjacency is REPLACE_ONE:
        for pair in combinations(PARTS, 2):
            yield frozenset(pair)


def felt(state: DatasetState, differ: frozenset[str]) -> Charge:
    """What was done to neighbours that differ in those partitions: all that ran on the whole and on one of them."""
    total = state.whole
    for part in differ:
        total = total.plus(state.spent_on(part))
    return total


def parts_of(charge: Charge) -> list[Decimal]:
    """Every amount and every delta."""
    return [part for cost in charge.costs for part in (cost.amount, cost.delta)]


histories = st.lists(st.tuples(places, charges(TWO_MEMBERS)), max_size=8)


# What people are exposed to.


@given(adjacencies, histories)
def test_exposure_is_the_most_that_any_neighbours_differ_by_and_no_more(
    adjacency: Adjacency, history: list[tuple[str | None, Charge]]
) -> None:
    """Member by member, amount and delta each by itself; for a partition among the neighbours that differ in it."""
    state = charged(adjacency, TWO_MEMBERS, history)
    for place in (None, *PARTS):
        concerned = [felt(state, differ) for differ in neighbours(adjacency) if place is None or place in differ]
        worst = [max(column) for column in zip(*map(parts_of, concerned), strict=True)]
        assert parts_of(state.exposure(place)) == worst
    assert state.exposures() == {part: state.exposure(part) for part in PARTS}


@given(adjacencies, st.lists(st.tuples(places, charges(ONE_MEMBER)), max_size=8))
def test_under_one_member_exposure_is_somebodys_own(
    adjacency: Adjacency, history: list[tuple[str | None, Charge]]
) -> None:
    """With no deltas there is but one number, and somebody has been exposed to just that: nothing is given away."""
    pure = [(place, Charge((Cost(charge.costs[0].amount),))) for place, charge in history]
    state = charged(adjacency, ONE_MEMBER, pure)
    for place in (None, *PARTS):
        concerned = [felt(state, differ) for differ in neighbours(adjacency) if place is None or place in differ]
        assert state.exposure(place) in concerned


@given(adjacencies, histories, st.randoms())
def test_order_changes_no_exposure(
    adjacency: Adjacency, history: list[tuple[str | None, Charge]], chance: Random
) -> None:
    """However the partitions were interleaved."""
    shuffled = list(history)
    chance.shuffle(shuffled)
    one, other = charged(adjacency, TWO_MEMBERS, history), charged(adjacency, TWO_MEMBERS, shuffled)
    for place in (None, *PARTS):
        assert one.exposure(place) == other.exposure(place)


@given(adjacencies, histories, places, charges(TWO_MEMBERS))
def test_a_charge_moves_its_own_exposure_by_itself_and_lowers_nobodys(
    adjacency: Adjacency, history: list[tuple[str | None, Charge]], place: str | None, charge: Charge
) -> None:
    """So what is admitted on the exposure after it is what an entry may carry."""
    before = charged(adjacency, TWO_MEMBERS, history)
    after = before.charged(place, before.spent_on(place).plus(charge))
    assert after.exposure(place) == before.exposure(place).plus(charge)
    for other in (None, *PARTS):
        grown = zip(parts_of(after.exposure(other)), parts_of(before.exposure(other)), strict=True)
        assert all(now >= then for now, then in grown)


def test_another_partition_costs_nobody_here_anything() -> None:
    """Under add/remove: a person is in one partition at most, and sees nothing of what is done to another."""
    state = charged(ADD_REMOVE, ONE_MEMBER, [("north", Charge((Cost(Decimal(2)),)))])
    assert state.exposure("south") == ONE_MEMBER.nothing()
    assert state.exposure("north") == state.exposure() == Charge((Cost(Decimal(2)),))


def test_a_person_who_may_move_is_exposed_in_two_partitions() -> None:
    """Under replace-one the largest other partition counts beside one's own."""
    history = [(part, Charge((Cost(Decimal(epsilon)),))) for part, epsilon in zip(PARTS, (3, 2, 1), strict=True)]
    state = charged(REPLACE_ONE, ONE_MEMBER, history)
    exposed = [state.exposure(part).basic.epsilon for part in (None, *PARTS)]
    assert exposed == [5, 5, 5, 4]


# Admission.


@dataclass(frozen=True)
class Wish:
    """A charge that somebody asks for, and whether a hold for it is voided at once."""

    place: str | None
    epsilon: Decimal
    delta: Decimal
    void: bool


wishes = st.lists(
    st.builds(
        Wish,
        places,
        st.decimals("0.000001", 2, places=6),
        st.sampled_from([ZERO, Decimal("0.000001"), Decimal("0.000004")]),
        st.booleans(),
    ),
    max_size=12,
)


@given(adjacencies, st.sampled_from([ONE_MEMBER, TWO_MEMBERS]), wishes)
def test_whatever_is_admitted_keeps_the_promise_to_everybody(
    adjacency: Adjacency, held: Budget, asking: list[Wish]
) -> None:
    """For any neighbours some member of the data set's budget holds at every step, whatever was voided in between."""
    first = opened("t", "1000", "0.1")
    history = [first, registered(first, "cohort", held, *PARTS, adjacency=adjacency)]
    for wish in asking:
        state = dataset_in(history)
        request = asked("t", wish.epsilon, wish.delta, ttl=60 if wish.void else None, dataset="cohort")
        verdict = decide_allocation(history[-1], None, replace(request, partition=wish.place), WIDE, NOW, state)
        history += verdict.entries
        for entry in verdict.entries:
            assert entry.dataset is not None
            assert entry.dataset.exposed == dataset_in(history).exposure(wish.place)
        for differ in neighbours(adjacency):
            assert held.admits(felt(dataset_in(history), differ))
        if verdict.entries and wish.void:
            history.append(ended(history[-1], history[-1], EntryKind.VOIDED, dataset=dataset_in(history)))
            assert dataset_in(history).spent_on(wish.place) == state.spent_on(wish.place)
            balance = history[-1].dataset
            assert balance is not None
            assert balance.exposed == dataset_in(history).exposure(wish.place)


@given(wishes)
def test_what_is_admitted_on_one_partition_does_not_depend_on_the_others(asking: list[Wish]) -> None:
    """Under add/remove each partition gets, in any interleaving, what it would get alone."""
    first = opened("t", "1000", "0.1")
    start = [first, registered(first, "cohort", TWO_MEMBERS, *PARTS)]
    # Charges on the whole are admitted only where nobody is exposed too much, so they come first here.
    ordered = sorted(asking, key=lambda wish: wish.place is not None)
    together = outcomes(start, ordered)
    for part in PARTS:
        alone = outcomes(start, [wish for wish in ordered if wish.place in (None, part)])
        kept = [outcome for wish, outcome in zip(ordered, together, strict=True) if wish.place in (None, part)]
        assert alone == kept


def outcomes(start: Sequence[Entry], asking: Sequence[Wish]) -> list[Outcome]:
    """What is decided about each wish, in turn."""
    history, told = list(start), []
    for wish in asking:
        request = asked("t", wish.epsilon, wish.delta, dataset="cohort", partition=wish.place)
        verdict = decide_allocation(history[-1], None, request, WIDE, NOW, dataset_in(history))
        history += verdict.entries
        told.append(verdict.outcome)
    return told


def test_all_scopes_are_charged_or_none() -> None:
    """The data set's refusal leaves the tenant uncharged, and the tenant's refusal names what both would hold."""
    first = opened("t", "2", "0")
    history = [first, registered(first, held=basic_budget(loss("1")))]
    by_dataset = decide_allocation(
        history[-1], None, asked("t", "1.5", dataset="cohort"), WIDE, NOW, dataset_in(history)
    )
    assert (by_dataset.outcome, by_dataset.entries) == (Outcome.BUDGET_EXHAUSTED, ())
    assert by_dataset.shortage is not None
    assert by_dataset.shortage.scope == "data set cohort"
    assert by_dataset.shortage.others == ((first.budget, first.spent),)
    by_tenant = decide_allocation(
        history[-1], None, asked("t", "2.5", dataset="cohort"), WIDE, NOW, dataset_in(history)
    )
    assert by_tenant.shortage is not None
    assert by_tenant.shortage.scope == "tenant lifetime"
    assert by_tenant.shortage.others == ((dataset_in(history).budget, dataset_in(history).whole),)
    entry = spent(history[-1], asked("t", "1", dataset="cohort"), dataset=dataset_in(history))
    assert entry.dataset is not None
    assert entry.charge == entry.dataset.charge == Charge((Cost(Decimal(1)),))


def test_a_data_set_that_cannot_be_charged_so_is_told_before_prices_and_budgets() -> None:
    """Unknown, an unknown partition, other neighbours: nothing is charged, however much there is."""
    first = opened("t")
    history = [first, registered(first, "cohort", ONE_MEMBER, *PARTS)]
    state, request = dataset_in(history), asked("t", "100", dataset="cohort")
    unknown = decide_allocation(history[-1], None, request, WIDE, NOW, None)
    assert unknown.outcome is Outcome.UNKNOWN_DATASET
    west = decide_allocation(history[-1], None, replace(request, partition="west"), WIDE, NOW, state)
    assert west.outcome is Outcome.UNKNOWN_PARTITION
    moved = LaplaceEvent(Decimal(1), Decimal(1), adjacency=REPLACE_ONE)
    other = decide_allocation(history[-1], None, replace(request, event=moved), WIDE, NOW, state)
    assert other.outcome is Outcome.OTHER_NEIGHBOURS
    assert "replace_one" in other.reason
    assert [verdict.entries for verdict in (unknown, west, other)] == [(), (), ()]


def test_a_request_that_names_no_data_set_charges_none() -> None:
    """Whatever state is handed in with it."""
    first = opened("t")
    history = [first, registered(first)]
    entry = spent(history[-1], asked("t", "1"), dataset=dataset_in(history))
    assert entry.dataset is None


# Exhaustion is told once.


def test_a_crossing_is_told_once_for_each_scope_that_crosses() -> None:
    """Below a tenth of its promise: tenant and data set each by itself, again only after something was given back."""
    first = opened("t", "10", "0")
    history = [first, registered(first, "cohort", basic_budget(loss("5")), "north", "south")]

    def charge(epsilon: str, partition: str | None = None, ttl: int | None = None) -> tuple[str, ...]:
        request = asked("t", epsilon, dataset="cohort", partition=partition, ttl=ttl)
        history.append(spent(history[-1], request, dataset=dataset_in(history)))
        return history[-1].crossed

    assert charge("4.5", "north") == ()
    assert charge("0.2", "north", ttl=60) == ("data set cohort, partition north",)
    hold = history[-1]
    assert charge("0.1", "south") == ()
    history.append(ended(history[-1], hold, EntryKind.VOIDED, dataset=dataset_in(history)))
    assert history[-1].crossed == ()
    assert charge("0.1", "north") == ("data set cohort, partition north",)
    assert charge("0.1", "north") == ()
    assert charge("4.2", "south") == ()
    # The tenant has spent 9; the next charge takes both below a tenth at once.
    assert charge("0.3", "south") == ("tenant lifetime", "data set cohort, partition south")
    assert charge("0.1", "south") == ()


# Registration.


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dataset_id": ""}, "dataset_id"),
        ({"dataset_id": "x" * 201}, "dataset_id"),
        ({"dataset_id": "a\nb"}, "dataset_id"),
        ({"unit": ""}, "privacy_unit"),
        ({"unit": "\ud800"}, "privacy_unit"),
        ({"partitions": ("a", "a")}, "partitions"),
        ({"partitions": ("",)}, "partitions"),
        ({"partitions": tuple(map(str, range(MAX_PARTITIONS + 1)))}, "partitions"),
        ({"basis": ""}, "partition_basis"),
        ({"basis": "  "}, "partition_basis"),
        ({"partitions": ()}, "partition_basis"),
    ],
)
def test_a_data_set_that_is_none_is_refused(change: dict[str, str], field: str) -> None:
    """Names that cannot be printed, partitions twice or too many, and partitions that rest on nothing."""
    with pytest.raises(InvalidValueError) as error:
        replace(dataset(), **change)  # type: ignore[arg-type]
    assert error.value.field == field


def test_the_largest_registration_is_accepted() -> None:
    """A thousand partitions, and names of two hundred characters."""
    largest = Dataset("x" * 200, "y" * 200, ADD_REMOVE, tuple(map(str, range(MAX_PARTITIONS))), "by number")
    assert len(largest.partitions) == 1_000


@pytest.mark.parametrize(
    ("change", "extends"),
    [
        ({}, True),
        ({"partitions": (*PARTS, "west")}, True),
        ({"partitions": PARTS[:2]}, False),
        ({"partitions": ("west", *PARTS)}, False),
        ({"partitions": (), "basis": ""}, False),
        ({"basis": "by age"}, False),
        ({"unit": "visit"}, False),
        ({"adjacency": REPLACE_ONE}, False),
        ({"dataset_id": "other"}, False),
    ],
)
def test_only_partitions_are_added_and_only_at_the_end(change: dict[str, str], extends: bool) -> None:
    """Whoever was promised something as a patient of the north is still one."""
    assert replace(dataset(), **change).extends(dataset()) is extends  # type: ignore[arg-type]


def test_a_data_set_without_partitions_gets_them_with_what_they_rest_on() -> None:
    """What was charged before was charged on the whole, so nobody's exposure changes."""
    bare = dataset(partitions=())
    assert dataset().extends(bare)
    assert not bare.extends(dataset())


LAPLACE = LaplaceEvent(Decimal(10), Decimal(1))
FIXED = FixedSizeGaussianEvent(Decimal(20), Decimal(1), 10, 1_000)


@pytest.mark.parametrize(
    ("event", "adjacency", "partition", "said"),
    [
        (LAPLACE, ADD_REMOVE, None, None),
        (LAPLACE, REPLACE_ONE, "north", None),
        (replace(LAPLACE, unit="patient"), ADD_REMOVE, "north", None),
        (replace(LAPLACE, unit="visit"), ADD_REMOVE, None, "protects a visit"),
        (replace(LAPLACE, adjacency=REPLACE_ONE), ADD_REMOVE, None, "is meant for replace_one neighbours"),
        (SelfComposedEvent(replace(LAPLACE, unit="visit"), 3), ADD_REMOVE, None, "protects a visit"),
        (PoissonLaplaceEvent(Decimal(10), Decimal(1), Decimal("0.1")), ADD_REMOVE, "north", None),
        (PoissonLaplaceEvent(Decimal(10), Decimal(1), Decimal("0.1")), REPLACE_ONE, None, "is meant for add_remove"),
        (FIXED, REPLACE_ONE, None, None),
        (FIXED, ADD_REMOVE, None, "is meant for replace_one"),
        (FIXED, REPLACE_ONE, "north", "samples a fixed size"),
        (SelfComposedEvent(FIXED, 2), REPLACE_ONE, "north", "samples a fixed size"),
    ],
)
def test_an_event_is_charged_only_under_the_neighbours_that_it_is_meant_for(
    event: Event, adjacency: Adjacency, partition: str | None, said: str | None
) -> None:
    """What it does not say it takes over; a sample of fixed size has no population of its own in a partition."""
    reason = dataset(adjacency).refuses(event, partition)
    assert reason is None if said is None else said in (reason or "")


def wish(registration: Dataset, held: Budget = ONE_MEMBER, *, filters_stated: bool = False) -> SetDataset:
    """A request to register."""
    return SetDataset("t", registration, held, "admin", filters_stated=filters_stated)


def test_a_data_set_is_registered_raised_and_extended_but_never_changed_or_lowered() -> None:
    """Each an entry of its own that leaves the tenant's balance alone; what is so already writes nothing."""
    history = [opened("t")]
    (entry,) = decide_dataset(history[-1], None, wish(dataset()), NOW).entries
    history.append(entry)
    assert (entry.kind, entry.spent, entry.operations, entry.actor) == (
        EntryKind.DATASET_SET,
        history[0].spent,
        0,
        "admin",
    )
    history.append(spent(history[-1], asked("t", "1", dataset="cohort"), dataset=dataset_in(history)))
    state = dataset_in(history)
    assert decide_dataset(history[-1], state, wish(dataset()), NOW).outcome is Outcome.REPLAYED
    lowered = decide_dataset(history[-1], state, wish(dataset(), basic_budget(loss("2"))), NOW)
    assert (lowered.outcome, lowered.present) == (Outcome.BUDGET_LOWERED, ONE_MEMBER)
    changed = decide_dataset(history[-1], state, wish(dataset(REPLACE_ONE)), NOW)
    assert changed.outcome is Outcome.DATASET_CHANGED
    other_filters = decide_dataset(history[-1], state, wish(dataset(), TWO_MEMBERS, filters_stated=True), NOW)
    assert (other_filters.outcome, other_filters.present) == (Outcome.FILTERS_CHANGED, ONE_MEMBER)
    more = dataset(partitions=(*PARTS, "west"))
    (raised,) = decide_dataset(history[-1], state, wish(more, basic_budget(loss("4"))), NOW).entries
    history.append(raised)
    after = dataset_in(history)
    assert (after.dataset, after.budget, after.whole) == (more, basic_budget(loss("4")), state.whole)


def test_a_state_is_the_same_from_the_whole_history_and_from_the_last_entries_alone() -> None:
    """A data set with a million charges opens as fast as one with ten."""
    first = opened("t", "1000", "0")
    history = [first, registered(first, "cohort", basic_budget(loss("100")), *PARTS)]
    for place, epsilon in ((None, "1"), ("north", "2"), ("south", "3"), ("north", "4"), (None, "5")):
        request = asked("t", epsilon, dataset="cohort", partition=place)
        history.append(spent(history[-1], request, dataset=dataset_in(history)))
    raised = wish(dataset(), basic_budget(loss("200")))
    history += decide_dataset(history[-1], dataset_in(history), raised, NOW).entries
    last = {entry.dataset.partition: entry for entry in history if entry.dataset is not None}
    registration = next(entry for entry in reversed(history) if entry.kind is EntryKind.DATASET_SET)
    assert dataset_of([registration, *last.values()]) == dataset_in(history)
    assert dataset_of([]) is None


def test_data_sets_of_one_tenant_are_counted_apart() -> None:
    """A charge on one leaves the other as it was."""
    first = opened_under("t", basic_budget(loss("10")))
    history = [first, registered(first, "a")]
    history.append(registered(history[-1], "b"))
    history.append(spent(history[-1], asked("t", "2", dataset="b"), dataset=dataset_in(history, "b")))
    assert [dataset_in(history, name).exposure().basic.epsilon for name in ("a", "b")] == [0, 2]
