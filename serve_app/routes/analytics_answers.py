"""From what was read of a ledger to the answers of ``analytics``. Used and left are what ``budget`` says they are."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from accounting.datasets import DatasetState
from accounting.filters import largest_claim
from accounting.ledger.entry import Entry, EntryKind, timestamp_text
from accounting.ledger.readings import Charged, Operation, TenantReading
from accounting.policy import renewal
from accounting.values import EXACT, ZERO, decimal_text
from deployments.analytics.burn import Burn, Days, by_engine
from deployments.analytics.projection import Projection, projection
from serve_app.routes.answers import budget_answer, dataset_summary

_BUDGET = (
    "total_epsilon",
    "used_epsilon",
    "held_epsilon",
    "remaining_epsilon",
    "epsilon_utilization_pct",
    "total_delta",
    "used_delta",
    "remaining_delta",
    "period_start",
    "period_end",
    "auto_renew",
    "lifetime_epsilon",
    "lifetime_delta",
    "exact",
)
_DATASET = ("total_epsilon", "used_epsilon", "remaining_epsilon", "epsilon_utilization_pct", "exact")


def present(head: Entry, now: datetime) -> Entry:
    """The last entry, or, where a window has begun since, the one that will say so."""
    return renewal(head, now) or head


def summary_answer(
    head: Entry,
    datasets: Sequence[DatasetState],
    charged: Sequence[Charged],
    open_holds: int,
    denied: int,
    now: datetime,
) -> dict[str, Any]:
    """A budget, its data sets, and who used it.

    Args:
        head: The present entry.
        datasets: The tenant's.
        charged: What was charged since the present window began.
        open_holds: How many there are.
        denied: Refusals of the last seven days.
        now: The moment of all this.
    """
    told = budget_answer(head, datasets)
    return {
        "tenant_id": head.tenant_id,
        "at": timestamp_text(now),
        "budget": {name: told[name] for name in _BUDGET},
        "datasets": [_dataset(state) for state in datasets],
        "operations": {"admitted": head.operations, "open_holds": open_holds, "denied_last_7_days": denied},
        "by_engine": _shares(charged),
    }


def _dataset(state: DatasetState) -> dict[str, Any]:
    told = dataset_summary(state)
    return {
        "dataset_id": told["dataset_id"],
        "unit": told["privacy_unit"],
        "adjacency": told["adjacency"],
        "partitions": told["partition_count"],
        **{name: told[name] for name in _DATASET},
    }


def _shares(charged: Sequence[Charged]) -> list[dict[str, Any]]:
    engines = by_engine(charged)
    total = sum((Fraction(share.epsilon) for _, share in engines), Fraction(0))
    return [
        {
            "source_engine": engine,
            "epsilon": float(share.epsilon),
            "operations": share.operations,
            "share_pct": round(float(100 * Fraction(share.epsilon) / total), 6) if total > 0 else 0.0,
            "exact": {"epsilon": decimal_text(share.epsilon)},
        }
        for engine, share in engines
    ]


def burn_answer(
    tenant_id: str,
    dataset_id: str | None,
    burned: Burn,
    left: Mapping[date, Decimal | None],
    remaining: Decimal,
    renews_at: datetime | None,
) -> dict[str, Any]:
    """How fast a budget is used.

    Args:
        tenant_id: Whose.
        dataset_id: Of which data set; None for the tenant's own budget.
        burned: What was charged.
        left: What was left at the end of each day; None, or nothing, where that is not known.
        remaining: What is left now.
        renews_at: When the present window ends, if the budget renews.
    """
    days, total = burned.days, burned.total
    rate = burned.per_day(total.epsilon)
    return {
        "tenant_id": tenant_id,
        "dataset_id": dataset_id,
        "window_days": days.count,
        "known_days": len(days.known),
        "since": timestamp_text(days.since),
        "until": timestamp_text(days.now),
        "epsilon": float(total.epsilon),
        "operations": total.operations,
        "epsilon_per_day": float(rate),
        "operations_per_day": float(burned.per_day(total.operations)),
        "daily": [
            {
                "date": day.isoformat(),
                "epsilon": float(share.epsilon),
                "operations": share.operations,
                "remaining_epsilon": _float(left.get(day)),
                "exact": {"epsilon": decimal_text(share.epsilon)},
            }
            for day, share in zip(days.dates, burned.daily, strict=True)
        ],
        "by_engine": [
            {
                "source_engine": engine,
                "epsilon": float(share.epsilon),
                "epsilon_per_day": float(burned.per_day(share.epsilon)),
                "operations": share.operations,
                "exact": {"epsilon": decimal_text(share.epsilon)},
            }
            for engine, share in burned.by_engine
        ],
        "remaining_epsilon": float(remaining),
        "projection": _projection(projection(remaining, burned.known_daily, days.now, renews_at)),
        "exact": {"epsilon": decimal_text(total.epsilon), "remaining_epsilon": decimal_text(remaining)},
    }


def _projection(found: Projection) -> dict[str, Any]:
    return {
        "exhausted_at": _moment(found.exhausted_at),
        "days_left": None if found.days_left is None else round(float(found.days_left), 6),
        "earliest": _moment(found.earliest),
        "latest": _moment(found.latest),
        "renews_at": _moment(found.renews_at),
        "renews_before": found.renews_before,
        "basis": found.basis,
    }


def remaining(entry: Entry) -> Decimal:
    """What is left of a tenant's budget after an entry: the largest plain claim that would still be admitted."""
    return largest_claim(entry.budget, entry.spent)


