"""The interface as plain values: what to send for each call. No network here; `errors` says what a refusal is."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from serve_app.client.errors import BudgetExhaustedError as BudgetExhaustedError
from serve_app.client.errors import PrivacyEngineError as PrivacyEngineError
from serve_app.client.errors import RefusedError as RefusedError
from serve_app.client.errors import ServiceUnreachableError as ServiceUnreachableError
from serve_app.client.errors import refused as refused

PREFIX = "/api/v1/privacy"


@dataclass(frozen=True)
class Call:
    """One HTTP request.

    Attributes:
        method: HTTP method.
        path: Path below the base URL.
        json: Body, if there is one. Decimals go as strings.
        params: Query parameters.
        headers: Headers beside the token.
        repeatable: Whether sending it twice does what sending it once does.
        content: Body that is not JSON, if there is one.
    """

    method: str
    path: str
    json: Mapping[str, Any] | None = None
    params: Mapping[str, str | list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    content: bytes | Iterable[bytes] | None = None


def allocate(body: Mapping[str, Any], idempotency_key: str | None = None) -> Call:
    """Spends (or, with ``mode='reserve'``, holds) budget. Keyed by the header, so that retries are counted once."""
    return _keyed("POST", f"{PREFIX}/budget/allocate", body, idempotency_key)


def allocate_keyed(body: Mapping[str, Any], key: str) -> Call:
    """As `allocate`, with a key of any characters: it goes in the body, since a header has ASCII alone."""
    return Call("POST", f"{PREFIX}/budget/allocate", {**body, "operation_id": key})


def allocate_batch(allocations: Sequence[Mapping[str, Any]]) -> Call:
    """Spends or holds budget many times over; each allocation has its own outcome, keyed by its ``operation_id``."""
    keyed = [{"operation_id": str(uuid.uuid4())} | dict(body) for body in allocations]
    return Call("POST", f"{PREFIX}/budget/allocate:batch", {"allocations": keyed})


def apply(body: Mapping[str, Any], idempotency_key: str | None = None) -> Call:
    """Releases a statistic with noise."""
    return _keyed("POST", f"{PREFIX}/mechanism/apply", body, idempotency_key)


def apply_batch(body: Mapping[str, Any], idempotency_key: str | None = None) -> Call:
    """Releases many statistics, each with its own outcome."""
    return _keyed("POST", f"{PREFIX}/mechanism/apply:batch", body, idempotency_key)


def select(body: Mapping[str, Any], idempotency_key: str | None = None) -> Call:
    """Chooses the best candidates by private scores."""
    return _keyed("POST", f"{PREFIX}/mechanism/select", body, idempotency_key)


def preview(body: Mapping[str, Any]) -> Call:
    """Prices a release, and says how accurate it would be, before anything is charged."""
    return Call("POST", f"{PREFIX}/mechanism/preview", body)


def set_budget(
    tenant_id: str, epsilon: str, delta: str, *, renewal_days: int | None = None, auto_renew: bool | None = None
) -> Call:
    """Creates or raises a budget; changes its windows where one of the last two is given."""
    windows = {"renewal_days": renewal_days, "auto_renew": auto_renew}
    wished = {name: value for name, value in windows.items() if value is not None}
    return Call("PUT", f"{PREFIX}/budget/{_segment(tenant_id)}", {"epsilon": epsilon, "delta": delta} | wished)


def budget(tenant_id: str) -> Call:
    """A tenant's budget, in this window and over its lifetime, and its data sets."""
    return Call("GET", f"{PREFIX}/budget/{_segment(tenant_id)}")


def set_dataset(tenant_id: str, dataset_id: str, body: Mapping[str, Any]) -> Call:
    """Registers a data set, raises its budget or adds partitions."""
    return Call("PUT", f"{PREFIX}/budget/{_segment(tenant_id)}/datasets/{_segment(dataset_id)}", body)


def dataset(tenant_id: str, dataset_id: str) -> Call:
    """A data set, whole and by partition."""
    return Call("GET", f"{PREFIX}/budget/{_segment(tenant_id)}/datasets/{_segment(dataset_id)}")


def datasets(tenant_id: str) -> Call:
    """All data sets of a tenant."""
    return Call("GET", f"{PREFIX}/budget/{_segment(tenant_id)}/datasets")


