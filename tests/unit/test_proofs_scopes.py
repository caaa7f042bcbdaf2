"""Which budgets a charge was admitted to: the tenant's for all time or for a window, and a data set's."""

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.datasets import Dataset
from accounting.events import Adjacency, Event, FixedSizeGaussianEvent
from accounting.filters import basic_budget
from accounting.values import PrivacyLoss, decimal_text
from proofs.certificate import RULES
from proofs.checker.accounts import _Ranking
from proofs.checker.values import Cost
from proofs.prover import prove_job
from tests.unit.proofs_helpers import (
    ALL_MEMBERS,
    CLAIM,
    COMPUTED,
    DELTA,
    GAUSSIAN,
    LAPLACE,
    PATIENTS,
    SIGNER,
    STEP_OF_SGD,
    VISITS,
    WIDE,
    Ledger,
    accepted,
    entries_of,
    lie,
    refused,
    with_body,
)

pytestmark = pytest.mark.untraced

Change = Callable[[dict[str, Any]], None]


def reword(step: dict[str, Any]) -> None:
    """Says in words what a changed step says in numbers."""
    step["statement"] = RULES[step["rule"]].statement(step["currency"], step["numbers"])


# The tenant's budget.


def windowed() -> dict[str, Any]:
    """The proof of a job in the second window of a budget."""
    ledger = Ledger(WIDE, 30)
    ledger.allocate(LAPLACE, job_id="another")
    ledger.wait(40)
    ledger.allocate(LAPLACE)
    return ledger.proof()


def test_a_budget_for_all_time_promises_the_whole_history() -> None:
    """In the words of the format."""
    ledger = Ledger(WIDE)
    ledger.allocate(LAPLACE)
    (certificate,) = ledger.proof()["certificates"]
    assert certificate["derivation"]["rule"] == "composed_filter"
    assert certificate["claim"]["guarantee"]["scope"] == "the tenant's budget for all time"
    assert "The tenant's whole history is (500, 0.1)-differentially private." in certificate["derivation"]["statement"]


def test_a_window_promises_what_is_charged_in_it() -> None:
    """With its dates, and the loss over all windows beside it, for which nothing is promised."""
    document = windowed()
    accepted(document)
    (certificate,) = document["certificates"]
    assert certificate["derivation"]["rule"] == "window_filter"
    assert certificate["claim"]["guarantee"]["scope"] == (
        "the tenant's budget for the window of 30 days from 2026-02-01T03:04:05.000678Z to "
        "2026-03-03T03:04:05.000678Z; what earlier windows spent is not counted in it"
    )
    said = certificate["derivation"]["statement"]
    assert "What is charged in this window, with the holds that were open when it began, is (500, 0.1)" in said
    assert "Over all windows together nothing is promised" in said
    assert certificate["derivation"]["numbers"]["lifetime_epsilon"] == "0.666666666668"
    assert any("nothing is promised over all windows: 1 of them" in fact for fact in accepted(document).facts)


@pytest.mark.parametrize("name", ["lifetime_epsilon", "lifetime_delta"])
def test_another_sum_over_all_windows_is_refused(name: str) -> None:
    """It is the ledger's."""
    document = windowed()
    step = document["certificates"][0]["derivation"]
    step["numbers"][name] = "0.1"
    reword(step)
    refused(document, "the sum over all windows is not the ledger's")


def test_a_window_is_not_proved_as_a_promise_for_all_time() -> None:
    """Neither by the rule nor in words, nor the other way round."""
    lifetime = Ledger(WIDE)
    lifetime.allocate(LAPLACE)
    whole, window = lifetime.proof(), windowed()
    for document, other in ((windowed(), whole), (lifetime.proof(), window)):
        (certificate,), (foreign,) = document["certificates"], other["certificates"]
        certificate["claim"]["guarantee"] = foreign["claim"]["guarantee"]
        refused(document, "the guarantee is not that of the budget, in the words of the format")
    document = windowed()
    (certificate,) = document["certificates"]
    certificate["derivation"]["rule"] = "composed_filter"
    for name in ("lifetime_epsilon", "lifetime_delta"):
        del certificate["derivation"]["numbers"][name]
    reword(certificate["derivation"])
    refused(document, "the rule composed_filter does not fit the budget")


