"""Documents from somebody who wants a lower number believed, or the checker kept busy. What breaks is named.

Further refusals, one lie each, are in ``test_proofs_checker.py`` and the files beside it.
"""

import base64
import copy
import hashlib
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proofs.certificate import RULES
from proofs.checker import Report, verify_document
from proofs.prover import prove_history
from tests.unit.proofs_helpers import (
    PUBLISHER,
    SIGNER,
    entries_of,
    eventful_ledger,
    evidence_of,
    refused,
    sample,
    sample_ledger,
    signed,
    text_of,
    with_body,
)

pytestmark = pytest.mark.untraced

Path = tuple[str | int, ...]

PLACES = re.compile(
    r"not JSON: .* at character \d+"
    r"|not strict JSON: |not a proof: nested too deeply|the document is not UTF-8 text: byte \d+"
    r"|(?:document|format|version|tenant_id|subject|certificates|plan|neighbours|registrations|log|total|keys|software"
    r"|signature)\b"
    r"|head of the log: |entry at position \d+|entries \d+ and \d+|certificate \d+ \(position \d+\): |position \d+"
    r"|allocation |the total |the stated total "
)
"""How a reason begins: with the place in the document, or the step of the check, where it went wrong."""
DIGITS = 2_100
"""The longest whole number that is ever read: 1,000 digits, and as many decimals."""
NO_NUMBERS = [
    "NaN",
    "Infinity",
    "-1",
    "1e999999999",
    "1e-999999999",
    "0x10",
    "",
    "1_0",
    "9" * 10**6,
    "9" * 10**6 + ".5",
]


def placed(report: Report) -> bool:
    """Whether the document is refused and every reason says where."""
    return not report.valid and bool(report.reasons) and all(PLACES.match(reason) for reason in report.reasons)


def at(document: Any, path: Path) -> Any:  # noqa: ANN401 - JSON
    """What stands there."""
    for step in path:
        document = document[step]
    return document


def steps_of(node: dict[str, Any], path: Path) -> Iterator[Path]:
    """The paths of a step and of all that it rests on."""
    yield path
    for number, premise in enumerate(node["premises"]):
        yield from steps_of(premise, (*path, "premises", number))


def derivations(document: dict[str, Any]) -> Iterator[Path]:
    """The paths of all steps of a document, the total's among them."""
    for number, certificate in enumerate(document["certificates"]):
        roots: list[Path] = [("certificates", number, "derivation")]
        if certificate["dataset"] is not None:
            roots.append(("certificates", number, "dataset", "derivation"))
        for root in roots:
            yield from steps_of(at(document, root), root)
    yield from steps_of(document["total"]["derivation"], ("total", "derivation"))


def amounts(document: dict[str, Any]) -> Iterator[Path]:
    """The paths of all amounts above 0 that a document states as text; orders are no amounts."""
    for number in range(len(document["certificates"])):
        yield from (("certificates", number, "claim", name) for name in ("epsilon", "delta"))
    yield from (("total", name) for name in ("epsilon", "delta"))
    for path in derivations(document):
        yield from ((*path, "numbers", name) for name in at(document, path)["numbers"] if name != "order")


def reworded(document: dict[str, Any]) -> dict[str, Any]:
    """Every step says in words what it says in numbers."""
    for path in derivations(document):
        step = at(document, path)
        step["statement"] = RULES[step["rule"]].statement(step["currency"], step["numbers"])
    return document


_EVENTFUL = eventful_ledger()
_JOB = _EVENTFUL.proof(evidence_of(_EVENTFUL.entries, before=5, after=9))
_HISTORY = prove_history(_EVENTFUL.entries, SIGNER, evidence_of(_EVENTFUL.entries))
_RAW = text_of(_JOB).encode()
_STEPS = list(derivations(_JOB))
_AMOUNTS = [path for path in amounts(_JOB) if Fraction(at(_JOB, path)) > 0]


