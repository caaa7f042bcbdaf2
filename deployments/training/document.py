"""The document of a task: all that is to be done under a hold, settled before anything is read.

It is stored beside the hold, which has its digest; whoever does the work gets it, rebuilds the event from it and
refuses to begin unless that is the event that is held.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from accounting.events import Event, SelfComposedEvent, event_from_wire, event_to_wire
from accounting.values import decimal_text
from deployments.synthesis.schema import Schema, schema_from_wire, schema_to_wire

VERSION = 1
_encode = msgspec.json.Encoder(order="sorted").encode


@dataclass(frozen=True, slots=True)
class RowsFile:
    """A file of rows, as it was when the task was ordered.

    Attributes:
        dataset_id: Of which data set.
        version: Its version.
        sha256: Of its bytes, hex; also its name in the store of files.
        format: "csv" or "parquet".
        rows: How many. Public.
    """

    dataset_id: str
    version: int
    sha256: str
    format: str
    rows: int


@dataclass(frozen=True, slots=True)
class TaskDocument:
    """What is to be done.

    Attributes:
        kind: Which kind of task: a name in `deployments.training.kinds`.
        file: The rows to read.
        schema: What they must look like. Public.
        event: What is charged.
        steps: Noisy steps in it; 1 where it is not counted in steps.
        epsilon: What was aimed at.
        delta: At which delta.
        plan: What the kind needs to carry it out: its recipe and settings.
        rows_out: Synthetic rows to write; None for a model that makes none.
        workers: Processes that work together.
        dispatched: Whether the service starts it; otherwise its caller does.
    """

    kind: str
    file: RowsFile
    schema: Schema
    event: Event
    steps: int
    epsilon: Decimal
    delta: Decimal
    plan: Mapping[str, Any]
    rows_out: int | None = None
    workers: int = 1
    dispatched: bool = True

    @property
    def divisible(self) -> bool:
        """Whether fewer steps than are held can be charged."""
        return isinstance(self.event, SelfComposedEvent)

    @property
    def text(self) -> str:
        """The document as it is stored and hashed."""
        return _encode(
            {
                "v": VERSION,
                "kind": self.kind,
                "file": msgspec.to_builtins(self.file),
                "schema": schema_to_wire(self.schema),
                "event": event_to_wire(self.event),
                "steps": self.steps,
                "epsilon": decimal_text(self.epsilon),
                "delta": decimal_text(self.delta),
                "plan": dict(self.plan),
                "rows_out": self.rows_out,
                "workers": self.workers,
                "dispatched": self.dispatched,
            }
        ).decode()


def document_from(text: str) -> TaskDocument:
    """The document of a text.

    Raises:
        ValueError: If it is of another version.
        InvalidValueError: If its schema or its event is none.
    """
    wire = msgspec.json.decode(text)
    if wire.get("v") != VERSION:
        raise ValueError(f"task documents of version {wire.get('v')} are not known to this release")
    return TaskDocument(
        kind=wire["kind"],
        file=RowsFile(**wire["file"]),
        schema=schema_from_wire(wire["schema"]),
        event=event_from_wire(wire["event"]),
        steps=wire["steps"],
        epsilon=Decimal(wire["epsilon"]),
        delta=Decimal(wire["delta"]),
        plan=wire["plan"],
        rows_out=wire["rows_out"],
        workers=wire["workers"],
        dispatched=wire["dispatched"],
    )
