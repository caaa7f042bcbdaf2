"""From a proof to the document that people read: the claim, the derivations, the chain, the log, what to trust."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from proofs.certificate import (
    ALLOCATION,
    CURRENCIES,
    DIVIDED,
    HISTORY,
    JOB,
    PLAN,
    STANDS,
    Certificate,
    ChainEntry,
    Node,
    ProofBundle,
    parse_bundle,
)
from proofs.render import prose
from proofs.render.document import (
    Block,
    Column,
    Display,
    Document,
    Foreign,
    Items,
    Line,
    Math,
    Paragraph,
    Row,
    Section,
    Table,
    Text,
    blocks,
    line,
)
from proofs.render.numbers import SYMBOLS, amount, costs, equals, given
from proofs.render.sections import SECTIONS

_INSTANCES = 20
"""So many different instances of a rule are written out; the rest are left to the JSON document."""
_OPERATIONS = 100
"""So many allocations are listed."""
_ROWS = 500
"""So many rows of the chain are shown."""

_SUBJECTS = {JOB: "job", ALLOCATION: "allocation", HISTORY: "the whole history", PLAN: "plan"}
_MEMBERS = {"epsilon": "basic", "renyi": "Rényi", "rho": "zCDP", "mu_squared": "Gaussian DP"}
"""What the filter that counts in a currency is called."""
_Words = tuple[tuple[str, str], ...]
"""Terms of a promise, with what each says."""
_NOTHING: tuple[Line, ...] = ((),)


def document_of(bundle: Mapping[str, Any]) -> Document:
    """The document that shows a proof to people.

    Args:
        bundle: A proof as `proofs.prover` returns it, or the JSON of one, parsed.

    Raises:
        proofs.certificate.MalformedError: If it is not a proof. Whether it is a right one is not looked at.
    """
    proof = parse_bundle(bundle)
    sections = [_claim(proof), *_derivations(proof)]
    if proof.certificates:
        sections += [_chain(proof), _log(proof)]
    return Document("Proof of privacy loss", tuple(_subtitle(proof)), (*sections, _trust(proof)))


def _subtitle(proof: ProofBundle) -> Iterator[Text | Foreign]:
    yield Text(_SUBJECTS[proof.subject.kind])
    if proof.subject.kind != HISTORY:
        yield Text(" ")
        yield Foreign(proof.subject.name)
    yield Text(" of tenant ")
    yield Foreign(proof.tenant_id)


def _claim(proof: ProofBundle) -> Section:
    numbers = Display((rf"\varepsilon {equals(proof.epsilon)}, \qquad \delta {equals(proof.delta)}.",))
    if proof.plan is not None:
        found: list[Block] = [Paragraph(line("If this plan is run, it costs at most")), numbers]
        return Section(line("Claim"), (*found, *blocks(prose.PLANNED), *blocks(prose.SHORTENED)))
    counts = Counter(certificate.standing for certificate in proof.certificates)
    standing = ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())) or "none"
    told = f"Allocations: {len(proof.certificates)} ({standing}). What is left of them has cost, in sum,"
    found = [Paragraph(line(told)), numbers, *blocks(prose.MEANING), *_guarantees(proof)]
    if proof.certificates:
        found += _operations(proof)
    return Section(line("Claim"), (*found, *blocks(prose.SHORTENED)))


def _guarantees(proof: ProofBundle) -> Iterator[Block]:
    """What each budget that was charged promises, with the positions of the charges; equal words are written once."""
    found: dict[tuple[str, _Words], dict[str, list[int]]] = {}
    for certificate in proof.certificates:
        promises = [("The tenant's budget promises:", certificate.guarantee)]
        if certificate.dataset is not None:
            promises.append(("The data set's budget promises:", certificate.dataset.guarantee))
        for promised, promise in promises:
            words = tuple((name, text) for name, text in promise.items() if name != "scope")
            scopes = found.setdefault((promised, words), {})
            scopes.setdefault(promise["scope"], []).append(certificate.entry.seq)
    scopes_left = _INSTANCES
    for (promised, words), scopes in found.items():
        if scopes_left > 0:
            items = [_term("scope", scope, positions) for scope, positions in list(scopes.items())[:scopes_left]]
            yield Paragraph(line(promised))
            yield Items((*items, *(_term(name, text) for name, text in words)))
        scopes_left -= len(scopes)
    if scopes_left < 0:
        yield Paragraph(line(f"{-scopes_left} more promises are in the JSON document."))


def _term(name: str, text: str, positions: Sequence[int] = ()) -> Line:
    told = (Text(f"{name.replace('_', ' ')}: ", strong=True), Foreign(text, longest=1000, code=False))
    if not positions:
        return told
    more = f" and {len(positions) - _INSTANCES} more" if len(positions) > _INSTANCES else ""
    return (*told, Text(f" (charged at position {', '.join(map(str, positions[:_INSTANCES]))}{more})"))


def _operations(proof: ProofBundle) -> Iterator[Block]:
    """What was done, one row for each allocation."""
    left = dict(_left(proof))
    heads = (Column(line("position")), Column(line("operation"), share=1), Column(line(r"$\varepsilon$")))
    rows = tuple(
        Row(
            (
                (line(str(certificate.entry.seq)),),
                (_operation(certificate),),
                ((Math(amount(certificate.epsilon)),),),
                ((Math(amount(certificate.delta)),),),
                (line(certificate.standing), *left.get(certificate.allocation_id, ())),
            )
        )
        for certificate in proof.certificates[:_OPERATIONS]
    )
    yield Paragraph(line("What was charged:"))
    yield Table((*heads, Column(line(r"$\delta$")), Column(line("standing"))), rows)
    if len(proof.certificates) > _OPERATIONS:
        yield Paragraph(line(f"{len(proof.certificates) - _OPERATIONS} more allocations are in the JSON document."))


def _left(proof: ProofBundle) -> Iterator[tuple[str, tuple[Line, Line]]]:
    """What is left of the allocations that were divided, by their ids."""
    standing = [certificate for certificate in proof.certificates if certificate.standing in (STANDS, DIVIDED)]
    for certificate, step in zip(standing, proof.composition.premises, strict=False):
        if step.rule == "divided":
            run = line(f"{step.numbers['steps']} of {step.numbers['count']} run,")
            yield certificate.allocation_id, (run, (*_listed([list(costs(step))]), Text(" left")))


def _operation(certificate: Certificate) -> Line:
    """What an operation was, by the first member filter whose pricing tells more than that the service computed it."""
    told = (_told(member.premises[0]) for member in certificate.derivation.premises)
    return next((words for words in told if words), SECTIONS["accountant"].heading)


def _told(pricing: Node) -> Line:
    """What is priced, in the words of the rules; nothing where it is the accountants' word alone."""
    if pricing.rule == "accountant":
        return ()
    if "_to_" in pricing.rule or pricing.rule == "accountant_bounded":
        return _told(pricing.premises[0])
    if pricing.rule == "self_composed":
        part = _told(pricing.premises[0])
        return (*part, Text(f"; {pricing.numbers['count']} times")) if part else ()
    title = SECTIONS[pricing.rule].heading
    if pricing.premises:
        return (*title, Text(f": {len(pricing.premises)}"))
    numbers = _listed([given(pricing)])
    return (*title, Text(": "), *numbers) if numbers else title


