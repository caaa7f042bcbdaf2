"""What the checker hashes and signs is the canonical form of RFC 8785, by whichever way it is written."""

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from proofs.checker.canonical import canonical_json

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text(st.characters(max_codepoint=127))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


@given(values)
def test_the_canonical_form_is_that_of_the_library(value: object) -> None:
    """For everything that a document may hold: control characters, names beyond ASCII, nothing at all."""
    assert canonical_json(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


def test_names_are_ordered_by_utf_16_code_units() -> None:
    """The two orders differ where a name begins beyond the basic plane."""
    value = {"\ufb01": 1, "\U0001f600": 2}
    assert canonical_json(value) == '{"\U0001f600":2,"\ufb01":1}'.encode()
    assert json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode() != canonical_json(
        value
    )


def test_half_a_surrogate_pair_has_no_canonical_form() -> None:
    """It is no Unicode text."""
    with pytest.raises(ValueError):  # noqa: PT011 - the library says what it is
        canonical_json(["\ud800"])
