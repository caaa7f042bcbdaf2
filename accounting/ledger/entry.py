"""One step in a tenant's history: immutable, numbered without gaps, chained by hash to the one before.

An entry carries the balance after it, so the last entry alone is the tenant's whole state: a tenant with a million
operations opens as fast as one with ten, and an auditor checks each step against its neighbour only.

`body` is the canonical JSON that is hashed and stored; the other columns of the table repeat parts of it for queries.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

from accounting.charges import Cost
from accounting.events import Event, event_from_wire, event_to_wire
from accounting.filters import Budget, Charge, FilterKind, Member
from accounting.ledger.canonical import canonical_json, sha256
from accounting.values import PrivacyLoss, decimal_text

ENTRY_VERSION = 2
READABLE_VERSIONS = frozenset({1, 2})
"""Version 1 knew basic composition alone and had no promise beside its cap; all else is as it was."""


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


OPENING_KINDS = frozenset({EntryKind.CONSUMED, EntryKind.HELD})
"""The kinds that create an allocation."""


@dataclass(frozen=True)
class Entry:
    """One row of the ledger.

    Attributes:
        tenant_id: Whose history.
        seq: Position, 1 for the first.
        kind: What happened.
        at: Database time, as the owner last knew it, in UTC.
        budget: The promise and the caps of its member filters in force after this entry.
        spent: Sum of all charges (holds included, voids taken out) after this entry, member by member.
        operations: Number of allocations after this entry, voided ones not counted.
        period_start: When the budget was first created.
        charge: What this entry added to `spent`; for a void, what it took out. None where nothing moved.
        event: The event charged, for entries that open an allocation.
        allocation_id: The allocation that this entry opens, commits or voids; a UUID as text.
        job_id: The caller's job.
        source_engine: The engine that asked.
        idempotency_key: The caller's key, unique within the tenant for ever; None for entries without one.
        request_hash: SHA-256 of the canonical request, hex; compared when the key comes again.
        details: What else was asked, for people: purpose, dataset and the like. Strings and whole numbers only.
        actor: Who asked (the token's subject).
        version: Of the body's form; an entry that was read keeps its own, so that its hash stays what it was.
        prev_hash: Hash of the entry before; 32 zero bytes for the first.
    """

    tenant_id: str
    seq: int
    kind: EntryKind
    at: datetime
    budget: Budget
    spent: Charge
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
    version: int = ENTRY_VERSION

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
    return {
        "v": entry.version,
        "tenant_id": entry.tenant_id,
        "seq": entry.seq,
        "kind": entry.kind.value,
        "at": timestamp_text(entry.at),
        "budget": _budget_of_version(entry),
        "spent": _charge_to_wire(entry.spent, entry.budget),
        "charge": None if entry.charge is None else _charge_texts(entry.charge, entry.budget),
        "event": None if entry.event is None else event_to_wire(entry.event),
        "operations": entry.operations,
        "period_start": timestamp_text(entry.period_start),
        "allocation_id": entry.allocation_id,
        "job_id": entry.job_id,
        "source_engine": entry.source_engine,
        "idempotency_key": entry.idempotency_key,
        "request_hash": entry.request_hash,
        "details": dict(entry.details or {}),
        "actor": entry.actor,
        "prev_hash": entry.prev_hash.hex(),
    }


def entry_from_body(body: str) -> Entry:
    """The entry that a stored body describes; the inverse of `Entry.body`."""
    data = json.loads(body)
    if data["v"] not in READABLE_VERSIONS:
        raise ValueError(f"entry version {data['v']} is not known to this release")
    budget = _budget_from_wire(data["budget"])
    return Entry(
        tenant_id=data["tenant_id"],
        seq=data["seq"],
        kind=EntryKind(data["kind"]),
        at=datetime.fromisoformat(data["at"]),
        budget=budget,
        spent=_charge_from_wire(data["spent"], budget),
        charge=None if data["charge"] is None else _charge_from_wire(data["charge"], budget),
        event=None if data["event"] is None else event_from_wire(data["event"]),
        operations=data["operations"],
        period_start=datetime.fromisoformat(data["period_start"]),
        allocation_id=data["allocation_id"],
        job_id=data["job_id"],
        source_engine=data["source_engine"],
        idempotency_key=data["idempotency_key"],
        request_hash=data["request_hash"],
        details=data["details"],
        actor=data["actor"],
        prev_hash=bytes.fromhex(data["prev_hash"]),
        version=data["v"],
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