def remaining_of(state: DatasetState) -> Decimal:
    """The same of a data set, for whoever in it was exposed most."""
    return largest_claim(state.budget, state.exposure())


def remaining_after(entry: Entry) -> Decimal | None:
    """The same of the data set that an entry touches, where it has no partitions."""
    balance = entry.dataset
    return None if balance is None else largest_claim(balance.budget, balance.exposed or balance.spent)


def operation_answer(operation: Operation) -> dict[str, Any]:
    """An allocation, and how it stands."""
    opening, latest = operation.opening, operation.latest
    charge = (opening.charge or opening.budget.nothing()).basic
    back = [entry.charge.basic for entry in (operation.ending, operation.adjustment) if entry and entry.charge]
    given_back = EXACT.add(back[0].epsilon, back[1].epsilon) if len(back) == 2 else back[0].epsilon if back else ZERO
    details = opening.details or {}
    return {
        "seq": opening.seq,
        "at": timestamp_text(opening.at),
        "allocation_id": opening.allocation_id,
        "job_id": opening.job_id,
        "status": latest.kind.value,
        "ended_at": None if latest is opening else timestamp_text(latest.at),
        "epsilon": float(charge.epsilon),
        "delta": float(charge.delta),
        "epsilon_given_back": float(given_back),
        "event_kind": None if opening.event is None else opening.event.kind,
        "source_engine": opening.source_engine,
        "dataset_id": None if opening.dataset is None else opening.dataset.dataset_id,
        "partition": None if opening.dataset is None else opening.dataset.partition,
        "actor": opening.actor,
        "purpose": details.get("purpose"),
        "due_at": _moment(opening.due_at) if latest.kind is EntryKind.HELD else None,
        "exact": {
            "epsilon": decimal_text(charge.epsilon),
            "delta": decimal_text(charge.delta),
            "epsilon_given_back": decimal_text(given_back),
        },
    }


def tenant_answer(reading: TenantReading, days: Days) -> dict[str, Any]:
    """One tenant among all. What the days cost is what the lifetime sum grew by; the entries at both ends have it."""
    head = present(reading.head, days.now)
    before = ZERO if reading.before is None else reading.before.lifetime.basic.epsilon
    grown = EXACT.subtract(head.lifetime.basic.epsilon, before)
    known = len(Days(days.now, days.count, reading.known_since).known)
    rate = Fraction(grown) / max(known, 1)
    told = budget_answer(head, ())
    # Only the mean is known here, so each day counts as the mean.
    lasting = projection(remaining(head), [grown / known] * known if known else [], days.now, head.period_end)
    return {
        "tenant_id": head.tenant_id,
        "total_epsilon": told["total_epsilon"],
        "used_epsilon": told["used_epsilon"],
        "remaining_epsilon": told["remaining_epsilon"],
        "epsilon_utilization_pct": told["epsilon_utilization_pct"],
        "operations": head.operations,
        "last_entry_at": timestamp_text(reading.kept_at),
        "epsilon_per_day": float(rate),
        "days_left": None if lasting.days_left is None else round(float(lasting.days_left), 6),
        "period_end": _moment(head.period_end),
        "auto_renew": head.renewal_days is not None,
        "legal_hold": head.legal_hold,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp_text(moment)


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
