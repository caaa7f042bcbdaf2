"""The document of a task: all that is to be done under a hold, settled before anything is read.

It is stored beside the hold, which has its digest; whoever does the work gets it, rebuilds the event from it and
refuses to begin unless that is the event that is held.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from accounting.event_wire import event_from_wire, event_to_wire
from accounting.events import Adjacency, ComposedEvent, Event, SelfComposedEvent
from accounting.values import decimal_text
from deployments.synthesis.discovery_plan import DiscoveryPlan
from deployments.synthesis.outline import outline_from_wire, outline_to_wire
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
class Discovery:
    """What is found out about the columns first, where not all of it is public.

    Attributes:
        plan: What is released for it. The task's event is this plan's and then the kind's.
        rest_delta: The delta that the kind's own event is priced at.
    """

    plan: DiscoveryPlan
    rest_delta: Decimal

    def around(self, event: Event) -> ComposedEvent:
        """The whole event: the discovery's and the kind's."""
        return ComposedEvent((self.plan.event, event), adjacency=Adjacency.ADD_REMOVE)


@dataclass(frozen=True, slots=True)
class TaskDocument:
    """What is to be done.

    Attributes:
        kind: Which kind of task: a name in `deployments.training.kinds`.
        file: The rows to read.
        schema: What they must look like. Public; where columns are to be found out about, only roughly so.
        event: What is charged.
        steps: Noisy steps in it; 1 where it is not counted in steps.
        epsilon: What was aimed at.
        delta: At which delta.
        plan: What the kind needs to carry it out: its recipe and settings.
        rows_out: Synthetic rows to write; None for a model that makes none.
        workers: Processes that work together.
        dispatched: Whether the service starts it; otherwise its caller does.
        discovery: What is found out first; None where the schema is public.
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
    discovery: Discovery | None = None

    def for_kind(self, schema: Schema, event: Event) -> "TaskDocument":
        """The document as the kind gets it: with the schema that was found, and its own part of the event."""
        assert self.discovery is not None
        return replace(self, schema=schema, event=event, delta=self.discovery.rest_delta, discovery=None)

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
                "discovery": None if self.discovery is None else _discovery_to_wire(self.discovery),
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
        discovery=None if wire["discovery"] is None else _discovery_from_wire(wire["discovery"]),
    )


def _discovery_to_wire(discovery: Discovery) -> dict[str, Any]:
    plan = discovery.plan
    return {
        "outline": outline_to_wire(plan.outline),
        "delta": decimal_text(plan.delta),
        "scale": decimal_text(plan.scale),
        "rest_delta": decimal_text(discovery.rest_delta),
    }


def _discovery_from_wire(wire: Mapping[str, Any]) -> Discovery:
    plan = DiscoveryPlan(outline_from_wire(wire["outline"]), Decimal(wire["delta"]), Decimal(wire["scale"]))
    return Discovery(plan, Decimal(wire["rest_delta"]))
