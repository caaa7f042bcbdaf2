"""What answers hold that callers may rely on. There may be more in them: an answer can grow, it never shrinks.

The hot answers are the structs of `serve_app.schemas`; these are the others, which their routes put together.
"""

from typing import Any, TypedDict

from serve_app.schemas import AllocateAnswer

Exact = dict[str, Any]
"""The same amounts as exact decimals, by name."""


class BalanceAnswer(TypedDict):
    """How a budget stands: of a data set, for whoever in it was exposed most."""

    total_epsilon: float
    used_epsilon: float
    remaining_epsilon: float
    total_delta: float
    used_delta: float
    remaining_delta: float
    epsilon_utilization_pct: float
    promise: dict[str, str]
    filters: dict[str, Any]
    exact: Exact


class DatasetSummary(BalanceAnswer):
    """A data set."""

    dataset_id: str
    privacy_unit: str
    adjacency: str
    partition_count: int


class DatasetState(DatasetSummary):
    """A data set with its partitions."""

    tenant_id: str
    partition_basis: str | None
    partitions: list[dict[str, Any]]


class DatasetList(TypedDict):
    """All data sets of a tenant."""

    tenant_id: str
    datasets: list[DatasetSummary]


class BudgetAnswer(BalanceAnswer):
    """A tenant's budget."""

    tenant_id: str
    budget_id: str
    lifetime_epsilon: float
    lifetime_delta: float
    held_epsilon: float
    held_delta: float
    remaining_budget: float
    allocation_count: int
    period_start: str
    period_end: str | None
    auto_renew: bool
    renewal_days: int | None
    scope: str
    held: dict[str, Any]
    lifetime: dict[str, Any]
    legal_hold: bool
    datasets: list[DatasetSummary]
    ledger_seq: int
    ledger_hash: str


class StatusAnswer(TypedDict):
    """The short form of a budget."""

    tenant_id: str
    total_budget: float
    consumed_budget: float
    remaining_budget: float
    allocation_count: int


class DenialsAnswer(TypedDict):
    """Refused charges, latest first."""

    tenant_id: str
    denials: list[dict[str, Any]]


class _Item(TypedDict):
    status_code: int
    replayed: bool


class AllocateItem(_Item, total=False):
    """One result of a batch: what the single call would have answered."""

    allocation: AllocateAnswer
    problem: dict[str, Any]


class AllocateBatchAnswer(TypedDict):
    """Results, one for each allocation, in order."""

    results: list[AllocateItem]


class ReleaseItem(_Item, total=False):
    """One result of a batch: what the single call would have answered."""

    release: dict[str, Any]
    problem: dict[str, Any]


class ReleaseBatchAnswer(TypedDict):
    """Results, one for each operation, in order."""

    results: list[ReleaseItem]


class ReleaseAnswer(TypedDict):
    """What was drawn, what it cost and how accurate it is."""

    operation_id: str
    job_id: str
    tenant_id: str
    mechanism: str
    event: dict[str, Any]
    noise_scale: float
    accuracy: dict[str, Any]
    epsilon_consumed: float
    delta_consumed: float
    remaining_budget: float
    exact: Exact


class PreviewAnswer(TypedDict):
    """What a release would cost, and how accurate it would be."""

    mechanism: str
    length: int
    epsilon: float
    delta: float
    event: dict[str, Any]
    noise_scale: float
    accuracy: dict[str, Any]
    exact: Exact


class PlanAnswer(TypedDict):
    """What a plan would cost under every theorem, and whether the budget would admit it."""

    plan_id: str
    name: str
    num_steps: int
    event: dict[str, Any]
    delta: str
    composition_method: str
    total_epsilon_estimate: float | None
    total_delta_estimate: float | None
    status: str
    is_feasible: bool
    remaining_budget_after: float
    tightest: str | None
    theorems: list[dict[str, Any]]
    feasibility_basis: str
    exact: Exact


class RowsAnswer(TypedDict):
    """What is known of a data set's rows."""

    dataset_id: str
    version: int
    rows: int | None
    format: str | None
    sha256: str | None
    columns: list[dict[str, Any]]


class RowsList(TypedDict):
    """The data sets that rows were declared for."""

    datasets: list[RowsAnswer]


class TrainingAnswer(TypedDict):
    """How a training stands."""

    id: str
    tenant_id: str
    kind: str
    dataset_id: str
    target_epsilon: str
    target_delta: str
    event: dict[str, Any]
    created_at: str
    changed_at: str
    status: str
    attempt: int
    steps: int
    steps_done: int
    cancelled: bool
    files: list[str]


class OrderAnswer(TrainingAnswer):
    """A training that was ordered, and the hold that pays for it."""

    hold: AllocateAnswer


class TrainingList(TypedDict):
    """A tenant's trainings, the newest first."""

    jobs: list[TrainingAnswer]


class DocumentAnswer(TypedDict):
    """What a training is to do, as it was ordered."""

    document: str


class HeadAnswer(TypedDict):
    """A head of the log. ``signed`` is the compact JWS that says so."""

    size: int
    root: str
    signed: str


class HeadList(TypedDict):
    """Published heads, the smallest first."""

    heads: list[HeadAnswer]


class EntriesAnswer(TypedDict):
    """A page of the log."""

    entries: list[dict[str, Any]]
    next: int


class InclusionAnswer(TypedDict):
    """An audit path from an entry to the root (RFC 6962)."""

    tenant_id: str
    seq: int
    position: int
    size: int
    root: str
    path: list[str]


class ConsistencyAnswer(TypedDict):
    """The proof that one tree begins another (RFC 6962)."""

    first: dict[str, Any]
    second: dict[str, Any]
    path: list[str]


class LogHealth(TypedDict):
    """How what keeps the log stands."""

    status: str
    log: dict[str, Any]
    head: dict[str, Any] | None
    relays: dict[str, Any]
    loops: dict[str, Any]


class SummaryAnswer(TypedDict):
    """What is used and left."""

    tenant_id: str
    at: str
    budget: dict[str, Any]
    datasets: list[dict[str, Any]]
    operations: dict[str, int]
    by_engine: list[dict[str, Any]]


class BurnAnswer(TypedDict):
    """How fast a budget is used, and how long it lasts at that."""

    tenant_id: str
    dataset_id: str | None
    window_days: int
    since: str
    until: str
    epsilon: float
    operations: int
    daily: list[dict[str, Any]]
    by_engine: list[dict[str, Any]]
    remaining_epsilon: float
    projection: dict[str, Any]
    exact: Exact


class OperationsAnswer(TypedDict):
    """A page of allocations; go on with ``before=next``."""

    operations: list[dict[str, Any]]
    next: int | None


class TenantsAnswer(TypedDict):
    """A page of tenants; go on with ``after=next``."""

    tenants: list[dict[str, Any]]
    next: str | None


class AuditAnswer(TypedDict):
    """A page of the audit log; go on with ``after=next``."""

    records: list[dict[str, Any]]
    next: int | None


class MeAnswer(TypedDict):
    """Who the token says you are."""

    subject: str
    tenant_id: str
    roles: list[str]
    engine: str | None
    expires_at: str
    may: list[str]


class RolesAnswer(TypedDict):
    """Which role may do what."""

    roles: dict[str, list[str]]
    actions: dict[str, str]


class LiveAnswer(TypedDict):
    """That the process answers."""

    status: str
    version: str


class ReadyAnswer(LiveAnswer):
    """That the service can do its work."""

    ledger: str
    checks: dict[str, str]


class KeysAnswer(TypedDict):
    """A JSON Web Key set (RFC 7517)."""

    keys: list[dict[str, Any]]
