"""Proofs over HTTP: an auditor who trusts only the published keys can check them."""

import json
import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from proofs.checker import verify_document
from proofs.checker.verify import Report
from proofs.signing import SigningKey
from serve_app.service import PREFIX
from tests.support import Caller, Live, assert_problem


def jwks(live: Live) -> list[dict[str, Any]]:
    """The keys that the service publishes."""
    keys: list[dict[str, Any]] = live.client.get("/.well-known/jwks.json").json()["keys"]
    return keys


def proof_path(job_id: str) -> str:
    """Where a job's proof is."""
    return f"{PREFIX}/proof/{quote(job_id, safe='')}"


def busy(engine: Caller, job_id: str) -> None:
    """A job with every kind of charge: claims, noise, holds that were committed, voided and left open."""
    engine.allocate(job_id="another", epsilon="0.125")
    engine.allocate(job_id=job_id, epsilon="0.1", delta="0.0000001")
    engine.apply(mechanism="laplace", epsilon="0.3", sensitivity=2, data=[1, 2, 3], job_id=job_id)
    engine.allocate(job_id="another", operation_id="x", epsilon="0.25")
    engine.apply(mechanism="gaussian", epsilon="0.4", delta="0.000001", sensitivity=1, data=5, job_id=job_id)
    ends = [engine.allocate(job_id=job_id, operation_id=f"h{n}", epsilon="0.2", mode="reserve") for n in range(3)]
    engine.settle(ends[0].json()["allocation_id"], "commit")
    engine.settle(ends[1].json()["allocation_id"], "void")


def test_a_proof_holds_against_the_published_keys(live: Live, engine: Caller) -> None:
    """The public keys suffice to verify a proof, whose total leaves out only the voided charge."""
    busy(engine, "job")
    response = engine.get(proof_path("job"))
    assert response.status_code == 200
    report = verify_document(response.content, trusted_keys=jwks(live))
    assert report.valid, report.reasons
    assert (report.tenant_id, report.name) == (engine.tenant, "job")
    # All of the job's charges but the voided one: 0.1 + 0.3 + 0.4 + 0.2 + 0.2, the Gaussian's a hair below.
    assert report.epsilon is not None
    assert 1.1999999 < float(report.epsilon) <= 1.2
    assert report.delta == "0.0000011"


def test_a_proof_with_one_figure_changed_does_not_hold(live: Live, engine: Caller) -> None:
    """Whoever alters the total of a proof breaks it."""
    busy(engine, "job")
    document = engine.get(proof_path("job")).json()
    document["total"]["epsilon"] = "0.5"
    assert not verify_document(json.dumps(document), trusted_keys=jwks(live)).valid


def test_a_proof_does_not_hold_against_another_services_keys(live: Live, engine: Caller) -> None:
    """Neither a foreign key under the same id nor the service's token key verifies a proof."""
    engine.allocate(job_id="job", epsilon="0.1")
    document = engine.get(proof_path("job")).content
    others = [key | {"x": "A" * 43} for key in jwks(live)]
    assert not verify_document(document, trusted_keys=others).valid
    token_key = [key for key in jwks(live) if key["kid"] == live.service.keys().token_key.kid]
    assert not verify_document(document, trusted_keys=token_key).valid


def test_a_proof_as_latex(engine: Caller) -> None:
    """Asked for LaTeX, the proof comes as a whole document of that type."""
    busy(engine, "job")
    response = engine.get(proof_path("job"), params={"format": "latex"})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/x-latex")
    assert response.text.startswith("%") or "\\documentclass" in response.text[:200]
    assert "\\end{document}" in response.text


@pytest.mark.parametrize("job_id", ["a/b/c", "Grüße \U0001f600", "100%", "a?b#c", "..", "' OR 1=1 --", "{job}"])
def test_a_job_of_any_name_can_be_proven(live: Live, engine: Caller, job_id: str) -> None:
    """Slashes, dots, quotes and other signs in a job's name reach the proof unchanged, in both formats."""
    assert engine.allocate(job_id=job_id, epsilon="0.1").status_code == 200
    path = proof_path(job_id).replace("..", "%2e%2e")
    response = engine.get(path)
    assert response.status_code == 200, response.text
    report = verify_document(response.content, trusted_keys=jwks(live))
    assert (report.valid, report.name) == (True, job_id)
    assert engine.get(path, params={"format": "latex"}).status_code == 200