def _derivations(proof: ProofBundle) -> Iterator[Section]:
    # Equal steps are written once: a dictionary keeps the first of each, in order.
    found: dict[str, dict[tuple[object, ...], Node]] = {}
    for derivation in proof.derivations():
        for step in derivation.steps():
            key = (step.currency, *sorted(step.numbers.items()))
            found.setdefault(step.rule, {}).setdefault(key, step)
    for rule, shown in SECTIONS.items():
        steps = list(found.get(rule, {}).values())
        if not steps:
            continue
        yield Section(shown.heading, (*shown.blocks(), *_instances(steps)))


def _instances(steps: Sequence[Node]) -> Iterator[Block]:
    """What steps of one rule say, in numbers: what each was given, and what it concludes in any currency."""
    found: dict[tuple[str, ...], dict[tuple[object, ...], tuple[str, ...]]] = {}
    for step in steps:
        # The same cost may be there as a fraction and as a decimal.
        amounts = (step.currency, *(Fraction(step.numbers[name]) for name in CURRENCIES[step.currency].numbers))
        found.setdefault(tuple(given(step)), {}).setdefault(amounts, tuple(costs(step)))
    rows = [Row(((_listed([before]),), (_listed(follows.values()),))) for before, follows in found.items()]
    if not all(found):
        stated = [Row(((_listed([cost]),),)) for follows in found.values() for cost in follows.values()]
        yield Table((Column(line("here"), share=1),), tuple(stated[:_INSTANCES]))
        rows = stated
    else:
        yield Table((Column(line("given here"), share=2), Column(line("follows"), share=3)), tuple(rows[:_INSTANCES]))
    if len(rows) > _INSTANCES:
        yield Paragraph(line(f"and {len(rows) - _INSTANCES} more, in the JSON document."))


