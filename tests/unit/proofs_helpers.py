"""A ledger as the service writes it, and documents that are wrong in exactly one way, signed again all the same."""

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accounting.charges import Cost, price
from accounting.conversion import mu_to_epsilon
from accounting.events import (
    Adjacency,
    ClaimEvent,
    ComposedEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    FixedSizeGaussianEvent,
    GaussianEvent,
    LaplaceEvent,
    ParallelEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    RandomizedResponseEvent,
    SelectionForm,
    SelfComposedEvent,
    ZCdpEvent,
)
from accounting.filters import Budget, Charge, FilterKind, Member, Share, budget
from accounting.ledger.canonical import GENESIS_HASH
from accounting.ledger.entry import Entry, EntryKind
from accounting.values import MAX_EPSILON, PrivacyLoss
from proofs.prover import prove_job
from proofs.signing import SigningKey

TENANT, JOB = "tenant-a", "job-1"
SIGNER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRANGER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
START = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
_VAST = PrivacyLoss(Decimal(3) * MAX_EPSILON, Decimal(3))
LARGE = Budget(_VAST, (Member(FilterKind.BASIC, Cost(_VAST.epsilon, _VAST.delta)),))
"""Basic composition alone, with room for anything."""
_PART = Decimal("0.001")
ALL_MEMBERS = budget(
    PrivacyLoss(Decimal(50), Decimal("0.01")),
    [
        Share(FilterKind.BASIC, 4 * _PART),
        Share(FilterKind.RENYI, _PART, _PART, 8),
        Share(FilterKind.ZCDP, _PART, _PART),
        Share(FilterKind.GDP, _PART, _PART),
    ],
)

CLAIM = ClaimEvent(Decimal("0.5"), Decimal("1e-6"))
LAPLACE = LaplaceEvent(Decimal(3), Decimal(1))
GAUSSIAN = GaussianEvent(Decimal("4.5"), Decimal("1.25"))
DELTA = Decimal("1e-6")

