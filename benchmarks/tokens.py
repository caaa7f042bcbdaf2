"""Bearer tokens for the tenants of a benchmark.

Both services under load verify the same tokens, so neither one gets a cheaper identity than the other.
"""

import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "EdDSA"
ISSUER = "privacy-engine"
AUDIENCE = "privacy-engine"
LIFETIME_SECONDS = 3600


def public_pem(private_key: Ed25519PrivateKey) -> str:
    """Return the PEM of the public half, which is all that a service needs for verifying."""
    return (
        private_key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode("ascii")
    )


def mint(
    private_key: Ed25519PrivateKey,
    kid: str,
    tenant_id: str,
    *,
    lifetime_seconds: int = LIFETIME_SECONDS,
    now: int | None = None,
) -> str:
    """Sign a token with which a tabular engine speaks for one tenant.

    Args:
        private_key: The issuer's key.
        kid: The name of that key in the service's key set.
        tenant_id: The tenant.
        lifetime_seconds: How long the token is valid.
        now: Seconds since the epoch; the clock's when absent.

    Returns:
        The encoded token.
    """
    issued_at = int(time.time()) if now is None else now
    claims = {
        "sub": f"benchmark-{tenant_id}",
        "tenant_id": tenant_id,
        "roles": ["engine"],
        "engine": "tabular",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": issued_at,
        "exp": issued_at + lifetime_seconds,
    }
    return jwt.encode(claims, private_key, algorithm=ALGORITHM, headers={"kid": kid})


def mint_many(private_key: Ed25519PrivateKey, kid: str, prefix: str, count: int) -> tuple[str, ...]:
    """Sign one token for each of `count` tenants, which are named `prefix-0000`, `prefix-0001` and so on."""
    return tuple(mint(private_key, kid, f"{prefix}-{number:04d}") for number in range(count))
