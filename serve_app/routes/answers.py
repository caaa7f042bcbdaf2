"""From ledger entries to answers. An answer is a function of the entry it is about, so a replay answers the same.

Every answer tells a budget in the terms that engines know, whichever filters it has: the total is what the budget
promises, what remains is the largest plain claim (delta 0) that would still be admitted, and used is the rest.
"""

from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from accounting.admission import TENANT_SCOPE, Outcome, Verdict
from accounting.charges import Cost, Currency
from accounting.filters import (
    THEOREMS,
    Budget,
    Charge,
    Member,
    Standing,
    binding,
    largest_claim,
    largest_delta,
    standings,
)
from accounting.ledger.entry import Entry, EntryKind, cost_to_wire, loss_to_wire, timestamp_text
from accounting.values import EXACT, NO_LOSS, ZERO, PrivacyLoss, decimal_text
from serve_app.problems import Code, Problem, invalid
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
    charge = NO_LOSS if entry.charge is None else entry.charge.basic
    total = entry.budget.promise
    used, left = _used_and_left(entry.budget, entry.spent)
    allocated_epsilon, remaining_epsilon = float(charge.epsilon), float(left.epsilon)
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
        period_end=None,
        auto_renew=False,
        source_engine=entry.source_engine,
        ledger_seq=entry.seq,
        ledger_hash=entry.hash.hex(),
        exact=_exact(charge, total, used, left),
    )


def _used_and_left(budget: Budget, spent: Charge) -> tuple[PrivacyLoss, PrivacyLoss]:
    left = PrivacyLoss(largest_claim(budget, spent), largest_delta(budget, spent))
    epsilon = EXACT.subtract(budget.promise.epsilon, left.epsilon)
    return PrivacyLoss(max(epsilon, ZERO), spent.basic.delta), left


def _exact(charge: PrivacyLoss, total: PrivacyLoss, used: PrivacyLoss, left: PrivacyLoss) -> ExactAmounts:
    # Charges and promises repeat from entry to entry, and their texts with them.
    charged, promised = _texts(charge), _texts(total)
    return ExactAmounts(
        allocated_epsilon=charged["epsilon"],
        allocated_delta=charged["delta"],
        total_epsilon=promised["epsilon"],
        used_epsilon=decimal_text(used.epsilon),
        remaining_epsilon=decimal_text(left.epsilon),
        total_delta=promised["delta"],
        used_delta=decimal_text(used.delta),
        remaining_delta=decimal_text(left.delta),
    )


_texts = lru_cache(maxsize=4096)(loss_to_wire)


