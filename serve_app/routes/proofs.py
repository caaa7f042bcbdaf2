"""``proof``: certificates of jobs, allocations, histories and plans, made when they are asked for."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import structlog
from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from accounting.event_wire import event_from_wire
from accounting.ledger.by_home import ByHome, Ledgers
from accounting.ledger.entry import OPENING_KINDS, Entry
from accounting.ledger.merkle import MissingNodesError, inclusion_spans, roots_of
from accounting.ledger.postgres_proofs import PostgresProofReader
from accounting.values import PrivacyLoss
from proofs.certificate import Inclusion, Log, MalformedError
from proofs.heads import read_head
from proofs.prover import LogEvidence, TooLargeError, prove_allocation, prove_history, prove_job, prove_plan
from proofs.render import formats
from proofs.render.pdf import RenderingError
from serve_app.auth.keys import HEADS, KeyRing
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.identifiers import TEXT_RULE, valid_text
from serve_app.observing import catalogue
from serve_app.observing.process import timed
from serve_app.observing.requests import about
from serve_app.problems import Code, Problem, invalid
from serve_app.routes.access import permission_by
from serve_app.service import Service, new_app

logger = structlog.get_logger()

MAX_ENTRIES = 10_000
"""Entries that one document may prove. A total over some of them would be a false one."""
Form = Literal["json", "latex", "html", "pdf"]


def create_proofs_app(service: Service) -> FastAPI:
    """The app that proves charges."""
    provers: list[ByHome[Prover]] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.databases() as databases:
            logs = await databases.each(lambda urls: PostgresProofReader.open(urls.service))
            keys = service.keys()
            parts = {name: Prover(databases.ledgers, log, keys) for name, log in logs.items()}
            provers.append(ByHome(parts, databases.homes))
            yield

    app = new_app("Proofs", lifespan, service.settings, service.trail())
    may = permission_by(service.verifier())

    @app.get("/", summary="The proof of one allocation, of a plan, or of the tenant's whole history")
    async def proof_of(
        asking: Annotated[Principal, may(Action.READ_PROOFS)],
        allocation_id: str | None = None,
        plan_id: str | None = None,
        history: bool = False,
        format: Form = "json",  # noqa: A002 - the interface's own word
        tenant_id: str | None = None,
    ) -> Response:
        tenant = asking.tenant(tenant_id, Action.READ_PROOFS)
        if (allocation_id is not None) + (plan_id is not None) + history != 1:
            reason = "or plan_id or history=true: name one thing to prove; a job's proof is at its name"
            raise invalid("allocation_id", reason)
        prover = await provers[-1].seen(tenant)
        with timed(catalogue.PROOF_SECONDS, format):
            if allocation_id is not None:
                document = await prover.prove_allocation(tenant, allocation_id)
            elif plan_id is not None:
                document = await prover.prove_plan(tenant, plan_id)
            else:
                document = await prover.prove_history(tenant)
            return await _answer(document, format)

    @app.get("/{job_id:path}", summary="The proof of a job: a JSON document to check, or a derivation to read")
    async def proof(
        job_id: str,
        asking: Annotated[Principal, may(Action.READ_PROOFS)],
        format: Form = "json",  # noqa: A002 - the interface's own word
        tenant_id: str | None = None,
    ) -> Response:
        if not valid_text(job_id):
            raise invalid("job_id", TEXT_RULE)
        about(job_id=job_id)
        tenant = asking.tenant(tenant_id, Action.READ_PROOFS)
        with timed(catalogue.PROOF_SECONDS, format):
            document = await (await provers[-1].seen(tenant)).prove_job(tenant, job_id)
            return await _answer(document, format)

    return app


async def _answer(document: dict[str, Any], form: Form) -> Response:
    if form == "json":
        return JSONResponse(document)
    try:
        content, media_type = await asyncio.to_thread(formats.rendered, document, form)
    except RenderingError as error:
        logger.error("proof_not_rendered", form=form, error=str(error))
        detail = (
            f"The proof could not be written as {form}. Take another format; the JSON document is the proof itself."
        )
        raise Problem(Code.INTERNAL, detail) from None
    return Response(content, media_type=media_type)


class Prover:
    """Makes proofs from what the ledger and the log have.

    Each of its proofs raises a `Problem`: `Code.NOT_FOUND` where the tenant has nothing of that name, `Code.TOO_LARGE`
    where it is too much for one document; and `StoreUnavailableError` if the ledger did not answer.
    """

    def __init__(self, store: Ledgers, reader: PostgresProofReader, keys: KeyRing) -> None:
        """Begins.

        Args:
            store: The ledger.
            reader: The log, and registrations.
            keys: Of which the present one signs proofs, and any published one may have signed the log's head.
        """
        self._store = store
        self._reader = reader
        self._keys = keys

    async def prove_job(self, tenant_id: str, job_id: str) -> dict[str, Any]:
        """The proof document of all allocations of a job."""
        entries = await self._store.job(tenant_id, job_id, MAX_ENTRIES + 1)
        if not any(entry.kind in OPENING_KINDS for entry in entries):
            raise Problem(Code.NOT_FOUND, "The tenant has no allocation of that job.", {"field": "job_id"})
        return await self._prove_charges(prove_job, entries)

    async def prove_allocation(self, tenant_id: str, allocation_id: str) -> dict[str, Any]:
        """The proof document of one allocation."""
        entries = await self._store.allocation(tenant_id, allocation_id)
        if not entries:
            raise Problem(Code.NOT_FOUND, "The tenant has no allocation of that id.", {"field": "allocation_id"})
        return await self._prove_charges(prove_allocation, entries)

    async def prove_history(self, tenant_id: str) -> dict[str, Any]:
        """The proof document of all that the tenant's history holds."""
        entries = await self._store.history(tenant_id, 0, MAX_ENTRIES + 1)
        if not entries:
            raise Problem(Code.NOT_FOUND, "The tenant has no history.", {"field": "tenant_id"})
        _check_size(entries)
        evidence = await self.inclusion_of(entries)
        return await _in_a_thread(prove_history, entries, self._keys.proof_key, evidence)

    async def prove_plan(self, tenant_id: str, plan_id: str) -> dict[str, Any]:
        """The proof document of what a plan would cost."""
        try:
            stored = await self._store.plan(tenant_id, str(UUID(plan_id)))
        except ValueError:
            stored = None
        if stored is None:
            raise Problem(Code.NOT_FOUND, "The tenant has no plan of that id.", {"field": "plan_id"})
        plan = json.loads(stored)
        price = next((each for each in plan["theorems"] if each["name"] == plan["tightest"]), None)
        if price is None or "event" not in plan:
            raise Problem(Code.NOT_FOUND, "The plan has no price that could be proved.", {"field": "plan_id"})
        loss = PrivacyLoss(Decimal(price["total_epsilon"]), Decimal(price["total_delta"]))
        event = event_from_wire(plan["event"])
        return await _in_a_thread(prove_plan, tenant_id, plan["plan_id"], event, loss, self._keys.proof_key)

    async def _prove_charges(self, prove: Callable[..., dict[str, Any]], entries: Sequence[Entry]) -> dict[str, Any]:
        """A proof of some of a tenant's allocations, with what else it takes."""
        _check_size(entries)
        openings = [entry for entry in entries if entry.kind in OPENING_KINDS]
        neighbours = await self._neighbours(entries)
        registrations = await self._reader.registrations(entries[0].tenant_id, openings)
        evidence = await self.inclusion_of([*entries, *registrations])
        return await _in_a_thread(prove, entries, self._keys.proof_key, neighbours, registrations, evidence)

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
            key = key_of(head.signed, self._keys.published(HEADS))
            spans = {seq: inclusion_spans(position, head.size) for seq, position in known.items()}
            # All at once: neighbouring entries need the same parts of the tree.
            roots = iter(await roots_of([span for path in spans.values() for span in path], self._reader.nodes))
        except (MalformedError, MissingNodesError) as error:
            logger.warning("log_not_proved", size=head.size, error=str(error))
            return None
        paths = {seq: tuple(next(roots).hex() for _ in path) for seq, path in spans.items()}
        places = {seq: Inclusion(position, paths[seq]) for seq, position in known.items()}
        return LogEvidence(Log(head.signed, key), places)

    async def _neighbours(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entry before the first, so that the balance it starts from can be checked against the chain.

        Only that one: the entries in between are other allocations.
        """
        first = entries[0]
        return [] if first.seq == 1 else await self._store.history(first.tenant_id, first.seq - 2, 1)


def key_of(head: str, keys: Sequence[dict[str, str]]) -> dict[str, str]:
    """The key that signed a head of the log.

    Raises:
        MalformedError: If it is none of them, or what is signed is no head.
    """
    for key in reversed(keys[1:]):
        try:
            read_head(head, [key])
        except MalformedError:
            continue
        return key
    read_head(head, keys[:1])
    return keys[0]


def _check_size(entries: Sequence[Entry]) -> None:
    if len(entries) > MAX_ENTRIES:
        detail = f"That has more than {MAX_ENTRIES} ledger entries, too many for one document."
        raise Problem(Code.TOO_LARGE, detail)


async def _in_a_thread(prove: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """The proof, made beside the event loop."""
    try:
        return await asyncio.to_thread(prove, *arguments)
    except TooLargeError as error:
        raise Problem(Code.TOO_LARGE, str(error)) from None
