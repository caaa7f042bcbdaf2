"""The whole check of one proof document, offline."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import rfc8785

from proofs.certificate import (
    MAX_BYTES,
    STANDS,
    VOIDED,
    Certificate,
    ChainEntry,
    MalformedError,
    ProofBundle,
    parse_bundle,
    parse_json,
    quoted,
)
from proofs.checker.chain import OPENINGS, Body, check_links, linked, read_body
from proofs.checker.kernel import check_admission, check_composition, check_work
from proofs.checker.signature import check_signature, thumbprint
from proofs.checker.values import Cost


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a check.

    Attributes:
        valid: Whether everything holds.
        reasons: What does not hold, in plain words, with the certificate it stands in; empty where valid.
        facts: What was checked, and what the proof rests on all the same.
        tenant_id: Whose budget, None where not valid.
        job_id: The job, None where not valid.
        epsilon: The job's total as a decimal, None where not valid.
        delta: The job's total as a decimal, None where not valid.
    """

    valid: bool
    reasons: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    tenant_id: str | None = None
    job_id: str | None = None
    epsilon: str | None = None
    delta: str | None = None


def verify_document(text: str | bytes, trusted_keys: Sequence[Mapping[str, Any]] | None = None) -> Report:
    """Checks a proof document: its signature, every derivation, every hash and link, every sum.

    Never raises on a document, whatever it holds.

    Args:
        text: The document, as JSON.
        trusted_keys: Public keys (JWKs) that the caller trusts, such as those under /.well-known/jwks.json. If given,
            the document must be signed by one of them; if not, the key that came with the document is used, which
            shows that the document is whole but not whose it is.

    Returns:
        The report.
    """
    try:
        return _verify(text, trusted_keys)
    except MalformedError as error:
        return Report(valid=False, reasons=[str(error)])
    except Exception as error:
        # The kernel means to foresee everything. Should it not, a document that breaks it has proved nothing.
        return Report(valid=False, reasons=[f"the check could not be completed: {type(error).__name__}"])


def _verify(text: str | bytes, trusted_keys: Sequence[Mapping[str, Any]] | None) -> Report:
    bundle = parse_bundle(parse_json(_decoded(text)))
    reasons = list(check_work([certificate.derivation for certificate in bundle.certificates]))
    if reasons:
        return Report(valid=False, reasons=reasons)
    facts: list[str] = []
    try:
        facts.append(_check_signer(bundle, trusted_keys))
    except MalformedError as error:
        reasons.append(f"signature: {error}")
    bodies: dict[ChainEntry, Body] = {}
    for entry in bundle.entries():
        try:
            body = read_body(entry)
        except MalformedError as error:
            reasons.append(f"entry at position {entry.seq}: {error}")
            continue
        bodies[entry] = body
        if body.tenant_id != bundle.tenant_id:
            reasons.append(f"entry at position {entry.seq}: belongs to another tenant, {quoted(body.tenant_id)}")
    for number, certificate in enumerate(bundle.certificates, start=1):
        name = f"certificate {number} (position {certificate.entry.seq})"
        reasons += [f"{name}: {reason}" for reason in _check_certificate(certificate, bundle.job_id, bodies)]
    # An entry that stands in the document twice is here twice, and refused for it.
    ordered = [bodies[entry] for entry in bundle.entries() if entry in bodies]
    reasons += check_links(ordered)
    reasons += _check_total(bundle)
    if reasons:
        return Report(valid=False, reasons=reasons)
    facts += _facts(bundle, ordered)
    return Report(True, [], facts, bundle.tenant_id, bundle.job_id, bundle.epsilon, bundle.delta)


_CLAIMS = frozenset({"claim", "zcdp"})
"""The rules that take an engine's word for a cost."""


def _decoded(text: str | bytes) -> str:
    # A character has at least one byte, so text that is too long in characters need not be encoded to be refused.
    if len(text) > MAX_BYTES or (isinstance(text, str) and len(text.encode("utf-8", "replace")) > MAX_BYTES):
        raise MalformedError(f"the document is larger than {MAX_BYTES // 2**20} MiB")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"the document is not UTF-8 text: byte {error.start} is wrong") from None


def _check_signer(bundle: ProofBundle, trusted_keys: Sequence[Mapping[str, Any]] | None) -> str:
    # The parser admits no member that it does not keep, so this is everything in the document but the signature.
    kid = check_signature(bundle.signature, rfc8785.dumps(bundle.unsigned()), bundle.keys)
    if trusted_keys is None:
        return (
            f"signed by the key {kid}, which came with the proof: compare it with the one that the service publishes "
            "at /.well-known/jwks.json"
        )
    if kid not in _thumbprints(trusted_keys):
        raise MalformedError(f"made by the key {kid}, which is not among the trusted keys")
    return f"signed by the trusted key {kid}"


