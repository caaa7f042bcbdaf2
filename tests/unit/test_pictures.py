"""A picture shows every history, hides no peak, and runs nothing that a tenant put into its name."""

import json
import struct
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import cast
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.charges import Cost
from accounting.filters import Budget, Charge, FilterKind, Share, basic_budget, budget
from accounting.ledger.entry import Entry, EntryKind
from accounting.values import InvalidValueError, PrivacyLoss
from deployments.visualization import picture
from deployments.visualization.picture import PictureFormat, draw
from deployments.visualization.series import LossSeries, MemberSeries, loss_series, series_to_wire

pytestmark = pytest.mark.untraced

CAP = PrivacyLoss(Decimal(10), Decimal("0.00001"))
START = datetime(2026, 11, 1, 8, tzinfo=UTC)


def history(
    *spent: str, tenant_id: str = "acme", cap: PrivacyLoss = CAP, apart: timedelta | None = None
) -> list[Entry]:
    """Entries an hour apart, whose running epsilons are given, with a delta of a millionth of each."""
    held = basic_budget(cap)
    step = timedelta(hours=1) if apart is None else apart
    sums = [Charge((Cost(Decimal(text), min(cap.delta, Decimal(text) / 1_000_000)),)) for text in spent]
    return [
        Entry(
            tenant_id=tenant_id,
            seq=index + 1,
            kind=EntryKind.CONSUMED if index else EntryKind.BUDGET_SET,
            at=START + index * step,
            budget=held,
            spent=charged,
            held=held.nothing(),
            lifetime=charged,
            operations=index,
            period_start=START,
            prev_hash=bytes(32),
        )
        for index, charged in enumerate(sums)
    ]


def series_of(*spent: str, tenant_id: str = "acme") -> LossSeries:
    """The series of such a history."""
    return loss_series(history(*spent, tenant_id=tenant_id), tenant_id)


FOUR = budget(
    CAP,
    [
        Share(FilterKind.BASIC, Decimal("0.000004")),
        Share(FilterKind.RENYI, Decimal("0.000001"), Decimal("0.000001"), 8),
        Share(FilterKind.ZCDP, Decimal("0.000001"), Decimal("0.000001")),
        Share(FilterKind.GDP, Decimal("0.000001"), Decimal("0.000001")),
    ],
)
"""A budget with every filter there is."""


def series_of_four(held: Budget = FOUR) -> LossSeries:
    """Two entries under every filter: nothing spent, then more than basic composition allows."""
    spent = [held.nothing(), Charge((Cost(Decimal(11)), *(Cost(Decimal("0.25"), Decimal("1e-7")),) * 3))]
    entries = [
        replace(entry, budget=held, spent=sums, lifetime=sums)
        for entry, sums in zip(history("0", "11"), spent, strict=True)
    ]
    return loss_series(entries, "acme")


def renewing() -> LossSeries:
    """Two windows: what is spent falls to what was held, and goes on from there; the sum over both does not fall."""
    entries = history("0", "6", "1", "3.5")
    lifetimes = [
        Charge((Cost(Decimal(text), cost.delta),))
        for text, cost in zip(("0", "6", "6", "8.5"), (entry.spent.costs[0] for entry in entries), strict=True)
    ]
    entries[2] = replace(entries[2], kind=EntryKind.RENEWED)
    return loss_series([replace(entry, lifetime=sums) for entry, sums in zip(entries, lifetimes, strict=True)], "acme")


def test_a_renewal_is_marked_and_the_loss_over_all_windows_drawn_beside() -> None:
    """Where the two differ; a panel in which they do not has one curve."""
    drawn = draw(renewing(), "svg").decode()
    assert drawn.count("<!--  renewed -->") == 1
    assert "<!-- lifetime 8.5 -->" in drawn
    assert drawn.count("<!-- lifetime") == 1
    plain = draw(series_of("0", "6", "1", "3.5"), "svg").decode()
    assert "renewed" not in plain
    assert "lifetime" not in plain


