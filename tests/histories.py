"""A tenant's history as it comes about: one decision after the other, of every kind, as the owner would take them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from accounting.admission import Allocate, Verdict, decide_allocation
from accounting.datasets import Dataset, DatasetState
from accounting.events import Adjacency, ClaimEvent, Event, GaussianEvent, LaplaceEvent, SelfComposedEvent
from accounting.filters import Budget, FilterKind, Share, basic_budget, budget, standard_budget
from accounting.ledger.canonical import sha256
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind
from accounting.ledger.state import TenantState, fold
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
from tests.ledgers import NOW, WIDE, loss

GAUSSIAN = GaussianEvent(Decimal(4), Decimal(1))
EVENTS: Mapping[str, tuple[Event, Decimal]] = {
    "claim": (ClaimEvent(Decimal("0.25"), Decimal("0.000001")), Decimal(0)),
    "pure": (LaplaceEvent(Decimal(4), Decimal(1)), Decimal(0)),
    "gaussian": (GAUSSIAN, Decimal("0.000001")),
    "steps": (SelfComposedEvent(ClaimEvent(Decimal("0.0625"), Decimal(0)), 4), Decimal(0)),
    "plan": (SelfComposedEvent(GAUSSIAN, 3), Decimal("0.000001")),
}
"""What is done to data, and the delta that it is priced at. Few, so that prices are computed once."""
BUDGETS: Mapping[str, Budget] = {
    "basic": basic_budget(loss("2", "0.00001")),
    "standard": standard_budget(loss("3", "0.00002")),
    "every filter": budget(
        loss("4", "0.00004"),
        [Share(FilterKind.BASIC, Decimal("0.00001"))]
        + [
            Share(kind, Decimal("0.000005"), Decimal("0.000005"), 8 if kind is FilterKind.RENYI else None)
            for kind in (FilterKind.RENYI, FilterKind.ZCDP, FilterKind.GDP)
        ],
    ),
}
WHOLE = Dataset("patients", "patient", Adjacency.ADD_REMOVE)
PARTED = Dataset("regions", "person", Adjacency.REPLACE_ONE, ("north", "south", "east"), "by birth register")
DATASETS = {dataset.dataset_id: dataset for dataset in (WHOLE, PARTED)}


@dataclass
class Scribe:
    """Writes one tenant's history. What is refused changes nothing.

    Attributes:
        tenant_id: Whose.
        entries: What was written.
        now: Database time.
    """

    tenant_id: str = field(default_factory=lambda: f"tenant-{uuid4().hex[:12]}")
    entries: list[Entry] = field(default_factory=list)
    now: datetime = NOW

    @property
    def state(self) -> TenantState:
        """The state that the next decision is taken on."""
        state = fold(self.entries)
        assert state is not None
        return state

    def wait(self, **time: float) -> None:
        """Lets time pass."""
        self.now += timedelta(**time)

    def renew(self) -> Entry | None:
        """Begins the window that it is time for."""
        entry = renewal(self.state.head, self.now) if self.entries else None
        self.entries += [entry] if entry else []
        return entry

    def set_budget(self, wanted: Budget, days: int | None = None, *, days_stated: bool = True) -> Verdict:
        """Opens or raises the tenant's budget."""
        self.renew()
        request = SetBudget(self.tenant_id, wanted, "admin", renewal_days=days, renewal_stated=days_stated)
        return self._write(decide_budget(self.entries[-1] if self.entries else None, request, self.now))

    def set_dataset(self, dataset: Dataset, wanted: Budget) -> Verdict:
        """Registers a data set, or raises its budget."""
        self.renew()
        request = SetDataset(self.tenant_id, dataset, wanted, "admin")
        return self._write(decide_dataset(self.entries[-1], self._dataset(dataset.dataset_id), request, self.now))

    def hold_legally(self, in_force: bool) -> Verdict:
        """Places or lifts a legal hold."""
        self.renew()
        request = SetLegalHold(self.tenant_id, in_force, "a court asks", "admin")
        return self._write(decide_legal_hold(self.entries[-1], request, self.now))

    def allocate(
        self,
        event: str = "claim",
        *,
        ttl: int | None = None,
        dataset: str | None = None,
        partition: str | None = None,
    ) -> Verdict:
        """Spends or, with a time to live, holds."""
        self.renew()
        what, delta = EVENTS[event]
        key = f"key-{len(self.entries)}"
        request = Allocate(
            tenant_id=self.tenant_id,
            job_id="job",
            event=what,
            loss=price(what, delta),
            key=key,
            request_hash=sha256(key).hex(),
            source_engine="tabular",
            actor="engine",
            details={"purpose": "a test"},
            ttl_seconds=ttl,
            dataset_id=dataset,
            partition=partition,
        )
        return self._write(
            decide_allocation(self.entries[-1], None, request, WIDE, self.now, self._dataset(dataset or ""))
        )

    def end(self, opening: Entry, kind: EntryKind, steps: int | None = None) -> Verdict:
        """Commits, voids, expires or takes back an allocation."""
        self.renew()
        assert opening.allocation_id is not None
        history = tuple(entry for entry in self.entries if entry.allocation_id == opening.allocation_id)
        statement = "signed" if kind is EntryKind.ADJUSTED else None
        request = Settle(self.tenant_id, opening.allocation_id, kind, "engine", history, steps, statement)
        return self._write(
            decide_settlement(self.entries[-1], request, self.now, self._dataset(request.dataset_id or ""))
        )

    def openings(self) -> list[Entry]:
        """The entries that opened allocations."""
        return [entry for entry in self.entries if entry.kind in OPENING_KINDS]

    def _dataset(self, dataset_id: str) -> DatasetState | None:
        return self.state.datasets.get(dataset_id) if self.entries else None

    def _write(self, verdict: Verdict) -> Verdict:
        self.entries += verdict.entries
        return verdict


def chained(entries: list[Entry]) -> list[Entry]:
    """The same entries, numbered and hashed anew from the first that does not follow: what a forger would write."""
    written: list[Entry] = []
    for entry in entries:
        seq, prev_hash = (1, bytes(32)) if not written else (written[-1].seq + 1, written[-1].hash)
        same = (entry.seq, entry.prev_hash) == (seq, prev_hash)
        written.append(entry if same else replace(entry, seq=seq, prev_hash=prev_hash))
    return written


def forged(entries: list[Entry], at: int, change: Callable[[Entry], Entry]) -> list[Entry]:
    """The history with one entry changed, and hashed anew from there on."""
    return chained([change(entry) if number == at else entry for number, entry in enumerate(entries)])