def _listed(costs: Iterable[Sequence[str]]) -> Line:
    found: list[Text | Math] = []
    for equations in costs:
        for number, equation in enumerate(equations):
            if found:
                found.append(Text(", " if number else "; "))
            found.append(Math(equation))
    return tuple(found)


def _chain(proof: ProofBundle) -> Section:
    title = line("Balance and place in the ledger")
    heads = ("position", "hash", "budget", "counts", "before", "charge", "after", "cap")
    rows = [row for certificate in proof.certificates for row in _rows(certificate)]
    found: list[Block] = [*blocks(prose.FILTER), *blocks(prose.CHAIN)]
    found.append(Table(tuple(Column(line(head)) for head in heads), tuple(rows[:_ROWS])))
    if len(rows) > _ROWS:
        found.append(Paragraph(line(f"{len(rows) - _ROWS} more rows are in the JSON document.")))
    return Section(title, tuple(found))


def _rows(certificate: Certificate) -> Iterator[Row]:
    balances = [
        (line("data set" if derivation.rule == "dataset_filter" else "tenant") if number == 0 else (), step)
        for derivation in certificate.derivations()
        for number, step in enumerate(derivation.premises)
    ]
    position, told = _place(certificate.entry, certificate.standing)
    for number, (budget, step) in enumerate(balances):
        # What is told of the position stands beside the next balance, and below it where there is none.
        beside = (position, told)[number : number + 1] if len(balances) > 1 else (position, told)
        place = tuple(tuple(lines) for lines in zip(*beside, strict=True)) or (_NOTHING, _NOTHING)
        yield Row((*place, (budget,), *_balance(step)), begins=number == 0)
    for later in certificate.later:
        lines = zip(*_place(later, f"ends {certificate.entry.seq}"), strict=True)
        yield Row((*(tuple(cell) for cell in lines), *[_NOTHING] * 6), begins=True)


def _place(entry: ChainEntry, told: str) -> tuple[tuple[Line, Line], tuple[Line, Line]]:
    """Two lines of two cells: an entry's position and hash; what is told of it, and its place in the log."""
    logged: Line = line(f"log {entry.inclusion.position}") if entry.inclusion is not None else ()
    return (line(str(entry.seq)), (Foreign(entry.hash, longest=15),)), (line(told), logged)


def _balance(step: Node) -> Iterator[tuple[Line, ...]]:
    """What a member counted, in five cells: of its currency, and in a second line of delta unless that stays 0."""
    parts = [step.currency] if step.numbers["after_delta"] == "0" else [step.currency, "delta"]
    member = _MEMBERS[step.currency] + ("" if _holds(step) else "*") + " "
    yield tuple(line(f"{member if number == 0 else ''}${SYMBOLS[part]}$") for number, part in enumerate(parts))
    for column in ("before", "charge", "after", "cap"):
        yield tuple((Math(amount(step.numbers[f"{column}_{part}"])),) for part in parts)


def _holds(step: Node) -> bool:
    return all(
        Fraction(step.numbers[f"after_{part}"]) <= Fraction(step.numbers[f"cap_{part}"])
        for part in (step.currency, "delta")
    )


def _log(proof: ProofBundle) -> Section:
    title, words = line("Place in the log"), blocks(prose.LOG)
    if proof.log is None:
        return Section(title, (*words, Paragraph(line("This document has no head of the log."))))
    entries = [entry for certificate in proof.certificates for entry in (certificate.entry, *certificate.later)]
    logged = sum(entry.inclusion is not None for entry in entries)
    told = f"Entries in the log: {logged} of {len(entries)}; the table has their places. "
    head = line(told + "The head is signed with the key ")
    return Section(title, (*words, Paragraph((*head, Foreign(proof.log.key["kid"]), Text(".")))))


def _trust(proof: ProofBundle) -> Section:
    signed: list[Text | Foreign] = [Text("Signed with the key ")]
    for number, key in enumerate(proof.keys):
        signed += [Text(", "), Foreign(key["kid"])] if number else [Foreign(key["kid"])]
    signed.append(Text(". Written by "))
    for number, (name, version) in enumerate(sorted(proof.software.items())):
        signed += [Text(", ")] if number else []
        signed += [Foreign(name, code=False), Text(" "), Foreign(version, code=False)]
    signed.append(Text("."))
    items = Items(tuple(line(item) for item in prose.TRUST))
    return Section(line("What to trust"), (items, *blocks(prose.CHECKED), Paragraph(tuple(signed))))
