"""What a document is about: a job, one allocation, a whole history, a plan; and that it holds all of it."""

import copy
import json
from decimal import Decimal
from typing import Any

import pytest

from accounting.events import LaplaceEvent, SelfComposedEvent
from accounting.values import PrivacyLoss
from proofs.checker import verify_document
from proofs.prover import prove_allocation, prove_history, prove_job, prove_plan
from proofs.render.latex import render_latex
from tests.unit.proofs_helpers import (
    CLAIM,
    DELTA,
    EVERY,
    GAUSSIAN,
    LAPLACE,
    SIGNER,
    STEP_OF_SGD,
    TENANT,
    TIGHTEST,
    Ledger,
    accepted,
    refused,
    signed,
)

PLAN = "00000000-0000-8000-8000-000000000007"


def busy_ledger() -> Ledger:
    """Two jobs, a hold that was taken back, and a budget that was raised in between."""
    ledger = Ledger()
    ledger.allocate(LAPLACE)
    ledger.allocate(CLAIM, job_id="another")
    ledger.allocate(GAUSSIAN, DELTA)
    held = ledger.allocate(CLAIM, ttl_seconds=60)
    ledger.void(held)
    return ledger


def whole_history() -> dict[str, Any]:
    """The proof of all of it."""
    return copy.deepcopy(prove_history(busy_ledger().entries, SIGNER))


def plan_proof(name: str = "training, tightest") -> dict[str, Any]:
    """The proof of a plan."""
    event, loss = EVERY[name]
    return copy.deepcopy(prove_plan(TENANT, PLAN, event, loss, SIGNER))


def test_one_allocation_is_proved_by_itself() -> None:
    """Others of its job are not in the document, and its total is its own."""
    ledger = busy_ledger()
    opening = ledger.entries[1]
    own = [entry for entry in ledger.entries if entry.allocation_id == opening.allocation_id]
    report = verify_document(json.dumps(prove_allocation(own, SIGNER)))
    assert (report.valid, report.kind, report.name) == (True, "allocation", opening.allocation_id)
    assert report.epsilon == "0.333333333334"
    assert "the document is about one allocation, and says nothing of others" in report.facts


def test_a_document_about_another_allocation_is_refused() -> None:
    """What it is about is what it holds."""
    document = copy.deepcopy(prove_allocation([busy_ledger().entries[1]], SIGNER))
    document["subject"]["name"] = PLAN
    refused(document, "subject: the certificate is of another allocation")


def test_entries_of_two_allocations_are_no_proof_of_one() -> None:
    """The prover refuses as well."""
    with pytest.raises(ValueError, match="not those of one allocation"):
        prove_allocation(busy_ledger().entries[1:3], SIGNER)


def test_a_history_is_proved_whole() -> None:
    """Every entry is in it, all of them linked, and what stands is summed over all jobs."""
    report = verify_document(signed(whole_history()))
    assert (report.valid, report.kind, report.name) == (True, "history", TENANT), report.reasons
    entries = len(busy_ledger().entries)
    assert (
        f"ledger entries: {entries}; every hash recomputed, {entries} linked to the entry before them" in report.facts
    )
    whole = f"the history is whole up to position {entries}; that it ends there rests on the signature"
    assert whole in report.facts


def test_a_history_without_allocations_costs_nothing() -> None:
    """A budget that nobody has used."""
    report = verify_document(signed(copy.deepcopy(prove_history(Ledger().entries, SIGNER))))
    assert (report.valid, report.epsilon, report.delta) == (True, "0", "0"), report.reasons


@pytest.mark.parametrize("at", range(3))
def test_a_history_with_an_allocation_left_out_is_refused(at: int) -> None:
    """Wherever it stood: at the beginning, in the middle, at the end before the last."""
    document = whole_history()
    left_out = document["certificates"].pop(at)
    refused(document, f"subject: the history has no entry at position {left_out['entry']['seq']}")


def test_an_allocation_that_is_hidden_among_the_other_entries_is_refused() -> None:
    """It would be in the history, and in no total."""
    document = whole_history()
    hidden = document["certificates"].pop(0)
    document["neighbours"].append(hidden["entry"])
    refused(document, f"subject: the entry at position {hidden['entry']['seq']} belongs to an allocation without")


def test_a_history_of_another_tenant_is_refused() -> None:
    """The name is the tenant's."""
    document = whole_history()
    document["subject"]["name"] = "tenant-b"
    refused(document, "subject: the history is another tenant's")


