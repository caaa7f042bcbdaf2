"""What clients ask for: a small menu of operations, so that prices repeat and cost little."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from accounting.admission import Allocate, Limits, Verdict
from accounting.events import Adjacency, ClaimEvent, Event, GaussianEvent, LaplaceEvent, SelfComposedEvent
from accounting.filters import Budget, FilterKind, Share, basic_budget, budget, budget_for_claims
from accounting.ledger.canonical import sha256
from accounting.ledger.entry import Entry, EntryKind
from accounting.plans import price
from accounting.policy import Renew, SetBudget, SetDataset, SetLegalHold
from accounting.values import PrivacyLoss
from deployments.budget.owner import BudgetOwner

LIMITS = Limits(Decimal(2), {"healthcare": Decimal("0.5")})
GAUSSIAN_DELTA = Decimal("1e-7")


@dataclass(frozen=True, slots=True)
class End:
    """A request to end an allocation; see `BudgetOwner.settle`."""

    tenant_id: str
    allocation_id: str
    kind: EntryKind
    steps: int | None = None
    statement: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A request for the tenant's balance."""

    tenant_id: str


Request = Allocate | SetBudget | Renew | SetDataset | SetLegalHold | End | Read
Answer = Verdict | Entry | None


class Failure(StrEnum):
    """Why a caller has no answer. Its request may have been carried out, except where the owner refused it."""

    SILENCE = "silence"
    UNREACHABLE = "unreachable"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    HALTED = "halted"
    HUNG_UP = "hung up"


@dataclass(slots=True)
class Operation:
    """What a client did, as the client saw it.

    Attributes:
        request: What it asked for.
        invoked: Virtual time at its first attempt.
        answered: Virtual time at which it was answered, or gave up.
        answer: What it was told.
        attempts: How often it asked.
    """

    request: Request
    invoked: float
    answered: float
    answer: Answer | Failure
    attempts: int


async def serve(owner: BudgetOwner, request: Request) -> Answer:
    """What the service does for a request."""
    match request:
        case End():
            return await owner.settle(
                request.tenant_id,
                request.allocation_id,
                request.kind,
                "engine",
                steps=request.steps,
                statement=request.statement,
            )
        case Read():
            return await owner.balance(request.tenant_id, "viewer")
        case _:
            return await owner.submit(request)


def describe(request: Request) -> str:
    """A request in a few words."""
    match request:
        case Allocate():
            place = "" if request.dataset_id is None else f" on {request.dataset_id}/{request.partition}"
            mode = "consume" if request.ttl_seconds is None else f"hold {request.ttl_seconds}s"
            return f"{mode} {request.loss.epsilon} under {request.key} of {request.tenant_id}{place}"
        case End():
            steps = "" if request.steps is None else f" after {request.steps}"
            return f"{request.kind}{steps} {request.allocation_id[:8]} of {request.tenant_id}"
        case SetBudget():
            return f"budget {request.budget.promise.epsilon} every {request.renewal_days} of {request.tenant_id}"
        case SetDataset():
            parts = len(request.dataset.partitions)
            return f"{request.dataset_id} {request.budget.promise.epsilon} in {parts} of {request.tenant_id}"
        case SetLegalHold():
            return f"legal hold {request.in_force} of {request.tenant_id}"
        case _:
            return f"{type(request).__name__.lower()} {request.tenant_id}"


@lru_cache(maxsize=65_536)
def loss_of(event: Event) -> PrivacyLoss:
    """The price that clients are quoted for an event."""
    match event:
        case ClaimEvent():
            return PrivacyLoss(event.epsilon, event.delta)
        case GaussianEvent() | SelfComposedEvent(event=GaussianEvent()):
            return price(event, GAUSSIAN_DELTA)
        case _:
            return price(event)


def claim(epsilon: str, delta: str = "0") -> ClaimEvent:
    """A plain claim."""
    return ClaimEvent(Decimal(epsilon), Decimal(delta))


DATASETS = ("cohort", "cohort", "survey", "survey", "archive")
"""Names that clients use; the last is never registered."""
COMMON: tuple[Event, ...] = (
    claim("0.05"),
    claim("0.1"),
    claim("0.25"),
    claim("0.5", "0.000001"),
    claim("1"),
    claim("2"),
    GaussianEvent(Decimal(5), Decimal(1)),
    LaplaceEvent(Decimal(4), Decimal(1)),
)
"""What most operations are."""
TOO_LARGE = claim("2.5")
"""More than one operation may cost."""
OF_PAIRS = ClaimEvent(Decimal("0.1"), Decimal(0), adjacency=Adjacency.REPLACE_ONE)
"""Meant for other neighbours than most data sets have."""
DIVISIBLE: tuple[SelfComposedEvent, ...] = (
    SelfComposedEvent(LaplaceEvent(Decimal(20), Decimal(1)), 8),
    SelfComposedEvent(GaussianEvent(Decimal(20), Decimal(1)), 8),
)
"""What may be committed in part."""


@lru_cache(maxsize=256)
def tenant_budget(epsilon: int, members: int) -> Budget:
    """A tenant's budget of one, two or four member filters."""
    promise = PrivacyLoss(Decimal(epsilon), Decimal("0.00001"))
    if members == 1:
        return basic_budget(promise)
    if members == 2:
        return budget_for_claims(promise.epsilon, promise.delta)
    share = Decimal("0.000001")
    return budget(
        promise,
        [
            Share(FilterKind.BASIC, Decimal("0.000004")),
            Share(FilterKind.RENYI, share, share),
            Share(FilterKind.ZCDP, share, share),
            Share(FilterKind.GDP, share, share),
        ],
    )


def allocate(
    tenant: str,
    event: Event,
    key: str,
    *,
    ttl: int | None = None,
    engine: str | None = None,
    dataset: str | None = None,
    partition: str | None = None,
) -> Allocate:
    """A request to spend."""
    text = f"{event} {ttl} {engine} {dataset} {partition}"
    return Allocate(
        tenant_id=tenant,
        job_id=f"job-{key}",
        event=event,
        loss=loss_of(event),
        key=key,
        request_hash=sha256(text).hex(),
        source_engine=engine,
        actor="engine",
        details={},
        ttl_seconds=ttl,
        dataset_id=dataset,
        partition=partition,
    )