# A data set's budget.


def on(event: Event = LAPLACE, place: tuple[str, str | None] = ("patients", "north"), **more: Any) -> Ledger:  # noqa: ANN401
    """A history with one charge on a data set."""
    ledger = Ledger(WIDE)
    ledger.register(PATIENTS, ALL_MEMBERS)
    ledger.register(VISITS, WIDE)
    ledger.allocate(event, on=place, **more)
    return ledger


@pytest.mark.parametrize(
    ("place", "unit", "adjacency", "scope"),
    [
        (("patients", None), "one patient", "add or remove", "the data set patients, for all time"),
        (("patients", "north"), "one patient", "add or remove", "its partition north alone was charged"),
        (("visits", None), "one visit", "replace one", "the whole of it was charged"),
    ],
)
def test_a_data_set_promises_its_people_by_the_words_of_its_registration(
    place: tuple[str, str | None], unit: str, adjacency: str, scope: str
) -> None:
    """Unit and adjacency come from the entry that registered it, which is in the document."""
    document = on(place=place).proof()
    accepted(document)
    guarantee = document["certificates"][0]["dataset"]["guarantee"]
    assert unit in guarantee["privacy_unit"]
    assert adjacency in guarantee["adjacency"]
    assert scope in guarantee["scope"]
    assert "derived by the audit of the ledger" in guarantee["exposure"]
    registered = [json.loads(entry["body"])["dataset"]["dataset_id"] for entry in document["registrations"]]
    assert registered == [place[0]]


def test_the_charge_on_a_data_set_is_derived_in_each_of_its_members() -> None:
    """They are other members than the tenant's, and count what the largest exposure comes to."""
    ledger = on()
    ledger.allocate(CLAIM, on=("patients", None))
    ledger.allocate(GAUSSIAN, DELTA, on=("patients", "south"))
    document = ledger.proof()
    accepted(document)
    derivation = document["certificates"][-1]["dataset"]["derivation"]
    assert [step["rule"] for step in derivation["premises"]] == ["filter", "renyi_filter", "zcdp_filter", "gdp_filter"]
    # The claim on the whole, then the Gaussian on the south: what was done to the north is nothing to them.
    before = derivation["premises"][0]["numbers"]["before_epsilon"]
    assert before == "0.5"
    assert "What they count is the largest exposure of anyone whom the operation touches" in derivation["statement"]


def test_the_report_says_what_of_a_data_set_is_not_derived() -> None:
    """The charges on its other parts."""
    facts = "\n".join(accepted(on().proof()).facts)
    assert "admitted to the budget of a data set as well" in facts
    assert "derived by the audit of the ledger: 1 of them" in facts


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"charge_epsilon": "0.1"}, "data set: basic filter: the balance step's charge is not the ledger's"),
        ({"after_epsilon": "0.1"}, "data set: basic filter: the balance step's after is not the ledger's"),
        ({"before_epsilon": "0.1"}, "data set: basic filter: the balance does not add up"),
        ({"cap_epsilon": "51"}, "data set: basic filter: the balance step's cap is not the ledger's"),
    ],
)
def test_a_balance_of_a_data_set_that_is_not_the_ledgers_is_refused(change: dict[str, str], reason: str) -> None:
    """As for the tenant's budget."""
    document = on().proof()
    step = document["certificates"][0]["dataset"]["derivation"]["premises"][0]
    step["numbers"].update(change)
    reword(step)
    refused(document, reason)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("privacy_unit", "one hospital, as registered"),
        ("adjacency", "none"),
        ("scope", "the universe"),
        ("exposure", "nothing was exposed"),
    ],
)
def test_a_promise_to_people_in_other_words_is_refused(name: str, value: str) -> None:
    """Prose promises what the registration says."""
    document = on().proof()
    document["certificates"][0]["dataset"]["guarantee"][name] = value
    refused(document, "the guarantee is not that of the data set, in the words of the format")