def test_the_numbers_tell_renewals_and_the_loss_over_all_windows() -> None:
    """Always, so that a caller need not ask whether windows are on."""
    wire = json.loads(json.dumps(series_to_wire(renewing())))
    assert wire["renewals"] == ["2026-11-01T10:00:00.000000Z"]
    basic = wire["members"]["basic"]
    assert basic["exact"]["epsilon_spent"] == ["0", "6", "1", "3.5"]
    assert basic["exact"]["epsilon_lifetime"] == ["0", "6", "6", "8.5"]
    plain = series_to_wire(series_of("0", "1"))
    assert plain["renewals"] == []
    assert plain["members"]["basic"]["epsilon_lifetime"] == [0.0, 1.0]


def test_years_of_renewals_can_be_drawn() -> None:
    """Daily windows of three years: the latest are marked, and the picture stays small."""
    entries = [replace(entry, kind=EntryKind.RENEWED) for entry in history(*["1"] * 1_100, apart=timedelta(days=1))]
    assert len(draw(loss_series(entries, "acme"), "png")) < 200_000


def test_every_filter_has_a_series_in_its_own_currency() -> None:
    """Spent and cap of each stand under the name of what it counts; the promise beside them."""
    series = series_of_four()
    wire = json.loads(json.dumps(series_to_wire(series)))
    assert wire["promise"] == {"epsilon": "10", "delta": "0.00001"}
    currencies = {"basic": "epsilon", "renyi": "renyi", "zcdp": "rho", "gdp": "mu_squared"}
    assert list(wire["members"]) == list(currencies)
    for place, (name, currency) in enumerate(currencies.items()):
        columns = {f"{part}_{column}" for part in (currency, "delta") for column in ("spent", "cap", "lifetime")}
        assert wire["members"][name].keys() == columns | {"exact"}
        exact = wire["members"][name]["exact"]
        assert exact[f"{currency}_cap"] == [str(FOUR.members[place].cap.amount)] * 2
        assert exact[f"{currency}_spent"] == ["0", "11" if name == "basic" else "0.25"]


@pytest.mark.parametrize(
    ("member", "theorem", "quantity"),
    [
        (None, "Basic composition (Rogers et al. 2016)", "Epsilon ε (nats)"),
        ("renyi", "Renyi filter (Feldman, Zrnic 2021)", "Renyi divergence of order 8 (nats)"),
        ("zcdp", "zCDP filter (Whitehouse et al. 2023)", "Rho ρ (nats)"),
        ("gdp", "Gaussian DP filter (Smith, Thakurta 2022)", "Squared mu µ² (no unit)"),
    ],
)
def test_the_heading_names_the_theorem_and_the_promise(member: str | None, theorem: str, quantity: str) -> None:
    """So does the axis what is counted; basic composition is drawn unless another filter is asked for."""
    text = draw(series_of_four(), "svg", member).decode()
    assert f"<!-- {theorem} · promise ε 10, δ 1×10⁻⁵ · 2 ledger entries -->" in text
    assert f"<!-- {quantity} -->" in text


def test_a_filter_that_is_passed_says_by_how_much() -> None:
    """Nothing remains of it, and its labels stand in the order of their lines: spent above the cap."""
    text = draw(series_of_four(), "svg").decode()
    assert text.index("<!-- spent 11 -->") < text.index("<!-- over by 1 -->") < text.index("<!-- cap 10 -->")


def test_every_entry_is_one_point_with_its_exact_figures() -> None:
    """Spent and cap, under the member filter's name."""
    series = series_of("0", "0.1", "0.3")
    basic = series.members["basic"]
    assert series.times == (START, START + timedelta(hours=1), START + timedelta(hours=2))
    assert [cost.amount for cost in basic.spent] == [Decimal(0), Decimal("0.1"), Decimal("0.3")]
    assert basic.cap == (Cost(CAP.epsilon, CAP.delta),) * 3
    assert series.promise == CAP