# Changed by somebody who cannot sign.


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(_RAW) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_with_the_step_that_failed(position: int, difference: int) -> None:
    """Wherever it stands; where it leaves a document of the right shape, the signature is among what fails."""
    raw = bytearray(_RAW)
    raw[position] ^= difference
    report = verify_document(bytes(raw))
    assert placed(report), report.reasons


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(_STEPS), st.text(max_size=20))
def test_a_changed_field_of_a_step_is_refused_with_the_step_that_failed(path: Path, text: str) -> None:
    """By the place in the document, as a path."""
    for name in ("rule", "currency", "statement"):
        document = copy.deepcopy(_JOB)
        at(document, path)[name] += text + "x"
        report = verify_document(text_of(document))
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]
        assert placed(report)
        assert report.reasons[0].startswith(f"{place}.{name} must "), report.reasons


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_nothing_can_be_left_out_without_the_key(data: st.DataObject) -> None:
    """A certificate, an entry of the chain, an end of an allocation, a hash of an inclusion proof."""
    document = copy.deepcopy(_JOB)
    lists = [document["certificates"], document["neighbours"], document["registrations"]]
    lists += [certificate["later"] for certificate in document["certificates"] if certificate["later"]]
    lists += [entry["inclusion"]["hashes"] for entry in entries_of(document)]
    chosen = data.draw(st.sampled_from(lists))
    del chosen[data.draw(st.integers(0, len(chosen) - 1))]
    report = verify_document(text_of(document))
    assert placed(report), report.reasons
    assert any(reason.startswith("signature: the signature does not fit") for reason in report.reasons)


# Signed again, by a liar who has the key.


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(_AMOUNTS), st.integers(0, 99))
def test_no_amount_can_be_lowered(path: Path, share: int) -> None:
    """In numbers and words, in whatever step or claim: the ledger, the event or the steps beside it say more."""
    document = copy.deepcopy(_JOB)
    stated = Fraction(at(document, path))
    lower = stated * share / 100
    text = str(lower) if "/" in at(document, path) else decimal(lower)
    at(document, path[:-1])[path[-1]] = text
    report = verify_document(signed(reworded(document)))
    assert placed(report), report.reasons


def decimal(value: Fraction) -> str:
    """A fraction whose denominator divides a power of ten, as a decimal."""
    places = 0
    while value * 10**places % 1:
        places += 1
    digits = str(int(value * 10**places)).rjust(places + 1, "0")
    return f"{digits[:-places]}.{digits[-places:]}" if places else digits


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([path for path in _STEPS if "premises" in path]), st.booleans())
def test_no_step_of_a_derivation_can_be_dropped(path: Path, whole: bool) -> None:
    """Neither with all that it rests on, nor alone, so that what it rests on stands in its place."""
    document = copy.deepcopy(_JOB)
    premises, number = at(document, path[:-1]), path[-1]
    assert isinstance(number, int)
    premises[number : number + 1] = [] if whole else premises[number]["premises"]
    if premises == at(_JOB, path[:-1]):
        return
    report = verify_document(signed(document))
    assert placed(report), report.reasons
    assert not any(reason.startswith("signature") for reason in report.reasons)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_no_entry_of_a_history_can_be_dropped(data: st.DataObject) -> None:
    """Of a whole history each entry is there, from the first on: a charge less, and the chain has a gap."""
    document = copy.deepcopy(_HISTORY)
    lists = [document["certificates"], document["neighbours"], document["registrations"]]
    lists += [certificate["later"] for certificate in document["certificates"] if certificate["later"]]
    chosen = data.draw(st.sampled_from(lists))
    dropped = chosen.pop(data.draw(st.integers(0, len(chosen) - 1)))
    last = max(entry["seq"] for entry in entries_of(_HISTORY))
    report = verify_document(signed(document))
    if dropped.get("seq") == last:
        assert dropped["inclusion"] is not None  # the head names more entries than the history shows
    else:
        assert placed(report), report.reasons


def test_an_entry_of_another_tenant_is_no_certificates_evidence() -> None:
    """Hash, signature and derivation right in themselves, the charge is another tenant's."""
    theirs = sample_ledger().proof(alone=True)["certificates"][0]
    with_body(theirs["entry"], lambda body: body.update(tenant_id="tenant-b"))
    document = sample()
    document["certificates"][0] = theirs
    refused(document, "entry at position 2: belongs to another tenant, 'tenant-b'")


def test_an_entry_does_not_stand_at_another_tenants_place_in_the_log() -> None:
    """The inclusion proof is of the entry's own hash: a place that is somebody else's proves nothing."""
    ledger = sample_ledger()
    document = ledger.proof(evidence_of(ledger.entries, before=3))
    entries = entries_of(document)
    entries[1]["inclusion"], entries[2]["inclusion"] = entries[2]["inclusion"], entries[1]["inclusion"]
    refused(document, "entry at position 2")
    refused(document, "entry at position 3")


# Numbers and texts that are none, or too many.


def all_numbers(document: dict[str, Any]) -> Iterator[Path]:
    """The paths of all numbers that are written as text, outside of entries."""
    yield from amounts(document)
    for path in derivations(document):
        yield from ((*path, "numbers", name) for name in at(document, path)["numbers"] if name == "order")


