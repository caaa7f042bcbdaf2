"""``mechanism/apply``: price, charge, then draw noise; in that order, and nothing leaves if one of them fails.

The charge goes through the budget's public interface in the caller's own name. The noisy result is stored, encrypted,
before it is answered, and the store keeps only the first one for an allocation: however often a request is repeated,
and wherever it broke off, one charge releases one draw of noise.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fastapi import Depends, FastAPI, Header, Request
from starlette.responses import JSONResponse

from accounting.conversion import PricingDisagreementError
from accounting.events import event_to_wire
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.values import ZERO, InvalidValueError, decimal_text
from deployments.mechanisms.query import Query
from deployments.mechanisms.release import Prepared, prepare
from serve_app.auth.principal import SPENDERS, Principal
from serve_app.client import calls
from serve_app.client.client import AsyncPrivacyClient
from serve_app.identifiers import TEXT_RULE, valid_text
from serve_app.problems import Code, Problem, invalid, relayed, unavailable
from serve_app.requests import MAX_BULK_BODY, body_of, described
from serve_app.routes.access import principal_by
from serve_app.routes.allocation_request import disagreement, idempotency_key, source_engine
from serve_app.schemas import ApplyBody
from serve_app.service import Service, new_app

CONFIDENCE = 0.95
KEPT_AT_LEAST = timedelta(days=365)
"""A release may be purged when it is a year old, and not before."""
_WHOLE_NUMBERS = frozenset({"integer", "int", "count", "counts"})


def create_mechanisms_app(service: Service) -> FastAPI:
    """The app that releases statistics with noise."""
    stores: list[PostgresLedgerStore] = []
    clients: list[AsyncPrivacyClient] = []
    verifier = service.verifier()
    vault = ReleaseVault(service.keys().release_key)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.store() as store, AsyncPrivacyClient(service.settings.base_url) as client:
            stores.append(store)
            clients.append(client)
            yield

    app = new_app("Mechanisms", lifespan)
    Asking = Annotated[Principal, Depends(principal_by(verifier))]  # noqa: N806 - a type

    @app.post("/apply", summary="Release a statistic with noise", openapi_extra=described(ApplyBody))
    async def apply(
        request: Request,
        asking: Asking,
        body: Annotated[ApplyBody, Depends(body_of(ApplyBody, MAX_BULK_BODY))],
        key_header: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
        service_name: Annotated[str | None, Header(alias="X-Service-Name")] = None,
    ) -> JSONResponse:
        asking.require(SPENDERS)
        tenant_id = asking.tenant(body.tenant_id, engine_call=True)
        engine = source_engine(body.source_engine, asking, service_name)
        # Many operations share a job, so the job is no key here; without one, a repetition is a new operation.
        key = idempotency_key(key_header, body.operation_id, str(uuid.uuid4()))
        job_id = body.job_id if body.job_id is not None else key
        if not valid_text(job_id):
            raise invalid("job_id", TEXT_RULE)
        prepared = await asyncio.to_thread(_prepared, body)
        charge = _charge_request(body, prepared, tenant_id, job_id, engine, vault.digest(prepared))
        token = request.headers["authorization"].partition(" ")[2]
        try:
            response = await clients[-1].send_raw(calls.allocate(charge, key), token=token)
        except calls.RefusedError as error:
            raise relayed(error.document) from None
        except calls.ServiceUnreachableError as error:
            raise unavailable(f"The budget did not answer: {error}") from None
        allocation = response.json()
        allocation_id = allocation["allocation_id"]
        replayed = response.headers.get("idempotency-replayed") == "true"
        stored = await stores[-1].release(tenant_id, allocation_id) if replayed else None
        if stored is None:
            if replayed:
                await _check_undrawn(stores[-1], tenant_id, allocation_id)
            drawn = vault.seal(await asyncio.to_thread(prepared.release), tenant_id, allocation_id)
            stored = await stores[-1].store_release(tenant_id, allocation_id, drawn)
        values = vault.open(stored, tenant_id, allocation_id)
        answer = _answer(body, prepared, allocation, job_id, values)
        return JSONResponse(answer, headers={"Idempotency-Replayed": "true"} if replayed else {})

    return app


class ReleaseVault:
    """Encrypts releases at rest (AES-256-GCM, bound to their tenant and allocation) and fingerprints their inputs."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._key = key

    def digest(self, prepared: Prepared) -> str:
        """A keyed fingerprint of the true values: tells two inputs apart, and tells nobody without the key anything."""
        data = json.dumps([prepared.query.data_type, prepared.query.data]).encode()
        return hmac.new(self._key, b"input\x00" + data, hashlib.sha256).hexdigest()

    def seal(self, values: list[float] | list[int], tenant_id: str, allocation_id: str) -> bytes:
        """The values, encrypted."""
        nonce = secrets.token_bytes(12)
        return nonce + self._cipher.encrypt(nonce, json.dumps(values).encode(), _context(tenant_id, allocation_id))

    def open(self, sealed: bytes, tenant_id: str, allocation_id: str) -> list[float]:
        """The values again."""
        text = self._cipher.decrypt(sealed[:12], sealed[12:], _context(tenant_id, allocation_id))
        values: list[float] = json.loads(text)
        return values


