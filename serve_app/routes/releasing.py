"""Charge, then draw, then store, then answer; in that order, and nothing leaves if one of them fails.

The charge goes through the budget's public interface in the caller's own name. What was drawn is stored, encrypted,
before it is answered, and the store keeps only the first draw for an allocation: however often a request is repeated,
and wherever it broke off, one charge releases one draw.
"""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from accounting.event_wire import event_to_wire
from accounting.ledger.by_home import Ledgers
from accounting.ledger.store import StoreUnavailableError
from accounting.values import decimal_text
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.client import calls
from serve_app.client.client import AsyncPrivacyClient
from serve_app.identifiers import TEXT_RULE, valid_text
from serve_app.problems import Code, Problem, invalid, relayed, unavailable
from serve_app.routes.allocation_request import idempotency_key, source_engine
from serve_app.routes.questions import Question, question_of
from serve_app.routes.vault import ReleaseVault
from serve_app.schemas import ApplyBody, SelectBody

KEPT_AT_LEAST = timedelta(days=365)
"""A release may be purged when it is a year old, and not before."""


@dataclass(frozen=True, slots=True)
class Order:
    """A question in somebody's name.

    Attributes:
        question: What is asked.
        job_id: The job that it is charged to.
        key: What tells a repetition from a new operation.
        charge: The body of its charge.
    """

    question: Question
    job_id: str
    key: str
    charge: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Charged:
    """A durable charge.

    Attributes:
        allocation: The budget's answer.
        replayed: Whether an earlier request with the same key made it.
    """

    allocation: Mapping[str, Any]
    replayed: bool


