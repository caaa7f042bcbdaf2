"""Short ways to say what happens to a ledger."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from uuid import uuid4

from accounting.admission import Allocate, Limits, decide_allocation
from accounting.datasets import Dataset, DatasetState
from accounting.events import Adjacency, ClaimEvent
from accounting.filters import Budget, basic_budget
from accounting.ledger.canonical import sha256
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.state import fold
from accounting.policy import SetBudget, SetDataset, decide_budget, decide_dataset
from accounting.settlement import Settle, decide_settlement
from accounting.values import PrivacyLoss

NOW = datetime(2026, 11, 21, 4, 37, tzinfo=UTC)
WIDE = Limits(Decimal(1_000_000))
"""No limit on one operation."""


def loss(epsilon: str | Decimal, delta: str | Decimal = "0") -> PrivacyLoss:
    """A pair (epsilon, delta)."""
    return PrivacyLoss(Decimal(epsilon), Decimal(delta))


def asked(
    tenant: str,
    epsilon: str | Decimal,
    delta: str | Decimal = "0",
    *,
    key: str | None = None,
    job: str = "job",
    ttl: int | None = None,
    engine: str | None = None,
    dataset: str | None = None,
    partition: str | None = None,
) -> Allocate:
    """A request to spend; under a key of its own unless one is named."""
    event = ClaimEvent(Decimal(epsilon), Decimal(delta))
    return Allocate(
        tenant_id=tenant,
        job_id=job,
        event=event,
        loss=PrivacyLoss(event.epsilon, event.delta),
        key=key or f"key-{uuid4().hex}",
        request_hash=sha256(f"{event.epsilon} {event.delta} {job} {ttl} {dataset} {partition}").hex(),
        source_engine=engine,
        actor="engine",
        details={"purpose": "a test"},
        ttl_seconds=ttl,
        dataset_id=dataset,
        partition=partition,
    )


def opened(tenant: str, epsilon: str = "10", delta: str = "0.00001", now: datetime = NOW) -> Entry:
    """The first entry of a tenant with that budget, under basic composition alone."""
    return opened_under(tenant, basic_budget(loss(epsilon, delta)), now)


def opened_under(tenant: str, held: Budget, now: datetime = NOW) -> Entry:
    """The first entry of a tenant with that budget."""
    (entry,) = decide_budget(None, SetBudget(tenant, held, "admin"), now).entries
    return entry


def spent(head: Entry, request: Allocate, now: datetime = NOW, dataset: DatasetState | None = None) -> Entry:
    """The entry that admits the request after that head."""
    (entry,) = decide_allocation(head, None, request, WIDE, now, dataset).entries
    return entry


def registered(
    head: Entry,
    dataset_id: str = "cohort",
    held: Budget | None = None,
    *partitions: str,
    adjacency: Adjacency = Adjacency.ADD_REMOVE,
    now: datetime = NOW,
) -> Entry:
    """The entry that registers a data set of patients after that head, with a budget of (3, 0) unless one is given."""
    dataset = Dataset(dataset_id, "patient", adjacency, partitions, "by hospital" if partitions else "")
    request = SetDataset(head.tenant_id, dataset, held or basic_budget(loss("3")), "admin")
    (entry,) = decide_dataset(head, None, request, now).entries
    return entry


def dataset_in(history: Sequence[Entry], dataset_id: str = "cohort") -> DatasetState:
    """The state of a data set after a whole history."""
    state = fold(history)
    assert state is not None
    dataset = state.datasets[dataset_id]
    assert dataset is not None
    return dataset


def ended(
    head: Entry,
    opening: Entry,
    kind: EntryKind,
    now: datetime = NOW,
    *,
    dataset: DatasetState | None = None,
    steps: int | None = None,
) -> Entry:
    """The entry that ends that opening after that head."""
    assert opening.allocation_id is not None
    request = Settle(opening.tenant_id, opening.allocation_id, kind, "engine", (opening,), steps)
    (entry,) = decide_settlement(head, request, now, dataset).entries
    return entry


def assert_chained(history: Sequence[Entry]) -> None:
    """The history is whole: no gap, no fork, no balance that does not follow from the one before."""
    for before, after in pairwise(history):
        assert after.seq == before.seq + 1
        assert after.prev_hash == before.hash
        assert after.budget.admits(after.spent)
        if after.kind in (EntryKind.CONSUMED, EntryKind.HELD):
            assert after.charge is not None
            assert after.spent == before.spent.plus(after.charge)
