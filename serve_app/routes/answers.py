"""From ledger entries to answers. An answer is a function of the entry it is about, so a replay answers the same.

Every answer tells a budget in the terms that engines know, whichever filters it has: the total is what the budget
promises, what remains is the largest plain claim (delta 0) that would still be admitted, and used is the rest. Beside
that stands what was charged over the whole lifetime, which no new window takes away.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec import structs

from accounting.admission import tenant_scope
from accounting.datasets import DatasetState
from accounting.filters import THEOREMS, Budget, Charge, Standing, largest_claim, largest_delta, standings
from accounting.ledger.entry import DatasetBalance, Entry, EntryKind, cost_to_wire, loss_to_wire, timestamp_text
from accounting.ledger.store import Denial
from accounting.values import EXACT, NO_LOSS, ZERO, PrivacyLoss, decimal_text
from serve_app.schemas import AllocateAnswer, DatasetAnswer, ExactAmounts, ExactRemainder

_STATES = {
    EntryKind.CONSUMED: "consumed",
    EntryKind.HELD: "held",
    EntryKind.COMMITTED: "committed",
    EntryKind.VOIDED: "voided",
    EntryKind.EXPIRED_SPENT: "expired_spent",
    EntryKind.ADJUSTED: "adjusted",
}


@lru_cache(maxsize=10_000)
def budget_id(tenant_id: str) -> str:
    """A stable UUID of the tenant's budget, for engines that expect one."""
    return str(uuid5(NAMESPACE_URL, f"urn:privacy-engine:budget:{tenant_id}"))


def allocation_answer(entry: Entry) -> AllocateAnswer:
    """The answer to an allocation, from the entry that opened it."""
    charge = NO_LOSS if entry.charge is None else entry.charge.basic
    total = entry.budget.promise
    used, left = _used_and_left(entry.budget, entry.spent)
    # Basic composition's, which is the first of every budget.
    lifetime = entry.lifetime.costs[0]
    allocated_epsilon, remaining_epsilon = float(charge.epsilon), float(left.epsilon)
    used_epsilon, used_delta = decimal_text(used.epsilon), decimal_text(used.delta)
    # Charges and promises repeat from entry to entry, and their texts with them.
    charged, promised = _texts(charge), _texts(total)
    return AllocateAnswer(
        allocation_id=entry.allocation_id or "",
        job_id=entry.job_id or "",
        tenant_id=entry.tenant_id,
        status="approved",
        allocation_status="approved",
        state=_STATES[entry.kind],
        allocated_epsilon=allocated_epsilon,
        epsilon_allocated=allocated_epsilon,
        delta_allocated=float(charge.delta),
        remaining_budget=remaining_epsilon,
        budget_id=budget_id(entry.tenant_id),
        total_epsilon=float(total.epsilon),
        used_epsilon=float(used.epsilon),
        remaining_epsilon=remaining_epsilon,
        total_delta=float(total.delta),
        used_delta=float(used.delta),
        remaining_delta=float(left.delta),
        epsilon_utilization_pct=_percent(used.epsilon, total.epsilon),
        period_start=timestamp_text(entry.period_start),
        period_end=_period_end(entry),
        auto_renew=entry.renewal_days is not None,
        source_engine=entry.source_engine,
        ledger_seq=entry.seq,
        ledger_hash=entry.hash.hex(),
        lifetime_epsilon=float(lifetime.amount),
        lifetime_delta=float(lifetime.delta),
        exact=ExactAmounts(
            allocated_epsilon=charged["epsilon"],
            allocated_delta=charged["delta"],
            total_epsilon=promised["epsilon"],
            used_epsilon=used_epsilon,
            remaining_epsilon=decimal_text(left.epsilon),
            total_delta=promised["delta"],
            used_delta=used_delta,
            remaining_delta=decimal_text(left.delta),
            # Of a budget that has not renewed, the same numbers; their text is made once.
            lifetime_epsilon=used_epsilon if lifetime.amount == used.epsilon else decimal_text(lifetime.amount),
            lifetime_delta=used_delta if lifetime.delta == used.delta else decimal_text(lifetime.delta),
        ),
        dataset=None if entry.dataset is None else _dataset_left(entry.dataset),
    )


def settled_answer(opening: Entry, latest: Entry) -> dict[str, Any]:
    """What was allocated by the opening entry, with the state and the budget after the allocation's latest entry.

    ``given_back`` says what the latest entry took out of the budget's sums, filter by filter.
    """
    allocated, now = allocation_answer(opening), allocation_answer(latest)
    exact = structs.replace(
        now.exact, allocated_epsilon=allocated.exact.allocated_epsilon, allocated_delta=allocated.exact.allocated_delta
    )
    answer: dict[str, Any] = msgspec.to_builtins(
        structs.replace(
            now,
            allocated_epsilon=allocated.allocated_epsilon,
            epsilon_allocated=allocated.epsilon_allocated,
            delta_allocated=allocated.delta_allocated,
            exact=exact,
        )
    )
    if latest.seq != opening.seq and latest.charge is not None:
        answer["given_back"] = _charge_to_wire(latest.budget, latest.charge)
    return answer


def _dataset_left(balance: DatasetBalance) -> DatasetAnswer:
    # An entry says what was exposed wherever something moved.
    left = _left(balance.budget, balance.exposed or balance.spent)
    return DatasetAnswer(
        balance.dataset_id,
        balance.partition,
        float(left.epsilon),
        float(left.delta),
        ExactRemainder(decimal_text(left.epsilon), decimal_text(left.delta)),
    )


def _left(budget: Budget, spent: Charge) -> PrivacyLoss:
    return PrivacyLoss(largest_claim(budget, spent), largest_delta(budget, spent))


