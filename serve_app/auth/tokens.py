"""Bearer tokens: verified once, remembered until they expire (RFC 7519, RFC 8037)."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from proofs.signing import SigningKey
from serve_app.auth.principal import ANY_TENANT, Principal, Role
from serve_app.identifiers import NAME_RULE, TEXT_RULE, valid_name, valid_text
from serve_app.problems import Code, Problem

REMEMBERED = 20_000
MAX_TOKEN_LENGTH = 8_192


def unauthenticated(detail: str) -> Problem:
    """A refusal for want of a valid token."""
    return Problem(Code.UNAUTHENTICATED, detail)


class TokenVerifier:
    """Turns an ``Authorization`` header into a `Principal`."""

    def __init__(self, keys: dict[str, Ed25519PublicKey], issuer: str, audience: str, leeway: float) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._remembered: OrderedDict[str, Principal] = OrderedDict()

    def verify(self, authorization: str | None) -> Principal:
        """The principal of a header such as ``Bearer eyJ...``.

        Raises:
            Problem: `Code.UNAUTHENTICATED`, saying what is wrong with the token but not what the right one would be.
        """
        known = self._remembered.get(authorization or "")
        if known is not None and time.time() < known.expires_at + self._leeway:
            return known
        if not authorization:
            raise unauthenticated("Send the header 'Authorization: Bearer <token>'.")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_LENGTH:
            raise unauthenticated("Send the header 'Authorization: Bearer <token>'.")
        principal = _principal(self._claims(token.strip()))
        self._remembered[authorization] = principal
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return principal

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            key = self._keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                raise unauthenticated("The token is signed with a key that this service does not know.")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise unauthenticated("The token has expired.") from None
        except jwt.InvalidTokenError as error:
            raise unauthenticated(f"The token is not valid: {error}.") from None
        return claims


def _principal(claims: dict[str, Any]) -> Principal:
    tenant_id, roles, engine = claims.get("tenant_id"), claims.get("roles"), claims.get("engine")
    if not isinstance(tenant_id, str) or not (tenant_id == ANY_TENANT or valid_name(tenant_id)):
        raise unauthenticated("The token's tenant_id is missing or not a valid name.")
    if not isinstance(roles, list) or not roles or any(role not in list(Role) for role in roles):
        raise unauthenticated(f"The token's roles must be a list of {', '.join(Role)}.")
    if engine is not None and not (isinstance(engine, str) and valid_name(engine)):
        raise unauthenticated(f"The token's engine {NAME_RULE}.")
    subject = claims["sub"]
    # It ends up in ledger entries, where a character that Postgres refuses would break the whole batch.
    if not valid_text(subject):
        raise unauthenticated(f"The token's sub {TEXT_RULE}.")
    return Principal(subject, tenant_id, frozenset(Role(role) for role in roles), engine, float(claims["exp"]))


def mint_token(
    key: SigningKey,
    *,
    issuer: str,
    audience: str,
    tenant_id: str,
    roles: Sequence[str],
    engine: str | None = None,
    subject: str | None = None,
    lifetime_seconds: int = 86_400,
) -> str:
    """A signed token, for local use and tests."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject or f"{roles[0]}@{tenant_id}",
        "tenant_id": tenant_id,
        "roles": list(roles),
        "iat": now,
        "exp": now + lifetime_seconds,
    }
    if engine is not None:
        claims["engine"] = engine
    return jwt.encode(claims, key.private_key, algorithm="EdDSA", headers={"kid": key.kid})
