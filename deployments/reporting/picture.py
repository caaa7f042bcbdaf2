"""A report's two curves, epsilon against delta and against steps, as PNG or SVG, for light pages and dark ones.

The same report gives the same bytes. The curves stand in the report as tables too; a picture is never their only form.
"""

import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from accounting.values import InvalidValueError, decimal_text
from deployments.reporting.report import PrivacyReport

PictureFormat = Literal["png", "svg"]
Theme = Literal["light", "dark"]

# The ids inside an SVG are salted, by default at random.
mpl.rcParams["svg.hashsalt"] = "privacy-engine"


class _Colours(NamedTuple):
    """Of a page: after Okabe and Ito's palette, told apart under every common form of colour blindness."""

    paper: str
    ink: str
    muted: str
    rule: str
    curve: str
    target: str


_COLOURS: dict[str, _Colours] = {
    "light": _Colours("#fdfdfb", "#1b1b1f", "#5c5f66", "#e4e6ea", "#0072B2", "#B84A00"),
    "dark": _Colours("#16171a", "#e6e6e3", "#a2a5ac", "#2e3136", "#56B4E9", "#F0A04B"),
}
_Point = tuple[float, Decimal, bool]
"""Where it stands, its epsilon, whether it is the job's own."""


def draw(report: PrivacyReport, file_format: PictureFormat, theme: Theme = "light") -> bytes:
    """Draws the curves side by side; the one against steps only where the job has steps. Not for two threads at once.

    Args:
        report: Any.
        file_format: "png" or "svg".
        theme: "light" or "dark".

    Returns:
        The file's bytes.

    Raises:
        InvalidValueError: If there is no such format or theme.
    """
    if file_format not in ("png", "svg"):
        raise InvalidValueError("format", "must be png or svg")
    if theme not in _COLOURS:
        raise InvalidValueError("theme", "must be light or dark")
    colours = _COLOURS[theme]
    facts = report.facts
    by_delta: list[_Point] = [
        (float(point.delta), point.epsilon, point.delta == facts.delta)
        for point in report.by_delta
        if point.epsilon is not None
    ]
    by_steps: list[_Point] = [
        (float(point.steps), point.epsilon, point.steps == facts.steps_held)
        for point in report.by_steps
        if point.epsilon is not None
    ]
    panels = [("Delta δ", by_delta, True)]
    if by_steps:
        panels.append(("Steps", by_steps, False))
    figure = Figure(figsize=(4.6 * len(panels), 3.5), dpi=150, facecolor=colours.paper)
    grid = figure.add_gridspec(
        1, len(panels), left=0.09 / len(panels), right=1 - 0.03 / len(panels), top=0.91, bottom=0.14, wspace=0.16
    )
    # One scale for both, so that they can be read against each other.
    highest = max(float(epsilon) for epsilon in (facts.target_epsilon, *(point[1] for point in by_delta + by_steps)))
    for place, (name, points, logarithmic) in enumerate(panels):
        axes = figure.add_subplot(grid[place])
        axes.set_ylim(0, highest * 1.18)
        _draw_panel(axes, name, points, facts.target_epsilon, colours, logarithmic=logarithmic)
    buffer = io.BytesIO()
    # A date or a version number would make two pictures of one report differ.
    metadata = {"Software": None} if file_format == "png" else {"Date": None, "Creator": None}
    figure.savefig(buffer, format=file_format, metadata=metadata, facecolor=colours.paper)
    return buffer.getvalue()


def described(report: PrivacyReport) -> str:
    """The picture in words, for those who do not see it."""
    parts = [_range("delta", [(decimal_text(point.delta), point.epsilon) for point in report.by_delta])]
    if report.by_steps:
        parts.append(_range("the number of steps", [(str(point.steps), point.epsilon) for point in report.by_steps]))
    return " ".join(part for part in parts if part) + " The tables below the picture have all points."


def _range(name: str, points: Sequence[tuple[str, Decimal | None]]) -> str:
    known = [(place, epsilon) for place, epsilon in points if epsilon is not None]
    if not known:
        return ""
    (first, start), (last, end) = known[0], known[-1]
    return (
        f"Epsilon against {name}: {decimal_text(start)} at {first}, {decimal_text(end)} at {last}, "
        f"over {len(known)} points."
    )


def _draw_panel(
    axes: Axes, name: str, points: Sequence[_Point], target: Decimal, colours: _Colours, *, logarithmic: bool
) -> None:
    axes.set_facecolor(colours.paper)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(colours.muted)
    axes.tick_params(which="both", colors=colours.muted, labelsize=8.5, length=0)
    axes.grid(axis="y", color=colours.rule, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(f"Epsilon ε against {name[0].lower()}{name[1:]}", loc="left", color=colours.ink, size=10)
    axes.set_xlabel(name, color=colours.ink, size=9.5)
    if not points:
        axes.text(0.5, 0.5, "no price", transform=axes.transAxes, color=colours.muted, ha="center", va="center")
        return
    places, epsilons = [place for place, _, _ in points], [float(epsilon) for _, epsilon, _ in points]
    axes.plot(places, epsilons, color=colours.curve, linewidth=1.9, marker="o", markersize=4)
    axes.axhline(float(target), color=colours.target, linewidth=1.4, linestyle=(0, (5, 2)))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    if logarithmic and places[0] > 0:
        axes.set_xscale("log")
        axes.minorticks_off()
    else:
        axes.set_xlim(0, max(places) * 1.08)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    # Where the curve is far from it, the line's name has room.
    left = abs(epsilons[places.index(min(places))] - float(target)) > abs(
        epsilons[places.index(max(places))] - float(target)
    )
    axes.annotate(
        f"target {decimal_text(target)}",
        (0.02 if left else 0.98, float(target)),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, 4),
        textcoords="offset points",
        color=colours.target,
        size=8.5,
        ha="left" if left else "right",
    )
    for place, epsilon, own in points:
        if own:
            axes.plot([place], [float(epsilon)], color=colours.curve, marker="o", markersize=9)
            axes.annotate(
                "this job",
                (place, float(epsilon)),
                xytext=(0, -16),
                textcoords="offset points",
                color=colours.ink,
                size=8.5,
                ha="center",
                weight="bold",
                bbox={"facecolor": colours.paper, "edgecolor": "none", "pad": 1.5},
            )
