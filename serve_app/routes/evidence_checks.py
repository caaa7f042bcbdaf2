"""What an evidence report checks anew: the log's signed head, and proofs of some operations."""

import asyncio
import json
from collections.abc import Sequence

from accounting.ledger.entry import Entry
from accounting.ledger.merkle import MissingNodesError, root_at
from accounting.ledger.postgres_log import PostgresLog
from deployments.reporting.regulatory import HeadCheck, ProofCheck
from proofs.certificate import MalformedError
from proofs.checker import verify_document
from proofs.heads import read_head
from serve_app.auth.keys import HEADS, KeyRing
from serve_app.problems import Problem
from serve_app.routes.proofs import Prover


async def checked_head(log: PostgresLog, keys: KeyRing) -> HeadCheck | None:
    """The log's latest head, its signature checked and its root computed anew; None where none was published."""
    last = await log.last_head()
    if last is None:
        return None
    try:
        recomputed = await root_at(log.nodes, last.size) == last.root
    except MissingNodesError:
        recomputed = False
    try:
        head = read_head(last.signed, keys.published(HEADS))
    except MalformedError:
        return HeadCheck(last.size, last.root.hex(), None, signed=False, recomputed=recomputed)
    signed = (head.size, head.root) == (last.size, last.root.hex())
    return HeadCheck(last.size, last.root.hex(), head.at, signed=signed, recomputed=recomputed)


async def checked_proofs(prover: Prover, keys: KeyRing, openings: Sequence[Entry], operations: int) -> ProofCheck:
    """Proves operations and has each proof checked by the checker, which shares no code with what made it.

    Args:
        prover: Makes the proofs.
        keys: Of which each proof has to be signed by one that is published.
        openings: The entries that opened the operations.
        operations: Of how many these are a part.
    """
    trusted = keys.public_keys()["keys"]
    reasons: list[str] = []
    for opening in openings:
        try:
            document = await prover.prove_allocation(opening.tenant_id, opening.allocation_id or "")
        except (Problem, ValueError) as error:
            reasons.append(f"Entry {opening.seq} has no proof: {error}")
            continue
        report = await asyncio.to_thread(verify_document, json.dumps(document), trusted)
        if not report.valid:
            reasons.append(f"Entry {opening.seq}: {report.reasons[0]}")
    return ProofCheck(operations, len(openings), tuple(reasons))