def test_a_series_never_mixes_tenants() -> None:
    """A stranger's entry is a bug of the caller, not something to draw."""
    with pytest.raises(ValueError, match="not of the tenant"):
        loss_series(history("0", tenant_id="other"), "acme")


def test_a_series_keeps_the_ledgers_order() -> None:
    """Entries out of order are a bug of the caller."""
    with pytest.raises(ValueError, match="comes after"):
        loss_series(history("0", "1")[::-1], "acme")


def test_the_wire_form_is_json_with_floats_and_exact_decimals() -> None:
    """A tenth is the double next to it, and "0.1"."""
    wire = json.loads(json.dumps(series_to_wire(series_of("0", "0.1"))))
    assert wire["tenant_id"] == "acme"
    assert wire["times"] == ["2026-11-01T08:00:00.000000Z", "2026-11-01T09:00:00.000000Z"]
    basic = wire["members"]["basic"]
    assert basic["epsilon_spent"] == [0.0, 0.1]
    assert basic["delta_cap"] == [1e-05, 1e-05]
    assert basic["exact"]["epsilon_spent"] == ["0", "0.1"]
    assert basic["exact"]["delta_cap"] == ["0.00001", "0.00001"]


@pytest.mark.parametrize("spent", [(), ("0",), ("0", "10"), ("0", "3", "1", "10")], ids=len)
@pytest.mark.parametrize("file_format", ["png", "svg"])
def test_any_history_can_be_drawn(spent: tuple[str, ...], file_format: PictureFormat) -> None:
    """None at all, a fresh budget, a void, an exhausted one."""
    drawn = draw(series_of(*spent), file_format)
    if file_format == "png":
        assert drawn.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">II", drawn[16:24]) == (1440, 840)
    else:
        assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize(
    "cap",
    [
        PrivacyLoss(Decimal(1), Decimal(0)),
        PrivacyLoss(Decimal("1e-12"), Decimal("1e-30")),
        PrivacyLoss(Decimal(10) ** 6, Decimal("0.5")),
    ],
    ids=["pure", "tiny", "huge"],
)
def test_caps_of_any_size_can_be_drawn(cap: PrivacyLoss) -> None:
    """From nothing at all to what promises nothing."""
    for spent in ("0", str(cap.epsilon)):
        assert draw(loss_series(history("0", spent, cap=cap), "acme"), "png")


def test_entries_of_one_moment_can_be_drawn() -> None:
    """A time axis needs some width even where no time passed."""
    entries = history(*map(str, range(6000)), apart=timedelta(0))
    assert draw(loss_series(entries, "acme"), "png")


@pytest.mark.parametrize("file_format", ["png", "svg"])
def test_the_same_series_gives_the_same_bytes(file_format: PictureFormat) -> None:
    """Also in another process: neither a date nor a random id is inside."""
    program = (
        "import sys; from tests.unit.test_pictures import *; "
        "sys.stdout.buffer.write(draw(series_of('0', '1', '2.5'), sys.argv[1]))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", program, file_format], capture_output=True, check=True).stdout
    assert draw(series_of("0", "1", "2.5"), file_format) == elsewhere


