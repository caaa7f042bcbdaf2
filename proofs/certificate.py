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
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

FORMAT = "privacy-engine-proof"
VERSION = 2
MAX_BYTES = 64 * 2**20
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
        "the promise holds for the whole history, also where an operation and its cost were chosen after seeing "
        "earlier outputs: each charge was admitted before it was spent, while at least one of the budget's member "
        "filters still held, whose caps were fixed in advance and whose shares of delta sum to at most the promised "
        "delta"
    ),
}
"""What every certificate promises beside its numbers, in words."""


@dataclass(frozen=True, slots=True)
class Currency:
    """What a step's conclusion is counted in.

    Attributes:
        numbers: Names of the numbers of a cost in this currency. The amount is named like the currency itself.
        wording: What an operation of that cost is, as the end of a sentence.
    """

    numbers: tuple[str, ...]
    wording: str


EPSILON, RENYI, RHO, MU_SQUARED = "epsilon", "renyi", "rho", "mu_squared"
CURRENCIES: Mapping[str, Currency] = {
    EPSILON: Currency((EPSILON, "delta"), "is ({epsilon}, {delta})-differentially private"),
    RENYI: Currency(
        (RENYI, "order", "delta"),
        "has, but for a delta of {delta}, a Renyi divergence of at most {renyi} at order {order}",
    ),
    RHO: Currency((RHO, "delta"), "is, but for a delta of {delta}, {rho}-zero-concentrated differentially private"),
    MU_SQUARED: Currency(
        (MU_SQUARED, "delta"),
        "is, but for a delta of {delta}, mu-Gaussian differentially private with mu^2 = {mu_squared}",
    ),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """An inference rule: the numbers that it needs, what it rests on, and the words of its conclusion.

    Attributes:
        currencies: What its conclusion may be counted in.
        wording: The statement, with the numbers' names in braces, and ``{cost}`` for the words of the currency.
        numbers: Names of its numbers beside those of the cost.
        premises: How many steps it rests on; None for one or more.
        premise: The currency of these steps; None for that of the conclusion.
    """

    currencies: tuple[str, ...]
    wording: str
    numbers: tuple[str, ...] = ()
    premises: int | None = 0
    premise: str | None = None

    def names(self, currency: str) -> tuple[str, ...]:
        """The names of all numbers of a step that concludes in that currency."""
        return (*self.numbers, *CURRENCIES[currency].numbers) if "{cost}" in self.wording else self.numbers

    def statement(self, currency: str, numbers: Mapping[str, str]) -> str:
        """The statement with the numbers filled in."""
        return self.wording.replace("{cost}", CURRENCIES[currency].wording).format(**numbers)


_SENSITIVITY = " The sensitivity is the engine's statement."
_PRICING: Mapping[str, Rule] = {
    # Rules of single operations, named after the kind of the event that they price.
    "claim": Rule(
        (EPSILON,),
        "The engine states that its operation {cost}. This is taken on the engine's word: nothing in this document "
        "proves it.",
    ),
    "zcdp": Rule(
        (RHO,),
        "The engine states that its operation {cost}. This is taken on the engine's word: nothing in this document "
        "proves it.",
    ),
    "laplace": Rule(
        (EPSILON, RENYI),
        "Laplace noise of scale {scale} on each coordinate of a statistic of L1 sensitivity {sensitivity} {cost}."
        + _SENSITIVITY,
        ("sensitivity", "scale"),
    ),
    "discrete_laplace": Rule(
        (EPSILON, RENYI),
        "Discrete Laplace noise of scale {scale} on each coordinate of a whole-numbered statistic of L1 sensitivity "
        "{sensitivity} {cost}." + _SENSITIVITY,
        ("sensitivity", "scale"),
    ),
    "gaussian": Rule(
        (RHO, MU_SQUARED),
        "Gaussian noise of standard deviation {sigma} on each coordinate of a statistic of L2 sensitivity "
        "{sensitivity} {cost}." + _SENSITIVITY,
        ("sensitivity", "sigma"),
    ),
    "discrete_gaussian": Rule(
        (RHO,),
        "Discrete Gaussian noise of parameter {sigma} on each coordinate of a statistic of L2 sensitivity "
        "{sensitivity} {cost}." + _SENSITIVITY,
        ("sensitivity", "sigma"),
    ),
    "exponential": Rule(
        (EPSILON, RHO),
        "Selection by noise of scale {scale} on scores that each have sensitivity {sensitivity}, by a log-odds range "
        "of {factor} times sensitivity / scale, {cost}. The factor is 2, or 1 where a privacy unit moves all scores in "
        "the same direction, which, like the sensitivity, is the engine's statement.",
        ("sensitivity", "scale", "factor"),
    ),
    "randomized_response": Rule(
        (EPSILON,),
        "Telling the true one of {categories} answers with probability {probability}, and any other with equal "
        "chances, {cost}.",
        ("probability", "categories"),
    ),
    "poisson_laplace": Rule(
        (EPSILON,),
        "Laplace noise of scale {scale} on a sum of L1 sensitivity {sensitivity}, in which each privacy unit takes "
        "part with probability {sampling_probability} on its own, {cost}." + _SENSITIVITY,
        ("sensitivity", "scale", "sampling_probability"),
    ),
    "poisson_gaussian": Rule(
        (RENYI,),
        "Gaussian noise of standard deviation {sigma} on a sum of L2 sensitivity {sensitivity}, in which each privacy "
        "unit takes part with probability {sampling_probability} on its own, {cost}." + _SENSITIVITY,
        ("sensitivity", "sigma", "sampling_probability"),
    ),
    "fixed_size_gaussian": Rule(
        (RENYI,),
        "Gaussian noise of standard deviation {sigma} on a sum of L2 sensitivity {sensitivity} over {sample_size} of "
        "{population} privacy units, drawn without replacement, {cost}." + _SENSITIVITY,
        ("sensitivity", "sigma", "sample_size", "population"),
    ),
    # Rules of compositions, likewise.
    "self_composed": Rule(tuple(CURRENCIES), "The same operation {count} times over {cost}.", ("count",), premises=1),
    "composed": Rule(tuple(CURRENCIES), "All these operations together, fixed in advance, {cost}.", premises=None),
    "parallel": Rule(
        tuple(CURRENCIES),
        "Operations on disjoint partitions of the privacy units, of whose costs the largest {counted} count, {cost}. "
        "That the partitions are disjoint and do not depend on the data is the service's statement.",
        ("counted",),
        premises=None,
    ),
    # Rules of conversion, which speak of the event that their premise speaks of.
    "pure_to_renyi": Rule((RENYI,), "What is private in this way {cost}.", premises=1, premise=EPSILON),
    "pure_to_rho": Rule((RHO,), "What is private in this way {cost}.", premises=1, premise=EPSILON),
    "pure_to_mu": Rule((MU_SQUARED,), "What is private in this way {cost}.", premises=1, premise=EPSILON),
    "rho_to_renyi": Rule((RENYI,), "What is private in this way {cost}.", premises=1, premise=RHO),
    "renyi_to_epsilon": Rule(
        (EPSILON,),
        "What is private in this way, converted at order {order} with a delta of {conversion_delta}, {cost}.",
        ("order", "conversion_delta"),
        premises=1,
        premise=RENYI,
    ),
    "mu_to_epsilon": Rule(
        (EPSILON,),
        "What is private in this way, by the exact formula of the Gaussian with a delta of {conversion_delta}, {cost}.",
        ("conversion_delta",),
        premises=1,
        premise=MU_SQUARED,
    ),
    "accountant": Rule(
        (EPSILON,),
        "By the computation of two accountants in the service, which agreed, the operation {cost}. This is taken on "
        "the service's word: nothing in this document derives it.",
    ),
}


def _member_filter(name: str, currency: str, cap: str, *numbers: str) -> Rule:
    parts = [(f"{part}_{currency}", f"{part}_delta") for part in ("before", "charge", "after", "cap")]
    before, charge, after, limit = (f"{{{amount}}} and deltas of {{{delta}}}" for amount, delta in parts)
    wording = (
        f"The tenant's {name} filter had counted {before}; with this charge of {charge} it has counted {after}, "
        f"under a cap of {limit}. {cap}"
    )
    return Rule((currency,), wording, (*(name for part in parts for name in part), *numbers), 1)


_CONVERTED = "with a delta of {conversion_delta} for the conversion, keeps the promised epsilon of {promise_epsilon}."
_FILTERS: Mapping[str, Rule] = {
    "filter": _member_filter("basic", EPSILON, "The cap is in epsilon itself."),
    "renyi_filter": _member_filter(
        "Renyi",
        RENYI,
        f"The cap, at the order of {{order}} to which the filter is committed and {_CONVERTED}",
        "order",
        "conversion_delta",
        "promise_epsilon",
    ),
    "zcdp_filter": _member_filter(
        "zCDP",
        RHO,
        f"The cap, converted at order {{order}} {_CONVERTED}",
        "order",
        "conversion_delta",
        "promise_epsilon",
    ),
    "gdp_filter": _member_filter(
        "Gaussian DP", MU_SQUARED, f"The cap, {_CONVERTED}", "conversion_delta", "promise_epsilon"
    ),
}
RULES: Mapping[str, Rule] = {
    **_PRICING,
    **_FILTERS,
    "composed_filter": Rule(
        (EPSILON,),
        "Of the budget's member filters {holding} hold after this charge, and their shares of delta sum to at most "
        "{promise_delta}. The tenant's whole history is ({promise_epsilon}, {promise_delta})-differentially private.",
        ("promise_epsilon", "promise_delta", "holding"),
        premises=None,
    ),
    "basic_composition": Rule(
        (EPSILON,),
        "The allocations of this job that stand cost ({epsilon}, {delta}) in sum. Where a cost was chosen after seeing "
        "an earlier output, this sum is what the job used of the tenant's budget, and the guarantee is the budget's.",
        (EPSILON, "delta"),
        premises=None,
    ),
}
PRICING_RULES = frozenset(_PRICING)
"""The rules that price an event. They rest on one another, a step of a member filter on one of them, and
``basic_composition`` on any number of them."""
FILTER_RULES: Mapping[str, str] = {
    "basic": "filter",
    "renyi": "renyi_filter",
    "zcdp": "zcdp_filter",
    "gdp": "gdp_filter",
}
"""The rule of each member filter, by its name in the ledger, in the order in which the members stand."""
MAX_DEPTH = 20
"""How deep the steps of a derivation may be nested."""


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
        derivation: The step of rule ``composed_filter``. Its premises are the steps of the budget's member filters,
            and the premise of each of these prices the event in what that filter counts.
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

    @property
    def pricing(self) -> Node:
        """The step that prices the event as an (epsilon, delta): the first filter's premise."""
        return self.derivation.premises[0].premises[0]

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
        composition: The step of rule ``basic_composition``; its premises are the steps of the certificates that stand
            which price their events as (epsilon, delta), in their order.
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
        composition=_node(total["derivation"], "total.derivation", {"basic_composition"}, {EPSILON}),
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
    derivation = _node(item["derivation"], f"{where}.derivation", {"composed_filter"}, {EPSILON})
    if derivation.premises[0].rule != FILTER_RULES["basic"]:
        _refuse(f"{where}.derivation.premises[0].rule", "must be filter: every budget counts epsilon first")
    return Certificate(
        allocation_id=_text(item["allocation_id"], f"{where}.allocation_id"),
        standing=item["standing"],
        epsilon=_decimal(claim["epsilon"], f"{where}.claim.epsilon"),
        delta=_decimal(claim["delta"], f"{where}.claim.delta"),
        guarantee=guarantee,
        derivation=derivation,
        entry=_chain_entry(item["entry"], f"{where}.entry"),
        later=_chain(item["later"], f"{where}.later"),
    )


def _node(
    data: object,
    where: str,
    rules: Collection[str],
    currencies: Collection[str],
    number: re.Pattern[str] = _DECIMAL,
    depth: int = 0,
) -> Node:
    if depth > MAX_DEPTH:
        _refuse("derivation", f"is nested more than {MAX_DEPTH} deep")
    item = _object(data, where, "rule currency statement numbers premises")
    name, currency = item["rule"], item["currency"]
    if not isinstance(name, str) or name not in rules:
        _refuse(f"{where}.rule", f"must be {' or '.join(sorted(rules))}")
    rule = RULES[name]
    possible = [each for each in rule.currencies if each in currencies]
    if not isinstance(currency, str) or currency not in possible:
        _refuse(f"{where}.currency", f"must be {' or '.join(possible) or 'another: the rule does not fit here'}")
    numbers = _object(item["numbers"], f"{where}.numbers", " ".join(rule.names(currency)))
    for named, value in numbers.items():
        if not isinstance(value, str) or not number.fullmatch(value):
            form = "decimal" if number is _DECIMAL else "decimal or fraction"
            _refuse(f"{where}.numbers.{named}", f"must be the text of a {form} that is not negative")
    if item["statement"] != rule.statement(currency, numbers):
        _refuse(f"{where}.statement", "must say what the numbers say, in the words of the format")
    premises = _array(item["premises"], f"{where}.premises")
    wanted = len(premises) if rule.premises is None else rule.premises
    if len(premises) != wanted:
        _refuse(f"{where}.premises", f"must hold {wanted}, not {len(premises)}: so many the rule {name} rests on")
    if not premises and rule.premises is None and name != "basic_composition":
        _refuse(f"{where}.premises", f"must hold at least one: the rule {name} rests on it")
    below, of = (FILTER_RULES.values(), CURRENCIES) if name == "composed_filter" else (PRICING_RULES, (currency,))
    if rule.premise is not None:
        # What is converted once may be exact. What is added up is a decimal: many fractions would grow without bound.
        of, number = (rule.premise,), _NUMBER
    elif rule.premises != 0:
        number = _DECIMAL
    children = tuple(
        _node(child, f"{where}.premises[{at}]", below, of, number, depth + 1) for at, child in enumerate(premises)
    )
    return Node(name, currency, item["statement"], numbers, children)


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
