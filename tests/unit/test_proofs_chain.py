"""How entries follow each other: every honest history is accepted, and every step that does not follow is refused."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accounting.filters import Share, budget, raised
from accounting.ledger.entry import Entry, EntryKind
from accounting.values import PrivacyLoss
from proofs.checker import verify_document
from tests.unit.proofs_helpers import (
    ALL_MEMBERS,
    CLAIM,
    DELTA,
    GAUSSIAN,
    LAPLACE,
    MANY_LAPLACES,
    TEN_LAPLACES,
    WIDE,
    Ledger,
    accepted,
    entries_of,
    eventful_ledger,
    lie,
    refused,
    sample,
    signed,
    with_body,
)

pytestmark = pytest.mark.untraced

Change = Callable[[dict[str, Any]], None]
EVENTFUL = eventful_ledger()
PROOF = json.dumps(EVENTFUL.proof())
SPENT = {"basic": {"epsilon": "0.6", "delta": "0"}, "renyi": {"renyi": "0", "delta": "0"}}
"""A sum that no history here has."""
TWO_MEMBERS = [Share(item.kind, item.cap.delta, item.conversion_delta, item.order) for item in WIDE.members[:2]]


def seq_of(kind: EntryKind, at: int = 0) -> int:
    """The position of an entry of that kind in the eventful history."""
    return [entry.seq for entry in EVENTFUL.entries if entry.kind is kind][at]


def eventful() -> dict[str, Any]:
    """The proof of the eventful history, whole. A fresh copy each time."""
    document: dict[str, Any] = json.loads(PROOF)
    return document


# What is true is accepted.


def test_a_history_with_every_kind_of_entry_is_accepted() -> None:
    """Whole, and with nothing but the job's own entries."""
    assert {entry.kind for entry in EVENTFUL.entries} == set(EntryKind)
    report = accepted(eventful())
    assert (
        f"ledger entries: {len(EVENTFUL.entries)}; every hash recomputed, {len(EVENTFUL.entries)} linked"
        in "\n".join(report.facts)
    )
    accepted(EVENTFUL.proof(alone=True))


@settings(max_examples=30, deadline=None)
@given(st.sets(st.sampled_from([entry.seq for entry in EVENTFUL.others()])))
def test_any_neighbours_may_stand_beside_a_job(chosen: set[int]) -> None:
    """What is not there is not faulted: links are checked where both ends are in the document."""
    document = eventful()
    document["neighbours"] = [entry for entry in document["neighbours"] if entry["seq"] in chosen]
    accepted(document)


steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "hold", "repeat", "commit", "part", "void", "expire", "adjust", "wait", "budget"]),
        st.integers(0, 100),
    ),
    max_size=25,
)


def play(ledger: Ledger, action: str, number: int) -> None:
    """Does one thing, as the service would; what it would refuse is left out."""
    openings = [entry for entry in ledger.entries if entry.charge is not None and entry.event is not None]
    one = openings[number % len(openings)] if openings else None
    ended = {entry.allocation_id for entry in ledger.entries if entry.kind not in (EntryKind.CONSUMED, EntryKind.HELD)}
    is_open = one is not None and one.kind is EntryKind.HELD and one.allocation_id not in ended
    match action:
        case "claim":
            ledger.allocate(CLAIM if number % 2 else LAPLACE, job_id=f"job-{1 + number % 2}")
        case "hold":
            ledger.allocate(LAPLACE, ttl_seconds=1 + number * 86_400)
        case "repeat":
            ledger.allocate(MANY_LAPLACES, loss=TEN_LAPLACES, ttl_seconds=86_400 * 60)
        case "wait":
            ledger.wait(number)
        case "budget":
            wished = replace(WIDE.promise, epsilon=ledger.entries[-1].budget.promise.epsilon + 1)
            ledger.set_budget(wished, [None, 3, 30][number % 3])
        case "commit" if one is not None and is_open:
            ledger.commit(one)
        case "part" if one is not None and is_open and one.event == MANY_LAPLACES and not_due(ledger, one):
            ledger.commit(one, steps=number % 11)
        case "void" if one is not None and is_open and not_due(ledger, one):
            ledger.void(one)
        case "expire" if one is not None and is_open:
            ledger.expire(one)
            ledger.wait(0)
        case "adjust" if one is not None and not is_open and not taken_back(ledger, one):
            ledger.adjust(one)


