"""Every operation by method and path: its name, what it answers, what it may refuse, and what leads on from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serve_app.interface import answers
from serve_app.problems import Code
from serve_app.schemas import AllocateAnswer

JSON, EVENTS = "application/json", "text/event-stream"
NONE = frozenset[Code]()
CHARGED = frozenset(
    {Code.BUDGET_EXHAUSTED, Code.OPERATION_LIMIT, Code.IDEMPOTENCY_MISMATCH, Code.UNKNOWN_TENANT, Code.NOT_FOUND}
)
NO_TENANT = frozenset({Code.UNKNOWN_TENANT})
NO_ALLOCATION = frozenset({Code.NOT_FOUND, Code.CONFLICT, Code.UNKNOWN_TENANT})
MISSING = frozenset({Code.NOT_FOUND})


@dataclass(frozen=True, slots=True)
class Link:
    """An operation that goes on from an answer.

    Attributes:
        to: Its name.
        given: Where its parameters are in the answer, by name: a JSON pointer.
        body: Where the members of its body are, likewise.
    """

    to: str
    given: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """What the document says of a route beside what the route says itself.

    Attributes:
        name: Its ``operationId``.
        answer: Type of its JSON; None where a document of its own kind comes as JSON, or nothing does.
        codes: Problems beside those that the rules of `serve_app.interface.responses` give it.
        media: What it answers with, beside JSON or instead of it.
        replays: Whether a repetition is answered as the first time, and says so.
        links: What leads on.
        example: A body that works.
    """

    name: str
    answer: Any = None
    codes: frozenset[Code] = NONE
    media: tuple[str, ...] = (JSON,)
    replays: bool = False
    links: tuple[Link, ...] = ()
    example: Mapping[str, Any] | None = None


_ID = {"tenant_id": "/tenant_id", "allocation_id": "/allocation_id"}
_BY_ID, _OF_TENANT = {"allocation_id": "/allocation_id"}, {"tenant_id": "/tenant_id"}
_ENDS = tuple(Link(name, _BY_ID, _OF_TENANT) for name in ("commit", "void", "expire"))
_MINE = (
    *(Link(name, _OF_TENANT) for name in ("budget", "budget_status", "set_budget", "datasets", "set_dataset")),
    *(Link(name, body=_OF_TENANT) for name in ("allocate", "apply", "select", "plan")),
)
_PROOF = Link("proof_of_one", _ID)
_JOB = {"job": "/id", "tenant_id": "/tenant_id"}
_TRAINING = tuple(Link(name, _JOB) for name in ("training", "cancel_training", "training_document", "training_report"))
_REPORT = Link("privacy_report", {"id": "/id", "tenant_id": "/tenant_id"})
_DATASET = Link("dataset", {"tenant_id": "/tenant_id", "dataset_id": "/dataset_id"})
_ROWS = tuple(Link(name, {"dataset_id": "/dataset_id"}) for name in ("rows", "delete_rows", "generate_rows"))

_PROOFS = (JSON, "application/x-latex", "text/html", "application/pdf")
_EXAMPLE_ID = "00000000-0000-4000-8000-000000000000"
_ALLOCATE = {"job_id": "nightly-count", "epsilon": "0.001", "delta": "0", "purpose": "patients a day"}
_APPLY = {"mechanism": "laplace", "sensitivity": "1", "data": [41, 7], "epsilon": "0.001", "job_id": "two-counts"}
_SELECT = {"scores": [12, 40, 3], "sensitivity": "1", "epsilon": "0.001", "job_id": "commonest"}
_PLAN = {"name": "two counts", "steps": [{"step_name": "count", "mechanism": "laplace", "epsilon": "0.01"}] * 2}
_TRAIN = {
    "kind": "logistic", "dataset_id": "patients", "target": "ill", "target_epsilon": "1", "steps": 10,
    "batch_size": 20, "launch": "caller",
}  # fmt: skip
_COLUMNS = {
    "columns": [
        {"name": "age", "kind": "number", "edges": [0, 50, 100]},
        {"name": "ill", "kind": "category", "values": ["no", "yes"]},
    ]
}

OPERATIONS: Mapping[str, Operation] = {
    # budget
    "POST /budget/allocate": Operation(
        "allocate",
        AllocateAnswer,
        CHARGED,
        replays=True,
        example=_ALLOCATE,
        links=(
            *_ENDS,
            _PROOF,
            Link("proof_of_job", {"job_id": "/job_id", "tenant_id": "/tenant_id"}),
            Link("consume", body=_ID),
        ),
    ),
    "POST /budget/allocate:batch": Operation(
        "allocate_batch", answers.AllocateBatchAnswer, example={"allocations": [_ALLOCATE]}
    ),
    "POST /budget/consume": Operation(
        "consume", AllocateAnswer, NO_ALLOCATION, replays=True, example={"allocation_id": _EXAMPLE_ID}
    ),
    "POST /budget/allocations/{allocation_id}/commit": Operation("commit", AllocateAnswer, NO_ALLOCATION, replays=True),
    "POST /budget/allocations/{allocation_id}/void": Operation("void", AllocateAnswer, NO_ALLOCATION, replays=True),
    "POST /budget/allocations/{allocation_id}/expire": Operation("expire", AllocateAnswer, NO_ALLOCATION, replays=True),
    "POST /budget/allocations/{allocation_id}/adjust": Operation("adjust", AllocateAnswer, NO_ALLOCATION, replays=True),
    "PUT /budget/{tenant_id}": Operation(
        "set_budget",
        answers.BudgetAnswer,
        example={"epsilon": "10", "delta": "0.00001"},
        links=(Link("budget", _OF_TENANT), Link("budget_status", _OF_TENANT)),
    ),
    "GET /budget/{tenant_id}": Operation("budget", answers.BudgetAnswer, NO_TENANT),
    "PUT /budget/{tenant_id}/legal-hold": Operation(
        "set_legal_hold", answers.BudgetAnswer, NO_TENANT, example={"in_force": False, "reason": "case 7 is closed"}
    ),
    "GET /budget/status/{tenant_id}": Operation("budget_status", answers.StatusAnswer, NO_TENANT),
    "GET /budget/{tenant_id}/denials": Operation("denials", answers.DenialsAnswer),
    "PUT /budget/{tenant_id}/datasets/{dataset_id}": Operation(
        "set_dataset",
        answers.DatasetState,
        NO_TENANT,
        links=(_DATASET,),
        example={"privacy_unit": "patient", "adjacency": "add_remove", "epsilon": "2", "delta": "0.00001"},
    ),
    "GET /budget/{tenant_id}/datasets/{dataset_id}": Operation("dataset", answers.DatasetState, MISSING | NO_TENANT),
    "GET /budget/{tenant_id}/datasets": Operation("datasets", answers.DatasetList),
    # mechanism
    "POST /mechanism/apply": Operation(
        "apply",
        answers.ReleaseAnswer,
        CHARGED | {Code.CONFLICT},
        replays=True,
        example=_APPLY,
        links=(Link("proof_of_one", {"tenant_id": "/tenant_id", "allocation_id": "/operation_id"}),),
    ),
    "POST /mechanism/apply:batch": Operation(
        "apply_batch", answers.ReleaseBatchAnswer, example={"operations": [_APPLY]}
    ),
    "POST /mechanism/select": Operation(
        "select", answers.ReleaseAnswer, CHARGED | {Code.CONFLICT}, replays=True, example=_SELECT
    ),
    "POST /mechanism/preview": Operation(
        "preview", answers.PreviewAnswer, example={"mechanism": "laplace", "sensitivity": "1", "epsilon": "0.1"}
    ),
    # composition
    "POST /composition/plan": Operation(
        "plan",
        answers.PlanAnswer,
        CHARGED,
        example=_PLAN,
        links=(Link("get_plan", {"plan_id": "/plan_id"}), Link("proof_of_one", {"plan_id": "/plan_id"})),
    ),
    "GET /composition/{plan_id}": Operation("get_plan", answers.PlanAnswer, MISSING),
    # proof
    "GET /proof/": Operation("proof_of_one", codes=MISSING | {Code.TOO_LARGE}, media=_PROOFS),
    "GET /proof/{job_id}": Operation("proof_of_job", codes=MISSING | {Code.TOO_LARGE}, media=_PROOFS),
    # generators
    "PUT /generators/dataset/{dataset_id}": Operation(
        "declare_rows", answers.RowsAnswer, example=_COLUMNS, links=_ROWS
    ),
    "PUT /generators/dataset/{dataset_id}/rows": Operation("store_rows", answers.RowsAnswer, MISSING, links=_ROWS),
    "DELETE /generators/dataset/{dataset_id}/rows": Operation("delete_rows", answers.RowsAnswer, MISSING),
    "GET /generators/dataset": Operation("all_rows", answers.RowsList),
    "GET /generators/dataset/{dataset_id}": Operation("rows", answers.RowsAnswer, MISSING),
    "POST /generators/dataset/{dataset_id}/generate": Operation(
        "generate_rows",
        answers.OrderAnswer,
        CHARGED,
        replays=True,
        links=(*_TRAINING, _REPORT),
        example={"target_epsilon": "1", "launch": "caller"},
    ),
    "GET /generators/privacy-reports": Operation("privacy_reports", codes=MISSING, media=(JSON, "text/html")),
    "GET /generators/{id}/privacy-report": Operation(
        "privacy_report", codes=MISSING, media=(JSON, "text/html", "image/png", "image/svg+xml")
    ),
    # training
    "POST /training/jobs": Operation(
        "order_training", answers.OrderAnswer, CHARGED, replays=True, links=(*_TRAINING, _REPORT), example=_TRAIN
    ),
    "GET /training/jobs": Operation("trainings", answers.TrainingList),
    "GET /training/jobs/{job}": Operation("training", answers.TrainingAnswer, MISSING),
    "DELETE /training/jobs/{job}": Operation("cancel_training", answers.TrainingAnswer, MISSING | {Code.CONFLICT}),
    "GET /training/jobs/{job}/events": Operation("training_events", codes=MISSING, media=(EVENTS,)),
    "GET /training/jobs/{job}/files/{name}": Operation(
        "training_file", codes=MISSING | {Code.CONFLICT}, media=("application/octet-stream", "*/*")
    ),
    "GET /training/jobs/{job}/document": Operation("training_document", answers.DocumentAnswer, MISSING),
    "POST /training/jobs/{job}/reports": Operation(
        "training_report", answers.TrainingAnswer, MISSING | {Code.CONFLICT}, example={"kind": "started", "attempt": 1}
    ),
    "GET /training/events": Operation("trainings_events", media=(EVENTS,)),
    # what is looked back on
    "GET /analytics/budget-summary": Operation("budget_summary", answers.SummaryAnswer, NO_TENANT),
    "GET /analytics/burn-rate": Operation("burn_rate", answers.BurnAnswer, NO_TENANT | MISSING),
    "GET /analytics/operations": Operation("operations", answers.OperationsAnswer),
    "GET /analytics/tenants": Operation("tenants", answers.TenantsAnswer),
    "GET /loss/visualize": Operation("loss", codes=NO_TENANT | MISSING, media=("image/png", "image/svg+xml", JSON)),
    "POST /reports/generate": Operation(
        "evidence_report", codes=NO_TENANT, media=(JSON, "text/html", "application/pdf"), example={"framework": "gdpr"}
    ),
    "POST /accountant/export": Operation(
        "accountant_export", codes=NO_TENANT | MISSING, example={"format": "dp-accounting"}
    ),
    "GET /audit": Operation("audit", answers.AuditAnswer),
    "GET /access/me": Operation("me", answers.MeAnswer, links=_MINE),
    "GET /access/roles": Operation("roles", answers.RolesAnswer),
    # log
    "GET /log/events": Operation("events", codes=MISSING, media=(EVENTS,)),
    "GET /log/entries": Operation("entries", answers.EntriesAnswer, MISSING),
    "GET /log/head": Operation("head", answers.HeadAnswer, MISSING),
    "GET /log/heads": Operation("heads", answers.HeadList, MISSING),
    "GET /log/inclusion": Operation("inclusion", answers.InclusionAnswer, MISSING),
    "GET /log/consistency": Operation("consistency", answers.ConsistencyAnswer, MISSING),
    "GET /log/health": Operation("log_health", answers.LogHealth, MISSING),
    # open to everybody
    "GET /health/live": Operation("live", answers.LiveAnswer),
    "GET /health/ready": Operation("ready", answers.ReadyAnswer),
    "GET /.well-known/jwks.json": Operation("public_keys", answers.KeysAnswer),
    "GET /openapi.json": Operation("document"),
}
"""A row for each operation; a test holds it. Paths below `PREFIX` are told without it."""