async def _check_undrawn(store: PostgresLedgerStore, tenant_id: str, allocation_id: str) -> None:
    """Refuses noise for a charge whose first draw may have been purged: one charge pays for one draw."""
    opening = (await store.allocation(tenant_id, allocation_id))[0]
    if store.now() - opening.at >= KEPT_AT_LEAST:
        detail = (
            "This charge was made more than a year ago, and the result that it paid for is not kept any more. Ask "
            "again under a new key; that is a new charge."
        )
        raise Problem(Code.CONFLICT, detail, {"allocation_id": allocation_id})


def _context(tenant_id: str, allocation_id: str) -> bytes:
    return f"{tenant_id}\x00{allocation_id}".encode()


def _prepared(body: ApplyBody) -> Prepared:
    values = body.data if isinstance(body.data, list) else [body.data]
    whole = (body.data_type or "").lower() in _WHOLE_NUMBERS
    try:
        query = Query(
            mechanism=body.mechanism,  # type: ignore[arg-type]  # Query refuses the ones that release nothing
            epsilon=body.epsilon,
            delta=body.delta if body.delta is not None else ZERO,
            sensitivity=body.sensitivity,
            data=tuple(values),
            data_type="integer" if whole else "float",
        )
        return prepare(query)
    except InvalidValueError as error:
        raise invalid(error.field, error.reason) from None
    except PricingDisagreementError as error:
        raise disagreement(error) from None


def _charge_request(
    body: ApplyBody, prepared: Prepared, tenant_id: str, job_id: str, engine: str | None, digest: str
) -> dict[str, Any]:
    request: dict[str, Any] = {
        "tenant_id": tenant_id,
        "job_id": job_id,
        "event": event_to_wire(prepared.event),
        "mechanism": body.mechanism,
        "input_digest": digest,
    }
    optional = {
        "delta": decimal_text(prepared.delta) if prepared.delta else None,
        "source_engine": engine,
        "composition_type": body.composition_type,
        "query_description": body.query_description,
        "dataset_id": body.dataset_id,
        "partition": body.partition,
    }
    return request | {name: value for name, value in optional.items() if value is not None}


def _answer(
    body: ApplyBody, prepared: Prepared, allocation: dict[str, Any], job_id: str, values: list[float]
) -> dict[str, Any]:
    return {
        "operation_id": allocation["allocation_id"],
        "job_id": job_id,
        "tenant_id": allocation["tenant_id"],
        "mechanism": body.mechanism,
        "privatized_data": values if isinstance(body.data, list) else values[0],
        "epsilon_consumed": allocation["allocated_epsilon"],
        "delta_consumed": allocation["delta_allocated"],
        "noise_scale": prepared.noise_scale,
        "accuracy": {"confidence": CONFIDENCE, "half_width": prepared.accuracy(CONFIDENCE)},
        "remaining_budget": allocation["remaining_budget"],
        "proof_pending": False,
        "exact": {
            "epsilon_consumed": allocation["exact"]["allocated_epsilon"],
            "delta_consumed": allocation["exact"]["allocated_delta"],
            "remaining_epsilon": allocation["exact"]["remaining_epsilon"],
        },
    }
