"""What the service answers, as typed values. Privacy amounts come from the texts under ``exact``, never from floats.

Members that this client does not know are kept in `document` and otherwise ignored: a newer service may say more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from serve_app.client.errors import ServiceUnreachableError

Document = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Loss:
    """An amount of privacy loss, exact."""

    epsilon: Decimal
    delta: Decimal


NOTHING = Loss(Decimal(0), Decimal(0))


@dataclass(frozen=True)
class Balance:
    """How a budget stands: `used` is `total` less `remaining`, `lifetime` is all that was ever charged."""

    total: Loss
    used: Loss
    remaining: Loss
    lifetime: Loss


@dataclass(frozen=True)
class Allocation:
    """Budget that was spent or is held.

    Attributes:
        allocation_id: Its id, by which a hold is committed or voided.
        job_id: The job it belongs to.
        tenant_id: Whose budget.
        state: ``consumed``, ``held``, ``committed``, ``voided``, ``expired_spent`` or ``adjusted``.
        charged: What was charged for it.
        given_back: What the call gave back, by basic composition: after a commit of fewer steps, or a void.
        balance: The tenant's budget right after it.
        dataset_remaining: What is left of the data set, where one was charged.
        ledger_seq: Its place in the tenant's ledger.
        replayed: Whether an earlier sending of the same request was answered again, and nothing charged anew.
        document: The whole answer.
    """

    allocation_id: str
    job_id: str
    tenant_id: str
    state: str
    charged: Loss
    given_back: Loss
    balance: Balance
    dataset_remaining: Loss | None
    ledger_seq: int
    replayed: bool
    document: Document = field(repr=False, compare=False)


@dataclass(frozen=True)
class Release:
    """A statistic with noise, or the candidates that were chosen.

    Attributes:
        allocation_id: What was charged for it.
        job_id: The job it belongs to.
        values: The noisy values; one number if one was asked for. None for a selection.
        selected: The places of the chosen candidates, best first. None for a statistic.
        names: Their names, where the candidates had names.
        charged: What it cost.
        remaining_epsilon: What is left of the tenant's budget.
        noise_scale: Scale of Laplace noise, or standard deviation of Gaussian, in the statistic's unit.
        replayed: Whether this is the answer to an earlier sending of the same request.
        document: The whole answer, with its accuracy.
    """

    allocation_id: str
    job_id: str
    values: list[float] | float | None
    selected: tuple[int, ...] | None
    names: tuple[str, ...] | None
    charged: Loss
    remaining_epsilon: Decimal
    noise_scale: float
    replayed: bool
    document: Document = field(repr=False, compare=False)


@dataclass(frozen=True)
class Theorem:
    """What one theorem says that a plan costs; `loss` is None where it says nothing, and `note` why."""

    name: str
    loss: Loss | None
    valid: bool
    note: str


@dataclass(frozen=True)
class PlanPrice:
    """The price of a plan. Nothing was charged.

    Attributes:
        plan_id: By which it is found again.
        event: The plan as one event, for `Spend`.
        delta: The delta it is priced at, for `Spend`.
        theorems: Each theorem's price.
        tightest: Name of the valid theorem with the lowest price.
        feasible: Whether the budget would admit it now.
        reason: Why, or why not.
        remaining_after: What would be left.
        document: The whole answer.
    """

    plan_id: str
    event: Document
    delta: Decimal
    theorems: tuple[Theorem, ...]
    tightest: str | None
    feasible: bool
    reason: str
    remaining_after: Loss
    document: Document = field(repr=False, compare=False)


@dataclass(frozen=True)
class DatasetBudget:
    """How a data set stands, for whoever in it has been exposed most."""

    dataset_id: str
    privacy_unit: str
    adjacency: str
    total: Loss
    used: Loss
    remaining: Loss


@dataclass(frozen=True)
class Budget:
    """A tenant's budget.

    Attributes:
        tenant_id: Whose.
        balance: This window, and the lifetime.
        held: What open holds take of it.
        operations: How many allocations were admitted.
        period_end: When the window ends (ISO 8601, UTC); None for a lifetime budget.
        legal_hold: Whether a legal hold is in force.
        datasets: Its data sets.
        document: The whole answer, with every filter's own figures.
    """

    tenant_id: str
    balance: Balance
    held: Loss
    operations: int
    period_end: str | None
    legal_hold: bool
    datasets: tuple[DatasetBudget, ...]
    document: Document = field(repr=False, compare=False)


def understood(read: Callable[[], T]) -> T:
    """What `read` makes of an answer.

    Raises:
        ServiceUnreachableError: If the answer is not the service's, so that the outcome is unknown.
    """
    try:
        return read()
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        detail = f"{type(error).__name__}: {error}"
        message = f"the answer is not one of the service's ({detail}). Repeat with the same key, at the right address."
        raise ServiceUnreachableError(message) from error


def allocation(document: Document, replayed: bool = False) -> Allocation:
    """The answer to an allocation, a commit or a void."""
    exact, dataset = document["exact"], document.get("dataset")
    return Allocation(
        allocation_id=str(document["allocation_id"]),
        job_id=str(document["job_id"]),
        tenant_id=str(document["tenant_id"]),
        state=str(document["state"]),
        charged=_loss(exact, "allocated_"),
        given_back=_loss(document["given_back"]["basic"]) if "given_back" in document else NOTHING,
        balance=_balance(exact),
        dataset_remaining=None if dataset is None else _loss(dataset["exact"], "remaining_"),
        ledger_seq=int(document["ledger_seq"]),
        replayed=replayed,
        document=document,
    )


def release(document: Document, replayed: bool = False) -> Release:
    """The answer to an apply or a select."""
    exact, selected, names = document["exact"], document.get("selected_indexes"), document.get("selected")
    return Release(
        allocation_id=str(document["operation_id"]),
        job_id=str(document["job_id"]),
        values=document.get("privatized_data"),
        selected=None if selected is None else tuple(selected),
        names=None if names is None else tuple(names),
        charged=Loss(Decimal(exact["epsilon_consumed"]), Decimal(exact["delta_consumed"])),
        remaining_epsilon=Decimal(exact["remaining_epsilon"]),
        noise_scale=float(document["noise_scale"]),
        replayed=replayed,
        document=document,
    )


def plan_price(document: Document) -> PlanPrice:
    """The answer to a plan."""
    return PlanPrice(
        plan_id=str(document["plan_id"]),
        event=document["event"],
        delta=Decimal(document["delta"]),
        theorems=tuple(_theorem(one) for one in document["theorems"]),
        tightest=document["tightest"],
        feasible=bool(document["is_feasible"]),
        reason=str(document["feasibility_basis"]),
        remaining_after=Loss(
            Decimal(document["exact"]["remaining_epsilon_after"]), Decimal(document["exact"]["remaining_delta_after"])
        ),
        document=document,
    )


def budget(document: Document) -> Budget:
    """The answer to the question how a budget stands."""
    exact = document["exact"]
    return Budget(
        tenant_id=str(document["tenant_id"]),
        balance=_balance(exact),
        held=_loss(exact, "held_"),
        operations=int(document["allocation_count"]),
        period_end=document["period_end"],
        legal_hold=bool(document["legal_hold"]),
        datasets=tuple(_dataset(one) for one in document["datasets"]),
        document=document,
    )


def _dataset(document: Document) -> DatasetBudget:
    exact = document["exact"]
    return DatasetBudget(
        str(document["dataset_id"]),
        str(document["privacy_unit"]),
        str(document["adjacency"]),
        _loss(exact, "total_"),
        _loss(exact, "used_"),
        _loss(exact, "remaining_"),
    )


def _theorem(document: Document) -> Theorem:
    priced = document["total_epsilon"] is not None
    loss = _loss(document, "total_") if priced else None
    return Theorem(str(document["name"]), loss, bool(document["valid"]), str(document["note"] or ""))


def _balance(exact: Document) -> Balance:
    return Balance(*(_loss(exact, prefix) for prefix in ("total_", "used_", "remaining_", "lifetime_")))


def _loss(exact: Document, prefix: str = "") -> Loss:
    return Loss(Decimal(exact[f"{prefix}epsilon"]), Decimal(exact[f"{prefix}delta"]))
