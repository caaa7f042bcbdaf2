"""``accountant/export``: a history as events that Google's dp-accounting loads and prices for itself."""

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from accounting.datasets import Dataset
from accounting.ledger.by_home import Analytics
from accounting.ledger.entry import entry_from_body
from deployments.analytics.export import export
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.identifiers import TEXT_RULE, valid_text
from serve_app.problems import Code, Problem, invalid
from serve_app.requests import body_of, described
from serve_app.routes.access import permission_by
from serve_app.routes.analytics import head_of, tenant_in_body
from serve_app.schemas import AccountantExportBody

MAX_ENTRIES = 100_000
"""Ledger entries of one export. A part of a history would price less than all of it."""
PAGE = 2_000


def export_router(verifier: TokenVerifier, reader: Callable[[], Analytics]) -> APIRouter:
    """The route below ``accountant``.

    Args:
        verifier: Of tokens.
        reader: Reads one tenant's ledger at a time.
    """
    router = APIRouter()
    may = permission_by(verifier)
    # One at a time: each holds a whole history in memory.
    writing = asyncio.Lock()

    @router.post(
        "/export",
        summary="The history as dp-accounting events, for anybody's own accountant",
        openapi_extra=described(AccountantExportBody),
    )
    async def accountant_export(
        asking: Annotated[Principal, may(Action.READ_REPORTS)],
        body: Annotated[AccountantExportBody, Depends(body_of(AccountantExportBody))],
        request: Request,
    ) -> Response:
        tenant = tenant_in_body(asking, body.tenant_id, Action.READ_REPORTS, request)
        dataset_id = body.dataset_id
        if dataset_id is not None and not valid_text(dataset_id):
            raise invalid("dataset_id", TEXT_RULE)
        async with writing:
            async with reader().of(tenant) as found:
                head = await head_of(found)
                if head.seq > MAX_ENTRIES:
                    detail = f"The history has more than {MAX_ENTRIES} ledger entries, too many for one export."
                    raise Problem(Code.TOO_LARGE, detail)
                datasets = {state.dataset.dataset_id: state.dataset for state in await found.datasets()}
                if dataset_id is not None and dataset_id not in datasets:
                    raise Problem(Code.NOT_FOUND, "The tenant has no data set of that id.", {"field": "dataset_id"})
                bodies: list[str] = []
                while page := await found.bodies(len(bodies), PAGE):
                    bodies += page
            return await asyncio.to_thread(_answer, tenant, dataset_id, bodies, datasets)

    return router


def _answer(tenant_id: str, dataset_id: str | None, bodies: list[str], datasets: dict[str, Dataset]) -> Response:
    return JSONResponse(export(tenant_id, dataset_id, (entry_from_body(body) for body in bodies), datasets))
