"""What a valid document shows, and what it rests on all the same, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from proofs.certificate import ADJUSTED, DIVIDED, VOIDED, ProofBundle
from proofs.checker.body import Body
from proofs.checker.chain import linked
from proofs.checker.kernel import cost_in
from proofs.checker.log import Head, place_facts
from proofs.checker.values import total

_CLAIMS = frozenset({"claim", "zcdp"})
"""The rules that take an engine's word for a cost."""
_COMPUTED = frozenset({"accountant", "accountant_bounded"})
"""The rules that take the service's."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found beside the document itself.

    Attributes:
        signer: Whose key signed the document, in words.
        head: The head of the log; None where the document has none.
        publisher: Whose key signed the head, in words.
        bodies: All entries, in order of position.
        operators: Kids of the operators who signed adjustments; None where nobody gave their keys.
    """

    signer: str
    head: Head | None
    publisher: str
    bodies: Sequence[Body]
    operators: Sequence[str] | None


def facts_of(bundle: ProofBundle, found: Findings) -> Iterator[str]:
    """The facts of a valid document, the signature's first."""
    yield f"signed by {found.signer}{_compare(found.signer)}"
    yield from _rests_on(bundle)
    if bundle.plan is not None:
        yield "nothing was charged: the document says what the plan would cost as one operation, fixed in advance"
        return
    yield from _taken_back(bundle, found)
    count, links = len(found.bodies), linked(found.bodies)
    yield f"ledger entries: {count}; every hash recomputed, {links} linked to the entry before them"
    if links < count:
        yield "where the entry before is not in the document, the balance before the charge rests on the signature"
    entries = [entry for item in bundle.certificates for entry in (item.entry, *item.later)]
    yield from place_facts(found.head, found.publisher, sorted(entries, key=lambda entry: entry.seq))
    yield _whole(bundle)


def _whole(bundle: ProofBundle) -> str:
    match bundle.subject.kind:
        case "job":
            return "that the job has no other allocations than these rests on the signature"
        case "allocation":
            return "the document is about one allocation, and says nothing of others"
        case _:
            last = bundle.entries()[-1].seq
            return f"the history is whole up to position {last}; that it ends there rests on the signature"


def _compare(whose: str) -> str:
    if "which came with" not in whose:
        return ""
    return ": compare it with the one that the service publishes at /.well-known/jwks.json"


def _rests_on(bundle: ProofBundle) -> Iterator[str]:
    proved = [item.derivations() for item in bundle.certificates]
    if bundle.plan is not None:
        proved.append((bundle.plan.derivation,))
    rules = [{step.rule for derivation in roots for step in derivation.steps()} for roots in proved]
    claimed = sum(not used.isdisjoint(_CLAIMS) for used in rules)
    computed = sum(not used.isdisjoint(_COMPUTED) for used in rules)
    derived = sum(used.isdisjoint(_CLAIMS | _COMPUTED) for used in rules)
    if bundle.plan is None:
        yield (
            f"allocations: {len(bundle.certificates)}; every derivation checked again, every charge admitted while a "
            "member filter held"
        )
    if claimed:
        yield f"rests on the engine's own claim, taken on its word: {claimed} of them"
    if computed:
        yield (
            "rests on an epsilon that two accountants in the service computed, taken on the service's word and not "
            f"derived in this document: {computed} of them"
        )
        yield from _derived_instead(bundle)
    if derived:
        yield (
            "follows from the noise and the sensitivity that the ledger recorded, the sensitivity being the engine's "
            f"statement: {derived} of them"
        )
    windows = sum("window_filter" in used for used in rules)
    if windows:
        yield f"admitted to the budget of one window, and nothing is promised over all windows: {windows} of them"
    on_datasets = sum(item.dataset is not None for item in bundle.certificates)
    if on_datasets:
        yield (
            "admitted to the budget of a data set as well; that the charges on its other parts were no larger rests on "
            f"the signature, and is derived by the audit of the ledger: {on_datasets} of them"
        )


def _derived_instead(bundle: ProofBundle) -> Iterator[str]:
    """The total without the accountants' word, where something larger is derived for each of them."""
    premises = bundle.composition.premises
    if all(step.rule != "accountant" for step in premises):
        trusted = [step.premises[0] if step.rule == "accountant_bounded" else step for step in premises]
        cost = total([cost_in(step) for step in trusted])
        yield f"without these accountants' word, what is derived sums to epsilon {_decimal(cost.amount)}"


def _decimal(value: Fraction) -> str:
    """A sum of decimals as one."""
    return format((Decimal(value.numerator) / Decimal(value.denominator)).normalize(), "f")


def _taken_back(bundle: ProofBundle, found: Findings) -> Iterator[str]:
    standings = [item.standing for item in bundle.certificates]
    voided, divided, adjusted = (standings.count(standing) for standing in (VOIDED, DIVIDED, ADJUSTED))
    if voided:
        yield f"voided on the engine's statement that no data was read, and so counted as 0: {voided} of them"
    if divided:
        yield (
            "committed for fewer repetitions than were held, on the engine's statement of how many were run, and "
            f"counted for these where each was charged by itself: {divided} of them"
        )
    if adjusted:
        who = "whose signature was not checked, since no operator's key was given"
        if found.operators is not None:
            who = f"whose signature was checked ({', '.join(sorted(set(found.operators)))})"
        yield (
            "taken back on an operator's statement that nothing was released, and so counted as 0: "
            f"{adjusted} of them; {who}"
        )
