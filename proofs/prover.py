"""From ledger entries to a signed proof that anyone can check offline: of a job, an allocation, a history, a plan.

The prover only writes down what the ledger decided and the steps that lead there. It is not trusted: `proofs.checker`
derives every number again with other code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from accounting.charges import price
from accounting.conversion import best_order_for_cap
from accounting.event_wire import event_to_wire
from accounting.events import (
    Composition,
    DiscreteGaussianEvent,
    Event,
    FixedSizeGaussianEvent,
    GaussianEvent,
    PoissonGaussianEvent,
    SelfComposedEvent,
    ZCdpEvent,
)
from accounting.filters import Budget, Charge, FilterKind, Member
from accounting.ledger.canonical import canonical_json
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind, timestamp_text
from accounting.values import NO_LOSS, ZERO, PrivacyLoss, decimal_text
from proofs.certificate import (
    ADJUSTED,
    ALLOCATION,
    DIVIDED,
    EPSILON,
    FILTER_RULES,
    HISTORY,
    JOB,
    MAX_BYTES,
    PLAN,
    STANDS,
    VOIDED,
    Certificate,
    ChainEntry,
    DatasetProof,
    Inclusion,
    Log,
    Node,
    PlanProof,
    ProofBundle,
    Subject,
    Window,
    dataset_guarantee,
    node,
    tenant_guarantee,
)
from proofs.derivation import counted, priced
from proofs.signing import SigningKey

_SOFTWARE = ("privacy-engine", "dp-accounting", "cryptography")

_SIGNATURE_BYTES = 1024
"""More than a signature takes in the document."""


class TooLargeError(ValueError):
    """A job whose proof would be larger than what the checker reads."""


@dataclass(frozen=True, slots=True)
class LogEvidence:
    """What the log of all entries says of a job's entries.

    Attributes:
        log: A signed head of it, and the key that signed.
        places: Where entries stand under that head, by their position in the tenant's history. What is left out had not
            been taken up.
    """

    log: Log
    places: Mapping[int, Inclusion]


def prove_job(
    entries: Sequence[Entry],
    signer: SigningKey,
    neighbours: Sequence[Entry] = (),
    registrations: Sequence[Entry] = (),
    evidence: LogEvidence | None = None,
) -> dict[str, Any]:
    """The proof document of one job, JSON-ready. The same entries and key give the same document, byte for byte.

    Args:
        entries: All entries of one job of one tenant, oldest first. What is left out is left out of the total.
        signer: The service's key.
        neighbours: Other entries of the same tenant that the document shall carry, such as the one before each of the
            job's: with them an auditor checks balances and links against a neighbour instead of the signature alone.
        registrations: The registrations of the data sets that the job was charged on, oldest first. Those that are
            needed go into the document: the last one before each charge.
        evidence: What the log says of the entries; None where it has no head yet.

    Returns:
        The document that `proofs.checker.verify_document` accepts as JSON.

    Raises:
        ValueError: If no entry opens an allocation, the entries are of several jobs or tenants, an entry has no
            opening, a data set no registration, or the ledger charged an event less than its price.
        TooLargeError: If the document would be larger than `proofs.certificate.MAX_BYTES`.
    """
    if not any(entry.kind in OPENING_KINDS for entry in entries):
        raise ValueError("there is nothing to prove: none of the entries opens an allocation")
    if len({(entry.tenant_id, entry.job_id) for entry in entries}) > 1:
        raise ValueError("the entries belong to more than one job or tenant")
    job_id = entries[0].job_id
    if job_id is None:
        raise ValueError("the entries belong to no job")
    return _prove(Subject(JOB, job_id), entries, signer, neighbours, registrations, evidence)


def prove_allocation(
    entries: Sequence[Entry],
    signer: SigningKey,
    neighbours: Sequence[Entry] = (),
    registrations: Sequence[Entry] = (),
    evidence: LogEvidence | None = None,
) -> dict[str, Any]:
    """The proof document of one allocation. As for `prove_job`, with the allocation's entries."""
    if len({(entry.tenant_id, entry.allocation_id) for entry in entries}) != 1 or entries[0].allocation_id is None:
        raise ValueError("the entries are not those of one allocation")
    return _prove(Subject(ALLOCATION, entries[0].allocation_id), entries, signer, neighbours, registrations, evidence)


def prove_history(entries: Sequence[Entry], signer: SigningKey, evidence: LogEvidence | None = None) -> dict[str, Any]:
    """The proof document of a tenant's history, whole from its first entry on. As for `prove_job`.

    Raises:
        ValueError: Also if an entry is missing, or there is none.
    """
    if not entries or [entry.seq for entry in entries] != list(range(1, len(entries) + 1)):
        raise ValueError("the entries are not a history from its first entry on")
    own = [entry for entry in entries if entry.allocation_id is not None]
    registrations = [entry for entry in entries if entry.kind is EntryKind.DATASET_SET]
    others = [entry for entry in entries if entry.allocation_id is None and entry.kind is not EntryKind.DATASET_SET]
    return _prove(Subject(HISTORY, entries[0].tenant_id), own, signer, others, registrations, evidence)


