"""Whether a document holds what it is about: a job's entries, one allocation, a whole history, or a plan."""

from collections.abc import Iterator, Mapping

from proofs.certificate import (
    ChainEntry,
    MalformedError,
    PlanProof,
    ProofBundle,
    parse_json,
    quoted,
)
from proofs.checker.body import Body
from proofs.checker.events import read_event
from proofs.checker.kernel import check_pricing

Reasons = Iterator[str]


def check_subject(bundle: ProofBundle, bodies: Mapping[ChainEntry, Body]) -> Reasons:
    """What the document says that it is about, held against what is in it.

    Args:
        bundle: The document.
        bodies: Its entries; those that were refused, and said why, are left out.
    """
    if bundle.plan is not None:
        yield from (f"plan: {reason}" for reason in _check_plan(bundle, bundle.plan))
        return
    match bundle.subject.kind:
        case "job":
            yield from _check_job(bundle, bodies)
        case "allocation":
            if bundle.certificates[0].allocation_id != bundle.subject.name:
                yield "subject: the certificate is of another allocation"
        case _:
            yield from _check_history(bundle, bodies)


def _check_job(bundle: ProofBundle, bodies: Mapping[ChainEntry, Body]) -> Reasons:
    for number, certificate in enumerate(bundle.certificates, start=1):
        for entry in (certificate.entry, *certificate.later):
            body = bodies.get(entry)
            if body is not None and body.job_id != bundle.subject.name:
                yield (
                    f"certificate {number} (position {certificate.entry.seq}): the entry at position {body.seq} "
                    f"belongs to another job, {quoted(body.job_id)}"
                )


def _check_history(bundle: ProofBundle, bodies: Mapping[ChainEntry, Body]) -> Reasons:
    """Nothing may be missing from the first entry on; and what was charged must stand in a certificate."""
    if bundle.subject.name != bundle.tenant_id:
        yield "subject: the history is another tenant's"
    positions = [entry.seq for entry in bundle.entries()]
    missing = next((at for at, seq in enumerate(positions, start=1) if at != seq), None)
    if missing is not None or not positions:
        yield f"subject: the history has no entry at position {missing or 1}"
    for entry in (*bundle.neighbours, *bundle.registrations):
        body = bodies.get(entry)
        if body is not None and body.allocation_id is not None:
            yield f"subject: the entry at position {body.seq} belongs to an allocation without a certificate"


def _check_plan(bundle: ProofBundle, plan: PlanProof) -> Reasons:
    if bundle.neighbours or bundle.registrations or bundle.log is not None:
        yield "it has entries of the ledger, though nothing was charged"
    try:
        event = read_event(parse_json(plan.event))
    except MalformedError as error:
        yield str(error)
        return
    yield from check_pricing(plan.derivation, event)
