"""What a proof document is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proofs.certificate.rules import RULES

FORMAT = "privacy-engine-proof"
VERSION = 4

STANDS, DIVIDED, VOIDED, ADJUSTED = "stands", "divided", "voided", "adjusted"
STANDINGS = (STANDS, DIVIDED, VOIDED, ADJUSTED)
"""What became of an allocation: it stands as it was charged; fewer repetitions were run than were held; the hold was
taken back; the charge was taken back by an operator."""


JOB, ALLOCATION, HISTORY, PLAN = "job", "allocation", "history", "plan"
SUBJECTS = (JOB, ALLOCATION, HISTORY, PLAN)
"""What a document may be about: all allocations of a job; one allocation; all that a tenant's history holds from its
first entry on; a plan, for which nothing has been charged yet."""


class MalformedError(ValueError):
    """A document that does not have the shape of a proof. The message says where and why, in plain ASCII."""


@dataclass(frozen=True, slots=True)
class Node:
    """A step of a derivation.

    Attributes:
        rule: A name in `RULES`.
        currency: A name in `CURRENCIES`: what the conclusion is counted in.
        statement: The conclusion in words.
        numbers: The rule's numbers, each a decimal such as ``0.1``, never negative. Of a step that a conversion rests
            on, the numbers may be fractions such as ``1/3``.
        premises: The steps that the conclusion rests on.
    """

    rule: str
    currency: str
    statement: str
    numbers: Mapping[str, str]
    premises: tuple["Node", ...]

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "rule": self.rule,
            "currency": self.currency,
            "statement": self.statement,
            "numbers": dict(self.numbers),
            "premises": [premise.to_wire() for premise in self.premises],
        }

    def steps(self) -> Iterator["Node"]:
        """The step and all that it rests on, each before its premises."""
        yield self
        for premise in self.premises:
            yield from premise.steps()


def node(rule: str, currency: str, numbers: Mapping[str, str], *premises: Node) -> Node:
    """A step in the words that its rule prescribes."""
    return Node(rule, currency, RULES[rule].statement(currency, numbers), numbers, premises)


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where an entry stands in the log of all entries, and the proof of it (RFC 6962, section 2.1.1).

    Attributes:
        position: The index of its leaf, from 0. The leaf's data is the entry's hash, 32 bytes.
        hashes: From the leaf up to the root that the document's signed head names, each 64 hexadecimal digits.
    """

    position: int
    hashes: tuple[str, ...]

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"position": self.position, "hashes": list(self.hashes)}


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """One entry of the ledger as it was stored.

    Attributes:
        seq: Its position in the tenant's history, from 1.
        hash: SHA-256 of the body in UTF-8, 64 hexadecimal digits.
        body: Its canonical JSON text.
        inclusion: Its place in the log; None where the log had not taken it up at the document's head, or nobody asked.
    """

    seq: int
    hash: str
    body: str
    inclusion: Inclusion | None = None

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        place = None if self.inclusion is None else self.inclusion.to_wire()
        return {"seq": self.seq, "hash": self.hash, "body": self.body, "inclusion": place}


@dataclass(frozen=True, slots=True)
class DatasetProof:
    """The proof that a data set's budget was charged as well.

    Attributes:
        guarantee: The words of `dataset_guarantee`.
        derivation: The step of rule ``dataset_filter``, made like that of the tenant's budget.
    """

    guarantee: Mapping[str, str]
    derivation: Node

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"guarantee": dict(self.guarantee), "derivation": self.derivation.to_wire()}


@dataclass(frozen=True, slots=True)
class Certificate:
    """The proof of one allocation.

    Attributes:
        allocation_id: The allocation.
        standing: One of `STANDINGS`.
        epsilon: The claim, a decimal: what the operation was charged when it was admitted.
        delta: The claim, a decimal.
        guarantee: The words of `tenant_guarantee`.
        derivation: The step of rule ``composed_filter`` or ``window_filter``. Its premises are the steps of the
            budget's member filters, and the premise of each of these prices the event in what that filter counts.
        dataset: The same for the data set that was charged; None where none was.
        entry: The entry that opened the allocation.
        later: The entries that ended it or took it back, oldest first.
    """

    allocation_id: str
    standing: str
    epsilon: str
    delta: str
    guarantee: Mapping[str, str]
    derivation: Node
    dataset: DatasetProof | None
    entry: ChainEntry
    later: tuple[ChainEntry, ...]

    @property
    def pricing(self) -> Node:
        """The step that prices the event as an (epsilon, delta): the first filter's premise."""
        return self.derivation.premises[0].premises[0]

    def derivations(self) -> tuple[Node, ...]:
        """The admissions to every budget that was charged, the tenant's first."""
        return (self.derivation,) if self.dataset is None else (self.derivation, self.dataset.derivation)

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "allocation_id": self.allocation_id,
            "standing": self.standing,
            "claim": {"epsilon": self.epsilon, "delta": self.delta, "guarantee": dict(self.guarantee)},
            "derivation": self.derivation.to_wire(),
            "dataset": None if self.dataset is None else self.dataset.to_wire(),
            "entry": self.entry.to_wire(),
            "later": [entry.to_wire() for entry in self.later],
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """What a document is about.

    Attributes:
        kind: One of `SUBJECTS`.
        name: The job, the allocation's id, the tenant whose history it is, the plan's id.
    """

    kind: str
    name: str

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"kind": self.kind, "name": self.name}


