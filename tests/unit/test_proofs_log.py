"""A certificate's place in the log: proved under a signed head, or plainly said to be missing."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.ledger.merkle import leaf_hash, tree_root
from proofs.certificate import Inclusion
from proofs.heads import Head, sign_head
from proofs.prover import LogEvidence
from proofs.signing import SigningKey
from tests.unit.proofs_helpers import (
    CLAIM,
    LAPLACE,
    PUBLISHER,
    SIGNER,
    STRANGER,
    WIDE,
    Ledger,
    accepted,
    evidence_of,
    refused,
)

AT = datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=UTC)
LOG_ID = "00000000-0000-4000-8000-000000000abc"


def history() -> Ledger:
    """A job of one charge and one void."""
    ledger = Ledger(WIDE)
    ledger.allocate(CLAIM)
    ledger.void(ledger.allocate(LAPLACE, ttl_seconds=60))
    return ledger


def logged(taken_up: int = 4, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - as `evidence_of` takes them
    """The proof of that job under a head that was signed when so many of its entries had been taken up."""
    ledger = history()
    return ledger.proof(evidence_of(ledger.entries[:taken_up], **more))


def facts(document: dict[str, Any], **keys: Any) -> str:  # noqa: ANN401 - as `verify_document` takes them
    """What the report says."""
    return "\n".join(accepted(document, **keys).facts)


# What is true is accepted, and said.


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 4))
def test_entries_are_found_in_a_log_of_any_size(before: int, after: int, taken_up: int) -> None:
    """Wherever other tenants' entries stand between; what the head does not know yet is said to be missing."""
    document = logged(taken_up, before=before, after=after)
    size = before + taken_up + after
    said = facts(document)
    # The first entry set the budget: it is a neighbour, and stands in the log with the others.
    places = [before + seq - 1 for seq in range(2, taken_up + 1)]
    if places:
        where = ", ".join(map(str, places))
        assert f"in the log of {size} entries at position {where}, head signed by the key {PUBLISHER.kid}" in said
    missing = [str(seq) for seq in range(2, 5) if seq > max(taken_up, 1)]
    assert ("not in the log of" in said) == bool(missing)
    if missing:
        assert f"for the entries at position {', '.join(missing)} of the tenant's history" in said


def test_a_document_without_a_head_says_so() -> None:
    """It is valid by its own signature, and nothing is claimed of the log."""
    document = history().proof()
    assert document["log"] is None
    assert "no head of the log is in the document" in facts(document)


def test_the_heads_key_is_named_and_compared_with_those_that_are_trusted() -> None:
    """A key for proofs signs no heads, and one for heads no proofs."""
    assert f"head signed by the key {PUBLISHER.kid}, which came with the proof" in facts(logged())
    keys: list[dict[str, Any]] = [
        {**SIGNER.public_jwk, "purpose": "proofs"},
        {**PUBLISHER.public_jwk, "purpose": "heads"},
        {**STRANGER.public_jwk, "purpose": "tokens"},
    ]
    assert f"head signed by the trusted key {PUBLISHER.kid}" in facts(logged(), trusted_keys=keys)
    facts(logged(), trusted_keys=[SIGNER.public_jwk, PUBLISHER.public_jwk])
    refused(logged(), "head of the log: made by the key", trusted_keys=keys[:1])
    refused(logged(), "not among the trusted keys for heads", trusted_keys=[keys[0], {**keys[1], "purpose": "tokens"}])
    refused(logged(), "not among the trusted keys for proofs", trusted_keys=[{**keys[0], "purpose": "heads"}, keys[1]])


def test_many_places_are_told_in_one_line() -> None:
    """The first of them, and how many more."""
    ledger = Ledger(WIDE)
    for _ in range(9):
        ledger.allocate(CLAIM)
    assert "at position 1, 2, 3, 4, 5 and 4 more, head signed" in facts(ledger.proof(evidence_of(ledger.entries)))


def test_the_document_is_the_same_for_the_same_head() -> None:
    """The prover holds no clock."""
    assert logged() == logged()


# What does not lead to the head is refused.


def place_of(document: dict[str, Any], certificate: int = 0) -> dict[str, Any]:
    """Where a certificate's entry stands."""
    found: dict[str, Any] = document["certificates"][certificate]["entry"]["inclusion"]
    return found


def test_another_position_is_refused() -> None:
    """Each entry stands in one place."""
    for position in (0, 2, 4, 9):
        document = logged(before=2, after=3)
        place_of(document)["position"] = position
        refused(document, "entry at position 2: ")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_hash_of_a_proof_can_be_changed(data: st.DataObject) -> None:
    """In any place, left out, or one more."""
    document = logged(before=data.draw(st.integers(0, 70)), after=data.draw(st.integers(1, 70)))
    hashes = place_of(document)["hashes"]
    at = data.draw(st.integers(0, len(hashes) - 1))
    kind = data.draw(st.sampled_from(["change", "drop", "add"]))
    if kind == "change":
        digit = data.draw(st.integers(0, 63))
        hashes[at] = hashes[at][:digit] + ("0" if hashes[at][digit] != "0" else "1") + hashes[at][digit + 1 :]
    elif kind == "drop":
        del hashes[at]
    else:
        hashes.insert(at, "00" * 32)
    refused(document, "entry at position 2: ")


def test_a_place_of_another_entry_is_refused() -> None:
    """The leaf is the entry's own hash."""
    document = logged()
    document["certificates"][0]["entry"]["inclusion"] = document["certificates"][1]["entry"]["inclusion"]
    refused(document, "entry at position 2: the entry is not at position")


