"""How allocations end over HTTP: committed, voided, expired; and, exceptionally, adjusted."""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from accounting.admission import ACCEPTED, Outcome, Verdict
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.store import LedgerStore
from accounting.values import InvalidValueError, checked_epsilon
from deployments.budget.owners import Owner
from serve_app.auth.operators import OperatorKeys
from serve_app.auth.policy import Action
from serve_app.auth.principal import ANY_TENANT, TASK_KEEPER, Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.problems import Code, Problem, invalid
from serve_app.requests import body_of, described
from serve_app.routes.access import named_tenant, permission_by
from serve_app.routes.answers import settled_answer
from serve_app.routes.refusals import refusal
from serve_app.schemas import AdjustBody, CommitBody, ConsumeBody, SettleBody


def settling_router(
    verifier: TokenVerifier,
    owner: Callable[[], Owner],
    store: Callable[[], LedgerStore],
    operators: OperatorKeys,
) -> APIRouter:
    """The routes that end an allocation.

    Args:
        verifier: Of tokens.
        owner: Gives the replica's owner.
        store: Gives the ledger.
        operators: Who may sign an adjustment.
    """
    router = APIRouter()
    may = permission_by(verifier)
    Asking = Annotated[Principal, may(Action.SETTLE)]  # noqa: N806 - a type
    Settling = Annotated[SettleBody, Depends(body_of(SettleBody, optional=True))]  # noqa: N806 - a type

    def tenant_of(principal: Principal, named: str | None) -> str:
        return principal.tenant(None if named is None else named_tenant(named), Action.SETTLE)

    async def opening_of(tenant_id: str, allocation_id: str) -> Entry:
        history = await store().allocation(tenant_id, allocation_id)
        if not history:
            raise refusal(Verdict(Outcome.UNKNOWN_ALLOCATION))
        return history[0]

    async def settle(
        principal: Principal,
        tenant_id: str,
        opening: Entry,
        kind: EntryKind,
        *,
        steps: int | None = None,
        statement: str | None = None,
    ) -> JSONResponse:
        assert opening.allocation_id is not None
        if kind in (EntryKind.COMMITTED, EntryKind.VOIDED) and "task" in (opening.details or {}):
            _check_keeper(principal)
        verdict = await owner().settle(
            tenant_id, opening.allocation_id, kind, principal.subject, steps=steps, statement=statement
        )
        if verdict.outcome not in ACCEPTED or verdict.answer is None:
            raise refusal(verdict)
        headers = {"Idempotency-Replayed": "true"} if verdict.outcome is Outcome.REPLAYED else {}
        return JSONResponse(settled_answer(opening, verdict.answer), headers=headers)

    @router.post(
        "/consume", summary="Commit a hold, or confirm what is spent already", openapi_extra=described(ConsumeBody)
    )
    async def consume(asking: Asking, body: Annotated[ConsumeBody, Depends(body_of(ConsumeBody))]) -> JSONResponse:
        tenant_id = tenant_of(asking, body.tenant_id)
        opening = await opening_of(tenant_id, body.allocation_id)
        # Before anything is written: a request that is refused changes nothing.
        _check_actual(body.actual_epsilon_spent, opening)
        return await settle(asking, tenant_id, opening, EntryKind.COMMITTED)

    @router.post(
        "/allocations/{allocation_id}/commit",
        summary="Commit a hold, whole or but for the repetitions that were not run",
        openapi_extra=described(CommitBody),
    )
    async def commit(
        allocation_id: str, asking: Asking, body: Annotated[CommitBody, Depends(body_of(CommitBody, optional=True))]
    ) -> JSONResponse:
        tenant_id = tenant_of(asking, body.tenant_id)
        opening = await opening_of(tenant_id, allocation_id)
        return await settle(asking, tenant_id, opening, EntryKind.COMMITTED, steps=body.steps)

    @router.post(
        "/allocations/{allocation_id}/void",
        summary="Take back a hold, stating that no data was read",
        openapi_extra=described(SettleBody),
    )
    async def void(allocation_id: str, asking: Asking, body: Settling) -> JSONResponse:
        tenant_id = tenant_of(asking, body.tenant_id)
        return await settle(asking, tenant_id, await opening_of(tenant_id, allocation_id), EntryKind.VOIDED)

    @router.post(
        "/allocations/{allocation_id}/expire",
        summary="Say that a hold's time has passed, so that it is spent for good",
        openapi_extra=described(SettleBody),
    )
    async def expire(allocation_id: str, asking: Asking, body: Settling) -> JSONResponse:
        tenant_id = tenant_of(asking, body.tenant_id)
        return await settle(asking, tenant_id, await opening_of(tenant_id, allocation_id), EntryKind.EXPIRED_SPENT)

    @router.post(
        "/allocations/{allocation_id}/adjust",
        summary="Take back an ended allocation's charge, on an operator's signed statement that nothing was released",
        openapi_extra=described(AdjustBody),
    )
    async def adjust(
        allocation_id: str,
        asking: Annotated[Principal, may(Action.ADJUST)],
        body: Annotated[AdjustBody, Depends(body_of(AdjustBody))],
    ) -> JSONResponse:
        named = None if body.tenant_id is None else named_tenant(body.tenant_id)
        tenant_id = asking.tenant(named, Action.ADJUST)
        operators.check_adjustment(body.statement, tenant_id, allocation_id)
        opening = await opening_of(tenant_id, allocation_id)
        return await settle(asking, tenant_id, opening, EntryKind.ADJUSTED, statement=body.statement)

    return router


def _check_keeper(principal: Principal) -> None:
    """What is done under a task's hold is known to the service alone: nobody else can say that nothing was read."""
    if principal.tenant_id != ANY_TENANT or principal.subject != TASK_KEEPER:
        detail = "The hold belongs to a training, which ends it. To stop the training, DELETE training/jobs/{id}."
        raise Problem(Code.CONFLICT, detail)


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