def prove_plan(tenant_id: str, plan_id: str, event: Event, loss: PrivacyLoss, signer: SigningKey) -> dict[str, Any]:
    """The proof document of a plan: what its event would cost, before anything is charged. Errors as for `prove_job`.

    Args:
        tenant_id: Whose plan.
        plan_id: Its id.
        event: The plan as one event.
        loss: Its price.
        signer: The service's key.
    """
    pricing = priced(event, loss)
    plan = PlanProof(canonical_json(event_to_wire(event)), pricing)
    total = node("basic_composition", EPSILON, _numbers(loss), pricing)
    return _signed(
        ProofBundle(
            tenant_id=tenant_id,
            subject=Subject(PLAN, plan_id),
            certificates=(),
            plan=plan,
            neighbours=(),
            registrations=(),
            log=None,
            epsilon=decimal_text(loss.epsilon),
            delta=decimal_text(loss.delta),
            composition=total,
            keys=(signer.public_jwk,),
            software=_software(),
        ),
        signer,
    )


def _prove(
    subject: Subject,
    entries: Sequence[Entry],
    signer: SigningKey,
    neighbours: Sequence[Entry],
    registrations: Sequence[Entry],
    evidence: LogEvidence | None,
) -> dict[str, Any]:
    openings = [entry for entry in entries if entry.kind in OPENING_KINDS]
    later: dict[str | None, list[Entry]] = {entry.allocation_id: [] for entry in openings}
    for entry in entries:
        if entry.allocation_id not in later:
            raise ValueError(f"position {entry.seq}: the allocation's opening entry is missing")
        if entry.kind not in OPENING_KINDS:
            later[entry.allocation_id].append(entry)
    places = evidence.places if evidence is not None else {}
    registered = [(opening, _registration(opening, registrations)) for opening in openings]
    certificates = [
        _certify(opening, registration, later[opening.allocation_id], places) for opening, registration in registered
    ]
    total, standing = NO_LOSS, []
    for opening, certificate in zip(openings, certificates, strict=True):
        if certificate.standing in (STANDS, DIVIDED):
            loss, pricing = _left(certificate, opening, later[opening.allocation_id])
            total = total.plus(loss)
            standing.append(pricing)
    needed = {entry.seq: entry for _, entry in registered if entry is not None}
    if subject.kind == HISTORY:
        needed = {entry.seq: entry for entry in registrations}
    own = {entry.seq for entry in entries} | needed.keys()
    return _signed(
        ProofBundle(
            tenant_id=(entries or neighbours)[0].tenant_id,
            subject=subject,
            certificates=tuple(certificates),
            plan=None,
            neighbours=tuple(_chain_entry(entry, places) for entry in neighbours if entry.seq not in own),
            registrations=tuple(_chain_entry(entry, places) for _, entry in sorted(needed.items())),
            log=None if evidence is None else evidence.log,
            epsilon=decimal_text(total.epsilon),
            delta=decimal_text(total.delta),
            composition=node("basic_composition", EPSILON, _numbers(total), *standing),
            keys=(signer.public_jwk,),
            software=_software(),
        ),
        signer,
    )


def _signed(bundle: ProofBundle, signer: SigningKey) -> dict[str, Any]:
    document = bundle.unsigned()
    canonical = canonical_json(document).encode()
    if len(canonical) > MAX_BYTES - _SIGNATURE_BYTES:
        raise TooLargeError(f"the proof would have {len(canonical)} bytes, more than the {MAX_BYTES} that are checked")
    return {**document, "signature": signer.sign(canonical, detached=True)}


def _registration(opening: Entry, registrations: Sequence[Entry]) -> Entry | None:
    """The registration that was in force when a data set was charged; None where none was charged."""
    if opening.dataset is None:
        return None
    name = opening.dataset.dataset_id
    before = [
        entry
        for entry in registrations
        if entry.dataset is not None and entry.dataset.dataset_id == name and entry.seq < opening.seq
    ]
    if not before:
        raise ValueError(f"position {opening.seq}: the registration of data set {name} is missing")
    return before[-1]


def _certify(
    opening: Entry, registration: Entry | None, later: Sequence[Entry], places: Mapping[int, Inclusion]
) -> Certificate:
    if opening.allocation_id is None:
        raise ValueError(f"position {opening.seq}: an allocation without an id is opened")
    if opening.event is None:
        raise ValueError(f"position {opening.seq}: an allocation is opened without an event")
    if opening.charge is None:
        raise ValueError(f"position {opening.seq}: an allocation is opened without a charge")
    _check_charge(opening, opening.budget, opening.charge)
    return Certificate(
        allocation_id=opening.allocation_id,
        standing=_standing(opening.event, later),
        epsilon=decimal_text(opening.charge.basic.epsilon),
        delta=decimal_text(opening.charge.basic.delta),
        guarantee=tenant_guarantee(_window(opening)),
        derivation=_admission_of_tenant(opening, opening.event, opening.charge),
        dataset=None if registration is None else _dataset(opening, opening.event, registration),
        entry=_chain_entry(opening, places),
        later=tuple(_chain_entry(entry, places) for entry in later),
    )


