"""What the prover promises: complete, reproducible documents, and no document where there is nothing to prove."""

from dataclasses import replace
from decimal import Decimal

import pytest

from accounting.values import PrivacyLoss
from proofs.certificate import parse_bundle
from proofs.prover import prove_job
from tests.unit.proofs_helpers import CLAIM, DELTA, GAUSSIAN, JOB, SIGNER, TENANT, Ledger, sample, sample_ledger


def test_a_document_survives_parsing_unchanged() -> None:
    """The parser and the writer of the format are each other's inverse."""
    document = sample()
    bundle = parse_bundle(document)
    assert {**bundle.unsigned(), "signature": bundle.signature} == document


def test_the_same_entries_give_the_same_document() -> None:
    """Proofs hold no clock and no chance."""
    ledger = sample_ledger()
    assert prove_job(ledger.job(), SIGNER) == prove_job(ledger.job(), SIGNER)


def test_every_opening_has_a_certificate_with_its_later_entries() -> None:
    """Nothing of the job is left out."""
    document = sample()
    assert (document["tenant_id"], document["job_id"]) == (TENANT, JOB)
    shown = [(item["entry"]["seq"], [later["seq"] for later in item["later"]]) for item in document["certificates"]]
    assert shown == [(2, []), (3, []), (5, []), (6, [8]), (7, [9])]
    assert [item["standing"] for item in document["certificates"]] == ["stands"] * 4 + ["voided"]
    assert [entry["seq"] for entry in document["neighbours"]] == [1, 4]


def test_nothing_to_prove_is_an_error() -> None:
    """Without an opening entry there is no claim."""
    with pytest.raises(ValueError, match="nothing to prove"):
        prove_job([], SIGNER)
    with pytest.raises(ValueError, match="nothing to prove"):
        prove_job(Ledger().entries, SIGNER)


def test_entries_of_several_jobs_are_an_error() -> None:
    """A document speaks of one job of one tenant."""
    ledger = sample_ledger()
    with pytest.raises(ValueError, match="more than one job"):
        prove_job(ledger.entries[1:], SIGNER)


def test_an_entry_of_no_job_is_an_error() -> None:
    """Every allocation belongs to a job."""
    opening = replace(Ledger().allocate(CLAIM), job_id=None)
    with pytest.raises(ValueError, match="no job"):
        prove_job([opening], SIGNER)


def test_an_end_without_its_opening_is_an_error() -> None:
    """Entries that were cut off at the front are noticed."""
    ledger = Ledger()
    held = ledger.allocate(CLAIM, ttl_seconds=60)
    ledger.allocate(CLAIM)
    ledger.commit(held)
    with pytest.raises(ValueError, match="opening entry is missing"):
        prove_job(ledger.job()[1:], SIGNER)


def test_an_opening_without_what_it_opens_with_is_an_error() -> None:
    """No certificate is made up where the ledger is silent."""
    opening = Ledger().allocate(CLAIM)
    for torn in (replace(opening, event=None), replace(opening, charge=None), replace(opening, allocation_id=None)):
        with pytest.raises(ValueError, match="without"):
            prove_job([torn], SIGNER)


def test_an_event_charged_below_its_price_is_an_error() -> None:
    """The service does not sign what its own checker would refuse."""
    ledger = Ledger()
    ledger.allocate(GAUSSIAN, charge=PrivacyLoss(Decimal("0.01"), DELTA))
    with pytest.raises(ValueError, match=r"charged 0\.01"):
        prove_job(ledger.job(), SIGNER)
