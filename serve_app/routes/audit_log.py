"""``audit``: who did what and what was refused, beside what the ledger itself says."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from accounting.ledger.audited import AuditRecord
from accounting.ledger.entry import timestamp_text
from accounting.ledger.postgres_audit import LATEST, PostgresAudit
from serve_app.auth.policy import Action
from serve_app.auth.principal import ANY_TENANT, Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.routes.access import named_tenant, permission_by

MAX_LISTED = 1_000


def audit_log_router(
    verifier: TokenVerifier, reader: Callable[[], PostgresAudit], recorder: Callable[[], PostgresAudit]
) -> APIRouter:
    """The route ``audit``.

    Args:
        verifier: Of tokens.
        reader: Reads one tenant's rows at a time, with a service's login.
        recorder: Reads all rows, with a recorder's login.
    """
    router = APIRouter()
    may = permission_by(verifier)

    @router.get("/audit", summary="Who did what and what was refused, the newest first; go on with after=next")
    async def records(
        asking: Annotated[Principal, may(Action.READ_AUDIT)],
        tenant_id: str | None = None,
        after: Annotated[int, Query(ge=1, le=LATEST)] = LATEST,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
    ) -> dict[str, Any]:
        tenant = asking.tenant_or_all(None if tenant_id is None else named_tenant(tenant_id), Action.READ_AUDIT)
        if tenant is None:
            found = await recorder().latest_of_all(after, limit)
        else:
            found = await reader().latest(tenant, after, limit)
        return {"records": [_told(one) for one in found], "next": found[-1].id if len(found) == limit else None}

    return router


def _told(record: AuditRecord) -> dict[str, Any]:
    deed = record.deed
    assert record.at is not None
    return {
        "id": record.id,
        "at": timestamp_text(record.at),
        "actor": deed.actor,
        # Of what nobody was verified for, no tenant is told.
        "tenant_id": None if deed.tenant_id == ANY_TENANT else deed.tenant_id,
        "action": deed.action,
        "target": deed.target,
        "outcome": deed.outcome,
        "status": deed.status,
        "request_id": record.request_id,
        "count": record.count,
    }
