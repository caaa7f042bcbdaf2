"""Entries of version 3: what is written is read back, and what is not there is not written."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.admission import decide_allocation
from accounting.datasets import Dataset
from accounting.events import Adjacency, LaplaceEvent, SelfComposedEvent
from accounting.filters import standard_budget
from accounting.ledger.entry import ENTRY_VERSION, Entry, EntryKind, entry_from_body
from accounting.policy import (
    SetBudget,
    SetDataset,
    SetLegalHold,
    decide_budget,
    decide_dataset,
    decide_legal_hold,
    renewal,
)
from accounting.settlement import Settle, decide_settlement
from accounting.values import PrivacyLoss
from tests.ledgers import NOW, WIDE, asked, dataset_in, ended, loss, opened, spent

DAY = timedelta(days=1)
HELD = standard_budget(loss("5", "0.0001"))


def settled(history: list[Entry], opening: Entry, kind: EntryKind, **more: Any) -> Entry:  # noqa: ANN401
    """The entry that ends that opening after that history."""
    own = tuple(entry for entry in history if entry.allocation_id == opening.allocation_id)
    request = Settle("t", opening.allocation_id or "", kind, "somebody", own, **more)
    now = NOW + DAY if kind is EntryKind.EXPIRED_SPENT else NOW
    (entry,) = decide_settlement(history[-1], request, now, dataset_in(history)).entries
    return entry


def one_of_each() -> list[Entry]:
    """A history with every kind of entry, most of them in several forms."""
    request = SetBudget("t", HELD, "admin", renewal_days=7, renewal_stated=True)
    history = list(decide_budget(None, request, NOW).entries)
    cohort = Dataset("cohort", "patient", Adjacency.REPLACE_ONE, ("north", "south"), "by hospital")
    for dataset in (Dataset("bare", "visit", Adjacency.ADD_REMOVE), cohort):
        wish = SetDataset("t", dataset, standard_budget(loss("1", "0.001")), "admin")
        history += decide_dataset(history[-1], None, wish, NOW).entries
    state = dataset_in(history)

    def allocated(partition: str | None = None, ttl: int | None = None, epsilon: str = "0.01") -> Entry:
        event = SelfComposedEvent(LaplaceEvent(Decimal(1000), Decimal(1)), 10)
        wanted = asked("t", epsilon, ttl=ttl, engine="image", dataset="cohort", partition=partition)
        wanted = replace(wanted, event=event, loss=loss(epsilon))
        history.append(spent(history[-1], wanted, dataset=dataset_in(history)))
        return history[-1]

    history.append(spent(history[-1], asked("t", "0.1", "0.000001", job="Grüße \U0001f600")))
    allocated()
    commit, part, void, expired, adjusted = (
        allocated(place, 60) for place in ("north", None, "south", "north", "south")
    )
    history.append(settled(history, commit, EntryKind.COMMITTED))
    history.append(settled(history, part, EntryKind.COMMITTED, steps=4))
    history.append(settled(history, void, EntryKind.VOIDED))
    history.append(settled(history, expired, EntryKind.EXPIRED_SPENT))
    history.append(settled(history, adjusted, EntryKind.COMMITTED))
    history.append(settled(history, adjusted, EntryKind.ADJUSTED, statement="a.signed.word"))
    for in_force in (True, False):
        hold = SetLegalHold("t", in_force, "a lawsuit", "admin")
        history += decide_legal_hold(history[-1], hold, NOW).entries
    allocated(ttl=86_400 * 30)
    crossing = asked("t", "0.95", dataset="cohort")
    history.append(spent(history[-1], crossing, dataset=dataset_in(history)))
    assert history[-1].crossed
    window = renewal(history[-1], NOW + 7 * DAY)
    assert window is not None
    history.append(window)
    assert state.whole != dataset_in(history).whole
    return history


HISTORY = one_of_each()


def test_every_kind_of_entry_is_among_them() -> None:
    """A new kind has to be added here."""
    assert {entry.kind for entry in HISTORY} == set(EntryKind)


@pytest.mark.parametrize("entry", HISTORY, ids=lambda entry: f"{entry.seq}-{entry.kind}")
def test_an_entry_is_read_back_as_it_was_written(entry: Entry) -> None:
    """To the last digit and microsecond, its hash with it."""
    read = entry_from_body(entry.body)
    assert replace(read, details=read.details or None) == replace(entry, details=entry.details or None)
    assert (read.body, read.hash, read.version) == (entry.body, entry.hash, ENTRY_VERSION)


@pytest.mark.parametrize("entry", HISTORY, ids=lambda entry: f"{entry.seq}-{entry.kind}")
def test_what_is_absent_is_not_written(entry: Entry) -> None:
    """No null, no empty text, list or object, nowhere in the body: an entry is as long as what it says."""

    def empty(data: object) -> bool:
        if isinstance(data, Mapping):
            return not data or any(empty(value) for value in data.values())
        if isinstance(data, list):
            return not data or any(empty(value) for value in data)
        return data is None or data == "" or data is False

    assert not empty(json.loads(entry.body))


def test_a_plain_charge_is_written_in_these_very_bytes() -> None:
    """A literal, since ledgers hold them: no member more for a budget without windows, data sets or holds."""
    entry = spent(opened("t"), asked("t", "0.25", key="k", engine="text"))
    data = json.loads(entry.body)
    assert data.keys() == {
        "v", "tenant_id", "seq", "kind", "at", "budget", "spent", "charge", "event", "operations", "period_start",
        "allocation_id", "job_id", "source_engine", "idempotency_key", "request_hash", "details", "actor", "prev_hash",
    }  # fmt: skip
    assert (data["v"], data["kind"], data["at"]) == (3, "consumed", "2026-11-21T04:37:00.000000Z")


def test_what_version_3_added_is_written_under_these_names() -> None:
    """A literal too: a hold on a partition of a renewing budget, under a legal hold, that crosses."""
    entry = next(entry for entry in HISTORY if entry.crossed)
    data = json.loads(entry.body)
    assert data["crossed"] == ["data set cohort"]
    assert (data["renewal_days"], data["held"]["basic"]) == (7, {"epsilon": "0.01", "delta": "0"})
    assert data["dataset"].keys() == {"dataset_id", "budget", "spent", "charge", "exposed"}
    hold = json.loads(next(entry for entry in HISTORY if entry.kind is EntryKind.HELD).body)
    assert hold["dataset"]["partition"] == "north"
    assert hold["due_at"] == "2026-11-21T04:38:00.000000Z"
    registration = json.loads(HISTORY[2].body)["dataset"]
    assert (registration["unit"], registration["adjacency"]) == ("patient", "replace_one")
    assert (registration["partitions"], registration["basis"]) == (["north", "south"], "by hospital")
    assert json.loads(HISTORY[1].body)["dataset"].keys() == {"dataset_id", "budget", "spent", "unit", "adjacency"}
    locked = next(entry for entry in HISTORY if entry.kind is EntryKind.RETENTION_LOCKED)
    assert json.loads(locked.body)["legal_hold"] is True
    window = json.loads(HISTORY[-1].body)
    assert window["lifetime"] != window["spent"] == window["held"]
    assert window["due_at"] == "2026-12-05T04:37:00.000000Z"


def test_the_lifetime_is_written_only_where_it_is_another_number() -> None:
    """For a budget that never renewed it is the same value, in memory the very same object."""
    entry = spent(opened("t"), asked("t", "0.25"))
    assert entry.lifetime is entry.spent
    read = entry_from_body(entry.body)
    assert read.lifetime is read.spent
    assert spent(read, asked("t", "0.25")).lifetime is not read.spent


@given(st.decimals("0.000001", "0.9", places=12), st.sampled_from([None, "north", "south"]), st.booleans())
def test_any_charge_on_a_data_set_survives_its_own_body(epsilon: Decimal, partition: str | None, hold: bool) -> None:
    """Its balance there, and what it was admitted on."""
    history = HISTORY[:3]
    request = asked("t", epsilon, ttl=60 if hold else None, dataset="cohort", partition=partition)
    verdict = decide_allocation(history[-1], None, request, WIDE, NOW, dataset_in(history))
    (entry,) = verdict.entries
    read = entry_from_body(entry.body)
    assert (read, read.dataset, read.hash) == (entry, entry.dataset, entry.hash)
    assert read.dataset is not None
    assert read.dataset.exposed == read.dataset.charge
    if hold:
        void = ended(entry, entry, EntryKind.VOIDED, dataset=dataset_in([*history, entry]))
        assert entry_from_body(void.body).dataset == void.dataset
    assert read.charge is not None
    assert read.charge.basic == PrivacyLoss(epsilon, Decimal(0))