def not_due(ledger: Ledger, hold: Entry) -> bool:
    """Whether a hold may still be taken back."""
    return hold.due_at is not None and ledger.now < hold.due_at


def taken_back(ledger: Ledger, opening: Entry) -> bool:
    """Whether nothing of an allocation is left."""
    gone = (EntryKind.VOIDED, EntryKind.ADJUSTED)
    return any(entry.allocation_id == opening.allocation_id and entry.kind in gone for entry in ledger.entries)


@settings(max_examples=100, deadline=None)
@given(steps, st.sampled_from([None, 7, 30]), st.sampled_from([2, 3]))
def test_whatever_the_service_decides_is_accepted(
    actions: list[tuple[str, int]], renewal_days: int | None, version: int
) -> None:
    """Random histories of windows, holds and their ends, begun in either version; the total is what is left."""
    ledger = Ledger(WIDE, renewal_days if version == 3 else None, version)
    ledger.allocate(CLAIM)
    for action, number in actions:
        # A service that knows version 3 goes on where one of version 2 stopped.
        ledger.version = 3
        ledger.wait(0)
        play(ledger, action, number)
    document = ledger.proof()
    report = accepted(document)
    openings = {entry.allocation_id: entry for entry in ledger.job() if entry.event is not None}
    left = sum((entry.charge.basic.epsilon for entry in openings.values() if entry.charge), Decimal(0))
    given_back = [entry for entry in ledger.job() if entry.event is None and entry.charge is not None]
    left -= sum((entry.charge.basic.epsilon for entry in given_back if entry.charge), Decimal(0))
    assert Decimal(report.epsilon or "-1") == left


# No number of a history can be changed, though all hashes are made to fit.


