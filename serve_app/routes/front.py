"""The front: health, public keys, the OpenAPI document, plans, generators. What belongs to no other deployment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from accounting.ledger.by_home import Analytics, ByHome, Ledgers, Tasks
from accounting.ledger.postgres_audit import PostgresAudit
from accounting.ledger.postgres_proofs import PostgresProofReader
from deployments.training.folders import Folders
from serve_app.client.client import AsyncPrivacyClient
from serve_app.openapi import openapi_document
from serve_app.readiness import Readiness
from serve_app.routes.accountant_export import export_router
from serve_app.routes.analytics import analytics_router
from serve_app.routes.audit_log import audit_log_router
from serve_app.routes.evidence_reports import evidence_router
from serve_app.routes.generators import generators_router
from serve_app.routes.health import health_router, readiness_of
from serve_app.routes.plans import plan_router
from serve_app.routes.privacy_reports import privacy_reports_router
from serve_app.routes.rights import rights_router
from serve_app.routes.web import web_router
from serve_app.service import PREFIX, Service, new_app


@dataclass(frozen=True)
class _Opened:
    """What the front's routes work with, for as long as it runs."""

    ledgers: Ledgers
    tasks: Tasks
    analytics: Analytics
    everybodys: Analytics
    logs: ByHome[PostgresProofReader]
    audit: PostgresAudit
    everybodys_audit: PostgresAudit
    client: AsyncPrivacyClient
    readiness: Readiness


@asynccontextmanager
async def _opened(service: Service) -> AsyncIterator[_Opened]:
    async with (
        service.databases(2) as databases,
        AsyncPrivacyClient(service.settings.base_url, timeout=120) as client,
        readiness_of(service) as readiness,
    ):
        audit = await PostgresAudit.open(service.database_url)
        everybodys_audit = await PostgresAudit.open(service.recorder_url)
        try:
            yield _Opened(
                ledgers=databases.ledgers,
                tasks=await databases.tasks(2),
                analytics=await databases.analytics(),
                everybodys=await databases.analytics(1, everybodys=True),
                logs=await databases.at_home(lambda urls: PostgresProofReader.open(urls.service)),
                audit=audit,
                everybodys_audit=everybodys_audit,
                client=client,
                readiness=readiness,
            )
        finally:
            await audit.close()
            await everybodys_audit.close()


def create_front_app(service: Service) -> FastAPI:
    """The app at the root of the address."""
    opened: list[_Opened] = []
    verifier = service.verifier()
    document: dict[str, Any] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with _opened(service) as found:
            opened.append(found)
            yield

    app = new_app("Front", lifespan, service.settings, service.trail())
    plans = plan_router(verifier, lambda: opened[-1].ledgers, lambda: opened[-1].client, service.settings)
    app.include_router(plans, prefix=f"{PREFIX}/composition")

    folders = Folders(service.settings.files_folder)
    generators = generators_router(verifier, lambda: opened[-1].tasks, lambda: opened[-1].client, folders)
    app.include_router(generators, prefix=f"{PREFIX}/generators")
    reports = privacy_reports_router(verifier, lambda: opened[-1].tasks, lambda: opened[-1].ledgers)
    app.include_router(reports, prefix=f"{PREFIX}/generators")

    analytics = analytics_router(verifier, lambda: opened[-1].analytics, lambda: opened[-1].everybodys)
    app.include_router(analytics, prefix=f"{PREFIX}/analytics")
    evidence = evidence_router(
        verifier,
        lambda: opened[-1].analytics,
        lambda: opened[-1].ledgers,
        lambda: opened[-1].logs,
        service.keys,
    )
    app.include_router(evidence, prefix=f"{PREFIX}/reports")
    app.include_router(export_router(verifier, lambda: opened[-1].analytics), prefix=f"{PREFIX}/accountant")

    app.include_router(rights_router(verifier), prefix=f"{PREFIX}/access")
    app.include_router(
        audit_log_router(verifier, lambda: opened[-1].audit, lambda: opened[-1].everybodys_audit), prefix=PREFIX
    )
    app.include_router(web_router())

    app.include_router(health_router(lambda: opened[-1].readiness), prefix="/health")

    @app.get("/.well-known/jwks.json", summary="Public keys that check tokens, proofs and heads (RFC 7517)")
    async def keys() -> dict[str, Any]:
        # Read anew: a key may have been followed by another since this process started.
        return service.keys().public_keys()

    @app.get("/openapi.json", summary="This document")
    async def openapi() -> dict[str, Any]:
        if not document:
            document.update(openapi_document(service, app))
        return document

    return app
