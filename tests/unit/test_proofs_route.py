"""Which key a proof gives for the log's head: the one that signed it, be it retired."""

from datetime import UTC, datetime

import pytest

from proofs.certificate import MalformedError
from proofs.heads import Head, sign_head
from proofs.signing import SigningKey
from serve_app.routes.proofs import key_of

HEAD = Head("00000000-0000-8000-8000-000000000001", 1, "ab" * 32, datetime(2026, 11, 21, tzinfo=UTC))


@pytest.mark.parametrize("signer", range(3))
def test_a_head_of_before_a_rotation_is_given_with_the_key_that_signed_it(signer: int) -> None:
    """Whichever of the published keys that is."""
    keys = [SigningKey.generate() for _ in range(3)]
    published = [key.public_jwk for key in keys]
    assert key_of(sign_head(HEAD, keys[signer]), published) == published[signer]


def test_a_head_that_no_published_key_signed_is_no_evidence() -> None:
    """Nor is what is no head at all."""
    published = [SigningKey.generate().public_jwk for _ in range(2)]
    for signed in (sign_head(HEAD, SigningKey.generate()), "no head"):
        with pytest.raises(MalformedError):
            key_of(signed, published)
