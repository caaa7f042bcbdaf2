"""What the prover promises: complete, reproducible documents, and no document where there is nothing to prove."""

from dataclasses import replace
from decimal import Decimal

import pytest

from accounting.charges import Cost, price
from accounting.filters import Charge
from accounting.values import PrivacyLoss
from proofs.certificate import MAX_BYTES, parse_bundle
from proofs.prover import TooLargeError, prove_job
from tests.unit.proofs_helpers import (
    ALL_MEMBERS,
    CLAIM,
    DELTA,
    GAUSSIAN,
    JOB,
    LAPLACE,
    PATIENTS,
    SIGNER,
    TENANT,
    WIDE,
    Ledger,
    eventful_ledger,
    sample,
    sample_ledger,
)


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
    assert (document["tenant_id"], document["subject"]["name"]) == (TENANT, JOB)
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


def test_a_data_set_that_is_touched_without_a_charge_is_an_error() -> None:
    """Nor is a registration made up, or taken from an entry that is none."""
    ledger = Ledger(WIDE)
    registration = ledger.register(PATIENTS, ALL_MEMBERS)
    opening = ledger.allocate(CLAIM, on=("patients", None))
    assert opening.dataset is not None
    torn = replace(opening, dataset=replace(opening.dataset, charge=None))
    with pytest.raises(ValueError, match="a data set is touched without a charge"):
        prove_job([torn], SIGNER, registrations=[registration])
    assert registration.dataset is not None
    empty = replace(registration, dataset=replace(registration.dataset, dataset=None))
    with pytest.raises(ValueError, match="no data set is registered there"):
        prove_job([opening], SIGNER, registrations=[empty])


def test_only_the_registrations_that_are_needed_are_carried() -> None:
    """The last one before each charge, once, and not again among the neighbours."""
    ledger = eventful_ledger()
    document = ledger.proof()
    assert [entry["seq"] for entry in document["registrations"]] == [2, 3, 20]
    assert not {2, 3, 20} & {entry["seq"] for entry in document["neighbours"]}


def test_a_document_that_nobody_would_read_is_not_signed() -> None:
    """What the checker refuses for its size is not handed out."""
    ledger = Ledger()
    name = "j" * (MAX_BYTES // 2)
    ledger.allocate(CLAIM, job_id=name)
    with pytest.raises(TooLargeError, match="more than the"):
        prove_job(ledger.job(name), SIGNER)


def test_an_event_charged_below_its_price_is_an_error() -> None:
    """The service does not sign what its own checker would refuse."""
    ledger = Ledger()
    ledger.allocate(GAUSSIAN, loss=PrivacyLoss(Decimal("0.01"), DELTA))
    with pytest.raises(ValueError, match="the ledger charged"):
        prove_job(ledger.job(), SIGNER)
    short = Ledger(ALL_MEMBERS)
    due = ALL_MEMBERS.charge(LAPLACE, price(LAPLACE)).costs
    short.allocate(LAPLACE, charge=Charge((*due[:2], Cost(due[2].amount - Decimal("1e-15")), due[3])))
    with pytest.raises(ValueError, match="the zcdp filter counted"):
        prove_job(short.job(), SIGNER)
