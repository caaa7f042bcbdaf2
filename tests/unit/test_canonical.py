"""What is hashed is the canonical JSON of RFC 8785, as somebody else implements it."""

import hashlib
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from accounting.ledger.canonical import GENESIS_HASH, canonical_json, sha256

texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))
leaves = st.one_of(st.none(), st.booleans(), st.integers(-(2**53) + 1, 2**53 - 1), texts)
objects = st.dictionaries(
    names, st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=12)
)


@given(objects)
def test_the_text_is_that_of_an_independent_implementation(value: dict[str, object]) -> None:
    """For any object, nested ones too, the bytes equal those of the package rfc8785."""
    assert canonical_json(value).encode() == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(objects)
def test_nothing_is_lost_and_no_order_of_members_matters(value: dict[str, object]) -> None:
    """Reading the text gives back an equal object, and reversing its members leaves the text unchanged."""
    assert json.loads(canonical_json(value)) == value
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


@pytest.mark.parametrize("text", ["\x00\x1f\x7f", '"\\/', "\u2028\u2029", "é\u0301", "\U0001f600", "\b\f\n\r\t", "<&>"])
def test_characters_that_implementations_disagree_on(text: str) -> None:
    """Controls, escapes, line separators, accents and emoji are written as the package rfc8785 does."""
    assert canonical_json({"a": text}).encode() == rfc8785.dumps({"a": text})


def test_the_hash_is_sha256_of_the_utf8_text() -> None:
    """Hashing agrees with hashlib beyond ASCII, and the genesis hash is 32 zero bytes."""
    assert sha256("é") == hashlib.sha256("é".encode()).digest()
    assert GENESIS_HASH == b"\x00" * 32