def numbers(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every path to a number, or the text of one."""
    if isinstance(value, dict):
        return [found for name, child in value.items() for found in numbers(child, (*path, name))]
    if isinstance(value, list):
        return [found for at, child in enumerate(value) for found in numbers(child, (*path, at))]
    if isinstance(value, str):
        return [path] if value.replace(".", "", 1).isdigit() else []
    return [path] if isinstance(value, int) and not isinstance(value, bool) else []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_number_of_a_history_can_be_changed(data: st.DataObject) -> None:
    """Sums, charges, caps, windows, counts: each follows from the entries before, or from the event."""
    document = eventful()
    entry = data.draw(st.sampled_from(entries_of(document)))
    path = data.draw(st.sampled_from(numbers(json.loads(entry["body"]))))
    # A purpose and a key are anybody's; a request's hash is that of something which is not here.
    assume(path[0] not in ("details", "idempotency_key", "request_hash", "prev_hash"))
    # An event of another job is not priced in this document.
    assume(not (path[0] == "event" and json.loads(entry["body"])["job_id"] == "another"))
    more = data.draw(st.sampled_from([1, 7, 1_000]))

    def change(body: dict[str, Any]) -> None:
        holder: Any = body
        for step in path[:-1]:
            holder = holder[step]
        value = holder[path[-1]]
        holder[path[-1]] = value + more if isinstance(value, int) else str(Decimal(value) + more)

    report = verify_document(signed(lie(document, entry["seq"], change)))
    assert not report.valid, (entry["seq"], path)
    assert not any("could not be completed" in reason for reason in report.reasons)


# The links.


def test_a_changed_body_is_refused_by_its_hash() -> None:
    """SHA-256 is computed again."""
    document = sample()
    entry = document["certificates"][1]["entry"]
    entry["body"] = entry["body"].replace('"scale":"3"', '"scale":"9"')
    refused(document, "entry at position 3: the hash is not that of the body")


def test_a_broken_link_is_refused() -> None:
    """Entries n and n + 1 are linked by the hash of n."""
    document = sample()
    with_body(document["certificates"][1]["entry"], lambda body: body.update(actor="somebody else"))
    refused(document, "position 4: its previous hash is not the hash of position 3")


def test_an_entry_that_stands_twice_is_refused() -> None:
    """A position is one entry's."""
    document = eventful()
    document["neighbours"].append(document["neighbours"][0])
    refused(document, "position 1: stands in the document twice")


def test_a_history_never_goes_back_to_an_earlier_version() -> None:
    """An earlier version says nothing of windows, so it would make them forgotten."""
    ledger = Ledger(WIDE)
    ledger.allocate(CLAIM)
    ledger.version = 2
    ledger.allocate(CLAIM)
    refused(ledger.proof(), "position 3: it is of an earlier version than position 2")


def test_entries_of_other_members_are_refused_without_a_sum() -> None:
    """What is counted in other currencies cannot be added."""
    ledger = Ledger(WIDE)
    ledger.allocate(CLAIM)
    nothing = ALL_MEMBERS.nothing()
    add_plain(ledger, EntryKind.BUDGET_SET, budget=ALL_MEMBERS, spent=nothing, held=nothing, lifetime=nothing)
    refused(ledger.proof(), "position 3: the member filters are not those of position 2")


def add_plain(ledger: Ledger, kind: EntryKind, **changes: Any) -> None:  # noqa: ANN401 - members of an entry
    """Adds an entry that charges nothing, whatever the service would say."""
    head = ledger.entries[-1]
    entry = Entry(
        tenant_id=head.tenant_id,
        seq=head.seq + 1,
        kind=kind,
        at=head.at,
        budget=head.budget,
        spent=head.spent,
        held=head.held,
        lifetime=head.lifetime,
        operations=head.operations,
        period_start=head.period_start,
        renewal_days=head.renewal_days,
        legal_hold=head.legal_hold,
        prev_hash=head.hash,
        actor="admin",
    )
    ledger.append(replace(entry, **changes))


# The first entry.


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"prev_hash": "11" * 32}, "the first entry must have 32 zero bytes"),
        ({"operations": 1}, "the history does not start from a balance of 0"),
        ({"held": {name: {**cost} for name, cost in SPENT.items()}}, "the history does not start from a balance of 0"),
        ({"lifetime": SPENT}, "the history does not start from a balance of 0"),
        ({"spent": SPENT}, "the history does not start from a balance of 0"),
        ({"period_start": "2026-01-02T03:04:04.000000Z"}, "the history does not start with a budget"),
        ({"legal_hold": True}, "the history does not start with a budget"),
    ],
)
def test_a_history_that_does_not_start_at_nothing_is_refused(change: dict[str, Any], reason: str) -> None:
    """The first entry has no predecessor, sets a budget, and nothing is spent."""
    held = budget(PrivacyLoss(Decimal(9), Decimal("0.1")), TWO_MEMBERS)
    ledger = Ledger(held)
    ledger.allocate(CLAIM)
    refused(lie(ledger.proof(), 1, lambda body: body.update(change)), f"position 1: {reason}")


TWO_MEMBERS = [Share(member.kind, member.cap.delta, member.conversion_delta, member.order) for member in WIDE.members][
    :2
]


def test_a_history_of_an_earlier_version_starts_at_nothing_too() -> None:
    """Its first entry may not have spent anything either."""
    ledger = Ledger(WIDE, version=2)
    ledger.allocate(CLAIM)
    document = lie(ledger.proof(), 1, lambda body: body["spent"]["basic"].update(epsilon="0.1"))
    refused(document, "position 1: the history does not start from a balance of 0")


# What every step keeps.


@pytest.mark.parametrize("kind", list(EntryKind))
def test_the_number_of_allocations_follows(kind: EntryKind) -> None:
    """One more with each opening, one less with each that is taken back."""
    seq = seq_of(kind, -1)
    reason = f"position {seq}: the number of allocations does not follow from that of position {seq - 1}"
    refused(lie(eventful(), seq, lambda body: body.update(operations=body["operations"] + 1)), reason)