def _used_and_left(budget: Budget, spent: Charge) -> tuple[PrivacyLoss, PrivacyLoss]:
    left = _left(budget, spent)
    epsilon = EXACT.subtract(budget.promise.epsilon, left.epsilon)
    return PrivacyLoss(max(epsilon, ZERO), spent.costs[0].delta), left


_texts = lru_cache(maxsize=4096)(loss_to_wire)


def budget_answer(entry: Entry, datasets: Sequence[DatasetState]) -> dict[str, Any]:
    """A tenant's budget as it stands after its last entry: this window and the whole lifetime, and its data sets."""
    balance = _balance(entry.budget, entry.spent)
    lifetime, held = entry.lifetime.basic, entry.held.basic
    beside = {
        "lifetime_epsilon": lifetime.epsilon,
        "lifetime_delta": lifetime.delta,
        "held_epsilon": held.epsilon,
        "held_delta": held.delta,
    }
    exact = balance.pop("exact")
    return {
        "tenant_id": entry.tenant_id,
        "budget_id": budget_id(entry.tenant_id),
        **balance,
        **{name: float(amount) for name, amount in beside.items()},
        "remaining_budget": balance["remaining_epsilon"],
        "allocation_count": entry.operations,
        "period_start": timestamp_text(entry.period_start),
        "period_end": _period_end(entry),
        "auto_renew": entry.renewal_days is not None,
        "renewal_days": entry.renewal_days,
        "scope": tenant_scope(entry),
        "held": _charge_to_wire(entry.budget, entry.held),
        "lifetime": _charge_to_wire(entry.budget, entry.lifetime),
        "legal_hold": entry.legal_hold,
        "datasets": [dataset_summary(state) for state in datasets],
        "exact": exact | {name: decimal_text(amount) for name, amount in beside.items()},
        "ledger_seq": entry.seq,
        "ledger_hash": entry.hash.hex(),
    }


def dataset_summary(state: DatasetState) -> dict[str, Any]:
    """A data set, and the most that anybody in it has been exposed to."""
    dataset = state.dataset
    return {
        "dataset_id": dataset.dataset_id,
        "privacy_unit": dataset.unit,
        "adjacency": dataset.adjacency.value,
        "partition_count": len(dataset.partitions),
        **_balance(state.budget, state.exposure()),
    }


def dataset_answer(tenant_id: str, state: DatasetState) -> dict[str, Any]:
    """A data set, and the most that anybody in it, and in each of its partitions, has been exposed to."""
    dataset = state.dataset
    return {
        "tenant_id": tenant_id,
        **dataset_summary(state),
        "partition_basis": dataset.basis or None,
        "partitions": [
            {"partition": name, **_balance(state.budget, exposed)} for name, exposed in state.exposures().items()
        ],
    }


def denial_answer(denial: Denial) -> dict[str, Any]:
    """A refusal, as an auditor sees it."""
    return {
        "at": None if denial.at is None else timestamp_text(denial.at),
        "outcome": denial.outcome,
        "scope": denial.scope,
        "job_id": denial.job_id,
        "source_engine": denial.source_engine,
        "actor": denial.actor,
        "idempotency_key": denial.idempotency_key,
        "epsilon": decimal_text(denial.epsilon),
        "delta": decimal_text(denial.delta),
        "ledger_seq": denial.seq,
    }


def _balance(budget: Budget, spent: Charge) -> dict[str, Any]:
    """How a budget stands after that much."""
    total = budget.promise
    used, left = _used_and_left(budget, spent)
    amounts = {
        "total_epsilon": total.epsilon,
        "used_epsilon": used.epsilon,
        "remaining_epsilon": left.epsilon,
        "total_delta": total.delta,
        "used_delta": used.delta,
        "remaining_delta": left.delta,
    }
    return {
        **{name: float(amount) for name, amount in amounts.items()},
        "epsilon_utilization_pct": _percent(used.epsilon, total.epsilon),
        "promise": loss_to_wire(total),
        "filters": {standing.member.kind.value: _standing_to_wire(standing) for standing in standings(budget, spent)},
        "exact": {name: decimal_text(amount) for name, amount in amounts.items()},
    }


def _period_end(entry: Entry) -> str | None:
    end = entry.period_end
    return None if end is None else timestamp_text(end)


def _charge_to_wire(budget: Budget, charge: Charge) -> dict[str, Any]:
    """What was counted, under the member that counted it."""
    return {
        member.kind.value: cost_to_wire(cost, member) for member, cost in zip(budget.members, charge.costs, strict=True)
    }


def _standing_to_wire(standing: Standing) -> dict[str, Any]:
    member = standing.member
    wire: dict[str, Any] = {
        "cap": cost_to_wire(member.cap, member),
        "spent": cost_to_wire(standing.spent, member),
        "remaining": cost_to_wire(standing.remaining, member),
        "holds": standing.holds,
        "theorem": THEOREMS[member.kind],
    }
    if member.order is not None:
        wire["order"] = member.order
    if member.conversion_delta:
        wire["conversion_delta"] = decimal_text(member.conversion_delta)
    return wire


def status_answer(entry: Entry) -> dict[str, Any]:
    """The short form of a tenant's budget."""
    used, left = _used_and_left(entry.budget, entry.spent)
    return {
        "tenant_id": entry.tenant_id,
        "total_budget": float(entry.budget.promise.epsilon),
        "consumed_budget": float(used.epsilon),
        "remaining_budget": float(left.epsilon),
        "allocation_count": entry.operations,
    }


def _percent(used: Decimal, total: Decimal) -> float:
    return round(float(used) / float(total) * 100, 6)
