"""Publishes heads: signs what the log is now, shows it to the witness, and only then to everybody."""

from datetime import datetime

from accounting.ledger.heads import Log, StoredHead
from accounting.ledger.merkle import EMPTY_ROOT, consistency_proof
from deployments.outbox.witness import Witness
from proofs.heads import Head, head_of, sign_head
from proofs.signing import SigningKey


async def publish_head(log: Log, witness: Witness, key: SigningKey, at: datetime) -> Head | None:
    """Publishes the log's head, if the log has grown since the last one.

    Args:
        log: The log, with a recorder's login.
        witness: Takes the head only if it continues the last one.
        key: Signs heads.
        at: The moment that the head names.

    Returns:
        The head; None if there was nothing new.

    Raises:
        WitnessError: If the log does not continue the last head: see `deployments.outbox.guard`.
        StoreUnavailableError: If the log did not answer.
    """
    last, head = witness.head(), await head_of(log, at)
    known = (head.log_id, 0, EMPTY_ROOT.hex()) if last is None else (last.log_id, last.size, last.root)
    if (head.log_id, head.size, head.root) == known:
        return None
    # A log that went back has no proof to offer, and the witness says so.
    first = last.size if last is not None and last.size <= head.size else 0
    proof = await consistency_proof(log.nodes, first, head.size)
    signed = sign_head(head, key)
    # Whoever sees a head can hold the service to it, so the witness has it first.
    witness.advance(signed, proof)
    await log.store_head(StoredHead(head.size, bytes.fromhex(head.root), signed))
    return head
