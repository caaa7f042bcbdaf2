"""The audit finds nothing in a history that came about by the rules, and finds what a forger changed in it."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.filters import standard_budget
from accounting.ledger.audit import MOST_FINDINGS, Audit
from accounting.ledger.canonical import canonical_json
from accounting.ledger.entry import Entry, EntryKind, entry_from_body
from accounting.ledger.merkle import leaf_hash, tree_root
from tests.auditing import audited, begun, sentences
from tests.histories import BUDGETS, DATASETS, EVENTS, PARTED, WHOLE, Scribe, chained, forged
from tests.ledgers import loss

pytestmark = pytest.mark.untraced

HOUR = timedelta(hours=1)


@st.composite
def histories(draw: st.DrawFn, longest: int = 30) -> Scribe:
    """A history of every kind of step."""
    scribe = Scribe()
    scribe.set_budget(draw(st.sampled_from(list(BUDGETS.values()))), draw(st.sampled_from([None, 1, 30])))
    for _ in range(draw(st.integers(0, longest))):
        step = draw(st.sampled_from(["wait", "budget", "dataset", "legal", "spend", "spend", "spend", "end", "end"]))
        if step == "wait":
            scribe.wait(seconds=draw(st.sampled_from([1, 59, 61, 80_000, 200_000])))
        elif step == "budget":
            days, stated = draw(st.sampled_from([None, 1, 30])), draw(st.booleans())
            scribe.set_budget(draw(st.sampled_from(list(BUDGETS.values()))), days, days_stated=stated)
        elif step == "dataset":
            wanted = draw(st.sampled_from(list(BUDGETS.values())))
            scribe.set_dataset(draw(st.sampled_from(list(DATASETS.values()))), wanted)
        elif step == "legal":
            scribe.hold_legally(draw(st.booleans()))
        elif step == "spend":
            dataset = draw(st.sampled_from([None, WHOLE.dataset_id, PARTED.dataset_id]))
            parts = [None, *PARTED.partitions] if dataset == PARTED.dataset_id else [None]
            scribe.allocate(
                draw(st.sampled_from(list(EVENTS))),
                ttl=draw(st.sampled_from([None, 60])),
                dataset=dataset,
                partition=draw(st.sampled_from(parts)),
            )
        elif scribe.openings():
            opening = draw(st.sampled_from(scribe.openings()[-6:]))
            kind = draw(st.sampled_from(ENDS))
            steps = draw(st.sampled_from([None, 0, 1, 2])) if kind is EntryKind.COMMITTED else None
            scribe.end(opening, kind, steps)
    return scribe


ENDS = [EntryKind.COMMITTED, EntryKind.VOIDED, EntryKind.EXPIRED_SPENT, EntryKind.ADJUSTED]

TELLING = {"at", "actor", "details", "event", "idempotency_key", "job_id", "request_hash", "source_engine", "due_at"}
"""What an entry says that does not follow from those before it alone."""
GIVEN = {
    "budget_set": {"budget", "renewal_days"},
    "dataset_set": {"dataset"},
    "consumed": set[str](),
    "held": set[str](),
}


def numbers(data: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where numbers stand in JSON, as numbers or as decimal text."""
    if isinstance(data, dict):
        return [found for name, value in data.items() for found in numbers(value, (*path, name))]
    if isinstance(data, list):
        return [found for at, value in enumerate(data) for found in numbers(value, (*path, at))]
    if isinstance(data, bool) or data is None:
        return []
    return [path] if isinstance(data, int) or str(data).replace(".", "", 1).isdigit() else []


def changed(data: Any, path: tuple[str | int, ...], by: Decimal) -> None:  # noqa: ANN401 - JSON
    """Adds to the number there."""
    *way, last = path
    for name in way:
        data = data[name]
    value = data[last]
    if isinstance(value, int):
        data[last] = value + (1 if by > 0 else -1)
    else:
        data[last] = format((Decimal(value) + by).normalize(), "f")


@given(histories())
@settings(max_examples=150)
def test_nothing_is_found_in_a_history_that_came_about_by_the_rules(scribe: Scribe) -> None:
    """Whatever happened in it, in whatever order."""
    assert audited(scribe.entries) == []


def test_a_charge_of_before_the_first_window_is_taken_out_of_it() -> None:
    """A lifetime budget that begins to renew counts in its first window all that was spent before it."""
    scribe = Scribe()
    scribe.set_budget(BUDGETS["basic"])
    scribe.allocate("pure")
    scribe.wait(hours=1)
    scribe.set_budget(BUDGETS["basic"], 30)
    assert scribe.entries[-1].spent.basic.epsilon == Decimal("0.25")
    scribe.end(scribe.openings()[0], EntryKind.ADJUSTED)
    last = scribe.entries[-1]
    assert (last.spent.basic.epsilon, last.lifetime.basic.epsilon) == (Decimal(0), Decimal(0))
    assert audited(scribe.entries) == []


