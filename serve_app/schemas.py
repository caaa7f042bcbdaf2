"""The wire: what requests and answers of the budget and the mechanisms look like, in every spelling engines use.

These are msgspec structs because msgspec reads a JSON number as the decimal text it was written as: 0.1 is one tenth.
Unknown members are refused. Where a thing has several spellings, `one_of` gives the one that was used.

This module imports nothing of the service, so that the client can share it.
"""

from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import msgspec

SourceEngine = Literal["tabular", "text", "image", "audio", "video", "healthcare"]
CompositionType = Literal["sequential", "parallel", "advanced"]
MechanismName = Literal["laplace", "gaussian", "exponential", "subsampled"]

T = TypeVar("T")


class ConflictingSpellingsError(ValueError):
    """Two spellings of one member were given, with different values."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"{' and '.join(names)} are spellings of one thing; give one of them")
        self.names = names


def one_of(**spellings: T | None) -> T | None:
    """The value that was given under one of several spellings; None if under none.

    Raises:
        ConflictingSpellingsError: If two spellings were given that disagree.
    """
    found: T | None = None
    for value in spellings.values():
        if value is None:
            continue
        if found is not None and not _same(value, found):
            raise ConflictingSpellingsError(tuple(name for name, given in spellings.items() if given is not None))
        found = value
    return found


def _same(one: object, other: object) -> bool:
    try:
        return one == other
    except ArithmeticError:
        return False  # a signalling NaN, which may not even be compared


EventBody = Annotated[
    dict[str, Any],
    msgspec.Meta(extra_json_schema={"$ref": "#/components/schemas/Event"}),
]
"""What will be done to the data, by its kind. `accounting.events` knows the kinds and checks everything in it."""


class AllocateBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A request to spend. Give epsilon (and delta), or an event (and the delta to price it at, where it needs one)."""

    job_id: str
    tenant_id: str | None = None
    source_engine: SourceEngine | None = None
    epsilon: Decimal | None = None
    epsilon_requested: Decimal | None = None
    requested_epsilon: Decimal | None = None
    delta: Decimal | None = None
    delta_requested: Decimal | None = None
    requested_delta: Decimal | None = None
    event: EventBody | None = None
    mechanism: MechanismName | None = None
    composition_type: CompositionType | None = None
    purpose: str | None = None
    query_description: str | None = None
    dataset_id: str | None = None
    partition: str | None = None
    mode: Literal["consume", "reserve"] = "consume"
    ttl_seconds: int | None = None
    operation_id: str | None = None
    input_digest: str | None = None
    task: str | None = None


class AllocateBatchBody(msgspec.Struct, forbid_unknown_fields=True):
    """Many requests to spend; each has its own outcome."""

    allocations: list[AllocateBody]


class ExactAmounts(msgspec.Struct):
    """The same amounts as exact decimals, for those who must not round."""

    allocated_epsilon: str
    allocated_delta: str
    total_epsilon: str
    used_epsilon: str
    remaining_epsilon: str
    total_delta: str
    used_delta: str
    remaining_delta: str
    lifetime_epsilon: str
    lifetime_delta: str


class ExactRemainder(msgspec.Struct):
    """What is left, as exact decimals."""

    remaining_epsilon: str
    remaining_delta: str


class DatasetAnswer(msgspec.Struct):
    """What is left of the data set that was charged, for the partition that was charged alone where one was."""

    dataset_id: str
    partition: str | None
    remaining_epsilon: float
    remaining_delta: float
    exact: ExactRemainder


class AllocateAnswer(msgspec.Struct, omit_defaults=True):
    """An admitted allocation, and the budget right after it, in every spelling that engines read.

    ``lifetime_epsilon`` and ``lifetime_delta`` are the sums of all that was charged since the budget was created, over
    all windows. ``dataset`` is there where a data set was charged.
    """

    allocation_id: str
    job_id: str
    tenant_id: str
    status: str
    allocation_status: str
    state: str
    allocated_epsilon: float
    epsilon_allocated: float
    delta_allocated: float
    remaining_budget: float
    budget_id: str
    total_epsilon: float
    used_epsilon: float
    remaining_epsilon: float
    total_delta: float
    used_delta: float
    remaining_delta: float
    epsilon_utilization_pct: float
    period_start: str
    period_end: str | None
    auto_renew: bool
    source_engine: str | None
    ledger_seq: int
    ledger_hash: str
    lifetime_epsilon: float
    lifetime_delta: float
    exact: ExactAmounts
    dataset: DatasetAnswer | None = None


