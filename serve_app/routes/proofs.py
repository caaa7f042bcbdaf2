"""``proof/{job_id}``: the certificates of a job, made from the ledger and the log when they are asked for."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import structlog
from fastapi import Depends, FastAPI
from starlette.responses import JSONResponse, Response

from accounting.ledger.entry import OPENING_KINDS, Entry
from accounting.ledger.merkle import MissingNodesError, inclusion_spans, roots_of
from accounting.ledger.postgres_proofs import PostgresProofReader
from accounting.ledger.store import LedgerStore
from proofs.certificate import Inclusion, Log, MalformedError
from proofs.heads import read_head
from proofs.prover import LogEvidence, TooLargeError, prove_job
from proofs.render.latex import render_latex
from proofs.signing import SigningKey
from serve_app.auth.principal import READERS, Principal
from serve_app.identifiers import TEXT_RULE, valid_text
from serve_app.problems import Code, Problem, invalid
from serve_app.routes.access import principal_by
from serve_app.service import Service, new_app

logger = structlog.get_logger()

MAX_ENTRIES = 10_000
"""Entries of one job that one document may prove. A total over some of them would be a false one."""


def create_proofs_app(service: Service) -> FastAPI:
    """The app that proves charges."""
    provers: list[Prover] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        keys = service.keys()
        async with service.store() as store:
            reader = await PostgresProofReader.open(service.database_url)
            try:
                provers.append(Prover(store, reader, keys.proof_key, keys.head_key.public_jwk))
                yield
            finally:
                await reader.close()

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
        document = await provers[-1].prove(asking.tenant(tenant_id), job_id)
        if format == "latex":
            text = await asyncio.to_thread(render_latex, document)
            return Response(text, media_type="application/x-latex")
        return JSONResponse(document)

    return app


class Prover:
    """Makes the proofs of jobs from what the ledger and the log have of them."""

    def __init__(
        self, store: LedgerStore, reader: PostgresProofReader, signer: SigningKey, head_key: dict[str, str]
    ) -> None:
        """Begins.

        Args:
            store: The ledger.
            reader: The log, and registrations.
            signer: Signs proofs.
            head_key: The public key that the log's heads are signed with, as a JWK.
        """
        self._store = store
        self._reader = reader
        self._signer = signer
        self._head_key = head_key

    async def prove(self, tenant_id: str, job_id: str) -> dict[str, Any]:
        """The proof document of a job.

        Raises:
            Problem: `Code.NOT_FOUND` if the tenant has no allocation of that job; `Code.TOO_LARGE` if it has too many.
            StoreUnavailableError: If the ledger did not answer.
        """
        entries = await self._store.job(tenant_id, job_id, MAX_ENTRIES + 1)
        openings = [entry for entry in entries if entry.kind in OPENING_KINDS]
        if not openings:
            raise Problem(Code.NOT_FOUND, "The tenant has no allocation of that job.", {"field": "job_id"})
        if len(entries) > MAX_ENTRIES:
            detail = f"The job has more than {MAX_ENTRIES} ledger entries, too many for one document."
            raise Problem(Code.TOO_LARGE, detail)
        neighbours = await self._neighbours(entries)
        registrations = await self._reader.registrations(tenant_id, openings)
        evidence = await self.inclusion_of([*entries, *registrations])
        try:
            return await asyncio.to_thread(prove_job, entries, self._signer, neighbours, registrations, evidence)
        except TooLargeError as error:
            raise Problem(Code.TOO_LARGE, str(error)) from None

    async def inclusion_of(self, entries: Sequence[Entry]) -> LogEvidence | None:
        """What the log says of entries of one tenant under its latest head; None while it has none.

        A proof is whole without it: an entry that the head does not know yet is not in the evidence, and the document
        says so.
        """
        head = await self._reader.last_head()
        if head is None:
            return None
        positions = await self._reader.positions(entries[0].tenant_id, [entry.seq for entry in entries])
        known = {seq: position for seq, position in positions.items() if position < head.size}
        try:
            read_head(head.signed, [self._head_key])
            spans = {seq: inclusion_spans(position, head.size) for seq, position in known.items()}
            # All at once: neighbouring entries need the same parts of the tree.
            roots = iter(await roots_of([span for path in spans.values() for span in path], self._reader.nodes))
        except (MalformedError, MissingNodesError) as error:
            logger.warning("log_not_proved", size=head.size, error=str(error))
            return None
        paths = {seq: tuple(next(roots).hex() for _ in path) for seq, path in spans.items()}
        places = {seq: Inclusion(position, paths[seq]) for seq, position in known.items()}
        return LogEvidence(Log(head.signed, self._head_key), places)

    async def _neighbours(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entry before the job's first, so that the balance it starts from can be checked against the chain.

        Only that one: the entries between those of the job belong to other jobs.
        """
        first = entries[0]
        return [] if first.seq == 1 else await self._store.history(first.tenant_id, first.seq - 2, 1)
