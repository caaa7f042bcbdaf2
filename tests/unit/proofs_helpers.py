"""A ledger as the service writes it, and documents that are wrong in exactly one way, signed again all the same."""

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accounting.admission import Outcome, Verdict
from accounting.charges import Cost, price
from accounting.conversion import mu_to_epsilon
from accounting.datasets import Dataset, DatasetState
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
from accounting.ledger.canonical import sha256
from accounting.ledger.entry import ENTRY_VERSION, DatasetBalance, Entry, EntryKind, entry_from_body
from accounting.ledger.merkle import inclusion_spans, leaf_hash, tree_root
from accounting.ledger.state import fold
from accounting.policy import (
    SetBudget,
    SetDataset,
    SetLegalHold,
    decide_budget,
    decide_dataset,
    decide_legal_hold,
    renewal,
)
from accounting.settlement import Settle, decide_settlement
from accounting.values import MAX_EPSILON, PrivacyLoss
from proofs.certificate import Inclusion, Log
from proofs.checker import Report, verify_document
from proofs.heads import Head, sign_head
from proofs.prover import LogEvidence, prove_job
from proofs.signing import SigningKey

TENANT, JOB = "tenant-a", "job-1"
SIGNER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
PUBLISHER = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))))
"""Signs heads of the log."""
OPERATOR = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35))))
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
"""A price as accountants would give one, with room for what is derived."""
TIGHTEST = PrivacyLoss(Decimal("1.515370260336"), Decimal("1e-5"))
"""That of a thousand steps by the distribution of their loss: less than can be derived, so their word is taken."""
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
    "training, tightest": (SelfComposedEvent(STEP_OF_SGD, 1000), TIGHTEST),
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
    """One tenant's history, chained as the service chains it. Only `allocate` admits what the service would not."""

    def __init__(self, budget: Budget = LARGE, renewal_days: int | None = None, version: int = ENTRY_VERSION) -> None:
        self.version = version
        self.now = START
        self.entries: list[Entry] = []
        self._decided(decide_budget(None, SetBudget(TENANT, budget, "admin", renewal_days=renewal_days), self.now))

    def allocate(
        self,
        event: Event,
        delta: Decimal = Decimal(0),
        *,
        job_id: str = JOB,
        ttl_seconds: int | None = None,
        loss: PrivacyLoss | None = None,
        charge: Charge | None = None,
        on: tuple[str, str | None] | None = None,
    ) -> Entry:
        """Charges the event at its price, or at another one; holds it where a time to live is given.

        Args:
            event: The event.
            delta: The delta to price it at.
            job_id: The job.
            ttl_seconds: How long it is held; None to spend at once.
            loss: Another price than the event's.
            charge: Another charge than the members count.
            on: A registered data set, and a partition of it or None, that is charged as well.
        """
        head = self.entries[-1]
        priced = loss or price(event, delta)
        charged = charge or head.budget.charge(event, priced)
        details: dict[str, str | int] = {"purpose": "größe 😀 \u2028 \x7f\n\x00\x08\x0c\x1b"}
        if ttl_seconds is not None and self.version < 3:
            details["ttl_seconds"] = ttl_seconds
        return self.append(
            replace(
                head,
                seq=head.seq + 1,
                kind=EntryKind.CONSUMED if ttl_seconds is None else EntryKind.HELD,
                at=self.now,
                spent=head.spent.plus(charged),
                held=head.held if ttl_seconds is None else head.held.plus(charged),
                lifetime=head.lifetime.plus(charged),
                operations=head.operations + 1,
                prev_hash=head.hash,
                charge=charged,
                event=event,
                allocation_id=f"00000000-0000-4000-8000-{head.seq:012d}",
                job_id=job_id,
                source_engine="tabular",
                idempotency_key=f"key-{head.seq}",
                request_hash="00" * 32,
                details=details,
                actor="engine",
                due_at=None if ttl_seconds is None else self.now + timedelta(seconds=ttl_seconds),
                dataset=None if on is None else self._charged(event, priced, *on),
                crossed=(),
                version=self.version,
            )
        )

    def commit(self, opening: Entry, steps: int | None = None) -> Entry:
        """Makes a hold final, for some of its repetitions only where steps are given."""
        return self._settle(opening, EntryKind.COMMITTED, steps=steps)

    def void(self, opening: Entry) -> Entry:
        """Takes a hold back."""
        return self._settle(opening, EntryKind.VOIDED)

    def expire(self, opening: Entry) -> Entry:
        """Lets a hold's time pass, and ends it."""
        assert opening.due_at is not None
        self.now = max(self.now, opening.due_at)
        # A second passes with each entry, and another window may end in it.
        while self.wait(0) is not None:
            pass
        return self._settle(opening, EntryKind.EXPIRED_SPENT)

    def adjust(self, opening: Entry, operator: SigningKey | None = None, **claims: str) -> Entry:
        """Takes back what had ended, on an operator's statement."""
        said = {"tenant_id": TENANT, "allocation_id": str(opening.allocation_id), "reason": "an empty table"}
        said |= {"evidence": "its count", "at": "2026-01-02T03:04:05Z"} | claims
        statement = (operator or OPERATOR).sign(json.dumps(said, sort_keys=True, separators=(",", ":")).encode())
        return self._settle(opening, EntryKind.ADJUSTED, statement=statement)

    def wait(self, days: int) -> Entry | None:
        """Lets days pass, and a new window begin if one is due."""
        self.now += timedelta(days=days)
        renewed = renewal(self.entries[-1], self.now)
        return None if renewed is None else self.append(renewed)

    def set_budget(self, promise: PrivacyLoss, renewal_days: int | None = None) -> Entry:
        """Raises the budget, or changes its windows."""
        wished = replace(self.entries[-1].budget, promise=promise)
        request = SetBudget(TENANT, wished, "admin", renewal_days=renewal_days, renewal_stated=True)
        return self._decided(decide_budget(self.entries[-1], request, self.now))

    def register(self, dataset: Dataset, budget: Budget) -> Entry:
        """Registers a data set, raises its budget or adds partitions."""
        request = SetDataset(TENANT, dataset, budget, "admin")
        return self._decided(decide_dataset(self.entries[-1], self._dataset(dataset.dataset_id), request, self.now))

    def legal_hold(self, in_force: bool) -> Entry:
        """Places or lifts a legal hold."""
        request = SetLegalHold(TENANT, in_force, "a court asked", "admin")
        return self._decided(decide_legal_hold(self.entries[-1], request, self.now))

    def job(self, job_id: str = JOB) -> list[Entry]:
        """The entries of a job, as a store gives them."""
        return [entry for entry in self.entries if entry.job_id == job_id]

    def others(self, job_id: str = JOB) -> list[Entry]:
        """All other entries."""
        return [entry for entry in self.entries if entry.job_id != job_id]

    def proof(self, evidence: LogEvidence | None = None, *, alone: bool = False) -> dict[str, Any]:
        """The proof of the job, with the whole history beside it unless it shall stand alone."""
        registrations = [entry for entry in self.entries if entry.kind is EntryKind.DATASET_SET]
        others = [] if alone else self.others()
        return copy.deepcopy(prove_job(self.job(), SIGNER, others, registrations, evidence))

    def append(self, entry: Entry) -> Entry:
        """Adds an entry, as the service reads it again; a second passes."""
        self.entries.append(entry_from_body(replace(entry, version=self.version).body))
        self.now += timedelta(seconds=1)
        return self.entries[-1]

    def _settle(
        self, opening: Entry, kind: EntryKind, *, steps: int | None = None, statement: str | None = None
    ) -> Entry:
        assert opening.allocation_id is not None
        history = tuple(entry for entry in self.entries if entry.allocation_id == opening.allocation_id)
        request = Settle(TENANT, opening.allocation_id, kind, "engine", history, steps, statement)
        dataset = None if opening.dataset is None else self._dataset(opening.dataset.dataset_id)
        return self._decided(decide_settlement(self.entries[-1], request, self.now, dataset))

    def _decided(self, verdict: Verdict) -> Entry:
        assert verdict.outcome is Outcome.ADMITTED, verdict
        (entry,) = verdict.entries
        return self.append(entry)

    def _dataset(self, name: str) -> DatasetState | None:
        state = fold(self.entries)
        assert state is not None
        return state.datasets.get(name)

    def _charged(self, event: Event, loss: PrivacyLoss, name: str, partition: str | None) -> DatasetBalance:
        state = self._dataset(name)
        assert state is not None
        charge = state.budget.charge(event, loss)
        return DatasetBalance(
            name,
            partition,
            state.budget,
            state.spent_on(partition).plus(charge),
            charge,
            exposed=state.exposure(partition).plus(charge),
        )


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


