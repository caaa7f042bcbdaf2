"""Data sets over HTTP: registered by an administrator, each with a budget of its own."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from accounting.admission import ACCEPTED, Outcome, Verdict
from accounting.datasets import DatasetState
from accounting.ledger.store import LedgerStore, Wanted
from deployments.budget.owners import Owner
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.requests import body_of, described
from serve_app.routes.access import named_tenant, permission_by
from serve_app.routes.answers import dataset_answer, dataset_summary
from serve_app.routes.budget_request import set_dataset
from serve_app.routes.refusals import refusal
from serve_app.schemas import DatasetBody


def dataset_router(verifier: TokenVerifier, owner: Callable[[], Owner], store: Callable[[], LedgerStore]) -> APIRouter:
    """The routes below ``{tenant_id}/datasets``."""
    router = APIRouter(prefix="/{tenant_id}/datasets")
    may = permission_by(verifier)

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
        tenant_id: str,
        dataset_id: str,
        asking: Annotated[Principal, may(Action.REGISTER_DATASET)],
        body: Annotated[DatasetBody, Depends(body_of(DatasetBody))],
    ) -> dict[str, Any]:
        tenant = asking.tenant(named_tenant(tenant_id), Action.REGISTER_DATASET)
        verdict = await owner().submit(set_dataset(tenant, dataset_id, body, asking.subject))
        if verdict.outcome not in ACCEPTED:
            raise refusal(verdict)
        return await answer(tenant, dataset_id)

    @router.get("/{dataset_id:path}", summary="A data set: caps, exposure and what is left, whole and by partition")
    async def get_dataset(
        tenant_id: str, dataset_id: str, asking: Annotated[Principal, may(Action.READ_BUDGET)]
    ) -> dict[str, Any]:
        return await answer(asking.tenant(named_tenant(tenant_id), Action.READ_BUDGET), dataset_id)

    @router.get("", summary="All data sets of a tenant")
    async def get_datasets(tenant_id: str, asking: Annotated[Principal, may(Action.READ_BUDGET)]) -> dict[str, Any]:
        tenant = asking.tenant(named_tenant(tenant_id), Action.READ_BUDGET)
        return {"tenant_id": tenant, "datasets": [dataset_summary(state) for state in await store().datasets(tenant)]}

    return router
