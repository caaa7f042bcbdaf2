"""One step in a tenant's history: immutable, numbered without gaps, chained by hash to the one before.

An entry carries the balance after it: of the tenant's budget always, and of the data set or partition if it touches
one. So the last entry of each is the whole state: a tenant with a million operations opens as fast as one with ten, and
an auditor checks each step against its neighbour only.

`body` is the canonical JSON that is hashed and stored; the other columns of the table repeat parts of it for queries.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

from accounting.charges import Cost
from accounting.datasets import Dataset
from accounting.event_wire import event_from_wire, event_to_wire
from accounting.events import Adjacency, Event
from accounting.filters import Budget, Charge, FilterKind, Member
from accounting.ledger.canonical import canonical_json, sha256
from accounting.values import PrivacyLoss, decimal_text

ENTRY_VERSION = 3
READABLE_VERSIONS = frozenset({1, 2, 3})
"""Version 1 knew basic composition alone and had no promise beside its cap. Versions 1 and 2 knew no windows and no
data sets, and wrote out what is absent as null; version 3 leaves it out."""


class EntryKind(StrEnum):
    """What a step did. Closed; a new step is a new member, never a new meaning of an old one."""

    BUDGET_SET = "budget_set"
    """A budget was created or raised. Its policy entry."""
    CONSUMED = "consumed"
    """A charge, final at once."""
    HELD = "held"
    """A charge that counts as spent until it is committed or voided."""
    COMMITTED = "committed"
    """A hold became final. Costs nothing more."""
    VOIDED = "voided"
    """A hold was taken back, on the engine's statement that no data was read."""
    EXPIRED_SPENT = "expired_spent"
    """A hold's time passed without an end: it counts as spent for good."""
    ADJUSTED = "adjusted"
    """An ended allocation's charge was taken back, on an operator's signed statement that nothing was released."""
    RENEWED = "renewed"
    """A new window of a renewing budget began. Open holds count in it as well."""
    DATASET_SET = "dataset_set"
    """A data set was registered, its budget raised or partitions added. Its policy entry."""
    RETENTION_LOCKED = "retention_locked"
    """A legal hold was placed: nothing of the tenant may be purged, however old."""
    RETENTION_RELEASED = "retention_released"
    """The legal hold was lifted."""


OPENING_KINDS = frozenset({EntryKind.CONSUMED, EntryKind.HELD})
"""The kinds that create an allocation."""
ENDING_KINDS = frozenset({EntryKind.COMMITTED, EntryKind.VOIDED, EntryKind.EXPIRED_SPENT})
"""The kinds that end a hold, of which it has at most one."""


@dataclass(frozen=True, slots=True)
class DatasetBalance:
    """What an entry says of the data set that it touches.

    Attributes:
        dataset_id: Which.
        partition: The partition touched; None for the whole data set.
        budget: The data set's budget after this entry.
        spent: Sum of the charges on that partition alone, or on the whole data set, after this entry.
        charge: What this entry added to it or took out of it, under the data set's own filters; None where nothing
            moved.
        dataset: The registration, in entries that set it.
        exposed: Where something moved, the most that anyone concerned was exposed to after this entry: what the charge
            was admitted on, other partitions included. `accounting.datasets.DatasetState.exposure`.
    """

    dataset_id: str
    partition: str | None
    budget: Budget
    spent: Charge
    charge: Charge | None = None
    dataset: Dataset | None = None
    exposed: Charge | None = None


