"""A tenant's loss over time as numbers: what the picture draws, and what a caller may draw for itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounting.ledger.entry import Entry, timestamp_text
from accounting.values import PrivacyLoss, decimal_text


@dataclass(frozen=True, slots=True)
class MemberSeries:
    """Loss and cap under one member filter, both exact, after each entry.

    Attributes:
        spent: Sum of all charges, holds included. Falls where a hold was voided.
        cap: The budget then in force.
    """

    spent: tuple[PrivacyLoss, ...]
    cap: tuple[PrivacyLoss, ...]


@dataclass(frozen=True, slots=True)
class LossSeries:
    """A tenant's loss over time, one point for each entry.

    Attributes:
        tenant_id: Whose.
        times: When each entry was written, in the ledger's order, with time zone.
        members: A series as long as `times` for each member filter, by name.
    """

    tenant_id: str
    times: tuple[datetime, ...]
    members: Mapping[str, MemberSeries]


def loss_series(entries: Sequence[Entry], tenant_id: str) -> LossSeries:
    """The series of a tenant's history, or of a part of it.

    Args:
        entries: Of that tenant, in the ledger's order. May be empty.
        tenant_id: Whose they are.

    Raises:
        ValueError: If an entry is another tenant's, or out of order: a picture must never mix two of them.
    """
    seq = 0
    for entry in entries:
        if entry.tenant_id != tenant_id:
            raise ValueError(f"entry {entry.seq} is not of the tenant whose series was asked for")
        if entry.seq <= seq:
            raise ValueError(f"entry {entry.seq} comes after entry {seq}")
        seq = entry.seq
    basic = MemberSeries(
        spent=tuple(entry.spent for entry in entries),
        cap=tuple(entry.budget for entry in entries),
    )
    return LossSeries(tenant_id, tuple(entry.at for entry in entries), {"basic": basic})


def series_to_wire(series: LossSeries) -> dict[str, Any]:
    """The series as JSON-ready data: floats for charts, and under `exact` the decimals as strings.

    Every list is as long as `times`, which are in UTC. Losses stand under their member filter.
    """
    return {
        "tenant_id": series.tenant_id,
        "times": [timestamp_text(moment) for moment in series.times],
        "members": {name: _member_to_wire(member) for name, member in series.members.items()},
    }


def _member_to_wire(member: MemberSeries) -> dict[str, Any]:
    columns: dict[str, list[Decimal]] = {
        "epsilon_spent": [loss.epsilon for loss in member.spent],
        "delta_spent": [loss.delta for loss in member.spent],
        "epsilon_cap": [loss.epsilon for loss in member.cap],
        "delta_cap": [loss.delta for loss in member.cap],
    }
    floats: dict[str, Any] = {name: [float(value) for value in values] for name, values in columns.items()}
    return floats | {"exact": {name: [decimal_text(value) for value in values] for name, values in columns.items()}}