def test_every_role_that_reads_may_ask(live: Live, engine: Caller) -> None:
    """A proof is open to each of the five roles of its tenant, not to the engine alone."""
    engine.allocate(job_id="job", epsilon="0.1")
    for role in ("admin", "engine", "analyst", "viewer", "auditor"):
        assert live.caller(engine.tenant, role).get(proof_path("job")).status_code == 200


def test_an_unknown_job_is_not_found(engine: Caller) -> None:
    """A job without charges has no proof, and a name that cannot be stored is invalid."""
    engine.allocate(job_id="job", epsilon="0.1")
    assert_problem(engine.get(proof_path("nothing")), 404, "not_found", "job_id")
    assert_problem(engine.get(f"{PREFIX}/proof/%00"), 422, "invalid_request", "job_id")


def test_a_refused_job_has_nothing_to_prove(engine: Caller) -> None:
    """A job whose only charge was refused is as unknown as one that never asked."""
    assert engine.allocate(job_id="job", epsilon="100").status_code == 402
    assert_problem(engine.get(proof_path("job")), 404, "not_found", "job_id")


def test_another_tenants_job_is_not_found(live: Live, engine: Caller) -> None:
    """A job's name finds nothing from another tenant, and naming its tenant is forbidden."""
    engine.allocate(job_id="job", epsilon="0.1")
    other = live.new("auditor")
    assert_problem(other.get(proof_path("job")), 404, "not_found", "job_id")
    refused = other.get(proof_path("job"), params={"tenant_id": engine.tenant})
    assert_problem(refused, 403, "forbidden")


def logged(engine: Caller, job_id: str) -> dict[str, Any]:
    """The proof of a job, once the latest head knows all its entries."""
    for _ in range(600):
        document: dict[str, Any] = engine.get(proof_path(job_id)).json()
        shown = [item for one in document["certificates"] for item in (one["entry"], *one["later"])]
        if all(item["inclusion"] is not None for item in shown):
            return document
        time.sleep(0.1)
    raise AssertionError("no head knows the job's entries")


def test_a_proof_shows_its_entries_in_the_log(live: Live, engine: Caller) -> None:
    """Under a head that the service signed with its key for heads, whose public half it publishes."""
    busy(engine, "job")
    document = logged(engine, "job")
    report = verify_document(json.dumps(document), trusted_keys=jwks(live))
    assert report.valid, report.reasons
    kid = live.service.keys().head_key.kid
    (fact,) = [fact for fact in report.facts if fact.startswith("in the log of")]
    assert f"head signed by the trusted key {kid}" in fact
    proofs_alone = [key for key in jwks(live) if key["kid"] != kid]
    assert not verify_document(json.dumps(document), trusted_keys=proofs_alone).valid


def test_a_proof_is_there_before_the_log_has_the_entry(live: Live, engine: Caller) -> None:
    """At once after the charge: whether the head knows it by then or not, the proof holds and says which."""
    for number in range(20):
        engine.allocate(job_id=f"job-{number}", epsilon="0.001")
        report = verify_document(engine.get(proof_path(f"job-{number}")).content, trusted_keys=jwks(live))
        assert report.valid, report.reasons
        assert any("in the log of" in fact or "head of the log" in fact for fact in report.facts)


