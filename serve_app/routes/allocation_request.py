"""From an allocate body to the command it means. What a caller can get wrong is refused here, before the budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, get_args

from accounting.admission import Allocate
from accounting.conversion import PricingDisagreementError
from accounting.event_wire import event_from_wire, event_to_wire
from accounting.events import (
    ClaimEvent,
    Composition,
    Event,
    FixedSizeGaussianEvent,
    ParallelEvent,
    PoissonGaussianEvent,
    leaves,
)
from accounting.ledger.canonical import canonical_json, sha256
from accounting.plans import price
from accounting.values import ZERO, InvalidValueError, checked_delta, decimal_text
from deployments.training.document import document_from
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.identifiers import NAME_RULE, TEXT_RULE, valid_name, valid_text
from serve_app.problems import Code, Problem, invalid
from serve_app.schemas import AllocateBody, ConflictingSpellingsError, one_of

MAX_TEXT = 2_000
MAX_TASK = 200_000
"""Characters of what is to be done under a hold."""
MAX_BATCH_KEY = 250
DEFAULT_TTL_SECONDS = 3_600
MAX_TTL_SECONDS = 30 * 86_400
_HEAVY = (*get_args(Composition), PoissonGaussianEvent, FixedSizeGaussianEvent)
"""Events whose price may take a second."""
_SCOPES = frozenset({"dataset_id", "partition"})
_SERVICES = {f"aumos-{name}-engine": name for name in ("tabular", "text", "image", "audio", "video", "healthcare")}


@dataclass(frozen=True, slots=True)
class Unpriced:
    """What a body asks for: all of the command but its price.

    Attributes:
        event: What will be done to the data.
        delta: The delta to price it at; 0 where the event has one of its own or none.
        rest: The other arguments of `Allocate`.
    """

    event: Event
    delta: Decimal
    rest: Mapping[str, Any]

    @property
    def light(self) -> bool:
        """Whether pricing takes less time than handing it to a thread would be worth: under a millisecond."""
        return not isinstance(self.event, _HEAVY)

    def priced(self) -> Allocate:
        """The command.

        Raises:
            Problem: If the event has no price at that delta.
        """
        try:
            loss = price(self.event, self.delta)
        except InvalidValueError as error:
            raise invalid(error.field, error.reason) from None
        except PricingDisagreementError as error:
            raise disagreement(error) from None
        return Allocate(event=self.event, loss=loss, **self.rest)


def disagreement(error: PricingDisagreementError) -> Problem:
    """The problem of an event that two accountants price differently."""
    return invalid("event", f"is priced differently by two accountants, so nothing is charged: {error}")


def read_allocation(
    body: AllocateBody, principal: Principal, header_key: str | None = None, service_name: str | None = None
) -> Unpriced:
    """What a body asks for, checked but for its price.

    Args:
        body: The decoded body.
        principal: Who asks.
        header_key: The header ``Idempotency-Key``, if sent.
        service_name: The header ``X-Service-Name``, if sent.

    Raises:
        Problem: For whatever is wrong, with the field.
    """
    if body.tenant_id is not None and not valid_name(body.tenant_id):
        raise invalid("tenant_id", NAME_RULE)
    tenant_id = principal.tenant(body.tenant_id, Action.ALLOCATE)
    if not valid_text(body.job_id):
        raise invalid("job_id", TEXT_RULE)
    try:
        event, delta = _event(body)
        purpose = one_of(purpose=body.purpose, query_description=body.query_description)
    except ConflictingSpellingsError as error:
        raise invalid(error.names[0], str(error)) from None
    except InvalidValueError as error:
        raise invalid(error.field, error.reason) from None
    engine = source_engine(body.source_engine, principal, service_name)
    asked = _details(body, purpose)
    if body.task is not None:
        _check_task(body, event)
        asked["task"] = sha256(body.task).hex()
    ttl = hold_seconds(body.ttl_seconds, hold=body.mode == "reserve")
    request = {
        "operation": "allocate",
        "job_id": body.job_id,
        "event": event_to_wire(event),
        "delta": decimal_text(delta),
        "source_engine": engine,
        "details": asked,
        "ttl_seconds": ttl,
        "input_digest": body.input_digest,
    }
    check_scopes(body.dataset_id, body.partition)
    rest = {
        "tenant_id": tenant_id,
        "job_id": body.job_id,
        "key": idempotency_key(header_key, body.operation_id, body.job_id),
        "request_hash": sha256(canonical_json(request)).hex(),
        "source_engine": engine,
        "actor": principal.subject,
        "details": {name: value for name, value in asked.items() if name not in _SCOPES},
        "ttl_seconds": ttl,
        "dataset_id": body.dataset_id,
        "partition": body.partition,
        "task": body.task,
    }
    return Unpriced(event, delta, rest)


def _check_task(body: AllocateBody, event: Event) -> None:
    """Refuses a task that nothing is held for, that cannot be stored, or that does something else than is charged."""
    if body.mode != "reserve":
        raise invalid("task", "is done under a hold: set mode to 'reserve'")
    if body.task is None or not 0 < len(body.task) <= MAX_TASK or "\x00" in body.task:
        raise invalid("task", f"must have 1 to {MAX_TASK} characters, without NUL")
    try:
        document = document_from(body.task)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        raise invalid("task", f"is no document of a task: {error}") from None
    if document.event != event or document.text != body.task:
        raise invalid("task", "is not for the event that is charged, or not in its canonical form")


def idempotency_key(header_key: str | None, operation_id: str | None, job_id: str) -> str:
    """The key of a request: the header, else the body's operation_id, else the job."""
    if header_key is not None and not valid_text(header_key):
        raise invalid("Idempotency-Key", TEXT_RULE)
    if operation_id is not None and not valid_text(operation_id):
        raise invalid("operation_id", TEXT_RULE)
    return header_key or operation_id or job_id


