"""What became of an allocation: it ends at most once, and what it gives back is what a charge may give back.

A charge that was admitted falls in three cases only: a void before the hold's time had passed; a commit of fewer
repetitions than were held, before that time, in the members in which each repetition was charged by itself; an
adjustment of what has ended, by an operator's signed statement.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from proofs.certificate import ADJUSTED, DIVIDED, STANDS, VOIDED, Certificate, Node
from proofs.checker.admission import Division
from proofs.checker.body import ENDINGS, Body
from proofs.checker.kernel import cost_in
from proofs.checker.values import NOTHING, Cost, Costs, difference_of


def check_life(certificate: Certificate, opening: Body, later: Sequence[Body]) -> Iterator[str]:
    """Whether the later entries of an allocation may follow its opening, and the certificate says what they come to.

    Args:
        certificate: The certificate, whose derivations are checked elsewhere.
        opening: The entry that opened the allocation.
        later: The entries after it, in the certificate's order.
    """
    if any(body.kind not in (*ENDINGS, "adjusted") for body in later):
        strange = next(body for body in later if body.kind not in (*ENDINGS, "adjusted"))
        yield f"a {strange.kind} entry ends no allocation"
        return
    endings = [body for body in later if body.kind in ENDINGS]
    adjustments = [body for body in later if body.kind == "adjusted"]
    if len(endings) > 1 or len(adjustments) > 1:
        yield "an allocation ends at most once, and is adjusted at most once"
        return
    if [body.seq for body in (opening, *endings, *adjustments)] != sorted({body.seq for body in (opening, *later)}):
        yield "the allocation ends before it is opened, or is adjusted before it has ended"
    for body in endings:
        yield from _check_ending(certificate, opening, body)
    for body in adjustments:
        yield from _check_adjustment(opening, endings, body)
    if certificate.standing != standing_of(opening, later):
        yield f"it says that the allocation is {certificate.standing}, which is not what its entries come to"


def standing_of(opening: Body, later: Sequence[Body]) -> str:
    """What the entries of an allocation come to."""
    kinds = {body.kind for body in later}
    if "adjusted" in kinds:
        return ADJUSTED
    if "voided" in kinds:
        return VOIDED
    count = _count(opening)
    return DIVIDED if any(body.steps is not None and body.steps != count for body in later) else STANDS


def _check_ending(certificate: Certificate, opening: Body, ending: Body) -> Iterator[str]:
    if opening.kind != "held" and (ending.kind != "committed" or ending.version > 2):
        yield f"only a hold can be {ending.kind}"
    over = opening.due_at is None or ending.at >= opening.due_at
    if ending.kind == "expired_spent" and not over:
        yield "the hold expired before its time had passed"
    if ending.kind == "voided":
        if over:
            yield "the hold was voided after its time had passed, when it counted as spent for good"
        yield from _check_taken(opening, ending, opening.charge, _on_dataset(opening))
    if ending.steps is not None:
        if over:
            yield "fewer repetitions were committed after the hold's time had passed, when it counted as spent for good"
        yield from _check_division(certificate, opening, ending, ending.steps)


def _check_taken(opening: Body, body: Body, charge: Costs | None, from_dataset: Costs | None) -> Iterator[str]:
    """Whether an entry takes back exactly this."""
    what = "void" if body.kind == "voided" else "adjustment"
    if body.charge != charge:
        yield f"the {what} takes out another charge than the allocation put in"
    if not _same_account(opening, body) or _on_dataset(body) != from_dataset:
        yield f"the {what} takes out another charge than the allocation put in on its data set"


def _check_adjustment(opening: Body, endings: Sequence[Body], body: Body) -> Iterator[str]:
    ending = endings[0] if endings else None
    if opening.kind == "held" and ending is None:
        yield "a hold was adjusted while it was open"
    if ending is not None and ending.kind == "voided":
        yield "what was voided was adjusted as well"
        return
    back = None if ending is None else ending.charge
    theirs = None if ending is None else _on_dataset(ending)
    yield from _check_taken(opening, body, _less(opening.charge, back), _less(_on_dataset(opening), theirs))


def _check_division(certificate: Certificate, opening: Body, ending: Body, steps: int) -> Iterator[str]:
    count = _count(opening)
    if count is None or steps > count:
        yield "steps were committed of an operation that does not consist of so many repetitions"
        return
    if not _same_account(opening, ending):
        yield "the commit gives back something on another data set than was charged"
        return
    given_back = [("tenant's", certificate.derivation, ending.charge)]
    if ending.account is not None and certificate.dataset is not None:
        given_back.append(("data set's", certificate.dataset.derivation, ending.account.charge))
    for whose, derivation, given in given_back:
        for step, (name, cost) in zip(derivation.premises, (given or {}).items(), strict=False):
            once = once_of(step.premises[0], opening)
            due = NOTHING if once is None else once.times(Fraction(count - steps))
            if cost not in (NOTHING, due):
                yield f"the {whose} {name} filter gave back another cost than that of the repetitions that were not run"


def division_of(certificate: Certificate, opening: Body, later: Sequence[Body]) -> Division | None:
    """What is left of an operation's (epsilon, delta) where part of it was given back; None where it stands whole."""
    count = _count(opening)
    for body in later:
        given = None if body.charge is None else body.charge.get("basic")
        if body.steps is not None and count is not None and given not in (None, NOTHING):
            once = once_of(certificate.pricing, opening)
            return None if once is None else Division(Fraction(count), Fraction(body.steps), once)
    return None


def once_of(pricing: Node, opening: Body) -> Cost | None:
    """What one repetition cost, where a step prices so many as the sum of what each cost; None where it does not.

    Only then does the number that is run matter to nobody: each was admitted as if it had been asked for by itself.
    """
    count = _count(opening)
    if count is None or pricing.rule != "self_composed":
        return None
    once = cost_in(pricing.premises[0])
    return once if once.times(Fraction(count)) == cost_in(pricing) else None


def _count(opening: Body) -> int | None:
    """Of how many repetitions the operation consists; None where it is no repetition."""
    event = opening.event
    return int(event.numbers["count"]) if event is not None and event.kind == "self_composed" else None


def _on_dataset(body: Body) -> Costs | None:
    """What an entry added to its data set, or took out; None where it touches none."""
    return None if body.account is None else body.account.charge


def _same_account(opening: Body, body: Body) -> bool:
    if opening.account is None or body.account is None:
        return opening.account is body.account
    same_members = opening.account.budget.kept() == body.account.budget.kept()
    return opening.account.name == body.account.name and same_members


def _less(whole: Costs | None, back: Costs | None) -> Costs | None:
    """What is left of a charge."""
    if whole is None or back is None or whole.keys() != back.keys():
        return whole
    return difference_of(whole, back)
