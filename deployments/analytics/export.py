"""A history as events that Google's dp-accounting loads, so that anybody can price it with other people's accountants.

Exported is what was charged and is final: what was consumed, committed or expired; of a commit that gave something
back, the steps that were run. What is charged but has no event there, or may still be taken back, is listed with the
reason; what was taken back is counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from accounting.datasets import Dataset
from accounting.dp_events import RELATIONS, NoDpEventError, dp_event
from accounting.events import Adjacency, Event, SelfComposedEvent
from accounting.ledger.entry import Entry, EntryKind, loss_to_wire, timestamp_text
from accounting.ledger.readings import Operation

FORMAT, VERSION = "privacy-engine-dp-accounting", 1
LIBRARY = "dp-accounting 0.6"
LOADER = '''\
import dp_accounting

def load(data):
    """What stands under `event`, as dp-accounting's own event. Looks for classes in dp_accounting alone."""
    if isinstance(data, list):
        return [load(one) for one in data]
    if not isinstance(data, dict):
        return data
    kind = getattr(dp_accounting.dp_event, data["class_name"])
    return kind(**{name: load(value) for name, value in data.items() if name not in ("module_name", "class_name")})
'''
"""Ten lines that load an event. dp-accounting's own `from_named_tuple` imports whatever module the data names."""
NOTE = (
    "Each event has the members of DpEvent.to_named_tuple. `load` in `loader` makes events of them again; compose them "
    "in an accountant of `accountants` that was made with their `neighboring_relation`. Events on different data sets "
    "or partitions are not about the same people: dp-accounting takes all that it composes to be about one data set. "
    "What is listed under `not_exported` is charged in the ledger as well."
)


@dataclass(frozen=True, slots=True)
class _Charged:
    event: Event
    steps: int | None


def export(
    tenant_id: str, dataset_id: str | None, history: Iterable[Entry], datasets: Mapping[str, Dataset]
) -> dict[str, Any]:
    """The document.

    Args:
        tenant_id: Whose history.
        dataset_id: Of which data set alone; None for all.
        history: The tenant's entries from the first one on, in order.
        datasets: Registrations, by id.
    """
    events: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    taken_back = Counter[str]()
    entries = list(history)
    for operation in operations(entries):
        opening = operation.opening
        if dataset_id is not None and (opening.dataset is None or opening.dataset.dataset_id != dataset_id):
            continue
        status = operation.latest.kind
        charged = _charged(operation)
        if charged is None:
            taken_back[status.value] += 1
            continue
        told = _told(operation)
        try:
            if status is EntryKind.HELD:
                raise NoDpEventError("a hold that is open: it counts as spent, and may still be taken back")
            adjacency = _adjacency(charged.event, opening, datasets)
            found = dp_event(charged.event, adjacency)
        except NoDpEventError as error:
            missing.append(told | {"reason": str(error)})
            continue
        steps = {} if charged.steps is None else {"steps_run": charged.steps}
        notes = {"notes": list(found.notes)} if found.notes else {}
        beside = {"neighboring_relation": RELATIONS[adjacency], "accountants": sorted(found.accountants)}
        events.append(told | steps | beside | notes | {"event": found.members})
    return {
        "format": FORMAT,
        "version": VERSION,
        "for": LIBRARY,
        "tenant_id": tenant_id,
        "dataset_id": dataset_id,
        "ledger_seq": entries[-1].seq if entries else 0,
        "ledger_hash": entries[-1].hash.hex() if entries else None,
        "note": NOTE,
        "loader": LOADER,
        "events": events,
        "not_exported": missing,
        "taken_back": dict(taken_back),
    }


def operations(history: Iterable[Entry]) -> list[Operation]:
    """The allocations of a history, in the order in which they were opened."""
    found: dict[str, Operation] = {}
    for entry in history:
        name = entry.allocation_id or ""
        match entry.kind:
            case EntryKind.CONSUMED | EntryKind.HELD:
                found[name] = Operation(entry, None, None)
            case EntryKind.COMMITTED | EntryKind.VOIDED | EntryKind.EXPIRED_SPENT:
                found[name] = replace(found[name], ending=entry)
            case EntryKind.ADJUSTED:
                found[name] = replace(found[name], adjustment=entry)
            case _:
                pass
    return list(found.values())


def _charged(operation: Operation) -> _Charged | None:
    """What stays charged of an operation; None where all of it was taken back."""
    event, ending = operation.opening.event, operation.ending
    if event is None or operation.latest.kind in (EntryKind.VOIDED, EntryKind.ADJUSTED):
        return None
    steps = (ending.details or {}).get("steps") if ending is not None else None
    divided = ending is not None and ending.charge is not None and ending.charge.is_something()
    if not divided or steps is None or not isinstance(event, SelfComposedEvent):
        return _Charged(event, None)
    return _Charged(replace(event, count=int(steps)), int(steps)) if int(steps) else None


def _adjacency(event: Event, opening: Entry, datasets: Mapping[str, Dataset]) -> Adjacency:
    """What neighbours are: as the data set has it, else as the event does; add/remove where nobody has said."""
    if opening.dataset is not None and opening.dataset.dataset_id in datasets:
        return datasets[opening.dataset.dataset_id].adjacency
    return event.adjacency or Adjacency.ADD_REMOVE


def _told(operation: Operation) -> dict[str, Any]:
    opening = operation.opening
    return {
        "seq": opening.seq,
        "at": timestamp_text(opening.at),
        "allocation_id": opening.allocation_id,
        "job_id": opening.job_id,
        "status": operation.latest.kind.value,
        "event_kind": None if opening.event is None else opening.event.kind,
        "dataset_id": None if opening.dataset is None else opening.dataset.dataset_id,
        "partition": None if opening.dataset is None else opening.dataset.partition,
        "charged": loss_to_wire((opening.charge or opening.budget.nothing()).basic),
    }