def test_a_charge_on_a_data_set_that_is_left_out_is_refused() -> None:
    """A certificate proves every budget that was charged, and none that was not."""
    document = on().proof()
    document["certificates"][0]["dataset"] = None
    refused(
        document, "it proves the charge on a data set that the ledger did not charge, or leaves out one that it did"
    )
    other = on()
    other.allocate(LAPLACE)
    document = other.proof()
    document["certificates"][1]["dataset"] = document["certificates"][0]["dataset"]
    refused(document, "it proves the charge on a data set that the ledger did not charge")


def test_a_data_set_without_its_registration_is_refused() -> None:
    """By the prover, which makes no such document, and by the checker."""
    ledger = on()
    with pytest.raises(ValueError, match="the registration of data set patients is missing"):
        prove_job(ledger.job(), SIGNER)
    none: list[dict[str, Any]] = []
    for registrations in (none, on(place=("visits", None)).proof()["registrations"]):
        document = ledger.proof(alone=True)
        document["registrations"] = registrations
        refused(document, "the registration of its data set is not in the document")


def test_a_registration_after_the_charge_is_none() -> None:
    """What was registered later was not there when it was charged."""
    ledger = on()
    ledger.register(replace(PATIENTS, partitions=("north", "south", "west")), ALL_MEMBERS)
    document = ledger.proof(alone=True)
    document["registrations"] = [
        {"seq": entry.seq, "hash": entry.hash.hex(), "body": entry.body, "inclusion": None}
        for entry in ledger.entries[-1:]
    ]
    refused(document, "the registration of its data set is not in the document")


def test_each_charge_is_proved_by_the_registration_before_it() -> None:
    """A partition that was added later is found where it was added."""
    ledger = on()
    ledger.register(replace(PATIENTS, partitions=("north", "south", "west")), ALL_MEMBERS)
    ledger.allocate(LAPLACE, on=("patients", "west"))
    document = ledger.proof()
    accepted(document)
    assert [entry["seq"] for entry in document["registrations"]] == [2, 5]
    document = ledger.proof(alone=True)
    del document["registrations"][1]
    refused(document, "the partition that it charged was not registered")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body["dataset"].update(unit="person"), "registers the data set anew with other people in it"),
        (lambda body: body["dataset"].update(adjacency="replace_one"), "anew with other people in it"),
        (lambda body: body["dataset"]["budget"]["promise"].update(epsilon="49"), "lowers the data set's budget"),
        (lambda body: body["dataset"]["budget"]["renyi"].update(order=9), "or has other member filters"),
    ],
)
def test_registrations_that_contradict_each_other_are_refused(change: Change, reason: str) -> None:
    """Also where nothing of what was between them is in the document."""
    ledger = on()
    ledger.register(replace(PATIENTS, partitions=("north", "south", "west")), ALL_MEMBERS)
    ledger.allocate(LAPLACE, on=("patients", "west"))
    document = ledger.proof(alone=True)
    accepted(document)
    with_body(document["registrations"][1], change)
    refused(document, f"entry at position 5: {reason}" if reason.startswith(("registers", "lowers")) else reason)


def test_a_registration_that_registers_nothing_is_refused() -> None:
    """What else happened to a data set says nothing of who is in it."""
    ledger = on()
    document = ledger.proof()
    document["registrations"].append(document["neighbours"].pop(0))
    refused(document, "entry at position 1: registers no data set")


@pytest.mark.parametrize(
    ("event", "place", "loss"),
    [
        (replace(LAPLACE, unit="visit"), ("patients", None), None),
        (replace(LAPLACE, adjacency=Adjacency.REPLACE_ONE), ("patients", "north"), None),
        (STEP_OF_SGD, ("visits", None), COMPUTED),
        (FixedSizeGaussianEvent(Decimal(2), Decimal(1), 50, 10_000), ("visits", "2024"), COMPUTED),
    ],
)
def test_an_operation_that_is_meant_for_other_people_is_refused(
    event: Event, place: tuple[str, str | None], loss: PrivacyLoss | None
) -> None:
    """Another unit, other neighbours; and a sample of fixed size is one of the whole."""
    document = on(event, place, loss=loss).proof()
    refused(document, "the operation is meant for other neighbours, or another unit, than the data set is registered")


