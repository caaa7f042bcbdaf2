"""Releases at rest: encrypted, each bound to what paid for it, and their inputs as fingerprints alone."""

import hashlib
import hmac
import secrets
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class ReleaseVault:
    """Encrypts releases at rest (AES-256-GCM, bound to their tenant and allocation) and fingerprints their inputs."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._key = key

    def digest(self, *inputs: object) -> str:
        """A keyed fingerprint of the true values: tells two inputs apart, and tells nobody without the key anything.

        Args:
            inputs: What JSON can hold.
        """
        return hmac.new(self._key, b"input\x00" + msgspec.json.encode(inputs), hashlib.sha256).hexdigest()

    def seal(self, released: list[float] | list[int], tenant_id: str, allocation_id: str) -> bytes:
        """What was released, encrypted."""
        nonce = secrets.token_bytes(12)
        return nonce + self._cipher.encrypt(nonce, msgspec.json.encode(released), _context(tenant_id, allocation_id))

    def open(self, sealed: bytes, tenant_id: str, allocation_id: str) -> list[Any]:
        """What was released, again."""
        text = self._cipher.decrypt(sealed[:12], sealed[12:], _context(tenant_id, allocation_id))
        released: list[Any] = msgspec.json.decode(text)
        return released


def _context(tenant_id: str, allocation_id: str) -> bytes:
    return f"{tenant_id}\x00{allocation_id}".encode()