class ConsumeBody(msgspec.Struct, forbid_unknown_fields=True):
    """Commits a hold, or confirms what is spent already."""

    allocation_id: str
    actual_epsilon_spent: Decimal | None = None
    tenant_id: str | None = None


class SettleBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a void or an expiry may say. A void states that no data was read."""

    tenant_id: str | None = None
    reason: str | None = None


class CommitBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a commit may say: of a ``self_composed`` event, how many of its repetitions were run."""

    tenant_id: str | None = None
    reason: str | None = None
    steps: int | None = None


class AdjustBody(msgspec.Struct, forbid_unknown_fields=True):
    """An operator's signed statement that nothing of an ended allocation was released.

    ``statement`` is a compact JWS (RFC 7515; EdDSA) over JSON with exactly the members tenant_id, allocation_id,
    reason, evidence and at; ``privacy-engine adjust`` makes one.
    """

    statement: str
    tenant_id: str | None = None


class FilterBody(msgspec.Struct, forbid_unknown_fields=True):
    """A member filter of a budget. All shares together are at most 1.

    ``delta_share`` is the part of the promised delta that plain claims may sum to under this filter,
    ``conversion_share`` the part that pays for the conversion from the filter's currency (0 for basic), ``order`` the
    Renyi filter's (absent: the best one).
    """

    filter: Literal["basic", "renyi", "zcdp", "gdp"]
    delta_share: Decimal = Decimal(0)
    conversion_share: Decimal = Decimal(0)
    order: int | None = None


class PromiseBody(msgspec.Struct, forbid_unknown_fields=True):
    """What a budget promises. The filters can be chosen once, when it is created."""

    epsilon: Decimal | None = None
    total_epsilon: Decimal | None = None
    delta: Decimal | None = None
    total_delta: Decimal | None = None
    filters: list[FilterBody] | None = None


class BudgetBody(PromiseBody, forbid_unknown_fields=True):
    """A tenant's budget to create or raise, and whether it renews.

    ``renewal_days`` is the length of a window, 1 to 3660 (1: daily, 30: monthly). ``auto_renew`` alone gives windows of
    the length that the operator has set; false makes it a lifetime budget again. Without either it stays as it is.
    """

    renewal_days: int | None = None
    auto_renew: bool | None = None


class DatasetBody(PromiseBody, forbid_unknown_fields=True, kw_only=True):
    """A data set to register, to raise, or to add partitions to. Privacy unit and adjacency never change.

    ``partitions`` are names of disjoint parts of the privacy units, at the end of those registered before;
    ``partition_basis`` says how a unit's partition follows from something other than the protected data.
    """

    privacy_unit: str
    adjacency: Literal["add_remove", "replace_one"]
    partitions: list[str] = []
    partition_basis: str = ""


class LegalHoldBody(msgspec.Struct, forbid_unknown_fields=True):
    """A legal hold to place or lift."""

    in_force: bool
    reason: str


class ReleaseBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What every release may say of itself: whose it is, whom it is charged to, and a key for repetitions."""

    job_id: str | None = None
    tenant_id: str | None = None
    source_engine: SourceEngine | None = None
    composition_type: CompositionType | None = None
    query_description: str | None = None
    operation_id: str | None = None
    dataset_id: str | None = None
    partition: str | None = None


class ApplyBody(ReleaseBody, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A statistic to release with noise. Give epsilon, or the scale of the noise (of a Gaussian its sigma).

    ``confidence`` is the probability with which the accuracy in the answer holds (0.95).
    """

    mechanism: MechanismName
    sensitivity: Decimal
    data: list[int | float] | int | float
    epsilon: Decimal | None = None
    scale: Decimal | None = None
    delta: Decimal | None = None
    data_type: str | None = None
    confidence: Decimal | None = None


class ApplyBatchBody(msgspec.Struct, forbid_unknown_fields=True):
    """Many statistics to release; each has its own outcome."""

    operations: list[ApplyBody]


