"""``loss/visualize``: a tenant's loss over time against its cap, as a picture or as numbers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from accounting.filters import FilterKind
from accounting.ledger.by_home import Ledgers
from accounting.ledger.entry import Entry
from accounting.ledger.store import LedgerStore, Wanted
from deployments.visualization.picture import draw
from deployments.visualization.series import loss_series, series_to_wire
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.problems import Code, Problem
from serve_app.routes.access import permission_by
from serve_app.service import Service, new_app

PAGE = 10_000
MAX_ENTRIES = 100_000
"""Entries in one picture: the latest so many."""


def create_pictures_app(service: Service) -> FastAPI:
    """The app that draws."""
    ledgers: list[Ledgers] = []
    drawing = asyncio.Lock()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.databases() as databases:
            ledgers.append(databases.ledgers)
            yield

    app = new_app("Pictures", lifespan, service.settings, service.trail())
    may = permission_by(service.verifier())

    @app.get("/visualize", summary="Loss over time against the cap: PNG, SVG, or the numbers as JSON")
    async def visualize(
        asking: Annotated[Principal, may(Action.READ_LOSS)],
        format: Literal["png", "svg", "json"] = "png",  # noqa: A002 - the interface's own word
        member: FilterKind | None = None,
        tenant_id: str | None = None,
    ) -> Response:
        tenant = asking.tenant(tenant_id, Action.READ_LOSS)
        entries = await latest_entries(ledgers[-1], tenant)
        if not entries:
            raise Problem(Code.UNKNOWN_TENANT, "The tenant has no budget yet, so there is nothing to draw.")
        series = await asyncio.to_thread(loss_series, entries, tenant)
        if member is not None and member not in series.members:
            detail = f"member: must be a filter of this budget: {', '.join(series.members)}."
            raise Problem(Code.NOT_FOUND, detail, {"field": "member"})
        if format == "json":
            return JSONResponse(series_to_wire(series))
        # matplotlib keeps state of its own: one picture at a time in a process, and more replicas for more.
        async with drawing:
            picture = await asyncio.to_thread(draw, series, format, member)
        return Response(picture, media_type="image/svg+xml" if format == "svg" else "image/png")

    return app


async def latest_entries(store: LedgerStore, tenant_id: str) -> list[Entry]:
    """The tenant's last `MAX_ENTRIES` entries, oldest first."""
    head = (await store.tails({tenant_id: Wanted()}))[tenant_id].head
    if head is None:
        return []
    entries: list[Entry] = []
    after = max(head.seq - MAX_ENTRIES, 0)
    while after < head.seq:
        page = await store.history(tenant_id, after, PAGE)
        entries += page
        after = page[-1].seq
    return entries
