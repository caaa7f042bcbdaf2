"""Ed25519 signatures (RFC 8032) as JSON Web Signatures (RFC 7515 and 8037), and the file that keeps the key."""

import base64
import contextlib
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(Exception):
    """A key that cannot be used: in a file that others can read, or not an unencrypted Ed25519 key in PEM."""


class SigningKey:
    """An Ed25519 key that signs.

    Attributes:
        kid: The key's name: its thumbprint (RFC 7638).
        private_key: The private half.
        public_jwk: The public half as a JSON Web Key: members kty, crv, x and kid.
    """

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self.private_key = private_key
        raw = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        # The members that RFC 7638 hashes, in their lexicographic order.
        members = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}
        self.kid = _base64url(hashlib.sha256(_compact(members)).digest())
        self.public_jwk: dict[str, str] = {**members, "kid": self.kid}

    @classmethod
    def generate(cls) -> "SigningKey":
        """A fresh key that is kept nowhere."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load_or_create(cls, path: Path) -> "SigningKey":
        """The key in a PEM file (PKCS #8), made on first use with mode 0600.

        Safe against several processes starting at once: the file appears whole or not at all, and all get the same key.

        Raises:
            KeyFileError: If the file may be read or written by others than its owner, or holds no Ed25519 key.
            OSError: If the file cannot be read or made.
        """
        try:
            return cls._load(path)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            cls.generate()._write(path, replace=False)
            return cls._load(path)

    @classmethod
    def from_pem(cls, pem: bytes, source: str) -> "SigningKey":
        """The key in a PEM text (PKCS #8).

        Args:
            pem: The text.
            source: Where it is from, for the message.

        Raises:
            KeyFileError: If it holds no Ed25519 key, or an encrypted one. The message does not quote it.
        """
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{source} holds no unencrypted PEM key: {error}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError(f"{source} holds another kind of key than Ed25519")
        return cls(key)

    def replace(self, path: Path) -> None:
        """Makes this the key in a PEM file, for good. Whoever reads meanwhile gets the old key or this one, whole.

        Raises:
            OSError: If the file cannot be written.
        """
        self._write(path, replace=True)

    @classmethod
    def _load(cls, path: Path) -> "SigningKey":
        with path.open("rb") as file:
            # Asked of the open file, not of the path: nobody can swap it between the check and the reading.
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & _OTHERS:
                message = f"the key file {path} has mode {mode:04o}: others could read it; make it 0600 (chmod 600)"
                raise KeyFileError(message)
            pem = file.read()
        return cls.from_pem(pem, f"the key file {path}")

    def sign(self, payload: bytes, *, detached: bool = False) -> str:
        """A compact JWS over the payload.

        Args:
            payload: What to sign.
            detached: Leave the payload out of the result (RFC 7515, appendix F); whoever checks has it already.
        """
        header = _base64url(_compact({"alg": "EdDSA", "kid": self.kid}))
        content = _base64url(payload)
        signature = _base64url(self.private_key.sign(f"{header}.{content}".encode("ascii")))
        return f"{header}.{'' if detached else content}.{signature}"

    def _write(self, path: Path, *, replace: bool) -> None:
        """Writes the key beside its place, and gives it its name then.

        A link, unlike a rename, never replaces another's key.
        """
        pem = self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        # mkstemp makes the file with mode 0600 before anything is in it.
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(draft, path)
            else:
                with contextlib.suppress(FileExistsError):
                    os.link(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)


def _compact(members: dict[str, str]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode("ascii")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
