"""The whole check of one proof document, offline."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proofs.certificate import (
    DIVIDED,
    MAX_BYTES,
    STANDS,
    Certificate,
    ChainEntry,
    MalformedError,
    Node,
    ProofBundle,
    Window,
    dataset_guarantee,
    parse_bundle,
    parse_json,
    quoted,
    tenant_guarantee,
)
from proofs.checker.admission import Division, check_admission, check_composition
from proofs.checker.body import OPENINGS, Body, moment_text, read_body
from proofs.checker.canonical import canonical_json
from proofs.checker.chain import check_links
from proofs.checker.datasets import Account
from proofs.checker.facts import Findings, facts_of
from proofs.checker.kernel import check_work
from proofs.checker.lives import check_life, division_of
from proofs.checker.log import check_places, read_head
from proofs.checker.signature import check_signature, thumbprint
from proofs.checker.statements import check_statement
from proofs.checker.subject import check_subject
from proofs.checker.values import Cost, number

MAX_VALUES = 8_000_000
"""How many values the largest document may have, counted roughly: empty lists would take thirty times their text."""
Keys = Sequence[Mapping[str, Any]]
Bodies = Mapping[ChainEntry, Body]
Registrations = Mapping[str, Sequence[Body]]
"""The entries that registered each data set, in order of position."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check.

    Attributes:
        valid: Whether everything holds.
        reasons: What does not hold, in plain words, with the certificate it stands in; empty where valid.
        facts: What was checked, and what the proof rests on all the same.
        tenant_id: Whose budget, None where not valid.
        kind: What the document is about, one of `proofs.certificate.SUBJECTS`; None where not valid.
        name: Which of them; None where not valid.
        epsilon: The total as a decimal, None where not valid.
        delta: The total as a decimal, None where not valid.
    """

    valid: bool
    reasons: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    tenant_id: str | None = None
    kind: str | None = None
    name: str | None = None
    epsilon: str | None = None
    delta: str | None = None


def verify_document(text: str | bytes, trusted_keys: Keys | None = None, operator_keys: Keys | None = None) -> Report:
    """Checks a proof document: signatures, derivations, hashes, links, places in the log, and sums: every one.

    Never raises on a document, whatever it holds.

    Args:
        text: The document, as JSON.
        trusted_keys: Public keys (JWKs) that the caller trusts, such as those under /.well-known/jwks.json. If given,
            the document must be signed by one of them, and so must the head of the log in it; if not, the keys that
            came with the document are used, which shows that the document is whole but not whose it is.
        operator_keys: Public keys of the operators. If given, statements that took charges back must be signed by one
            of them; if not, they are not checked, and the report says so.

    Returns:
        The report.
    """
    try:
        return _verify(text, trusted_keys, operator_keys)
    except MalformedError as error:
        return Report(valid=False, reasons=[str(error)])
    except Exception as error:
        # The kernel means to foresee everything. Should it not, a document that breaks it has proved nothing.
        return Report(valid=False, reasons=[f"the check could not be completed: {type(error).__name__}"])


def _verify(text: str | bytes, trusted_keys: Keys | None, operator_keys: Keys | None) -> Report:
    document = parse_json(_decoded(text))
    bundle = parse_bundle(document)
    reasons = list(check_work(list(bundle.derivations())))
    if reasons:
        return Report(valid=False, reasons=reasons)
    signer, publisher, head = "", "", None
    try:
        assert isinstance(document, dict)
        signed = {name: value for name, value in document.items() if name != "signature"}
        kid = check_signature(bundle.signature, canonical_json(signed), bundle.keys)
        signer = _whose(kid, trusted_keys, "proofs")
    except MalformedError as error:
        reasons.append(f"signature: {error}")
    try:
        head = None if bundle.log is None else read_head(bundle.log)
        publisher = "" if head is None else _whose(head.kid, trusted_keys, "heads")
    except MalformedError as error:
        reasons.append(f"head of the log: {error}")
    bodies: dict[ChainEntry, Body] = {}
    for entry in bundle.entries():
        try:
            bodies[entry] = read_body(entry)
        except MalformedError as error:
            reasons.append(f"entry at position {entry.seq}: {error}")
    # An entry that stands in the document twice is here twice, and refused for it.
    ordered = [bodies[entry] for entry in bundle.entries() if entry in bodies]
    operators: list[str] = []
    for body in ordered:
        if body.tenant_id != bundle.tenant_id:
            reasons.append(f"entry at position {body.seq}: belongs to another tenant, {quoted(body.tenant_id)}")
        if body.statement is not None and operator_keys is not None:
            try:
                operators.append(check_statement(body, operator_keys))
            except MalformedError as error:
                reasons.append(f"entry at position {body.seq}: {error}")
    registrations = sorted([bodies[entry] for entry in bundle.registrations if entry in bodies], key=lambda b: b.seq)
    reasons += _check_registrations(registrations)
    by_dataset: dict[str, list[Body]] = {}
    for body in registrations:
        if body.account is not None:
            by_dataset.setdefault(body.account.dataset_id, []).append(body)
    for at, certificate in enumerate(bundle.certificates, start=1):
        name = f"certificate {at} (position {certificate.entry.seq})"
        found = _check_certificate(certificate, bodies, by_dataset)
        reasons += [f"{name}: {reason}" for reason in found]
    reasons += check_subject(bundle, bodies)
    reasons += check_links(ordered)
    reasons += check_places(head, bundle.entries())
    reasons += _check_total(bundle, bodies)
    if reasons:
        return Report(valid=False, reasons=reasons)
    findings = Findings(signer, head, publisher, ordered, None if operator_keys is None else operators)
    facts = list(facts_of(bundle, findings))
    return Report(
        True, [], facts, bundle.tenant_id, bundle.subject.kind, bundle.subject.name, bundle.epsilon, bundle.delta
    )


def _decoded(text: str | bytes) -> str:
    # A character has at least one byte, so text that is too long in characters need not be encoded to be refused.
    if len(text) > MAX_BYTES or (isinstance(text, str) and len(text.encode("utf-8", "replace")) > MAX_BYTES):
        raise MalformedError(f"the document is larger than {MAX_BYTES // 2**20} MiB")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedError(f"the document is not UTF-8 text: byte {error.start} is wrong") from None
    if sum(text.count(mark) for mark in "[{,") > MAX_VALUES:
        raise MalformedError(f"the document has more than {MAX_VALUES} values, more than any proof of that size")
    return text


def _whose(kid: str, trusted_keys: Keys | None, purpose: str) -> str:
    """Whose key it is, in words.

    Raises:
        MalformedError: If keys are trusted, and it is none of them, or one that signs something else.
    """
    if trusted_keys is None:
        return f"the key {kid}, which came with the proof"
    if kid not in _thumbprints([key for key in trusted_keys if key.get("purpose", purpose) == purpose]):
        raise MalformedError(f"made by the key {kid}, which is not among the trusted keys for {purpose}")
    return f"the trusted key {kid}"


def _thumbprints(keys: Keys) -> Iterator[str]:
    for key in keys:
        try:
            yield thumbprint(key)
        except MalformedError:
            continue  # A key set may hold keys of other kinds; they sign no proofs.


def _check_certificate(certificate: Certificate, bodies: Bodies, registrations: Registrations) -> Iterator[str]:
    opening = bodies.get(certificate.entry)
    if opening is None:
        return  # The entry itself was refused, and said why.
    if opening.kind not in OPENINGS or opening.event is None or opening.charge is None:
        yield f"a {opening.kind} entry opens no allocation"
        return
    later = [bodies[entry] for entry in certificate.later if entry in bodies]
    for body in (opening, *later):
        if body.allocation_id != certificate.allocation_id:
            yield f"the entry at position {body.seq} belongs to another allocation, {quoted(body.allocation_id)}"
        if body.budget.kept() != opening.budget.kept():
            yield f"the entry at position {body.seq} has other member filters than the charge"
            return
    if Cost(number(certificate.epsilon), number(certificate.delta)) != opening.charge["basic"]:
        yield "the claim is not what the ledger charged"
    yield from _check_scope(certificate, opening)
    yield from check_admission(certificate.derivation, opening.charge, opening.spent, opening.budget, opening.event)
    yield from _check_dataset(certificate, opening, registrations)
    yield from check_life(certificate, opening, later)


def _check_scope(certificate: Certificate, opening: Body) -> Iterator[str]:
    """Whether the certificate promises what a budget of the ledger's kind does: for all time, or for one window."""
    derivation, window = certificate.derivation, None
    if opening.renewal_days is not None and opening.period_end is not None:
        window = Window(opening.renewal_days, moment_text(opening.period_start), moment_text(opening.period_end))
    if certificate.guarantee != tenant_guarantee(window):
        yield "the guarantee is not that of the budget, in the words of the format"
    if derivation.rule != ("composed_filter" if window is None else "window_filter"):
        yield f"the rule {derivation.rule} does not fit the budget"
    elif window is not None and opening.lifetime["basic"] != Cost(
        number(derivation.numbers["lifetime_epsilon"]), number(derivation.numbers["lifetime_delta"])
    ):
        yield "the sum over all windows is not the ledger's"


