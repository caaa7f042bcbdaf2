"""Forgeries, one for each rule of the ledger, each carried on as its forger would: hashed anew, sums moved along."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest

from accounting.admission import Outcome, allocation_id_of
from accounting.charges import Cost
from accounting.events import Adjacency, ClaimEvent, GaussianEvent
from accounting.filters import Charge, basic_budget
from accounting.ledger.entry import DatasetBalance, Entry, EntryKind
from accounting.plans import price_plan
from tests.auditing import audited, begun, last_as, sentences
from tests.histories import BUDGETS, EVENTS, WHOLE, Scribe, chained, forged
from tests.ledgers import loss

HOUR = timedelta(hours=1)


@pytest.fixture
def scribe() -> Scribe:
    """A tenant with room in its budget, two data sets and nothing spent."""
    return begun()


def paid(entry: Entry, epsilon: str) -> Entry:
    """The entry with another charge, and sums to match: as if it had cost that."""
    assert entry.charge is not None
    charge = Charge((Cost(Decimal(epsilon), entry.charge.costs[0].delta),))
    spent = entry.spent.minus(entry.charge).plus(charge)
    return replace(entry, charge=charge, spent=spent, lifetime=spent)


def test_a_cheaper_charge_is_found_though_all_sums_agree(scribe: Scribe) -> None:
    """The event is priced again."""
    scribe.allocate("pure")
    honest = scribe.entries[-1]
    scribe.allocate()
    assert honest.charge is not None
    cheap = paid(honest, "0.01")
    saved = honest.spent.minus(cheap.spent)
    entries = [*scribe.entries[:-2], cheap]
    later = scribe.entries[-1]
    entries.append(replace(later, spent=later.spent.minus(saved), lifetime=later.spent.minus(saved)))
    found = audited(chained(entries))
    assert {finding.seq for finding in found} == {honest.seq}
    assert any("charge is" in finding.sentence and '"epsilon":"0.25"' in finding.sentence for finding in found)


def test_a_claim_costs_what_it_claims(scribe: Scribe) -> None:
    """Not less, with sums to match."""
    scribe.allocate("claim")
    assert any(text.startswith("charge is") for text in last_as(scribe, lambda entry: paid(entry, "0.1")))


def test_a_plan_may_cost_what_any_theorem_gives_and_nothing_else(scribe: Scribe) -> None:
    """A caller may have asked for a theorem that is not the tightest."""
    event, delta = EVENTS["plan"]
    scribe.allocate("plan")
    losses = {found.loss for found in price_plan(event, delta).prices if found.loss is not None}
    assert len(losses) > 2
    charge = scribe.entries[-1].charge
    assert charge is not None
    for epsilon in [str(found.epsilon) for found in losses if found.delta == charge.basic.delta]:
        assert last_as(scribe, partial(paid, epsilon=epsilon)) == []
    assert last_as(scribe, lambda entry: paid(entry, "0.5"))


def test_an_event_without_a_price_is_found(scribe: Scribe) -> None:
    """Such as a Gaussian that is to have no delta."""
    scribe.allocate("claim")
    event = GaussianEvent(Decimal(4), Decimal(1))
    changed_delta = Charge((Cost(Decimal("0.25"), Decimal(0)),))
    found = last_as(
        scribe,
        lambda entry: replace(entry, event=event, charge=changed_delta, spent=changed_delta, lifetime=changed_delta),
    )
    assert any(text.startswith("has an event without a price at delta 0") for text in found)


def test_spending_over_the_budget_is_found(scribe: Scribe) -> None:
    """At the first entry that no member filter admits."""
    small = Scribe()
    small.set_budget(basic_budget(loss("0.5", "0.0001")))
    rich = Scribe(small.tenant_id)
    rich.set_budget(basic_budget(loss("1", "0.0001")))
    for _ in range(3):
        rich.allocate("pure")
    entries = [small.entries[0], *(replace(entry, budget=small.entries[0].budget) for entry in rich.entries[1:])]
    found = [finding for finding in audited(chained(entries)) if "spends more" in finding.sentence]
    assert [(finding.seq, finding.sentence) for finding in found] == [
        (4, "spends more than the budget of the tenant lifetime admits")
    ]


def test_spending_over_a_data_sets_budget_is_found(scribe: Scribe) -> None:
    """Over the exposure of whoever was exposed most, other partitions included under replace-one."""
    for partition in ("north", "south"):
        for _ in range(4):
            scribe.allocate("pure", dataset="regions", partition=partition)
    assert scribe.allocate("pure", dataset="regions", partition="north").outcome is Outcome.BUDGET_EXHAUSTED
    state = scribe.state.datasets["regions"]
    assert state is not None
    scribe.allocate("pure")
    charge = scribe.entries[-1].charge
    assert charge is not None
    spent, exposed = (before.plus(charge) for before in (state.spent_on("north"), state.exposure("north")))
    balance = DatasetBalance("regions", "north", state.budget, spent, charge, exposed=exposed)
    assert "spends more than the budget of data set regions, partition north admits" in last_as(
        scribe, lambda entry: replace(entry, dataset=balance)
    )


def test_a_data_set_is_charged_what_its_own_filters_count(scribe: Scribe) -> None:
    """All scopes or none, and each in full."""
    scribe.allocate("pure", dataset="patients")

    def halved(entry: Entry) -> Entry:
        assert entry.dataset is not None
        half = Charge((Cost(Decimal("0.125"), Decimal(0)),))
        return replace(entry, dataset=replace(entry.dataset, charge=half, spent=half, exposed=half))

    assert any(text.startswith("dataset is") for text in last_as(scribe, halved))


@pytest.mark.parametrize(
    ("named", "partition", "sentence"),
    [
        ("nobody", None, "charges data set nobody, which is not registered, or charges nothing on it"),
        ("regions", "west", "charges partition west of data set regions, which is not registered"),
    ],
)
def test_a_data_set_or_partition_that_is_not_registered_is_found(
    scribe: Scribe, named: str, partition: str | None, sentence: str
) -> None:
    """Only what was registered can be charged."""
    scribe.allocate("pure", dataset="regions", partition="north")

    def renamed(entry: Entry) -> Entry:
        assert entry.dataset is not None
        return replace(entry, dataset=replace(entry.dataset, dataset_id=named, partition=partition))

    assert sentence in last_as(scribe, renamed)


def test_an_event_for_other_neighbours_is_found(scribe: Scribe) -> None:
    """What was priced for one adjacency is not charged under another."""
    scribe.allocate("claim", dataset="patients")

    def other(entry: Entry) -> Entry:
        assert isinstance(entry.event, ClaimEvent)
        return replace(entry, event=replace(entry.event, adjacency=Adjacency.REPLACE_ONE))

    assert any(text.startswith("has an event that is meant for") for text in last_as(scribe, other))


def test_a_void_after_the_holds_time_is_found(scribe: Scribe) -> None:
    """Nobody can say then that no data was read."""
    scribe.allocate("pure", ttl=60)
    scribe.end(scribe.entries[-1], EntryKind.VOIDED)
    assert last_as(scribe, lambda entry: replace(entry, at=entry.at + HOUR)) == [
        "gives back a charge after the hold's time"
    ]


def test_an_expiry_before_the_holds_time_is_found(scribe: Scribe) -> None:
    """The engine has its time."""
    scribe.allocate("pure", ttl=60)
    hold = scribe.entries[-1]
    scribe.wait(minutes=2)
    scribe.end(hold, EntryKind.EXPIRED_SPENT)
    assert last_as(scribe, lambda entry: replace(entry, at=hold.at)) == ["expires a hold before its time"]


@pytest.mark.parametrize("kind", [EntryKind.COMMITTED, EntryKind.VOIDED, EntryKind.EXPIRED_SPENT])
def test_a_second_end_is_found(scribe: Scribe, kind: EntryKind) -> None:
    """One allocation, one end."""
    scribe.allocate("pure", ttl=60)
    hold = scribe.entries[-1]
    scribe.end(hold, EntryKind.COMMITTED)
    again = replace(scribe.entries[-1], kind=kind)
    assert f"ends allocation {hold.allocation_id}, which has ended already" in sentences(
        chained([*scribe.entries, again])
    )


def test_the_end_of_what_was_never_held_is_found(scribe: Scribe) -> None:
    """Of nothing, and of what was spent at once."""
    scribe.allocate("pure", ttl=60)
    scribe.end(scribe.entries[-1], EntryKind.VOIDED)
    void = scribe.entries[-1]
    stranger = "00000000-0000-8000-8000-000000000000"
    assert f"ends allocation {stranger}, which was never held" in last_as(
        scribe, lambda entry: replace(entry, allocation_id=stranger)
    )
    scribe.allocate("pure")
    spent = scribe.entries[-1]
    assert f"ends allocation {spent.allocation_id}, which has ended already" in sentences(
        chained([*scribe.entries, replace(void, allocation_id=spent.allocation_id)])
    )


def test_a_key_that_opens_two_allocations_is_found(scribe: Scribe) -> None:
    """One key, one outcome, for ever."""
    scribe.allocate("pure")
    first = scribe.entries[-1]
    scribe.allocate("pure")
    again = allocation_id_of(scribe.tenant_id, first.idempotency_key or "")
    found = last_as(scribe, lambda entry: replace(entry, idempotency_key=first.idempotency_key, allocation_id=again))
    assert found == [f"opens allocation {again} a second time: one key, one outcome"]


def test_an_allocations_id_follows_from_its_key(scribe: Scribe) -> None:
    """So a key cannot hide behind another id."""
    scribe.allocate("pure")
    found = last_as(scribe, lambda entry: replace(entry, idempotency_key="another"))
    assert any(text.startswith("allocation_id is") for text in found)
    assert "opens an allocation without a key, an event or a charge" in last_as(
        scribe, lambda entry: replace(entry, idempotency_key=None)
    )


def test_a_hold_without_an_end_in_time_is_found(scribe: Scribe) -> None:
    """Every hold says how long it lasts."""
    scribe.allocate("pure", ttl=60)
    for due_at in (None, scribe.now):
        assert "is a hold that does not say how long it lasts" in last_as(
            scribe,
            partial(replace, due_at=due_at),
        )


def test_a_commit_gives_back_only_the_steps_that_were_not_run(scribe: Scribe) -> None:
    """Counted from the event; steps that the hold does not have are found."""
    scribe.allocate("steps", ttl=60)
    scribe.end(scribe.entries[-1], EntryKind.COMMITTED, 3)
    assert audited(scribe.entries) == []
    assert any(text.startswith("charge is") for text in last_as(scribe, lambda entry: steps_of(entry, 2)))
    assert (
        last_as(scribe, lambda entry: steps_of(entry, 5))[0] == "commits a number of steps that the hold does not have"
    )
    assert "gives back a charge after the hold's time" in last_as(
        scribe, lambda entry: replace(entry, at=entry.at + HOUR)
    )


def steps_of(entry: Entry, steps: int) -> Entry:
    """The commit of another number of steps."""
    return replace(entry, details={"steps": steps})


def test_a_plan_that_is_charged_whole_gives_nothing_back(scribe: Scribe) -> None:
    """A commit of fewer steps of it that takes something out is found."""
    scribe.allocate("plan", ttl=60)
    hold = scribe.entries[-1]
    scribe.end(hold, EntryKind.COMMITTED, 1)
    assert audited(scribe.entries) == []
    assert hold.charge is not None
    some = Charge((Cost(Decimal("0.1"), Decimal(0)),))

    def generous(entry: Entry) -> Entry:
        spent = entry.spent.minus(some)
        return replace(entry, charge=some, spent=spent, lifetime=spent)

    assert any(text.startswith("charge is") for text in last_as(scribe, generous))


def adjusted(scribe: Scribe) -> Entry:
    """An allocation whose charge was taken back."""
    scribe.allocate("pure", dataset="patients")
    opening = scribe.entries[-1]
    scribe.end(opening, EntryKind.ADJUSTED)
    return opening


def test_an_adjustment_needs_an_operators_statement(scribe: Scribe) -> None:
    """One that holds, about this very allocation."""
    opening = adjusted(scribe)
    asked: list[tuple[str, str, str]] = []

    def statement(*about: str) -> str | None:
        asked.append((about[0], about[1], about[2]))
        return None

    assert sentences(scribe.entries, statement=statement) == []
    assert asked == [("signed", scribe.tenant_id, opening.allocation_id)]
    assert sentences(scribe.entries, statement=lambda *_: "nobody signed") == [
        "takes a charge back on an operator's statement that nobody signed"
    ]
    assert last_as(scribe, lambda entry: replace(entry, details={})) == [
        "takes a charge back on an operator's statement that is missing"
    ]


def test_a_charge_is_taken_back_once(scribe: Scribe) -> None:
    """And neither of what is open nor of what was voided."""
    opening = adjusted(scribe)
    back = scribe.entries[-1]
    refused = "which has not ended, was voided, or was taken back already"
    again = f"takes back allocation {opening.allocation_id}, {refused}"
    assert again in sentences(chained([*scribe.entries, back]))
    for end in (None, EntryKind.VOIDED):
        scribe.allocate("pure", ttl=60)
        hold = scribe.entries[-1]
        if end is not None:
            scribe.end(hold, end)
        forgery = replace(back, allocation_id=hold.allocation_id)
        assert f"takes back allocation {hold.allocation_id}, {refused}" in sentences(
            chained([*scribe.entries, forgery])
        )


def windows() -> Scribe:
    """A tenant in its second window, with a hold that was open when it began."""
    scribe = Scribe()
    scribe.set_budget(basic_budget(loss("100", "0.0001")), 1)
    scribe.allocate("pure")
    scribe.wait(hours=20)
    scribe.allocate("pure", ttl=100_000)
    scribe.wait(hours=30)
    scribe.renew()
    return scribe


def test_a_window_begins_on_time_and_with_the_open_holds() -> None:
    """Not early, not where none was due, not forgetting what is held."""
    scribe = windows()
    assert audited(scribe.entries) == []
    renewed = scribe.entries[-1]
    assert renewed.kind is EntryKind.RENEWED
    nothing = renewed.budget.nothing()
    assert any(text.startswith("spent is") for text in last_as(scribe, lambda entry: replace(entry, spent=nothing)))
    early = last_as(scribe, lambda entry: replace(entry, at=scribe.entries[0].at + HOUR))
    assert "begins a window before the last one has ended" in early

    def off(entry: Entry) -> Entry:
        start = entry.period_start + HOUR
        return replace(entry, period_start=start, due_at=start + timedelta(days=1))

    assert any(text.startswith("period_start is") for text in last_as(scribe, off))


def test_an_entry_in_a_window_that_had_ended_is_found() -> None:
    """Its charge would count where nobody looks any more."""
    scribe = windows()
    renewed = scribe.entries.pop()
    assert renewed.kind is EntryKind.RENEWED
    late = Scribe(scribe.tenant_id, list(scribe.entries), scribe.entries[-1].at)
    late.allocate("pure")
    entries = forged(late.entries, len(late.entries) - 1, lambda entry: replace(entry, at=entry.at + 30 * HOUR))
    assert sentences(entries) == ["stands in a window that had ended"]


def test_what_an_earlier_window_counted_is_not_taken_out_of_this_one() -> None:
    """An adjustment of it falls in the sum over all windows alone."""
    scribe = windows()
    opening = scribe.openings()[0]
    scribe.end(opening, EntryKind.ADJUSTED)
    assert audited(scribe.entries) == []

    def both(entry: Entry) -> Entry:
        assert entry.charge is not None
        return replace(entry, spent=entry.spent.minus(entry.charge))

    assert any(text.startswith("spent is") for text in last_as(scribe, both))


def test_a_lowered_or_hollow_budget_is_found(scribe: Scribe) -> None:
    """A raise keeps the filters, lowers nothing, and its caps follow from its promise."""
    scribe.set_budget(basic_budget(loss("200", "0.0001")))
    lower = basic_budget(loss("50", "0.0001"))
    assert "lowers the budget, or changes its member filters" in last_as(
        scribe, lambda entry: replace(entry, budget=lower)
    )
    held = scribe.entries[-1].budget
    hollow = replace(held, members=(replace(held.members[0], cap=Cost(Decimal(500), Decimal("0.0001"))),))
    assert "has member filters whose caps do not follow from the budget's promise" in last_as(
        scribe, lambda entry: replace(entry, budget=hollow)
    )
    shares = replace(held, members=(replace(held.members[0], cap=Cost(Decimal(200), Decimal("0.1"))),))
    assert any(
        text.startswith("has a budget that cannot be")
        for text in last_as(scribe, lambda entry: replace(entry, budget=shares))
    )


def test_a_data_set_that_changes_is_found(scribe: Scribe) -> None:
    """Its unit and adjacency stay, its budget is not lowered, and its sum is not forgotten."""
    scribe.allocate("pure", dataset="patients")
    scribe.set_dataset(WHOLE, BUDGETS["basic"])
    assert scribe.set_dataset(WHOLE, basic_budget(loss("3", "0.00001"))).outcome is Outcome.ADMITTED

    def other_unit(entry: Entry) -> Entry:
        assert entry.dataset is not None
        return replace(entry, dataset=replace(entry.dataset, dataset=replace(WHOLE, unit="visit")))

    def forgets(entry: Entry) -> Entry:
        assert entry.dataset is not None
        return replace(entry, dataset=replace(entry.dataset, spent=entry.budget.nothing()))

    assert "lowers the budget of data set patients, or changes what it is" in last_as(scribe, other_unit)
    assert any(text.startswith("dataset is") for text in last_as(scribe, forgets))
    assert "registers no data set" in last_as(scribe, lambda entry: replace(entry, dataset=None))


def test_a_legal_hold_changes_by_its_own_entries_alone(scribe: Scribe) -> None:
    """It is in force until it is lifted."""
    scribe.hold_legally(True)
    scribe.allocate("pure")
    assert any(
        text.startswith("legal_hold is absent")
        for text in last_as(scribe, lambda entry: replace(entry, legal_hold=False))
    )
    again = replace(scribe.entries[-2], legal_hold=True)
    assert "places a legal hold that is in force, or lifts one that is not" in sentences(
        chained([*scribe.entries, again])
    )


def test_a_warning_is_told_when_it_is_due_and_only_then() -> None:
    """The entry that leaves less than a tenth says so; no other does."""
    scribe = Scribe()
    scribe.set_budget(basic_budget(loss("1", "0.0001")))
    for _ in range(4):
        scribe.allocate("pure")
    assert [entry.crossed for entry in scribe.entries] == [(), (), (), (), ("tenant lifetime",)]
    assert last_as(scribe, lambda entry: replace(entry, crossed=())) == [
        'crossed is absent, but ["tenant lifetime"] follows'
    ]
    assert forged(scribe.entries, 1, lambda entry: replace(entry, crossed=("tenant lifetime",)))
    found = sentences(forged(scribe.entries, 1, lambda entry: replace(entry, crossed=("tenant lifetime",))))
    assert found == ['crossed is ["tenant lifetime"], but absent follows']


def test_a_history_begins_with_a_budget_and_nothing_spent(scribe: Scribe) -> None:
    """Whoever drops the first entries and renumbers the rest is found."""
    scribe.allocate("pure")
    found = sentences(chained(scribe.entries[-1:]))
    assert "is the first entry of its tenant, but consumed and no budget" in found
    assert any(text.startswith("spent is") for text in found)