def budget_answer(entry: Entry) -> dict[str, Any]:
    """A tenant's budget as it stands after its last entry."""
    total = entry.budget.promise
    used, left = _used_and_left(entry.budget, entry.spent)
    return {
        "tenant_id": entry.tenant_id,
        "budget_id": budget_id(entry.tenant_id),
        "total_epsilon": float(total.epsilon),
        "used_epsilon": float(used.epsilon),
        "remaining_epsilon": float(left.epsilon),
        "remaining_budget": float(left.epsilon),
        "total_delta": float(total.delta),
        "used_delta": float(used.delta),
        "remaining_delta": float(left.delta),
        "epsilon_utilization_pct": _percent(used.epsilon, total.epsilon),
        "allocation_count": entry.operations,
        "period_start": timestamp_text(entry.period_start),
        "period_end": None,
        "auto_renew": False,
        "scope": TENANT_SCOPE,
        "promise": loss_to_wire(total),
        "filters": {
            standing.member.kind.value: _standing_to_wire(standing) for standing in standings(entry.budget, entry.spent)
        },
        "exact": {
            "total_epsilon": decimal_text(total.epsilon),
            "used_epsilon": decimal_text(used.epsilon),
            "remaining_epsilon": decimal_text(left.epsilon),
            "total_delta": decimal_text(total.delta),
            "used_delta": decimal_text(used.delta),
            "remaining_delta": decimal_text(left.delta),
        },
        "ledger_seq": entry.seq,
        "ledger_hash": entry.hash.hex(),
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


def refusal(verdict: Verdict) -> Problem:
    """The problem that tells a refusal."""
    match verdict.outcome:
        case Outcome.BUDGET_EXHAUSTED:
            return _exhausted(verdict)
        case Outcome.UNPRICED:
            return unpriced(verdict.reason)
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
            promise = _texts(_present(verdict).promise)
            present = f"epsilon {promise['epsilon']}, delta {promise['delta']}"
            reason = f"a budget can be raised, not lowered; it now promises {present}. Leave delta out to keep it."
            return invalid("epsilon", reason)
        case Outcome.FILTERS_CHANGED:
            names = ", ".join(member.kind for member in _present(verdict).members)
            reason = f"are fixed when a budget is created, with their shares of delta: this one has {names}."
            return invalid("filters", f"{reason} Leave them out to keep them.")
        case Outcome.ADMITTED | Outcome.REPLAYED:
            raise ValueError("an accepted request has no refusal")


def unpriced(reason: str) -> Problem:
    """The problem of an event that a filter of the budget has no price for."""
    return invalid("event", f"has no price under this budget: {reason}")


def _present(verdict: Verdict) -> Budget:
    assert verdict.answer is not None
    return verdict.answer.budget


def shortage(budget: Budget, spent: Charge, charge: Charge) -> str | None:
    """Why a charge is refused: what is missing under the filter that came closest to admitting it.

    None if a filter admits it.
    """
    closest = binding(budget, spent, charge)
    if closest is None:
        return None
    member, left = closest.member, closest.remaining
    asked = _asked(budget, charge, member)
    if asked.amount > left.amount:
        quantity, has, cap, wants = _currency(member), left.amount, member.cap.amount, asked.amount
    else:
        quantity, has, cap, wants = "delta", left.delta, member.cap.delta, asked.delta
    remains = f"{quantity} {decimal_text(max(has, ZERO))} of {decimal_text(cap)} is left, and this asks for"
    if len(budget.members) == 1:
        return f"Under the {member.kind} filter, {remains} {decimal_text(wants)}."
    return f"None of its filters would hold. Closest is {member.kind}: {remains} {decimal_text(wants)}."


def _exhausted(verdict: Verdict) -> Problem:
    head, charge = verdict.head, verdict.charge
    assert head is not None
    assert charge is not None
    budget, spent, asked = head.budget, head.spent, charge.basic
    closest = binding(budget, spent, charge)
    assert closest is not None
    return Problem(
        Code.BUDGET_EXHAUSTED,
        f"The {TENANT_SCOPE} budget does not hold this charge. {shortage(budget, spent, charge)}",
        {
            "remaining_budget": float(largest_claim(budget, spent)),
            "remaining_delta": float(largest_delta(budget, spent)),
            "scope": TENANT_SCOPE,
            "filter": closest.member.kind.value,
            "largest_charge": {
                "epsilon": decimal_text(largest_claim(budget, spent, asked.delta)),
                "delta": decimal_text(asked.delta),
            },
            "filters": [
                {
                    "filter": standing.member.kind.value,
                    "remaining": cost_to_wire(standing.remaining, standing.member),
                    "asked": cost_to_wire(_asked(budget, charge, standing.member), standing.member),
                }
                for standing in standings(budget, spent)
            ],
        },
    )


def _asked(budget: Budget, charge: Charge, member: Member) -> Cost:
    return charge.costs[budget.members.index(member)]


def _currency(member: Member) -> str:
    name = {Currency.RENYI: "Renyi divergence", Currency.MU_SQUARED: "squared mu"}.get(member.currency)
    return name or member.currency.value


def _percent(used: Decimal, total: Decimal) -> float:
    return round(float(used) / float(total) * 100, 6)