@pytest.mark.parametrize(
    ("event", "place"),
    [
        (replace(LAPLACE, unit="patient", adjacency=Adjacency.ADD_REMOVE), ("patients", "north")),
        (FixedSizeGaussianEvent(Decimal(2), Decimal(1), 50, 10_000), ("visits", None)),
        (STEP_OF_SGD, ("patients", "south")),
    ],
)
def test_an_operation_that_says_for_whom_it_is_meant_is_accepted_there(
    event: Event, place: tuple[str, str | None]
) -> None:
    """Where the registration says the same."""
    accepted(on(event, place, loss=None if event.kind == "laplace" else COMPUTED).proof())


def test_a_data_set_that_is_exhausted_is_refused() -> None:
    """Also where the tenant's budget has room, and where the ledger itself says that it was admitted."""
    ledger = Ledger(WIDE)
    ledger.register(PATIENTS, basic_budget(PrivacyLoss(Decimal("0.3"), Decimal(0))))
    ledger.allocate(LAPLACE, on=("patients", "north"))
    refused(ledger.proof(), "data set: the balance exceeds the cap of every member filter")


# The accounts of a data set.


def busy() -> Ledger:
    """Charges on every part of two data sets, some of them taken back, one data set extended."""
    ledger = on()
    ledger.allocate(CLAIM, on=("patients", None))
    held = ledger.allocate(LAPLACE, ttl_seconds=3_600, on=("visits", "2024"))
    ledger.allocate(CLAIM, on=("visits", "2025"))
    ledger.allocate(CLAIM, on=("visits", "2024"))
    ledger.void(held)
    ledger.register(replace(PATIENTS, partitions=("north", "south", "west")), ALL_MEMBERS)
    ledger.allocate(GAUSSIAN, DELTA, on=("visits", None))
    ledger.allocate(GAUSSIAN, DELTA, on=("patients", "west"))
    return ledger


def test_a_history_of_data_sets_is_accepted() -> None:
    """Under either adjacency."""
    accepted(busy().proof())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([(PATIENTS, part) for part in (None, "north", "south")])
            | st.sampled_from([(VISITS, part) for part in (None, "2024", "2025", "2026")]),
            st.sampled_from([CLAIM, LAPLACE]),
            st.booleans(),
        ),
        max_size=12,
    ),
    st.data(),
)
def test_every_exposure_is_derived_from_a_whole_history(
    charges: list[tuple[tuple[Dataset, str | None], Event, bool]], data: st.DataObject
) -> None:
    """What the service takes for the largest exposure is what the checker makes of all accounts; no other sum is."""
    ledger = on()
    for (dataset, partition), event, taken_back in charges:
        held = ledger.allocate(
            event, ttl_seconds=3_600 if taken_back else None, on=(dataset.dataset_id, partition), job_id="another"
        )
        if taken_back:
            ledger.void(held)
    accepted(ledger.proof())
    charged = [entry for entry in ledger.entries if entry.dataset is not None and entry.dataset.charge is not None]
    entry = data.draw(st.sampled_from(charged))
    hair = data.draw(st.sampled_from([Decimal("1e-12"), Decimal("-1e-12"), Decimal("0.5")]))

    def change(body: dict[str, Any]) -> None:
        exposed = body["dataset"]["exposed"]["basic"]
        exposed["epsilon"] = decimal_text(abs(Decimal(exposed["epsilon"]) + hair))

    document = lie(ledger.proof(), entry.seq, change)
    refused(document, f"position {entry.seq}: the exposure that the data set's basic filter counts does not follow")


