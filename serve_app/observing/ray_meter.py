"""The meter that hands numbers to Ray, which exports them on every node with ``ray_`` before the name."""

from typing import Any

from ray.serve import metrics

from serve_app.observing.catalogue import Kind
from serve_app.observing.meter import Checks, Labels


class RayMeter:
    """Gives numbers to Ray. In a replica Ray Serve adds its application, deployment and replica as labels."""

    def __init__(self) -> None:
        self._check = Checks()
        self._made: dict[str, Any] = {}

    def add(self, name: str, labels: Labels, amount: float) -> None:
        """See `serve_app.observing.meter.Meter`."""
        self._check(name, Kind.COUNTER, labels, amount)
        self._instrument(name).inc(amount, self._tags(name, labels))

    def set(self, name: str, labels: Labels, value: float) -> None:
        """See `serve_app.observing.meter.Meter`."""
        self._check(name, Kind.GAUGE, labels)
        self._instrument(name).set(value, self._tags(name, labels))

    def _instrument(self, name: str) -> Any:  # noqa: ANN401 - Ray has no types
        if name not in self._made:
            kind, labels, told = self._check.known[name]
            make: Any = metrics.Counter if kind is Kind.COUNTER else metrics.Gauge
            self._made[name] = make(name, description=told, tag_keys=labels)
        return self._made[name]

    def _tags(self, name: str, labels: Labels) -> dict[str, str]:
        return dict(zip(self._check.known[name][1], labels, strict=True))
