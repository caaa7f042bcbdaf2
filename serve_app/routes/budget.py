"""The budget's HTTP app: the hot routes, and FastAPI for everything else."""

import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any

import msgspec
from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response

from accounting.admission import ACCEPTED, Outcome, SetBudget, Verdict
from accounting.charges import price
from accounting.conversion import PricingDisagreementError
from accounting.events import GaussianEvent
from accounting.filters import Budget, FilterKind, Share, standard_budget
from accounting.filters import budget as budget_of
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.store import LedgerStore
from accounting.values import (
    MAX_PLACES,
    ZERO,
    InvalidValueError,
    PrivacyLoss,
    checked_delta,
    checked_epsilon,
    round_down,
)
from deployments.budget.owner import BudgetOwner, OverloadedError, OwnerSettings
from serve_app.auth.principal import ADMINS, READERS, SPENDERS, Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.config import Settings
from serve_app.identifiers import NAME_RULE, valid_name
from serve_app.problems import Code, Problem, invalid, overloaded, problem_response
from serve_app.requests import body_of, described
from serve_app.routes.access import principal_by
from serve_app.routes.answers import allocation_answer, budget_answer, refusal, status_answer
from serve_app.routes.hot import HotFirst, hot_endpoints
from serve_app.schemas import BudgetBody, ConflictingSpellingsError, ConsumeBody, FilterBody, SettleBody, one_of
from serve_app.service import Service, new_app

OpenStore = Callable[[], AbstractAsyncContextManager[LedgerStore]]


def budget_app_of(service: Service) -> HotFirst:
    """The app that owns budgets, on the service's own ledger."""
    return create_budget_app(service.settings, service.verifier(), service.store)


