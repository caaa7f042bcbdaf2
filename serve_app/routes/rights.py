"""``access``: what the token at hand may do, and who may do what."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter

from accounting.ledger.entry import timestamp_text
from serve_app.auth.policy import RULES, Action, Role, actions_of
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.routes.access import permission_by

_LATEST = datetime.max.replace(tzinfo=UTC).timestamp()


def rights_router(verifier: TokenVerifier) -> APIRouter:
    """The routes below ``access``."""
    router = APIRouter()
    may = permission_by(verifier)
    Asking = Annotated[Principal, may(Action.READ_ACCESS)]  # noqa: N806 - a type

    @router.get("/me", summary="Who the token says you are, and what it may do")
    async def me(asking: Asking) -> dict[str, Any]:
        return {
            "subject": asking.subject,
            "tenant_id": asking.tenant_id,
            "roles": sorted(asking.roles),
            "engine": asking.engine,
            "expires_at": timestamp_text(datetime.fromtimestamp(min(asking.expires_at, _LATEST), UTC)),
            "may": actions_of(asking.roles),
        }

    @router.get("/roles", summary="Which role may do what")
    async def roles(_: Asking) -> dict[str, Any]:
        return {
            "roles": {role: actions_of(frozenset({role})) for role in Role},
            "actions": {action: rule.sentence for action, rule in RULES.items()},
        }

    return router
