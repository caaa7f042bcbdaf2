"""The kinds of tasks: how each is planned from an order, and how it is carried out.

Planning needs no private data and ends in an event and its price; carrying out draws exactly that event. What is slow
to import is imported where it is used, so that a service which only takes orders stays small.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from accounting.events import Event
from accounting.values import InvalidValueError
from deployments.synthesis.schema import Schema
from deployments.synthesis.table import Table
from deployments.training.document import TaskDocument

KINDS = ("logistic", "mlp", "cnn", "module", "dp-tvae", "dp-ctgan", "dp-marginal")
NEEDED = ("torch", "opacus", "safetensors")
"""Packages that all kinds but the marginal one compute with."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        kind: Name of a kind.
        schema: Public columns of the rows.
        records: How many rows there are. Public.
        epsilon: What it may cost.
        delta: At which delta.
        target: The column to be predicted, where the kind wants one.
        options: The kind's own settings, as they came over the wire.
        allowed: Import paths of modules that may be trained.
    """

    kind: str
    schema: Schema
    records: int
    epsilon: Decimal
    delta: Decimal
    target: str | None
    options: Mapping[str, Any]
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """What will be done.

    Attributes:
        event: What is charged.
        steps: Noisy steps in it.
        plan: What `Kind.rebuilt` and `Kind.carry_out` need, JSON-ready.
    """

    event: Event
    steps: int
    plan: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """What carrying out a task gets.

    Attributes:
        document: The task's.
        table: The rows.
        results: An empty folder for what it makes.
        checkpoint: A folder that outlives this start; what is in it comes from earlier ones.
        begin: To be called once, before the first step, with the number of steps that a checkpoint has. It answers what
            to call after each step, with the number of steps done: whether to stop.
        allowed: As the order's.
        leads: Whether this worker writes results. Of several that share the steps, one does.
    """

    document: TaskDocument
    table: Table
    results: Path
    checkpoint: Path
    begin: Callable[[int], Callable[[int], bool]]
    allowed: tuple[str, ...] = ()
    leads: bool = True


class Kind(Protocol):
    """One kind of task."""

    @property
    def makes_rows(self) -> bool:
        """Whether it ends in synthetic rows."""
        ...

    @property
    def shares_work(self) -> bool:
        """Whether several workers can share its steps."""
        ...

    def plan(self, order: Order) -> Planned:
        """What will be done; takes some seconds.

        Raises:
            InvalidValueError: For whatever is wrong with the order.
        """
        ...

    def rebuilt(self, document: TaskDocument) -> Event:
        """The event that `carry_out` would draw, from the document's plan alone."""
        ...

    def carry_out(self, work: Work) -> bool:
        """Does it, and leaves files in `work.results`.

        Returns:
            Whether it came to its end; False where it was told to stop.
        """
        ...


def kind_of(name: str) -> Kind:
    """The kind of that name.

    Raises:
        InvalidValueError: If there is none, with the names that there are; or if what it computes with is not
            installed here. So that is told before anything is held, and again before anything is read.
    """
    if name not in KINDS:
        raise InvalidValueError("kind", f"must be one of {', '.join(KINDS)}")
    if name == "dp-marginal":
        from deployments.training.marginals import MarginalKind

        return MarginalKind()
    missing = [package for package in NEEDED if find_spec(package) is None]
    if missing:
        reason = f"{name} needs {' and '.join(missing)}: pip install 'privacy-engine[training]' where the service runs"
        raise InvalidValueError("kind", reason)
    if name in ("dp-tvae", "dp-ctgan"):
        from deployments.training.networks import NetworkKind

        return NetworkKind(name)
    from deployments.training.predictors import PredictorKind

    return PredictorKind(name)