@dataclass(frozen=True)
class Entry:
    """One row of the ledger.

    Attributes:
        tenant_id: Whose history.
        seq: Position, 1 for the first.
        kind: What happened.
        at: Database time, as the owner last knew it, in UTC.
        budget: The promise and the caps of its member filters in force after this entry.
        spent: Sum of all charges of this window (holds included, what was taken back left out) after this entry, member
            by member.
        held: The part of `spent` that open holds make up.
        lifetime: The same sum as `spent` over all windows; for a budget that does not renew, the same value.
        operations: Number of allocations after this entry, those taken back not counted.
        period_start: When this window began; for a budget that does not renew, when it was created.
        charge: What an opening added to the sums, or what a later entry took out of them. None where nothing moved.
        event: The event charged, for entries that open an allocation.
        allocation_id: The allocation that this entry opens, commits or voids; a UUID as text.
        job_id: The caller's job.
        source_engine: The engine that asked.
        idempotency_key: The caller's key, unique within the tenant for ever; None for entries without one.
        request_hash: SHA-256 of the canonical request, hex; compared when the key comes again.
        details: What else was asked, for people: purpose, dataset and the like. Strings and whole numbers only.
        actor: Who asked (the token's subject).
        renewal_days: Length of a window in days; None for a lifetime budget.
        due_at: When a hold's time has passed, in UTC; None for other kinds.
        dataset: The balance of the data set touched, if one is.
        legal_hold: Whether a legal hold is in force after this entry.
        crossed: Scopes whose remaining budget fell below a tenth of the promise by this entry.
        version: Of the body's form; an entry that was read keeps its own, so that its hash stays what it was.
        task: What is to be done under the hold, to be stored with it; `details` has its digest. Not part of the body,
            and None in an entry that was read.
        prev_hash: Hash of the entry before; 32 zero bytes for the first.
    """

    tenant_id: str
    seq: int
    kind: EntryKind
    at: datetime
    budget: Budget
    spent: Charge
    held: Charge
    lifetime: Charge
    operations: int
    period_start: datetime
    prev_hash: bytes
    charge: Charge | None = None
    event: Event | None = None
    allocation_id: str | None = None
    job_id: str | None = None
    source_engine: str | None = None
    idempotency_key: str | None = None
    request_hash: str | None = None
    details: Mapping[str, str | int] | None = None
    actor: str | None = None
    renewal_days: int | None = None
    due_at: datetime | None = None
    dataset: DatasetBalance | None = None
    legal_hold: bool = False
    crossed: tuple[str, ...] = ()
    version: int = ENTRY_VERSION
    task: str | None = field(default=None, compare=False)

    @property
    def period_end(self) -> datetime | None:
        """When this window ends; None for a lifetime budget."""
        return None if self.renewal_days is None else self.period_start + timedelta(days=self.renewal_days)

    @cached_property
    def body(self) -> str:
        """The canonical JSON text that is stored and hashed."""
        return canonical_json(entry_to_wire(self))

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of `body`: 32 bytes."""
        return sha256(self.body)


def entry_to_wire(entry: Entry) -> dict[str, Any]:
    """The entry as JSON-ready data. Decimals are strings; what is counted stands under the member that counts it."""
    budget = entry.budget
    wire: dict[str, Any] = {
        "v": entry.version,
        "tenant_id": entry.tenant_id,
        "seq": entry.seq,
        "kind": entry.kind.value,
        "at": timestamp_text(entry.at),
        "budget": _budget_of_version(entry),
        "spent": _charge_to_wire(entry.spent, budget),
        "operations": entry.operations,
        "period_start": timestamp_text(entry.period_start),
        "prev_hash": entry.prev_hash.hex(),
    }
    absent_too = entry.version < 3
    for name, value in (
        ("charge", entry.charge and _charge_texts(entry.charge, budget)),
        ("event", entry.event and event_to_wire(entry.event)),
        ("allocation_id", entry.allocation_id),
        ("job_id", entry.job_id),
        ("source_engine", entry.source_engine),
        ("idempotency_key", entry.idempotency_key),
        ("request_hash", entry.request_hash),
        ("actor", entry.actor),
    ):
        if value is not None or absent_too:
            wire[name] = value
    if entry.details or absent_too:
        wire["details"] = dict(entry.details or {})
    if not absent_too:
        _add_since_version_3(wire, entry)
    return wire


def _add_since_version_3(wire: dict[str, Any], entry: Entry) -> None:
    if entry.held.is_something():
        wire["held"] = _charge_texts(entry.held, entry.budget)
    # For a budget that never renewed they are one object, and nothing needs comparing.
    if entry.lifetime is not entry.spent and entry.lifetime != entry.spent:
        wire["lifetime"] = _charge_to_wire(entry.lifetime, entry.budget)
    if entry.renewal_days is not None:
        wire["renewal_days"] = entry.renewal_days
    if entry.due_at is not None:
        wire["due_at"] = timestamp_text(entry.due_at)
    if entry.dataset is not None:
        wire["dataset"] = _dataset_to_wire(entry.dataset)
    if entry.legal_hold:
        wire["legal_hold"] = True
    if entry.crossed:
        wire["crossed"] = list(entry.crossed)


def entry_from_body(body: str) -> Entry:
    """The entry that a stored body describes; the inverse of `Entry.body`."""
    data = json.loads(body)
    if data["v"] not in READABLE_VERSIONS:
        raise ValueError(f"entry version {data['v']} is not known to this release")
    budget = _budget_from_wire(data["budget"])
    spent = _charge_from_wire(data["spent"], budget)
    charges = {
        name: _charge_from_wire(data[name], budget) if data.get(name) is not None else None
        for name in ("charge", "held", "lifetime")
    }
    # Before version 3 nobody counted open holds: all that was spent may be held, and would count in a next window too.
    held = charges["held"] or (budget.nothing() if data["v"] >= 3 else spent)
    return Entry(
        tenant_id=data["tenant_id"],
        seq=data["seq"],
        kind=EntryKind(data["kind"]),
        at=datetime.fromisoformat(data["at"]),
        budget=budget,
        spent=spent,
        held=held,
        lifetime=charges["lifetime"] or spent,
        charge=charges["charge"],
        event=None if data.get("event") is None else event_from_wire(data["event"]),
        operations=data["operations"],
        period_start=datetime.fromisoformat(data["period_start"]),
        allocation_id=data.get("allocation_id"),
        job_id=data.get("job_id"),
        source_engine=data.get("source_engine"),
        idempotency_key=data.get("idempotency_key"),
        request_hash=data.get("request_hash"),
        details=data.get("details", {}),
        actor=data.get("actor"),
        prev_hash=bytes.fromhex(data["prev_hash"]),
        renewal_days=data.get("renewal_days"),
        due_at=_due_at(data),
        dataset=_dataset_from_wire(data["dataset"]) if "dataset" in data else None,
        legal_hold=data.get("legal_hold", False),
        crossed=tuple(data.get("crossed", ())),
        version=data["v"],
    )


def _due_at(data: Mapping[str, Any]) -> datetime | None:
    if "due_at" in data:
        return datetime.fromisoformat(data["due_at"])
    if data["v"] < 3 and data["kind"] == EntryKind.HELD:
        return datetime.fromisoformat(data["at"]) + timedelta(seconds=data["details"].get("ttl_seconds", 0))
    return None


def _dataset_to_wire(balance: DatasetBalance) -> dict[str, Any]:
    budget, dataset = balance.budget, balance.dataset
    wire: dict[str, Any] = {
        "dataset_id": balance.dataset_id,
        "budget": budget_to_wire(budget),
        "spent": _charge_to_wire(balance.spent, budget),
    }
    if balance.partition is not None:
        wire["partition"] = balance.partition
    if balance.charge is not None:
        wire["charge"] = _charge_texts(balance.charge, budget)
    if balance.exposed is not None:
        wire["exposed"] = _charge_to_wire(balance.exposed, budget)
    if dataset is not None:
        wire |= {"unit": dataset.unit, "adjacency": dataset.adjacency.value}
        if dataset.partitions:
            wire |= {"partitions": list(dataset.partitions), "basis": dataset.basis}
    return wire


def _dataset_from_wire(data: Mapping[str, Any]) -> DatasetBalance:
    budget = _budget_from_wire(data["budget"])
    dataset_id = data["dataset_id"]
    registered = "unit" in data and Dataset(
        dataset_id,
        data["unit"],
        Adjacency(data["adjacency"]),
        tuple(data.get("partitions", ())),
        data.get("basis", ""),
    )
    return DatasetBalance(
        dataset_id,
        data.get("partition"),
        budget,
        _charge_from_wire(data["spent"], budget),
        _charge_from_wire(data["charge"], budget) if "charge" in data else None,
        registered or None,
        _charge_from_wire(data["exposed"], budget) if "exposed" in data else None,
    )


@lru_cache(maxsize=4096)
def budget_to_wire(budget: Budget) -> dict[str, Any]:
    """The promise, and each member's cap under its name. Not to be changed by the caller: budgets repeat."""
    return {"promise": loss_to_wire(budget.promise)} | {
        member.kind.value: _member_to_wire(member) for member in budget.members
    }