def more(sums: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Sums in which the first member has counted more."""
    return {**sums, "basic": {**sums["basic"], "epsilon": str(Decimal(sums["basic"]["epsilon"]) + 1)}}


@pytest.mark.parametrize("kind", list(EntryKind))
def test_the_balance_follows_with_every_kind_of_entry(kind: EntryKind) -> None:
    """Whatever happened, what is spent after it follows from what was spent before."""
    seq = seq_of(kind, -1)
    reason = f"position {seq}: the balance does not follow from that of position {seq - 1}"
    refused(lie(eventful(), seq, lambda body: body.update(spent=more(body["spent"]))), reason)


@pytest.mark.parametrize("kind", list(EntryKind))
def test_what_is_held_follows_with_every_kind_of_entry(kind: EntryKind) -> None:
    """More with each hold, less with each end of one, and nothing else moves it."""
    seq = seq_of(kind, -1)
    nothing = {
        member: dict.fromkeys(cost, "0") for member, cost in json.loads(EVENTFUL.entries[-1].body)["spent"].items()
    }
    reason = f"position {seq}: what is held does not follow from that of position {seq - 1}"
    refused(lie(eventful(), seq, lambda body: body.update(held=more(body.get("held", nothing)))), reason)


@pytest.mark.parametrize("kind", list(EntryKind))
def test_the_sum_over_all_windows_follows_with_every_kind_of_entry(kind: EntryKind) -> None:
    """A new window does not lower it."""
    seq = seq_of(kind, -1)
    reason = f"position {seq}: the sum over all windows does not follow from that of position {seq - 1}"

    def change(body: dict[str, Any]) -> None:
        body["lifetime"] = more(body.get("lifetime") or body["spent"])

    refused(lie(eventful(), seq, change), reason)


@pytest.mark.parametrize("kind", sorted(set(EntryKind) - {EntryKind.BUDGET_SET, EntryKind.RENEWED}))
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body["budget"]["basic"].update(delta="0.04"), "the budget differs from that of position"),
        (lambda body: body.update(renewal_days=31), "the length of the window differs from that of position"),
        (
            lambda body: body.update(at="2031-01-02T03:04:05.000000Z"),
            "it is of a time when the window of position",
        ),
    ],
)
def test_what_only_a_budget_entry_sets_stays_in_every_other(kind: EntryKind, change: Change, reason: str) -> None:
    """Caps and windows change where they are set, and time does not pass a window's end unseen."""

    seq = seq_of(kind)
    refused(lie(eventful(), seq, change), f"position {seq}: {reason}")


# Budgets.


def test_a_budget_that_is_lowered_is_refused() -> None:
    """Neither the promise, nor a cap, nor a share is ever less than it was."""
    ledger = Ledger(ALL_MEMBERS)
    ledger.allocate(LAPLACE)
    ledger.set_budget(replace(ALL_MEMBERS.promise, epsilon=Decimal(60)))
    for change in (
        lambda body: body["budget"]["promise"].update(epsilon="49"),
        lambda body: body["budget"]["zcdp"].update(rho="0.001"),
        lambda body: body["budget"]["gdp"].update(conversion_delta="0.0001"),
        lambda body: body["budget"]["basic"].update(delta="0.0001"),
    ):
        refused(lie(ledger.proof(), 3, change), "position 3: the budget is lower than that of position 2")


def test_a_raised_budget_is_accepted_and_keeps_its_members() -> None:
    """Caps change only where a budget is set, and what they are caps of never does."""
    ledger = Ledger(ALL_MEMBERS)
    ledger.allocate(LAPLACE)
    ledger.set_budget(PrivacyLoss(Decimal(60), Decimal("0.02")))
    ledger.allocate(GAUSSIAN, DELTA)
    accepted(ledger.proof())
    assert ledger.entries[-1].budget == raised(ALL_MEMBERS, PrivacyLoss(Decimal(60), Decimal("0.02")))
    refused(
        lie(ledger.proof(), 3, lambda body: body["budget"]["renyi"].update(order=9)),
        "position 3: the member filters are not those of position 2",
    )


@pytest.mark.parametrize(
    ("before", "after", "start"),
    [(None, 7, "at"), (30, 7, "kept"), (30, None, "kept")],
)
def test_a_window_begins_where_the_budget_says(before: int | None, after: int | None, start: str) -> None:
    """A budget that begins to renew begins its first window then; another length counts from the present start."""
    ledger = Ledger(WIDE, before)
    ledger.allocate(CLAIM)
    ledger.wait(1)
    ledger.set_budget(replace(WIDE.promise, epsilon=Decimal(600)), after)
    ledger.allocate(CLAIM)
    accepted(ledger.proof())
    assert ledger.entries[2].period_start == (ledger.entries[2].at if start == "at" else ledger.entries[0].at)

    def earlier(body: dict[str, Any]) -> None:
        body["period_start"] = "2026-01-01T03:04:05.000678Z"
        if "due_at" in body:
            body["due_at"] = "2026-01-08T03:04:05.000678Z"

    refused(lie(ledger.proof(), 3, earlier), "position 3: the window does not follow from that of position 2")


def test_a_budget_that_no_longer_renews_counts_all_that_was_ever_spent() -> None:
    """Nobody gets a fresh budget by switching windows off."""
    ledger = Ledger(WIDE, 30)
    ledger.allocate(CLAIM)
    ledger.wait(40)
    ledger.set_budget(replace(WIDE.promise, epsilon=Decimal(600)), None)
    ledger.allocate(CLAIM)
    accepted(ledger.proof())
    nothing = json.loads(ledger.entries[0].body)["spent"]
    refused(
        lie(ledger.proof(), 4, lambda body: body.update(spent=nothing, lifetime=body["spent"])),
        "position 4: the balance does not follow from that of position 3",
    )


# Windows.


def renewed() -> dict[str, Any]:
    """A history whose last entry begins a new window, while a hold is open."""
    ledger = Ledger(WIDE, 30)
    ledger.allocate(LAPLACE, ttl_seconds=86_400 * 90)
    ledger.allocate(CLAIM)
    ledger.wait(70)
    return ledger.proof()


def test_an_open_hold_counts_in_both_windows() -> None:
    """What is spent in the new window is what was held."""
    bodies = [json.loads(entry["body"]) for entry in entries_of(renewed())]
    assert bodies[-1]["kind"] == "renewed"
    assert bodies[-1]["spent"] == bodies[-2]["held"] == bodies[-1]["held"]
    assert bodies[-1]["lifetime"] == bodies[-2]["spent"]
    refused(
        lie(renewed(), 4, lambda body: body.update(spent=json.loads(EVENTFUL.entries[0].body)["spent"])),
        "position 4: the balance does not follow from that of position 3",
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-01-02T03:04:05.000678Z", "2026-02-01T03:04:05.000678Z"),
        ("2026-02-01T03:04:05.000678Z", "2026-03-03T03:04:05.000678Z"),
        ("2026-03-04T03:04:05.000678Z", "2026-04-03T03:04:05.000678Z"),
        ("2026-04-02T03:04:05.000678Z", "2026-05-02T03:04:05.000678Z"),
    ],
)
def test_a_window_that_begins_elsewhere_is_refused(start: str, end: str) -> None:
    """A whole number of windows later, and the one that holds the present moment."""
    refused(
        lie(renewed(), 4, lambda body: body.update(period_start=start, due_at=end)),
        "position 4: the new window does not begin where one of position 3 ended",
    )


