"""``generators/{id}/privacy-report``: what a training has cost by the ledger, what that means, what else would cost.

A report takes seconds to compute and its picture is drawn by a library that knows one thread: so one thread writes all
of them, beside the event loop, and the last few are kept.
"""

import asyncio
import uuid
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse, JSONResponse, Response

from accounting.ledger.by_home import Ledgers, Tasks
from accounting.ledger.store import Wanted
from accounting.values import InvalidValueError
from deployments.reporting.comparison import compare, comparison_to_wire
from deployments.reporting.facts import JobFacts
from deployments.reporting.report import PrivacyReport, report_of, report_to_wire
from deployments.reporting.task_facts import task_facts
from deployments.training.tracking import tracked
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.problems import Code, Problem, invalid
from serve_app.routes.access import permission_by

LEAST_COMPARED, MOST_COMPARED = 2, 8
KEPT = 64
"""Reports and files of reports that are remembered."""
Form = Literal["json", "html", "png", "svg"]
FileForm = Literal["html", "png", "svg"]
_MEDIA_TYPES = {"html": "text/html; charset=utf-8", "png": "image/png", "svg": "image/svg+xml"}
T = TypeVar("T")


def privacy_reports_router(
    verifier: TokenVerifier, tasks: Callable[[], Tasks], store: Callable[[], Ledgers]
) -> APIRouter:
    """The routes below ``generators`` that report."""
    router = APIRouter()
    writer = Writer()
    may = permission_by(verifier)

    @router.get("/privacy-reports", summary="Several trainings side by side, and what they have cost together")
    async def side_by_side(
        asking: Annotated[Principal, may(Action.READ_REPORTS)],
        id: Annotated[  # noqa: A002 - the interface's own word
            list[str], Query(min_length=LEAST_COMPARED, max_length=MOST_COMPARED)
        ],
        format: Literal["json", "html"] = "json",  # noqa: A002 - the interface's own word
        tenant_id: str | None = None,
    ) -> Response:
        tenant = asking.tenant(tenant_id, Action.READ_REPORTS)
        jobs = [await facts_of(tasks(), store(), tenant, one) for one in id]
        try:
            found = compare(jobs)
        except InvalidValueError as error:
            raise invalid("id", error.reason) from None
        if format == "json":
            return JSONResponse(comparison_to_wire(found))
        # It brings the library that draws, which not every process needs.
        from deployments.reporting.html import comparison_html

        return HTMLResponse(comparison_html(found))

    @router.get(
        "/{id}/privacy-report",
        summary="What a training has cost: a report to read (html), its numbers (json), its curves (png, svg)",
    )
    async def report(
        id: str,  # noqa: A002 - the interface's own word
        asking: Annotated[Principal, may(Action.READ_REPORTS)],
        format: Form = "json",  # noqa: A002 - the interface's own word
        tenant_id: str | None = None,
    ) -> Response:
        facts = await facts_of(tasks(), store(), asking.tenant(tenant_id, Action.READ_REPORTS), id)
        if format == "json":
            return JSONResponse(await writer.wire(facts))
        return Response(await writer.file(facts, format), media_type=_MEDIA_TYPES[format])

    return router


async def facts_of(tasks: Tasks, store: Ledgers, tenant_id: str, task_id: str) -> JobFacts:
    """The facts of a tenant's training, as the ledger has them now.

    Raises:
        Problem: `Code.NOT_FOUND` if the tenant has no training of that id.
    """
    try:
        known = str(uuid.UUID(task_id))
    except ValueError:
        raise _not_found() from None
    # The hold first: a task that is further than its hold is known to be is no contradiction, the reverse is one.
    entries = await store.allocation(tenant_id, known)
    stored = await tasks.task(tenant_id, known)
    if stored is None or not entries:
        raise _not_found()
    dataset = None
    if entries[0].dataset is not None:
        name = entries[0].dataset.dataset_id
        registered = (await store.tails({tenant_id: Wanted(datasets={name})}))[tenant_id].datasets[name]
        dataset = None if registered is None else registered.dataset
    task = tracked(stored)
    return task_facts(task.document, task.state, entries, dataset)


class Writer:
    """Writes reports, one at a time, and remembers the last `KEPT`. Equal facts make equal reports."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="privacy-reports")
        self._kept: dict[Hashable, Any] = {}

    async def wire(self, facts: JobFacts) -> dict[str, Any]:
        """The report as JSON-ready data."""
        return report_to_wire(await self._report(facts))

    async def file(self, facts: JobFacts, form: FileForm) -> bytes:
        """The report as a file."""
        report = await self._report(facts)
        return await self._once((form, facts), lambda: _rendered(report, form))

    async def _report(self, facts: JobFacts) -> PrivacyReport:
        return await self._once(("report", facts), lambda: report_of(facts))

    async def _once(self, key: Hashable, make: Callable[[], T]) -> T:
        found: T | None = self._kept.get(key)
        if found is not None:
            return found
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._made, key, make)

    def _made(self, key: Hashable, make: Callable[[], T]) -> T:
        # Whoever waited for the same one finds it made.
        found: T | None = self._kept.get(key)
        if found is not None:
            return found
        made = self._kept[key] = make()
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return made


def _rendered(report: PrivacyReport, form: FileForm) -> bytes:
    from deployments.reporting.html import report_html
    from deployments.reporting.picture import draw

    return report_html(report).encode() if form == "html" else draw(report, form)


def _not_found() -> Problem:
    return Problem(Code.NOT_FOUND, "The tenant has no training of that id.", {"field": "id"})
