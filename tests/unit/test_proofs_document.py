"""The independent checker on a document as a whole: its signature, its format, hostile bytes, and the command."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.certificate import MAX_BYTES
from proofs.checker import Report, verify_document
from proofs.checker.__main__ import main
from proofs.prover import prove_job
from tests.unit.proofs_helpers import (
    ALL_MEMBERS,
    CLAIM,
    MANY_LAPLACES,
    OPERATOR,
    PATIENTS,
    SIGNER,
    STRANGER,
    TEN_LAPLACES,
    WIDE,
    Ledger,
    accepted,
    eventful_ledger,
    evidence_of,
    refused,
    sample,
    signed,
    text_of,
)

pytestmark = pytest.mark.untraced

_EVENTFUL = eventful_ledger()
_EVERYTHING = _EVENTFUL.proof(evidence_of(_EVENTFUL.entries, before=5, after=9))
_RAW = text_of(_EVERYTHING).encode()
assert verify_document(_RAW).valid


# The signature.


def refused_as_it_is(text: str | bytes, reason: str, trusted: list[dict[str, Any]] | None = None) -> None:
    """The text is checked as it stands."""
    report = verify_document(text, trusted)
    assert not report.valid
    assert any(reason in found for found in report.reasons), report.reasons


def test_a_document_changed_after_signing_is_refused() -> None:
    """Even where the change would be harmless."""
    refused_as_it_is(text_of({**sample(), "software": {}}), "the signature does not fit the document")


def test_a_document_signed_by_a_key_it_does_not_bring_is_refused() -> None:
    """The kid in the signature names a key in the document."""
    refused_as_it_is(signed(sample(), STRANGER), "is not in the document")


def test_only_a_trusted_key_counts_where_keys_are_trusted() -> None:
    """A stranger's proof is whole, and still not the service's. Keys of other kinds in the set are passed over."""
    text = text_of(sample())
    rsa = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": SIGNER.kid}
    report = verify_document(text, [rsa, SIGNER.public_jwk])
    assert report.valid
    assert f"signed by the trusted key {SIGNER.kid}" in report.facts
    for keys in ([STRANGER.public_jwk], [rsa], []):
        refused_as_it_is(text, "not among the trusted keys", list(keys))


def test_a_key_under_another_keys_name_is_refused() -> None:
    """A kid is the key's own thumbprint."""
    document = sample()
    document["keys"] = [{**STRANGER.public_jwk, "kid": SIGNER.kid}]
    refused(document, "is not in the document")
    document["keys"] = [{**SIGNER.public_jwk, "kid": "mine"}]
    refused(document, "the key is not named by its thumbprint")


@pytest.mark.parametrize(
    ("key", "reason"),
    [({"kty": "EC"}, "is not an Ed25519 public key"), ({"x": "AAAA"}, "32 bytes"), ({"x": "A*"}, "not base64url")],
)
def test_a_key_that_is_none_is_refused(key: dict[str, str], reason: str) -> None:
    """Malformed keys are refused, not passed over: the document brings them itself."""
    document = sample()
    document["keys"] = [{**SIGNER.public_jwk, **key}]
    refused(document, reason)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("eyJhbGciOiJub25lIn0", "must name the algorithm EdDSA and a kid, and nothing else"),
        ("e30", "must name the algorithm EdDSA and a kid, and nothing else"),
        ("W10", "must name the algorithm EdDSA and a kid, and nothing else"),
        ("", "not JSON"),
        ("_w", "not JSON"),
        ("é", "not base64url"),
    ],
)
def test_a_signature_with_another_header_is_refused(header: str, reason: str) -> None:
    """Algorithm none, no algorithm, no object, nothing at all."""
    document = sample()
    document["signature"] = header + document["signature"][document["signature"].index("..") :]
    refused_as_it_is(text_of(document), reason)


@pytest.mark.parametrize("signature", ["", "a.b", "a.b.c", "a..b.c"])
def test_a_signature_that_is_no_detached_jws_is_refused(signature: str) -> None:
    """The content is the document, not something inside the signature."""
    refused_as_it_is(text_of({**sample(), "signature": signature}), "not a compact JWS with detached content")


def test_a_signature_in_another_spelling_is_refused() -> None:
    """The last character of 64 bytes in base64url has four bits to spare; they must be 0 (RFC 4648, section 3.5)."""
    document = sample()
    last = document["signature"][-1]
    assert last in "AQgw"
    document["signature"] = document["signature"][:-1] + chr(ord(last) + 1)
    refused_as_it_is(text_of(document), "not base64url text in its one spelling")


