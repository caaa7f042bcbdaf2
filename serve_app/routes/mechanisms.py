"""``mechanism/``: ``apply`` and ``apply:batch`` release statistics with noise, ``select`` chooses, ``preview`` prices.

Whatever is drawn goes the way of `serve_app.routes.releasing`; what is asked is read in `serve_app.routes.questions`.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request
from starlette.responses import Response

from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.client.client import AsyncPrivacyClient
from serve_app.observing import catalogue
from serve_app.observing.process import timed
from serve_app.problems import Problem, invalid
from serve_app.requests import body_of, described
from serve_app.routes.access import permission_by
from serve_app.routes.allocation_request import check_batch_key
from serve_app.routes.large_bodies import LargeBodies
from serve_app.routes.questions import preview_of
from serve_app.routes.releasing import Asking, Released, Releases
from serve_app.routes.vault import ReleaseVault
from serve_app.schemas import ApplyBatchBody, ApplyBody, PreviewBody, SelectBody
from serve_app.service import Service, new_app

MAX_VECTOR_BODY = 32 * 1024 * 1024
"""Bytes of a body with a statistic: a million doubles with all their digits have about 20 MiB."""
MAX_BATCH = 100
MAX_BATCH_VALUES = 200_000
"""Values of all statistics of a batch together: so many take OpenDP nine seconds at most."""


def create_mechanisms_app(service: Service) -> FastAPI:
    """The app that releases statistics with noise, and chooses."""
    makers: list[Releases] = []
    verifier = service.verifier()
    vault = ReleaseVault(service.keys().release_key)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.databases() as databases, AsyncPrivacyClient(service.settings.base_url) as client:
            makers.append(Releases(databases.ledgers, client, vault))
            yield

    app = new_app("Mechanisms", lifespan, service.settings, service.trail())
    may = permission_by(verifier)
    releasing = may(Action.RELEASE)
    # In this order: who may not ask does not keep anybody waiting.
    in_turn = [releasing, Depends(LargeBodies())]

    async def asked_by(
        request: Request,
        asking: Annotated[Principal, releasing],
        key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
        service_name: Annotated[str | None, Header(alias="X-Service-Name")] = None,
    ) -> Asking:
        token = request.headers["authorization"].partition(" ")[2]
        return Asking(asking, token, key, service_name)

    By = Annotated[Asking, Depends(asked_by)]  # noqa: N806 - a type

    @app.post(
        "/apply",
        summary="Release a statistic with noise",
        openapi_extra=described(ApplyBody),
        dependencies=in_turn,
    )
    async def apply(by: By, body: Annotated[ApplyBody, Depends(body_of(ApplyBody, MAX_VECTOR_BODY))]) -> Response:
        with timed(catalogue.RELEASE_SECONDS, body.mechanism):
            return _response(await makers[-1].one(by, body))

    @app.post(
        "/apply:batch",
        summary="Release many statistics, each with its own outcome",
        openapi_extra=described(ApplyBatchBody),
        dependencies=in_turn,
    )
    async def apply_batch(
        by: By, body: Annotated[ApplyBatchBody, Depends(body_of(ApplyBatchBody, MAX_VECTOR_BODY))]
    ) -> Response:
        _check_batch(body)
        check_batch_key(by.key)
        results = [_result(outcome) for outcome in await makers[-1].each(by, body.operations)]
        return Response(b'{"results":[' + b",".join(results) + b"]}", media_type="application/json")

    @app.post(
        "/select",
        summary="Choose the best candidates by private scores",
        openapi_extra=described(SelectBody),
        dependencies=in_turn,
    )
    async def select(by: By, body: Annotated[SelectBody, Depends(body_of(SelectBody, MAX_VECTOR_BODY))]) -> Response:
        return _response(await makers[-1].one(by, body))

    @app.post(
        "/preview",
        summary="Price a release, and say how accurate it would be, before anything is charged",
        openapi_extra=described(PreviewBody),
    )
    async def preview(
        _: Annotated[Principal, may(Action.PREVIEW)], body: Annotated[PreviewBody, Depends(body_of(PreviewBody))]
    ) -> dict[str, Any]:
        return await asyncio.to_thread(preview_of, body)

    return app


def _response(released: Released) -> Response:
    headers = {"Idempotency-Replayed": "true"} if released.replayed else {}
    return Response(released.json, headers=headers, media_type="application/json")


def _result(outcome: Released | Problem) -> bytes:
    """One result of a batch: ``status_code`` beside what the single call would have answered."""
    if isinstance(outcome, Released):
        flag = b"true" if outcome.replayed else b"false"
        return b'{"status_code":200,"replayed":' + flag + b',"release":' + outcome.json + b"}"
    return json.dumps({"status_code": outcome.status, "replayed": False, "problem": outcome.document()}).encode()


def _check_batch(body: ApplyBatchBody) -> None:
    if not 1 <= len(body.operations) <= MAX_BATCH:
        raise invalid("operations", f"must be a list of 1 to {MAX_BATCH}")
    values = sum(len(one.data) if isinstance(one.data, list) else 1 for one in body.operations)
    if values > MAX_BATCH_VALUES:
        raise invalid("operations", f"must hold at most {MAX_BATCH_VALUES} values together: apply long ones singly")
