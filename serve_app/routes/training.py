"""``training/jobs``: work that a hold pays for, ordered, watched, stopped, and its results.

An order is planned and priced, then held through the budget's public interface in the caller's own name; the ledger
stores what is to be done in the same transaction. From then on the dispatcher (`serve_app.task_keeping`) looks after
it. The task's own process reports here with a token that is good for nothing else.
"""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from fastapi import Depends, FastAPI, Header, Query, Request
from starlette.responses import FileResponse, JSONResponse, StreamingResponse

from accounting.conversion import PricingDisagreementError
from accounting.event_wire import event_to_wire
from accounting.ledger.entry import timestamp_text
from accounting.ledger.store import StoreUnavailableError, Wanted
from accounting.ledger.tasks import StoredFile, StoredState, StoredTask
from accounting.values import InvalidValueError, decimal_text
from deployments.training.document import TaskDocument
from deployments.training.folders import Folders, MissingFileError, valid_file_name
from deployments.training.so_far import epsilon_so_far
from deployments.training.task import (
    Cancel,
    End,
    Ending,
    Progress,
    Reading,
    RefusedReportError,
    Report,
    Settlement,
    Started,
    TaskState,
)
from deployments.training.tracking import Tracked, record, state_from_json, tracked
from serve_app.auth.policy import Action, Role
from serve_app.auth.principal import Principal
from serve_app.client import calls
from serve_app.identifiers import TEXT_RULE, valid_text
from serve_app.observing import catalogue
from serve_app.observing.process import count
from serve_app.observing.requests import about
from serve_app.problems import Code, Problem, invalid, relayed, unavailable
from serve_app.requests import MAX_BULK_BODY, body_of, described
from serve_app.routes.access import permission_by
from serve_app.routes.allocation_request import disagreement, hold_seconds, idempotency_key
from serve_app.routes.files import known_file
from serve_app.routes.orders import NoRowsError, document_of, told_as
from serve_app.routes.training_stream import MAX_WATCHED, training_stream_router
from serve_app.schemas import ReportBody, TrainingBody
from serve_app.service import PREFIX, Service, new_app
from serve_app.task_keeping import TaskKeeping, keeping_tasks, task_subject

ALLOCATE = f"{PREFIX}/budget/allocate"
DEFAULT_TTL_SECONDS = 86_400
POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 15.0
MAX_LISTED = 500
MAX_FACTS, MAX_FACT = 20, 200
_STATE_ID = re.compile(r"[0-9]{1,18}")
RELEASED = frozenset({Settlement.COMMITTED, Settlement.EXPIRED_SPENT})
"""How the hold of a task has ended whose results may be had: it is spent."""