class SelectBody(ReleaseBody, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The best k candidates to choose by private scores. Give epsilon for all k choices, or the scale of one.

    ``candidates`` are names to answer with, in the order of the scores; they are public and must not depend on the
    data. ``monotonic``: one privacy unit moves all scores in the same direction.
    """

    scores: list[int | float]
    sensitivity: Decimal
    candidates: list[str] | None = None
    epsilon: Decimal | None = None
    scale: Decimal | None = None
    k: int = 1
    monotonic: bool = False
    confidence: Decimal | None = None


class PreviewBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a release would cost and how accurate it would be: ``apply`` or ``select`` without the data.

    ``length`` is the number of values, or of candidates for ``exponential``, to which alone ``k`` and ``monotonic``
    belong.
    """

    mechanism: MechanismName
    sensitivity: Decimal
    length: int = 1
    data_type: str | None = None
    epsilon: Decimal | None = None
    scale: Decimal | None = None
    delta: Decimal | None = None
    k: int | None = None
    monotonic: bool | None = None
    confidence: Decimal | None = None


class PlanStepBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One step of a plan."""

    step_name: str
    mechanism: MechanismName
    epsilon: Decimal
    delta: Decimal | None = None
    sensitivity: Decimal | None = None
    data_description: str | None = None


CompositionMethod = Literal["basic", "sequential", "advanced", "optimal", "zcdp", "renyi", "rdp", "pld", "tightest"]


class PlanBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to price before anything is spent: steps, or one event. With ``hold`` the budget for it is held at once."""

    name: str
    steps: list[PlanStepBody] | None = None
    event: EventBody | None = None
    delta: Decimal | None = None
    composition_method: CompositionMethod | None = None
    tenant_id: str | None = None
    hold: bool = False
    job_id: str | None = None
    ttl_seconds: int | None = None
    source_engine: SourceEngine | None = None
    dataset_id: str | None = None
    partition: str | None = None


TaskKind = Literal["logistic", "mlp", "cnn", "module", "dp-tvae", "dp-ctgan", "dp-marginal"]


class OrderBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What every order of a training may say.

    ``target_epsilon`` is what it may cost; ``target_delta`` at which delta (absent: a power of ten below a tenth of one
    by the number of rows). ``batch_size`` is the number of rows that a step draws on average. Give ``epochs`` or
    ``steps``. ``workers`` share the steps of a model that predicts. ``launch`` "caller": the service does not start it,
    ``python -m deployments.training.job`` does.
    """

    target_epsilon: Decimal
    target_delta: Decimal | None = None
    target: str | None = None
    epochs: Decimal | None = None
    steps: int | None = None
    batch_size: int | None = None
    max_grad_norm: Decimal | None = None
    learning_rate: float | None = None
    hidden: list[int] | None = None
    num_rows: int | None = None
    workers: int | None = None
    job_id: str | None = None
    tenant_id: str | None = None
    source_engine: SourceEngine | None = None
    purpose: str | None = None
    ttl_seconds: int | None = None
    launch: Literal["service", "caller"] = "service"


class TrainingBody(OrderBody, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A training to order: a model or a synthesizer (``kind``) on the rows that were stored for a data set.

    ``module`` (``package.module:Factory``, out of the operator's list) and ``arguments`` belong to kind "module";
    ``image`` (channels, height, width) to kind "cnn", for which each column is a pixel.
    """

    kind: TaskKind
    dataset_id: str
    image: list[int] | None = None
    module: str | None = None
    arguments: dict[str, Any] | None = None


class GenerateBody(OrderBody, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Synthetic rows to order. ``type`` is the synthesizer; `docs/synthesis.md` says which to use when."""

    type: Literal["dp-marginal", "dp-tvae", "dp-ctgan"] = "dp-marginal"


class RowsSchemaBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is public of a data set's rows: its columns, each a category with its values or a number with its edges."""

    columns: list[dict[str, Any]]


class ReportBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What a task's process reports on one of its starts."""

    kind: Literal["started", "reading", "progress", "end"]
    attempt: int
    facts: dict[str, str | int] | None = None
    done: int | None = None
    through: int | None = None
    seconds_left: float | None = None
    ending: Literal["finished", "failed", "cancelled"] | None = None
    message: str | None = None
    files: list[str] | None = None


class EvidenceBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An evidence report to write. ``since`` and ``until`` are days or moments in UTC; absent: the whole history."""

    framework: Literal["gdpr", "hipaa", "ccpa", "soc2"]
    format: Literal["json", "html", "pdf"] = "json"
    since: str | None = None
    until: str | None = None
    tenant_id: str | None = None


class AccountantExportBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A history to export: the tenant's, or one data set's."""

    dataset_id: str | None = None
    format: Literal["dp-accounting"] = "dp-accounting"
    tenant_id: str | None = None


def json_schema(*structs: type[msgspec.Struct]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """JSON Schemas of the structs and the components they refer to, for the OpenAPI document."""
    schemas, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    return list(schemas), components