def _standing(event: Event, later: Sequence[Entry]) -> str:
    kinds = {entry.kind for entry in later}
    if EntryKind.ADJUSTED in kinds:
        return ADJUSTED
    if EntryKind.VOIDED in kinds:
        return VOIDED
    steps = _steps(later)
    return STANDS if steps is None or (isinstance(event, SelfComposedEvent) and steps == event.count) else DIVIDED


def _steps(later: Sequence[Entry]) -> int | None:
    """How many repetitions were run, where a commit says so."""
    stated = [(entry.details or {}).get("steps") for entry in later if entry.kind is EntryKind.COMMITTED]
    return next((int(steps) for steps in stated if steps is not None), None)


def _left(certificate: Certificate, opening: Entry, later: Sequence[Entry]) -> tuple[PrivacyLoss, Node]:
    """What is left of an allocation's charge, and the step that shows it."""
    pricing, event = certificate.pricing, opening.event
    whole = PrivacyLoss(Decimal(certificate.epsilon), Decimal(certificate.delta))
    given_back = next((entry.charge.basic for entry in later if entry.charge is not None), NO_LOSS)
    steps = _steps(later)
    if given_back == NO_LOSS or steps is None or not isinstance(event, SelfComposedEvent):
        return whole, pricing
    left = whole.minus(given_back)
    return left, node("divided", EPSILON, {"count": str(event.count), "steps": str(steps), **_numbers(left)}, pricing)


def _window(opening: Entry) -> Window | None:
    if opening.renewal_days is None or opening.period_end is None:
        return None
    return Window(opening.renewal_days, timestamp_text(opening.period_start), timestamp_text(opening.period_end))


def _dataset(opening: Entry, event: Event, registration: Entry) -> DatasetProof:
    balance = opening.dataset
    if balance is None or balance.charge is None or balance.exposed is None:
        raise ValueError(f"position {opening.seq}: a data set is touched without a charge")
    assert registration.dataset is not None
    registered = registration.dataset.dataset
    if registered is None:
        raise ValueError(f"position {registration.seq}: no data set is registered there")
    _check_charge(opening, balance.budget, balance.charge)
    return DatasetProof(
        guarantee=dataset_guarantee(balance.dataset_id, balance.partition, registered.unit, registered.adjacency.value),
        derivation=_admission("dataset_filter", event, balance.charge, balance.exposed, balance.budget),
    )


def _check_charge(opening: Entry, budget: Budget, charge: Charge) -> None:
    """Whether every member charged what the event costs today: what is no proof should not be signed as one."""
    event = opening.event
    assert event is not None
    if not isinstance(event, Composition | PoissonGaussianEvent | FixedSizeGaussianEvent):
        # The (epsilon, delta) of these others may be the accountants' word.
        concentrated = isinstance(event, GaussianEvent | DiscreteGaussianEvent | ZCdpEvent)
        least = price(event, charge.basic.delta if concentrated else ZERO)
        if not least.within(charge.basic):
            raise ValueError(f"position {opening.seq}: the ledger charged {charge.basic} for an event of {least}")
    due = budget.charge(event, charge.basic)
    for member, charged, least_cost in zip(budget.members, charge.costs, due.costs, strict=True):
        if not least_cost.within(charged):
            kind = member.kind.value
            raise ValueError(
                f"position {opening.seq}: the {kind} filter counted {charged} for an event of {least_cost}"
            )


def _admission_of_tenant(opening: Entry, event: Event, charge: Charge) -> Node:
    if opening.renewal_days is None:
        return _admission("composed_filter", event, charge, opening.spent, opening.budget)
    lifetime = _numbers(opening.lifetime.basic, "lifetime_")
    return _admission("window_filter", event, charge, opening.spent, opening.budget, lifetime)


def _admission(
    rule: str,
    event: Event,
    charge: Charge,
    after: Charge,
    budget: Budget,
    beside: Mapping[str, str] | None = None,
) -> Node:
    """The step that admits a charge, with the steps of the budget's members.

    Args:
        rule: Its rule.
        event: What was charged.
        charge: What the members counted for it.
        after: What they had counted after it.
        budget: The budget.
        beside: Numbers of the rule beside those that all of them have.
    """
    before = after.minus(charge)
    holding = sum(cost.within(member.cap) for member, cost in zip(budget.members, after.costs, strict=True))
    filters = []
    for member, *costs in zip(budget.members, before.costs, charge.costs, after.costs, strict=True):
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
    promised = {**_numbers(budget.promise, "promise_"), "holding": str(holding)}
    return node(rule, EPSILON, {**promised, **(beside or {})}, *filters)


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


def _chain_entry(entry: Entry, places: Mapping[int, Inclusion]) -> ChainEntry:
    return ChainEntry(entry.seq, entry.hash.hex(), entry.body, places.get(entry.seq))


@cache
def _software() -> Mapping[str, str]:
    return {name: _version(name) for name in _SOFTWARE}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
