"""Tasks and their holds, made by hand."""

from dataclasses import replace
from decimal import Decimal

from accounting.charges import price
from accounting.events import Event, GaussianEvent, SelfComposedEvent
from accounting.ledger.canonical import sha256
from accounting.ledger.entry import Entry
from accounting.plans import price as price_whole
from deployments.synthesis.schema import Category, Number, Schema
from deployments.training.document import RowsFile, TaskDocument
from tests.ledgers import asked, opened, spent

STEPS = 12
DELTA = Decimal("0.000001")
EVENT = SelfComposedEvent(GaussianEvent(Decimal(50), Decimal(1)), STEPS)
SCHEMA = Schema((Number("a", (0.0, 0.5, 1.0)), Category("c", ("no", "yes"))))
LOSS = price_whole(EVENT, DELTA)


def document_for(event: Event = EVENT, *, kind: str = "mlp", dispatched: bool = True) -> TaskDocument:
    """A document of a task of `STEPS` steps, on rows that are nowhere."""
    return TaskDocument(
        kind=kind,
        file=RowsFile("people", 1, "0" * 64, "csv", 200),
        schema=SCHEMA,
        event=event,
        steps=STEPS,
        epsilon=Decimal(1),
        delta=DELTA,
        plan={},
        dispatched=dispatched,
    )


def held(head: Entry, text: str, *, event: Event = EVENT, ttl: int = 600, digest: str | None = None) -> Entry:
    """The entry that holds budget for that task after that head; with another digest if one is given."""
    request = asked(head.tenant_id, "1", ttl=ttl)
    loss = LOSS if event == EVENT else price(event, DELTA)
    details = {"task": digest or sha256(text).hex()}
    return spent(head, replace(request, event=event, loss=loss, details=details, task=text), head.at)


def with_task(tenant: str, text: str | None = None) -> list[Entry]:
    """A tenant's first two entries: a budget, and a hold with a task."""
    first = opened(tenant)
    return [first, held(first, text or document_for().text)]