def check_batch_key(key: str | None) -> None:
    """Refuses a key that no item of a batch could have: each item's key is the batch's with its place behind it."""
    if key is not None and (not valid_text(key) or len(key) > MAX_BATCH_KEY):
        raise invalid("Idempotency-Key", f"must be 1 to {MAX_BATCH_KEY} printable characters, for a batch")


def source_engine(stated: str | None, principal: Principal, service_name: str | None) -> str | None:
    """The engine that asks: the token's, which nobody may contradict; else the body's; else the header's."""
    named = stated or _SERVICES.get((service_name or "").strip().lower())
    if principal.engine is not None:
        if stated is not None and stated != principal.engine:
            raise Problem(Code.FORBIDDEN, "The token belongs to another engine than source_engine names.")
        return principal.engine
    return named


def _event(body: AllocateBody) -> tuple[Event, Decimal]:
    epsilon = one_of(
        epsilon=body.epsilon, epsilon_requested=body.epsilon_requested, requested_epsilon=body.requested_epsilon
    )
    delta = one_of(delta=body.delta, delta_requested=body.delta_requested, requested_delta=body.requested_delta)
    if body.event is not None:
        if epsilon is not None:
            raise InvalidValueError("epsilon", "is computed from the event; leave it out, or leave out the event")
        return described_event(body.event), checked_delta(delta or ZERO)
    if epsilon is None:
        raise InvalidValueError("epsilon", "is missing: state epsilon (and delta), or describe an event")
    return ClaimEvent(epsilon, delta if delta is not None else ZERO), ZERO


def described_event(data: Mapping[str, Any]) -> Event:
    """The event that a body describes.

    Raises:
        InvalidValueError: If it describes none, or one that cannot be charged here.
    """
    event = event_from_wire(data)
    if any(isinstance(leaf, ParallelEvent) for leaf, _ in leaves(event)):
        reason = "is parallel: allocate each part by itself under its registered partition, and only the largest counts"
        raise InvalidValueError("event", reason)
    return event


def check_scopes(dataset_id: str | None, partition: str | None) -> None:
    """Refuses a partition without the data set that it is of, and names that cannot be stored."""
    if dataset_id is None and partition is None:
        return
    if dataset_id is None:
        raise invalid("partition", "belongs to a data set: name it in dataset_id")
    for name, value in (("dataset_id", dataset_id), ("partition", partition)):
        if value is not None and "\x00" in value:
            raise invalid(name, "must not have a NUL")


def _details(body: AllocateBody, purpose: str | None) -> dict[str, str | int]:
    details: dict[str, str | int] = {}
    for name, value in (
        ("purpose", purpose),
        ("mechanism", body.mechanism),
        ("composition_type", body.composition_type),
        ("dataset_id", body.dataset_id),
        ("partition", body.partition),
    ):
        if value is not None:
            if len(value) > MAX_TEXT or "\x00" in value:
                raise invalid(name, f"must be at most {MAX_TEXT} characters, without NUL")
            details[name] = value
    return details


def hold_seconds(ttl_seconds: int | None, *, hold: bool) -> int | None:
    """How long a hold lasts; None where nothing is held.

    Raises:
        Problem: If the time is out of range, or there is one without a hold.
    """
    if not hold:
        if ttl_seconds is not None:
            raise invalid("ttl_seconds", "belongs to a hold, that is, to mode 'reserve'")
        return None
    ttl = ttl_seconds if ttl_seconds is not None else DEFAULT_TTL_SECONDS
    if not 1 <= ttl <= MAX_TTL_SECONDS:
        raise invalid("ttl_seconds", f"must be from 1 to {MAX_TTL_SECONDS}")
    return ttl
