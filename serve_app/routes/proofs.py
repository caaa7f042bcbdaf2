"""``proof/{job_id}``: the certificates of a job, made from the ledger when they are asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI
from starlette.responses import JSONResponse, Response

from accounting.ledger.entry import OPENING_KINDS, Entry
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.store import LedgerStore
from proofs.prover import TooLargeError, prove_job
from proofs.render.latex import render_latex
from proofs.signing import SigningKey
from serve_app.auth.principal import READERS, Principal
from serve_app.identifiers import TEXT_RULE, valid_text
from serve_app.problems import Code, Problem, invalid
from serve_app.routes.access import principal_by
from serve_app.service import Service, new_app

MAX_ENTRIES = 10_000
"""Entries of one job that one document may prove. A total over some of them would be a false one."""


def create_proofs_app(service: Service) -> FastAPI:
    """The app that proves charges."""
    stores: list[PostgresLedgerStore] = []
    signer = service.keys().proof_key

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.store() as store:
            stores.append(store)
            yield

    app = new_app("Proofs", lifespan)
    Asking = Annotated[Principal, Depends(principal_by(service.verifier()))]  # noqa: N806 - a type

    @app.get("/{job_id:path}", summary="The proof of a job, as a JSON document or a LaTeX derivation")
    async def proof(
        job_id: str,
        asking: Asking,
        format: Literal["json", "latex"] = "json",  # noqa: A002 - the interface's own word
        tenant_id: str | None = None,
    ) -> Response:
        asking.require(READERS)
        if not valid_text(job_id):
            raise invalid("job_id", TEXT_RULE)
        tenant = asking.tenant(tenant_id)
        document = await prove(stores[-1], signer, tenant, job_id)
        if format == "latex":
            text = await asyncio.to_thread(render_latex, document)
            return Response(text, media_type="application/x-latex")
        return JSONResponse(document)

    return app


async def prove(store: LedgerStore, signer: SigningKey, tenant_id: str, job_id: str) -> dict[str, Any]:
    """The proof document of a job.

    Raises:
        Problem: `Code.NOT_FOUND` if the tenant has no allocation of that job; `Code.TOO_LARGE` if it has too many.
    """
    entries = await store.job(tenant_id, job_id, MAX_ENTRIES + 1)
    if not any(entry.kind in OPENING_KINDS for entry in entries):
        raise Problem(Code.NOT_FOUND, "The tenant has no allocation of that job.", {"field": "job_id"})
    if len(entries) > MAX_ENTRIES:
        raise Problem(Code.TOO_LARGE, f"The job has more than {MAX_ENTRIES} ledger entries, too many for one document.")
    neighbours = await _neighbours(store, entries)
    try:
        return await asyncio.to_thread(prove_job, entries, signer, neighbours)
    except TooLargeError as error:
        raise Problem(Code.TOO_LARGE, str(error)) from None


async def _neighbours(store: LedgerStore, entries: list[Entry]) -> list[Entry]:
    """The entry before the job's first, so that the balance it starts from can be checked against the chain.

    Only that one: the entries between those of the job belong to other jobs.
    """
    first = entries[0]
    return [] if first.seq == 1 else await store.history(first.tenant_id, first.seq - 2, 1)
