"""The front: health, public keys, the OpenAPI document, plans, generators. What belongs to no other deployment."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.postgres_tasks import PostgresTasks
from accounting.ledger.store import StoreUnavailableError
from deployments.training.folders import Folders
from serve_app.client.client import AsyncPrivacyClient
from serve_app.openapi import openapi_document
from serve_app.problems import unavailable
from serve_app.routes.generators import generators_router
from serve_app.routes.plans import plan_router
from serve_app.routes.privacy_reports import privacy_reports_router
from serve_app.service import PREFIX, VERSION, Service, new_app


def create_front_app(service: Service) -> FastAPI:
    """The app at the root of the address."""
    stores: list[PostgresLedgerStore] = []
    clients: list[AsyncPrivacyClient] = []
    tasks: list[PostgresTasks] = []
    verifier = service.verifier()
    document: dict[str, Any] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.store(2) as store, AsyncPrivacyClient(service.settings.base_url, timeout=120) as client:
            stores.append(store)
            clients.append(client)
            found = await PostgresTasks.open(service.database_url, connections=2)
            tasks.append(found)
            try:
                yield
            finally:
                await found.close()

    app = new_app("Front", lifespan)
    plans = plan_router(verifier, lambda: stores[-1], lambda: clients[-1], service.settings)
    app.include_router(plans, prefix=f"{PREFIX}/composition")

    folders = Folders(service.settings.files_folder)
    generators = generators_router(verifier, lambda: tasks[-1], lambda: clients[-1], folders)
    app.include_router(generators, prefix=f"{PREFIX}/generators")
    reports = privacy_reports_router(verifier, lambda: tasks[-1], lambda: stores[-1])
    app.include_router(reports, prefix=f"{PREFIX}/generators")

    @app.get("/health/live", summary="Whether the process answers")
    async def live() -> dict[str, str]:
        return {"status": "alive", "version": VERSION}

    @app.get("/health/ready", summary="Whether the service can do its work: the ledger answers")
    async def ready() -> dict[str, str]:
        try:
            await stores[-1].tails({})
        except StoreUnavailableError:
            raise unavailable("The ledger did not answer") from None
        return {"status": "ready", "ledger": "reachable", "version": VERSION}

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