def test_a_part_of_a_history_is_no_history() -> None:
    """The prover refuses, and so does the checker."""
    ledger = busy_ledger()
    for entries in (ledger.entries[1:], [*ledger.entries[:2], *ledger.entries[3:]], []):
        with pytest.raises(ValueError, match="not a history from its first entry on"):
            prove_history(entries, SIGNER)
    document = copy.deepcopy(prove_job(ledger.job(), SIGNER))
    document["subject"] = {"kind": "history", "name": TENANT}
    refused(document, "subject: the history has no entry at position 1")


@pytest.mark.parametrize("name", ["laplace", "training, tightest", "pure and claims", "mixed", "nested"])
def test_a_plan_is_proved_before_anything_is_charged(name: str) -> None:
    """Its price is derived from its event as that of an operation would be; no entry is needed."""
    _, loss = EVERY[name]
    report = verify_document(signed(plan_proof(name)))
    assert (report.valid, report.kind, report.name) == (True, "plan", PLAN), report.reasons
    assert (Decimal(report.epsilon or 0), Decimal(report.delta or 0)) == (loss.epsilon, loss.delta)
    assert any(fact.startswith("nothing was charged") for fact in report.facts)


def test_a_plan_that_claims_less_than_its_event_costs_is_refused() -> None:
    """The prover writes down what it is told; the checker derives it again."""
    document = prove_plan(TENANT, PLAN, LAPLACE, PrivacyLoss(Decimal("0.3"), Decimal(0)), SIGNER)
    refused(copy.deepcopy(document), "plan: ")


def test_a_plan_for_another_event_is_refused() -> None:
    """What is priced is what stands there."""
    document = plan_proof("laplace")
    event = json.loads(document["plan"]["event"])
    document["plan"]["event"] = json.dumps({**event, "scale": "2"})
    refused(document, "plan: the ledger recorded scale 2")
    document["plan"]["event"] = "{"
    refused(document, "plan: not JSON")


def test_a_plan_with_entries_of_the_ledger_is_refused() -> None:
    """Nothing was charged for it."""
    document = plan_proof()
    document["neighbours"] = [busy_ledger_entry()]
    refused(document, "plan: it has entries of the ledger, though nothing was charged")


def busy_ledger_entry() -> dict[str, Any]:
    """An entry as documents hold it."""
    entry: dict[str, Any] = whole_history()["neighbours"][0]
    return entry


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"subject": {"kind": "engine", "name": "x"}}, "subject.kind must be job or allocation or history or plan"),
        ({"subject": {"kind": "plan", "name": PLAN}}, "plan must be there for a plan"),
        ({"plan": plan_proof()["plan"]}, "plan must be there for a plan, and null for anything else"),
        ({"certificates": [], "subject": {"kind": "job", "name": "job-1"}}, "certificates must not be empty"),
        ({"subject": {"kind": "allocation", "name": PLAN}}, "certificates must hold one"),
    ],
)
def test_a_document_that_does_not_hold_what_its_kind_holds_is_refused(change: dict[str, Any], reason: str) -> None:
    """Before anything is checked."""
    refused({**whole_history(), **change}, reason)


def test_beside_the_accountants_word_stands_a_bound_that_is_derived() -> None:
    """Who trusts no accountant reads the larger sum, which needs none; a step that claims less there is refused."""
    training = SelfComposedEvent(STEP_OF_SGD, 1000)
    ledger = Ledger()
    ledger.allocate(training, loss=TIGHTEST)
    ledger.allocate(LaplaceEvent(Decimal(4), Decimal(1)))
    document = copy.deepcopy(prove_job(ledger.job(), SIGNER))
    report = verify_document(signed(document))
    assert (report.valid, report.epsilon) == (True, "1.765370260336"), report.reasons
    derived = "without these accountants' word, what is derived sums to epsilon 1.975592809897"
    assert derived in report.facts
    for step in (
        document["certificates"][0]["derivation"]["premises"][0]["premises"][0],
        document["total"]["derivation"]["premises"][0],
    ):
        bound = step["premises"][0]
        bound["numbers"]["epsilon"] = "1.7"
        bound["statement"] = bound["statement"].replace("1.725592809897", "1.7")
    refused(document, "epsilon is less than what this delta costs at the stated Renyi order")


@pytest.mark.parametrize("document", [whole_history(), plan_proof()], ids=["history", "plan"])
def test_every_kind_of_document_can_be_read_as_latex(document: dict[str, Any]) -> None:
    """With its name in the title."""
    source = render_latex(document)
    assert source.endswith("\\end{document}\n")
    accepted(document)
