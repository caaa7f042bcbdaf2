"""Outside issuers whose tokens the service accepts: what an operator says of each, and of their key sets.

The algorithm of a token is that of the key that the issuer publishes under the token's ``kid``, and one of those that
the operator allows; what a token's header says of it is only compared. There is no symmetric one among them, so a
public key can never serve as a secret (RFC 8725, section 3.1).
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

Algorithm = Literal["RS256", "ES256", "EdDSA"]
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey

LEAST_RSA_BITS, MOST_RSA_BITS = 2_048, 8_192
MAX_KEYS = 100
_ALGORITHMS: dict[str, Algorithm] = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
"""The one algorithm that is accepted of a key of each type (RFC 7518, section 6.1; RFC 8037)."""


class ClaimNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an issuer calls the claims that the service reads. They are claims at the top, not paths."""

    tenant_id: str = "tenant_id"
    roles: str = "roles"
    engine: str = "engine"


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An issuer that an operator trusts.

    Attributes:
        issuer: Its ``iss``.
        audience: The ``aud`` that its tokens for this service carry.
        jwks: Where its key set is: an https address, an http address of this machine, or the path of a file.
        algorithms: Those that are accepted of it.
        claims: What it calls the claims.
        tenants: For whom its tokens may be; empty for every tenant by its name.
        any_tenant: Whether its tokens may be for any tenant (``*``).
    """

    issuer: str
    audience: str
    jwks: str
    algorithms: tuple[Algorithm, ...]
    claims: ClaimNames = ClaimNames()
    tenants: tuple[str, ...] = ()
    any_tenant: bool = False

    def __post_init__(self) -> None:
        if not (self.issuer and self.audience and self.algorithms):
            raise ValueError("issuer, audience and algorithms must not be empty")
        check_address(self.jwks)


def issuers_from(text: str) -> tuple[Issuer, ...]:
    """The issuers of a JSON list.

    Raises:
        ValueError: If it is none, or an issuer is in it twice.
    """
    try:
        found = msgspec.json.decode(text, type=tuple[Issuer, ...])
    except msgspec.DecodeError as error:
        raise ValueError(f"must be a JSON list of issuers: {error}") from None
    if len({one.issuer for one in found}) < len(found):
        raise ValueError("an issuer must be in the list once")
    return found


def is_address(jwks: str) -> bool:
    """Whether a key set is fetched over HTTP; else it is a file."""
    return "://" in jwks


def check_address(jwks: str) -> None:
    """Refuses an address that somebody on the way could answer in place of the issuer.

    Raises:
        ValueError: If it is neither https nor on this machine.
    """
    if not is_address(jwks):
        if not jwks:
            raise ValueError("jwks must be an address or a file")
        return
    parts = urlsplit(jwks)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme != "http" or not _is_loopback(parts.hostname or ""):
        raise ValueError("jwks must be an https address; http is for this machine alone")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key of an issuer.

    Attributes:
        key: The key.
        algorithm: The one that its signatures are checked by.
    """

    key: PublicKey
    algorithm: Algorithm


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a JWK set.

    Attributes:
        keys: By key id.
        left_out: Why others are not used, for operators.
    """

    keys: Mapping[str, IssuerKey]
    left_out: tuple[str, ...]


def key_set(content: bytes, allowed: tuple[Algorithm, ...]) -> KeySet:
    """The usable keys of a JWK set (RFC 7517).

    A set may have keys for other purposes; those are left out, as are keys without an id or with one that is there
    twice.

    Raises:
        ValueError: If it is no JWK set.
    """
    try:
        data = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    jwks = data.get("keys") if isinstance(data, dict) else None
    if not isinstance(jwks, list) or len(jwks) > MAX_KEYS:
        raise ValueError(f"not a JWK set: an object with a list of at most {MAX_KEYS} under keys")
    keys: dict[str, IssuerKey] = {}
    left_out = []
    ids = [jwk.get("kid") if isinstance(jwk, dict) else None for jwk in jwks]
    for kid, jwk in zip(ids, jwks, strict=True):
        try:
            if not isinstance(kid, str) or not kid:
                raise ValueError("has no kid")
            if ids.count(kid) > 1:
                raise ValueError("shares its kid with another")
            keys[kid] = _issuer_key(jwk, allowed)
        except ValueError as error:
            left_out.append(f"{kid!a}: {error}")
    return KeySet(keys, tuple(left_out))


def _issuer_key(jwk: dict[str, Any], allowed: tuple[Algorithm, ...]) -> IssuerKey:
    algorithm = _ALGORITHMS.get(str(jwk.get("kty")))
    if algorithm is None or jwk.get("alg", algorithm) != algorithm:
        raise ValueError("is of a type or for an algorithm that is not accepted")
    if algorithm not in allowed:
        raise ValueError(f"is for {algorithm}, which the settings do not allow")
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        raise ValueError("is not for signatures")
    if "d" in jwk:
        raise ValueError("is a private key, which everybody knows now")
    return IssuerKey(_public_key(jwk, algorithm), algorithm)


def _public_key(jwk: dict[str, Any], algorithm: Algorithm) -> PublicKey:
    try:
        found: object
        if algorithm == "RS256":
            found = RSAAlgorithm.from_jwk(jwk)
        elif algorithm == "ES256":
            found = ECAlgorithm.from_jwk(jwk)
        else:
            found = OKPAlgorithm.from_jwk(jwk)
    except (jwt.InvalidKeyError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"cannot be read: {error}") from None
    if isinstance(found, RSAPublicKey) and LEAST_RSA_BITS <= found.key_size <= MOST_RSA_BITS:
        return found
    if isinstance(found, EllipticCurvePublicKey) and isinstance(found.curve, SECP256R1):
        return found
    if isinstance(found, Ed25519PublicKey):
        return found
    raise ValueError(f"must be RSA of {LEAST_RSA_BITS} to {MOST_RSA_BITS} bits, P-256 or Ed25519")
