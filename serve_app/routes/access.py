"""What routes have in common: who asks and whether they may, and the tenant that a path or body names."""

from collections.abc import Callable
from typing import Any

from fastapi import Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from serve_app.auth.deeds import ASKED, Asked
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.identifiers import NAME_RULE, valid_name
from serve_app.observing.requests import about
from serve_app.problems import invalid


class Permission(SecurityBase):
    """A dependency that verifies the bearer token and refuses one that may not take the action.

    It stands before the body in a route's parameters, so that whoever may not ask is told so whatever was sent. As a
    security scheme it writes its action into the OpenAPI document.
    """

    def __init__(self, verifier: TokenVerifier, action: Action) -> None:
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "bearer"
        self._verifier = verifier
        self._action = action

    async def __call__(self, request: Request) -> Principal:
        """Who asks.

        Raises:
            Problem: `Code.UNAUTHENTICATED`, `Code.RATE_LIMITED` or `Code.FORBIDDEN`.
        """
        asked: Asked = request.scope.get(ASKED) or Asked()
        asked.action = self._action
        asked.named = request.path_params.get("tenant_id") or request.query_params.get("tenant_id")
        principal = asked.principal = await self._verifier.verify(request.headers.get("authorization"))
        self._verifier.limits.take(principal)
        about(tenant_id=principal.tenant_id)
        principal.may(self._action)
        return principal


def permission_by(verifier: TokenVerifier) -> Callable[[Action], Any]:
    """Makes the dependency of an action, as in ``asking: Annotated[Principal, may(Action.PLAN)]``."""

    def may(action: Action) -> Any:  # noqa: ANN401 - FastAPI's own marker
        return Security(Permission(verifier, action), scopes=[action.value])

    return may


def named_tenant(tenant_id: str) -> str:
    """The tenant's id, where it can be one.

    Raises:
        Problem: If it cannot.
    """
    if not valid_name(tenant_id):
        raise invalid("tenant_id", NAME_RULE)
    return tenant_id