def set_legal_hold(tenant_id: str, in_force: bool, reason: str) -> Call:
    """Places or lifts a legal hold."""
    return Call("PUT", f"{PREFIX}/budget/{_segment(tenant_id)}/legal-hold", {"in_force": in_force, "reason": reason})


def denials(tenant_id: str, limit: int = 100) -> Call:
    """The latest refusals."""
    return Call("GET", f"{PREFIX}/budget/{_segment(tenant_id)}/denials", params={"limit": str(limit)})


def commit(allocation_id: str, steps: int | None = None, tenant_id: str | None = None) -> Call:
    """Commits a hold; of a repeated event only the repetitions that were run, where `steps` says how many."""
    return _settling(allocation_id, "commit", tenant_id, steps=steps)


def void(allocation_id: str, tenant_id: str | None = None) -> Call:
    """Takes back a hold, stating that no data was read."""
    return _settling(allocation_id, "void", tenant_id)


def expire(allocation_id: str, tenant_id: str | None = None) -> Call:
    """Says that a hold's time has passed, so that it is spent for good."""
    return _settling(allocation_id, "expire", tenant_id)


def adjust(allocation_id: str, statement: str, tenant_id: str | None = None) -> Call:
    """Takes back an ended allocation's charge, on an operator's signed statement (a compact JWS)."""
    return _settling(allocation_id, "adjust", tenant_id, statement=statement)


def train(body: Mapping[str, Any], idempotency_key: str | None = None) -> Call:
    """Orders a training; its budget is held."""
    return _keyed("POST", f"{PREFIX}/training/jobs", body, idempotency_key)


def training(job: str | None = None) -> Call:
    """How a training stands; without one, all of the tenant's."""
    return Call("GET", f"{PREFIX}/training/jobs" if job is None else f"{PREFIX}/training/jobs/{_segment(job)}")


def cancel_training(job: str) -> Call:
    """Stops a training; what it has done stays charged."""
    return Call("DELETE", f"{PREFIX}/training/jobs/{_segment(job)}")


def training_events(job: str) -> Call:
    """The stream of how a training moves on."""
    return Call("GET", f"{PREFIX}/training/jobs/{_segment(job)}/events")


def training_file(job: str, name: str) -> Call:
    """One file that a training made."""
    return Call("GET", f"{PREFIX}/training/jobs/{_segment(job)}/files/{_segment(name)}")


def declare_rows(dataset_id: str, columns: Sequence[Mapping[str, Any]]) -> Call:
    """Declares the public columns of a data set's rows."""
    return Call("PUT", f"{PREFIX}/generators/dataset/{_segment(dataset_id)}", {"columns": list(columns)})


def store_rows(dataset_id: str, content: bytes, media_type: str = "text/csv") -> Call:
    """Stores rows of a data set, as CSV or Parquet."""
    path = f"{PREFIX}/generators/dataset/{_segment(dataset_id)}/rows"
    return Call("PUT", path, content=content, headers={"Content-Type": media_type})


def generate(dataset_id: str, body: Mapping[str, Any], idempotency_key: str | None = None) -> Call:
    """Orders synthetic rows; their budget is held."""
    return _keyed("POST", f"{PREFIX}/generators/dataset/{_segment(dataset_id)}/generate", body, idempotency_key)


def privacy_report(job: str, format: str = "json") -> Call:  # noqa: A002 - the interface's own word
    """The privacy report of a training."""
    return Call("GET", f"{PREFIX}/generators/{_segment(job)}/privacy-report", params={"format": format})


def compare(jobs: Sequence[str], format: str = "json") -> Call:  # noqa: A002 - the interface's own word
    """Several trainings side by side, and what they have cost together."""
    return Call("GET", f"{PREFIX}/generators/privacy-reports", params={"id": list(jobs), "format": format})


def plan(body: Mapping[str, Any]) -> Call:
    """Prices steps before anything is spent."""
    # Each call stores a plan of its own, which costs nothing; but only one id is wanted.
    return Call("POST", f"{PREFIX}/composition/plan", body, repeatable=False)


