"""A ledger as the service writes it, and documents that are wrong in exactly one way, signed again all the same."""

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accounting.charges import price
from accounting.events import ClaimEvent, Event, GaussianEvent, LaplaceEvent
from accounting.ledger.canonical import GENESIS_HASH
from accounting.ledger.entry import Entry, EntryKind
from accounting.values import MAX_EPSILON, NO_LOSS, PrivacyLoss
from proofs.prover import prove_job
from proofs.signing import SigningKey

TENANT, JOB = "tenant-a", "job-1"
SIGNER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRANGER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
START = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
LARGE = PrivacyLoss(Decimal(3) * MAX_EPSILON, Decimal(3))

CLAIM = ClaimEvent(Decimal("0.5"), Decimal("1e-6"))
LAPLACE = LaplaceEvent(Decimal(3), Decimal(1))
GAUSSIAN = GaussianEvent(Decimal("4.5"), Decimal("1.25"))
DELTA = Decimal("1e-6")


class Ledger:
    """One tenant's history, chained as the service chains it."""

    def __init__(self, budget: PrivacyLoss = LARGE) -> None:
        first = Entry(
            tenant_id=TENANT,
            seq=1,
            kind=EntryKind.BUDGET_SET,
            at=START,
            budget=budget,
            spent=NO_LOSS,
            operations=0,
            period_start=START,
            prev_hash=GENESIS_HASH,
            actor="admin",
        )
        self.entries = [first]

    def allocate(
        self,
        event: Event,
        delta: Decimal = Decimal(0),
        *,
        job_id: str = JOB,
        ttl_seconds: int | None = None,
        charge: PrivacyLoss | None = None,
    ) -> Entry:
        """Charges the event at its price, or at another charge; holds it where a time to live is given."""
        head = self.entries[-1]
        charged = price(event, delta) if charge is None else charge
        details: dict[str, str | int] = {"purpose": "größe 😀 \u2028 \x7f\n\x00\x08\x0c\x1b"}
        return self._append(
            replace(
                self._next(),
                kind=EntryKind.CONSUMED if ttl_seconds is None else EntryKind.HELD,
                spent=head.spent.plus(charged),
                operations=head.operations + 1,
                charge=charged,
                event=event,
                allocation_id=f"00000000-0000-4000-8000-{head.seq:012d}",
                job_id=job_id,
                idempotency_key=f"key-{head.seq}",
                request_hash="00" * 32,
                details=details if ttl_seconds is None else {**details, "ttl_seconds": ttl_seconds},
            )
        )

    def commit(self, opening: Entry) -> Entry:
        """Makes a hold final."""
        return self._append(self._ending(opening, EntryKind.COMMITTED, NO_LOSS))

    def void(self, opening: Entry) -> Entry:
        """Takes a hold back."""
        assert opening.charge is not None
        head = self.entries[-1]
        ending = self._ending(opening, EntryKind.VOIDED, opening.charge)
        return self._append(replace(ending, spent=head.spent.minus(opening.charge), operations=head.operations - 1))

    def job(self, job_id: str = JOB) -> list[Entry]:
        """The entries of a job, as a store gives them."""
        return [entry for entry in self.entries if entry.job_id == job_id]

    def others(self, job_id: str = JOB) -> list[Entry]:
        """All other entries."""
        return [entry for entry in self.entries if entry.job_id != job_id]

    def _next(self) -> Entry:
        head = self.entries[-1]
        return Entry(
            tenant_id=TENANT,
            seq=head.seq + 1,
            kind=EntryKind.CONSUMED,
            at=head.at + timedelta(seconds=1),
            budget=head.budget,
            spent=head.spent,
            operations=head.operations,
            period_start=START,
            prev_hash=head.hash,
            source_engine="tabular",
            actor="engine",
        )

    def _ending(self, opening: Entry, kind: EntryKind, charge: PrivacyLoss) -> Entry:
        return replace(
            self._next(), kind=kind, charge=charge, allocation_id=opening.allocation_id, job_id=opening.job_id
        )

    def _append(self, entry: Entry) -> Entry:
        self.entries.append(entry)
        return entry


def sample_ledger() -> Ledger:
    """A job with every rule, a committed hold and a voided one; an entry of another job stands between."""
    ledger = Ledger()
    ledger.allocate(CLAIM)
    ledger.allocate(LAPLACE)
    ledger.allocate(CLAIM, job_id="another")
    ledger.allocate(GAUSSIAN, DELTA)
    committed = ledger.allocate(CLAIM, ttl_seconds=60)
    voided = ledger.allocate(LAPLACE, ttl_seconds=60)
    ledger.commit(committed)
    ledger.void(voided)
    return ledger


def sample() -> dict[str, Any]:
    """The proof of `sample_ledger`'s job, with its whole history beside it. A fresh copy each time."""
    ledger = sample_ledger()
    return copy.deepcopy(prove_job(ledger.job(), SIGNER, ledger.others()))


def signed(document: dict[str, Any], signer: SigningKey = SIGNER) -> str:
    """The document's text with a fresh signature: whatever is wrong with it is not the signature."""
    unsigned = {name: value for name, value in document.items() if name != "signature"}
    return text_of({**unsigned, "signature": signer.sign(rfc8785.dumps(unsigned), detached=True)})


def text_of(document: object) -> str:
    """Canonical JSON text."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def with_body(entry: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the body of a document's chain entry and hashes it again."""
    body = json.loads(entry["body"])
    change(body)
    entry["body"] = text_of(body)
    entry["hash"] = hashlib.sha256(entry["body"].encode()).hexdigest()