@pytest.mark.parametrize(
    "tenant_id",
    [
        "$x$ and $\\frac{1}{2}$",
        "$\\undefined",
        "<script>alert(1)</script>",
        "--><script>alert(1)</script><!--",
        "]]>&amp;&lt;\"'",
        "a\nb\x00\x1b\ud800\N{RIGHT-TO-LEFT OVERRIDE}c",
        "\N{CJK UNIFIED IDEOGRAPH-6F22}\N{GRINNING FACE}",
        "W" * 500,
        "",
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("error")
def test_a_hostile_name_is_only_text(tenant_id: str) -> None:
    """No mathematics, no markup, no broken document, no warning of a missing glyph."""
    series = series_of("0", "1", tenant_id=tenant_id)
    assert draw(series, "png")
    drawn = draw(series, "svg")
    tags = {element.tag.rsplit("}")[-1] for element in ElementTree.fromstring(drawn).iter()}
    assert tags <= {
        "svg",
        "metadata",
        "RDF",
        "Work",
        "type",
        "format",
        "defs",
        "style",
        "g",
        "path",
        "use",
        "clipPath",
        "rect",
    }
    assert b"<script" not in drawn
    assert not any(b" on" + event + b"=" in drawn for event in (b"load", b"click", b"error"))


def test_a_name_with_dollars_is_drawn_as_it_stands() -> None:
    """The dollar signs are glyphs of the title, not the ends of a formula."""
    text = draw(series_of("0", tenant_id="$x$"), "svg").decode()
    assert "<!-- Privacy loss of $x$ -->" in text


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20_000), st.integers(0, 2**32 - 1))
def test_thinning_hides_neither_peak_nor_dip(count: int, seed: int) -> None:
    """Few enough points remain, both ends among them, with every column's extremes in every column of pixels."""
    random = np.random.default_rng(seed)
    times, spent = np.sort(random.exponential(size=count)), random.normal(size=count)
    kept = picture._thinned(times, spent)
    assert len(kept) <= 4 * picture._BUCKETS
    assert np.all(np.diff(kept) > 0)
    assert (kept[0], kept[-1]) == (0, count - 1)
    edges = np.linspace(times[0], times[-1], 50)
    for low, high in pairwise(edges):
        inside = (times >= low) & (times <= high)
        shown = (times[kept] >= low) & (times[kept] <= high)
        if inside.sum() > 1000 and count > 4 * picture._BUCKETS:
            assert spent[kept][shown].max() >= np.partition(spent[inside], -200)[-200]
    assert spent[kept].max() == spent.max()
    assert spent[kept].min() == spent.min()


def test_a_hundred_thousand_entries_are_drawn_small_and_soon() -> None:
    """The picture's size is set by its pixels, not by the history."""
    count = 100_000
    costs = tuple(Cost(Decimal(index) / count) for index in range(count))
    member = MemberSeries(FilterKind.BASIC, costs, (Cost(Decimal(10)),) * count, costs)
    times = tuple(START + index * timedelta(seconds=1) for index in range(count))
    series = LossSeries("acme", times, CAP, {"basic": member})
    assert len(draw(series, "png")) < 200_000
    assert len(draw(series, "svg")) < 3_000_000


@pytest.mark.parametrize(
    ("value", "up", "down"),
    [
        ("0", "0", "0"),
        ("10", "10", "10"),
        ("9.99991", "10", "9.999"),
        ("0.00001234567", "1.235×10⁻⁵", "1.234×10⁻⁵"),
        ("123456.7", "123,500", "123,400"),
        ("12345678", "1.235×10⁷", "1.234×10⁷"),
    ],
)
def test_written_figures_round_outward(value: str, up: str, down: str) -> None:
    """Spent never looks smaller than it is, remaining never larger."""
    assert picture._figure(Decimal(value), "ROUND_CEILING") == up
    assert picture._figure(Decimal(value), "ROUND_FLOOR") == down


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_labels_never_lie_on_each_other(places: list[float]) -> None:
    """They keep their order, their distance and the panel, as long as the panel has room for them."""
    moved = picture._spread(sorted(places, reverse=True), gap=0.2)
    assert all(a - b >= 0.2 - 1e-9 for a, b in pairwise(moved))
    assert -1e-9 <= moved[-1]
    assert moved[0] <= 1 + 1e-9


def test_an_unknown_format_is_refused() -> None:
    """Only the two that are offered."""
    with pytest.raises(InvalidValueError) as caught:
        draw(series_of("0"), cast("PictureFormat", "pdf"))
    assert caught.value.field == "format"


def test_an_unknown_member_is_refused() -> None:
    """Only the filters that the series has."""
    with pytest.raises(InvalidValueError) as caught:
        draw(series_of("0"), "png", member="renyi")
    assert caught.value.field == "member"