# Whatever else may come.


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_byte_can_be_changed(position: int, difference: int) -> None:
    """Changing any one byte of a document makes it invalid, or unreadable, and never raises."""
    raw = bytearray(_RAW)
    raw[position % len(raw)] ^= difference
    assert not verify_document(bytes(raw)).valid


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_no_truncated_document_is_valid(length: int) -> None:
    """A part of a proof proves nothing."""
    assert not verify_document(_RAW[: length % len(_RAW)]).valid


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_member_can_be_replaced_by_anything_else(data: st.DataObject) -> None:
    """Any value in any place gives a report, never an exception, and never a valid one."""
    document = copy.deepcopy(_EVERYTHING)
    holder: Any = document
    while True:
        places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        place = data.draw(st.sampled_from(places))
        child = holder[place]
        if not isinstance(child, dict | list) or not child or data.draw(st.booleans()):
            break
        holder = child
    holder[place] = data.draw(_VALUES.filter(lambda value: value != child))
    report = verify_document(json.dumps(document))
    assert not report.valid
    assert report.reasons
    assert all(reason.isascii() and "could not be completed" not in reason for reason in report.reasons)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.binary())
def test_no_noise_is_valid(noise: str | bytes) -> None:
    """Random text and bytes give a report."""
    assert not verify_document(noise).valid


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("[]", "document must be an object"),
        ("{}", "document has no format"),
        (b"\xff\xfe{", "not UTF-8"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"format":NaN}', "NaN"),
        ('{"format":-Infinity}', "Infinity"),
        ('{"format":1.5}', "not a whole number"),
        ('{"format":1e999}', "not a whole number"),
        ('{"format":' + "9" * 5000 + "}", "out of range"),
        ('{"format":1,"format":1}', "the same name twice"),
        ('"\\ud800"', "document must be an object"),
    ],
)
def test_what_is_no_strict_json_is_refused(text: str | bytes, reason: str) -> None:
    """Each with its reason."""
    refused_as_it_is(text, reason)


