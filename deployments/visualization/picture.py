"""The loss of a tenant over time against its cap, as PNG or SVG.

The same series gives the same bytes. A tenant's name is the only text that is not ours: it is never read as
mathematics, and what the font cannot show is replaced.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import Formatter, FuncFormatter, Locator, MaxNLocator
from numpy.typing import NDArray

from accounting.charges import Cost, Currency
from accounting.filters import FilterKind
from accounting.values import EXACT, InvalidValueError
from deployments.visualization.series import LossSeries, MemberSeries

PictureFormat = Literal["png", "svg"]
Column = NDArray[np.float64]

# Matplotlib's types leave these two out.
_TimeLocator: Callable[..., Locator] = dates.AutoDateLocator
_TimeFormatter: Callable[..., Formatter] = dates.ConciseDateFormatter

# The ids inside an SVG are salted, by default at random.
mpl.rcParams["svg.hashsalt"] = "privacy-engine"

_FONT = FontProperties(family="DejaVu Sans")  # comes with matplotlib, so every machine has it
# After Okabe and Ito's palette, the green darker so that text in it reads well: told apart under every common form of
# colour blindness.
_SPENT, _CAP, _REMAINING = "#0072B2", "#D55E00", "#00805E"
_LIFETIME = "#8E4B79"
_INK, _MUTED, _RULE = "#1F2933", "#5F6C7B", "#E4E7EB"
_LEFT, _RIGHT = 0.065, 0.805
_BUCKETS = 1200
"""Columns of time in which points are thinned: about one for each pixel of the plot."""
_LONGEST_NAME = 48
_MOST_RENEWALS = 60
"""So many of the latest renewals are marked: of daily windows two months, apart enough to be told from each other."""
_TIME_FORMATS = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S.%f"]
_DATE_FORMATS = ["", "%Y", "%Y", "%d %b %Y", "%d %b %Y", "%d %b %Y"]
"""By the unit of the ticks, from years to seconds: what a tick says, and what stands once beside the axis."""
_QUANTITIES = {
    Currency.EPSILON: ("Epsilon ε", "nats"),
    Currency.RHO: ("Rho ρ", "nats"),
    Currency.RENYI: ("Renyi divergence", "nats"),
    Currency.MU_SQUARED: ("Squared mu µ²", "no unit"),
}
"""What a filter counts, with its symbol and its unit."""
_THEOREMS = {
    FilterKind.BASIC: "Basic composition (Rogers et al. 2016)",
    FilterKind.RENYI: "Renyi filter (Feldman, Zrnic 2021)",
    FilterKind.ZCDP: "zCDP filter (Whitehouse et al. 2023)",
    FilterKind.GDP: "Gaussian DP filter (Smith, Thakurta 2022)",
}
"""`accounting.filters.THEOREMS`, short enough for one line."""
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def draw(series: LossSeries, file_format: PictureFormat, member: str | None = None) -> bytes:
    """Draws one member filter's loss over time, its own currency above and delta below, each against its cap.

    Written figures are rounded outward: what is spent up, what remains down. Not for two threads at once.

    Args:
        series: Any number of points; beyond a few thousand they are thinned, without losing a peak or a dip.
        file_format: "png" (1440 by 840 pixels) or "svg".
        member: The member filter; None for the first.

    Returns:
        The file's bytes.

    Raises:
        InvalidValueError: If there is no such format or member.
    """
    if file_format not in ("png", "svg"):
        raise InvalidValueError("format", "must be png or svg")
    name = next(iter(series.members)) if member is None else member
    if name not in series.members:
        raise InvalidValueError("member", f"must be one of {', '.join(series.members)}")
    figure = Figure(figsize=(9.6, 5.6), dpi=150, facecolor="white")
    _write_heading(figure, series, name)
    grid = figure.add_gridspec(
        2, 1, left=_LEFT, right=_RIGHT, top=0.815, bottom=0.09, height_ratios=(3, 1), hspace=0.24
    )
    above = figure.add_subplot(grid[0])
    below = figure.add_subplot(grid[1], sharex=above)
    above.tick_params(labelbottom=False)
    times = _days(series)
    renewals = times[list(series.renewals)]
    for axes, panel in zip((above, below), _panels(series.members[name]), strict=True):
        _draw_panel(axes, times, panel, renewals)
    _name_renewals(above, renewals)
    _draw_time_axis(below, times)
    buffer = io.BytesIO()
    # A date or a version number would make two pictures of one series differ.
    metadata = {"Software": None} if file_format == "png" else {"Date": None, "Creator": None}
    figure.savefig(buffer, format=file_format, metadata=metadata)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class _Panel:
    """What one panel shows.

    Attributes:
        name: The quantity's, with its symbol.
        unit: The quantity's.
        spent: One value for each point.
        cap: One value for each point.
        lifetime: The same over all windows; None where it is the same as `spent`.
        last: Spent, cap and lifetime after the last entry, exact; None without entries.
    """

    name: str
    unit: str
    spent: Column
    cap: Column
    lifetime: Column | None
    last: tuple[Decimal, Decimal, Decimal] | None


def _panels(member: MemberSeries) -> tuple[_Panel, _Panel]:
    name, unit = _QUANTITIES[member.currency]
    if member.order is not None:
        name = f"{name} of order {member.order}"
    return (
        _panel(name, unit, member, lambda cost: cost.amount),
        _panel("Delta δ", "probability", member, lambda cost: cost.delta),
    )


def _panel(name: str, unit: str, member: MemberSeries, part: Callable[[Cost], Decimal]) -> _Panel:
    spent, cap, lifetime = ([part(cost) for cost in costs] for costs in (member.spent, member.cap, member.lifetime))
    return _Panel(
        name,
        unit,
        np.array([float(value) for value in spent]),
        np.array([float(value) for value in cap]),
        None if lifetime == spent else np.array([float(value) for value in lifetime]),
        (spent[-1], cap[-1], lifetime[-1]) if spent else None,
    )


def _write_heading(figure: Figure, series: LossSeries, member: str) -> None:
    entries = f"{len(series.times):,} ledger {'entry' if len(series.times) == 1 else 'entries'}"
    title = f"Privacy loss of {_shown(series.tenant_id)}"
    promised = ""
    if series.promise is not None:
        epsilon = _figure(series.promise.epsilon, ROUND_CEILING)
        promised = f" · promise ε {epsilon}, δ {_figure(series.promise.delta, ROUND_CEILING)}"
    subtitle = f"{_THEOREMS[series.members[member].kind]}{promised} · {entries}"
    heading = figure.text(_LEFT, 0.935, title, size=14, weight="bold", color=_INK, parse_math=False)
    figure.text(_LEFT, 0.888, subtitle, size=9.5, color=_MUTED, parse_math=False)
    room = float(figure.bbox.width) * (0.98 - _LEFT)
    heading.set_fontsize(14 * min(1, room / heading.get_window_extent().width))


def _draw_panel(axes: Axes, times: Column, panel: _Panel, renewals: Column) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_MUTED)
    axes.tick_params(colors=_MUTED, labelsize=8.5, length=0)
    axes.tick_params(axis="x", length=3)
    axes.grid(axis="y", color=_RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    drawn = [panel.spent, panel.cap, *([] if panel.lifetime is None else [panel.lifetime])]
    highest = max(column.max(initial=0) for column in drawn)
    _draw_value_axis(axes, panel, highest)
    if panel.last is None:
        axes.text(0.5, 0.5, "no entries yet", transform=axes.transAxes, color=_MUTED, ha="center", va="center")
        return
    kept = _thinned(times, *drawn)
    x = np.append(times[kept], _time_limits(times)[1])
    spent, cap, *lifetimes = (np.append(column[kept], column[-1]) for column in drawn)
    axes.fill_between(x, spent, np.maximum(spent, cap), step="post", color=_REMAINING, alpha=0.13, linewidth=0)
    axes.fill_between(x, 0, spent, step="post", color=_SPENT, alpha=0.10, linewidth=0)
    axes.step(x, cap, where="post", color=_CAP, linewidth=1.6, linestyle=(0, (5, 2)))
    for lifetime in lifetimes:
        axes.step(x, lifetime, where="post", color=_LIFETIME, linewidth=1.4, linestyle=(0, (1, 1.2)))
    axes.step(x, spent, where="post", color=_SPENT, linewidth=1.9, solid_joinstyle="miter")
    for moment in renewals[-_MOST_RENEWALS:]:
        axes.axvline(moment, color=_MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    _write_end_labels(axes, *panel.last, windows=panel.lifetime is not None)


def _name_renewals(axes: Axes, renewals: Column) -> None:
    """Says what the upright lines are, at the first of them."""
    if renewals.size:
        first = renewals[-_MOST_RENEWALS:][0]
        where = axes.get_xaxis_transform()
        axes.text(first, 0.985, " renewed", transform=where, color=_MUTED, size=8, va="top", ha="left", clip_on=True)


def _draw_value_axis(axes: Axes, panel: _Panel, highest: float) -> None:
    # Between a thousandth and a million, numbers read best as they are.
    power = 0
    if highest > 0 and not 1e-3 <= highest < 1e6:
        power = math.floor(math.log10(highest / 2))
    unit = panel.unit if power == 0 else f"{panel.unit}, in {_power_of_ten(power)}"
    axes.set_ylabel(f"{panel.name} ({unit})", color=_INK, size=9.5, rotation="horizontal", ha="left", va="bottom")
    axes.yaxis.set_label_coords(0, 1 + 5 / _points_high(axes))
    if highest == 0:
        axes.set_ylim(0, 1)
        axes.set_yticks([0])
        return
    axes.set_ylim(0, highest * 1.06)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=2 + int(_points_high(axes) / 45)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10.0**power:,.6g}"))


def _draw_time_axis(axes: Axes, times: Column) -> None:
    axes.set_xlabel("Time (UTC)", color=_INK, size=9.5)
    if times.size == 0:
        axes.set_xticks([])
        return
    locator: Locator = _TimeLocator(tz="UTC", minticks=4, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    labels = _TimeFormatter(locator, tz="UTC", formats=_TIME_FORMATS, offset_formats=_DATE_FORMATS)
    axes.xaxis.set_major_formatter(labels)
    axes.xaxis.get_offset_text().set(color=_MUTED, size=8.5)
    axes.set_xlim(*_time_limits(times))


def _time_limits(times: Column) -> tuple[float, float]:
    """The ends of the time axis, in days: a little after the last entry, so that its step is seen."""
    first, last = float(times[0]), float(times[-1])
    half_second = 0.5 / 86400
    margin = max((last - first) * 0.04, half_second)
    return first - margin / 4, last + margin


def _write_end_labels(axes: Axes, spent: Decimal, cap: Decimal, lifetime: Decimal, *, windows: bool) -> None:
    """Names each line and area at its right end, which spares the reader a legend."""
    remaining = EXACT.subtract(cap, spent)
    if spent == cap == 0:
        axes.text(1.012, 0, "cap 0", transform=axes.transAxes, color=_CAP, size=9, va="center", weight="bold")
        return
    between = f"remaining {_figure(remaining, ROUND_FLOOR)}", _REMAINING
    if remaining < 0:
        # Another filter still holds, so this one could be passed.
        between = f"over by {_figure(EXACT.minus(remaining), ROUND_CEILING)}", _SPENT
    labels = [
        (float(cap), f"cap {_figure(cap, ROUND_FLOOR)}", _CAP),
        (float(spent + cap) / 2, *between),
        (float(spent), f"spent {_figure(spent, ROUND_CEILING)}", _SPENT),
    ]
    if windows:
        labels.append((float(lifetime), f"lifetime {_figure(lifetime, ROUND_CEILING)}", _LIFETIME))
    # From above to below, each at its line.
    labels.sort(key=lambda label: -label[0])
    top = axes.get_ylim()[1]
    places = _spread([value / top for value, _, _ in labels], gap=13.5 / _points_high(axes))
    for place, (_, text, colour) in zip(places, labels, strict=True):
        axes.text(1.012, place, text, transform=axes.transAxes, color=colour, size=9, va="center", weight="bold")


def _points_high(axes: Axes) -> float:
    """The panel's height in points, the unit of type sizes."""
    return float(axes.bbox.height) * 72 / axes.figure.dpi