@dataclass(frozen=True, slots=True)
class PlanProof:
    """The proof of what a plan would cost.

    Attributes:
        event: The plan as one event, as canonical JSON text.
        derivation: The step that prices it as an (epsilon, delta).
    """

    event: str
    derivation: Node

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"event": self.event, "derivation": self.derivation.to_wire()}


@dataclass(frozen=True, slots=True)
class Log:
    """The log that the entries' inclusion proofs are about.

    Attributes:
        head: A signed head of it: a compact JWS (RFC 7515) whose payload names the log, its size and its root.
        key: The public key that the head may be checked with, as a JWK.
    """

    head: str
    key: Mapping[str, str]

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"head": self.head, "key": dict(self.key)}


@dataclass(frozen=True, slots=True)
class ProofBundle:
    """A proof document.

    Attributes:
        tenant_id: Whose budget was charged, or whose plan it is.
        subject: What it is about.
        certificates: One for each allocation, oldest first; at least one for a job, one for an allocation, none for a
            plan.
        plan: What a plan would cost; None for what has been charged.
        neighbours: Other entries of the same history, so that links between entries can be checked. Of a whole history
            these are the ones that open and end no allocation and register no data set.
        registrations: Entries that registered the data sets that were charged.
        log: A signed head of the log of all entries; None where there was none.
        epsilon: Sum over what stands, a decimal.
        delta: Sum over what stands, a decimal.
        composition: The step of rule ``basic_composition``. Its premises are the steps that price, as (epsilon, delta),
            the events of the certificates that stand, in their order; where one was divided and its price with it, the
            step of rule ``divided`` that says what is left. Of a plan, the step that prices it.
        keys: The public keys that the signature may be checked with, as JWKs (RFC 8037).
        software: Versions of what produced the proof, by name.
        signature: A compact JWS with detached content (RFC 7515, appendix F).
    """

    tenant_id: str
    subject: Subject
    certificates: tuple[Certificate, ...]
    plan: PlanProof | None
    neighbours: tuple[ChainEntry, ...]
    registrations: tuple[ChainEntry, ...]
    log: Log | None
    epsilon: str
    delta: str
    composition: Node
    keys: tuple[Mapping[str, str], ...]
    software: Mapping[str, str]
    signature: str = ""

    def unsigned(self) -> dict[str, Any]:
        """JSON-ready data of everything but the signature: what is signed, once it is in canonical form."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "tenant_id": self.tenant_id,
            "subject": self.subject.to_wire(),
            "certificates": [certificate.to_wire() for certificate in self.certificates],
            "plan": None if self.plan is None else self.plan.to_wire(),
            "neighbours": [entry.to_wire() for entry in self.neighbours],
            "registrations": [entry.to_wire() for entry in self.registrations],
            "log": None if self.log is None else self.log.to_wire(),
            "total": {"epsilon": self.epsilon, "delta": self.delta, "derivation": self.composition.to_wire()},
            "keys": [dict(key) for key in self.keys],
            "software": dict(self.software),
        }

    def derivations(self) -> Iterator[Node]:
        """The roots of all derivations but the total's."""
        for certificate in self.certificates:
            yield from certificate.derivations()
        if self.plan is not None:
            yield self.plan.derivation

    def entries(self) -> list[ChainEntry]:
        """Every entry in the document, in order of position."""
        found = [*self.neighbours, *self.registrations]
        for certificate in self.certificates:
            found += [certificate.entry, *certificate.later]
        return sorted(found, key=lambda entry: entry.seq)
