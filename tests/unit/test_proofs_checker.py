"""The independent checker: it accepts what is true, and each test below names one lie that it refuses."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.charges import price
from accounting.events import ClaimEvent, Event, GaussianEvent, LaplaceEvent
from accounting.values import PRICE_PLACES, InvalidValueError, PrivacyLoss, decimal_text
from proofs.certificate import EPSILON, RENYI, RHO, RULES, node
from proofs.checker import verify_document
from proofs.checker.events import read_event
from proofs.checker.kernel import check_pricing
from proofs.prover import prove_job
from tests.unit.proofs_helpers import (
    CLAIM,
    GAUSSIAN,
    LAPLACE,
    SIGNER,
    Ledger,
    refused,
    sample,
    sample_ledger,
    text_of,
    with_body,
)

pytestmark = pytest.mark.untraced

GRID = Decimal(1).scaleb(-PRICE_PLACES)
CLAIMED, LAPLACE_AT, GAUSSIAN_AT, COMMITTED, VOIDED = range(5)
"""Where the certificates of `sample` stand."""

parameters = st.decimals(Decimal("0.001"), Decimal("1000"), places=6)
deltas = st.decimals(Decimal("1e-12"), Decimal("0.1"), places=14)


def proof_of(event: Event, delta: Decimal = Decimal(0), loss: PrivacyLoss | None = None) -> dict[str, Any]:
    """The proof of a job with one allocation, under basic composition alone."""
    ledger = Ledger()
    ledger.allocate(event, delta, loss=loss)
    return prove_job(ledger.job(), SIGNER, ledger.others())


def reworded(document: dict[str, Any], leaf: dict[str, Any]) -> None:
    """Says in words what a changed leaf says in numbers."""
    leaf["statement"] = RULES[leaf["rule"]].statement(leaf["currency"], leaf["numbers"])


def claim_less(document: dict[str, Any], epsilon: str) -> None:
    """Lowers the claim of a one-allocation document everywhere, ledger entry included: a liar who is consistent."""
    certificate, total = document["certificates"][0], document["total"]

    def lower(body: dict[str, Any]) -> None:
        body["charge"]["basic"]["epsilon"] = body["spent"]["basic"]["epsilon"] = epsilon

    with_body(certificate["entry"], lower)
    certificate["claim"]["epsilon"] = total["epsilon"] = total["derivation"]["numbers"]["epsilon"] = epsilon
    balance = certificate["derivation"]["premises"][0]
    balance["numbers"].update(charge_epsilon=epsilon, after_epsilon=epsilon)
    for step in (balance["premises"][0], total["derivation"]["premises"][0]):
        step["numbers"]["epsilon"] = epsilon
        reworded(document, step)
    reworded(document, balance)
    reworded(document, total["derivation"])


def priced(document: dict[str, Any], at: int) -> dict[str, Any]:
    """The step that prices an allocation as (epsilon, delta)."""
    found: dict[str, Any] = document["certificates"][at]["derivation"]["premises"][0]["premises"][0]
    return found


# What is true is accepted.


def test_an_honest_document_is_valid_and_says_what_it_rests_on() -> None:
    """Every rule, a commit, a void and neighbours in one document."""
    report = verify_document(text_of(sample()))
    assert report.valid, report.reasons
    assert (report.tenant_id, report.name, report.delta) == ("tenant-a", "job-1", "0.000003")
    facts = "\n".join(report.facts)
    assert f"signed by the key {SIGNER.kid}, which came with the proof" in facts
    assert "/.well-known/jwks.json" in facts
    assert "taken on its word: 2 of them" in facts
    assert "ledger entries: 9; every hash recomputed, 9 linked" in facts


def test_a_document_without_neighbours_is_valid_and_admits_the_gap() -> None:
    """Without the entry before, the balance before the charge rests on the signature."""
    report = verify_document(text_of(prove_job(sample_ledger().job(), SIGNER)))
    assert report.valid, report.reasons
    assert any("the entry before is not in the document" in fact for fact in report.facts)


def test_text_and_bytes_in_any_layout_are_the_same_document() -> None:
    """The signature is over the canonical form, so a pretty printer does no harm."""
    document = sample()
    for text in (json.dumps(document, indent=2), json.dumps(document).encode(), text_of(document).encode()):
        assert verify_document(text).valid


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.builds(ClaimEvent, parameters, deltas), st.just(Decimal(0))),
            st.tuples(st.builds(LaplaceEvent, parameters, parameters), st.just(Decimal(0))),
            st.tuples(st.builds(GaussianEvent, st.decimals(1, 1000, places=4), st.decimals(1, 9, places=4)), deltas),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_every_charge_that_the_core_prices_is_accepted(charges: list[tuple[Event, Decimal]]) -> None:
    """Two independent derivations of one price agree on every event."""
    ledger = Ledger()
    for event, delta in charges:
        ledger.allocate(event, delta)
    report = verify_document(text_of(prove_job(ledger.job(), SIGNER, ledger.others())))
    assert report.valid, report.reasons
    spent = ledger.entries[-1].spent.basic
    assert (report.epsilon, report.delta) == (decimal_text(spent.epsilon), decimal_text(spent.delta))


@pytest.mark.parametrize("event", [CLAIM, LAPLACE, GAUSSIAN])
def test_more_may_be_charged_than_an_event_costs(event: Event) -> None:
    """A claim is an upper bound; a larger one is true as well."""
    charge = PrivacyLoss(Decimal(7), Decimal("1e-5"))
    report = verify_document(text_of(proof_of(event, loss=charge)))
    assert report.valid, report.reasons
    assert report.epsilon == "7"


# No claim below the derivation is accepted, by however little.


def test_a_claim_charged_below_what_the_engine_stated_is_refused() -> None:
    """The engine's own statement is the least that is charged for it."""
    document = proof_of(ClaimEvent(Decimal("0.5"), Decimal(0)))
    claim_less(document, "0.499999999999999999999999999999")
    refused(document, "the engine stated epsilon 0.5, less was charged for it")


