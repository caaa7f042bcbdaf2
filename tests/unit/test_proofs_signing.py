"""Keys and signatures: the RFCs' own examples, and the refusals around the key file."""

import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from proofs.certificate import MalformedError
from proofs.checker.signature import check_signature, thumbprint
from proofs.signing import KeyFileError, SigningKey
from tests.unit.proofs_helpers import SIGNER, STRANGER

_RFC_SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")


def test_the_key_of_rfc_8037_has_its_published_jwk_and_thumbprint() -> None:
    """RFC 8037, appendices A.2 and A.3."""
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(_RFC_SECRET))
    assert key.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert key.public_jwk == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid": key.kid,
    }
    assert thumbprint(key.public_jwk) == key.kid


def test_a_signature_is_accepted_for_its_payload_and_key_alone() -> None:
    """The checker accepts what the signer signs, and neither another payload nor another key."""
    jws = SIGNER.sign(b"payload", detached=True)
    assert check_signature(jws, b"payload", [STRANGER.public_jwk, SIGNER.public_jwk]) == SIGNER.kid
    with pytest.raises(MalformedError, match="does not fit"):
        check_signature(jws, b"payloaD", [SIGNER.public_jwk])
    with pytest.raises(MalformedError, match="is not in the document"):
        check_signature(jws, b"payload", [STRANGER.public_jwk])


def test_a_detached_signature_is_the_whole_one_without_its_payload() -> None:
    """RFC 7515, appendix F."""
    header, content, signature = SIGNER.sign(b"payload").split(".")
    assert content == "cGF5bG9hZA"
    assert SIGNER.sign(b"payload", detached=True) == f"{header}..{signature}"


def test_a_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """The file has mode 0600, nothing is left beside it, and the next start finds the same key."""
    path = tmp_path / "keys" / "signing.pem"
    first = SigningKey.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert SigningKey.load_or_create(path).kid == first.kid


def test_processes_that_start_at_once_get_the_same_key(tmp_path: Path) -> None:
    """Whoever loses the race uses the winner's key."""
    path = tmp_path / "signing.pem"
    kids: list[str] = []
    threads = [threading.Thread(target=lambda: kids.append(SigningKey.load_or_create(path).kid)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kids) == 8
    assert len(set(kids)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """A key that leaked signs nothing."""
    path = tmp_path / "signing.pem"
    SigningKey.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="0600"):
        SigningKey.load_or_create(path)


def test_a_key_file_with_anything_but_an_ed25519_key_is_refused(tmp_path: Path) -> None:
    """Garbage, another kind of key, an encrypted key: each with its reason."""
    other = ec.generate_private_key(ec.SECP256R1())
    locked = Ed25519PrivateKey.generate()
    contents = {
        b"garbage": "no unencrypted PEM key",
        other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()): "another kind",
        locked.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
        ): "no unencrypted PEM key",
    }
    path = tmp_path / "signing.pem"
    path.touch(mode=0o600)
    for content, reason in contents.items():
        path.write_bytes(content)
        with pytest.raises(KeyFileError, match=reason):
            SigningKey.load_or_create(path)