@pytest.mark.parametrize(
    ("seq", "change", "reason"),
    [
        (
            4,
            lambda body: body["dataset"].update(dataset_id="others"),
            "it charges a data set that was never registered",
        ),
        (4, lambda body: body["dataset"].update(partition="east"), "it charges a partition that was never registered"),
        (5, lambda body: body["dataset"]["spent"]["basic"].update(epsilon="0.6"), "the sum on the data set does not"),
        (9, lambda body: body["dataset"]["spent"]["basic"].update(epsilon="0.6"), "the sum on the data set does not"),
        (10, lambda body: body["dataset"]["spent"]["basic"].update(epsilon="0"), "the sum on the data set does not"),
        (
            5,
            lambda body: body["dataset"]["budget"]["promise"].update(epsilon="51"),
            "is not the one that was registered",
        ),
        (
            10,
            lambda body: body["dataset"]["budget"]["promise"].update(epsilon="49"),
            "the data set's budget was lowered",
        ),
        (10, lambda body: body["dataset"].update(unit="person"), "anew with another unit, adjacency or partitions"),
        (10, lambda body: body["dataset"].update(adjacency="replace_one"), "anew with another unit, adjacency or part"),
        (10, lambda body: body["dataset"].update(basis="by age"), "anew with another unit, adjacency or partitions"),
        (10, lambda body: body["dataset"].update(partitions=["north"]), "anew with another unit, adjacency or part"),
        (
            10,
            lambda body: body["dataset"]["budget"]["renyi"].update(order=9),
            "member filters are not those that it was",
        ),
        (12, lambda body: body["dataset"]["exposed"]["zcdp"].update(rho="0"), "data set's zcdp filter counts does not"),
    ],
)
def test_an_account_that_does_not_follow_is_refused(seq: int, change: Change, reason: str) -> None:
    """Each part by itself, and the registration that it belongs to."""
    refused(lie(busy().proof(), seq, change), f"position {seq}: ")
    refused(lie(busy().proof(), seq, change), reason)


def test_what_is_known_of_a_data_set_bounds_its_exposure_from_below() -> None:
    """Where the history is not there from its beginning, other parts may have been charged more, but not less."""
    ledger = on()
    for _ in range(2):
        ledger.allocate(CLAIM, on=("visits", "2024"))
    ledger.allocate(CLAIM, on=("visits", "2025"))

    def late() -> dict[str, Any]:
        document = ledger.proof()
        document["neighbours"] = []
        return document

    def exposed(epsilon: str) -> Change:
        return lambda body: body["dataset"]["exposed"]["basic"].update(epsilon=epsilon)

    accepted(late())
    # Under replace-one the other year's charges count as well; without the registration nobody here knows that.
    reason = "position 7: the exposure that the data set's basic filter counts does not follow from the sums on it"
    refused(lie(late(), 7, exposed("0.4")), reason)


def test_an_exposure_below_the_part_alone_is_refused_without_any_neighbour() -> None:
    """Whatever happened elsewhere, nobody on a part was exposed to less than was charged on it."""
    document = on().proof(alone=True)
    entry = entries_of(document)[-1]
    with_body(entry, lambda body: body["dataset"]["exposed"]["basic"].update(epsilon="0.1"))
    refused(document, "data set: the basic filter counts less than was charged on the part alone")


def test_a_budget_of_other_members_than_registered_is_refused_without_any_neighbour() -> None:
    """The registration in the document says which."""
    document = on().proof(alone=True)

    def fewer(body: dict[str, Any]) -> None:
        for name in ("budget", "spent", "charge", "exposed"):
            body["dataset"][name].pop("gdp")

    with_body(entries_of(document)[-1], fewer)
    refused(document, "the data set's budget is not the one that was registered")


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 9), st.integers(0, 9)), min_size=1), st.integers(0, 2)
)
def test_the_largest_sums_are_those_that_sorting_finds(steps: list[tuple[str, int, int]], count: int) -> None:
    """However often a partition's sum changes, and whichever partition is not meant."""
    ranking, sums = _Ranking(), dict[str, Cost]()
    for name, amount, delta in steps:
        cost = Cost(Fraction(amount), Fraction(delta))
        ranking.replace(sums.get(name), cost)
        sums[name] = cost
    for without in (None, *sums):
        others = [cost for name, cost in sums.items() if name != without]
        amounts, deltas = (
            (sorted(part, reverse=True)[:count] for part in zip(*others, strict=True)) if others else ([], [])
        )
        largest = ranking.largest(count, None if without is None else sums[without])
        assert largest == Cost(Fraction(sum(amounts)), Fraction(sum(deltas)))