def test_a_claim_says_plainly_that_it_is_taken_on_the_engines_word() -> None:
    """In the certificate, and in these words."""
    leaf = priced(sample(), CLAIMED)
    assert leaf["rule"] == "claim"
    assert "This is taken on the engine's word: nothing in this document proves it." in leaf["statement"]


@settings(max_examples=40, deadline=None)
@given(parameters, parameters)
def test_every_laplace_price_is_accepted_and_the_next_lower_claim_refused(scale: Decimal, sensitivity: Decimal) -> None:
    """The price is rounded up to a grid; one step of that grid lower is too low unless the price was exact."""
    event = LaplaceEvent(scale, sensitivity)
    document = proof_of(event)
    assert verify_document(text_of(document)).valid
    claim_less(document, decimal_text(price(event).epsilon - GRID))
    refused(document, "epsilon is less than sensitivity / scale")


@settings(max_examples=40, deadline=None)
@given(st.decimals(1, 1000, places=4), st.decimals(1, 9, places=4), deltas)
def test_every_gaussian_price_is_accepted_and_the_next_lower_claim_refused(
    sigma: Decimal, sensitivity: Decimal, delta: Decimal
) -> None:
    """Ball arithmetic agrees with the core's decimals to eleven digits of the price."""
    event = GaussianEvent(sigma, sensitivity)
    try:
        charged = price(event, delta).epsilon
    except InvalidValueError:
        return
    document = proof_of(event, delta)
    assert verify_document(text_of(document)).valid
    if charged > 0:
        # dp-accounting finds the root to about twelve digits, and the price is rounded up from there.
        claim_less(document, decimal_text(max(charged * (1 - Decimal("1e-11")) - 100 * GRID, Decimal(0))))
        refused(document, "epsilon is less than what this delta costs")


def test_the_conversion_is_accepted_only_at_or_above_its_exact_value() -> None:
    """At order 2, rho 1/2 and delta 1/2 the conversion is 1 + ln(1/2), known to 60 places."""
    exact = 1 - Fraction("0.693147180559945309417232121458176568075500134360255254120680")
    digit = Fraction(1, 10**60)

    def reasons(epsilon: Fraction) -> list[str]:
        noise = node("gaussian", RHO, {"sensitivity": "1", "sigma": "1", "rho": "1/2", "delta": "0"})
        renyi = node("rho_to_renyi", RENYI, {"order": "2", "renyi": "1", "delta": "0"}, noise)
        numbers = {"order": "2", "conversion_delta": "0.5", "epsilon": str(epsilon), "delta": "0.5"}
        step = node("renyi_to_epsilon", EPSILON, numbers, renyi)
        event = read_event({"kind": "gaussian", "version": 1, "sigma": "1", "sensitivity": "1"})
        return list(check_pricing(step, event))

    assert reasons(exact + digit) == []
    assert reasons(exact - digit) == ["epsilon is less than what this delta costs at the stated Renyi order"]


