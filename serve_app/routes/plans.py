"""``composition/plan``: what steps would cost together, before anything is spent."""

import asyncio
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from accounting.charges import PricingDisagreementError
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.values import EXACT, ZERO, InvalidValueError, decimal_text
from deployments.planning.plan import Plan, PlanPrice, Step, TheoremName, TheoremPrice, price_plan
from serve_app.auth.principal import READERS, SPENDERS, Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.client import calls
from serve_app.client.client import AsyncPrivacyClient
from serve_app.problems import Code, Problem, invalid, relayed, unavailable
from serve_app.requests import MAX_BULK_BODY, body_of, described
from serve_app.routes.access import principal_by
from serve_app.schemas import PlanBody

_METHODS: dict[str | None, TheoremName] = {
    None: "basic",
    "basic": "basic",
    "sequential": "basic",
    # A wish for "advanced" composition gets the theorem that is sound here and tighter than it.
    "advanced": "renyi",
    "renyi": "renyi",
    "rdp": "renyi",
}


def plan_router(
    verifier: TokenVerifier, store: Callable[[], PostgresLedgerStore], client: Callable[[], AsyncPrivacyClient]
) -> APIRouter:
    """The routes below ``composition``."""
    router = APIRouter()
    Asking = Annotated[Principal, Depends(principal_by(verifier))]  # noqa: N806 - a type

    @router.post("/plan", summary="Price a plan under every theorem", openapi_extra=described(PlanBody))
    async def make_plan(
        request: Request, asking: Asking, body: Annotated[PlanBody, Depends(body_of(PlanBody, MAX_BULK_BODY))]
    ) -> dict[str, Any]:
        asking.require(SPENDERS)
        tenant_id = asking.tenant(body.tenant_id, engine_call=True)
        price = await asyncio.to_thread(_priced, body)
        token = request.headers["authorization"].partition(" ")[2]
        try:
            budget = await client().send(calls.budget(tenant_id), token=token)
        except calls.RefusedError as error:
            raise relayed(error.document) from None
        except calls.ServiceUnreachableError as error:
            raise unavailable(f"The budget did not answer: {error}") from None
        answer = _answer(body, price, budget)
        await store().store_plan(tenant_id, answer["plan_id"], json.dumps(answer))
        return answer

    @router.get("/{plan_id}", summary="A plan that was priced before")
    async def get_plan(plan_id: str, asking: Asking, tenant_id: str | None = None) -> dict[str, Any]:
        asking.require(READERS)
        tenant = asking.tenant(tenant_id)
        try:
            stored = await store().plan(tenant, str(uuid.UUID(plan_id)))
        except ValueError:
            stored = None
        if stored is None:
            raise Problem(Code.NOT_FOUND, "The tenant has no plan of that id.", {"field": "plan_id"})
        answer: dict[str, Any] = json.loads(stored)
        return answer

    return router


def _priced(body: PlanBody) -> PlanPrice:
    try:
        steps = tuple(
            Step(
                step_name=step.step_name,
                mechanism=step.mechanism,
                epsilon=step.epsilon,
                delta=step.delta if step.delta is not None else ZERO,
                sensitivity=step.sensitivity if step.sensitivity is not None else Decimal(1),
                data_description=step.data_description or "",
            )
            for step in body.steps
        )
        return price_plan(Plan(body.name, steps))
    except InvalidValueError as error:
        raise invalid(error.field, error.reason) from None
    except PricingDisagreementError as error:
        raise Problem(Code.INVALID_REQUEST, f"The two accountants disagree, so the plan is refused: {error}") from None


def _answer(body: PlanBody, price: PlanPrice, budget: dict[str, Any]) -> dict[str, Any]:
    wanted = price.price(_METHODS[body.composition_method])
    basic = price.price("basic")
    # What the steps will be charged when they run one by one is the basic price, whatever the plan is priced under.
    left_epsilon = EXACT.subtract(Decimal(budget["exact"]["remaining_epsilon"]), basic.total_epsilon or ZERO)
    left_delta = EXACT.subtract(Decimal(budget["exact"]["remaining_delta"]), basic.total_delta or ZERO)
    return {
        "plan_id": str(uuid.uuid4()),
        "name": body.name,
        "num_steps": price.num_steps,
        "composition_method": wanted.name,
        "total_epsilon_estimate": _number(wanted.total_epsilon),
        "total_delta_estimate": _number(wanted.total_delta),
        "status": "estimated",
        "is_feasible": basic.valid and left_epsilon >= 0 and left_delta >= 0,
        "remaining_budget_after": float(left_epsilon),
        "tightest": price.tightest,
        "theorems": [_theorem(theorem) for theorem in price.prices],
        "feasibility_basis": "The budget's basic filter charges the steps one by one: is_feasible is about their sum.",
        "exact": {
            "remaining_epsilon_after": decimal_text(left_epsilon),
            "remaining_delta_after": decimal_text(left_delta),
        },
    }


def _theorem(price: TheoremPrice) -> dict[str, Any]:
    return {
        "name": price.name,
        "total_epsilon": None if price.total_epsilon is None else decimal_text(price.total_epsilon),
        "total_delta": None if price.total_delta is None else decimal_text(price.total_delta),
        "valid": price.valid,
        "theorem": price.theorem,
        "note": price.note,
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
