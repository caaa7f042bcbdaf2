"""Where what was counted goes: a meter. One keeps it in memory, `serve_app.observing.ray_meter` gives it to Ray."""

from collections.abc import Mapping
from typing import Protocol

from serve_app.observing.catalogue import CATALOGUE, Kind

Labels = tuple[str, ...]
"""Values of a metric's labels, in the catalogue's order; a bucket's bound last."""


def instruments() -> Mapping[str, tuple[Kind, tuple[str, ...], str]]:
    """What a meter knows: kind (a counter or a gauge), names of the labels, and what it says, by name."""
    known: dict[str, tuple[Kind, tuple[str, ...], str]] = {}
    for metric in CATALOGUE:
        if metric.kind is Kind.HISTOGRAM:
            known[f"{metric.name}_bucket"] = (Kind.COUNTER, (*metric.labels, "le"), metric.told)
            known[f"{metric.name}_sum"] = (Kind.COUNTER, metric.labels, metric.told)
            known[f"{metric.name}_count"] = (Kind.COUNTER, metric.labels, metric.told)
        else:
            known[metric.name] = (metric.kind, metric.labels, metric.told)
    return known


class Meter(Protocol):
    """Takes numbers.

    Both methods raise `ValueError` for a name that is not of that kind, for labels that are not as many as it has, and
    for a counter that would not grow.
    """

    def add(self, name: str, labels: Labels, amount: float) -> None:
        """Adds to a counter."""
        ...

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Sets a gauge."""
        ...


class Checks:
    """What every meter refuses."""

    def __init__(self) -> None:
        self.known = instruments()

    def __call__(self, name: str, kind: Kind, labels: Labels, amount: float = 1.0) -> None:
        """Refuses what is not in the catalogue.

        Raises:
            ValueError: See `Meter`.
        """
        found, names, _ = self.known.get(name, (None, (), ""))
        if found is not kind or len(names) != len(labels):
            raise ValueError(f"there is no {kind} {name} with {len(labels)} labels")
        if not amount > 0:
            raise ValueError(f"the counter {name} only grows")


class MemoryMeter:
    """Keeps the numbers: for tests, and where there is no Ray.

    Attributes:
        values: By name and labels.
    """

    def __init__(self) -> None:
        self._check = Checks()
        self.values: dict[tuple[str, Labels], float] = {}

    def add(self, name: str, labels: Labels, amount: float) -> None:
        """See `Meter`."""
        self._check(name, Kind.COUNTER, labels, amount)
        self.values[name, labels] = self.values.get((name, labels), 0.0) + amount

    def set(self, name: str, labels: Labels, value: float) -> None:
        """See `Meter`."""
        self._check(name, Kind.GAUGE, labels)
        self.values[name, labels] = value
