"""``composition/plan``: what operations would cost together, before anything is spent; held at once if wished.

Steps, or one event of any kind, are priced under every theorem and set against the tenant's ledger. A plan can be held:
its event is then allocated through the budget's public interface, whole and in the caller's own name.
"""

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request

from accounting.admission import Outcome, Verdict, dataset_scope, tenant_scope, unfit
from accounting.conversion import PricingDisagreementError
from accounting.datasets import DatasetState
from accounting.event_wire import event_to_wire
from accounting.events import Composition, leaves
from accounting.filters import Budget, Charge, largest_claim, largest_delta
from accounting.ledger.by_home import Ledgers
from accounting.ledger.store import Wanted
from accounting.plans import PlanPrice, Theorem, TheoremPrice, claimed_delta, price_plan
from accounting.policy import renewal
from accounting.values import ZERO, InvalidValueError, checked_delta, decimal_text
from deployments.planning.plan import Plan, Step, check_text, composed, plan_event
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.client import calls
from serve_app.client.client import AsyncPrivacyClient
from serve_app.config import Settings
from serve_app.identifiers import TEXT_RULE, valid_text
from serve_app.observing import catalogue
from serve_app.observing.process import timed
from serve_app.problems import Code, Problem, invalid, relayed, unavailable
from serve_app.requests import MAX_BULK_BODY, body_of, described
from serve_app.routes.access import permission_by
from serve_app.routes.allocation_request import (
    check_scopes,
    described_event,
    disagreement,
    hold_seconds,
    idempotency_key,
)
from serve_app.routes.refusals import refusal, shortage
from serve_app.schemas import PlanBody

_METHODS: dict[str | None, Theorem] = {
    None: Theorem.BASIC,
    "sequential": Theorem.BASIC,
    "rdp": Theorem.RENYI,
    **{theorem.value: theorem for theorem in Theorem},
}
"""What a wish names; "tightest" is whichever gives the least epsilon."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """A budget that a plan would be charged to, and what its members have counted before."""

    name: str
    budget: Budget
    spent: Charge


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where a tenant stands.

    Attributes:
        scopes: The tenant's budget, then the data set's where the plan names one.
        dataset: That data set.
    """

    scopes: tuple[_Scope, ...]
    dataset: DatasetState | None = None


@dataclass(frozen=True, slots=True)
class _Estimate:
    """A plan's price, and whether every budget that it touches would admit it as one charge.

    Attributes:
        event: The plan as one event.
        price: Under every theorem.
        operations: How many operations it is of.
        scopes: The budgets that it touches, before it.
        charges: What each of their filters would count; empty where no theorem has a valid price.
    """

    event: Composition
    price: PlanPrice
    operations: int
    scopes: tuple[_Scope, ...]
    charges: tuple[Charge, ...]