def _spread(places: list[float], gap: float) -> list[float]:
    """Falling places, moved down to keep `gap` between them; where that leads below 0, moved up again from there."""
    moved: list[float] = []
    for place in places:
        moved.append(min(place, moved[-1] - gap) if moved else place)
    floor = 0.0
    for index in reversed(range(len(moved))):
        moved[index] = max(moved[index], floor)
        floor = moved[index] + gap
    return moved


def _thinned(times: Column, *columns: Column) -> NDArray[np.intp]:
    """Indices of the points to draw: in each bucket of time the first, the last and each column's extremes."""
    count = times.size
    if count <= 4 * _BUCKETS:
        return np.arange(count)
    span = times[-1] - times[0]
    share = (times - times[0]) / span if span > 0 else np.linspace(0, 1, count)
    bucket = np.minimum((share * _BUCKETS).astype(np.intp), _BUCKETS - 1)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    ends = np.append(starts[1:], count)
    kept = {0, count - 1}
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        kept.update((start, end - 1))
        for column in columns:
            part = column[start:end]
            kept.update((start + int(part.argmin()), start + int(part.argmax())))
    return np.array(sorted(kept), dtype=np.intp)


def _days(series: LossSeries) -> Column:
    """The times as matplotlib counts them, never falling: a new owner's clock may lag by a moment."""
    seconds = np.array([moment.timestamp() for moment in series.times])
    return np.maximum.accumulate(seconds) / 86400


def _figure(value: Decimal, rounding: str) -> str:
    """A number in four digits: 9.274, 1.2×10⁻⁵, 125,000."""
    short = Context(prec=4, rounding=rounding).plus(value).normalize()
    if short == 0:
        return "0"
    power = short.adjusted()
    if -4 <= power <= 6:
        return f"{short:,f}"
    return f"{short.scaleb(-power).normalize():f}×{_power_of_ten(power)}"


def _power_of_ten(power: int) -> str:
    return "10" + str(power).translate(_SUPERSCRIPTS)


def _shown(text: str) -> str:
    """The text as it may stand in a picture: one line, not too long, only characters that the font has."""
    cut = text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"
    known = _characters()
    return "".join(c if c.isprintable() and ord(c) in known else "\N{REPLACEMENT CHARACTER}" for c in cut)


@lru_cache(maxsize=1)
def _characters() -> frozenset[int]:
    return frozenset(get_font(findfont(_FONT)).get_charmap())