def _thumbprints(keys: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for key in keys:
        try:
            yield thumbprint(key)
        except MalformedError:
            continue  # A key set may hold keys of other kinds; they sign no proofs.


def _check_certificate(certificate: Certificate, job_id: str, bodies: Mapping[ChainEntry, Body]) -> Iterator[str]:
    opening = bodies.get(certificate.entry)
    if opening is None:
        return  # The entry itself was refused, and said why.
    if opening.kind not in OPENINGS or opening.event is None:
        yield f"a {opening.kind} entry opens no allocation"
        return
    yield from _check_belongs(opening, certificate, job_id)
    if Cost(Fraction(certificate.epsilon), Fraction(certificate.delta)) != opening.charge["basic"]:
        yield "the claim is not what the ledger charged"
    yield from check_admission(certificate.derivation, opening.charge, opening.spent, opening.budget, opening.event)
    yield from _check_later(certificate, opening, job_id, bodies)


def _check_later(
    certificate: Certificate, opening: Body, job_id: str, bodies: Mapping[ChainEntry, Body]
) -> Iterator[str]:
    later = [bodies[entry] for entry in certificate.later if entry in bodies]
    if len(certificate.later) > 1:
        yield "an allocation ends at most once"
    for body in later:
        yield from _check_belongs(body, certificate, job_id)
        if body.kind not in ("committed", "voided"):
            yield f"a {body.kind} entry ends no allocation"
        if body.seq <= opening.seq:
            yield "the allocation ends before it is opened"
        if body.kind == "voided" and opening.kind != "held":
            yield "only a hold can be voided"
        # Compared in seconds: a sum with a hostile time to live could leave the calendar.
        if body.kind == "voided" and (body.at - opening.at).total_seconds() >= opening.ttl_seconds:
            yield "the hold was voided after its time had run out, when it counted as spent for good"
        if body.kind == "voided" and body.charge != opening.charge:
            yield "the void takes out another charge than the hold put in"
    if (certificate.standing == VOIDED) != any(body.kind == "voided" for body in later):
        yield "it says that it was voided without showing the void, or the other way round"


def _check_belongs(body: Body, certificate: Certificate, job_id: str) -> Iterator[str]:
    if body.job_id != job_id:
        yield f"the entry at position {body.seq} belongs to another job, {quoted(body.job_id)}"
    if body.allocation_id != certificate.allocation_id:
        yield f"the entry at position {body.seq} belongs to another allocation, {quoted(body.allocation_id)}"


def _check_total(bundle: ProofBundle) -> Iterator[str]:
    times = Counter(certificate.allocation_id for certificate in bundle.certificates)
    for allocation_id, count in times.items():
        if count > 1:
            yield f"total: the allocation {quoted(allocation_id)} has {count} certificates"
    standing = [item.pricing for item in bundle.certificates if item.standing == STANDS]
    for reason in check_composition(bundle.composition, standing):
        yield f"total: {reason}"
    numbers = bundle.composition.numbers
    if (bundle.epsilon, bundle.delta) != (numbers["epsilon"], numbers["delta"]):
        yield "total: the stated total is not the one derived"


def _facts(bundle: ProofBundle, bodies: Sequence[Body]) -> Iterator[str]:
    rules = [{step.rule for step in certificate.derivation.steps()} for certificate in bundle.certificates]
    claimed = sum(not used.isdisjoint(_CLAIMS) for used in rules)
    computed = sum("accountant" in used for used in rules)
    derived = sum(used.isdisjoint({*_CLAIMS, "accountant"}) for used in rules)
    voided = sum(certificate.standing == VOIDED for certificate in bundle.certificates)
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
    if derived:
        yield (
            "follows from the noise and the sensitivity that the ledger recorded, the sensitivity being the engine's "
            f"statement: {derived} of them"
        )
    if voided:
        yield f"voided on the engine's statement that no data was read, and so counted as 0: {voided} of them"
    yield f"ledger entries: {len(bodies)}; every hash recomputed, {linked(bodies)} linked to the entry before them"
    if linked(bodies) < len(bodies):
        yield "where the entry before is not in the document, the balance before the charge rests on the signature"
    yield "that the job has no other allocations than these rests on the signature"
