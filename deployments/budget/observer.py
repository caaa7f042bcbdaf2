"""Who may look on while an owner works, to count and to trace. It decides nothing and must not raise or wait."""

from collections.abc import Sequence
from typing import Protocol

from accounting.admission import Verdict
from deployments.budget.lane import Command


class Observer(Protocol):
    """Is told what an owner does, on the owner's loop."""

    def arrived(self) -> object:
        """A request is put in the queue, in its caller's own context. What is returned stays with the request."""
        ...

    def decided(self, command: Command, verdict: Verdict) -> None:
        """A request has its final answer."""
        ...

    def wrote(self, marks: Sequence[object], entries: int, seconds: float) -> None:
        """A write has become durable.

        Args:
            marks: What `arrived` returned for each request that was decided in it.
            entries: How many entries were written.
            seconds: How long the ledger took.
        """
        ...

    def conflicted(self) -> None:
        """A write was refused because another owner wrote first."""
        ...


class Nobody:
    """Looks at nothing."""

    def arrived(self) -> object:
        """See `Observer`."""
        return None

    def decided(self, command: Command, verdict: Verdict) -> None:
        """See `Observer`."""

    def wrote(self, marks: Sequence[object], entries: int, seconds: float) -> None:
        """See `Observer`."""

    def conflicted(self) -> None:
        """See `Observer`."""