def create_training_app(service: Service) -> FastAPI:
    """The app that takes orders and looks after tasks."""
    kept: list[TaskKeeping] = []
    folders = Folders(service.settings.files_folder)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with keeping_tasks(service) as keeping:
            kept.append(keeping)
            yield

    app = new_app("Training", lifespan, service.settings, service.trail())
    may = permission_by(service.verifier())
    Reading = Annotated[Principal, may(Action.READ_TRAININGS)]  # noqa: N806 - a type
    Working = Annotated[Principal, may(Action.WORK_ON_TRAINING)]  # noqa: N806 - a type

    async def newest(tenant_id: str) -> list[StoredTask]:
        return await kept[-1].tasks.tasks(tenant_id, MAX_WATCHED)

    app.include_router(training_stream_router(service.verifier(), newest, task_answer))

    async def task_of(tenant_id: str, task_id: str) -> Tracked:
        stored = await kept[-1].tasks.task(tenant_id, _uuid(task_id))
        if stored is None:
            raise Problem(Code.NOT_FOUND, "The tenant has no training of that id.", {"field": "job"})
        about(tenant_id=tenant_id, job_id=stored.task_id)
        return tracked(stored)

    @app.post(
        "/jobs", status_code=202, summary="Order a training; its budget is held", openapi_extra=described(TrainingBody)
    )
    async def order(
        request: Request,
        asking: Annotated[Principal, may(Action.ORDER_TRAINING)],
        body: Annotated[TrainingBody, Depends(body_of(TrainingBody, MAX_BULK_BODY))],
        key_header: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
    ) -> JSONResponse:
        tenant_id = asking.tenant(body.tenant_id, Action.ORDER_TRAINING)
        job_id = f"training-{uuid.uuid4()}" if body.job_id is None else body.job_id
        if not valid_text(job_id):
            raise invalid("job_id", TEXT_RULE)
        key = idempotency_key(key_header, None, job_id)
        ttl = DEFAULT_TTL_SECONDS if body.ttl_seconds is None else body.ttl_seconds
        hold_seconds(ttl, hold=True)
        stored = await known_file(kept[-1].tasks, tenant_id, body.dataset_id)
        document = await asyncio.to_thread(_planned, body, stored, service)
        tail = (await kept[-1].store.tails({tenant_id: Wanted(datasets={body.dataset_id})}))[tenant_id]
        charge = {
            "tenant_id": tenant_id,
            "job_id": job_id,
            # Not as a header: those have ASCII alone.
            "operation_id": key,
            "event": event_to_wire(document.event),
            "delta": decimal_text(document.delta),
            "mode": "reserve",
            "ttl_seconds": ttl,
            "source_engine": body.source_engine,
            "purpose": body.purpose or f"train {body.kind}",
            # Charged on the data set's own budget too, where an administrator has given it one.
            "dataset_id": body.dataset_id if tail.datasets.get(body.dataset_id) is not None else None,
            "task": document.text,
        }
        given = {name: value for name, value in charge.items() if value is not None}
        token = request.headers["authorization"].partition(" ")[2]
        try:
            response = await kept[-1].client.send_raw(calls.Call("POST", ALLOCATE, given), token=token)
        except calls.RefusedError as error:
            known = error.document
            raise relayed(known | ({"field": told_as(known["field"])} if "field" in known else {})) from None
        except calls.ServiceUnreachableError as error:
            raise unavailable(f"The budget did not answer: {error}") from None
        hold = response.json()
        task = await task_of(tenant_id, hold["allocation_id"])
        replayed = response.headers.get("idempotency-replayed")
        headers = {} if replayed is None else {"Idempotency-Replayed": replayed}
        return JSONResponse(task_answer(task) | {"hold": hold}, status_code=202, headers=headers)

    @app.get("/jobs", summary="A tenant's trainings, the newest first")
    async def listed(
        asking: Reading, tenant_id: str | None = None, limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100
    ) -> dict[str, Any]:
        found = await kept[-1].tasks.tasks(asking.tenant(tenant_id, Action.READ_TRAININGS), limit)
        return {"jobs": [task_answer(tracked(one)) for one in found]}

    @app.get("/jobs/{job}", summary="How a training stands")
    async def look(job: str, asking: Reading, tenant_id: str | None = None) -> dict[str, Any]:
        return task_answer(await task_of(asking.tenant(tenant_id, Action.READ_TRAININGS), job))

    @app.delete("/jobs/{job}", status_code=202, summary="Stop a training; what it has done stays charged")
    async def cancel(
        job: str, asking: Annotated[Principal, may(Action.CANCEL_TRAINING)], tenant_id: str | None = None
    ) -> dict[str, Any]:
        tenant = asking.tenant(tenant_id, Action.CANCEL_TRAINING)
        task = await task_of(tenant, job)
        if task.state.cancelled or task.state.ending is not None:
            return task_answer(task)
        return task_answer(await _recorded(kept[-1], tenant, job, Cancel()))

    @app.get(
        "/jobs/{job}/events",
        summary="A training's progress as it happens (server-sent events)",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "One event for each state, to the last."}
        },
    )
    async def events(
        job: str, asking: Reading, tenant_id: str | None = None, last_event_id: Annotated[str | None, Header()] = None
    ) -> StreamingResponse:
        tenant = asking.tenant(tenant_id, Action.READ_TRAININGS)
        document = (await task_of(tenant, job)).document
        if last_event_id is not None and not _STATE_ID.fullmatch(last_event_id):
            raise invalid("Last-Event-ID", "is not the id of an event of this stream")
        body = _stream(
            kept[-1], tenant, job, document, int(last_event_id or 0), lambda: asking.expires_at - time.time()
        )
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(body, media_type="text/event-stream", headers=headers)

    @app.get("/jobs/{job}/files/{name}", summary="One file that a training made", response_class=FileResponse)
    async def result(
        job: str, name: str, asking: Annotated[Principal, may(Action.READ_RESULTS)], tenant_id: str | None = None
    ) -> FileResponse:
        task = await task_of(asking.tenant(tenant_id, Action.READ_RESULTS), job)
        if name not in task.state.files:
            raise Problem(Code.NOT_FOUND, "The training has made no file of that name.", {"files": task.state.files})
        if task.state.ending is not Ending.FINISHED or task.state.settlement not in RELEASED:
            raise Problem(Code.CONFLICT, "Results can be had once the training has finished and its hold is settled.")
        try:
            path = folders.result(task.stored.task_id, task.state.attempt, name)
        except MissingFileError as error:
            raise Problem(Code.NOT_FOUND, str(error)) from None
        if not path.exists():
            raise Problem(Code.NOT_FOUND, "The file is no longer in the shared folder.")
        return FileResponse(path, filename=name)

    @app.get("/jobs/{job}/document", summary="What is to be done, as it was ordered")
    async def document(job: str, asking: Working, tenant_id: str | None = None) -> dict[str, Any]:
        tenant = _working(asking, job, tenant_id)
        return {"document": (await task_of(tenant, job)).stored.body}

    @app.post(
        "/jobs/{job}/reports",
        summary="What a training's own process reports",
        openapi_extra=described(ReportBody),
    )
    async def report(
        job: str,
        asking: Working,
        body: Annotated[ReportBody, Depends(body_of(ReportBody))],
        tenant_id: str | None = None,
    ) -> dict[str, Any]:
        tenant = _working(asking, job, tenant_id)
        task = await task_of(tenant, job)
        if Role.TASK not in asking.roles and task.document.dispatched:
            raise Problem(Code.FORBIDDEN, "The service starts this training, so its own process alone reports on it.")
        if body.kind == "started" and task.document.dispatched:
            raise Problem(Code.FORBIDDEN, "The service starts this training, and nobody else.")
        given = _report(body)
        if isinstance(given, Progress):
            given = await asyncio.to_thread(_with_epsilon, given, task)
        after = await _recorded(kept[-1], tenant, job, given)
        count(catalogue.TRAINING_STEPS, by=max(after.state.done - task.state.done, 0))
        return task_answer(after)

    return app


