"""The owner of budgets, on data sets: none is overspent, none is forgotten, and none is made up."""

import asyncio

from accounting.admission import Outcome
from accounting.datasets import Dataset
from accounting.events import Adjacency
from accounting.filters import basic_budget
from accounting.ledger.entry import EntryKind
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.store import LedgerStore, Wanted
from accounting.policy import SetDataset
from accounting.values import PrivacyLoss
from tests.ledgers import asked, loss
from tests.unit.owner_helpers import (
    DEFAULT,
    SlowStore,
    insist,
    outcomes,
    owning,
)

COHORT = Dataset("cohort", "patient", Adjacency.ADD_REMOVE)
REGISTRY = Dataset("registry", "patient", Adjacency.ADD_REMOVE)


def registration(dataset: Dataset, epsilon: str = "3") -> SetDataset:
    """A request to register a data set, or to raise its budget."""
    return SetDataset("t", dataset, basic_budget(loss(epsilon)), "admin")


async def spent_on(store: LedgerStore, name: str) -> PrivacyLoss:
    """What was charged on the whole of a data set, by the ledger."""
    state = (await store.tails({"t": Wanted(datasets={name})}))["t"].datasets[name]
    assert state is not None
    return state.whole.basic


async def test_what_was_not_read_never_passes_for_what_does_not_exist() -> None:
    """One owner raises a data set that another has charged since, beside a request that makes it read more."""
    store = SlowStore()
    async with owning(store, lanes=1) as stale, owning(store) as other:
        for dataset in (COHORT, REGISTRY):
            assert (await other.submit(registration(dataset))).outcome is Outcome.ADMITTED
        assert (await stale.submit(asked("t", "1", dataset="cohort"))).outcome is Outcome.ADMITTED
        assert (await other.submit(asked("t", "1", dataset="cohort"))).outcome is Outcome.ADMITTED
        # Both wait together: the cohort is known here, though not of the present moment; the registry is not known.
        raised, charged = (
            stale.enqueue(registration(COHORT, "4")),
            stale.enqueue(asked("t", "0.5", dataset="registry")),
        )
        assert ((await raised).outcome, (await charged).outcome) == (Outcome.ADMITTED, Outcome.ADMITTED)
    assert await spent_on(store, "cohort") == loss("2")
    assert await spent_on(store, "registry") == loss("0.5")


async def test_a_data_set_that_another_owner_registers_is_charged_at_once() -> None:
    """The refusal that memory would give is not out of date either."""
    store = SlowStore()
    async with owning(store) as stale, owning(store) as other:
        assert (await stale.submit(asked("t", "1", dataset="cohort"))).outcome is Outcome.UNKNOWN_DATASET
        await other.submit(registration(COHORT))
        assert (await stale.submit(asked("t", "1", dataset="cohort"))).outcome is Outcome.ADMITTED


async def test_two_owners_never_overspend_a_data_set() -> None:
    """Racing owners admit exactly what its budget holds, though the tenant's holds more."""
    store = SlowStore()
    async with owning(store) as one, owning(store, lanes=1) as other:
        await one.submit(registration(COHORT))
        requests = [asked("t", "0.1", dataset="cohort") for _ in range(50)]
        verdicts = await asyncio.gather(
            *(insist(lambda r=r, o=o: o.submit(r)) for r, o in zip(requests, [one, other] * 25, strict=True))  # type: ignore[misc]
        )
    assert outcomes(verdicts) == {Outcome.ADMITTED: 30, Outcome.BUDGET_EXHAUSTED: 20}
    assert await spent_on(store, "cohort") == loss("3")


async def test_ids_that_nobody_registered_fill_no_memory() -> None:
    """Anybody can think of more of them."""
    store = SlowStore()
    async with owning(store) as owner:
        for number in range(50):
            verdict = await owner.submit(asked("t", "1", dataset=f"nothing {number}"))
            assert verdict.outcome is Outcome.UNKNOWN_DATASET
        assert len(owner._states["t"].datasets) <= 1


async def test_a_charge_that_is_newer_than_memory_is_taken_back() -> None:
    """This owner knows that there was no such data set; another has registered and charged it since."""
    store = MemoryLedgerStore()
    async with owning(store) as stale, owning(store) as other:
        assert (await stale.submit(asked("t", "1", dataset="cohort"))).outcome is Outcome.UNKNOWN_DATASET
        await other.submit(registration(COHORT))
        held = (await other.submit(asked("t", "1", ttl=60, dataset="cohort"))).answer
        assert held is not None
        assert held.allocation_id is not None
        assert (await stale.settle("t", held.allocation_id, EntryKind.VOIDED, "me")).outcome is Outcome.ADMITTED
    assert await spent_on(store, "cohort") == loss("0")


async def test_budgets_that_a_request_is_decided_on_are_known_without_deciding() -> None:
    """The tenant's, the data set's where there is one; from memory or from the ledger."""
    store = SlowStore()
    async with owning(store) as fresh, owning(store) as other:
        assert await fresh.budgets("t", "engine", "cohort") == [DEFAULT]
        await other.submit(registration(COHORT))
        expected = [DEFAULT, basic_budget(loss("3"))]
        assert await fresh.budgets("t", "engine", "cohort") == expected
        assert await other.budgets("t", "engine", "cohort") == expected
        assert await other.budgets("t", "engine") == [DEFAULT]
