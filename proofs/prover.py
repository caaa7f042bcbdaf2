"""From a job's ledger entries to a signed proof that anyone can check offline.

The prover only writes down what the ledger decided and at which Renyi order a Gaussian was priced. It is not trusted:
`proofs.checker` derives every number again with other code.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import rfc8785

from accounting.charges import gaussian_price
from accounting.events import ClaimEvent, GaussianEvent, LaplaceEvent
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind
from accounting.values import NO_LOSS, PrivacyLoss, decimal_text
from proofs.certificate import GUARANTEE, STANDS, VOIDED, Certificate, ChainEntry, Node, ProofBundle, node
from proofs.signing import SigningKey

_SOFTWARE = ("privacy-engine", "dp-accounting", "cryptography", "rfc8785")


def prove_job(entries: Sequence[Entry], signer: SigningKey, neighbours: Sequence[Entry] = ()) -> dict[str, Any]:
    """The proof document of one job, JSON-ready. The same entries and key give the same document, byte for byte.

    Args:
        entries: All entries of one job of one tenant, oldest first. What is left out is left out of the total.
        signer: The service's key.
        neighbours: Other entries of the same tenant that the document shall carry, such as the one before each of the
            job's: with them an auditor checks balances and links against a neighbour instead of the signature alone.

    Returns:
        The document that `proofs.checker.verify_document` accepts as JSON.

    Raises:
        ValueError: If no entry opens an allocation, the entries are of several jobs or tenants, an entry has no
            opening, or the ledger charged an event less than its price.
    """
    openings = [entry for entry in entries if entry.kind in OPENING_KINDS]
    if not openings:
        raise ValueError("there is nothing to prove: none of the entries opens an allocation")
    if len({(entry.tenant_id, entry.job_id) for entry in entries}) > 1:
        raise ValueError("the entries belong to more than one job or tenant")
    later: dict[str | None, list[Entry]] = {entry.allocation_id: [] for entry in openings}
    for entry in entries:
        if entry.allocation_id not in later:
            raise ValueError(f"position {entry.seq}: the allocation's opening entry is missing")
        if entry.kind not in OPENING_KINDS:
            later[entry.allocation_id].append(entry)
    tenant_id, job_id = openings[0].tenant_id, openings[0].job_id
    if job_id is None:
        raise ValueError("the entries belong to no job")

    certificates = [_certify(opening, later[opening.allocation_id]) for opening in openings]
    standing = [certificate for certificate in certificates if certificate.standing == STANDS]
    total = NO_LOSS
    for certificate in standing:
        total = total.plus(PrivacyLoss(Decimal(certificate.epsilon), Decimal(certificate.delta)))
    own = {entry.seq for entry in entries}
    bundle = ProofBundle(
        tenant_id=tenant_id,
        job_id=job_id,
        certificates=tuple(certificates),
        neighbours=tuple(_chain_entry(entry) for entry in neighbours if entry.seq not in own),
        epsilon=decimal_text(total.epsilon),
        delta=decimal_text(total.delta),
        composition=node("basic_composition", _numbers(total), *(item.derivation.premises[0] for item in standing)),
        keys=(signer.public_jwk,),
        software=_software(),
    )
    document = bundle.unsigned()
    return {**document, "signature": signer.sign(rfc8785.dumps(document), detached=True)}


def _certify(opening: Entry, later: Sequence[Entry]) -> Certificate:
    if opening.allocation_id is None:
        raise ValueError(f"position {opening.seq}: an allocation without an id is opened")
    charge = _charge_of(opening)
    voided = any(entry.kind is EntryKind.VOIDED for entry in later)
    balance = {
        **_numbers(opening.spent.minus(charge), "before_"),
        **_numbers(charge, "charge_"),
        **_numbers(opening.spent, "after_"),
        **_numbers(opening.budget, "cap_"),
    }
    return Certificate(
        allocation_id=opening.allocation_id,
        standing=VOIDED if voided else STANDS,
        epsilon=decimal_text(charge.epsilon),
        delta=decimal_text(charge.delta),
        guarantee=GUARANTEE,
        derivation=node("filter", balance, _pricing(opening, charge)),
        entry=_chain_entry(opening),
        later=tuple(_chain_entry(entry) for entry in later),
    )


def _pricing(opening: Entry, charge: PrivacyLoss) -> Node:
    """The step that shows that the event costs no more than was charged for it."""
    claimed = _numbers(charge)
    match opening.event:
        case ClaimEvent():
            return node("claim", claimed)
        case LaplaceEvent(scale=scale, sensitivity=sensitivity):
            return node("laplace", {"sensitivity": decimal_text(sensitivity), "scale": decimal_text(scale), **claimed})
        case GaussianEvent(sigma=sigma, sensitivity=sensitivity) as event:
            price = gaussian_price(event, charge.delta)
            if charge.epsilon < price.epsilon:
                message = f"position {opening.seq}: the ledger charged {charge.epsilon} for an event of {price.epsilon}"
                raise ValueError(message)
            return node(
                "gaussian",
                {
                    "sensitivity": decimal_text(sensitivity),
                    "sigma": decimal_text(sigma),
                    "rho": str(price.rho),
                    "order": decimal_text(price.order),
                    "renyi": str(Fraction(price.order) * price.rho),
                    **claimed,
                },
            )
        case None:
            raise ValueError(f"position {opening.seq}: an allocation is opened without an event")


def _charge_of(opening: Entry) -> PrivacyLoss:
    if opening.charge is None:
        raise ValueError(f"position {opening.seq}: an allocation is opened without a charge")
    return opening.charge


def _numbers(loss: PrivacyLoss, prefix: str = "") -> dict[str, str]:
    return {f"{prefix}epsilon": decimal_text(loss.epsilon), f"{prefix}delta": decimal_text(loss.delta)}


def _chain_entry(entry: Entry) -> ChainEntry:
    return ChainEntry(entry.seq, entry.hash.hex(), entry.body)


@cache
def _software() -> Mapping[str, str]:
    return {name: _version(name) for name in _SOFTWARE}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