def test_a_charge_on_a_data_set_is_proved_by_its_registration(live: Live) -> None:
    """The certificate names unit and adjacency from the registration that was in force; parts are proved as parts."""
    admin = live.new("admin", epsilon="9")
    path = f"{PREFIX}/budget/{admin.tenant}/datasets/cohort"
    body = {"epsilon": "3", "delta": "0.001", "privacy_unit": "patient", "adjacency": "add_remove"}
    parts = {"partitions": ["north"], "partition_basis": "the hospital"}
    assert admin.request("PUT", path, json=body | parts).status_code == 200
    admin.allocate(job_id="job", operation_id="1", epsilon="0.5", dataset_id="cohort")
    admin.allocate(job_id="job", operation_id="2", epsilon="0.25", dataset_id="cohort", partition="north")
    more = body | parts | {"partitions": ["north", "south"]}
    assert admin.request("PUT", path, json=more).status_code == 200
    event = {"kind": "self_composed", "event": {"kind": "laplace", "scale": 10, "sensitivity": 1}, "count": 10}
    held = admin.allocate(
        job_id="job", operation_id="3", event=event, dataset_id="cohort", partition="south", mode="reserve"
    ).json()
    assert admin.settle(held["allocation_id"], "commit", steps=3).status_code == 200
    document = admin.get(proof_path("job")).json()
    report = verify_document(json.dumps(document), trusted_keys=jwks(live))
    assert report.valid, report.reasons
    assert report.epsilon == "1.05"
    assert [one["standing"] for one in document["certificates"]] == ["stands", "stands", "divided"]
    assert len(document["registrations"]) == 2
    scopes = [one["dataset"]["guarantee"]["scope"] for one in document["certificates"]]
    assert ["whole" in scopes[0], "partition north" in scopes[1], "partition south" in scopes[2]] == [True] * 3
    assert admin.get(proof_path("job"), params={"format": "latex"}).status_code == 200


def test_a_budget_that_renews_is_proved_for_its_window(live: Live) -> None:
    """The promise is that of the window, with its dates, and the loss over all windows stands beside it."""
    admin = live.new("admin")
    assert admin.put_budget(epsilon="3", delta="0.00001", renewal_days=30).status_code == 200
    admin.allocate(job_id="job", epsilon="0.5")
    document = admin.get(proof_path("job")).json()
    report = verify_document(json.dumps(document), trusted_keys=jwks(live))
    assert report.valid, report.reasons
    (certificate,) = document["certificates"]
    assert certificate["derivation"]["rule"] == "window_filter"
    assert certificate["derivation"]["numbers"]["lifetime_epsilon"] == "0.5"
    assert "the window of 30 days from" in certificate["claim"]["guarantee"]["scope"]


def test_an_adjusted_charge_counts_as_zero_on_the_operators_word(live: Live) -> None:
    """Whose signature an auditor checks with the operator's own key."""
    operator = SigningKey.generate()
    admin = live.new("admin", epsilon="3")
    spent = admin.allocate(job_id="job", epsilon="0.5").json()["allocation_id"]
    said = {"tenant_id": admin.tenant, "allocation_id": spent, "reason": "an empty table", "evidence": "its count"}
    statement = operator.sign(json.dumps(said | {"at": "2026-11-21T04:37:00Z"}).encode())
    file = live.service.settings.operator_keys_file
    file.write_text(json.dumps({"keys": [operator.public_jwk]}))
    try:
        assert admin.settle(spent, "adjust", statement=statement).status_code == 200
    finally:
        file.unlink()
    content = admin.get(proof_path("job")).content
    report = verify_document(content, trusted_keys=jwks(live), operator_keys=[operator.public_jwk])
    assert report.valid, report.reasons
    assert report.epsilon == "0"
    assert any(f"whose signature was checked ({operator.kid})" in fact for fact in report.facts)
    stranger = SigningKey.generate().public_jwk
    assert not verify_document(content, trusted_keys=jwks(live), operator_keys=[stranger]).valid


def test_an_unknown_format_is_refused(engine: Caller) -> None:
    """A format that does not exist is refused by name rather than replaced by a default."""
    assert_problem(engine.get(proof_path("job"), params={"format": "docx"}), 422, "invalid_request", "format")


def verified(response: httpx.Response) -> Report:
    """What the checker says of an answer, which has to be a proof."""
    assert response.status_code == 200, response.text
    report = verify_document(response.content)
    assert report.valid, report.reasons
    return report


def test_one_allocation_is_proved_by_its_id(engine: Caller) -> None:
    """Whatever else its job did."""
    engine.allocate(job_id="job", operation_id="1", epsilon="0.1")
    chosen = engine.allocate(job_id="job", operation_id="2", epsilon="0.25").json()["allocation_id"]
    report = verified(engine.get(f"{PREFIX}/proof/", params={"allocation_id": chosen}))
    assert (report.kind, report.name, report.epsilon) == ("allocation", chosen, "0.25")