def task_answer(task: Tracked) -> dict[str, Any]:
    """A training as callers see it. Nothing in it depends on the rows."""
    document, state = task.document, task.state
    return {
        "id": task.stored.task_id,
        "tenant_id": task.stored.tenant_id,
        "kind": document.kind,
        "dataset_id": document.file.dataset_id,
        "target_epsilon": decimal_text(document.epsilon),
        "target_delta": decimal_text(document.delta),
        "event": event_to_wire(document.event),
        "num_rows": document.rows_out,
        "created_at": timestamp_text(task.stored.created_at),
        "changed_at": timestamp_text(task.changed_at),
        **_standing(document, state),
    }


def _standing(document: TaskDocument, state: TaskState) -> dict[str, Any]:
    return {
        "status": state.phase,
        "attempt": state.attempt,
        "steps": document.steps,
        "steps_done": state.done,
        "steps_charged_at_most": state.through,
        "epsilon_so_far": state.epsilon,
        "seconds_left": state.seconds_left,
        "cancelled": state.cancelled,
        "message": state.message,
        "files": list(state.files),
        "settlement": state.settlement,
    }


def _planned(body: TrainingBody, stored: StoredFile, service: Service) -> TaskDocument:
    try:
        return document_of(body, stored, service.settings.default_delta, service.settings.allowed_modules)
    except InvalidValueError as error:
        raise invalid(error.field, error.reason) from None
    except PricingDisagreementError as error:
        raise disagreement(error) from None
    except NoRowsError:
        detail = "No rows were stored for this data set. PUT them to generators/dataset/{id}/rows first."
        raise Problem(Code.NOT_FOUND, detail, {"field": "dataset_id"}) from None


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Problem(Code.NOT_FOUND, "The tenant has no training of that id.", {"field": "job"}) from None


