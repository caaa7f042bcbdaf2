"""From ledger entries to answers. An answer is a function of the entry it is about, so a replay answers the same."""

from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from accounting.admission import BASIC_FILTER, TENANT_SCOPE, Outcome, Verdict, largest_claim
from accounting.ledger.entry import Entry, EntryKind, loss_texts, loss_to_wire, timestamp_text
from accounting.values import NO_LOSS, ZERO, PrivacyLoss, decimal_text
from serve_app.problems import Code, Problem
from serve_app.schemas import AllocateAnswer, ExactAmounts

_STATES = {
    EntryKind.CONSUMED: "consumed",
    EntryKind.HELD: "held",
    EntryKind.COMMITTED: "committed",
    EntryKind.VOIDED: "voided",
}


@lru_cache(maxsize=10_000)
def budget_id(tenant_id: str) -> str:
    """A stable UUID of the tenant's budget, for engines that expect one."""
    return str(uuid5(NAMESPACE_URL, f"urn:privacy-engine:budget:{tenant_id}"))


def allocation_answer(entry: Entry) -> AllocateAnswer:
    """The answer to an allocation, from the entry that opened it."""
    charge, budget, spent = entry.charge or NO_LOSS, entry.budget, entry.spent
    remaining = entry.remaining()
    allocated_epsilon, remaining_epsilon = float(charge.epsilon), float(remaining.epsilon)
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
        total_epsilon=float(budget.epsilon),
        used_epsilon=float(spent.epsilon),
        remaining_epsilon=remaining_epsilon,
        total_delta=float(budget.delta),
        used_delta=float(spent.delta),
        remaining_delta=float(remaining.delta),
        epsilon_utilization_pct=_percent(spent.epsilon, budget.epsilon),
        period_start=timestamp_text(entry.period_start),
        period_end=None,
        auto_renew=False,
        source_engine=entry.source_engine,
        ledger_seq=entry.seq,
        ledger_hash=entry.hash.hex(),
        exact=_exact(charge, budget, spent, remaining),
    )


def _exact(charge: PrivacyLoss, budget: PrivacyLoss, spent: PrivacyLoss, remaining: PrivacyLoss) -> ExactAmounts:
    # Charges and caps repeat from entry to entry, and their texts with them.
    charged, total = loss_texts(charge), loss_texts(budget)
    return ExactAmounts(
        allocated_epsilon=charged["epsilon"],
        allocated_delta=charged["delta"],
        total_epsilon=total["epsilon"],
        used_epsilon=decimal_text(spent.epsilon),
        remaining_epsilon=decimal_text(remaining.epsilon),
        total_delta=total["delta"],
        used_delta=decimal_text(spent.delta),
        remaining_delta=decimal_text(remaining.delta),
    )


def budget_answer(entry: Entry) -> dict[str, Any]:
    """A tenant's budget as it stands after its last entry."""
    remaining = largest_claim(entry)
    used = entry.budget.epsilon - remaining
    left = entry.remaining()
    return {
        "tenant_id": entry.tenant_id,
        "budget_id": budget_id(entry.tenant_id),
        "total_epsilon": float(entry.budget.epsilon),
        "used_epsilon": float(used),
        "remaining_epsilon": float(remaining),
        "remaining_budget": float(remaining),
        "total_delta": float(entry.budget.delta),
        "used_delta": float(entry.spent.delta),
        "remaining_delta": float(left.delta),
        "epsilon_utilization_pct": _percent(used, entry.budget.epsilon),
        "allocation_count": entry.operations,
        "period_start": timestamp_text(entry.period_start),
        "period_end": None,
        "auto_renew": False,
        "scope": TENANT_SCOPE,
        "filters": {
            BASIC_FILTER: {
                "cap": loss_to_wire(entry.budget),
                "spent": loss_to_wire(entry.spent),
                "remaining": loss_to_wire(left),
                "theorem": "basic composition: epsilons and deltas add up (Dwork and Roth 2014, Theorem 3.16)",
            }
        },
        "exact": {
            "total_epsilon": decimal_text(entry.budget.epsilon),
            "used_epsilon": decimal_text(used),
            "remaining_epsilon": decimal_text(remaining),
            "total_delta": decimal_text(entry.budget.delta),
            "used_delta": decimal_text(entry.spent.delta),
            "remaining_delta": decimal_text(left.delta),
        },
        "ledger_seq": entry.seq,
        "ledger_hash": entry.hash.hex(),
    }


