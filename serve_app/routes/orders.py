"""From an order to a task's document: the rows it reads, its delta, its plan and its event. Nothing is charged here."""

import math
from collections.abc import Mapping
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

import msgspec

from accounting.ledger.tasks import StoredFile
from accounting.plans import price_plan
from accounting.values import EXACT, InvalidValueError, checked_delta, checked_epsilon, checked_positive
from deployments.synthesis.discovery_plan import discovery_plan, roughly
from deployments.synthesis.outline import is_complete, outline_from_wire
from deployments.training.document import Discovery, RowsFile, TaskDocument
from deployments.training.kinds import Order, kind_of
from deployments.training.recipe import MOST, check_sizes
from serve_app.requests import plain
from serve_app.routes.allocation_request import MAX_TASK
from serve_app.schemas import TrainingBody

OPTIONS = ("epochs", "steps", "batch_size", "max_grad_norm", "learning_rate", "hidden", "image", "module", "arguments")
"""What an order may say to its kind."""
MAX_ROWS_OUT = 10_000_000
MAX_WORKERS = 64
FINDING = Decimal("0.2")
"""The part of epsilon and delta that finding out about columns may cost."""
_DIGITS = Context(prec=12, rounding=ROUND_FLOOR)
MAX_ARGUMENTS = 20_000
"""Bytes of what a module of somebody's own is told."""
_TOLD_AS = {
    "epsilon": "target_epsilon",
    "delta": "target_delta",
    "column": "target",
    "clip": "max_grad_norm",
    "model": "module",
    "model.path": "module",
    "model.arguments": "arguments",
}
"""What an order calls what plans call otherwise."""


class NoRowsError(Exception):
    """The data set is known, but no rows were stored for it yet."""


def document_of(
    body: TrainingBody, stored: StoredFile, default_delta: Decimal, allowed: tuple[str, ...] = ()
) -> TaskDocument:
    """The document of a task that does what is asked. Takes some seconds: noise is solved for.

    Args:
        body: What is asked.
        stored: What is known of the data set's rows.
        default_delta: The operator's: an order that names no delta gets at most a tenth of it.
        allowed: Import paths of modules that may be trained.

    Raises:
        InvalidValueError: For whatever is wrong with the order.
        NoRowsError: If there are no rows yet.
    """
    known: Mapping[str, Any] = msgspec.json.decode(stored.body)
    if "sha256" not in known:
        raise NoRowsError
    outline = outline_from_wire(known["schema"])
    schema = roughly(outline)
    epsilon = checked_epsilon(body.target_epsilon, "target_epsilon")
    records: int = known["rows"]
    delta = default_delta_for(records, default_delta) if body.target_delta is None else body.target_delta
    if not 0 < checked_delta(delta, "target_delta") * records < 1:
        reason = f"must be greater than 0 and less than 1 / {records}: a larger one lets a row be published as it is"
        raise InvalidValueError("target_delta", reason)
    kind = kind_of(body.kind)
    if body.num_rows is not None:
        if not kind.makes_rows:
            raise InvalidValueError("num_rows", f"belongs to synthesizers; {body.kind} makes no rows")
        if not 1 <= body.num_rows <= MAX_ROWS_OUT:
            raise InvalidValueError("num_rows", f"must be from 1 to {MAX_ROWS_OUT}")
    if body.epochs is not None:
        checked_positive(body.epochs, "epochs", Decimal(10**6))
    if body.max_grad_norm is not None:
        checked_positive(body.max_grad_norm, "max_grad_norm", MOST)
    if body.batch_size is not None:
        check_sizes(records, body.batch_size, steps=1)
    if len(msgspec.json.encode(plain(body.arguments))) > MAX_ARGUMENTS:
        raise InvalidValueError("arguments", f"must be at most {MAX_ARGUMENTS} bytes")
    workers = body.workers if body.workers is not None else 1
    if not 1 <= workers <= (MAX_WORKERS if kind.shares_work else 1):
        few = f"must be from 1 to {MAX_WORKERS}" if kind.shares_work else f"must be 1: {body.kind} works alone"
        raise InvalidValueError("workers", few)
    options: dict[str, Any] = {name: getattr(body, name) for name in OPTIONS} | {"arguments": plain(body.arguments)}
    discovery, rest_epsilon, rest_delta = None, epsilon, delta
    try:
        if not is_complete(outline):
            part = _DIGITS.multiply(epsilon, FINDING), _DIGITS.multiply(delta, FINDING)
            found = discovery_plan(outline, records, *part)
            rest_epsilon = EXACT.subtract(epsilon, found.loss.epsilon)
            rest_delta = EXACT.subtract(delta, found.delta)
            discovery = Discovery(found, rest_delta)
        planned = kind.plan(Order(body.kind, schema, records, rest_epsilon, rest_delta, body.target, options, allowed))
        event = planned.event if discovery is None else discovery.around(planned.event)
        if price_plan(event, delta).loss.epsilon > epsilon:
            raise InvalidValueError("target_epsilon", "does not hold the whole: declare more columns, or give more")
    except InvalidValueError as error:
        raise InvalidValueError(told_as(error.field), error.reason) from None
    document = TaskDocument(
        kind=body.kind,
        file=RowsFile(stored.dataset_id, stored.version, known["sha256"], known["format"], records),
        schema=schema,
        event=event,
        steps=planned.steps,
        epsilon=epsilon,
        delta=delta,
        plan=planned.plan,
        rows_out=(body.num_rows or records) if kind.makes_rows else None,
        workers=workers,
        dispatched=body.launch == "service",
        discovery=discovery,
    )
    # It travels as text within JSON.
    if len(msgspec.json.encode(document.text)) > MAX_TASK:
        raise InvalidValueError("dataset_id", f"has columns too long for {body.kind}: declare fewer values or bins")
    return document


def told_as(field: str) -> str:
    """What an order calls a field of a plan or of an allocation."""
    return _TOLD_AS.get(field, field)


def default_delta_for(records: int, default_delta: Decimal) -> Decimal:
    """A delta well below one by the number of rows: the largest power of ten that is at most a tenth of it.

    With a delta of one by the number of rows, publishing one row at random would keep the promise.
    """
    power = Decimal(1).scaleb(-math.ceil(math.log10(10 * records)))
    return min(power, default_delta / 10)
