"""FastAPI dependencies: the verified principal of a request."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Header

from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier


def principal_by(verifier: TokenVerifier) -> Callable[..., Awaitable[Principal]]:
    """A dependency that verifies the bearer token."""

    async def principal(authorization: Annotated[str | None, Header()] = None) -> Principal:
        return verifier.verify(authorization)

    return principal
