"""From the figures of every round to a table: medians and paired ratios.

A ratio is taken inside each round, between two runs that stood next to each other, and the median is taken of those.
A machine that slows down for a minute then slows both sides of a ratio, and what travels to another machine is the
ratio.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.load import LoadResult

_HEADERS = ("path", "per second", "p50 ms", "p99 ms", "ratio to peer", "ratio to no-op")

Round = Mapping[str, LoadResult]
"""One round: the figures of each path by its name."""


@dataclass(frozen=True, slots=True)
class MeasuredPath:
    """Something that was put under load.

    Attributes:
        name: What the table calls it.
        peer: The path of the row-lock peer that it is compared with, where there is one.
        noop: The path of the no-op endpoint that it is compared with, where there is one.
        each: Allocations in one request, which is what its rate counts.
    """

    name: str
    peer: str | None = None
    noop: str | None = None
    each: int = 1


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of requests a second over all rounds: its median, and the range it kept to."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the median, followed by the range."""
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True)
class Row:
    """One path's figures, each a median over the rounds; the failures are summed.

    The rate counts allocations (or, for the no-op, requests); times are those of a whole request.
    """

    path: str
    per_second: float
    p50_ms: float
    p99_ms: float
    to_peer: Ratio | None
    to_noop: Ratio | None
    failures: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that a benchmark has to say."""

    generator: str
    rounds: int
    rows: tuple[Row, ...]

    def lines(self) -> list[str]:
        """Return the report as people read it."""
        lines = [
            f"load       {self.generator}, medians of {self.rounds} rounds, ratios paired within a round",
            *format_table(self.rows),
        ]
        failed = [f"{row.path} {row.failures}" for row in self.rows if row.failures]
        if failed:
            lines.append(f"failures   {', '.join(failed)}: look into them before reading the figures")
        return lines

    def row(self, path: str) -> Row:
        """The row of a path, by its name."""
        return next(row for row in self.rows if row.path == path)

    def figures(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return asdict(self)


def paired_ratio(rounds: Sequence[Round], numerator: str, denominator: str) -> Ratio:
    """Compare two paths round by round.

    Args:
        rounds: The figures.
        numerator: The path whose requests a second are divided.
        denominator: The path whose requests a second divide.

    Returns:
        The median ratio and its range.

    Raises:
        ValueError: There is no round, or the divisor answered nothing in one of them.
    """
    if not rounds:
        raise ValueError("a ratio needs at least one round")
    if any(figures[denominator].rps == 0 for figures in rounds):
        raise ValueError(f"{denominator} answered nothing in a round")
    ratios = [figures[numerator].rps / figures[denominator].rps for figures in rounds]
    return Ratio(median(ratios), min(ratios), max(ratios))


def summarize(paths: Sequence[MeasuredPath], rounds: Sequence[Round]) -> Report:
    """Reduce the figures of all rounds to one row a path.

    Args:
        paths: What was measured, in the order of the table.
        rounds: The figures.

    Returns:
        The report.

    Raises:
        ValueError: There is no round, or a path that others are compared with answered nothing.
    """
    if not rounds:
        raise ValueError("a report needs at least one round")
    generators = sorted({result.generator for figures in rounds for result in figures.values()})
    return Report(" and ".join(generators), len(rounds), tuple(_row(path, rounds) for path in paths))


def format_table(rows: Sequence[Row]) -> list[str]:
    """Lay the rows of a report out under their header."""
    return layout(_HEADERS, [_cells(row) for row in rows])


def layout(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Lay lines of cells out under a header: names to the left, figures to the right."""
    cells = [headers, *lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(headers))]
    table = [_align(line, widths) for line in cells]
    table.insert(1, "  ".join("-" * width for width in widths))
    return table


def _row(path: MeasuredPath, rounds: Sequence[Round]) -> Row:
    results = [figures[path.name] for figures in rounds]
    return Row(
        path=path.name,
        per_second=median(result.rps for result in results) * path.each,
        p50_ms=median(result.p50_ms for result in results),
        p99_ms=median(result.p99_ms for result in results),
        to_peer=paired_ratio(rounds, path.name, path.peer) if path.peer else None,
        to_noop=paired_ratio(rounds, path.name, path.noop) if path.noop else None,
        failures=sum(result.errors_non_2xx + result.errors_socket for result in results),
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.path,
        f"{row.per_second:,.0f}",
        f"{row.p50_ms:.1f}",
        f"{row.p99_ms:.1f}",
        str(row.to_peer or "-"),
        str(row.to_noop or "-"),
    )


def _align(line: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures = line
    aligned = (figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True))
    return "  ".join((name.ljust(widths[0]), *aligned))