def create_budget_app(settings: Settings, verifier: TokenVerifier, open_store: OpenStore) -> HotFirst:
    """The app that owns budgets.

    Args:
        settings: The operator's.
        verifier: Of tokens.
        open_store: Opens the ledger for the time that the app runs.
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
                yield
            finally:
                await owner.stop()

    app = new_app("Privacy budgets", lifespan)
    principal_dependency = principal_by(verifier)
    Asking = Annotated[Principal, Depends(principal_dependency)]  # noqa: N806 - a type

    @app.exception_handler(OverloadedError)
    async def on_overload(_: Request, __: OverloadedError) -> Response:
        return problem_response(overloaded())

    async def head_of(principal: Principal, tenant_id: str) -> Entry:
        principal.require(READERS)
        head = await owners[-1].balance(principal.tenant(_named(tenant_id), engine_call=True), principal.subject)
        if head is None:
            raise Problem(Code.UNKNOWN_TENANT, "An administrator has to create this tenant's budget first.")
        return head

    async def settle(
        principal: Principal, tenant: str | None, allocation_id: str, kind: EntryKind, actual: Decimal | None = None
    ) -> JSONResponse:
        principal.require(SPENDERS)
        tenant_id = principal.tenant(None if tenant is None else _named(tenant), engine_call=True)
        history = await stores[-1].allocation(tenant_id, allocation_id)
        if not history:
            raise refusal(Verdict(Outcome.UNKNOWN_ALLOCATION))
        # Before anything is written: a request that is refused changes nothing.
        _check_actual(actual, history[0])
        verdict = await owners[-1].settle(tenant_id, allocation_id, kind, principal.subject)
        if verdict.outcome not in ACCEPTED or verdict.answer is None:
            raise refusal(verdict)
        headers = {"Idempotency-Replayed": "true"} if verdict.outcome is Outcome.REPLAYED else {}
        return JSONResponse(_settled(history[0], verdict.answer), headers=headers)

    @app.put("/{tenant_id}", summary="Create or raise a budget", openapi_extra=described(BudgetBody))
    async def put_budget(
        tenant_id: str, asking: Asking, body: Annotated[BudgetBody, Depends(body_of(BudgetBody))]
    ) -> dict[str, Any]:
        asking.require(ADMINS)
        tenant = asking.tenant(_named(tenant_id))
        verdict = await owners[-1].submit(_set_budget(tenant, body, asking.subject))
        if verdict.outcome not in ACCEPTED or verdict.answer is None:
            raise refusal(verdict)
        return budget_answer(verdict.answer)

    @app.get("/status/{tenant_id}", summary="The short form of a tenant's budget")
    async def budget_status(tenant_id: str, asking: Asking) -> dict[str, Any]:
        return status_answer(await head_of(asking, tenant_id))

    @app.get("/{tenant_id}", summary="Caps, spent and remaining under each member filter")
    async def get_budget(tenant_id: str, asking: Asking) -> dict[str, Any]:
        return budget_answer(await head_of(asking, tenant_id))

    @app.post(
        "/consume", summary="Commit a hold, or confirm what is spent already", openapi_extra=described(ConsumeBody)
    )
    async def consume(asking: Asking, body: Annotated[ConsumeBody, Depends(body_of(ConsumeBody))]) -> JSONResponse:
        return await settle(asking, body.tenant_id, body.allocation_id, EntryKind.COMMITTED, body.actual_epsilon_spent)

    @app.post("/allocations/{allocation_id}/commit", summary="Commit a hold", openapi_extra=described(SettleBody))
    async def commit(
        allocation_id: str, asking: Asking, body: Annotated[SettleBody, Depends(body_of(SettleBody, optional=True))]
    ) -> JSONResponse:
        return await settle(asking, body.tenant_id, allocation_id, EntryKind.COMMITTED)

    @app.post(
        "/allocations/{allocation_id}/void",
        summary="Take back a hold, stating that no data was read",
        openapi_extra=described(SettleBody),
    )
    async def void(
        allocation_id: str, asking: Asking, body: Annotated[SettleBody, Depends(body_of(SettleBody, optional=True))]
    ) -> JSONResponse:
        return await settle(asking, body.tenant_id, allocation_id, EntryKind.VOIDED)

    return HotFirst(hot_endpoints(verifier, lambda: owners[-1], noop=settings.noop_route), app)


def _named(tenant_id: str) -> str:
    if not valid_name(tenant_id):
        raise invalid("tenant_id", NAME_RULE)
    return tenant_id


def _set_budget(tenant_id: str, body: BudgetBody, actor: str) -> SetBudget:
    try:
        epsilon = one_of(epsilon=body.epsilon, total_epsilon=body.total_epsilon)
        delta = one_of(delta=body.delta, total_delta=body.total_delta)
        if epsilon is None:
            raise InvalidValueError("epsilon", "is missing")
        if delta is None and body.filters is not None:
            raise InvalidValueError("delta", "is missing: the filters have shares of it")
        promise = PrivacyLoss(checked_epsilon(epsilon), checked_delta(delta if delta is not None else ZERO))
        return SetBudget(
            tenant_id,
            standard_budget(promise) if body.filters is None else _budget(promise, body.filters),
            actor,
            delta_stated=delta is not None,
            filters_stated=body.filters is not None,
        )
    except ConflictingSpellingsError as error:
        raise invalid(error.names[0], str(error)) from None
    except InvalidValueError as error:
        raise invalid(error.field, error.reason) from None
    except PricingDisagreementError as error:
        raise invalid("filters", f"have a cap that two accountants do not agree on: {error}") from None


def _budget(promise: PrivacyLoss, filters: Sequence[FilterBody]) -> Budget:
    order = list(FilterKind)
    shares = [
        Share(
            FilterKind(wish.filter),
            _share_of(promise.delta, wish.delta_share, f"filters.{wish.filter}.delta_share"),
            _share_of(promise.delta, wish.conversion_share, f"filters.{wish.filter}.conversion_share"),
            wish.order,
        )
        for wish in filters
    ]
    total = sum(Fraction(wish.delta_share) + Fraction(wish.conversion_share) for wish in filters)
    if total > 1:
        raise InvalidValueError("filters", f"have shares that sum to {float(total):g}; all together are at most 1")
    return budget_of(promise, sorted(shares, key=lambda share: order.index(share.kind)))


def _share_of(delta: Decimal, share: Decimal, field: str) -> Decimal:
    """That part of delta, exact but for rounding down to the places that a delta may have."""
    if share.is_finite() and share == 1:
        return delta
    return round_down(Fraction(delta) * Fraction(checked_delta(share, field)), MAX_PLACES)


def _check_actual(actual: Decimal | None, opening: Entry) -> None:
    """An engine may say what it spent; the charge stays what was admitted, so more than that is an error of its own."""
    if actual is None or opening.charge is None:
        return
    try:
        checked_epsilon(actual, "actual_epsilon_spent")
    except InvalidValueError as error:
        raise invalid(error.field, error.reason) from None
    if actual > opening.charge.basic.epsilon:
        raise invalid("actual_epsilon_spent", "is more than was allocated; allocate the difference as well")


def _settled(opening: Entry, latest: Entry) -> dict[str, Any]:
    """What was allocated by the opening entry, with the state and the budget after the allocation's latest entry."""
    allocated, now = allocation_answer(opening), allocation_answer(latest)
    exact = structs.replace(
        now.exact, allocated_epsilon=allocated.exact.allocated_epsilon, allocated_delta=allocated.exact.allocated_delta
    )
    answer: dict[str, Any] = msgspec.to_builtins(
        structs.replace(
            now,
            allocated_epsilon=allocated.allocated_epsilon,
            epsilon_allocated=allocated.epsilon_allocated,
            delta_allocated=allocated.delta_allocated,
            exact=exact,
        )
    )
    return answer