def _working(asking: Principal, job: str, tenant_id: str | None) -> str:
    """The tenant of a task that the caller may work on."""
    if Role.TASK in asking.roles and asking.subject != task_subject(_uuid(job)):
        raise Problem(Code.FORBIDDEN, "The token belongs to another training.")
    return asking.tenant(tenant_id, Action.WORK_ON_TRAINING)


def _report(body: ReportBody) -> Report:
    if body.kind == "started":
        return Started(body.attempt)
    if body.kind == "reading":
        facts = body.facts or {}
        if len(facts) > MAX_FACTS or any(len(f"{name}{told}") > MAX_FACT for name, told in facts.items()):
            raise invalid("facts", f"must be at most {MAX_FACTS}, each of at most {MAX_FACT} characters")
        return Reading(body.attempt, facts)
    if body.kind == "progress":
        if body.done is None or body.through is None:
            raise invalid("done", "and through are needed in a report on progress")
        return Progress(body.attempt, body.done, body.through, body.seconds_left)
    if body.ending is None:
        raise invalid("ending", "is missing: say how it ended")
    if not all(map(valid_file_name, body.files or ())):
        raise invalid("files", "must be names of files in the start's own folder")
    return End(body.attempt, Ending(body.ending), body.done, body.message, tuple(body.files or ()))


def _with_epsilon(progress: Progress, task: Tracked) -> Progress:
    document, through = task.document, max(task.state.through, progress.through)
    if through > document.steps:
        # Refused in a moment.
        return progress
    found = epsilon_so_far(document.event, document.steps, through, document.delta)
    # What the whole was charged is a bound as well.
    known = document.epsilon if found is None else min(found, document.epsilon)
    return replace(progress, epsilon=decimal_text(known))


async def _recorded(kept: TaskKeeping, tenant_id: str, task_id: str, report: Report) -> Tracked:
    try:
        return await record(kept.tasks, tenant_id, task_id, report)
    except RefusedReportError as error:
        raise Problem(Code.CONFLICT, str(error)) from None


async def _stream(
    kept: TaskKeeping, tenant_id: str, task_id: str, document: TaskDocument, after: int, left: Callable[[], float]
) -> AsyncIterator[bytes]:
    silent_since = time.monotonic()
    while left() > 0:
        try:
            states: list[StoredState] = await kept.tasks.states(tenant_id, task_id, after)
        except StoreUnavailableError:
            # It has begun, so no problem document can follow; its reader comes back and is told.
            return
        for stored in states:
            state = state_from_json(stored.state)
            data = msgspec.json.encode(_standing(document, state) | {"at": timestamp_text(stored.at)})
            yield b"id: %d\nevent: %s\ndata: %s\n\n" % (stored.number, state.phase.encode(), data)
            after, silent_since = stored.number, time.monotonic()
            if state.settlement is not None:
                return
        if time.monotonic() - silent_since > HEARTBEAT_SECONDS:
            yield b": still here\n\n"
            silent_since = time.monotonic()
        await asyncio.sleep(POLL_SECONDS)