def plan_router(
    verifier: TokenVerifier,
    store: Callable[[], Ledgers],
    client: Callable[[], AsyncPrivacyClient],
    settings: Settings,
) -> APIRouter:
    """The routes below ``composition``."""
    router = APIRouter()
    may = permission_by(verifier)

    async def standing(tenant_id: str, dataset_id: str | None, partition: str | None) -> _Standing:
        asked = Wanted(datasets=set() if dataset_id is None else {dataset_id})
        tail = (await store().tails({tenant_id: asked}))[tenant_id]
        head = tail.head
        if head is not None:
            # A window that has ended is renewed by the next request that is decided; a plan decides nothing.
            head = renewal(head, store().now()) or head
            own = _Scope(tenant_scope(head), head.budget, head.spent)
        else:
            # What its first allocation would open.
            budget = settings.default_budget()
            if budget is None:
                raise Problem(Code.UNKNOWN_TENANT, "An administrator has to create this tenant's budget first.")
            own = _Scope("tenant lifetime", budget, budget.nothing())
        if dataset_id is None:
            return _Standing((own,))
        dataset = tail.datasets[dataset_id]
        if dataset is None:
            raise refusal(Verdict(Outcome.UNKNOWN_DATASET))
        scope = _Scope(dataset_scope(dataset_id, partition), dataset.budget, dataset.exposure(partition))
        return _Standing((own, scope), dataset)

    async def hold(body: PlanBody, tenant_id: str, estimate: _Estimate, key: str, token: str) -> dict[str, Any]:
        charge = {
            "tenant_id": tenant_id,
            "job_id": body.job_id,
            "event": event_to_wire(estimate.event),
            "delta": decimal_text(estimate.price.delta),
            "mode": "reserve",
            "ttl_seconds": body.ttl_seconds,
            "source_engine": body.source_engine,
            "purpose": body.name,
            "dataset_id": body.dataset_id,
            "partition": body.partition,
        }
        given = {name: value for name, value in charge.items() if value is not None}
        try:
            answer: dict[str, Any] = await client().send(calls.allocate_keyed(given, key), token=token)
        except calls.RefusedError as error:
            raise relayed(error.document) from None
        except calls.ServiceUnreachableError as error:
            raise unavailable(f"The budget did not answer: {error}") from None
        return answer

    @router.post(
        "/plan", summary="Price a plan under every theorem, and hold it if wished", openapi_extra=described(PlanBody)
    )
    async def make_plan(
        request: Request,
        asking: Annotated[Principal, may(Action.PLAN)],
        body: Annotated[PlanBody, Depends(body_of(PlanBody, MAX_BULK_BODY))],
        key_header: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
    ) -> dict[str, Any]:
        tenant_id = asking.tenant(body.tenant_id, Action.PLAN)
        key = idempotency_key(key_header, None, str(body.job_id))
        _check_hold(body)
        check_scopes(body.dataset_id, body.partition)
        known = await standing(tenant_id, body.dataset_id, body.partition)
        with timed(catalogue.PLAN_SECONDS):
            estimate = await asyncio.to_thread(_estimated, body, known, settings.default_delta)
        answer = _answer(body, estimate)
        if body.hold:
            token = request.headers["authorization"].partition(" ")[2]
            answer["hold"] = await hold(body, tenant_id, estimate, key, token)
            answer["status"] = "held"
        await store().store_plan(tenant_id, answer["plan_id"], json.dumps(answer))
        return answer

    @router.get("/{plan_id}", summary="A plan that was priced before")
    async def get_plan(
        plan_id: str, asking: Annotated[Principal, may(Action.READ_PLANS)], tenant_id: str | None = None
    ) -> dict[str, Any]:
        tenant = asking.tenant(tenant_id, Action.READ_PLANS)
        try:
            stored = await store().plan(tenant, str(uuid.UUID(plan_id)))
        except ValueError:
            stored = None
        if stored is None:
            raise Problem(Code.NOT_FOUND, "The tenant has no plan of that id.", {"field": "plan_id"})
        answer: dict[str, Any] = json.loads(stored)
        return answer

    return router


def _check_hold(body: PlanBody) -> None:
    hold_seconds(body.ttl_seconds, hold=body.hold)
    if body.hold and body.job_id is None:
        raise invalid("job_id", "is missing: a hold belongs to a job")
    if body.job_id is not None and not valid_text(body.job_id):
        raise invalid("job_id", TEXT_RULE)


def _estimated(body: PlanBody, standing: _Standing, default_delta: Decimal) -> _Estimate:
    try:
        event, operations, delta = _described(body)
        if standing.dataset is not None:
            unfitting = unfit(event, standing.dataset, body.partition)
            if unfitting is not None:
                raise refusal(unfitting)
        if delta == 0 and body.delta is None:
            if body.hold:
                reason = "is missing: say how much delta the plan that is held may cost; 0 if it is purely private"
                raise InvalidValueError("delta", reason)
            # Nothing in the plan says how much delta it may have. For an estimate as much as a budget has by default;
            # but what the tenant has not got would help nobody.
            delta = min(default_delta, *(largest_delta(scope.budget, scope.spent) for scope in standing.scopes))
        price = price_plan(event, delta)
        charges: tuple[Charge, ...] = ()
        if price.tightest is not None:
            charges = tuple(scope.budget.charge(event, price.loss) for scope in standing.scopes)
    except InvalidValueError as error:
        raise invalid(error.field, error.reason) from None
    except PricingDisagreementError as error:
        raise disagreement(error) from None
    return _Estimate(event, price, operations, standing.scopes, charges)


