"""A report as people read it: one file, nothing run, every picture in words and numbers too, light and dark."""

import base64
from dataclasses import replace
from decimal import Decimal
from typing import cast
from xml.etree import ElementTree

import pytest

from accounting.values import InvalidValueError, PrivacyLoss, decimal_text
from deployments.reporting.comparison import compare
from deployments.reporting.html import comparison_html, report_html
from deployments.reporting.picture import PictureFormat, Theme, described, draw
from deployments.reporting.variations import DeltaPoint
from proofs.render.html import foreign
from tests.unit.reporting_helpers import DELTA, facts, facts_of, report, told_of

HOSTILE = '<script>alert("1")</script> $x$ **y** `z` \u202e'


def page() -> ElementTree.Element:
    """The report's HTML, which is well-formed XML after its first line."""
    return ElementTree.fromstring(report_html(report()).partition("\n")[2])


def test_every_number_of_the_picture_stands_in_a_table() -> None:
    """All points of both curves, to the last digit."""
    text = report_html(report())
    epsilons = [point.epsilon for point in report().by_delta] + [point.epsilon for point in report().by_steps]
    for epsilon in epsilons:
        assert epsilon is not None
        assert f">{decimal_text(epsilon)}</td>" in text


def test_the_picture_is_told_in_words() -> None:
    """Its alternative text names both curves and their ends."""
    (image,) = page().iter("img")
    assert image.attrib["alt"] == described(report())
    assert "Epsilon against delta" in image.attrib["alt"]
    assert "Epsilon against the number of steps" in image.attrib["alt"]
    assert decimal_text(report().by_delta[0].epsilon or Decimal(0)) in image.attrib["alt"]


def test_the_picture_comes_for_light_and_for_dark() -> None:
    """The dark one for who asked for it, the light one for all else, paper too."""
    sources = list(page().iter("source"))
    assert [source.attrib["media"] for source in sources] == ["print", "(prefers-color-scheme: dark)"]
    shown = [base64.b64decode(source.attrib["srcset"].partition(",")[2]) for source in sources]
    assert shown == [draw(report(), "svg", "light"), draw(report(), "svg", "dark")]
    assert shown[0] != shown[1]


def test_tables_have_heads() -> None:
    """No cell stands under an empty one."""
    heads = list(page().iter("th"))
    assert heads
    assert all("".join(head.itertext()).strip() and head.attrib["scope"] == "col" for head in heads)


def test_the_page_runs_nothing_and_fetches_nothing() -> None:
    """No script; images only from within; every style sheet allowed by its own hash."""
    found = page()
    (policy,) = [meta.attrib["content"] for meta in found.iter("meta") if "http-equiv" in meta.attrib]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert policy.count("'sha256-") == len(list(found.iter("style"))) == 2
    assert not list(found.iter("script"))
    assert not [one for one in found.iter() if "style" in one.attrib or "href" in one.attrib]


def test_foreign_words_are_shown_and_do_nothing() -> None:
    """Whatever a tenant calls its unit, its model or its data set, in text and in evidence."""
    unit = HOSTILE.rstrip("\u202e")
    text = report_html(told_of(model=HOSTILE, dataset_id=HOSTILE, unit=unit))
    assert "<script" not in text
    assert foreign(HOSTILE) in text
    assert "\u202e" not in text


def test_a_comparison_is_a_page_of_tables() -> None:
    """With what all models have cost together, and how far that can be compared."""
    text = comparison_html(compare([facts(), facts_of(job_id="b", unit="visit")]))
    ElementTree.fromstring(text.partition("\n")[2])
    assert "privacy units differ" in text
    assert decimal_text(2 * told_of().facts.spent.epsilon) in text


def test_more_than_was_asked_for_is_said() -> None:
    """In words, not in a number alone."""
    assert "More was spent than was asked for." in report_html(told_of(spent=PrivacyLoss(Decimal(1), DELTA)))
    assert "More was spent than was asked for." not in report_html(report())


@pytest.mark.parametrize("file_format", ["png", "svg"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_same_report_gives_the_same_bytes(file_format: PictureFormat, theme: Theme) -> None:
    """No date, no version, no random id."""
    first = draw(report(), file_format, theme)
    assert first == draw(report(), file_format, theme)
    assert first.startswith(b"\x89PNG" if file_format == "png" else b"<?xml")


def test_a_report_without_a_curve_is_drawn_all_the_same() -> None:
    """Of a job without steps one curve, and of one whose event has no price an empty one."""
    without_steps = replace(report(), by_steps=())
    assert len(draw(without_steps, "svg")) < len(draw(report(), "svg"))
    unpriced = replace(report(), by_steps=(), by_delta=(DeltaPoint(DELTA, None),))
    assert len(draw(unpriced, "svg")) < len(draw(without_steps, "svg"))
    assert described(unpriced).strip().startswith("The tables")


def test_what_cannot_be_drawn_is_refused() -> None:
    """By the name of what is wrong."""
    with pytest.raises(InvalidValueError, match="format"):
        draw(report(), cast(PictureFormat, "gif"))
    with pytest.raises(InvalidValueError, match="theme"):
        draw(report(), "svg", cast(Theme, "sepia"))