def test_a_huge_document_is_refused_unread() -> None:
    """The limit counts bytes, in text as well."""
    refused_as_it_is(b" " * (MAX_BYTES + 1), "larger than 64 MiB")
    refused_as_it_is(" " * (MAX_BYTES + 1), "larger than 64 MiB")
    refused_as_it_is("é" * (MAX_BYTES // 2 + 1), "larger than 64 MiB")


def paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every path to a member of an object in the document."""
    if isinstance(value, dict):
        return [found for name, child in value.items() for found in [(*path, name), *paths(child, (*path, name))]]
    if isinstance(value, list):
        return [found for at, child in enumerate(value) for found in paths(child, (*path, at))]
    return []


def test_no_member_can_be_missing_and_none_can_be_added() -> None:
    """The format is closed; only which software is listed is open."""
    ledger = Ledger(WIDE, 30)
    ledger.register(PATIENTS, ALL_MEMBERS)
    ledger.commit(ledger.allocate(MANY_LAPLACES, loss=TEN_LAPLACES, ttl_seconds=60, on=("patients", "north")), steps=1)
    whole = ledger.proof(evidence_of(ledger.entries))
    accepted(whole)
    for path in paths(whole):
        if path == ("signature",) or (path[0] == "software" and len(path) > 1):
            continue
        document = copy.deepcopy(whole)
        holder: Any = document
        for step in path[:-1]:
            holder = holder[step]
        value = holder.pop(path[-1])
        assert not verify_document(signed(document)).valid, path
        holder[path[-1]] = value
        holder["surplus"] = "1"
        assert not verify_document(signed(document)).valid, path


STEP = ("certificates", 0, "derivation")


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("format",), "other", "format must be privacy-engine-proof"),
        (("version",), 2, "version must be 4"),
        (("version",), True, "version must be 4"),
        (("certificates",), [], "certificates must not be empty"),
        (("certificates",), {}, "certificates must be a list"),
        (("software",), [], "software must be an object"),
        (("subject", "name"), "\ud800", "half of a surrogate pair"),
        (("certificates", 0, "standing"), "maybe", "standing must be"),
        (("certificates", 0, "claim", "epsilon"), "1e3", "must be the text of a decimal"),
        (("certificates", 0, "claim", "epsilon"), "1/2", "must be the text of a decimal"),
        (("certificates", 0, "claim", "guarantee", "scope"), 7, "guarantee: a value must be text"),
        ((*STEP, "statement"), "Nothing was spent.", "must say what the numbers say"),
        ((*STEP, "rule"), "claim", "rule must be composed_filter or window_filter"),
        ((*STEP, "rule"), "dataset_filter", "rule must be composed_filter or window_filter"),
        (("certificates", 0, "dataset"), sample()["certificates"][0]["derivation"], "dataset has no guarantee"),
        (("total", "derivation", "premises", 0, "rule"), "filter", "or accountant_bounded or claim or"),
        ((*STEP, "premises"), [], "must hold at least one"),
        ((*STEP, "premises"), sample()["certificates"][0]["derivation"]["premises"][1:], "counts epsilon first"),
        ((*STEP, "premises", 0, "premises"), [], "must hold 1, not 0"),
        ((*STEP, "premises", 0, "rule"), "claim", "rule must be filter or gdp_filter or renyi_filter or zcdp_filter"),
        ((*STEP, "premises", 0, "currency"), "rho", "currency must be epsilon"),
        ((*STEP, "premises", 0, "premises", 0, "rule"), "filter", "or accountant_bounded or claim or"),
        ((*STEP, "premises", 0, "premises", 0, "rule"), "zcdp", "currency must be another: the rule does not fit here"),
        ((*STEP, "premises", 0, "numbers", "cap_delta"), "1/3", "must be the text of a decimal"),
        ((*STEP, "premises", 1, "premises", 0, "premises", 0, "numbers", "delta"), "1/0", "decimal or fraction"),
        (("certificates", 0, "entry", "seq"), 0, "seq must be a whole number from 1"),
        (("certificates", 0, "entry", "seq"), True, "seq must be a whole number from 1"),
    ],
)
def test_a_member_outside_the_format_is_refused(path: tuple[str | int, ...], value: object, reason: str) -> None:
    """Each with the place where it stands."""
    document = sample()
    holder: Any = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    refused_as_it_is(json.dumps(document), reason)


def test_the_report_quotes_hostile_text_in_plain_ascii() -> None:
    """A document cannot steer the terminal of whoever checks it."""
    ledger = Ledger()
    document = prove_job([ledger.allocate(CLAIM, job_id="\x1b[2J" + "é" * 500)], SIGNER)
    document["subject"]["name"] = "other"
    report = verify_document(signed(document))
    assert not report.valid
    assert all(reason.isascii() and reason.isprintable() and len(reason) < 200 for reason in report.reasons)


# The command.


def test_the_command_answers_by_its_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 for a valid proof, 1 with the reason for another, 2 for a file that cannot be read."""
    good, bad, keys, strangers = (tmp_path / name for name in ("good.json", "bad.json", "keys.json", "strangers.json"))
    good.write_text(text_of(sample()), encoding="utf-8")
    bad.write_text("{}")
    keys.write_text(json.dumps({"keys": [SIGNER.public_jwk]}))
    strangers.write_text(json.dumps({"keys": [STRANGER.public_jwk]}))
    assert main([str(good)]) == 0
    assert "VALID: job 'job-1' of tenant 'tenant-a'" in capsys.readouterr().out
    assert main([str(good), "--keys", str(keys)]) == 0
    assert "signed by the trusted key" in capsys.readouterr().out
    assert main([str(good), "--keys", str(strangers)]) == 1
    assert "not among the trusted keys" in capsys.readouterr().out
    assert main([str(bad)]) == 1
    assert "wrong: document has no format" in capsys.readouterr().out
    assert main([str(tmp_path / "absent.json")]) == 2
    assert main([str(good), "--keys", str(bad)]) == 2
    assert "not a JWK set" in capsys.readouterr().err


def test_the_command_checks_operators_signatures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With their keys; without them it says that it did not."""
    proof, keys, strangers = (tmp_path / name for name in ("proof.json", "keys.json", "strangers.json"))
    proof.write_bytes(_RAW)
    keys.write_text(json.dumps({"keys": [OPERATOR.public_jwk]}))
    strangers.write_text(json.dumps({"keys": [STRANGER.public_jwk]}))
    assert main([str(proof)]) == 0
    said = capsys.readouterr().out
    assert "whose signature was not checked" in said
    assert "in the log of 48 entries at position 8, 9, 10, 11, 12 and 16 more, head signed by the key" in said
    assert main([str(proof), "--operator-keys", str(keys)]) == 0
    assert "whose signature was checked" in capsys.readouterr().out
    assert main([str(proof), "--operator-keys", str(strangers)]) == 1


def test_a_report_is_a_value() -> None:
    """Equal documents give equal reports."""
    assert isinstance(verify_document(_RAW), Report)
    assert verify_document(_RAW) == verify_document(_RAW)