def proof(job_id: str, format: str = "json") -> Call:  # noqa: A002 - the interface's own word
    """The proof of a job."""
    return Call("GET", f"{PREFIX}/proof/{quote(job_id, safe='')}", params={"format": format})


def proof_of(
    format: str = "json",  # noqa: A002 - the interface's own word
    *,
    allocation_id: str | None = None,
    plan_id: str | None = None,
    history: bool = False,
) -> Call:
    """The proof of one allocation, of a plan, or of the tenant's whole history: name one of them."""
    asked = {"allocation_id": allocation_id, "plan_id": plan_id, "history": "true" if history else None}
    given = {name: value for name, value in asked.items() if value is not None}
    return Call("GET", f"{PREFIX}/proof/", params={"format": format, **given})


def me() -> Call:
    """Who the token says one is, and what it may do."""
    return Call("GET", f"{PREFIX}/access/me")


def roles() -> Call:
    """What each role may do."""
    return Call("GET", f"{PREFIX}/access/roles")


def events(topics: Sequence[str] = (), start: int | None = None) -> Call:
    """The stream of what happens to budgets, of some topics, from a place in the log on."""
    params: dict[str, str | list[str]] = {"topic": list(topics)} if topics else {}
    return Call("GET", f"{PREFIX}/log/events", params={**params, **_stated(start=start)})


def audit_records(tenant_id: str | None = None, after: int | None = None, limit: int = 100) -> Call:
    """Who did what and what was refused, the newest first."""
    asked = {"tenant_id": tenant_id, "after": after, "limit": limit}
    given = {name: str(value) for name, value in asked.items() if value is not None}
    return Call("GET", f"{PREFIX}/audit", params=given)


def budget_summary(tenant_id: str | None = None) -> Call:
    """What is used and left, by data set and by engine, and how many requests were refused."""
    return Call("GET", f"{PREFIX}/analytics/budget-summary", params=_stated(tenant_id=tenant_id))


def burn_rate(tenant_id: str | None = None, days: int | None = None, dataset_id: str | None = None) -> Call:
    """What each day and each engine cost, and when the budget is used up at that."""
    asked = _stated(tenant_id=tenant_id, days=days, dataset_id=dataset_id)
    return Call("GET", f"{PREFIX}/analytics/burn-rate", params=asked)


def operations(tenant_id: str | None = None, before: int | None = None, limit: int | None = None) -> Call:
    """Allocations and what became of them, the latest first."""
    asked = _stated(tenant_id=tenant_id, before=before, limit=limit)
    return Call("GET", f"{PREFIX}/analytics/operations", params=asked)


def tenants(after: str | None = None, limit: int | None = None) -> Call:
    """All tenants by name, for an auditor with a token for any tenant."""
    return Call("GET", f"{PREFIX}/analytics/tenants", params=_stated(after=after, limit=limit))


def generate_report(body: Mapping[str, Any]) -> Call:
    """Evidence for named controls: ``framework``, ``format``, ``since``, ``until``. It changes nothing."""
    return Call("POST", f"{PREFIX}/reports/generate", body)


def export_accountant(body: Mapping[str, Any]) -> Call:
    """The history as dp-accounting events, of one data set if ``dataset_id`` names one. It changes nothing."""
    return Call("POST", f"{PREFIX}/accountant/export", body)


def picture(format: str = "png", member: str | None = None) -> Call:  # noqa: A002 - the interface's own word
    """The picture of a tenant's loss, under one filter of its budget if ``member`` names one."""
    return Call("GET", f"{PREFIX}/loss/visualize", params={"format": format, **_stated(member=member)})


def _settling(allocation_id: str, end: str, tenant_id: str | None, **said: str | int | None) -> Call:
    body = {name: value for name, value in {"tenant_id": tenant_id, **said}.items() if value is not None}
    return Call("POST", f"{PREFIX}/budget/allocations/{_segment(allocation_id)}/{end}", body or None)


def _stated(**asked: str | int | None) -> dict[str, str]:
    return {name: str(value) for name, value in asked.items() if value is not None}


def _keyed(method: str, path: str, body: Mapping[str, Any], key: str | None) -> Call:
    return Call(method, path, body, headers={"Idempotency-Key": key or str(uuid.uuid4())})


def _segment(text: str) -> str:
    return quote(text, safe="")