# One lie each, in a document that is otherwise right and freshly signed.


def change_numbers(at: int, member: int, depth: int, **numbers: str) -> dict[str, Any]:
    """A document in which a step below a member filter has other numbers, in the certificate and in the total."""
    document = sample()
    step = document["certificates"][at]["derivation"]["premises"][member]
    total = document["total"]["derivation"]["premises"][at]
    changed = [step, total] if member == 0 else [step]
    for holder in changed:
        found = holder
        for _ in range(depth if holder is step else depth - 1):
            found = found["premises"][0]
        found["numbers"].update(numbers)
        reworded(document, found)
    return document


@pytest.mark.parametrize(
    ("at", "member", "depth", "numbers", "reason"),
    [
        (LAPLACE_AT, 0, 1, {"scale": "30"}, "the ledger recorded scale 3, the derivation uses 30"),
        (LAPLACE_AT, 0, 1, {"sensitivity": "0.1"}, "the ledger recorded sensitivity 1, the derivation uses 0.1"),
        (LAPLACE_AT, 1, 1, {"scale": "0"}, "the ledger recorded scale 3, the derivation uses 0"),
        (LAPLACE_AT, 1, 1, {"order": "9"}, "the charge is derived at another Renyi order than the filter's"),
        (LAPLACE_AT, 1, 1, {"order": "1"}, "the Renyi order must be greater than 1"),
        (LAPLACE_AT, 2, 2, {"epsilon": "0.3"}, "epsilon is less than sensitivity / scale"),
        (LAPLACE_AT, 3, 2, {"epsilon": "0.4"}, "mu^2 is less than an operation of that epsilon may have"),
        (GAUSSIAN_AT, 0, 2, {"sigma": "45"}, "the ledger recorded sigma 4.5, the derivation uses 45"),
        (GAUSSIAN_AT, 0, 2, {"mu_squared": "25/325"}, "mu^2 is less than (sensitivity / sigma)^2"),
        (GAUSSIAN_AT, 0, 1, {"conversion_delta": "0.0000009"}, "by the exact formula of the Gaussian"),
        (GAUSSIAN_AT, 0, 1, {"conversion_delta": "0.0000011"}, "delta is less than that of what the step rests on"),
        (GAUSSIAN_AT, 1, 2, {"rho": "25/649"}, "rho is less than sensitivity^2 / (2 sigma^2)"),
        (GAUSSIAN_AT, 1, 2, {"rho": "25/647"}, "the Renyi divergence is less than order * rho"),
        (GAUSSIAN_AT, 2, 1, {"rho": "0.03"}, "rho is less than sensitivity^2 / (2 sigma^2)"),
        (GAUSSIAN_AT, 3, 1, {"mu_squared": "0.07"}, "mu^2 is less than (sensitivity / sigma)^2"),
        (GAUSSIAN_AT, 3, 1, {"mu_squared": "0.08"}, "the balance step charges another cost than its premise derives"),
        (GAUSSIAN_AT, 0, 1, {"epsilon": "1.2"}, "the balance step charges another cost than its premise derives"),
        (CLAIMED, 1, 1, {"delta": "0"}, "delta is less than that of what the step rests on"),
        (CLAIMED, 1, 1, {"renyi": "0.1"}, "less than an operation of that epsilon may have"),
        (CLAIMED, 2, 1, {"rho": "0.124"}, "rho is less than epsilon^2 / 2"),
        (CLAIMED, 2, 2, {"delta": "0"}, "the engine stated delta 0.000001, less was charged for it"),
    ],
)
def test_a_wrong_number_in_a_derivation_is_refused(
    at: int, member: int, depth: int, numbers: dict[str, str], reason: str
) -> None:
    """Each number is derived again from the ledger's event."""
    document = change_numbers(at, member, depth, **numbers)
    refused(document, f"certificate {at + 1} (position")
    refused(document, reason)


def test_another_rule_than_the_events_is_refused() -> None:
    """A Laplace event is not proved by an engine's claim."""
    document = sample()
    claim = priced(document, CLAIMED)
    document["certificates"][LAPLACE_AT]["derivation"]["premises"][0]["premises"] = [claim]
    refused(document, "the ledger recorded a laplace event, the derivation prices a claim event")


def change_balance(member: int, **numbers: str) -> dict[str, Any]:
    """A document in which a balance step of the second certificate has other numbers."""
    document = sample()
    step = document["certificates"][LAPLACE_AT]["derivation"]["premises"][member]
    step["numbers"].update(numbers)
    reworded(document, step)
    return document