PATIENTS = Dataset("patients", "patient", Adjacency.ADD_REMOVE, ("north", "south"), "by hospital")
VISITS = Dataset("visits", "visit", Adjacency.REPLACE_ONE, ("2024", "2025", "2026"), "by year of the visit")
MANY_LAPLACES = SelfComposedEvent(LAPLACE, 10)
TEN_LAPLACES = PrivacyLoss(10 * price(LAPLACE).epsilon, Decimal(0))
"""What basic composition charges for them: each by itself."""
MANY_GAUSSIANS = SelfComposedEvent(GAUSSIAN, 100)
WIDE = budget(
    PrivacyLoss(Decimal(500), Decimal("0.1")),
    [
        Share(FilterKind.BASIC, Decimal("0.05")),
        Share(FilterKind.RENYI, Decimal("0.01"), Decimal("0.01"), 4),
        Share(FilterKind.ZCDP, Decimal("0.01"), Decimal("0.01")),
    ],
)
"""Room for everything that happens in `eventful_ledger`."""


def eventful_ledger() -> Ledger:
    """A history with every kind of entry: windows, data sets with parts, and every way in which an allocation ends."""
    ledger = Ledger(WIDE, renewal_days=30)
    ledger.register(PATIENTS, ALL_MEMBERS)
    ledger.register(VISITS, WIDE)
    ledger.allocate(CLAIM, on=("patients", None))
    ledger.allocate(LAPLACE, on=("patients", "north"))
    ledger.allocate(GAUSSIAN, DELTA, on=("patients", "south"))
    across = ledger.allocate(LAPLACE, ttl_seconds=40 * 86_400, on=("patients", "north"))
    partly = ledger.allocate(MANY_LAPLACES, loss=TEN_LAPLACES, ttl_seconds=3_600, on=("visits", "2024"))
    ledger.allocate(CLAIM, on=("visits", "2025"))
    ledger.allocate(CLAIM, on=("visits", "2026"))
    ledger.commit(partly, steps=4)
    voided = ledger.allocate(GAUSSIAN, DELTA, ttl_seconds=3_600, on=("visits", None))
    ledger.void(voided)
    ledger.allocate(CLAIM, job_id="another")
    ledger.legal_hold(True)
    whole = ledger.allocate(MANY_GAUSSIANS, loss=EVERY["many Gaussians"][1], ttl_seconds=60)
    ledger.commit(whole, steps=30)
    ledger.wait(35)
    ledger.set_budget(replace(WIDE.promise, epsilon=Decimal(600)), 30)
    ledger.register(replace(PATIENTS, partitions=("north", "south", "west")), ALL_MEMBERS)
    ledger.allocate(LAPLACE, on=("patients", "west"))
    ledger.expire(across)
    ledger.adjust(across)
    ledger.adjust(partly)
    ledger.adjust(ledger.allocate(CLAIM))
    ledger.legal_hold(False)
    ledger.wait(65)
    ledger.commit(ledger.allocate(LAPLACE, ttl_seconds=60))
    ledger.set_budget(replace(WIDE.promise, epsilon=Decimal(600)), 7)
    ledger.wait(10)
    ledger.set_budget(replace(WIDE.promise, epsilon=Decimal(600)), None)
    ledger.allocate(CLAIM)
    return ledger


