"""The budget's HTTP app: the hot routes, and FastAPI for everything else."""

import gc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from starlette.requests import Request
from starlette.responses import Response

from accounting.admission import ACCEPTED
from accounting.charges import price
from accounting.events import GaussianEvent
from accounting.ledger.by_home import LedgersByHome
from accounting.ledger.entry import Entry
from accounting.ledger.homes import MAIN
from accounting.ledger.postgres_log import PostgresLog
from accounting.ledger.store import LedgerStore, Wanted
from accounting.policy import SetBudget, SetLegalHold, renewal
from deployments.budget.owner import BudgetOwner, HaltedError, OverloadedError, OwnerSettings
from deployments.budget.owners import Owner, OwnersByHome
from serve_app.auth.operators import OperatorKeys
from serve_app.auth.policy import Action, Role
from serve_app.auth.principal import ANY_TENANT, Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.auth.trail import Trail
from serve_app.config import Settings
from serve_app.observing.budgets import OwnerGauges, OwnerObserver
from serve_app.observing.process import TALLIES
from serve_app.observing.traces import tracing_of
from serve_app.problems import Code, Problem, halted, overloaded, problem_response
from serve_app.requests import body_of, described
from serve_app.routes.access import named_tenant, permission_by
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
    logs: dict[str, PostgresLog] = {}

    @asynccontextmanager
    async def open_ledgers() -> AsyncIterator[LedgerStore]:
        async with service.databases() as databases:
            logs.update(await databases.each(lambda urls: PostgresLog.open(urls.service, connections=1)))
            yield databases.ledgers

    standings = {name: guarded(service.witness(name), partial(logs.__getitem__, name)) for name in service.urls}
    return create_budget_app(service.settings, service.verifier(), open_ledgers, standings, service.trail())


def create_budget_app(
    settings: Settings,
    verifier: TokenVerifier,
    open_store: OpenStore,
    standings: Mapping[str, Standing] = MappingProxyType({}),
    trail: Trail | None = None,
) -> HotFirst:
    """The app that owns budgets.

    Args:
        settings: The operator's.
        verifier: Of tokens.
        open_store: Opens the ledger for the time that the app runs.
        standings: Say why the ledger of a database may not be decided on; none where nobody watches it.
        trail: Where deeds go; None where there is no audit log.
    """
    owners: list[Owner] = []
    stores: list[LedgerStore] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with open_store() as store:
            # The first Gaussian loads SciPy and dp-accounting, which must not happen while requests wait.
            price(GaussianEvent(Decimal(1), Decimal(1)), Decimal("1e-5"))
            chosen = OwnerSettings(settings.limits(), settings.default_budget())
            observer = OwnerObserver(TALLIES, tracing_of(settings))
            ledgers = store.parts if isinstance(store, LedgersByHome) else {MAIN: store}
            parts = {name: BudgetOwner(ledger, chosen, observer=observer) for name, ledger in ledgers.items()}
            # Entries live long and form no cycles, so looking through them for garbage finds nothing: do it seldom.
            gc.set_threshold(50_000, 50, 100)
            owners.append(OwnersByHome(parts, store.homes) if isinstance(store, LedgersByHome) else parts[MAIN])
            stores.append(store)
            async with AsyncExitStack() as running:
                for name, owner in parts.items():
                    owner.start()
                    running.push_async_callback(owner.stop)
                    await running.enter_async_context(watched(owner, standings.get(name)))
                with TALLIES.gauges(OwnerGauges(lambda: list(parts.values()))):
                    yield

    app = new_app("Privacy budgets", lifespan, settings, trail)
    may = permission_by(verifier)
    Reading = Annotated[Principal, may(Action.READ_BUDGET)]  # noqa: N806 - a type

    @app.exception_handler(OverloadedError)
    async def on_overload(_: Request, __: OverloadedError) -> Response:
        return problem_response(overloaded())

    @app.exception_handler(HaltedError)
    async def on_halt(_: Request, error: HaltedError) -> Response:
        return problem_response(halted(str(error)))

    async def head_of(tenant_id: str, asking: Principal) -> Entry:
        if asking.tenant_id == ANY_TENANT and Role.ENGINE not in asking.roles:
            # An auditor of all only looks: to name a tenant that nobody knows opens no budget.
            head = (await stores[-1].tails({tenant_id: Wanted()}))[tenant_id].head
            head = None if head is None else renewal(head, stores[-1].now()) or head
        else:
            head = await owners[-1].balance(tenant_id, asking.subject)
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
        tenant_id: str,
        asking: Annotated[Principal, may(Action.SET_BUDGET)],
        body: Annotated[BudgetBody, Depends(body_of(BudgetBody))],
    ) -> dict[str, Any]:
        tenant = asking.tenant(named_tenant(tenant_id), Action.SET_BUDGET)
        return await decided(set_budget(tenant, body, asking.subject, settings.budget_renewal_days))

    @app.put(
        "/{tenant_id}/legal-hold",
        summary="Place or lift a legal hold: while it is in force, nothing of the tenant is purged",
        openapi_extra=described(LegalHoldBody),
    )
    async def put_legal_hold(
        tenant_id: str,
        asking: Annotated[Principal, may(Action.LEGAL_HOLD)],
        body: Annotated[LegalHoldBody, Depends(body_of(LegalHoldBody))],
    ) -> dict[str, Any]:
        tenant = asking.tenant(named_tenant(tenant_id), Action.LEGAL_HOLD)
        return await decided(set_legal_hold(tenant, body, asking.subject))

    @app.get("/status/{tenant_id}", summary="The short form of a tenant's budget")
    async def budget_status(tenant_id: str, asking: Reading) -> dict[str, Any]:
        return status_answer(await head_of(asking.tenant(named_tenant(tenant_id), Action.READ_BUDGET), asking))

    @app.get("/{tenant_id}", summary="Caps, spent and remaining under each member filter; window, lifetime, data sets")
    async def get_budget(tenant_id: str, asking: Reading) -> dict[str, Any]:
        return await told(await head_of(asking.tenant(named_tenant(tenant_id), Action.READ_BUDGET), asking))

    @app.get("/{tenant_id}/denials", summary="The latest refusals, latest first")
    async def get_denials(
        tenant_id: str,
        asking: Annotated[Principal, may(Action.READ_DENIALS)],
        limit: Annotated[int, Query(ge=1, le=MAX_DENIALS)] = 100,
    ) -> dict[str, Any]:
        tenant = asking.tenant(named_tenant(tenant_id), Action.READ_DENIALS)
        denials = await stores[-1].denials(tenant, limit)
        return {"tenant_id": tenant, "denials": [denial_answer(denial) for denial in denials]}

    operators = OperatorKeys(settings.operator_keys_file)
    app.include_router(settling_router(verifier, lambda: owners[-1], lambda: stores[-1], operators))
    app.include_router(dataset_router(verifier, lambda: owners[-1], lambda: stores[-1]))
    endpoints = hot_endpoints(
        verifier, lambda: owners[-1], noop=settings.noop_route, tracing=tracing_of(settings), trail=trail
    )
    return HotFirst(endpoints, app)
