"""The dashboard, the alert rules and the document speak of the metrics that there are, and of all of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.observing.catalogue import CATALOGUE, Kind, as_table

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "ops/grafana/privacy-engine.json"
RULES = ROOT / "ops/alerts/privacy-engine.yaml"
DOCUMENT = ROOT / "docs/monitoring.md"
FUNCTIONS = {"histogram_quantile", "increase", "max", "rate", "sum"}
WORDS = {"by", "offset", "or", "unless"}
RAYS_LABELS = {"application", "deployment", "replica"}

EXPORTED = {name for metric in CATALOGUE for name in metric.series}
LABELS = {
    name: {*metric.labels, *RAYS_LABELS} | ({"le"} if metric.kind is Kind.HISTOGRAM else set())
    for metric in CATALOGUE
    for name in metric.series
}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def rules() -> list[dict[str, Any]]:
    """All alert rules."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    """All PromQL that ships."""
    shown = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    return shown + [rule["expr"] for rule in rules()]


def names_in(expression: str) -> set[str]:
    """The series that an expression reads."""
    return set(re.findall(r"\bray_\w+", expression))


def test_every_metric_is_ours_by_name_and_told_in_a_sentence() -> None:
    """Names are those that Prometheus takes, unique, and none of a bucket's label."""
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)
    for metric in CATALOGUE:
        assert re.fullmatch(r"privacy_[a-z_]+", metric.name)
        assert metric.told.endswith(".")
        assert (metric.kind is Kind.HISTOGRAM) == bool(metric.bounds)
        assert list(metric.bounds) == sorted(set(metric.bounds))


def test_no_label_can_hold_a_tenant_a_job_or_a_name() -> None:
    """Labels are a closed set of words; adding one means to look at this test, and to think of cardinality."""
    assert {label for metric in CATALOGUE for label in metric.labels} == {
        "outcome", "source_engine", "reason", "within", "used", "relay", "loop", "mechanism", "form", "state", "ending",
        "status",
    }  # fmt: skip


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_reads_series_that_are_exported_by_labels_that_they_have(expression: str) -> None:
    """No panel and no alert waits for a series that nobody exports."""
    names = names_in(expression)
    assert names
    assert names <= EXPORTED
    known = set.union(*(LABELS[name] for name in names))
    used = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    used |= set(re.findall(r"[{,]\s*(\w+)\s*=", expression))
    assert used <= known


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_is_whole(expression: str) -> None:
    """Brackets close in order, and words are known functions or operators."""
    pairs = {")": "(", "]": "[", "}": "{"}
    open_ones: list[str] = []
    for character in re.sub(r'"[^"]*"', "", expression):
        if character in "([{":
            open_ones.append(character)
        elif character in pairs:
            assert open_ones.pop() == pairs[character]
    assert open_ones == []
    bare = re.sub(r'\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)|"[^"]*"', "", expression)
    words = set(re.findall(r"[a-z][a-z_]*", re.sub(r"\bray_\w+|\b\d+[smhd]\b", "", bare)))
    assert words <= FUNCTIONS | WORDS


def test_every_metric_is_on_the_dashboard() -> None:
    """A metric that nobody looks at would not be worth its series."""
    shown = {
        name
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
        for name in names_in(target["expr"])
    }
    assert shown == EXPORTED


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """Ids are unique, no panel lies on another, and every panel says what it shows."""
    panels = dashboard()["panels"]
    assert dashboard()["uid"] == "privacy-engine"
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert [target["refId"] for target in panel["targets"]] == sorted({t["refId"] for t in panel["targets"]})


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_every_alert_says_what_it_means_and_where_to_read_what_to_do(rule: dict[str, Any]) -> None:
    """A summary, a severity of three, and a section of the document with its name."""
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["labels"]["severity"] in {"page", "ticket", "note"}
    assert rule["annotations"]["runbook"] == f"docs/monitoring.md#{rule['alert'].lower()}"
    assert f"### {rule['alert']}\n" in DOCUMENT.read_text()


def test_the_document_explains_the_alerts_that_there_are() -> None:
    """No section for an alert that was taken away."""
    alerts = DOCUMENT.read_text().partition("## Alerts")[2].partition("## Traces")[0]
    assert re.findall(r"^### (\w+)$", alerts, re.MULTILINE) == [rule["alert"] for rule in rules()]


def test_the_documents_table_is_the_catalogue() -> None:
    """Made by `as_table`; whoever adds a metric puts its output between the two comments."""
    told = DOCUMENT.read_text().partition("catalogue.as_table -->\n")[2].partition("\n<!-- /metrics")[0]
    assert told == as_table()
