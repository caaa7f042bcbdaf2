"""How the entries of a history follow each other: every step is checked against the entry before it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from proofs.checker.accounts import Accounts
from proofs.checker.body import ENDINGS, OPENINGS, Body
from proofs.checker.values import NOTHING, Costs, difference_of, sum_of

_GENESIS = "0" * 64
_COUNTS: Mapping[str, int] = {"consumed": 1, "held": 1, "voided": -1, "adjusted": -1}
"""What an entry adds to the number of allocations, by its kind; others add nothing."""


def check_links(bodies: Sequence[Body]) -> Iterator[str]:
    """Whether entries, in order of position, follow from each other where they are neighbours.

    Entries that are not neighbours cannot be linked without those between them, and are not faulted for it.
    """
    histories: dict[str | None, list[Body]] = {}
    accounts = Accounts(whole_history=False)
    for earlier, later in pairwise([None, *bodies]):
        assert later is not None
        here = f"position {later.seq}"
        reasons: list[str] = []
        if later.seq == 1:
            reasons += _check_first(later)
        if earlier is not None and later.seq == earlier.seq:
            reasons.append("stands in the document twice")
        if earlier is None or later.seq != earlier.seq + 1:
            accounts = Accounts(whole_history=later.seq == 1)
        else:
            reasons += _check_step(earlier, later, histories.get(later.allocation_id, []))
        if later.account is not None:
            reasons += accounts.check(later.account, later.sign)
        yield from (f"{here}: {reason}" for reason in reasons)
        if later.allocation_id is not None:
            histories.setdefault(later.allocation_id, []).append(later)


def linked(bodies: Sequence[Body]) -> int:
    """How many entries have the one before them in the document, or are the first of the history."""
    return sum(body.seq == 1 for body in bodies) + sum(b.seq == a.seq + 1 for a, b in pairwise(bodies))


def _check_first(body: Body) -> Iterator[str]:
    if body.prev_hash != _GENESIS:
        yield "the first entry must have 32 zero bytes as its previous hash"
    if body.version < 3:
        if body.spent != (body.charge or body.budget.nothing()):
            yield "the history does not start from a balance of 0"
        return
    nothing = body.budget.nothing()
    if (body.spent, body.held, body.lifetime, body.operations) != (nothing, nothing, nothing, 0):
        yield "the history does not start from a balance of 0"
    if body.kind != "budget_set" or body.period_start != body.at or body.legal_hold:
        yield "the history does not start with a budget"


def _check_step(earlier: Body, later: Body, history: Sequence[Body]) -> Iterator[str]:
    """Whether an entry follows from the one before it.

    Args:
        earlier: The entry before.
        later: The entry.
        history: What the document has of the same allocation before it, oldest first.
    """
    before = f"position {earlier.seq}"
    if later.prev_hash != earlier.hash:
        yield f"its previous hash is not the hash of {before}"
    if later.version < earlier.version:
        yield f"it is of an earlier version than {before}"
        return
    if later.budget.kept() != earlier.budget.kept():
        yield f"the member filters are not those of {before}"
        return
    yield from _check_policy(earlier, later)
    yield from _check_sums(earlier, later, history)
    if later.operations != earlier.operations + _COUNTS.get(later.kind, 0):
        yield f"the number of allocations does not follow from that of {before}"


def _check_policy(earlier: Body, later: Body) -> Iterator[str]:
    """What changes only where it is set: the budget, the window, the legal hold."""
    before = f"position {earlier.seq}"
    if later.kind == "budget_set":
        if not later.budget.covers(earlier.budget):
            yield f"the budget is lower than that of {before}"
        begins = later.at if earlier.renewal_days is None and later.renewal_days is not None else earlier.period_start
        if later.period_start != begins:
            yield f"the window does not follow from that of {before}"
    else:
        if later.budget != earlier.budget:
            yield f"the budget differs from that of {before}, though no budget was set"
        if later.renewal_days != earlier.renewal_days:
            yield f"the length of the window differs from that of {before}, though no budget was set"
        elif later.kind == "renewed":
            yield from _check_boundary(earlier, later)
        elif later.period_start != earlier.period_start:
            yield f"the window differs from that of {before}, though none began"
    if later.kind != "renewed" and earlier.period_end is not None and later.at >= earlier.period_end:
        yield f"it is of a time when the window of {before} had ended, though no other one began"
    in_force = {"retention_locked": True, "retention_released": False}.get(later.kind, earlier.legal_hold)
    if later.legal_hold != in_force or (later.kind.startswith("retention") and in_force == earlier.legal_hold):
        yield f"the legal hold does not follow from that of {before}"


def _check_boundary(earlier: Body, later: Body) -> Iterator[str]:
    """Whether a new window begins a whole number of windows after the one before, and holds the present moment."""
    assert earlier.period_end is not None
    assert later.period_end is not None
    passed, length = later.period_start - earlier.period_start, earlier.period_end - earlier.period_start
    if passed < length or passed % length or not later.period_start <= later.at < later.period_end:
        yield f"the new window does not begin where one of position {earlier.seq} ended"


def _check_sums(earlier: Body, later: Body, history: Sequence[Body]) -> Iterator[str]:
    """Whether what was spent, is held, and was spent in all windows follows."""
    before = f"position {earlier.seq}"
    if later.spent not in _possible_sums(earlier, later, history):
        yield f"the balance does not follow from that of {before}"
    if later.version < 3:
        return
    if later.lifetime != _moved(earlier.lifetime, later):
        yield f"the sum over all windows does not follow from that of {before}"
    if not _held_follows(earlier, later, history):
        yield f"what is held does not follow from that of {before}"


def _possible_sums(earlier: Body, later: Body, history: Sequence[Body]) -> list[Costs]:
    """What may be spent after an entry: one thing, but for an adjustment of which too little is known."""
    if later.kind == "renewed":
        return [earlier.held]
    if later.kind == "budget_set":
        return [earlier.lifetime if later.renewal_days is None else earlier.spent]
    moved = _moved(earlier.spent, later)
    if later.kind != "adjusted" or earlier.lifetime == earlier.spent:
        return [moved]
    # What only earlier windows counted stays theirs: what this one counts falls in it.
    last = history[-1] if history else None
    if last is None or last.kind == "held":
        return [moved, earlier.spent]
    return [moved if last.at >= earlier.period_start else earlier.spent]


def _held_follows(earlier: Body, later: Body, history: Sequence[Body]) -> bool:
    if later.kind == "held":
        return later.held == _moved(earlier.held, later)
    if later.kind not in ENDINGS:
        return later.held == earlier.held
    opening = next((body for body in history if body.kind in OPENINGS), None)
    if opening is not None and opening.charge is not None and opening.charge.keys() == earlier.held.keys():
        return later.held == difference_of(earlier.held, opening.charge)
    # Without the hold in the document: it was at least what is given back now.
    fallen = difference_of(earlier.held, later.held)
    least = later.charge or later.budget.nothing()
    exact = later.kind == "voided"
    return all(
        cost == least[name] if exact else least[name].within(cost) and NOTHING.within(cost)
        for name, cost in fallen.items()
    )


def _moved(before: Costs, later: Body) -> Costs:
    """The sum after an entry's charge."""
    if later.charge is None:
        return before
    return sum_of(before, later.charge) if later.sign > 0 else difference_of(before, later.charge)
