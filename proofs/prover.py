"""From a job's ledger entries to a signed proof that anyone can check offline.

The prover only writes down what the ledger decided and the steps that lead there. It is not trusted: `proofs.checker`
derives every number again with other code.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import rfc8785

from accounting.charges import price
from accounting.conversion import best_order_for_cap
from accounting.events import (
    Composition,
    DiscreteGaussianEvent,
    Event,
    FixedSizeGaussianEvent,
    GaussianEvent,
    PoissonGaussianEvent,
    ZCdpEvent,
)
from accounting.filters import Charge, FilterKind, Member
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind
from accounting.values import NO_LOSS, ZERO, PrivacyLoss, decimal_text
from proofs.certificate import (
    EPSILON,
    FILTER_RULES,
    GUARANTEE,
    MAX_BYTES,
    STANDS,
    VOIDED,
    Certificate,
    ChainEntry,
    Node,
    ProofBundle,
    node,
)
from proofs.derivation import counted, priced
from proofs.signing import SigningKey

_SOFTWARE = ("privacy-engine", "dp-accounting", "cryptography", "rfc8785")

_SIGNATURE_BYTES = 1024
"""More than a signature takes in the document."""


class TooLargeError(ValueError):
    """A job whose proof would be larger than what the checker reads."""


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
        TooLargeError: If the document would be larger than `proofs.certificate.MAX_BYTES`.
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
        composition=node("basic_composition", EPSILON, _numbers(total), *(item.pricing for item in standing)),
        keys=(signer.public_jwk,),
        software=_software(),
    )
    document = bundle.unsigned()
    canonical = rfc8785.dumps(document)
    if len(canonical) > MAX_BYTES - _SIGNATURE_BYTES:
        raise TooLargeError(f"the proof would have {len(canonical)} bytes, more than the {MAX_BYTES} that are checked")
    return {**document, "signature": signer.sign(canonical, detached=True)}


def _certify(opening: Entry, later: Sequence[Entry]) -> Certificate:
    if opening.allocation_id is None:
        raise ValueError(f"position {opening.seq}: an allocation without an id is opened")
    if opening.event is None:
        raise ValueError(f"position {opening.seq}: an allocation is opened without an event")
    if opening.charge is None:
        raise ValueError(f"position {opening.seq}: an allocation is opened without a charge")
    _check_charge(opening, opening.event, opening.charge)
    voided = any(entry.kind is EntryKind.VOIDED for entry in later)
    return Certificate(
        allocation_id=opening.allocation_id,
        standing=VOIDED if voided else STANDS,
        epsilon=decimal_text(opening.charge.basic.epsilon),
        delta=decimal_text(opening.charge.basic.delta),
        guarantee=GUARANTEE,
        derivation=_admission(opening, opening.event, opening.charge),
        entry=_chain_entry(opening),
        later=tuple(_chain_entry(entry) for entry in later),
    )


def _check_charge(opening: Entry, event: Event, charge: Charge) -> None:
    """Whether every member charged what the event costs today: what is no proof should not be signed as one."""
    if not isinstance(event, Composition | PoissonGaussianEvent | FixedSizeGaussianEvent):
        # The (epsilon, delta) of these others may be the accountants' word.
        concentrated = isinstance(event, GaussianEvent | DiscreteGaussianEvent | ZCdpEvent)
        least = price(event, charge.basic.delta if concentrated else ZERO)
        if not least.within(charge.basic):
            raise ValueError(f"position {opening.seq}: the ledger charged {charge.basic} for an event of {least}")
    due = opening.budget.charge(event, charge.basic)
    for member, charged, least_cost in zip(opening.budget.members, charge.costs, due.costs, strict=True):
        if not least_cost.within(charged):
            kind = member.kind.value
            raise ValueError(
                f"position {opening.seq}: the {kind} filter counted {charged} for an event of {least_cost}"
            )


def _admission(opening: Entry, event: Event, charge: Charge) -> Node:
    budget, spent = opening.budget, opening.spent
    before = spent.minus(charge)
    holding = sum(cost.within(member.cap) for member, cost in zip(budget.members, spent.costs, strict=True))
    filters = []
    for member, *costs in zip(budget.members, before.costs, charge.costs, spent.costs, strict=True):
        currency = member.currency.value
        numbers = _converted(member, budget.promise)
        for part, cost in zip(("before", "charge", "after", "cap"), (*costs, member.cap), strict=True):
            numbers[f"{part}_{currency}"] = decimal_text(cost.amount)
            numbers[f"{part}_delta"] = decimal_text(cost.delta)
        pricing = (
            priced(event, charge.basic)
            if member.kind is FilterKind.BASIC
            else counted(event, charge.basic, member.currency, member.order, costs[1])
        )
        filters.append(node(FILTER_RULES[member.kind], currency, numbers, pricing))
    return node("composed_filter", EPSILON, {**_numbers(budget.promise, "promise_"), "holding": str(holding)}, *filters)


def _converted(member: Member, promise: PrivacyLoss) -> dict[str, str]:
    """How a member's cap is converted to the promised epsilon: zCDP at the order at which the cap was found."""
    if member.kind is FilterKind.BASIC:
        return {}
    numbers = {
        "conversion_delta": decimal_text(member.conversion_delta),
        "promise_epsilon": decimal_text(promise.epsilon),
    }
    if member.order is not None:
        return {**numbers, "order": str(member.order)}
    if member.kind is FilterKind.ZCDP:
        order = best_order_for_cap(float(promise.epsilon), float(member.conversion_delta))
        return {**numbers, "order": decimal_text(order)}
    return numbers


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
