"""Data sets over HTTP: registered by an administrator, each with a budget of its own."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from accounting.admission import ACCEPTED, Outcome, Verdict
from accounting.datasets import DatasetState
from accounting.ledger.store import LedgerStore, Wanted
from deployments.budget.owner import BudgetOwner
from serve_app.auth.principal import ADMINS, READERS, Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.requests import body_of, described
from serve_app.routes.access import named_tenant, principal_by
from serve_app.routes.answers import dataset_answer, dataset_summary
from serve_app.routes.budget_request import set_dataset
from serve_app.routes.refusals import refusal
from serve_app.schemas import DatasetBody


def dataset_router(
    verifier: TokenVerifier, owner: Callable[[], BudgetOwner], store: Callable[[], LedgerStore]
) -> APIRouter:
    """The routes below ``{tenant_id}/datasets``."""
    router = APIRouter(prefix="/{tenant_id}/datasets")
    Asking = Annotated[Principal, Depends(principal_by(verifier))]  # noqa: N806 - a type

    async def state_of(tenant_id: str, dataset_id: str) -> DatasetState:
        tails = await store().tails({tenant_id: Wanted(datasets={dataset_id})})
        state = tails[tenant_id].datasets[dataset_id]
        if state is None:
            raise refusal(Verdict(Outcome.UNKNOWN_DATASET))
        return state

    async def answer(tenant_id: str, dataset_id: str) -> dict[str, Any]:
        # A thousand partitions take a while; the hot path is on this loop.
        return await asyncio.to_thread(dataset_answer, tenant_id, await state_of(tenant_id, dataset_id))

    @router.put(
        "/{dataset_id:path}",
        summary="Register a data set, raise its budget, or add partitions",
        openapi_extra=described(DatasetBody),
    )
    async def put_dataset(
        tenant_id: str, dataset_id: str, asking: Asking, body: Annotated[DatasetBody, Depends(body_of(DatasetBody))]
    ) -> dict[str, Any]:
        asking.require(ADMINS)
        tenant = asking.tenant(named_tenant(tenant_id))
        verdict = await owner().submit(set_dataset(tenant, dataset_id, body, asking.subject))
        if verdict.outcome not in ACCEPTED:
            raise refusal(verdict)
        return await answer(tenant, dataset_id)

    @router.get("/{dataset_id:path}", summary="A data set: caps, exposure and what is left, whole and by partition")
    async def get_dataset(tenant_id: str, dataset_id: str, asking: Asking) -> dict[str, Any]:
        asking.require(READERS)
        return await answer(asking.tenant(named_tenant(tenant_id), engine_call=True), dataset_id)

    @router.get("", summary="All data sets of a tenant")
    async def get_datasets(tenant_id: str, asking: Asking) -> dict[str, Any]:
        asking.require(READERS)
        tenant = asking.tenant(named_tenant(tenant_id), engine_call=True)
        return {"tenant_id": tenant, "datasets": [dataset_summary(state) for state in await store().datasets(tenant)]}

    return router
