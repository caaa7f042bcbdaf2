"""The wire schema of a proof: what a proof document looks like, and a parser that accepts nothing else.

A proof document is the JSON of one `ProofBundle`: the certificates of all allocations of one job, their sum, and an
Ed25519 signature over the canonical JSON (RFC 8785) of everything but the signature. Numbers are text, decimals or
fractions, so that no reader can lose a digit of them.

This module is all that the prover and the checker share. It says which numbers a rule needs and in which words the
rule speaks; whether the numbers are right is the checker's business. A wording is part of the format: a certificate
whose words differ from those written here is refused, so no signer can put a stronger promise into prose than into
numbers.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

FORMAT = "privacy-engine-proof"
VERSION = 1
MAX_BYTES = 32 * 2**20
"""The largest document that is read, in bytes."""
LARGEST_INTEGER = 2**53 - 1
"""The largest whole number that every JSON implementation keeps exact (RFC 8785, section 3.2.2.3)."""

_DIGITS = r"(?:0|[1-9][0-9]{0,999})"
_NUMBER = re.compile(rf"{_DIGITS}(?:\.[0-9]{{0,999}}[1-9]|/[1-9][0-9]{{0,999}})?")
_DECIMAL = re.compile(rf"{_DIGITS}(?:\.[0-9]{{0,999}}[1-9])?")

STANDS, VOIDED = "stands", "voided"

GUARANTEE: Mapping[str, str] = {
    "privacy_unit": "one privacy unit as the engine defined it",
    "adjacency": "the relation between neighbouring data sets that the engine's sensitivity or claim assumed",
    "scope": "the tenant's lifetime budget",
    "adaptivity": (
        "the cap holds for the whole history, also where an operation and its cost were chosen after seeing earlier "
        "outputs: the basic composition filter admitted each charge before it was spent"
    ),
}
"""What every certificate promises beside its numbers, in words."""


@dataclass(frozen=True, slots=True)
class Rule:
    """An inference rule: the numbers that it needs and the words in which it states its conclusion.

    Attributes:
        numbers: Names of its numbers.
        wording: The statement, with the numbers' names in braces.
    """

    numbers: tuple[str, ...]
    wording: str

    def statement(self, numbers: Mapping[str, str]) -> str:
        """The statement with the numbers filled in."""
        return self.wording.format(**numbers)


RULES: Mapping[str, Rule] = {
    "claim": Rule(
        ("epsilon", "delta"),
        "The engine states that its operation is ({epsilon}, {delta})-differentially private. This is taken on the "
        "engine's word: nothing in this document proves it.",
    ),
    "laplace": Rule(
        ("sensitivity", "scale", "epsilon", "delta"),
        "Laplace noise of scale {scale} on each coordinate of a statistic of L1 sensitivity {sensitivity} is "
        "({epsilon}, {delta})-differentially private, since {sensitivity} / {scale} <= {epsilon}. The sensitivity is "
        "the engine's statement.",
    ),
    "gaussian": Rule(
        ("sensitivity", "sigma", "rho", "order", "renyi", "epsilon", "delta"),
        "Gaussian noise of standard deviation {sigma} on each coordinate of a statistic of L2 sensitivity "
        "{sensitivity} has rho = sensitivity^2 / (2 sigma^2) = {rho}, hence a Renyi divergence of {renyi} at order "
        "{order}, hence is ({epsilon}, {delta})-differentially private. The sensitivity is the engine's statement.",
    ),
    "filter": Rule(
        (
            "before_epsilon",
            "before_delta",
            "charge_epsilon",
            "charge_delta",
            "after_epsilon",
            "after_delta",
            "cap_epsilon",
            "cap_delta",
        ),
        "The tenant had spent ({before_epsilon}, {before_delta}); with this charge of ({charge_epsilon}, "
        "{charge_delta}) it has spent ({after_epsilon}, {after_delta}), which is within its cap of "
        "({cap_epsilon}, {cap_delta}).",
    ),
    "basic_composition": Rule(
        ("epsilon", "delta"),
        "The allocations of this job that stand cost ({epsilon}, {delta}) in sum. Where a cost was chosen after seeing "
        "an earlier output, this sum is what the job used of the tenant's cap, and the guarantee is the cap's.",
    ),
}
LEAF_RULES = frozenset({"claim", "laplace", "gaussian"})
"""The rules that price one event, named after its kind. They rest on no premises; ``filter`` rests on one of them,
``basic_composition`` on any number of them."""


class MalformedError(ValueError):
    """A document that does not have the shape of a proof. The message says where and why, in plain ASCII."""


@dataclass(frozen=True, slots=True)
class Node:
    """A step of a derivation.

    Attributes:
        rule: A name in `RULES`.
        statement: The conclusion in words.
        numbers: The rule's numbers, each a decimal such as ``0.1`` or a fraction such as ``1/3``, never negative.
        premises: The steps that the conclusion rests on.
    """

    rule: str
    statement: str
    numbers: Mapping[str, str]
    premises: tuple["Node", ...]

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "rule": self.rule,
            "statement": self.statement,
            "numbers": dict(self.numbers),
            "premises": [premise.to_wire() for premise in self.premises],
        }


def node(rule: str, numbers: Mapping[str, str], *premises: Node) -> Node:
    """A step in the words that its rule prescribes."""
    return Node(rule, RULES[rule].statement(numbers), numbers, premises)


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """One entry of the ledger as it was stored.

    Attributes:
        seq: Its position in the tenant's history, from 1.
        hash: SHA-256 of the body in UTF-8, 64 hexadecimal digits.
        body: Its canonical JSON text.
    """

    seq: int
    hash: str
    body: str

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {"seq": self.seq, "hash": self.hash, "body": self.body}


@dataclass(frozen=True, slots=True)
class Certificate:
    """The proof of one allocation.

    Attributes:
        allocation_id: The allocation.
        standing: `STANDS`, or `VOIDED` where a later entry took the charge back.
        epsilon: The claim, a decimal.
        delta: The claim, a decimal.
        guarantee: `GUARANTEE`.
        derivation: The step of rule ``filter``, whose one premise is the step that prices the event.
        entry: The entry that opened the allocation.
        later: The entries that committed or voided it, oldest first.
    """

    allocation_id: str
    standing: str
    epsilon: str
    delta: str
    guarantee: Mapping[str, str]
    derivation: Node
    entry: ChainEntry
    later: tuple[ChainEntry, ...]

    def to_wire(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "allocation_id": self.allocation_id,
            "standing": self.standing,
            "claim": {"epsilon": self.epsilon, "delta": self.delta, "guarantee": dict(self.guarantee)},
            "derivation": self.derivation.to_wire(),
            "entry": self.entry.to_wire(),
            "later": [entry.to_wire() for entry in self.later],
        }


@dataclass(frozen=True, slots=True)
class ProofBundle:
    """The proof of one job.

    Attributes:
        tenant_id: Whose budget was charged.
        job_id: The job.
        certificates: One for each allocation of the job, oldest first; at least one.
        neighbours: Entries of the same history that stand beside the job's, so that links between them can be checked.
        epsilon: Sum over the certificates that stand, a decimal.
        delta: Sum over the certificates that stand, a decimal.
        composition: The step of rule ``basic_composition``; its premises are the pricing steps of the certificates that
            stand, in their order.
        keys: The public keys that the signature may be checked with, as JWKs (RFC 8037).
        software: Versions of what produced the proof, by name.
        signature: A compact JWS with detached content (RFC 7515, appendix F).
    """

    tenant_id: str
    job_id: str
    certificates: tuple[Certificate, ...]
    neighbours: tuple[ChainEntry, ...]
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
            "job_id": self.job_id,
            "certificates": [certificate.to_wire() for certificate in self.certificates],
            "neighbours": [entry.to_wire() for entry in self.neighbours],
            "total": {"epsilon": self.epsilon, "delta": self.delta, "derivation": self.composition.to_wire()},
            "keys": [dict(key) for key in self.keys],
            "software": dict(self.software),
        }

    def entries(self) -> list[ChainEntry]:
        """Every entry in the document, in order of position."""
        found = list(self.neighbours)
        for certificate in self.certificates:
            found += [certificate.entry, *certificate.later]
        return sorted(found, key=lambda entry: entry.seq)


def parse_json(text: str) -> object:
    """Strict JSON: no duplicate names, no NaN or infinities, no floats, no integer beyond `LARGEST_INTEGER`.

    Raises:
        MalformedError: If the text is anything else, or nested too deeply to read.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_object_without_duplicates,
            parse_int=_whole_number,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except json.JSONDecodeError as error:
        raise MalformedError(f"not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise MalformedError("not a proof: nested too deeply") from None


def parse_bundle(data: object) -> ProofBundle:
    """The bundle that parsed JSON describes; the inverse of `ProofBundle.unsigned` with the signature added.

    Raises:
        MalformedError: If anything is missing, superfluous or of the wrong kind.
    """
    root = _object(
        data,
        "document",
        "format version tenant_id job_id certificates neighbours total keys software signature",
    )
    if root["format"] != FORMAT:
        _refuse("format", f"must be {FORMAT}")
    if type(root["version"]) is not int or root["version"] != VERSION:
        _refuse("version", f"must be {VERSION}")
    certificates = tuple(
        _certificate(item, f"certificates[{number}]")
        for number, item in enumerate(_array(root["certificates"], "certificates"))
    )
    if not certificates:
        _refuse("certificates", "must not be empty")
    total = _object(root["total"], "total", "epsilon delta derivation")
    return ProofBundle(
        tenant_id=_text(root["tenant_id"], "tenant_id"),
        job_id=_text(root["job_id"], "job_id"),
        certificates=certificates,
        neighbours=_chain(root["neighbours"], "neighbours"),
        epsilon=_decimal(total["epsilon"], "total.epsilon"),
        delta=_decimal(total["delta"], "total.delta"),
        composition=_node(total["derivation"], "total.derivation", {"basic_composition"}),
        keys=tuple(_key(item, f"keys[{number}]") for number, item in enumerate(_array(root["keys"], "keys"))),
        software=_texts(root["software"], "software"),
        signature=_text(root["signature"], "signature"),
    )


def checked_decimal(value: object, where: str) -> str:
    """The value, if it is the text of a decimal that is not negative, written in the one way: ``0.1``, never ``.10``.

    Raises:
        MalformedError: Otherwise.
    """
    return _decimal(value, where)


def _certificate(data: object, where: str) -> Certificate:
    item = _object(data, where, "allocation_id standing claim derivation entry later")
    claim = _object(item["claim"], f"{where}.claim", "epsilon delta guarantee")
    guarantee = _texts(claim["guarantee"], f"{where}.claim.guarantee")
    if guarantee != GUARANTEE:
        _refuse(f"{where}.claim.guarantee", "must be in the words of the format")
    if item["standing"] not in (STANDS, VOIDED):
        _refuse(f"{where}.standing", f"must be {STANDS} or {VOIDED}")
    return Certificate(
        allocation_id=_text(item["allocation_id"], f"{where}.allocation_id"),
        standing=item["standing"],
        epsilon=_decimal(claim["epsilon"], f"{where}.claim.epsilon"),
        delta=_decimal(claim["delta"], f"{where}.claim.delta"),
        guarantee=guarantee,
        derivation=_node(item["derivation"], f"{where}.derivation", {"filter"}),
        entry=_chain_entry(item["entry"], f"{where}.entry"),
        later=_chain(item["later"], f"{where}.later"),
    )


def _node(data: object, where: str, allowed: Collection[str]) -> Node:
    item = _object(data, where, "rule statement numbers premises")
    rule = item["rule"]
    if not isinstance(rule, str) or rule not in allowed:
        _refuse(f"{where}.rule", f"must be {' or '.join(sorted(allowed))}")
    numbers = _object(item["numbers"], f"{where}.numbers", " ".join(RULES[rule].numbers))
    for name, value in numbers.items():
        if not isinstance(value, str) or not _NUMBER.fullmatch(value):
            _refuse(f"{where}.numbers.{name}", "must be the text of a decimal or fraction that is not negative")
    if item["statement"] != RULES[rule].statement(numbers):
        _refuse(f"{where}.statement", "must say what the numbers say, in the words of the format")
    premises = _array(item["premises"], f"{where}.premises")
    wanted = {"filter": 1, "basic_composition": len(premises)}.get(rule, 0)
    if len(premises) != wanted:
        _refuse(f"{where}.premises", f"must hold {wanted}, not {len(premises)}: so many the rule {rule} rests on")
    children = tuple(_node(child, f"{where}.premises[{at}]", LEAF_RULES) for at, child in enumerate(premises))
    return Node(rule, item["statement"], numbers, children)


def _chain(data: object, where: str) -> tuple[ChainEntry, ...]:
    return tuple(_chain_entry(item, f"{where}[{number}]") for number, item in enumerate(_array(data, where)))


def _chain_entry(data: object, where: str) -> ChainEntry:
    item = _object(data, where, "seq hash body")
    # A boolean is an int to Python, and no position.
    if type(item["seq"]) is not int or item["seq"] < 1:
        _refuse(f"{where}.seq", "must be a whole number from 1")
    return ChainEntry(item["seq"], _text(item["hash"], f"{where}.hash"), _text(item["body"], f"{where}.body"))


def _key(data: object, where: str) -> Mapping[str, str]:
    item = _object(data, where, "kty crv x kid")
    return {name: _text(value, f"{where}.{name}") for name, value in item.items()}


def _texts(data: object, where: str) -> Mapping[str, str]:
    if not isinstance(data, dict):
        _refuse(where, "must be an object")
    return {_text(name, f"{where}: a name"): _text(value, f"{where}: a value") for name, value in data.items()}


def _object(data: object, where: str, names: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        _refuse(where, "must be an object")
    wanted = names.split()
    for name in wanted:
        if name not in data:
            _refuse(where, f"has no {name}")
    for name in data:
        if name not in wanted:
            _refuse(where, f"has an unknown member {quoted(name)}")
    return data


def _array(data: object, where: str) -> list[Any]:
    if not isinstance(data, list):
        _refuse(where, "must be a list")
    return data


def _text(data: object, where: str) -> str:
    if not isinstance(data, str):
        _refuse(where, "must be text")
    try:
        data.encode()
    except UnicodeEncodeError:
        _refuse(where, "holds half of a surrogate pair, which is no Unicode text")
    return data


def _decimal(data: object, where: str) -> str:
    if not isinstance(data, str) or not _DECIMAL.fullmatch(data):
        _refuse(where, "must be the text of a decimal that is not negative, such as 0.1")
    return data


def _refuse(where: str, reason: str) -> NoReturn:
    raise MalformedError(f"{where} {reason}")


def quoted(value: object) -> str:
    """Foreign text for a message: ASCII only, so that it cannot steer a terminal, and cut to a readable length."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:76]}..."


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("not strict JSON: an object has the same name twice")
    return found


def _whole_number(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > LARGEST_INTEGER or text == "-0":
        raise MalformedError(f"not strict JSON: the number {quoted(text)} is out of range")
    return int(text)


def _no_float(text: str) -> NoReturn:
    raise MalformedError(f"not strict JSON: the number {quoted(text)} is not a whole number, and so not exact")
