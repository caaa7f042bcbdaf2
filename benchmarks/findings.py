"""What a benchmark found, and what the design asks for beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.report import layout


@dataclass(frozen=True, slots=True)
class Goal:
    """One target.

    Attributes:
        what: What was measured.
        measured: The figure, as people read it.
        wanted: The bound, as people read it.
        met: Whether the figure, unrounded, keeps to the bound.
    """

    what: str
    measured: str
    wanted: str
    met: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a benchmark has to say.

    Attributes:
        name: Of the benchmark.
        lines: The figures as people read them.
        goals: What the design wants of them.
        figures: The same as JSON-ready data.
    """

    name: str
    lines: Sequence[str]
    goals: Sequence[Goal]
    figures: Mapping[str, Any] = field(default_factory=dict)


def at_least(what: str, measured: float, bound: float, *, places: int = 2) -> Goal:
    """A figure that may not be smaller than the bound."""
    return Goal(what, f"{measured:,.{places}f}", f"at least {bound:,g}", measured >= bound)


def at_most(what: str, measured: float, bound: float, *, places: int = 2) -> Goal:
    """A figure that may not be larger than the bound."""
    return Goal(what, f"{measured:,.{places}f}", f"at most {bound:,g}", measured <= bound)


def format_goals(goals: Sequence[Goal]) -> list[str]:
    """Lay goals out under a header; those that were missed say so."""
    lines = [(goal.what, goal.measured, goal.wanted, "" if goal.met else "missed") for goal in goals]
    return layout(("goal", "measured", "wanted", ""), lines)