def _budget_of_version(entry: Entry) -> dict[str, Any]:
    if entry.version == 1:
        return {"basic": loss_to_wire(entry.budget.promise)}
    return budget_to_wire(entry.budget)


def _member_to_wire(member: Member) -> dict[str, Any]:
    wire: dict[str, Any] = cost_to_wire(member.cap, member)
    if member.conversion_delta:
        wire["conversion_delta"] = decimal_text(member.conversion_delta)
    if member.order is not None:
        wire["order"] = member.order
    return wire


def cost_to_wire(cost: Cost, member: Member) -> dict[str, str]:
    """What a member counts: the amount under its currency's name, and the delta."""
    return {member.currency.value: decimal_text(cost.amount), "delta": decimal_text(cost.delta)}


def loss_to_wire(loss: PrivacyLoss) -> dict[str, str]:
    """Epsilon and delta as decimal strings."""
    return {"epsilon": decimal_text(loss.epsilon), "delta": decimal_text(loss.delta)}


@lru_cache(maxsize=4096)
def _charge_texts(charge: Charge, budget: Budget) -> dict[str, Any]:
    """`_charge_to_wire`, remembered: charges repeat from entry to entry."""
    return _charge_to_wire(charge, budget)


def _charge_to_wire(charge: Charge, budget: Budget) -> dict[str, Any]:
    return {
        member.kind.value: cost_to_wire(cost, member) for member, cost in zip(budget.members, charge.costs, strict=True)
    }


