"""The budget's HTTP app: the hot routes, and FastAPI for everything else."""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from accounting.admission import ACCEPTED
from accounting.charges import price
from accounting.events import GaussianEvent
from accounting.ledger.entry import Entry
from accounting.ledger.postgres_log import PostgresLog
from accounting.ledger.store import LedgerStore
from accounting.policy import SetBudget, SetLegalHold
from deployments.budget.owner import BudgetOwner, HaltedError, OverloadedError, OwnerSettings
from serve_app.auth.operators import OperatorKeys
from serve_app.auth.principal import ADMINS, AUDITORS, READERS, Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.config import Settings
from serve_app.problems import Code, Problem, halted, overloaded, problem_response
from serve_app.requests import body_of, described
from serve_app.routes.access import named_tenant, principal_by
from serve_app.routes.answers import budget_answer, denial_answer, status_answer
from serve_app.routes.budget_request import set_budget, set_legal_hold
from serve_app.routes.datasets import dataset_router
from serve_app.routes.hot import HotFirst, hot_endpoints
from serve_app.routes.refusals import refusal
from serve_app.routes.settling import settling_router
from serve_app.routes.standing import Standing, guarded, watched
from serve_app.schemas import BudgetBody, LegalHoldBody
from serve_app.service import Service, new_app

OpenStore = Callable[[], AbstractAsyncContextManager[LedgerStore]]

MAX_DENIALS = 1_000


def budget_app_of(service: Service) -> HotFirst:
    """The app that owns budgets, on the service's own ledger; halted where that is not the one that was published."""
    logs: list[PostgresLog] = []

    @asynccontextmanager
    async def open_store() -> AsyncIterator[LedgerStore]:
        log = await PostgresLog.open(service.database_url, connections=1)
        try:
            async with service.store() as store:
                logs.append(log)
                yield store
        finally:
            await log.close()

    standing = guarded(service.witness(), lambda: logs[-1])
    return create_budget_app(service.settings, service.verifier(), open_store, standing)


def create_budget_app(
    settings: Settings, verifier: TokenVerifier, open_store: OpenStore, standing: Standing | None = None
) -> HotFirst:
    """The app that owns budgets.

    Args:
        settings: The operator's.
        verifier: Of tokens.
        open_store: Opens the ledger for the time that the app runs.
        standing: Says why the ledger may not be decided on; None where nobody watches it.
    """
    owners: list[BudgetOwner] = []
    stores: list[LedgerStore] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with open_store() as store:
            # The first Gaussian loads SciPy and dp-accounting, which must not happen while requests wait.
            price(GaussianEvent(Decimal(1), Decimal(1)), Decimal("1e-5"))
            owner = BudgetOwner(store, OwnerSettings(settings.limits(), settings.default_budget()))
            owner.start()
            # Entries live long and form no cycles, so looking through them for garbage finds nothing: do it seldom.
            gc.set_threshold(50_000, 50, 100)
            owners.append(owner)
            stores.append(store)
            try:
                async with watched(owner, standing):
                    yield
            finally:
                await owner.stop()

    app = new_app("Privacy budgets", lifespan)
    principal_dependency = principal_by(verifier)
    Asking = Annotated[Principal, Depends(principal_dependency)]  # noqa: N806 - a type

    @app.exception_handler(OverloadedError)
    async def on_overload(_: Request, __: OverloadedError) -> Response:
        return problem_response(overloaded())

    @app.exception_handler(HaltedError)
    async def on_halt(_: Request, error: HaltedError) -> Response:
        return problem_response(halted(str(error)))

    async def head_of(tenant_id: str, actor: str) -> Entry:
        head = await owners[-1].balance(tenant_id, actor)
        if head is None:
            raise Problem(Code.UNKNOWN_TENANT, "An administrator has to create this tenant's budget first.")
        return head

    async def told(head: Entry) -> dict[str, Any]:
        """The budget with the tenant's data sets, which are read after it and may be of a later moment."""
        return budget_answer(head, await stores[-1].datasets(head.tenant_id))

    async def decided(command: SetBudget | SetLegalHold) -> dict[str, Any]:
        verdict = await owners[-1].submit(command)
        if verdict.outcome not in ACCEPTED or verdict.answer is None:
            raise refusal(verdict)
        return await told(verdict.answer)

    @app.put(
        "/{tenant_id}", summary="Create or raise a budget, or change its windows", openapi_extra=described(BudgetBody)
    )
    async def put_budget(
        tenant_id: str, asking: Asking, body: Annotated[BudgetBody, Depends(body_of(BudgetBody))]
    ) -> dict[str, Any]:
        asking.require(ADMINS)
        tenant = asking.tenant(named_tenant(tenant_id))
        return await decided(set_budget(tenant, body, asking.subject, settings.budget_renewal_days))

    @app.put(
        "/{tenant_id}/legal-hold",
        summary="Place or lift a legal hold: while it is in force, nothing of the tenant is purged",
        openapi_extra=described(LegalHoldBody),
    )
    async def put_legal_hold(
        tenant_id: str, asking: Asking, body: Annotated[LegalHoldBody, Depends(body_of(LegalHoldBody))]
    ) -> dict[str, Any]:
        asking.require(ADMINS)
        tenant = asking.tenant(named_tenant(tenant_id))
        return await decided(set_legal_hold(tenant, body, asking.subject))

    @app.get("/status/{tenant_id}", summary="The short form of a tenant's budget")
    async def budget_status(tenant_id: str, asking: Asking) -> dict[str, Any]:
        asking.require(READERS)
        tenant = asking.tenant(named_tenant(tenant_id), engine_call=True)
        return status_answer(await head_of(tenant, asking.subject))

    @app.get("/{tenant_id}", summary="Caps, spent and remaining under each member filter; window, lifetime, data sets")
    async def get_budget(tenant_id: str, asking: Asking) -> dict[str, Any]:
        asking.require(READERS)
        tenant = asking.tenant(named_tenant(tenant_id), engine_call=True)
        return await told(await head_of(tenant, asking.subject))

    @app.get("/{tenant_id}/denials", summary="The latest refusals, latest first")
    async def get_denials(
        tenant_id: str, asking: Asking, limit: Annotated[int, Query(ge=1, le=MAX_DENIALS)] = 100
    ) -> dict[str, Any]:
        asking.require(ADMINS | AUDITORS)
        tenant = named_tenant(tenant_id)
        asking.watched(tenant)
        denials = await stores[-1].denials(tenant, limit)
        return {"tenant_id": tenant, "denials": [denial_answer(denial) for denial in denials]}

    operators = OperatorKeys(settings.operator_keys_file)
    app.include_router(settling_router(verifier, lambda: owners[-1], lambda: stores[-1], operators))
    app.include_router(dataset_router(verifier, lambda: owners[-1], lambda: stores[-1]))
    return HotFirst(hot_endpoints(verifier, lambda: owners[-1], noop=settings.noop_route), app)
