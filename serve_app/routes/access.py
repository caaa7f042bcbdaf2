"""What routes have in common: the verified principal of a request, and the tenant that its path or body names."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Header

from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.identifiers import NAME_RULE, valid_name
from serve_app.problems import invalid


def principal_by(verifier: TokenVerifier) -> Callable[..., Awaitable[Principal]]:
    """A dependency that verifies the bearer token."""

    async def principal(authorization: Annotated[str | None, Header()] = None) -> Principal:
        return verifier.verify(authorization)

    return principal


def named_tenant(tenant_id: str) -> str:
    """The tenant's id, where it can be one.

    Raises:
        Problem: If it cannot.
    """
    if not valid_name(tenant_id):
        raise invalid("tenant_id", NAME_RULE)
    return tenant_id
