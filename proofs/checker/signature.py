"""Ed25519 signatures as compact JWS (RFC 7515, 8037), checked strictly."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from proofs.certificate import MalformedError, parse_json, quoted


def thumbprint(key: Mapping[str, Any]) -> str:
    """The RFC 7638 thumbprint of an Ed25519 public key, base64url.

    Raises:
        MalformedError: If the JWK is not one of an Ed25519 public key.
    """
    if key.get("kty") != "OKP" or key.get("crv") != "Ed25519" or not isinstance(key.get("x"), str):
        raise MalformedError("the key is not an Ed25519 public key")
    if len(_bytes(key["x"])) != 32:
        raise MalformedError("the key does not have 32 bytes")
    members = {name: key[name] for name in ("crv", "kty", "x")}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return _text(digest)


def check_signature(jws: str, payload: bytes, keys: Sequence[Mapping[str, Any]]) -> str:
    """The kid of the key among `keys` that signed the payload.

    Args:
        jws: A compact JWS with detached content.
        payload: The bytes that should be signed.
        keys: Public keys, each named by its thumbprint.

    Raises:
        MalformedError: If the signature is not one of the payload by one of the keys. The message says why.
    """
    parts = jws.split(".")
    if len(parts) != 3 or parts[1]:
        raise MalformedError("the signature is not a compact JWS with detached content")
    header = parse_json(_bytes(parts[0]).decode("utf-8", errors="replace"))
    # No other member: "crit", "b64" or an embedded key would change what the signature means.
    if not isinstance(header, dict) or header.keys() != {"alg", "kid"} or header["alg"] != "EdDSA":
        raise MalformedError("the signature's header must name the algorithm EdDSA and a kid, and nothing else")
    signer = next((key for key in keys if thumbprint(key) == header["kid"]), None)
    if signer is None:
        raise MalformedError(f"the signature's key {quoted(header['kid'])} is not in the document")
    if signer.get("kid") != header["kid"]:
        raise MalformedError("the key is not named by its thumbprint")
    signed = f"{parts[0]}.{_text(payload)}".encode("ascii")
    try:
        Ed25519PublicKey.from_public_bytes(_bytes(signer["x"])).verify(_bytes(parts[2]), signed)
    except InvalidSignature:
        raise MalformedError("the signature does not fit the document: one of them was changed") from None
    return thumbprint(signer)


def open_signed(jws: str, keys: Sequence[Mapping[str, Any]]) -> tuple[bytes, str]:
    """What a compact JWS holds, and the kid of the key among `keys` that signed it.

    Raises:
        MalformedError: If the signature is not one by one of the keys. The message says why.
    """
    parts = jws.split(".")
    if len(parts) != 3:
        raise MalformedError("the signed text is not a compact JWS")
    payload = _bytes(parts[1])
    return payload, check_signature(f"{parts[0]}..{parts[2]}", payload, keys)


def _bytes(text: str) -> bytes:
    """Decodes base64url without padding, and refuses every spelling but the one that encoding gives."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("not base64url text") from None
    if _text(raw) != text:
        raise MalformedError("not base64url text in its one spelling")
    return raw


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