def test_one_place_for_two_entries_is_refused() -> None:
    """Even if the log itself held an entry twice."""
    ledger = history()
    leaves = [leaf_hash(entry.hash) for entry in ledger.entries]
    evidence = evidence_of(ledger.entries)
    assert evidence.places[2].position == 1
    document = ledger.proof(replace(evidence, places={**evidence.places, 3: replace(evidence.places[3], position=1)}))
    refused(document, "entry at position 3: stands in the log where position 2 stands")
    assert tree_root(leaves)


def test_a_place_without_a_head_is_refused() -> None:
    """A place in nothing is no place."""
    document = logged()
    document["log"] = None
    refused(document, "entry at position 2: names a place in a log whose head is not in the document")


# Heads.


def with_head(change: Callable[[dict[str, Any]], None], key: SigningKey = PUBLISHER) -> dict[str, Any]:
    """A document whose head says something else, signed all the same."""
    document = logged()
    head = {"format": "privacy-engine-head", "version": 1, "log_id": LOG_ID, "size": 4, "root": "00" * 32}
    said: dict[str, Any] = {**head, "at": "2026-02-03T04:05:06.000007Z"}
    change(said)
    document["log"]["head"] = key.sign(rfc8785.dumps(said))
    return document


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda head: head.pop("at"), "what was signed does not have the members of a head"),
        (lambda head: head.update(surplus=1), "what was signed does not have the members of a head"),
        (lambda head: head.update(format="privacy-engine-acceptance"), "what was signed is no privacy-engine-head"),
        (lambda head: head.update(version=2), "what was signed is no privacy-engine-head of version 1"),
        (lambda head: head.update(version=True), "what was signed is no privacy-engine-head of version 1"),
        (lambda head: head.update(size="4"), "the head's size is not a whole number from 0"),
        (lambda head: head.update(size=-1), "the head's size is not a whole number from 0"),
        (lambda head: head.update(size=True), "the head's size is not a whole number from 0"),
        (lambda head: head.update(log_id="mine"), "the head's log_id is not one"),
        (lambda head: head.update(at="now"), "the head's at is not one"),
        (lambda head: head.update(root=7), "the root is not a hash of 64 lower-case hexadecimal digits"),
        (lambda head: head.update(root="00" * 32), "the entry is not at position"),
        (lambda head: head.update(size=1), "a log of 1 entries has none at position"),
    ],
)
def test_a_head_that_is_none_is_refused(change: Callable[[dict[str, Any]], None], reason: str) -> None:
    """The checker reads heads itself, as strictly as entries."""
    refused(with_head(change), reason)


def test_a_head_that_another_key_signed_is_refused() -> None:
    """The document brings the key that signed it, and names it by its thumbprint."""
    refused(with_head(lambda head: None, STRANGER), "head of the log: the signature's key")
    document = logged()
    document["log"]["key"] = {**STRANGER.public_jwk, "kid": PUBLISHER.kid}
    refused(document, "head of the log: the signature's key")
    document["log"]["key"] = {**PUBLISHER.public_jwk, "x": "AAAA"}
    refused(document, "head of the log: the key does not have 32 bytes")


@pytest.mark.parametrize("head", ["", "a.b", "a.b.c.d", "..", PUBLISHER.sign(b"[1]"), PUBLISHER.sign(b"\xff")])
def test_a_head_that_is_no_signed_text_is_refused(head: str) -> None:
    """With a reason, never an exception."""
    document = logged()
    document["log"]["head"] = head
    refused(document, "head of the log: ")


def test_the_services_own_heads_are_read() -> None:
    """The form that `proofs.heads` signs is the one that is read here."""
    ledger = history()
    leaves = [leaf_hash(entry.hash) for entry in ledger.entries]
    signed_head = sign_head(Head(LOG_ID, 4, tree_root(leaves).hex(), AT), PUBLISHER)
    evidence = evidence_of(ledger.entries)
    accepted(ledger.proof(LogEvidence(replace(evidence.log, head=signed_head), evidence.places)))


# The form.


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"position": -1, "hashes": []}, "inclusion.position must be a whole number from 0"),
        ({"position": True, "hashes": []}, "inclusion.position must be a whole number from 0"),
        ({"position": 0, "hashes": {}}, "inclusion.hashes must be a list"),
        ({"position": 0, "hashes": ["A" * 64]}, "inclusion.hashes[0] must be 64 lower-case hexadecimal digits"),
        ({"position": 0, "hashes": [7]}, "inclusion.hashes[0] must be 64 lower-case hexadecimal digits"),
        ({"position": 0}, "inclusion has no hashes"),
        ({"position": 0, "hashes": ["00" * 32] * 55}, "the proof has more than 54 hashes, which no tree needs"),
        ({"position": 2**53 - 1, "hashes": []}, "a log of 4 entries has none at position"),
    ],
)
def test_a_place_that_is_none_is_refused(value: object, reason: str) -> None:
    """Each with its reason."""
    document = logged()
    document["certificates"][0]["entry"]["inclusion"] = value
    refused(document, reason)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "log must be an object"),
        ({"head": 7, "key": {}}, "log.head must be text"),
        ({"head": ""}, "log has no key"),
    ],
)
def test_a_log_that_is_none_is_refused(value: object, reason: str) -> None:
    """The format is closed here as well."""
    document = logged()
    document["log"] = value
    refused(json.loads(json.dumps(document)), reason)


def test_a_place_survives_the_wire() -> None:
    """As it was written."""
    assert Inclusion(3, ("00" * 32,)).to_wire() == {"position": 3, "hashes": ["00" * 32]}
