"""Evidence reports and exports over HTTP: from the real ledger, with its proofs checked anew."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from decimal import Decimal
from typing import Any

import pytest

from accounting.events import ComposedEvent, GaussianEvent, LaplaceEvent, SelfComposedEvent
from accounting.plans import ORDERS, Theorem, price_under
from accounting.renyi import divergence
from deployments.reporting.regulatory import Framework
from serve_app.service import PREFIX
from tests.integration.test_audit_log_http import until
from tests.support import Caller, Live, assert_problem

GENERATE, EXPORT = f"{PREFIX}/reports/generate", f"{PREFIX}/accountant/export"
LAPLACE = {"kind": "laplace", "scale": 10, "sensitivity": 1}
GAUSSIAN = {"kind": "gaussian", "sigma": 8, "sensitivity": 1}
VERDICT = re.compile(r"complian|certif(y|ied)|is met\b", re.IGNORECASE)
REPRICE = """
import json, sys
document = json.load(sys.stdin)
names = {}
exec(document["loader"], names)
from dp_accounting import NeighboringRelation
from dp_accounting.rdp import RdpAccountant
orders = document["orders"]
accountant = RdpAccountant(orders, NeighboringRelation.ADD_OR_REMOVE_ONE)
for one in document["events"]:
    assert one["neighboring_relation"] == "ADD_OR_REMOVE_ONE"
    accountant.compose(names["load"](one["event"]))
assert not any(name.split(".")[0] in ("accounting", "deployments", "proofs", "serve_app") for name in sys.modules)
json.dump({"rdp": list(accountant.rdp), "epsilon": accountant.get_epsilon(1e-6)}, sys.stdout)
"""


@pytest.fixture(scope="module")
def engine(live: Live) -> Caller:
    """An engine whose tenant has a data set, operations that ended in every way, a refusal and a legal hold."""
    caller = live.new("admin", epsilon="6")
    path = f"{PREFIX}/budget/{caller.tenant}"
    body = {"epsilon": "3", "privacy_unit": "patient", "adjacency": "add_remove"}
    assert caller.request("PUT", f"{path}/datasets/cohort", json=body).status_code == 200
    caller.allocate(event=LAPLACE, source_engine="healthcare", dataset_id="cohort")
    caller.allocate(event=GAUSSIAN, delta="0.000001", source_engine="text")
    many = {"kind": "self_composed", "event": LAPLACE, "count": 10}
    held = caller.allocate(event=many, source_engine="tabular", mode="reserve").json()["allocation_id"]
    assert caller.settle(held, "commit", steps=4).status_code == 200
    voided = caller.allocate(epsilon="0.5", mode="reserve").json()["allocation_id"]
    assert caller.settle(voided, "void").status_code == 200
    caller.allocate(epsilon="0.25", delta="0.0000001")
    caller.allocate(epsilon="0.125", mode="reserve")
    assert caller.allocate(epsilon="50").status_code == 402
    said = {"in_force": True, "reason": "<b>a lawsuit</b>"}
    assert caller.request("PUT", f"{path}/legal-hold", json=said).status_code == 200
    return caller


def generated(caller: Caller, **asked: str) -> dict[str, Any]:
    """A report as JSON."""
    response = caller.post(GENERATE, json={"framework": "gdpr", **asked})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_a_report_says_what_the_ledger_says(engine: Caller) -> None:
    """Budget, sums by mechanism and data set, refusals and ends are those of the tenant's own entries."""
    told, budget = generated(engine), engine.budget()
    assert told["budget"]["remaining_epsilon"] == budget["exact"]["remaining_epsilon"]
    assert told["budget"]["lifetime"]["epsilon"] == budget["exact"]["lifetime_epsilon"]
    assert told["spent"]["total"]["epsilon"] == budget["exact"]["lifetime_epsilon"]
    by_mechanism = {one["event_kind"]: one["epsilon"] for one in told["spent"]["by_mechanism"]}
    assert (by_mechanism["laplace"], by_mechanism["self_composed"], by_mechanism["claim"]) == ("0.1", "0.4", "0.375")
    for name in ("by_engine", "by_mechanism", "by_dataset"):
        assert sum(Decimal(one["epsilon"]) for one in told["spent"][name]) == Decimal(told["spent"]["total"]["epsilon"])
    assert sum(told["refusals"].values()) == 1
    assert (told["entries"]["voided"], told["entries"]["committed"], told["entries"]["held"]) == (1, 1, 3)
    assert told["budget"]["legal_hold"] is True
    (dataset,) = told["datasets"]
    assert (dataset["dataset_id"], dataset["unit"], dataset["adjacency"]) == ("cohort", "patient", "add_remove")


