"""Signed heads and acceptances: what is read is what was signed, and nothing else is read."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.memory_log import MemoryLog
from accounting.ledger.merkle import EMPTY_ROOT, leaf_hash, tree_root
from proofs.certificate import MalformedError
from proofs.heads import (
    MAX_REASON,
    Acceptance,
    Head,
    consistent,
    head_of,
    read_acceptance,
    read_head,
    sign_acceptance,
    sign_head,
)
from proofs.signing import SigningKey
from tests.ledgers import asked, opened, spent

KEY, STRANGER = SigningKey.generate(), SigningKey.generate()
NOW = datetime(2026, 11, 21, 4, 37, 0, 123456, tzinfo=UTC)
LOG = "0189b8a0-0000-4000-8000-000000000000"
HEAD = Head(LOG, 7, "ab" * 32, NOW)

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
HEADS = st.builds(
    Head, st.uuids().map(str), st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32).map(bytes.hex), MOMENTS
)


def forged(data: object) -> str:
    """Anything at all, signed with the right key."""
    return KEY.sign(data if isinstance(data, bytes) else rfc8785.dumps(data))  # type: ignore[arg-type]


def wire(**changes: object) -> dict[str, Any]:
    """What is signed of `HEAD`, changed; None takes a member out."""
    payload = sign_head(HEAD, KEY).split(".")[1]
    data: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return {name: value for name, value in (data | changes).items() if value is not None}


@given(HEADS)
def test_a_head_is_read_as_it_was_signed(head: Head) -> None:
    """By whoever has the public key."""
    assert read_head(sign_head(head, KEY), [STRANGER.public_jwk, KEY.public_jwk]) == head


@given(HEADS, HEADS, st.text(min_size=1, max_size=50).filter(str.strip), MOMENTS)
def test_an_acceptance_is_read_as_it_was_signed(given_up: Head, accepted: Head, reason: str, at: datetime) -> None:
    """With both heads and the operator's words."""
    acceptance = Acceptance(given_up, accepted, reason, at)
    assert read_acceptance(sign_acceptance(acceptance, KEY), [KEY.public_jwk]) == acceptance


def test_the_moment_is_in_utc_whatever_the_zone() -> None:
    """The same head in another zone is the same text."""
    zone = NOW.astimezone(tz=None)
    assert sign_head(replace(HEAD, at=zone), KEY) == sign_head(HEAD, KEY)


@given(st.data())
def test_any_changed_character_is_noticed(data: st.DataObject) -> None:
    """In the header, in the content, in the signature."""
    signed = sign_head(HEAD, KEY)
    at = data.draw(st.integers(0, len(signed) - 1))
    other = data.draw(st.characters().filter(lambda character: character != signed[at]))
    with pytest.raises(MalformedError):
        read_head(signed[:at] + other + signed[at + 1 :], [KEY.public_jwk])


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    """What is no head is refused with a reason."""
    with pytest.raises(MalformedError):
        read_head(text, [KEY.public_jwk])


def test_a_strangers_signature_does_not_count() -> None:
    """Only trusted keys sign heads."""
    with pytest.raises(MalformedError, match="is not in the document"):
        read_head(sign_head(HEAD, STRANGER), [KEY.public_jwk])


@pytest.mark.parametrize(("purpose", "counts"), [("heads", True), (None, True), ("tokens", False), ("proofs", False)])
def test_a_key_for_another_purpose_signs_no_heads(purpose: str | None, counts: bool) -> None:
    """Whoever gets hold of the key for tokens or proofs cannot make heads that are believed."""
    published = dict(KEY.public_jwk) if purpose is None else {**KEY.public_jwk, "purpose": purpose}
    if counts:
        assert read_head(sign_head(HEAD, KEY), [published]) == HEAD
        return
    with pytest.raises(MalformedError):
        read_head(sign_head(HEAD, KEY), [published])


def test_a_head_is_no_acceptance_and_the_other_way_round() -> None:
    """What was signed as one thing cannot be shown as another."""
    keys = [KEY.public_jwk]
    with pytest.raises(MalformedError, match="no privacy-engine-acceptance"):
        read_acceptance(sign_head(HEAD, KEY), keys)
    with pytest.raises(MalformedError, match="no privacy-engine-head"):
        read_head(sign_acceptance(Acceptance(HEAD, HEAD, "why", NOW), KEY), keys)


@pytest.mark.parametrize(
    "data",
    [
        wire(size=-1),
        wire(size=True),
        wire(size="7"),
        wire(root="AB" * 32),
        wire(root="ab" * 31),
        wire(root=None),
        wire(log_id="log"),
        wire(log_id=LOG.upper()),
        wire(at="yesterday"),
        wire(at=7),
        wire(version=2),
        wire(version=True),
        wire(format="privacy-engine-proof"),
        wire(extra=1),
        [],
        b"{}",
        b"",
        b'{"size":1,"size":2}',
        rfc8785.dumps(wire()) + b" ",
        b"\xff",
        b'"\\ud800"',
    ],
)
def test_a_signed_text_that_is_no_head_is_refused(data: object) -> None:
    """Even with the right signature: the shape is fixed and the text canonical."""
    with pytest.raises(MalformedError):
        read_head(forged(data), [KEY.public_jwk])


@pytest.mark.parametrize("text", ["a.b", "a.b.c.d", "", "." * 20_000, "a.b!.c", "a.Zg==.c", "ä.ä.ä"])
def test_what_is_no_jws_is_refused(text: str) -> None:
    """Wrong number of parts, not base64url, too long."""
    with pytest.raises(MalformedError):
        read_head(text, [KEY.public_jwk])


@pytest.mark.parametrize("reason", ["", "  ", "x" * (MAX_REASON + 1)])
def test_an_acceptance_needs_a_reason(reason: str) -> None:
    """Of readable length."""
    with pytest.raises(ValueError, match="a reason has"):
        sign_acceptance(Acceptance(HEAD, HEAD, reason, NOW), KEY)


async def test_the_head_of_a_log_is_what_it_holds() -> None:
    """Its name, its size and the root over its entries; an empty log has the empty root."""
    store = MemoryLedgerStore()
    log = MemoryLog(store, LOG)
    assert await head_of(log, NOW) == Head(LOG, 0, EMPTY_ROOT.hex(), NOW)
    first = opened("t")
    await store.append([first, spent(first, asked("t", "1"))])
    await log.sequence()
    leaves = [leaf_hash(entry.hash) for entry in store.committed]
    assert await head_of(log, NOW) == Head(LOG, 2, tree_root(leaves).hex(), NOW)


async def test_a_log_stays_consistent_with_its_heads_as_it_grows() -> None:
    """And with no head of a longer, another or a changed log."""
    store = MemoryLedgerStore()
    log = MemoryLog(store, LOG)
    entries = [opened("t", epsilon="1000")]
    while len(entries) < 300:
        entries.append(spent(entries[-1], asked("t", "1")))
    heads = []
    for at in range(0, 300, 50):
        await store.append(entries[at : at + 50])
        await log.sequence()
        heads.append(await head_of(log, NOW + timedelta(seconds=at)))
    assert all([await consistent(head, log) for head in heads])
    assert not await consistent(replace(heads[-1], size=301), log)
    assert not await consistent(replace(heads[2], root=heads[1].root), log)
    assert not await consistent(replace(heads[2], log_id=LOG.replace("0189", "0190")), log)