@given(st.lists(histories(12), min_size=2, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_tenants_may_come_interleaved(scribes: list[Scribe], random: Any) -> None:  # noqa: ANN401
    """As they stand in the log, each in its own order."""
    left = [list(scribe.entries) for scribe in scribes]
    log = []
    while any(left):
        log.append(random.choice([entries for entries in left if entries]).pop(0))
    audit = Audit(roots={len(log): tree_root([leaf_hash(entry.hash) for entry in log])})
    for position, entry in enumerate(log):
        audit.take(position, entry.body)
    audit.finish()
    assert audit.findings == []
    assert (audit.entries, audit.tenants) == (len(log), len(scribes))
    assert all(audit.last(scribe.tenant_id) == entry_from_body(scribe.entries[-1].body) for scribe in scribes)


@given(histories(), st.data())
@settings(max_examples=300)
def test_any_changed_number_that_follows_from_the_history_is_found(scribe: Scribe, data: st.DataObject) -> None:
    """Hashed anew from there on, so that the chain is whole: what does not follow is found by what it says."""
    at = data.draw(st.integers(0, len(scribe.entries) - 1))
    wire = json.loads(scribe.entries[at].body)
    free = TELLING | GIVEN.get(wire["kind"], set()) | {"v", "seq"}
    where = [path for path in numbers(wire) if path[0] not in free]
    path = data.draw(st.sampled_from(where))
    changed(wire, path, data.draw(st.sampled_from([Decimal("0.001"), Decimal("-0.001"), Decimal(1)])))
    try:
        entry = entry_from_body(canonical_json(wire))
    except ValueError:
        return
    found = audited(forged(scribe.entries, at, lambda _: entry))
    assert found, path
    assert found[0].seq == at + 1


@given(histories(), st.data())
@settings(max_examples=150)
def test_a_charge_that_was_left_out_is_found(scribe: Scribe, data: st.DataObject) -> None:
    """All later entries renumbered and hashed anew; unless it was the last entry, which heads are for."""
    charged = [at for at, entry in enumerate(scribe.entries[:-1]) if entry.charge is not None and at > 0]
    if not charged:
        return
    at = data.draw(st.sampled_from(charged))
    assert audited(chained(scribe.entries[:at] + scribe.entries[at + 1 :]))


@given(histories(), st.data())
@settings(max_examples=100)
def test_a_changed_entry_that_was_not_hashed_anew_is_found(scribe: Scribe, data: st.DataObject) -> None:
    """Whatever was changed in it, also what nothing follows from."""
    at = data.draw(st.integers(0, len(scribe.entries) - 2)) if len(scribe.entries) > 1 else 0
    if at == len(scribe.entries) - 1:
        return
    entries = list(scribe.entries)
    entries[at] = replace(entries[at], actor="somebody else")
    assert "does not name the hash of the entry before it" in sentences(entries)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), histories(6), st.data())
def test_any_text_in_place_of_an_entry_gets_a_finding(text: bytes, scribe: Scribe, data: st.DataObject) -> None:
    """The audit goes on after what it cannot read."""
    bodies = [entry.body for entry in scribe.entries]
    bodies.insert(data.draw(st.integers(0, len(bodies))), text.decode(errors="replace"))
    audit = Audit()
    for position, body in enumerate(bodies):
        audit.take(position, body)
    assert audit.found
    assert audit.entries == len(bodies)


WRONG = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["", "0", "1", "-1", "held"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["basic", "epsilon"]), inner),
)