def _described(body: PlanBody) -> tuple[Composition, int, Decimal]:
    """The plan as one event, the number of its operations, and the delta that it is stated with."""
    check_text(body.name, "name")
    if body.delta is not None:
        checked_delta(body.delta)
    if (body.steps is None) == (body.event is None):
        raise InvalidValueError("steps", "or event: give one of both")
    if body.event is not None:
        event = composed(described_event(body.event))
        operations = sum(count for _, count in leaves(event))
        return event, operations, claimed_delta(event) if body.delta is None else body.delta
    steps = tuple(
        Step(
            step_name=step.step_name,
            mechanism=step.mechanism,
            epsilon=step.epsilon,
            delta=step.delta if step.delta is not None else ZERO,
            sensitivity=step.sensitivity if step.sensitivity is not None else Decimal(1),
            data_description=step.data_description or "",
        )
        for step in body.steps or ()
    )
    plan = Plan(body.name, steps)
    return plan_event(plan), len(steps), plan.delta() if body.delta is None else body.delta


def _answer(body: PlanBody, estimate: _Estimate) -> dict[str, Any]:
    price = estimate.price
    if body.composition_method == "tightest":
        wanted = price.price(price.tightest or Theorem.BASIC)
    else:
        wanted = price.price(_METHODS[body.composition_method])
    missing = "No theorem prices this plan within its delta."
    left_epsilon, left_delta = ZERO, ZERO
    touched = [
        (scope, charge, scope.spent.plus(charge))
        for scope, charge in zip(estimate.scopes, estimate.charges, strict=bool(estimate.charges))
    ]
    feasible = bool(touched) and all(scope.budget.admits(after) for scope, _, after in touched)
    if feasible:
        left_epsilon = min(largest_claim(scope.budget, after) for scope, _, after in touched)
        left_delta = min(largest_delta(scope.budget, after) for scope, _, after in touched)
        missing = ""
    for scope, charge, after in touched:
        if not scope.budget.admits(after):
            missing = f"The {scope.name} budget does not hold it. {shortage(scope.budget, scope.spent, charge)}"
            break
    return {
        "plan_id": str(uuid.uuid4()),
        "name": body.name,
        "num_steps": estimate.operations,
        "event": event_to_wire(estimate.event),
        "delta": decimal_text(price.delta),
        "composition_method": wanted.name.value,
        "total_epsilon_estimate": None if wanted.loss is None else float(wanted.loss.epsilon),
        "total_delta_estimate": None if wanted.loss is None else float(wanted.loss.delta),
        "status": "estimated",
        "is_feasible": feasible,
        "remaining_budget_after": float(left_epsilon),
        "tightest": None if price.tightest is None else price.tightest.value,
        "theorems": [_theorem(theorem) for theorem in price.prices],
        "feasibility_basis": missing
        or "The budget would admit the whole plan now, charged as one event at its tightest price.",
        "exact": {
            "remaining_epsilon_after": decimal_text(left_epsilon),
            "remaining_delta_after": decimal_text(left_delta),
        },
    }


def _theorem(price: TheoremPrice) -> dict[str, Any]:
    return {
        "name": price.name.value,
        "total_epsilon": None if price.loss is None else decimal_text(price.loss.epsilon),
        "total_delta": None if price.loss is None else decimal_text(price.loss.delta),
        "valid": price.valid,
        "theorem": price.theorem,
        "note": price.note,
    }
