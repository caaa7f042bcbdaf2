"""Events: a function of an entry and its position, the same however often they are sent."""

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.admission import decide_allocation
from accounting.datasets import Dataset, DatasetState
from accounting.events import Adjacency
from accounting.filters import basic_budget
from accounting.ledger.entry import Entry, EntryKind, entry_from_body
from accounting.policy import SetBudget, SetDataset, decide_budget, decide_dataset, renewal
from accounting.settlement import Settle, decide_settlement
from deployments.outbox.events import OutboxEvent, Topic, events_of
from tests.ledgers import NOW, WIDE, asked, ended, loss, opened, spent
from tests.outbox import history


def operation(entry: Entry) -> dict[str, Any]:
    """What the operation's event of an entry says."""
    first = events_of(7, entry)[0]
    assert first.topic is Topic.OPERATIONS
    told: dict[str, Any] = json.loads(first.body)
    return told


def told(entries: list[Entry]) -> list[OutboxEvent]:
    """All events of entries that begin the log."""
    return [event for position, entry in enumerate(entries) for event in events_of(position, entry)]


def test_an_allocation_is_told_with_its_exact_amounts() -> None:
    """Numbers for those who read quickly, decimals for those who must not round, and where it stands."""
    first = opened("t")
    entry = spent(first, asked("t", "0.100000000000000000000000000001", "1e-30", job="a job", engine="text"))
    assert operation(entry) == {
        "tenant_id": "t",
        "seq": 2,
        "position": 7,
        "at": "2026-11-21T04:37:00.000000Z",
        "kind": "consumed",
        "job_id": "a job",
        "source_engine": "text",
        "allocation_id": entry.allocation_id,
        "dataset_id": None,
        "partition": None,
        "epsilon_consumed": 0.1,
        "delta_consumed": 1e-30,
        "remaining_epsilon": 9.9,
        "exact": {
            "epsilon_consumed": "0.100000000000000000000000000001",
            "delta_consumed": "0.000000000000000000000000000001",
            "remaining_epsilon": "9.899999999999999999999999999999",
        },
        "ledger_hash": entry.hash.hex(),
    }


def test_every_entry_gives_one_operation_so_a_tenants_seq_has_no_gap() -> None:
    """Whatever a step did: a listener of the one topic counts 1, 2, 3 and so on, and knows if one is missing."""
    entries = history("t")
    assert {entry.kind for entry in entries} > {EntryKind.BUDGET_SET, EntryKind.VOIDED, EntryKind.RENEWED}
    seqs = [event.data["seq"] for event in told(entries) if event.topic is Topic.OPERATIONS]
    assert seqs == [entry.seq for entry in entries]


@pytest.mark.parametrize(
    "kind", [EntryKind.BUDGET_SET, EntryKind.RENEWED, EntryKind.COMMITTED, EntryKind.EXPIRED_SPENT]
)
def test_a_step_that_moves_nothing_consumes_nothing(kind: EntryKind) -> None:
    """Zero, and not minus zero."""
    hold = spent(opened("t"), asked("t", "1", ttl=60))
    entries = [*history("t"), ended(hold, hold, EntryKind.COMMITTED)]
    entries.append(ended(hold, hold, EntryKind.EXPIRED_SPENT, NOW + timedelta(seconds=60)))
    entry = next(entry for entry in entries if entry.kind is kind)
    assert '"epsilon_consumed":0.0,"delta_consumed":0.0' in events_of(0, entry)[0].body.decode()
    assert operation(entry)["exact"]["epsilon_consumed"] == "0"


def test_what_is_given_back_is_told_as_negative() -> None:
    """A void and an adjustment say exactly what they took back, so that all consumptions sum to what is spent."""
    head = opened("t")
    hold = spent(head, asked("t", "0.300000000000000000000000000001", "1e-7", ttl=60))
    void = ended(hold, hold, EntryKind.VOIDED)
    charge = spent(void, asked("t", "1.5"))
    request = Settle("t", charge.allocation_id or "", EntryKind.ADJUSTED, "admin", (charge,), statement="signed")
    (adjusted,) = decide_settlement(charge, request, NOW).entries
    assert operation(void)["epsilon_consumed"] == -0.3
    assert operation(void)["exact"]["epsilon_consumed"] == "-0.300000000000000000000000000001"
    assert operation(void)["exact"]["delta_consumed"] == "-0.0000001"
    assert operation(adjusted)["exact"]["epsilon_consumed"] == "-1.5"
    total = sum(
        Decimal(operation(entry)["exact"]["epsilon_consumed"]) for entry in (head, hold, void, charge, adjusted)
    )
    assert total == adjusted.spent.basic.epsilon == 0


def test_a_budget_that_falls_below_a_tenth_is_told_once() -> None:
    """The crossing itself is told; what is spent after it is not another one."""
    first = opened("t", "10")
    entries = [first]
    for epsilon in ("9", "0.1", "0.1"):
        entries.append(spent(entries[-1], asked("t", epsilon, engine="image")))
    exhausted = [event for event in told(entries) if event.topic is Topic.EXHAUSTED]
    (one,) = exhausted
    assert one.data["seq"] == 3
    assert one.index == 1
    assert one.data["scope"] == "tenant lifetime"
    assert (one.data["remaining_epsilon"], one.data["total_epsilon"]) == (0.9, 10.0)
    assert one.data["source_engine"] == "image"
    assert one.data["exact"]["remaining_epsilon"] == "0.9"


