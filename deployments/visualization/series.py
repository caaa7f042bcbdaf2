"""A tenant's loss over time as numbers: what the picture draws, and what a caller may draw for itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounting.charges import Cost, Currency
from accounting.filters import CURRENCIES, FilterKind
from accounting.ledger.entry import Entry, EntryKind, loss_to_wire, timestamp_text
from accounting.values import PrivacyLoss, decimal_text


@dataclass(frozen=True, slots=True)
class MemberSeries:
    """What one member filter has counted and may count, both exact, after each entry.

    Attributes:
        kind: Which filter.
        spent: Sum of all charges of the window, holds included. Falls where a charge was taken back, and to the open
            holds where a new window begins. May exceed the cap while another filter still holds.
        cap: The cap then in force.
        lifetime: The same sum over all windows.
        order: Of the Renyi divergence; None for the others.
    """

    kind: FilterKind
    spent: tuple[Cost, ...]
    cap: tuple[Cost, ...]
    lifetime: tuple[Cost, ...]
    order: int | None = None

    @property
    def currency(self) -> Currency:
        """What the filter counts beside deltas."""
        return CURRENCIES[self.kind]


@dataclass(frozen=True, slots=True)
class LossSeries:
    """A tenant's loss over time, one point for each entry.

    Attributes:
        tenant_id: Whose.
        times: When each entry was written, in the ledger's order, with time zone.
        promise: The (epsilon, delta) that the budget promises after the last entry; None without entries.
        members: A series as long as `times` for each member filter, by name, basic first.
        renewals: Indices of the entries that began a new window.
    """

    tenant_id: str
    times: tuple[datetime, ...]
    promise: PrivacyLoss | None
    members: Mapping[str, MemberSeries]
    renewals: tuple[int, ...] = ()


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
    times = tuple(entry.at for entry in entries)
    if not entries:
        return LossSeries(tenant_id, times, None, {FilterKind.BASIC.value: MemberSeries(FilterKind.BASIC, (), (), ())})
    budget = entries[-1].budget
    return LossSeries(
        tenant_id,
        times,
        budget.promise,
        {
            # A budget keeps the members that it was created with, so each has the same place in every entry.
            member.kind.value: MemberSeries(
                kind=member.kind,
                spent=tuple(entry.spent.costs[place] for entry in entries),
                cap=tuple(entry.budget.members[place].cap for entry in entries),
                lifetime=tuple(entry.lifetime.costs[place] for entry in entries),
                order=member.order,
            )
            for place, member in enumerate(budget.members)
        },
        tuple(index for index, entry in enumerate(entries) if entry.kind is EntryKind.RENEWED),
    )


def series_to_wire(series: LossSeries) -> dict[str, Any]:
    """The series as JSON-ready data: floats for charts, and under `exact` the decimals as strings.

    Every list of amounts is as long as `times`, which are in UTC; amounts stand under their member filter and its
    currency. `renewals` are the times at which a new window began.
    """
    return {
        "tenant_id": series.tenant_id,
        "promise": None if series.promise is None else loss_to_wire(series.promise),
        "times": [timestamp_text(moment) for moment in series.times],
        "renewals": [timestamp_text(series.times[index]) for index in series.renewals],
        "members": {name: _member_to_wire(member) for name, member in series.members.items()},
    }


def _member_to_wire(member: MemberSeries) -> dict[str, Any]:
    columns: dict[str, list[Decimal]] = {
        f"{member.currency}_spent": [cost.amount for cost in member.spent],
        "delta_spent": [cost.delta for cost in member.spent],
        f"{member.currency}_cap": [cost.amount for cost in member.cap],
        "delta_cap": [cost.delta for cost in member.cap],
        f"{member.currency}_lifetime": [cost.amount for cost in member.lifetime],
        "delta_lifetime": [cost.delta for cost in member.lifetime],
    }
    floats: dict[str, Any] = {name: [float(value) for value in values] for name, values in columns.items()}
    return floats | {"exact": {name: [decimal_text(value) for value in values] for name, values in columns.items()}}