def _check_registrations(registrations: Sequence[Body]) -> Iterator[str]:
    """Whether the registrations, in order of position, are such, and those of one data set extend each other."""
    known: dict[str, Account] = {}
    for body in registrations:
        account = body.account
        if account is None or account.registration is None:
            yield f"entry at position {body.seq}: registers no data set"
            continue
        before = known.get(account.dataset_id)
        if before is not None and before.registration is not None:
            same_members = account.budget.kept() == before.budget.kept()
            if not same_members or not account.budget.covers(before.budget):
                yield f"entry at position {body.seq}: lowers the data set's budget, or has other member filters"
            if not account.registration.extends(before.registration):
                yield f"entry at position {body.seq}: registers the data set anew with other people in it"
        known[account.dataset_id] = account


def _check_dataset(certificate: Certificate, opening: Body, registrations: Registrations) -> Iterator[str]:
    account, proof = opening.account, certificate.dataset
    if account is None or proof is None or opening.event is None:
        if account is not None or proof is not None:
            yield "it proves the charge on a data set that the ledger did not charge, or leaves out one that it did"
        return
    known = registrations.get(account.dataset_id, [])
    before = bisect_left(known, opening.seq, key=lambda body: body.seq)
    registered = known[before - 1].account if before else None
    if registered is None or registered.registration is None:
        yield "the registration of its data set is not in the document"
        return
    registration = registered.registration
    if account.partition is not None and account.partition not in registration.partitions:
        yield "the partition that it charged was not registered"
    if account.budget.kept() != registered.budget.kept() or not account.budget.covers(registered.budget):
        yield "the data set's budget is not the one that was registered"
        return
    if registration.refuses(opening.event, account.partition):
        yield "the operation is meant for other neighbours, or another unit, than the data set is registered with"
    words = dataset_guarantee(account.dataset_id, account.partition, registration.unit, registration.adjacency)
    if proof.guarantee != words:
        yield "the guarantee is not that of the data set, in the words of the format"
    assert account.charge is not None
    assert account.exposed is not None
    for member, exposed in account.exposed.items():
        if not account.spent[member].within(exposed):
            yield f"data set: the {member} filter counts less than was charged on the part alone"
    reasons = check_admission(proof.derivation, account.charge, account.exposed, account.budget, opening.event)
    yield from (f"data set: {reason}" for reason in reasons)


def _check_total(bundle: ProofBundle, bodies: Bodies) -> Iterator[str]:
    times = Counter(certificate.allocation_id for certificate in bundle.certificates)
    for allocation_id, count in times.items():
        if count > 1:
            yield f"total: the allocation {quoted(allocation_id)} has {count} certificates"
    standing: list[tuple[Node, Division | None]] = []
    if bundle.plan is not None:
        standing.append((bundle.plan.derivation, None))
    for item in bundle.certificates:
        if item.standing in (STANDS, DIVIDED):
            later = [bodies[entry] for entry in item.later if entry in bodies]
            opening = bodies.get(item.entry)
            standing.append((item.pricing, None if opening is None else division_of(item, opening, later)))
    for reason in check_composition(bundle.composition, standing):
        yield f"total: {reason}"
    numbers = bundle.composition.numbers
    if (bundle.epsilon, bundle.delta) != (numbers["epsilon"], numbers["delta"]):
        yield "total: the stated total is not the one derived"