def evidence_of(entries: Sequence[Entry], before: int = 0, after: int = 0) -> LogEvidence:
    """What a log says that holds these entries, among others."""
    others = [sha256(f"another tenant's entry {number}") for number in range(before + after)]
    hashes = [*others[:before], *(entry.hash for entry in entries), *others[before:]]
    leaves = [leaf_hash(data) for data in hashes]
    places = {}
    for at, entry in enumerate(entries, start=before):
        spans = inclusion_spans(at, len(leaves))
        places[entry.seq] = Inclusion(at, tuple(tree_root(leaves[span.start : span.stop]).hex() for span in spans))
    head = Head("00000000-0000-4000-8000-000000000abc", len(leaves), tree_root(leaves).hex(), START)
    return LogEvidence(Log(sign_head(head, PUBLISHER), PUBLISHER.public_jwk), places)


def sample() -> dict[str, Any]:
    """The proof of `sample_ledger`'s job, with its whole history beside it. A fresh copy each time."""
    return sample_ledger().proof()


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


def entries_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every entry in a document, in order of position."""
    found = [*document["neighbours"], *document["registrations"]]
    for certificate in document["certificates"]:
        found += [certificate["entry"], *certificate["later"]]
    return sorted(found, key=lambda entry: int(entry["seq"]))


def lie(document: dict[str, Any], seq: int, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Changes one body of a whole history, and makes all hashes fit: what is wrong now is what it says."""
    before = ""

    def link(body: dict[str, Any]) -> None:
        if body["seq"] == seq:
            change(body)
        if before:
            body["prev_hash"] = before

    for entry in entries_of(document):
        with_body(entry, link)
        before = entry["hash"]
    return document


def accepted(document: dict[str, Any], **keys: Any) -> Report:  # noqa: ANN401 - keys as `verify_document` takes them
    """Signs the document again, and it is valid."""
    report = verify_document(signed(document), **keys)
    assert report.valid, report.reasons
    return report


def refused(document: dict[str, Any], reason: str, **keys: Any) -> Report:  # noqa: ANN401 - likewise
    """Signs the document again, so that only what is wrong with it can be found wrong; the reason is among those."""
    report = verify_document(signed(document), **keys)
    assert not report.valid
    assert any(reason in found for found in report.reasons), report.reasons
    assert not any("could not be completed" in found for found in report.reasons), report.reasons
    assert (report.epsilon, report.delta, report.facts) == (None, None, [])
    return report
