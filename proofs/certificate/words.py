"""What a certificate promises beside its numbers, in words. As with the rules, the words are part of the format."""

from collections.abc import Mapping
from typing import NamedTuple

_ADMITTED = (
    ", also where an operation and its cost were chosen after seeing earlier outputs: each charge was admitted before "
    "it was spent, while at least one of the budget's member filters still held, whose caps were fixed in advance and "
    "whose shares of delta sum to at most the promised delta"
)
_NEIGHBOURS = {
    "add_remove": "add or remove: of two neighbouring data sets one has a privacy unit more than the other",
    "replace_one": "replace one: two neighbouring data sets differ in the data of one privacy unit",
}
ADJACENCIES = tuple(_NEIGHBOURS)
"""What neighbouring data sets may be, by the ledger's names."""


class Window(NamedTuple):
    """A window of a renewing budget: its length in days, and its ends as the ledger writes moments."""

    days: int
    start: str
    end: str


def tenant_guarantee(window: Window | None) -> Mapping[str, str]:
    """What the tenant's budget promises: for all time, or for a window."""
    scope, subject = "the tenant's budget for all time", "the whole history"
    if window is not None:
        scope = (
            f"the tenant's budget for the window of {window.days} days from {window.start} to {window.end}; what "
            "earlier windows spent is not counted in it"
        )
        subject = "all that is charged in the window, with the holds that were open when it began"
    return {
        "privacy_unit": "one privacy unit as the engine defined it",
        "adjacency": "the relation between neighbouring data sets that the engine's sensitivity or claim assumed",
        "scope": scope,
        "adaptivity": f"the promise holds for {subject}{_ADMITTED}",
    }


def dataset_guarantee(dataset_id: str, partition: str | None, unit: str, adjacency: str) -> Mapping[str, str]:
    """What a data set's budget promises to the people in it.

    Args:
        dataset_id: The data set.
        partition: The registered partition that was charged; None for the whole data set.
        unit: The privacy unit, as registered.
        adjacency: One of `ADJACENCIES`, as registered.
    """
    charged = "the whole of it was charged" if partition is None else f"its partition {partition} alone was charged"
    return {
        "privacy_unit": f"one {unit}, as registered",
        "adjacency": _NEIGHBOURS[adjacency],
        "scope": f"the data set {dataset_id}, for all time: a data set's budget never renews; {charged}",
        "adaptivity": f"the promise holds for all that is done with the data set{_ADMITTED}",
        "exposure": (
            "that partitions are disjoint, and assigned without looking at the data that is protected, is the "
            "statement of whoever registered them; that nobody was exposed to more than was counted is derived by the "
            "audit of the ledger"
        ),
    }
