"""From refusals to problems: what was wrong, in which scope, and what would fit."""

from accounting.admission import Outcome, Shortage, Verdict
from accounting.charges import Cost, Currency
from accounting.filters import Budget, Charge, Member, binding, largest_claim, largest_delta, standings
from accounting.ledger.entry import cost_to_wire, loss_to_wire
from accounting.values import ZERO, decimal_text
from serve_app.problems import Code, Problem, invalid


def refusal(verdict: Verdict) -> Problem:
    """The problem that tells a refusal."""
    match verdict.outcome:
        case Outcome.BUDGET_EXHAUSTED:
            assert verdict.shortage is not None
            return _exhausted(verdict.shortage)
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
            return Problem(Code.CONFLICT, "The hold's time has run out, so it counts as spent: nothing is given back.")
        case Outcome.HOLD_NOT_DUE:
            return Problem(Code.CONFLICT, "The hold's time has not run out: commit it, or void it if no data was read.")
        case Outcome.STILL_HELD:
            return Problem(Code.CONFLICT, "The allocation is still held: commit or void it; only its end is adjusted.")
        case Outcome.NOT_DIVISIBLE:
            reason = "must be from 0 to the count of the self_composed event that was held; nothing else is divided"
            return invalid("steps", reason)
        case Outcome.UNKNOWN_DATASET:
            detail = "The tenant has no data set of that id. An administrator registers it, with its privacy unit."
            return Problem(Code.NOT_FOUND, detail, {"field": "dataset_id"})
        case Outcome.UNKNOWN_PARTITION:
            reason = "is not registered for this data set; leave it out to charge the whole data set"
            return invalid("partition", reason)
        case Outcome.OTHER_NEIGHBOURS:
            return invalid("event", verdict.reason)
        case Outcome.DATASET_CHANGED:
            reason = "a data set keeps its privacy unit, adjacency and partitions; partitions can be added at the end"
            return invalid("dataset", reason)
        case Outcome.BUDGET_LOWERED:
            promise = loss_to_wire(_present(verdict).promise)
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
    assert verdict.present is not None
    return verdict.present


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


def _exhausted(short: Shortage) -> Problem:
    budget, spent, charge = short.budget, short.spent, short.charge
    asked = charge.basic
    closest = binding(budget, spent, charge)
    assert closest is not None
    # What would fit has to fit every budget that the request touches, not only the one that was asked first.
    touched = ((budget, spent), *short.others)
    return Problem(
        Code.BUDGET_EXHAUSTED,
        f"The {short.scope} budget does not hold this charge. {shortage(budget, spent, charge)}",
        {
            "remaining_budget": float(largest_claim(budget, spent)),
            "remaining_delta": float(largest_delta(budget, spent)),
            "scope": short.scope,
            "filter": closest.member.kind.value,
            "largest_charge": {
                "epsilon": decimal_text(min(largest_claim(each, counted, asked.delta) for each, counted in touched)),
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
