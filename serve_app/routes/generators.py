"""``generators``: rows that are declared and stored, and synthetic rows ordered from them. Each order is a training."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import JSONResponse

from accounting.ledger.by_home import Tasks
from deployments.training.folders import Folders
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.client import calls
from serve_app.client.client import AsyncPrivacyClient
from serve_app.problems import invalid, relayed, unavailable
from serve_app.requests import body_of, described
from serve_app.routes.access import permission_by
from serve_app.routes.files import files_router
from serve_app.schemas import GenerateBody


def generators_router(
    verifier: TokenVerifier,
    tasks: Callable[[], Tasks],
    client: Callable[[], AsyncPrivacyClient],
    folders: Folders,
) -> APIRouter:
    """The routes below ``generators``."""
    router = APIRouter()
    may = permission_by(verifier)
    router.include_router(files_router(verifier, tasks, folders), prefix="/dataset")

    @router.post(
        "/dataset/{dataset_id}/generate",
        status_code=202,
        summary="Order synthetic rows; their budget is held",
        openapi_extra=described(GenerateBody),
    )
    async def generate(
        dataset_id: str,
        request: Request,
        asking: Annotated[Principal, may(Action.ORDER_TRAINING)],
        body: Annotated[GenerateBody, Depends(body_of(GenerateBody))],
        key_header: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
    ) -> JSONResponse:
        # HTTP gives no meaning to the space around a value, but not every server takes it away.
        key = None if key_header is None else key_header.strip()
        if key is not None and not (key and key.isascii() and key.isprintable()):
            raise invalid("Idempotency-Key", "must be printable ASCII here: it travels on as a header")
        wire: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(body))
        order = {"kind": wire.pop("type", body.type), "dataset_id": dataset_id} | wire
        token = request.headers["authorization"].partition(" ")[2]
        try:
            response = await client().send_raw(calls.train(order, key), token=token)
        except calls.RefusedError as error:
            raise relayed(error.document) from None
        except calls.ServiceUnreachableError as error:
            raise unavailable(f"Training did not answer: {error}") from None
        replayed = response.headers.get("idempotency-replayed")
        headers = {} if replayed is None else {"Idempotency-Replayed": replayed}
        return JSONResponse(response.json(), status_code=202, headers=headers)

    return router