def status_answer(entry: Entry) -> dict[str, Any]:
    """The short form of a tenant's budget."""
    remaining = largest_claim(entry)
    return {
        "tenant_id": entry.tenant_id,
        "total_budget": float(entry.budget.epsilon),
        "consumed_budget": float(entry.budget.epsilon - remaining),
        "remaining_budget": float(remaining),
        "allocation_count": entry.operations,
    }


def refusal(verdict: Verdict, charge: PrivacyLoss | None = None) -> Problem:
    """The problem that tells a refusal."""
    match verdict.outcome:
        case Outcome.BUDGET_EXHAUSTED:
            return _exhausted(verdict.remaining or NO_LOSS, charge or NO_LOSS)
        case Outcome.OPERATION_LIMIT:
            limit = verdict.limit or ZERO
            detail = f"One operation may cost an epsilon of at most {decimal_text(limit)}."
            extra = {"field": "epsilon", "limit": float(limit), "exact": {"limit": decimal_text(limit)}}
            return Problem(Code.OPERATION_LIMIT, detail, extra)
        case Outcome.KEY_REUSED:
            detail = "This idempotency key was used for a different request. Use a new key for a new operation."
            return (
                Problem(Code.IDEMPOTENCY_MISMATCH, detail, {"allocation_id": verdict.answer.allocation_id})
                if verdict.answer
                else Problem(Code.IDEMPOTENCY_MISMATCH, detail)
            )
        case Outcome.UNKNOWN_TENANT:
            return Problem(Code.UNKNOWN_TENANT, "An administrator has to create this tenant's budget first.")
        case Outcome.UNKNOWN_ALLOCATION:
            return Problem(Code.NOT_FOUND, "The tenant has no allocation of that id.", {"field": "allocation_id"})
        case Outcome.ALLOCATION_ENDED:
            return Problem(Code.CONFLICT, "The allocation has ended in another way already.")
        case Outcome.HOLD_EXPIRED:
            return Problem(Code.CONFLICT, "The hold's time has run out, so it counts as spent and cannot be voided.")
        case Outcome.BUDGET_LOWERED:
            return Problem(Code.INVALID_REQUEST, "epsilon: a budget can be raised, not lowered.", {"field": "epsilon"})
        case Outcome.ADMITTED | Outcome.REPLAYED:
            raise ValueError("an accepted request has no refusal")


def _exhausted(remaining: PrivacyLoss, charge: PrivacyLoss) -> Problem:
    short = "epsilon" if charge.epsilon > remaining.epsilon else "delta"
    asked, left = (getattr(charge, short), getattr(remaining, short))
    largest = max(remaining.epsilon, ZERO) if charge.delta <= remaining.delta else ZERO
    return Problem(
        Code.BUDGET_EXHAUSTED,
        f"The {TENANT_SCOPE} budget has {short} {decimal_text(left)} left under the {BASIC_FILTER} filter; "
        f"this asks for {decimal_text(asked)}.",
        {
            "remaining_budget": float(max(remaining.epsilon, ZERO)),
            "remaining_delta": float(max(remaining.delta, ZERO)),
            "scope": TENANT_SCOPE,
            "filter": BASIC_FILTER,
            "largest_charge": {"epsilon": decimal_text(largest), "delta": decimal_text(max(remaining.delta, ZERO))},
        },
    )


def _percent(used: Decimal, total: Decimal) -> float:
    return round(float(used) / float(total) * 100, 6)