def test_a_report_has_computed_anew_what_it_says_it_checked(engine: Caller) -> None:
    """The history was followed to its last entry, and every operation proved and checked."""
    checks = generated(engine)["checks"]
    history = checks["history"]
    assert (history["first_entry"], history["last_entry"]) == (1, engine.budget()["ledger_seq"])
    assert (history["balances_computed_anew"], history["faults"]) == (True, 0)
    assert checks["proofs"] == {"operations": 6, "checked": 6, "all": True, "reasons": []}


@pytest.mark.parametrize("framework", list(Framework))
def test_no_report_passes_a_verdict(engine: Caller, framework: str) -> None:
    """Evidence is told for named controls, each with its limits; that any is met is nowhere said."""
    told = generated(engine, framework=framework)
    assert len(told["controls"]) >= 3
    for control in told["controls"]:
        assert control["shows"]
        assert control["does_not_show"]
    notice = "no statement that any of them is met"
    assert notice in told["notice"]
    page = engine.post(GENERATE, json={"framework": framework, "format": "html"}).text
    for text in (json.dumps(told), page):
        assert not VERDICT.search(text.replace(notice, ""))


def test_a_report_is_a_page_that_runs_nothing(engine: Caller) -> None:
    """Well-formed, and what people wrote stands in it as text."""
    response = engine.post(GENERATE, json={"framework": "hipaa", "format": "html"})
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = ElementTree.fromstring(response.text.removeprefix("<!DOCTYPE html>"))
    assert page.find(".//script") is None
    assert "&lt;b&gt;a lawsuit&lt;/b&gt;" in response.text


def test_a_report_is_a_pdf(engine: Caller) -> None:
    """Asked for a PDF, the answer is one, from its first bytes to its last."""
    response = engine.post(GENERATE, json={"framework": "soc2", "format": "pdf"})
    assert response.headers["content-type"] == "application/pdf"
    assert response.content.startswith(b"%PDF-")
    assert response.content.rstrip().endswith(b"%%EOF")


def test_a_period_without_entries_is_told_as_one(engine: Caller) -> None:
    """Of another time nothing is told but what holds now."""
    told = generated(engine, since="2001-01-01", until="2001-02-01T00:00:00Z")
    assert told["spent"]["total"] == {"epsilon": "0", "operations": 0}
    assert (told["entries"], told["refusals"], told["operations"]) == ({}, {}, [])
    assert told["checks"]["proofs"]["checked"] == 0


