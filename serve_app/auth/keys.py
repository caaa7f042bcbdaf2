"""The service's own secrets, made at first start and kept in files that only their owner can read."""

import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proofs.heads import PURPOSE
from proofs.signing import KeyFileError, SigningKey

if TYPE_CHECKING:
    from serve_app.config import Settings

TOKENS, PROOFS, HEADS = "tokens", "proofs", PURPOSE
ROTATED = (PROOFS, HEADS)
"""Purposes whose keys can be followed by others: what was signed with an old one is checked for years."""
_FILES = {TOKENS: "token-signing-key.pem", PROOFS: "proof-signing-key.pem", HEADS: "head-signing-key.pem"}
_PUBLISHED = "published-keys.json"


class KeyRing:
    """Keys in a folder: one each for tokens, proofs and the log's heads, one for releases, and the database password.

    They are apart so that a leaked token key cannot forge proofs, and neither of them heads. The public half of every
    key that ever signed proofs or heads stays published: it is written down before the key signs for the first time.
    Files are read anew each time, so that a process that runs for long knows the keys of today.
    """

    def __init__(self, folder: Path, given: Mapping[str, str] | None = None) -> None:
        """Opens the folder, and makes it if there is none.

        Args:
            folder: Of the files.
            given: Private keys from the environment, PEM texts by purpose. They are used instead of files.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._given = given or {}

    @classmethod
    def of(cls, settings: "Settings") -> "KeyRing":
        """The keys of a service with these settings."""
        given = {PROOFS: settings.proof_key, HEADS: settings.head_key}
        texts = {purpose: key.get_secret_value() for purpose, key in given.items() if key is not None}
        return cls(settings.folder / "keys", texts)

    @property
    def token_key(self) -> SigningKey:
        """Signs tokens."""
        return self._key(TOKENS)

    @property
    def proof_key(self) -> SigningKey:
        """Signs proofs."""
        return self._key(PROOFS)

    @property
    def head_key(self) -> SigningKey:
        """Signs heads of the log."""
        return self._key(HEADS)

    @property
    def release_key(self) -> bytes:
        """Encrypts stored releases."""
        return _secret(self._folder / "release-encryption-key", 32)

    @property
    def database_password(self) -> str:
        """Of the service's role."""
        return _secret(self._folder / "database-password", 24).hex()

    def published(self, purpose: str) -> list[dict[str, str]]:
        """The public keys (JWKs) that ever signed for a purpose of `ROTATED`, oldest first, the present one too.

        Raises:
            KeyFileError: If the present key, or the list of earlier ones, cannot be used.
        """
        self._key(purpose)
        return [_jwk(entry) for entry in self._record() if entry["purpose"] == purpose]

    def public_keys(self) -> dict[str, list[dict[str, Any]]]:
        """The public keys as a JSON Web Key Set (RFC 7517), each with the purpose that it signs for.

        Those that sign no more come last, with a member ``retired``.

        Raises:
            KeyFileError: If a key, or the list of earlier ones, cannot be used.
        """
        present = [_published(self._key(purpose), purpose) for purpose in _FILES]
        signing = {key["kid"] for key in present}
        retired = [entry | {"retired": True} for entry in self._record() if entry["kid"] not in signing]
        return {"keys": [*present, *retired]}

    def rotate(self, purpose: str) -> SigningKey:
        """Makes a new key sign from now on. The old private key is gone; its public half stays published.

        Args:
            purpose: One of `ROTATED`.

        Returns:
            The new key.

        Raises:
            KeyFileError: If the key comes from the environment, or the present one cannot be used.
        """
        if purpose in self._given:
            raise KeyFileError(
                f"the key for {purpose} comes from {variable(purpose)}: put a new one there and start the service "
                "again; the present one stays published"
            )
        self._key(purpose)
        key = SigningKey.generate()
        self._publish(key, purpose)
        key.replace(self._folder / _FILES[purpose])
        return key

    def _key(self, purpose: str) -> SigningKey:
        if purpose in self._given:
            key = SigningKey.from_pem(self._given[purpose].encode(), variable(purpose))
        else:
            key = SigningKey.load_or_create(self._folder / _FILES[purpose])
        if purpose in ROTATED:
            self._publish(key, purpose)
        return key

    def _publish(self, key: SigningKey, purpose: str) -> None:
        """Writes the public key down for good, unless it is there."""
        entry = _published(key, purpose)
        if entry in self._record():
            return
        with (self._folder / f".{_PUBLISHED}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = self._record()
            if entry not in known:
                _write(self._folder / _PUBLISHED, {"keys": [*known, entry]})

    def _record(self) -> list[dict[str, str]]:
        path = self._folder / _PUBLISHED
        try:
            keys = json.loads(path.read_text(encoding="utf-8"))["keys"]
            return [_jwk(key) | {name: key[name] for name in ("use", "alg", "purpose")} for key in keys]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            raise KeyFileError(
                f"{path} is not the list of published keys that the service wrote: put it back from a copy; without it "
                "nobody can check what earlier keys have signed"
            ) from None


def variable(purpose: str) -> str:
    """The environment variable that a key for a purpose may come from."""
    return f"AUMOS_PRIVACY_{purpose.removesuffix('s').upper()}_KEY"


def _published(key: SigningKey, purpose: str) -> dict[str, str]:
    return {**key.public_jwk, "use": "sig", "alg": "EdDSA", "purpose": purpose}


def _jwk(entry: Mapping[str, str]) -> dict[str, str]:
    """The key alone, as documents carry it."""
    return {name: str(entry[name]) for name in ("kty", "crv", "x", "kid")}


def _write(path: Path, document: object) -> None:
    """Replaces a file at once: whoever reads sees all of it or what was there before."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def _secret(path: Path, length: int) -> bytes:
    """The secret in the file, made if there is none. The file is complete before it has its name."""
    if not path.exists():
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(length))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)
        except FileExistsError:
            pass  # another process was first; its secret counts
        finally:
            scratch.unlink()
    return bytes.fromhex(path.read_text().strip())