def _budget_from_wire(data: Mapping[str, Any]) -> Budget:
    members = tuple(_member_from_wire(kind, data[kind]) for kind in FilterKind if kind in data)
    # Version 1 had basic alone, whose cap was the promise.
    return Budget(_loss_from_wire(data.get("promise", data["basic"])), members)


def _member_from_wire(kind: FilterKind, data: Mapping[str, Any]) -> Member:
    member = Member(kind, Cost(Decimal(0)), Decimal(data.get("conversion_delta", 0)), data.get("order"))
    return replace(member, cap=_cost_from_wire(data, member))


def _cost_from_wire(data: Mapping[str, Any], member: Member) -> Cost:
    return Cost(Decimal(data[member.currency]), Decimal(data["delta"]))


def _charge_from_wire(data: Mapping[str, Any], budget: Budget) -> Charge:
    return Charge(tuple(_cost_from_wire(data[member.kind], member) for member in budget.members))


def _loss_from_wire(data: Mapping[str, str]) -> PrivacyLoss:
    return PrivacyLoss(Decimal(data["epsilon"]), Decimal(data["delta"]))


@lru_cache(maxsize=4096)
def timestamp_text(moment: datetime) -> str:
    """A moment in UTC with microseconds, as ``2026-11-21T04:37:00.000000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
