"""A parser of proof documents that accepts nothing else."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from proofs.certificate.rules import ADMISSION_RULES, CURRENCIES, EPSILON, FILTER_RULES, PRICING_RULES, RULES, Rule
from proofs.certificate.schema import (
    ALLOCATION,
    FORMAT,
    HISTORY,
    PLAN,
    STANDINGS,
    SUBJECTS,
    VERSION,
    Certificate,
    ChainEntry,
    DatasetProof,
    Inclusion,
    Log,
    MalformedError,
    Node,
    PlanProof,
    ProofBundle,
    Subject,
)

MAX_BYTES = 64 * 2**20
"""The largest document that is read, in bytes."""
LARGEST_INTEGER = 2**53 - 1
"""The largest whole number that every JSON implementation keeps exact (RFC 8785, section 3.2.2.3)."""
MAX_DEPTH = 20
"""How deep the steps of a derivation may be nested."""

_DIGITS = r"(?:0|[1-9][0-9]{0,999})"
_NUMBER = re.compile(rf"{_DIGITS}(?:\.[0-9]{{0,999}}[1-9]|/[1-9][0-9]{{0,999}})?")
_DECIMAL = re.compile(rf"{_DIGITS}(?:\.[0-9]{{0,999}}[1-9])?")
_HASH = re.compile(r"[0-9a-f]{64}")
_OF_TENANT = frozenset({"composed_filter", "window_filter"})
_OF_DATASET = ADMISSION_RULES - _OF_TENANT
_SUMMED = PRICING_RULES | {"divided"}


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
        "format version tenant_id subject certificates plan neighbours registrations log total keys software signature",
    )
    if root["format"] != FORMAT:
        _refuse("format", f"must be {FORMAT}")
    if type(root["version"]) is not int or root["version"] != VERSION:
        _refuse("version", f"must be {VERSION}")
    certificates = tuple(
        _certificate(item, f"certificates[{number}]")
        for number, item in enumerate(_array(root["certificates"], "certificates"))
    )
    subject = _subject(root["subject"])
    plan = None if root["plan"] is None else _plan(root["plan"])
    _check_content(subject, len(certificates), plan)
    total = _object(root["total"], "total", "epsilon delta derivation")
    return ProofBundle(
        tenant_id=_text(root["tenant_id"], "tenant_id"),
        subject=subject,
        certificates=certificates,
        plan=plan,
        neighbours=_chain(root["neighbours"], "neighbours"),
        registrations=_chain(root["registrations"], "registrations"),
        log=None if root["log"] is None else _log(root["log"]),
        epsilon=_decimal(total["epsilon"], "total.epsilon"),
        delta=_decimal(total["delta"], "total.delta"),
        composition=_node(total["derivation"], "total.derivation", {"basic_composition"}, {EPSILON}),
        keys=tuple(_key(item, f"keys[{number}]") for number, item in enumerate(_array(root["keys"], "keys"))),
        software=_texts(root["software"], "software"),
        signature=_text(root["signature"], "signature"),
    )


def _subject(data: object) -> Subject:
    item = _object(data, "subject", "kind name")
    if item["kind"] not in SUBJECTS:
        _refuse("subject.kind", f"must be {' or '.join(SUBJECTS)}")
    return Subject(item["kind"], _text(item["name"], "subject.name"))


def _plan(data: object) -> PlanProof:
    item = _object(data, "plan", "event derivation")
    derivation = _node(item["derivation"], "plan.derivation", PRICING_RULES, {EPSILON})
    return PlanProof(_text(item["event"], "plan.event"), derivation)


def _check_content(subject: Subject, certificates: int, plan: PlanProof | None) -> None:
    """Whether the document holds what one of its kind holds."""
    if (plan is None) is (subject.kind == PLAN):
        _refuse("plan", "must be there for a plan, and null for anything else")
    if subject.kind == PLAN and certificates:
        _refuse("certificates", "must be empty: a plan has been charged nothing")
    if subject.kind == ALLOCATION and certificates != 1:
        _refuse("certificates", "must hold one: the document is about one allocation")
    if subject.kind not in (PLAN, HISTORY) and not certificates:
        _refuse("certificates", "must not be empty")


def checked_decimal(value: object, where: str) -> str:
    """The value, if it is the text of a decimal that is not negative, written in the one way: ``0.1``, never ``.10``.

    Raises:
        MalformedError: Otherwise.
    """
    return _decimal(value, where)


def _certificate(data: object, where: str) -> Certificate:
    item = _object(data, where, "allocation_id standing claim derivation dataset entry later")
    claim = _object(item["claim"], f"{where}.claim", "epsilon delta guarantee")
    if item["standing"] not in STANDINGS:
        _refuse(f"{where}.standing", f"must be {' or '.join(STANDINGS)}")
    return Certificate(
        allocation_id=_text(item["allocation_id"], f"{where}.allocation_id"),
        standing=item["standing"],
        epsilon=_decimal(claim["epsilon"], f"{where}.claim.epsilon"),
        delta=_decimal(claim["delta"], f"{where}.claim.delta"),
        guarantee=_texts(claim["guarantee"], f"{where}.claim.guarantee"),
        derivation=_admission(item["derivation"], f"{where}.derivation", _OF_TENANT),
        dataset=None if item["dataset"] is None else _dataset(item["dataset"], f"{where}.dataset"),
        entry=_chain_entry(item["entry"], f"{where}.entry"),
        later=_chain(item["later"], f"{where}.later"),
    )


def _dataset(data: object, where: str) -> DatasetProof:
    item = _object(data, where, "guarantee derivation")
    return DatasetProof(
        guarantee=_texts(item["guarantee"], f"{where}.guarantee"),
        derivation=_admission(item["derivation"], f"{where}.derivation", _OF_DATASET),
    )


def _admission(data: object, where: str, rules: Collection[str]) -> Node:
    derivation = _node(data, where, rules, {EPSILON})
    if derivation.premises[0].rule != FILTER_RULES["basic"]:
        _refuse(f"{where}.premises[0].rule", "must be filter: every budget counts epsilon first")
    return derivation


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
    below, of = _below(name, rule, currency)
    if rule.premise is not None:
        # What is converted once may be exact. What is added up is a decimal: many fractions would grow without bound.
        number = _NUMBER
    elif rule.premises != 0:
        number = _DECIMAL
    children = tuple(
        _node(child, f"{where}.premises[{at}]", below, of, number, depth + 1) for at, child in enumerate(premises)
    )
    return Node(name, currency, item["statement"], numbers, children)


def _below(name: str, rule: Rule, currency: str) -> tuple[Collection[str], Collection[str]]:
    """The rules, and the currencies, of the steps that one may rest on."""
    if name in ADMISSION_RULES:
        return FILTER_RULES.values(), CURRENCIES
    if name == "divided":
        return ("self_composed",), (currency,)
    if name == "basic_composition":
        return _SUMMED, (currency,)
    return PRICING_RULES, (rule.premise or currency,)


def _chain(data: object, where: str) -> tuple[ChainEntry, ...]:
    return tuple(_chain_entry(item, f"{where}[{number}]") for number, item in enumerate(_array(data, where)))


def _chain_entry(data: object, where: str) -> ChainEntry:
    item = _object(data, where, "seq hash body inclusion")
    return ChainEntry(
        seq=_whole(item["seq"], f"{where}.seq", 1),
        hash=_text(item["hash"], f"{where}.hash"),
        body=_text(item["body"], f"{where}.body"),
        inclusion=None if item["inclusion"] is None else _inclusion(item["inclusion"], f"{where}.inclusion"),
    )


def _inclusion(data: object, where: str) -> Inclusion:
    item = _object(data, where, "position hashes")
    hashes = _array(item["hashes"], f"{where}.hashes")
    for number, value in enumerate(hashes):
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            _refuse(f"{where}.hashes[{number}]", "must be 64 lower-case hexadecimal digits")
    return Inclusion(_whole(item["position"], f"{where}.position", 0), tuple(hashes))


def _log(data: object) -> Log:
    item = _object(data, "log", "head key")
    return Log(_text(item["head"], "log.head"), _key(item["key"], "log.key"))


def _whole(data: object, where: str, least: int) -> int:
    # A boolean is an int to Python, and no position.
    if type(data) is not int or data < least:
        _refuse(where, f"must be a whole number from {least}")
    return data


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
