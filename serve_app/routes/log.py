"""``log``: the log of all tenants' entries, its heads and proofs, and its events as a stream.

Whoever has a token sees the tenant's own entries; an auditor with a token for any tenant sees all. Heads and proofs are
hashes, which tell nothing about anybody. What keeps the log runs in the same process: `serve_app.log_keeping`.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

import structlog
from fastapi import Depends, FastAPI, Header, Query
from starlette.responses import StreamingResponse

from accounting.ledger.heads import StoredHead
from accounting.ledger.merkle import LARGEST_SIZE, consistency_proof, inclusion_proof, root_at
from accounting.ledger.store import StoreUnavailableError
from deployments.outbox.events import Topic
from deployments.outbox.stream import EventIdError, Place, Read, place_after, stream
from serve_app.auth.principal import READERS, Principal
from serve_app.identifiers import NAME_RULE, valid_name
from serve_app.log_keeping import LogKeeping, keeping
from serve_app.problems import Code, Problem, invalid
from serve_app.routes.access import principal_by
from serve_app.service import Service, new_app

logger = structlog.get_logger()

MAX_STREAMS = 500
"""Streams in one process. Each holds a connection, and looks into the database when there is something new."""

STREAM = (
    "Events from `start` on, or from now on; after `Last-Event-ID`, where that is sent. Each has its topic as name, "
    "JSON as data, and an id that says where it stands in the log."
)

Count = Annotated[int, Query(ge=0, le=LARGEST_SIZE)]
SomeCount = Annotated[int | None, Query(ge=0, le=LARGEST_SIZE)]
Limit = Annotated[int, Query(ge=1, le=1_000)]


def create_log_app(service: Service) -> FastAPI:
    """The app that keeps the log and shows it."""
    kept: list[LogKeeping] = []
    open_streams = 0

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with keeping(service) as log_keeping:
            kept.append(log_keeping)
            yield

    app = new_app("Log", lifespan)
    Asking = Annotated[Principal, Depends(principal_by(service.verifier()))]  # noqa: N806 - a type

    def entries_for(asking: Principal, tenant_id: str | None) -> Read:
        tenant = asking.watched(_named(tenant_id))
        log = kept[-1].log
        return log.read if tenant is None else partial(log.read_of, tenant)

    async def size_of(named: int | None, field: str) -> int:
        there = await kept[-1].log.size()
        if named is not None and named > there:
            raise invalid(field, f"is more than the log's {there} entries")
        return there if named is None else named

    @app.get(
        "/events",
        summary="Events as they happen (server-sent events)",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": STREAM}},
    )
    async def events(
        asking: Asking,
        tenant_id: str | None = None,
        topic: Annotated[list[Topic] | None, Query()] = None,
        start: SomeCount = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> StreamingResponse:
        read = entries_for(asking, tenant_id)
        watch = kept[-1].watch
        place = _place(last_event_id, watch.size if start is None else start)
        if open_streams >= MAX_STREAMS:
            detail = "Too many streams are open. Come back later, with the last id."
            raise Problem(Code.UNAVAILABLE, detail, headers={"Retry-After": "10"})

        def seconds_left() -> float:
            # A reader whose token has expired comes back with a new one and the last id.
            return asking.expires_at - time.time()

        async def body() -> AsyncIterator[bytes]:
            nonlocal open_streams
            open_streams += 1
            try:
                async for part in stream(read, watch, place, topic or list(Topic), seconds_left):
                    yield part
            except StoreUnavailableError as error:
                # It has begun, so no problem document can follow; its reader comes back and is told.
                logger.warning("stream_broken", error=str(error))
            finally:
                open_streams -= 1

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(body(), media_type="text/event-stream", headers=headers)

    @app.get("/entries", summary="Entries in the order of the log, as they are hashed")
    async def entries(
        asking: Asking, start: Count = 0, limit: Limit = 1_000, tenant_id: str | None = None
    ) -> dict[str, Any]:
        page = await entries_for(asking, tenant_id)(start, limit)
        return {
            "entries": [{"position": logged.position, "body": logged.entry.body} for logged in page],
            "next": page[-1].position + 1 if page else start,
        }

    @app.get("/head", summary="The log's latest head, signed")
    async def head(asking: Asking) -> dict[str, Any]:
        asking.require(READERS)
        last = await kept[-1].log.last_head()
        if last is None:
            raise Problem(Code.NOT_FOUND, "No head has been published yet: the log is empty.")
        return _head_to_wire(last)

    @app.get("/heads", summary="Published heads, the smallest first")
    async def heads(asking: Asking, after: SomeCount = None, limit: Limit = 1_000) -> dict[str, Any]:
        asking.require(READERS)
        found = await kept[-1].log.heads(-1 if after is None else after, limit)
        return {"heads": [_head_to_wire(one) for one in found]}

    @app.get("/inclusion", summary="The proof that a tenant's entry is in the log (RFC 6962)")
    async def inclusion(
        asking: Asking,
        seq: Annotated[int, Query(ge=1, le=LARGEST_SIZE)],
        tenant_id: str | None = None,
        size: SomeCount = None,
    ) -> dict[str, Any]:
        tenant = asking.watched(_named(tenant_id))
        if tenant is None:
            raise invalid("tenant_id", "is missing: a token for any tenant has to name one")
        log = kept[-1].log
        total = await size_of(size, "size")
        position = await log.position(tenant, seq)
        if position is None:
            raise Problem(Code.NOT_FOUND, "The log has no such entry of the tenant.", {"field": "seq"})
        if position >= total:
            raise invalid("size", f"must be more than {position}, where the entry stands")
        path = await inclusion_proof(log.nodes, position, total)
        return {
            "tenant_id": tenant,
            "seq": seq,
            "position": position,
            "size": total,
            "root": (await root_at(log.nodes, total)).hex(),
            "path": [node.hex() for node in path],
        }

    @app.get("/consistency", summary="The proof that the log at one size begins the log at another (RFC 6962)")
    async def consistency(asking: Asking, first: Count, second: SomeCount = None) -> dict[str, Any]:
        asking.require(READERS)
        log = kept[-1].log
        total = await size_of(second, "second")
        if first > total:
            raise invalid("first", f"must be at most {total}, the second size")
        path = await consistency_proof(log.nodes, first, total)
        return {
            "first": {"size": first, "root": (await root_at(log.nodes, first)).hex()},
            "second": {"size": total, "root": (await root_at(log.nodes, total)).hex()},
            "path": [node.hex() for node in path],
        }

    @app.get("/health", summary="How what keeps the log stands")
    async def health(asking: Asking) -> dict[str, Any]:
        asking.require(READERS)
        return await kept[-1].health()

    return app


def _named(tenant_id: str | None) -> str | None:
    if tenant_id is not None and not valid_name(tenant_id):
        raise invalid("tenant_id", NAME_RULE)
    return tenant_id


def _place(last_event_id: str | None, start: int) -> Place:
    if last_event_id is None:
        return Place(start)
    try:
        return place_after(last_event_id)
    except EventIdError as error:
        raise invalid("Last-Event-ID", str(error)) from None


def _head_to_wire(head: StoredHead) -> dict[str, Any]:
    return {"size": head.size, "root": head.root.hex(), "signed": head.signed}