def test_a_whole_history_is_proved(live: Live) -> None:
    """Budgets, data sets, allocations and their ends, of all jobs."""
    admin = live.new("admin", epsilon="9")
    body = {"epsilon": "1", "delta": "0.000001", "privacy_unit": "patient", "adjacency": "add_remove"}
    path = f"{PREFIX}/budget/{admin.tenant}/datasets/cohort"
    assert admin.request("PUT", path, json=body).status_code == 200
    admin.allocate(job_id="a", operation_id="1", epsilon="0.5", dataset_id="cohort")
    held = admin.allocate(job_id="b", operation_id="2", epsilon="0.25", mode="reserve").json()["allocation_id"]
    assert admin.settle(held, "void").status_code == 200
    report = verified(admin.get(f"{PREFIX}/proof/", params={"history": True}))
    assert (report.kind, report.name, report.epsilon) == ("history", admin.tenant, "0.5")


def test_a_plan_is_proved_before_it_is_charged(engine: Caller) -> None:
    """With the event that it would be charged as; nothing is spent by asking."""
    event = {
        "kind": "self_composed",
        "count": 1000,
        "event": {"kind": "poisson_gaussian", "sigma": "1.1", "sensitivity": "1", "sampling_probability": "0.01"},
    }
    plan = engine.post(f"{PREFIX}/composition/plan", json={"name": "p", "event": event, "delta": "0.00001"}).json()
    report = verified(engine.get(f"{PREFIX}/proof/", params={"plan_id": plan["plan_id"]}))
    assert (report.kind, report.name) == ("plan", plan["plan_id"])
    prices = {each["name"]: each["total_epsilon"] for each in plan["theorems"]}
    assert report.epsilon == prices[plan["tightest"]]
    assert_problem(engine.get(f"{PREFIX}/proof/", params={"history": True}), 404, "not_found", "tenant_id")


@pytest.mark.parametrize(
    ("asked", "status", "field"),
    [
        ({}, 422, "allocation_id"),
        ({"history": True, "plan_id": "x"}, 422, "allocation_id"),
        ({"allocation_id": "00000000-0000-8000-8000-000000000000"}, 404, "allocation_id"),
        ({"allocation_id": "no uuid"}, 404, "allocation_id"),
        ({"plan_id": "no uuid"}, 404, "plan_id"),
        ({"history": True}, 404, "tenant_id"),
    ],
)
def test_what_is_not_there_has_no_proof(engine: Caller, asked: dict[str, Any], status: int, field: str) -> None:
    """And one thing is proved at a time."""
    code = "not_found" if status == 404 else "invalid_request"
    assert_problem(engine.get(f"{PREFIX}/proof/", params=asked), status, code, field)


def test_another_tenants_allocation_history_and_plan_are_not_proved(live: Live, engine: Caller) -> None:
    """Its id is of no use to anybody else."""
    allocation = engine.allocate(job_id="job", epsilon="0.1").json()["allocation_id"]
    steps = [{"step_name": "count", "mechanism": "laplace", "epsilon": "0.1"}]
    plan = engine.post(f"{PREFIX}/composition/plan", json={"name": "p", "steps": steps}).json()["plan_id"]
    other = live.new()
    for asked in ({"allocation_id": allocation}, {"plan_id": plan}, {"history": True}):
        assert other.get(f"{PREFIX}/proof/", params=asked).status_code == 404
    foreign = other.get(f"{PREFIX}/proof/", params={"history": True, "tenant_id": engine.tenant})
    assert foreign.status_code == 403


@pytest.mark.parametrize(
    ("form", "media_type", "begins"),
    [
        ("latex", "application/x-latex", b"\\documentclass"),
        ("html", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("pdf", "application/pdf", b"%PDF-"),
    ],
)
def test_a_proof_can_be_read_in_every_form(engine: Caller, form: str, media_type: str, begins: bytes) -> None:
    """Of a job, and of a whole history."""
    busy(engine, "job")
    for path, asked in ((proof_path("job"), {}), (f"{PREFIX}/proof/", {"history": "true"})):
        response = engine.get(path, params={"format": form, **asked})
        assert (response.status_code, response.headers["content-type"]) == (200, media_type), response.text[:300]
        assert response.content.lower().startswith(begins.lower())