def test_a_balance_that_does_not_add_up_is_refused() -> None:
    """before + charge = after, exactly."""
    refused(change_balance(0, before_epsilon="0.4"), "basic filter: the balance does not add up")
    refused(change_balance(1, before_renyi="0.4"), "renyi filter: the balance does not add up")
    refused(change_balance(2, before_delta="0.4"), "zcdp filter: the balance does not add up")
    refused(change_balance(3, before_mu_squared="0.4"), "gdp filter: the balance does not add up")


@pytest.mark.parametrize("member", range(4))
@pytest.mark.parametrize("part", ["charge", "after", "cap"])
def test_a_balance_that_is_not_the_ledgers_is_refused(part: str, member: int) -> None:
    """The balance step speaks of the entry that it stands beside."""
    refused(change_balance(member, **{f"{part}_delta": "0.9"}), f"the balance step's {part} is not the ledger's")


@pytest.mark.parametrize(
    ("member", "numbers", "reason"),
    [
        (1, {"order": "7"}, "the balance step's order is not the one that the ledger's filter is committed to"),
        (1, {"conversion_delta": "0.002"}, "converts with another delta"),
        (1, {"promise_epsilon": "51"}, "or to another epsilon, than the ledger's"),
        (2, {"order": "30"}, "the cap does not keep the promised epsilon at the delta of the conversion"),
        (2, {"order": "1"}, "the cap does not keep the promised epsilon at the delta of the conversion"),
        (2, {"order": "0"}, "the cap does not keep the promised epsilon at the delta of the conversion"),
        (2, {"promise_epsilon": "51"}, "or to another epsilon, than the ledger's"),
        (3, {"conversion_delta": "0.002"}, "converts with another delta"),
    ],
)
def test_a_balance_that_converts_otherwise_is_refused(member: int, numbers: dict[str, str], reason: str) -> None:
    """Order, delta and promise of a conversion are the ledger's; where the prover chooses the order, it must do."""
    refused(change_balance(member, **numbers), reason)


def test_a_claim_other_than_the_ledgers_charge_is_refused() -> None:
    """The headline is the small print."""
    document = sample()
    document["certificates"][GAUSSIAN_AT]["claim"]["epsilon"] = "0.1"
    refused(document, "certificate 3 (position 5): the claim is not what the ledger charged")


def test_a_wrong_total_is_refused() -> None:
    """The stated total, the derived one and the sum are one number."""
    document = sample()
    document["total"]["epsilon"] = "1"
    refused(document, "the stated total is not the one derived")
    document["total"]["derivation"]["numbers"]["epsilon"] = "1"
    reworded(document, document["total"]["derivation"])
    refused(document, "the total is not the sum over the certificates that stand")


def test_a_total_that_leaves_a_certificate_out_is_refused() -> None:
    """Every certificate that stands is a premise of the total."""
    document = sample()
    document["total"]["derivation"]["premises"].pop()
    refused(document, "the total does not rest on exactly the certificates that stand")


def test_the_total_is_the_exact_sum_over_the_certificates_that_stand() -> None:
    """No digit is lost, however different the sizes."""
    ledger = Ledger()
    tiny, large = Decimal("1e-30"), Decimal(999_999)
    for epsilon in (tiny, large, tiny):
        ledger.allocate(ClaimEvent(epsilon, Decimal(0)))
    report = verify_document(text_of(prove_job(ledger.job(), SIGNER)))
    assert report.epsilon == "999999.000000000000000000000000000002"


def test_an_entry_that_opens_nothing_is_refused() -> None:
    """A budget entry carries no claim."""
    document = sample()
    document["certificates"][CLAIMED]["entry"] = document["neighbours"].pop(0)
    refused(document, "a budget_set entry opens no allocation")


def test_an_entry_of_another_job_is_refused() -> None:
    """The proof is of one job."""
    document = sample()
    document["subject"]["name"] = "job-2"
    refused(document, "belongs to another job, 'job-1'")


def test_an_entry_of_another_tenant_is_refused() -> None:
    """The proof is of one tenant."""
    document = sample()
    document["tenant_id"] = "tenant-b"
    refused(document, "belongs to another tenant, 'tenant-a'")


def test_one_allocation_proved_twice_is_refused() -> None:
    """Neither an entry nor an allocation stands in a document twice."""
    document = sample()
    document["certificates"].append(document["certificates"][CLAIMED])
    refused(document, "stands in the document twice")
    refused(document, "has 2 certificates")