def test_an_export_is_priced_by_a_stranger_as_by_us(engine: Caller) -> None:
    """A process with dp-accounting alone loads it and comes to the divergences that we count, order by order."""
    document = engine.post(EXPORT, json={}).json()
    assert [one["event_kind"] for one in document["events"]] == ["laplace", "gaussian", "self_composed"]
    assert document["events"][2]["event"]["count"] == document["events"][2]["steps_run"] == 4
    assert document["taken_back"] == {"voided": 1}
    reasons = {one["event_kind"]: one["reason"] for one in document["not_exported"]}
    assert len(document["not_exported"]) == 2
    assert "claim" in reasons
    done = subprocess.run(
        [sys.executable, "-I", "-c", REPRICE],
        input=json.dumps(document | {"orders": ORDERS}),
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    laplace = LaplaceEvent(Decimal(10), Decimal(1))
    gaussian = GaussianEvent(Decimal(8), Decimal(1))
    ours = [float(5 * divergence(laplace, order) + divergence(gaussian, order)) for order in ORDERS]
    assert told["rdp"] == pytest.approx(ours, rel=1e-9)
    plan = ComposedEvent((SelfComposedEvent(laplace, 5), gaussian))
    priced = price_under(Theorem.RENYI, plan, Decimal("1e-6")).loss
    assert priced is not None
    assert told["epsilon"] == pytest.approx(float(priced.epsilon), rel=1e-6)


def test_an_export_of_one_data_set_has_that_alone(engine: Caller) -> None:
    """Only its charges, with its neighbours and its id."""
    document = engine.post(EXPORT, json={"dataset_id": "cohort"}).json()
    (one,) = document["events"]
    assert (one["dataset_id"], one["neighboring_relation"]) == ("cohort", "ADD_OR_REMOVE_ONE")
    assert one["charged"]["epsilon"] == "0.1"
    assert (document["not_exported"], document["taken_back"]) == ([], {})


@pytest.mark.parametrize("path", [GENERATE, EXPORT])
def test_another_tenants_history_is_refused(live: Live, engine: Caller, path: str) -> None:
    """Naming another tenant is forbidden; an auditor of all may name any."""
    asked = {"tenant_id": engine.tenant} | ({"framework": "gdpr"} if path == GENERATE else {})
    assert_problem(live.new("viewer").post(path, json=asked), 403, "forbidden")
    assert_problem(live.stranger(engine.tenant).post(path, json=asked), 401, "unauthenticated")
    found = live.caller("*", "auditor").post(path, json=asked)
    assert found.status_code == 200
    assert found.json()["tenant_id"] == engine.tenant


@pytest.mark.parametrize("path", [GENERATE, EXPORT])
def test_a_tenant_without_a_ledger_has_neither(live: Live, path: str) -> None:
    """There is no empty report, and no empty export."""
    asked = {"framework": "gdpr"} if path == GENERATE else {}
    assert_problem(live.new("viewer").post(path, json=asked), 404, "unknown_tenant")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (GENERATE, {"framework": "iso"}, "framework"),
        (GENERATE, {}, "framework"),
        (GENERATE, {"framework": "gdpr", "format": "docx"}, "format"),
        (GENERATE, {"framework": "gdpr", "since": "yesterday"}, "since"),
        (GENERATE, {"framework": "gdpr", "since": "2026-02-01", "until": "2026-01-01"}, "until"),
        (EXPORT, {"format": "csv"}, "format"),
        (EXPORT, {"dataset_id": "a\nb"}, "dataset_id"),
        (EXPORT, {"events": []}, "events"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_name(
    engine: Caller, path: str, body: dict[str, Any], field: str
) -> None:
    """Each is told with the member that is wrong."""
    assert_problem(engine.post(path, json=body), 422, "invalid_request", field)


def test_a_data_set_that_is_not_there_is_not_exported(engine: Caller) -> None:
    """It is told that the data set is not known, not an empty list."""
    assert_problem(engine.post(EXPORT, json={"dataset_id": "none"}), 404, "not_found", "dataset_id")


@pytest.mark.parametrize("path", [GENERATE, EXPORT])
def test_the_audit_log_says_whose_report_an_auditor_of_all_had(live: Live, path: str) -> None:
    """The row is the tenant's that the body names, not that of a token for any tenant."""
    tenant = live.new("admin", epsilon="1").tenant
    auditor = live.caller("*", "auditor")
    asked = {"tenant_id": tenant} | ({"framework": "gdpr"} if path == GENERATE else {})
    assert auditor.post(path, json=asked).status_code == 200
    row = until(auditor, lambda row: row["action"] == "read_reports", tenant_id=tenant)
    assert (row["tenant_id"], row["outcome"]) == (tenant, "done")