def test_a_window_that_begins_before_the_last_one_ended_is_refused() -> None:
    """Nobody renews a budget early."""

    def early(body: dict[str, Any]) -> None:
        body.update(at="2026-01-30T03:04:05.000678Z", period_start="2026-02-01T03:04:05.000678Z")
        body.update(due_at="2026-03-03T03:04:05.000678Z")

    refused(lie(renewed(), 4, early), "position 4: the new window does not begin where one of position 3 ended")


def test_a_charge_to_a_window_that_has_ended_is_refused() -> None:
    """It belongs to the next one."""
    ledger = Ledger(WIDE, 30)
    ledger.allocate(CLAIM)
    refused(
        lie(ledger.proof(), 2, lambda body: body.update(at="2026-02-01T03:04:05.000678Z")),
        "position 2: it is of a time when the window of position 1 had ended, though no other one began",
    )


def test_a_budget_without_windows_is_not_renewed() -> None:
    """There is no boundary to cross."""
    ledger = Ledger(WIDE)
    ledger.allocate(CLAIM)
    due = ledger.entries[-1].period_start + timedelta(days=30)
    add_plain(ledger, EntryKind.RENEWED, renewal_days=30, due_at=due)
    refused(ledger.proof(), "position 3: the length of the window differs from that of position 2")