@pytest.fixture
def limited_digits() -> Iterator[None]:
    """Python itself refuses to read a whole number that is longer than any that the checker should read."""
    usual = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(DIGITS)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(usual)


@pytest.mark.usefixtures("limited_digits")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(list(all_numbers(_JOB))), st.sampled_from(NO_NUMBERS))
def test_what_is_no_number_is_refused_where_it_stands(path: Path, text: str) -> None:
    """By its form alone: nothing longer than the format allows is ever read as a number."""
    document = copy.deepcopy(_JOB)
    at(document, path[:-1])[path[-1]] = text
    (reason,) = verify_document(text_of(document)).reasons
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]
    assert reason.startswith(f"{place} must be the text of a decimal"), reason


@pytest.mark.usefixtures("limited_digits")
@pytest.mark.parametrize("text", NO_NUMBERS, ids=lambda text: text[:12])
def test_what_is_no_number_is_refused_in_an_entry(text: str) -> None:
    """In caps, sums, charges and events, hashed and signed like any entry."""

    def charged(body: dict[str, Any]) -> None:
        body["charge"]["basic"]["epsilon"] = text

    def capped(body: dict[str, Any]) -> None:
        body["budget"]["renyi"]["conversion_delta"] = text

    def described(body: dict[str, Any]) -> None:
        body["event"]["scale"] = text

    for change in (charged, capped, described):
        document = sample()
        with_body(document["certificates"][1]["entry"], change)
        report = verify_document(signed(document))
        assert placed(report), report.reasons
        assert report.reasons[0].startswith("entry at position 3: "), report.reasons
        assert all(len(reason) < 300 for reason in report.reasons)


NO_JSON = {
    "a number with a huge exponent": '{"v":1e999999999}',
    "no number": '{"v":NaN}',
    "an endless number": '{"v":' + "9" * 10**6 + "}",
    "a name twice": '{"v":3,"v":3}',
    "deep lists": "[" * 10**5 + "]" * 10**5,
    "deep objects": '{"v":' * 10**5 + "1" + "}" * 10**5,
}


@pytest.mark.usefixtures("limited_digits")
@pytest.mark.parametrize("text", NO_JSON.values(), ids=NO_JSON)
def test_hostile_json_is_refused_wherever_json_is_read(text: str) -> None:
    """The document itself, an entry in it, the header of a signature, the head of the log: strict everywhere."""
    assert placed(verify_document(text))

    document = sample()
    entry = document["certificates"][0]["entry"]
    entry.update(body=text, hash=hash_of(text))
    report = verify_document(signed(document))
    assert placed(report)
    assert any(reason.startswith("entry at position 2: not") for reason in report.reasons), report.reasons

    document = sample()
    document["signature"] = f"{base64url(text)}..{document['signature'].rpartition('.')[2]}"
    report = verify_document(text_of(document))
    assert [reason[:14] for reason in report.reasons] == ["signature: not"]

    ledger = sample_ledger()
    document = ledger.proof(evidence_of(ledger.entries))
    document["log"]["head"] = PUBLISHER.sign(text.encode())
    report = verify_document(signed(document))
    assert placed(report)
    assert any(reason.startswith("head of the log: ") for reason in report.reasons), report.reasons


def hash_of(text: str) -> str:
    """SHA-256 of a text, 64 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def base64url(text: str) -> str:
    """The text in base64url, without padding."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(["rule", "currency", "statement", "numbers", "premises", "surplus"]), st.sampled_from(_STEPS))
def test_a_megabyte_of_text_is_not_repeated_to_whoever_checks(name: str, path: Path) -> None:
    """As a value or as a member's name, it costs one reason of a readable length."""
    long = "A" * 2**20
    for change in ({name: long}, {long: "x"}):
        document = copy.deepcopy(_JOB)
        at(document, path).update(change)
        (reason,) = verify_document(text_of(document)).reasons
        assert len(reason) < 500
        assert PLACES.match(reason)


def test_a_document_of_nothing_but_empty_lists_is_refused_before_it_is_read() -> None:
    """It would take thirty times its size: counted as text, without a list of it ever being made."""
    assert_refused_for(b"[" + b"[]," * 5_000_000 + b"[]]", "more than 8000000 values")


def assert_refused_for(text: bytes, reason: str) -> None:
    """Exactly that is wrong with it."""
    report = verify_document(text)
    assert not report.valid
    assert [reason in found for found in report.reasons] == [True], report.reasons