STEP_OF_SGD = PoissonGaussianEvent(Decimal("1.1"), Decimal(1), Decimal("0.01"))
SAMPLED = FixedSizeGaussianEvent(Decimal(2), Decimal(1), 50, 10_000)
COIN = RandomizedResponseEvent(Decimal("0.75"), 2)
GUMBEL = ExponentialEvent(Decimal(4), Decimal(1), SelectionForm.GUMBEL, monotonic=False)
COMPUTED = PrivacyLoss(Decimal(3), Decimal("1e-5"))
"""A price as accountants would give one; the proof takes their word for it."""
SINGLE: dict[str, tuple[Event, PrivacyLoss]] = {
    "claim": (CLAIM, price(CLAIM)),
    "zcdp": (ZCdpEvent(Decimal("0.07")), price(ZCdpEvent(Decimal("0.07")), DELTA)),
    "laplace": (LAPLACE, price(LAPLACE)),
    "discrete_laplace": (
        DiscreteLaplaceEvent(Decimal(7), Decimal(3)),
        price(DiscreteLaplaceEvent(Decimal(7), Decimal(3))),
    ),
    "gaussian": (GAUSSIAN, price(GAUSSIAN, DELTA)),
    "discrete_gaussian": (
        DiscreteGaussianEvent(Decimal(7), Decimal(2)),
        price(DiscreteGaussianEvent(Decimal(7), Decimal(2)), DELTA),
    ),
    "gumbel": (GUMBEL, price(GUMBEL)),
    "gumbel, large": (replace(GUMBEL, scale=Decimal("0.1")), price(replace(GUMBEL, scale=Decimal("0.1")))),
    "gumbel, monotonic": (replace(GUMBEL, monotonic=True), price(replace(GUMBEL, monotonic=True))),
    "permute and flip": (
        replace(GUMBEL, form=SelectionForm.PERMUTE_AND_FLIP),
        price(replace(GUMBEL, form=SelectionForm.PERMUTE_AND_FLIP)),
    ),
    "randomized_response": (COIN, price(COIN)),
    "poisson_laplace": (
        PoissonLaplaceEvent(Decimal(2), Decimal(1), Decimal("0.1")),
        price(PoissonLaplaceEvent(Decimal(2), Decimal(1), Decimal("0.1"))),
    ),
    "poisson_gaussian": (STEP_OF_SGD, COMPUTED),
    "poisson_gaussian, all": (replace(STEP_OF_SGD, sampling_probability=Decimal(1)), PrivacyLoss(Decimal(7), DELTA)),
    "fixed_size_gaussian": (SAMPLED, COMPUTED),
    "fixed_size_gaussian, all": (replace(SAMPLED, sample_size=10_000), COMPUTED),
}
TWO_PARTS = (("north", GAUSSIAN), ("south", GaussianEvent(Decimal(9), Decimal(1))))
COMPOSED: dict[str, tuple[Event, PrivacyLoss]] = {
    "many Gaussians": (
        SelfComposedEvent(GAUSSIAN, 100),
        PrivacyLoss(mu_to_epsilon(Fraction(25, 18) * 2, DELTA), DELTA),
    ),
    "training": (SelfComposedEvent(STEP_OF_SGD, 1000), COMPUTED),
    "pure and claims": (
        ComposedEvent((LAPLACE, SelfComposedEvent(COIN, 3), CLAIM)),
        PrivacyLoss(price(LAPLACE).epsilon + 3 * price(COIN).epsilon + CLAIM.epsilon, CLAIM.delta),
    ),
    "concentrated": (
        SelfComposedEvent(ComposedEvent((DiscreteGaussianEvent(Decimal(40), Decimal(1)), GUMBEL)), 4),
        PrivacyLoss(Decimal(5), DELTA),
    ),
    "mixed": (ComposedEvent((GAUSSIAN, STEP_OF_SGD, CLAIM)), COMPUTED),
    "partitions": (ParallelEvent(TWO_PARTS, adjacency=Adjacency.ADD_REMOVE), price(GAUSSIAN, DELTA)),
    "partitions, unstated": (ParallelEvent(TWO_PARTS), COMPUTED),
    "one partition": (ParallelEvent((("all", LAPLACE),)), price(LAPLACE)),
    "nested": (
        ParallelEvent((("a", SelfComposedEvent(ComposedEvent((LAPLACE, CLAIM)), 2)), ("b", COIN), ("c", COIN))),
        PrivacyLoss(2 * (price(LAPLACE).epsilon + CLAIM.epsilon) + price(COIN).epsilon, 2 * CLAIM.delta),
    ),
}
EVERY = SINGLE | COMPOSED
"""One example of everything, with its price."""


class Ledger:
    """One tenant's history, chained as the service chains it."""

    def __init__(self, budget: Budget = LARGE) -> None:
        first = Entry(
            tenant_id=TENANT,
            seq=1,
            kind=EntryKind.BUDGET_SET,
            at=START,
            budget=budget,
            spent=budget.nothing(),
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
        loss: PrivacyLoss | None = None,
        charge: Charge | None = None,
    ) -> Entry:
        """Charges the event at its price, or at another one; holds it where a time to live is given."""
        head = self.entries[-1]
        charged = charge or head.budget.charge(event, loss or price(event, delta))
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
        return self._append(self._ending(opening, EntryKind.COMMITTED, opening.budget.nothing()))

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

    def _ending(self, opening: Entry, kind: EntryKind, charge: Charge) -> Entry:
        return replace(
            self._next(), kind=kind, charge=charge, allocation_id=opening.allocation_id, job_id=opening.job_id
        )

    def _append(self, entry: Entry) -> Entry:
        self.entries.append(entry)
        return entry


def sample_ledger() -> Ledger:
    """A job with every rule, a committed hold and a voided one; an entry of another job stands between."""
    ledger = Ledger(ALL_MEMBERS)
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
