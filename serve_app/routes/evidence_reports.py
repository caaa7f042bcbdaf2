"""``reports/generate``: what a period's ledger, proofs and log show for named controls of a framework."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from accounting.datasets import DatasetState
from accounting.ledger.by_home import Analytics, ByHome, Ledgers
from accounting.ledger.entry import Entry, entry_from_body
from accounting.ledger.postgres_analytics import Snapshot
from accounting.ledger.postgres_proofs import PostgresProofReader
from accounting.ledger.readings import Charged, KeptReleases
from deployments.reporting.regulatory import Evidence, Framework, Period, Read, evidence, sample
from deployments.reporting.regulatory_wire import evidence_to_wire
from serve_app.auth.keys import KeyRing
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.problems import invalid
from serve_app.requests import body_of, described
from serve_app.routes.access import permission_by
from serve_app.routes.analytics import head_of, tenant_in_body
from serve_app.schemas import EvidenceBody

MAX_ENTRIES = 10_000
"""Entries that one report follows: the latest so many."""
PAGE = 1_000
MAX_PROOFS = 25
"""Operations that one report has proved and checked."""


def evidence_router(
    verifier: TokenVerifier,
    reader: Callable[[], Analytics],
    store: Callable[[], Ledgers],
    logs: Callable[[], ByHome[PostgresProofReader]],
    keys: Callable[[], KeyRing],
) -> APIRouter:
    """The route below ``reports``.

    Args:
        verifier: Of tokens.
        reader: Reads one tenant's ledger at a time.
        store: The ledger, for proofs.
        logs: The logs, for proofs.
        keys: The service's.
    """
    router = APIRouter()
    may = permission_by(verifier)
    # One at a time: each holds its entries in memory, and computes for some seconds.
    writing = asyncio.Lock()

    @router.post(
        "/generate",
        summary="Evidence for named controls (GDPR, HIPAA, CCPA, SOC 2) from the ledger, its proofs and its log",
        openapi_extra=described(EvidenceBody),
    )
    async def generate(
        asking: Annotated[Principal, may(Action.READ_REPORTS)],
        body: Annotated[EvidenceBody, Depends(body_of(EvidenceBody))],
        request: Request,
    ) -> Response:
        tenant = tenant_in_body(asking, body.tenant_id, Action.READ_REPORTS, request)
        since, until = _moment("since", body.since), _moment("until", body.until)
        if since is not None and until is not None and since >= until:
            raise invalid("until", "must be later than since")
        async with writing:
            ledger = await _ledger(reader(), tenant, since, until)
            facts = await _evidence(Framework(body.framework), ledger, store(), await logs().seen(tenant), keys())
            return await asyncio.to_thread(_answer, facts, body.format)

    return router


@dataclass(frozen=True, slots=True)
class _Ledger:
    """What is read of a tenant's ledger, all of one moment."""

    now: datetime
    head: Entry
    period: Period
    bodies: list[str]
    entries: list[Entry]
    datasets: tuple[DatasetState, ...]
    charged: tuple[Charged, ...]
    refusals: dict[str, int]
    releases: KeptReleases


async def _ledger(reader: Analytics, tenant_id: str, since: datetime | None, until: datetime | None) -> _Ledger:
    """Reads it.

    Args:
        reader: Reads one tenant's ledger at a time.
        tenant_id: Whose.
        since: Beginning of the period; None for the day on which the history began.
        until: Its end; None for now.
    """
    async with reader.of(tenant_id) as found:
        head = await head_of(found)
        bodies = await _bodies(found, head.seq)
        entries = await asyncio.to_thread(_read, bodies)
        # An owner's clock may be a moment ahead of the database's.
        end = until or max(found.now, entries[-1].at + timedelta(microseconds=1))
        began = datetime.combine((await found.known_since()).astimezone(UTC).date(), time(), UTC)
        period = Period(since or min(began, end), end)
        return _Ledger(
            now=found.now,
            head=head,
            period=period,
            bodies=bodies,
            entries=entries,
            datasets=tuple(await found.datasets()),
            charged=tuple(await found.charged(period.since, period.until)),
            refusals=await found.refusals(period.since, period.until),
            releases=await found.releases(),
        )


async def _evidence(
    framework: Framework, ledger: _Ledger, store: Ledgers, log: PostgresProofReader, keys: KeyRing
) -> Evidence:
    """Checks what can be checked, and adds up."""
    # Here, because they bring along what writes proofs, which the front needs for nothing else.
    from serve_app.routes.evidence_checks import checked_head, checked_proofs
    from serve_app.routes.proofs import Prover

    operations, chosen = sample(ledger.entries, ledger.period, MAX_PROOFS)
    read = Read(
        made_at=ledger.now,
        head=ledger.head,
        datasets=ledger.datasets,
        charged=ledger.charged,
        refusals=tuple(ledger.refusals.items()),
        releases=ledger.releases,
        log_head=await checked_head(log, keys),
        proofs=await checked_proofs(Prover(store, log, keys), keys, chosen, operations),
    )
    return await asyncio.to_thread(evidence, framework, ledger.period, ledger.bodies, ledger.entries, read)


async def _bodies(found: Snapshot, last: int) -> list[str]:
    """The latest `MAX_ENTRIES` entries, oldest first."""
    bodies: list[str] = []
    after = max(last - MAX_ENTRIES, 0)
    while page := await found.bodies(after + len(bodies), PAGE):
        bodies += page
    return bodies


def _read(bodies: list[str]) -> list[Entry]:
    return [entry_from_body(body) for body in bodies]


def _answer(facts: Evidence, form: str) -> Response:
    if form == "json":
        return JSONResponse(evidence_to_wire(facts))
    from deployments.reporting.regulatory_document import evidence_html, evidence_pdf

    name: dict[str, Any] = {"Content-Disposition": f'inline; filename="evidence-{facts.framework}.{form}"'}
    if form == "html":
        return Response(evidence_html(facts), media_type="text/html; charset=utf-8", headers=name)
    return Response(evidence_pdf(facts), media_type="application/pdf", headers=name)


def _moment(field: str, text: str | None) -> datetime | None:
    """A day (its beginning) or a moment; without a time zone, in UTC."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(field, "must be a day or a moment, such as 2026-11-21 or 2026-11-21T04:37:00Z") from None