@given(histories(8), st.data(), WRONG)
@settings(max_examples=300)
def test_a_member_of_the_wrong_kind_never_stops_the_audit(scribe: Scribe, data: st.DataObject, wrong: object) -> None:
    """Whatever it is; and every entry but the last is bound by the hash in the next."""
    at = data.draw(st.integers(0, len(scribe.entries) - 1))
    wire = json.loads(scribe.entries[at].body)
    wire[data.draw(st.sampled_from(sorted(wire)))] = wrong
    body = json.dumps(wire, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    audit = Audit()
    for position, entry in enumerate(scribe.entries):
        audit.take(position, body if position == at else entry.body)
    assert audit.entries == len(scribe.entries)
    assert audit.found or body == scribe.entries[at].body or at == len(scribe.entries) - 1


@pytest.fixture
def scribe() -> Scribe:
    """A tenant with room in its budget, two data sets and nothing spent."""
    return begun()


# The chain and the log.


def test_gaps_doubles_and_forks_are_found(scribe: Scribe) -> None:
    """Each entry takes the next number on the hash before it; one fault is told once."""
    for _ in range(4):
        scribe.allocate("pure")
    whole = scribe.entries
    assert sentences([*whole[:3], *whole[4:]]) == ["comes where entry 4 belongs"]
    assert sentences([*whole[:4], whole[3], *whole[4:]]) == ["comes where entry 5 belongs"]
    assert sentences(whole[1:]) == ["comes where entry 1 belongs"]
    fork = replace(whole[3], prev_hash=whole[1].hash)
    assert sentences([*whole[:3], fork]) == ["does not name the hash of the entry before it"]


def test_an_older_form_or_an_earlier_time_is_found(scribe: Scribe) -> None:
    """Forms are only ever succeeded, and database time goes on; moments apart is no fault."""
    scribe.allocate("pure")
    earlier = forged(scribe.entries, 3, lambda entry: replace(entry, at=entry.at - HOUR))
    assert [text.split(",")[-1] for text in sentences(earlier)] == [" long before the entry before it"]
    moments = forged(scribe.entries, 3, lambda entry: replace(entry, at=entry.at - timedelta(seconds=5)))
    assert sentences(moments) == []
    older = forged(scribe.entries, 3, lambda entry: replace(entry, version=2))
    assert sentences(older) == ["is of version 2, after one of version 3"]


def older(scribe: Scribe) -> list[Entry]:
    """The history as the release before wrote it: without windows, data sets and sums of holds."""
    entries: list[Entry] = []
    ttl: dict[str, int] = {}
    for entry in scribe.entries:
        details = dict(entry.details or {})
        if entry.due_at is not None and entry.allocation_id is not None:
            details["ttl_seconds"] = ttl[entry.allocation_id] = int((entry.due_at - entry.at).total_seconds())
        charge = entry.charge
        if entry.kind is EntryKind.COMMITTED:
            charge = entry.budget.nothing()
        entries.append(
            replace(
                entry,
                version=2,
                held=entry.spent,
                lifetime=entry.spent,
                due_at=None,
                crossed=(),
                details=details,
                charge=charge,
            )
        )
    return chained([entry_from_body(entry.body) for entry in chained(entries)])


def test_a_history_of_the_release_before_is_audited_and_carried_on() -> None:
    """What was held then counts as it does for the owner: it may be voided in its time and no later."""
    scribe = Scribe()
    scribe.set_budget(standard_budget(loss("20", "0.0001")))
    scribe.allocate("gaussian")
    holds = []
    for _ in range(3):
        scribe.allocate("pure", ttl=60)
        holds.append(scribe.entries[-1])
    scribe.end(holds[0], EntryKind.COMMITTED)
    scribe.end(holds[1], EntryKind.VOIDED)
    scribe.entries = older(scribe)
    assert audited(scribe.entries) == []
    late = forged(scribe.entries, 6, lambda entry: replace(entry, at=entry.at + HOUR))
    assert sentences(late) == ["gives back a charge after the hold's time"]
    again = next(entry for entry in scribe.entries if entry.allocation_id == holds[2].allocation_id)
    scribe.wait(minutes=2)
    scribe.end(again, EntryKind.EXPIRED_SPENT)
    scribe.allocate("pure", ttl=60)
    scribe.end(scribe.entries[-1], EntryKind.VOIDED)
    assert [entry.version for entry in scribe.entries] == [2] * 7 + [3] * 3
    assert audited(scribe.entries) == []


def test_positions_are_the_logs_own(scribe: Scribe) -> None:
    """Of the whole log without a gap; of one tenant's part only rising."""
    entries = scribe.entries
    for positions, whole, part in (([0, 1, 2], 0, 0), ([0, 2, 3], 1, 0), ([0, 0, 1], 1, 1), ([1, 2, 3], 1, 0)):
        for roots, expected in (({}, whole), (None, part)):
            audit = Audit(roots=roots)
            for position, entry in zip(positions, entries, strict=True):
                audit.take(position, entry.body)
            assert audit.found == expected, (positions, roots)


def test_the_log_is_held_against_signed_heads(scribe: Scribe) -> None:
    """A head of other entries is told once, and so is one of more entries than there are."""
    for _ in range(5):
        scribe.allocate("pure")
    entries = scribe.entries
    leaves = [leaf_hash(entry.hash) for entry in entries]
    roots = {size: tree_root(leaves[:size]) for size in range(1, 9)}
    assert audited(entries, roots=roots) == []
    assert sentences(entries[:-1], roots=roots) == ["the log ends after 7 entries; a signed head has 8"]
    changed_entry = forged(entries, 3, lambda entry: replace(entry, actor="somebody else"))
    assert sentences(changed_entry, roots=roots) == [
        "the first 4 entries are not those of the signed head of that size"
    ]


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda body: body + " ",
        lambda body: body.replace('"actor"', '"actress":"x","actor"', 1),
        lambda body: json.dumps(json.loads(body)),
    ],
)
def test_a_body_that_is_not_what_it_was_read_as_is_found(scribe: Scribe, spoilt: Callable[[str], str]) -> None:
    """An unknown member, or another spelling: what was hashed is not what was audited."""
    audit = Audit()
    audit.take(0, spoilt(scribe.entries[0].body))
    assert [finding.sentence for finding in audit.findings] == [
        "has members that this release does not know, or is not canonical"
    ]


def test_findings_are_counted_but_not_kept_without_end() -> None:
    """A ledger that is wrong everywhere does not fill the auditor's memory."""
    audit = Audit()
    for position in range(MOST_FINDINGS + 10):
        audit.take(position, "?")
    assert (audit.found, len(audit.findings)) == (MOST_FINDINGS + 10, MOST_FINDINGS)
