"""The facts of a task's report: from its document what it was to do, from its hold's entries what it has cost."""

from collections.abc import Sequence
from decimal import Decimal

from accounting.datasets import Dataset
from accounting.events import Adjacency
from accounting.filters import Charge, largest_claim, largest_delta
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind
from accounting.values import PrivacyLoss
from deployments.reporting.facts import HoldStatus, JobFacts, Mechanics
from deployments.training.document import TaskDocument
from deployments.training.recipe import sampling_probability
from deployments.training.task import TaskState

UNIT = "row of the file"
"""The privacy unit where none was registered."""
_STATUSES = {
    EntryKind.HELD: HoldStatus.HELD,
    EntryKind.COMMITTED: HoldStatus.COMMITTED,
    EntryKind.VOIDED: HoldStatus.VOIDED,
    EntryKind.EXPIRED_SPENT: HoldStatus.EXPIRED,
    EntryKind.ADJUSTED: HoldStatus.ADJUSTED,
}
_SYNTHESIZERS = frozenset({"dp-tvae", "dp-ctgan"})


def task_facts(document: TaskDocument, state: TaskState, entries: Sequence[Entry], dataset: Dataset | None) -> JobFacts:
    """The facts of one task, as they stand after the last entry of its hold.

    Args:
        document: What is to be done.
        state: How far it is.
        entries: Its hold's, oldest first.
        dataset: The data set that the hold is charged on, as it is registered; None if on none.
    """
    opening, latest = entries[0], entries[-1]
    assert opening.kind in OPENING_KINDS
    assert opening.event is not None
    event = opening.event
    left = PrivacyLoss(largest_claim(latest.budget, latest.spent), largest_delta(latest.budget, latest.spent))
    return JobFacts(
        job_id=opening.allocation_id or "",
        tenant_id=opening.tenant_id,
        dataset_id=document.file.dataset_id,
        registered=dataset is not None,
        model=document.kind,
        unit=event.unit or (UNIT if dataset is None else dataset.unit),
        adjacency=event.adjacency or (Adjacency.ADD_REMOVE if dataset is None else dataset.adjacency),
        records=document.file.rows,
        event=event,
        steps_held=document.steps,
        steps_run=_steps_run(document, state, entries),
        delta=document.delta,
        spent=_counted(entries).basic,
        target_epsilon=document.epsilon,
        status=_STATUSES[latest.kind],
        mechanics=mechanics_of(document),
        budget=latest.budget.promise,
        remaining=left,
    )


def mechanics_of(document: TaskDocument) -> Mechanics:
    """How the noise comes about, from the task's plan."""
    recipe = document.plan.get("recipe")
    if recipe is None:
        return Mechanics(method="discrete Gaussian noise on marginals, which the exponential mechanism chooses")
    counts = ", after discrete Gaussian noise on the counts of each column" if document.kind in _SYNTHESIZERS else ""
    return Mechanics(
        method=f"DP-SGD, Poisson sampling{counts}",
        noise_multiplier=Decimal(recipe["multiplier"]),
        clip=Decimal(recipe["clip"]),
        sampling_rate=sampling_probability(recipe["records"], recipe["batch"]),
        expected_batch=recipe["batch"],
    )


def _counted(entries: Sequence[Entry]) -> Charge:
    """What of the hold is still in the sums: later entries of an allocation only ever take out of them."""
    counted = entries[0].charge
    assert counted is not None
    for entry in entries[1:]:
        if entry.charge is not None:
            counted = counted.minus(entry.charge)
    return counted


def _steps_run(document: TaskDocument, state: TaskState, entries: Sequence[Entry]) -> int:
    if any(entry.kind is EntryKind.VOIDED for entry in entries):
        return 0
    said = [entry.details["steps"] for entry in entries[1:] if entry.details and "steps" in entry.details]
    return min(int(said[0]) if said else state.through, document.steps)