@dataclass(frozen=True, slots=True)
class Released:
    """An answer.

    Attributes:
        json: The answer, encoded.
        replayed: Whether an earlier request with the same key was charged for it.
    """

    json: bytes = field(repr=False)
    replayed: bool


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and what they said in headers.

    Attributes:
        principal: The verified token.
        token: The token itself, for the charge in the caller's name.
        key: The header ``Idempotency-Key``, if sent.
        service_name: The header ``X-Service-Name``, if sent.
    """

    principal: Principal
    token: str = field(repr=False)
    key: str | None
    service_name: str | None


class Releases:
    """What makes releases: the budget that is charged, the store that keeps them, and the vault."""

    def __init__(self, store: Ledgers, client: AsyncPrivacyClient, vault: ReleaseVault) -> None:
        self._store = store
        self._client = client
        self._vault = vault

    async def one(self, asking: Asking, body: ApplyBody | SelectBody) -> Released:
        """One release, charged and drawn.

        Raises:
            Problem: If it is refused, or a part of the service does not answer.
        """
        order = await self._order(asking, body, asking.key)
        response = await self._sent(calls.allocate_keyed(order.charge, order.key), asking.token)
        replayed = response.headers.get("idempotency-replayed") == "true"
        return await self._fulfilled(order, Charged(response.json(), replayed))

    async def each(self, asking: Asking, bodies: Sequence[ApplyBody]) -> list[Released | Problem]:
        """Many releases, each with its own outcome: charged together, in their order, then drawn.

        Raises:
            Problem: If the budget does not answer, or refuses them all.
        """
        taken: list[Order | Problem] = []
        for at, body in enumerate(bodies):
            try:
                taken.append(await self._order(asking, body, None if asking.key is None else f"{asking.key}:{at}"))
            except Problem as problem:
                taken.append(problem)
        orders = [order for order in taken if isinstance(order, Order)]
        charged = iter(await self._all_charged(orders, asking.token))
        return [order if isinstance(order, Problem) else await self._outcome(order, next(charged)) for order in taken]

    async def _order(self, asking: Asking, body: ApplyBody | SelectBody, header_key: str | None) -> Order:
        tenant_id = asking.principal.tenant(body.tenant_id, Action.RELEASE)
        engine = source_engine(body.source_engine, asking.principal, asking.service_name)
        # Many operations share a job, so the job is no key here; without one, a repetition is a new operation.
        key = idempotency_key(header_key, body.operation_id, str(uuid.uuid4()))
        job_id = body.job_id if body.job_id is not None else key
        if not valid_text(job_id):
            raise invalid("job_id", TEXT_RULE)
        question = await asyncio.to_thread(question_of, body, self._vault)
        charge: dict[str, Any] = {
            "tenant_id": tenant_id,
            "job_id": job_id,
            "event": event_to_wire(question.event),
            "mechanism": question.mechanism,
            "input_digest": question.digest,
        }
        optional = {
            "delta": decimal_text(question.delta) if question.delta else None,
            "source_engine": engine,
            "composition_type": body.composition_type,
            "query_description": body.query_description,
            "dataset_id": body.dataset_id,
            "partition": body.partition,
        }
        charge |= {name: value for name, value in optional.items() if value is not None}
        return Order(question, job_id, key, charge)

    async def _all_charged(self, orders: Sequence[Order], token: str) -> list[Charged | Problem]:
        if not orders:
            return []
        bodies = [{**order.charge, "operation_id": order.key} for order in orders]
        response = await self._sent(calls.allocate_batch(bodies), token)
        return [
            relayed(item["problem"]) if "problem" in item else Charged(item["allocation"], item["replayed"])
            for item in response.json()["results"]
        ]

    async def _outcome(self, order: Order, charged: Charged | Problem) -> Released | Problem:
        if isinstance(charged, Problem):
            return charged
        try:
            return await self._fulfilled(order, charged)
        except Problem as problem:
            return problem
        except StoreUnavailableError:
            return unavailable("The ledger did not answer")

    async def _sent(self, call: calls.Call, token: str) -> Any:  # noqa: ANN401 - an HTTP response
        try:
            return await self._client.send_raw(call, token=token)
        except calls.RefusedError as error:
            raise relayed(error.document) from None
        except calls.ServiceUnreachableError as error:
            raise unavailable(f"The budget did not answer: {error}") from None

    async def _fulfilled(self, order: Order, charged: Charged) -> Released:
        tenant_id, allocation_id = charged.allocation["tenant_id"], charged.allocation["allocation_id"]
        stored = await self._store.release(tenant_id, allocation_id) if charged.replayed else None
        if stored is None:
            if charged.replayed:
                await self._check_undrawn(tenant_id, allocation_id)
            drawn = await asyncio.to_thread(self._drawn, order.question, tenant_id, allocation_id)
            stored = await self._store.store_release(tenant_id, allocation_id, drawn)
        return Released(await asyncio.to_thread(self._answer, order, charged.allocation, stored), charged.replayed)

    def _drawn(self, question: Question, tenant_id: str, allocation_id: str) -> bytes:
        return self._vault.seal(question.draw(), tenant_id, allocation_id)

    async def _check_undrawn(self, tenant_id: str, allocation_id: str) -> None:
        """Refuses noise for a charge whose first draw may have been purged: one charge pays for one draw."""
        opening = (await self._store.allocation(tenant_id, allocation_id))[0]
        if self._store.now() - opening.at >= KEPT_AT_LEAST:
            detail = (
                "This charge was made more than a year ago, and the result that it paid for is not kept any more. Ask "
                "again under a new key; that is a new charge."
            )
            raise Problem(Code.CONFLICT, detail, {"allocation_id": allocation_id})

    def _answer(self, order: Order, allocation: Mapping[str, Any], stored: bytes) -> bytes:
        released = self._vault.open(stored, allocation["tenant_id"], allocation["allocation_id"])
        answer = {
            "operation_id": allocation["allocation_id"],
            "job_id": order.job_id,
            "tenant_id": allocation["tenant_id"],
            "mechanism": order.question.mechanism,
            **order.question.answer(released),
            "epsilon_consumed": allocation["allocated_epsilon"],
            "delta_consumed": allocation["delta_allocated"],
            "remaining_budget": allocation["remaining_budget"],
            "proof_pending": False,
            "exact": {
                "epsilon_consumed": allocation["exact"]["allocated_epsilon"],
                "delta_consumed": allocation["exact"]["allocated_delta"],
                "remaining_epsilon": allocation["exact"]["remaining_epsilon"],
            },
        }
        return msgspec.json.encode(answer)