# Adjustments across windows.


def test_an_adjustment_lowers_a_window_only_by_what_it_counts() -> None:
    """What an earlier window counted stays its own; the sum over all windows falls."""
    ledger = Ledger(WIDE, 30)
    old = ledger.allocate(LAPLACE)
    ledger.wait(30)
    new = ledger.allocate(LAPLACE)
    ledger.adjust(old)
    ledger.adjust(new)
    accepted(ledger.proof())
    assert ledger.entries[4].spent == ledger.entries[3].spent
    assert ledger.entries[5].spent == WIDE.nothing()
    nothing = json.loads(ledger.entries[0].body)["spent"]
    refused(
        lie(ledger.proof(), 5, lambda body: body.update(spent=nothing)),
        "position 5: the balance does not follow from that of position 4",
    )


def test_an_end_whose_hold_is_not_there_lowers_what_is_held_by_something() -> None:
    """Where the hold is another job's and not in the document, what is held may not rise, nor fall by less than it gave
    back."""
    ledger = Ledger(WIDE)
    first, second = (
        ledger.allocate(MANY_LAPLACES, loss=TEN_LAPLACES, ttl_seconds=9_999, job_id="another") for _ in range(2)
    )
    ledger.allocate(LAPLACE)
    ledger.commit(first, steps=4)
    ledger.void(second)

    def document() -> dict[str, Any]:
        found = ledger.proof()
        found["neighbours"] = [entry for entry in found["neighbours"] if entry["seq"] > 3]
        return found

    accepted(document())
    for seq in (5, 6):
        reason = f"position {seq}: what is held does not follow from that of position {seq - 1}"
        before = json.loads(ledger.entries[seq - 2].body)["held"]
        refused(lie(document(), seq, lambda body, held=before: body.update(held=held)), reason)  # type: ignore[misc]


# Legal holds.


@pytest.mark.parametrize("kind", [EntryKind.CONSUMED, EntryKind.RENEWED, EntryKind.BUDGET_SET, EntryKind.ADJUSTED])
def test_a_legal_hold_stays_until_it_is_lifted(kind: EntryKind) -> None:
    """No other entry places or lifts it."""
    seq = seq_of(kind, -1 if kind is not EntryKind.ADJUSTED else 0)

    def flip(body: dict[str, Any]) -> None:
        if body.pop("legal_hold", None) is None:
            body["legal_hold"] = True

    refused(
        lie(eventful(), seq, flip), f"position {seq}: the legal hold does not follow from that of position {seq - 1}"
    )


@pytest.mark.parametrize("in_force", [True, False])
def test_a_legal_hold_is_placed_and_lifted_once(in_force: bool) -> None:
    """What is in force cannot be placed again, nor what is not in force be lifted."""
    ledger = Ledger(WIDE)
    ledger.allocate(CLAIM)
    ledger.legal_hold(True)
    accepted(ledger.proof())
    if not in_force:
        ledger.legal_hold(False)
    accepted(ledger.proof())
    add_plain(ledger, EntryKind.RETENTION_LOCKED if in_force else EntryKind.RETENTION_RELEASED)
    refused(ledger.proof(), "the legal hold does not follow from that of position")


# The canonical form.


def test_a_body_that_is_not_canonical_is_refused() -> None:
    """One content has one text, and so one hash (RFC 8785)."""
    document = sample()
    entry = document["certificates"][0]["entry"]
    entry["body"] = entry["body"].replace('"seq":2', '"seq": 2')
    entry["hash"] = hashlib.sha256(entry["body"].encode()).hexdigest()
    refused(document, "the body is not in canonical form")
