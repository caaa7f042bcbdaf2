"""Bearer tokens: verified once, remembered until they expire (RFC 7519, RFC 8037, RFC 8725).

The service's own key signs tokens for local use, for its tasks and between its parts; tokens of people and engines may
come from outside issuers that an operator trusts. Neither can speak in the name of the other.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from proofs.signing import SigningKey
from serve_app.auth.issuer_keys import IssuerKeys
from serve_app.auth.issuers import ClaimNames, Issuer, PublicKey
from serve_app.auth.limits import RateLimits
from serve_app.auth.policy import Role
from serve_app.auth.principal import ANY_TENANT, OWN_SUBJECTS, Principal
from serve_app.identifiers import NAME_RULE, TEXT_RULE, valid_name, valid_text
from serve_app.problems import Code, Problem

REMEMBERED = 20_000
MAX_TOKEN_LENGTH = 8_192


def unauthenticated(detail: str) -> Problem:
    """A refusal for want of a valid token."""
    return Problem(Code.UNAUTHENTICATED, detail)


@dataclass(frozen=True, slots=True)
class _Known:
    """A token that was verified.

    Attributes:
        principal: Who.
        good_until: Unix time until which nothing about it need be looked at again.
        issuer: Of an outside one.
    """

    principal: Principal
    good_until: float
    issuer: str | None


class TokenVerifier:
    """Turns an ``Authorization`` header into a `Principal`.

    Attributes:
        limits: How much a tenant and a token may ask. Whoever verifies a token counts the request there.
    """

    def __init__(
        self,
        keys: Mapping[str, Ed25519PublicKey],
        issuer: str,
        audience: str,
        leeway: float,
        outside: Sequence[Issuer] = (),
        limits: RateLimits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Makes ready; keys of outside issuers are fetched when the first of their tokens comes.

        Args:
            keys: The service's own, by key id.
            issuer: The service's own name.
            audience: That its own tokens carry.
            leeway: Clock skew that is allowed, in seconds.
            outside: Issuers that are trusted beside the service itself.
            limits: None for none.
            clock: Unix time, by which what is remembered grows old.
        """
        self.limits = limits or RateLimits()
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway = leeway
        self._outside = {one.issuer: one for one in outside}
        self._clock = clock
        self._sources = {one.issuer: self._source(one) for one in outside}
        self._remembered: OrderedDict[str, _Known] = OrderedDict()

    def known(self, authorization: str | None) -> Principal | None:
        """The principal of a header that was verified before, if that still holds."""
        known = self._remembered.get(authorization or "")
        return known.principal if known is not None and self._clock() < known.good_until else None

    async def verify(self, authorization: str | None) -> Principal:
        """The principal of a header such as ``Bearer eyJ...``. Waits where an issuer's keys have to be fetched.

        Raises:
            Problem: `Code.UNAUTHENTICATED`, saying what is wrong with the token but not what the right one would be;
                `Code.UNAVAILABLE` if its issuer's keys cannot be had.
        """
        principal = self.known(authorization)
        if principal is not None:
            return principal
        if not authorization:
            raise unauthenticated("Send the header 'Authorization: Bearer <token>'.")
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_LENGTH:
            raise unauthenticated("Send the header 'Authorization: Bearer <token>'.")
        kid, named = _told(token)
        outside = self._outside.get(named)
        principal = self._own(token, kid) if outside is None else await self._foreign(token, kid, outside)
        good_until = principal.expires_at + self._leeway
        if outside is not None:
            good_until = min(good_until, self._sources[named].good_until)
        self._remembered[authorization] = _Known(principal, good_until, None if outside is None else named)
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return principal

    def _own(self, token: str, kid: str) -> Principal:
        key = self._keys.get(kid)
        if key is None:
            raise unauthenticated("The token is signed with a key that this service does not know.")
        return _principal(self._claims(token, key, "EdDSA", self._issuer, self._audience), _id_of(token), ClaimNames())

    async def _foreign(self, token: str, kid: str, issuer: Issuer) -> Principal:
        key = await self._sources[issuer.issuer].key(kid)
        if key is None:
            raise unauthenticated("The token is signed with a key that its issuer does not publish.")
        claims = self._claims(token, key.key, key.algorithm, issuer.issuer, issuer.audience)
        return _foreign_principal(claims, _id_of(token), issuer)

    def _claims(self, token: str, key: PublicKey, algorithm: str, issuer: str, audience: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=issuer,
                audience=audience,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise unauthenticated("The token has expired.") from None
        except (jwt.InvalidTokenError, RecursionError) as error:
            raise unauthenticated(f"The token is not valid: {error}.") from None
        return claims

    def _source(self, issuer: Issuer) -> IssuerKeys:
        def forget() -> None:
            kept = [(header, known) for header, known in self._remembered.items() if known.issuer != issuer.issuer]
            self._remembered = OrderedDict(kept)

        return IssuerKeys(issuer, forget, self._clock)


def _told(token: str) -> tuple[str, str]:
    """The key id and the issuer that a token names. Nothing of it is verified."""
    try:
        kid = jwt.get_unverified_header(token).get("kid", "")
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss", "")
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise unauthenticated(f"The token is not valid: {error}.") from None
    return kid if isinstance(kid, str) else "", issuer if isinstance(issuer, str) else ""


def _id_of(token: str) -> str:
    """A digest of what was signed. The signature itself has more than one spelling."""
    return hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()[:32]


def _foreign_principal(claims: dict[str, Any], token_id: str, issuer: Issuer) -> Principal:
    """The principal of an outside issuer's token: never one of the service's own."""
    if claims["sub"] in OWN_SUBJECTS:
        raise unauthenticated("The token's sub is the service's own.")
    roles = claims.get(issuer.claims.roles)
    if isinstance(roles, list):
        if Role.TASK in roles:
            raise unauthenticated(f"The role {Role.TASK} is given by the service alone.")
        # Issuers give roles for other services too.
        claims = claims | {issuer.claims.roles: [role for role in roles if role in list(Role)]}
    principal = _principal(claims, token_id, issuer.claims)
    if principal.tenant_id == ANY_TENANT:
        if not issuer.any_tenant:
            raise unauthenticated("The token's issuer may not give tokens for any tenant.")
    elif issuer.tenants and principal.tenant_id not in issuer.tenants:
        raise unauthenticated("The token's issuer may not give tokens for that tenant.")
    return principal


def _principal(claims: dict[str, Any], token_id: str, names: ClaimNames) -> Principal:
    tenant_id, roles, engine = claims.get(names.tenant_id), claims.get(names.roles), claims.get(names.engine)
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
    given = frozenset(Role(role) for role in roles)
    return Principal(subject, tenant_id, given, engine, float(claims["exp"]), token_id)


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
