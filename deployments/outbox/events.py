"""What leaves the service when an entry has become part of the log: a pure function of the entry and its position.

The ledger is the outbox. Nothing is stored beside the entries, so nothing can be missing or say something else, and an
event that is sent again is the same to the byte.

An event's attributes have the names that CloudEvents 1.0 (https://cloudevents.io) gives them: id, source, type.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any

import msgspec

from accounting.admission import tenant_scope
from accounting.filters import largest_claim
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind, timestamp_text
from accounting.values import NO_LOSS, PrivacyLoss, decimal_text

SOURCE = "urn:privacy-engine:ledger"


class Topic(StrEnum):
    """Where an event is sent. Also its type."""

    OPERATIONS = "privacy.operations"
    """One for every entry of every tenant, so that whoever listens sees a tenant's seq without a gap."""
    EXHAUSTED = "privacy.budget.exhausted"
    """A budget has fallen below a tenth of its promise. Once each time it does."""
    RENEWED = "privacy.budget.renewed"
    """A new window of a renewing budget has begun."""


@dataclass(frozen=True)
class OutboxEvent:
    """One event.

    Attributes:
        topic: Where it is sent.
        tenant_id: Whose. Events of one tenant are sent in order.
        position: Of the entry in the log.
        index: Of the event among those of its entry: 0 for the operation, then what followed from it.
        event_id: The same each time the event is sent, and no other event's: whoever gets it twice knows it by this.
        time: When it happened, as text: UTC with microseconds.
        data: What happened, JSON-ready.
    """

    topic: Topic
    tenant_id: str
    position: int
    index: int
    event_id: str
    time: str
    data: dict[str, Any]

    @cached_property
    def body(self) -> bytes:
        """The data as JSON."""
        return msgspec.json.encode(self.data)

    def attributes(self) -> dict[str, str]:
        """The CloudEvents attributes, by name."""
        return {
            "specversion": "1.0",
            "id": self.event_id,
            "source": SOURCE,
            "type": str(self.topic),
            "subject": self.tenant_id,
            "time": self.time,
        }


def events_of(position: int, entry: Entry) -> tuple[OutboxEvent, ...]:
    """The events of an entry, in the order in which they are sent. There is always at least one, the operation.

    Args:
        position: Of the entry in the log.
        entry: The entry.
    """
    told: list[tuple[Topic, dict[str, Any]]] = [(Topic.OPERATIONS, _operation(entry))]
    told += [(Topic.EXHAUSTED, _exhausted(entry, scope)) for scope in entry.crossed]
    if entry.kind is EntryKind.RENEWED:
        told.append((Topic.RENEWED, _renewed(entry)))
    ledger_hash, time = entry.hash.hex(), timestamp_text(entry.at)
    common = {"tenant_id": entry.tenant_id, "seq": entry.seq, "position": position, "at": time}
    return tuple(
        OutboxEvent(
            topic,
            entry.tenant_id,
            position,
            index,
            # Not the position: a database restored from a backup may give that to another entry, but never the hash.
            f"{ledger_hash}-{index}",
            time,
            common | data | {"ledger_hash": ledger_hash},
        )
        for index, (topic, data) in enumerate(told)
    )


def _operation(entry: Entry) -> dict[str, Any]:
    left = largest_claim(entry.budget, entry.spent)
    return _cause(entry) | _with_exact(_consumed(entry) | {"remaining_epsilon": left})


def _exhausted(entry: Entry, scope: str) -> dict[str, Any]:
    if entry.dataset is None or scope == tenant_scope(entry):
        promise, amounts = entry.budget.promise, {"remaining_epsilon": largest_claim(entry.budget, entry.spent)}
    else:
        # What remains of a data set depends on its other partitions, which the entry does not tell.
        promise, amounts = entry.dataset.budget.promise, {}
    return {"scope": scope} | _cause(entry) | _with_exact(_consumed(entry) | _promised(promise) | amounts)


def _renewed(entry: Entry) -> dict[str, Any]:
    end = entry.period_end
    window = {
        "period_start": timestamp_text(entry.period_start),
        "period_end": None if end is None else timestamp_text(end),
    }
    left = largest_claim(entry.budget, entry.spent)
    amounts = _consumed(entry) | _promised(entry.budget.promise) | {"remaining_epsilon": left}
    return window | _cause(entry) | _with_exact(amounts)


def _cause(entry: Entry) -> dict[str, Any]:
    """What the entry was about."""
    return {
        "kind": entry.kind.value,
        "job_id": entry.job_id,
        "source_engine": entry.source_engine,
        "allocation_id": entry.allocation_id,
        "dataset_id": None if entry.dataset is None else entry.dataset.dataset_id,
        "partition": None if entry.dataset is None else entry.dataset.partition,
    }


def _consumed(entry: Entry) -> dict[str, Decimal]:
    """What the tenant's budget lost by the entry; negative where a later entry gave back what an opening took."""
    charge = NO_LOSS if entry.charge is None else entry.charge.basic
    consumed = charge if entry.kind in OPENING_KINDS else NO_LOSS.minus(charge)
    return {"epsilon_consumed": consumed.epsilon, "delta_consumed": consumed.delta}


def _promised(promise: PrivacyLoss) -> dict[str, Decimal]:
    return {"total_epsilon": promise.epsilon, "total_delta": promise.delta}


def _with_exact(amounts: dict[str, Decimal]) -> dict[str, Any]:
    """The amounts as JSON numbers, and beside them as exact decimals for those who must not round."""
    exact = {name: decimal_text(amount) for name, amount in amounts.items()}
    return {name: float(amount) for name, amount in amounts.items()} | {"exact": exact}