def test_a_raised_budget_can_be_crossed_again() -> None:
    """Once each time it happens, not once for ever."""
    entries = [opened("t", "10")]
    entries.append(spent(entries[-1], asked("t", "9.5")))
    raising = SetBudget("t", basic_budget(loss("20", "0.00001")), "admin")
    entries += decide_budget(entries[-1], raising, NOW).entries
    entries.append(spent(entries[-1], asked("t", "9")))
    assert [event.data["seq"] for event in told(entries) if event.topic is Topic.EXHAUSTED] == [2, 4]


def test_a_data_sets_crossing_names_the_data_set_and_its_promise() -> None:
    """Both scopes are told if both are crossed; what is left of the data set one entry does not know."""
    head = opened("t", "10")
    dataset = Dataset("wards", "patient", Adjacency.ADD_REMOVE, ("north",), "by ward")
    setting = SetDataset("t", dataset, basic_budget(loss("9.2")), "admin")
    (registered,) = decide_dataset(head, None, setting, NOW).entries
    assert registered.dataset is not None
    state = DatasetState(dataset, registered.dataset.budget, registered.dataset.spent, {})
    request = replace(asked("t", "9.1"), dataset_id="wards", partition="north")
    (entry,) = decide_allocation(registered, None, request, WIDE, NOW, state).entries
    operation, *crossings = events_of(0, entry)
    assert (operation.data["dataset_id"], operation.data["partition"]) == ("wards", "north")
    assert [event.data["scope"] for event in crossings] == ["tenant lifetime", "data set wards, partition north"]
    assert [event.data["total_epsilon"] for event in crossings] == [10.0, 9.2]
    assert ["remaining_epsilon" in event.data for event in crossings] == [True, False]
    assert all(event.topic is Topic.EXHAUSTED for event in crossings)


def test_a_new_window_is_told_with_its_bounds() -> None:
    """The window that has begun, and what it starts with."""
    wish = SetBudget("t", basic_budget(loss("10")), "admin", renewal_days=30, renewal_stated=True)
    (first,) = decide_budget(None, wish, NOW).entries
    hold = spent(first, asked("t", "2", ttl=10_000_000))
    begun = renewal(hold, NOW + timedelta(days=30))
    assert begun is not None
    operation, renewed = events_of(0, begun)
    assert operation.topic is Topic.OPERATIONS
    assert renewed.topic is Topic.RENEWED
    assert renewed.data["period_start"] == "2026-12-21T04:37:00.000000Z"
    assert renewed.data["period_end"] == "2027-01-20T04:37:00.000000Z"
    # The open hold counts in the new window as well.
    assert (renewed.data["remaining_epsilon"], renewed.data["total_epsilon"]) == (8.0, 10.0)


def test_an_event_is_the_same_however_often_it_is_made() -> None:
    """From the entry itself or from what is stored of it: equal ids, equal bytes."""
    for position, entry in enumerate(history("t")):
        again = events_of(position, entry_from_body(entry.body))
        assert [(e.event_id, e.body, e.attributes()) for e in again] == [
            (e.event_id, e.body, e.attributes()) for e in events_of(position, entry)
        ]


@given(st.lists(st.sampled_from(["north", "south"]), min_size=2, max_size=2, unique=True))
def test_no_two_events_have_one_id(tenants: list[str]) -> None:
    """Not within an entry, not between entries, not between tenants with the same history."""
    events = [event for tenant in tenants for event in told(history(tenant))]
    assert len({event.event_id for event in events}) == len(events)


def test_an_id_stays_with_its_entry_and_not_with_the_position() -> None:
    """A database that was restored may give a position to another entry, whose events are others."""
    one, other = spent(opened("t"), asked("t", "1")), spent(opened("t"), asked("t", "2"))
    assert events_of(1, one)[0].event_id == events_of(2, one)[0].event_id
    assert events_of(1, one)[0].event_id != events_of(1, other)[0].event_id


def test_the_attributes_are_those_of_a_cloud_event() -> None:
    """Names of lower-case letters and digits, the required ones there, the time as RFC 3339 has it."""
    for event in told(history("t")):
        attributes = event.attributes()
        assert {"id", "source", "specversion", "type"} <= attributes.keys()
        assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in attributes)
        assert attributes["specversion"] == "1.0"
        assert attributes["type"] == event.topic
        assert attributes["subject"] == "t"
        assert datetime.fromisoformat(attributes["time"]).tzinfo is not None


def test_events_of_an_entry_are_numbered_from_zero() -> None:
    """The index within the entry is what a stream's ids are made of."""
    by_entry: dict[int, list[int]] = {}
    for event in told(history("t")):
        by_entry.setdefault(event.position, []).append(event.index)
    assert all(indices == list(range(len(indices))) for indices in by_entry.values())
    assert any(len(indices) > 1 for indices in by_entry.values())
    assert all(before < after for before, after in pairwise(sorted(by_entry)))
