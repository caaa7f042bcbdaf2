"""``log``: the log of all tenants' entries, its heads and proofs, and its events as a stream.

Whoever has a token sees the tenant's own entries; an auditor with a token for any tenant sees all. Heads and proofs are
hashes, which tell nothing about anybody. What keeps the log runs in the same process: `serve_app.log_keeping`.

Where there are several databases, each has a log of its own. Without a word, a request is about that of the tenant's.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

import structlog
from fastapi import FastAPI, Header, Query
from starlette.responses import StreamingResponse

from accounting.ledger.by_home import ByHome
from accounting.ledger.heads import StoredHead
from accounting.ledger.merkle import LARGEST_SIZE, consistency_proof, inclusion_proof, root_at
from accounting.ledger.store import StoreUnavailableError
from deployments.outbox.events import Topic
from deployments.outbox.stream import EventIdError, Place, Read, place_after, stream
from serve_app.auth.policy import Action
from serve_app.auth.principal import ANY_TENANT, Principal
from serve_app.identifiers import NAME_RULE, valid_name
from serve_app.log_keeping import LogKeeping, keeping_all
from serve_app.problems import Code, Problem, invalid
from serve_app.routes.access import permission_by
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
Whose = Annotated[str | None, Query(description="Whose database's log, for a token for any tenant.")]
Database = Annotated[str | None, Query(description="Whose log, where there are several databases.")]


def create_log_app(service: Service) -> FastAPI:
    """The app that keeps the log and shows it."""
    logs: list[ByHome[LogKeeping]] = []
    open_streams = 0

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.databases(1) as databases, keeping_all(service) as parts:
            logs.append(ByHome(parts, databases.homes))
            yield

    app = new_app("Log", lifespan, service.settings, service.trail())
    may = permission_by(service.verifier())
    ReadingEntries = Annotated[Principal, may(Action.READ_ENTRIES)]  # noqa: N806 - a type
    ReadingLog = Annotated[Principal, may(Action.READ_LOG)]  # noqa: N806 - a type

    async def kept_for(asking: Principal, tenant_id: str | None, database: str | None) -> LogKeeping:
        """The log that a request is about: of the database that it names, or else of the tenant's, or the main one."""
        named = _named(tenant_id)
        if database is not None:
            if database not in logs[-1].parts:
                detail = f"This service has no database of that name, only {', '.join(logs[-1].parts)}."
                raise Problem(Code.NOT_FOUND, detail, {"field": "database"})
            return logs[-1].parts[database]
        tenant = named if asking.tenant_id == ANY_TENANT else asking.tenant_id
        return logs[-1].main if tenant is None else await logs[-1].seen(tenant)

    def entries_in(kept: LogKeeping, tenant: str | None) -> Read:
        return kept.log.read if tenant is None else partial(kept.log.read_of, tenant)

    async def size_of(kept: LogKeeping, named: int | None, field: str) -> int:
        there = await kept.log.size()
        if named is not None and named > there:
            raise Problem(Code.NOT_FOUND, f"{field}: is more than the log's {there} entries.", {"field": field})
        return there if named is None else named

    @app.get(
        "/events",
        summary="Events as they happen (server-sent events)",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": STREAM}},
    )
    async def events(
        asking: ReadingEntries,
        tenant_id: str | None = None,
        topic: Annotated[list[Topic] | None, Query()] = None,
        start: SomeCount = None,
        last_event_id: Annotated[str | None, Header()] = None,
        database: Database = None,
    ) -> StreamingResponse:
        tenant = asking.tenant_or_all(_named(tenant_id), Action.READ_ENTRIES)
        kept = await kept_for(asking, tenant, database)
        read, watch = entries_in(kept, tenant), kept.watch
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
        asking: ReadingEntries,
        start: Count = 0,
        limit: Limit = 1_000,
        tenant_id: str | None = None,
        database: Database = None,
    ) -> dict[str, Any]:
        tenant = asking.tenant_or_all(_named(tenant_id), Action.READ_ENTRIES)
        page = await entries_in(await kept_for(asking, tenant, database), tenant)(start, limit)
        return {
            "entries": [{"position": logged.position, "body": logged.entry.body} for logged in page],
            "next": page[-1].position + 1 if page else start,
        }

    @app.get("/head", summary="The log's latest head, signed")
    async def head(asking: ReadingLog, tenant_id: Whose = None, database: Database = None) -> dict[str, Any]:
        last = await (await kept_for(asking, tenant_id, database)).log.last_head()
        if last is None:
            raise Problem(Code.NOT_FOUND, "No head has been published yet: the log is empty.")
        return _head_to_wire(last)

    @app.get("/heads", summary="Published heads, the smallest first")
    async def heads(
        asking: ReadingLog,
        after: SomeCount = None,
        limit: Limit = 1_000,
        tenant_id: Whose = None,
        database: Database = None,
    ) -> dict[str, Any]:
        found = await (await kept_for(asking, tenant_id, database)).log.heads(-1 if after is None else after, limit)
        return {"heads": [_head_to_wire(one) for one in found]}

    @app.get("/inclusion", summary="The proof that a tenant's entry is in the log (RFC 6962)")
    async def inclusion(
        asking: ReadingEntries,
        seq: Annotated[int, Query(ge=1, le=LARGEST_SIZE)],
        tenant_id: str | None = None,
        size: SomeCount = None,
    ) -> dict[str, Any]:
        tenant = asking.tenant(_named(tenant_id), Action.READ_ENTRIES)
        kept = await kept_for(asking, tenant, None)
        log, total = kept.log, await size_of(kept, size, "size")
        position = await log.position(tenant, seq)
        if position is None:
            raise Problem(Code.NOT_FOUND, "The log has no such entry of the tenant.", {"field": "seq"})
        if position >= total:
            detail = f"size: must be more than {position}, where the entry stands."
            raise Problem(Code.NOT_FOUND, detail, {"field": "size"})
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
    async def consistency(
        asking: ReadingLog,
        first: Count,
        second: SomeCount = None,
        tenant_id: Whose = None,
        database: Database = None,
    ) -> dict[str, Any]:
        kept = await kept_for(asking, tenant_id, database)
        log, total = kept.log, await size_of(kept, second, "second")
        if first > total:
            detail = f"first: must be at most {total}, the second size."
            raise Problem(Code.NOT_FOUND, detail, {"field": "first"})
        path = await consistency_proof(log.nodes, first, total)
        return {
            "first": {"size": first, "root": (await root_at(log.nodes, first)).hex()},
            "second": {"size": total, "root": (await root_at(log.nodes, total)).hex()},
            "path": [node.hex() for node in path],
        }

    @app.get("/health", summary="How what keeps the log stands")
    async def health(asking: ReadingLog, database: Database = None) -> dict[str, Any]:
        kept = await kept_for(asking, None, database)
        return await kept.health() | {"databases": list(logs[-1].parts)}

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
