"""The checker reads entries of the versions that it knows, strictly, and nothing that resembles them."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from accounting.filters import Share, budget
from accounting.ledger.entry import EntryKind
from accounting.values import PrivacyLoss
from proofs.checker import verify_document
from tests.unit.proofs_helpers import (
    ALL_MEMBERS,
    CLAIM,
    DELTA,
    GAUSSIAN,
    LAPLACE,
    Ledger,
    accepted,
    entries_of,
    eventful_ledger,
    refused,
    signed,
    with_body,
)

pytestmark = pytest.mark.untraced

Change = Callable[[dict[str, Any]], None]
EVENTFUL = eventful_ledger()
PROOF = json.dumps(EVENTFUL.proof())


def changed(kind: str, change: Change, at: int = 0) -> dict[str, Any]:
    """The proof of the eventful history with another body in one entry of that kind."""
    document: dict[str, Any] = json.loads(PROOF)
    found = [entry for entry in entries_of(document) if json.loads(entry["body"])["kind"] == kind]
    with_body(found[at], change)
    return document


def dropping(name: str) -> Change:
    """Takes a member away."""
    return lambda body: body.pop(name)


def setting(**members: Any) -> Change:  # noqa: ANN401 - members of a body
    """Sets members."""
    return lambda body: body.update(members)


# Members.


@pytest.mark.parametrize("kind", list(EntryKind))
def test_no_member_of_another_kind_is_taken(kind: EntryKind) -> None:
    """Each kind has its own members, and no others."""
    samples: dict[str, Any] = {}
    for entry in EVENTFUL.entries:
        samples |= json.loads(entry.body)
    samples |= {"crossed": ["tenant window"], "surplus": "1"}
    anywhere = {"held", "lifetime", "renewal_days", "legal_hold"}
    own = {name for entry in EVENTFUL.entries if entry.kind is kind for name in json.loads(entry.body)}
    possible = {"consumed": {"crossed", "source_engine"}, "held": {"crossed", "source_engine"}}.get(kind.value, set())
    possible |= {"details"} if kind.value.startswith("retention") or kind is EntryKind.COMMITTED else set()
    possible |= {"charge", "dataset"} if kind is EntryKind.COMMITTED else set()
    possible |= {"dataset"} if kind in (EntryKind.VOIDED, EntryKind.ADJUSTED, EntryKind.HELD) else set()
    strange = samples.keys() - own - anywhere - possible
    assert strange
    for name in strange:
        document = changed(kind.value, setting(**{name: samples[name]}))
        refused(document, f"the body has a member that a {kind.value} entry does not have: '{name}'")


@pytest.mark.parametrize("kind", list(EntryKind))
def test_no_member_of_a_kind_can_be_missing(kind: EntryKind) -> None:
    """What an entry of a kind always has is asked for."""
    found = [json.loads(entry.body).keys() for entry in EVENTFUL.entries if entry.kind is kind]
    needed = set.intersection(*map(set, found)) - {"held", "lifetime", "legal_hold", "renewal_days", "details"}
    needed -= {"source_engine", "crossed"}
    needed -= {"dataset"} - ({"dataset"} if kind is EntryKind.DATASET_SET else set())
    if kind in (EntryKind.COMMITTED, EntryKind.BUDGET_SET):
        needed -= {"charge", "due_at"}
    for name in needed:
        reason = f"does not have all members of a {kind.value} entry"
        if name in ("v", "kind"):
            reason = "does not have the members of a ledger entry"
        refused(changed(kind.value, dropping(name)), reason)


@pytest.mark.parametrize("value", [None, {}, []])
def test_what_is_absent_is_left_out(value: object) -> None:
    """Version 3 has one way to say nothing."""
    refused(changed("consumed", setting(details=value)), "writes out what is absent, which version 3 leaves out")
    refused(changed("budget_set", setting(held=value)), "writes out what is absent, which version 3 leaves out")


def test_sums_that_say_nothing_new_are_left_out() -> None:
    """Nothing held, and a sum over all windows that is the window's, are said by silence."""
    nothing = json.loads(EVENTFUL.entries[0].body)["spent"]
    refused(changed("budget_set", setting(held=nothing)), "the body writes out held though it says nothing new")
    refused(changed("budget_set", setting(lifetime=nothing)), "writes out lifetime though it says nothing new")


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("consumed", setting(v=4), "is of version 4, this checker knows versions 1 to 3"),
        ("consumed", setting(v=True), "is of version True"),
        ("consumed", setting(v="3"), "is of version '3'"),
        ("consumed", setting(v=2), "does not have the members of a ledger entry"),
        ("consumed", setting(kind="refunded"), "kind 'refunded' is not known"),
        ("consumed", setting(kind=["consumed"]), "kind ['consumed'] is not known"),
        ("consumed", setting(seq=3), "stands at position 3, the document says 4"),
        ("consumed", setting(seq=True), "stands at position True"),
        ("consumed", setting(tenant_id=7), "tenant_id is not text"),
        ("consumed", setting(job_id=7), "job_id is not text"),
        ("consumed", setting(actor=["x"]), "actor is not text"),
        ("consumed", setting(source_engine=7), "source_engine is not text"),
        ("consumed", setting(idempotency_key=7), "idempotency_key is not text"),
        ("consumed", setting(request_hash=7), "request_hash is not text"),
        ("consumed", setting(operations="1"), "operations is not a whole number"),
        ("consumed", setting(prev_hash=7), "prev_hash is not text"),
        ("consumed", setting(at="yesterday"), "at is not a moment in UTC"),
        ("consumed", setting(at="2026-1-2T03:04:05.000678Z"), "at is not a moment in UTC with microseconds"),
        ("consumed", setting(at=7), "at is not a moment in UTC"),
        ("consumed", setting(period_start="2026-01-02"), "period_start is not a moment in UTC"),
        ("consumed", setting(details="none"), "details are not an object"),
        ("consumed", setting(details={"purpose": True}), "details are not text and whole numbers"),
        ("consumed", setting(details={"purpose": ["x"]}), "details are not text and whole numbers"),
        ("consumed", setting(event="noise"), "event is not an object"),
        ("consumed", setting(event={"kind": "noise"}), "event is none that this checker knows"),
        ("consumed", lambda body: body["event"].update(scale="1"), "event is none that this checker knows"),
        ("consumed", lambda body: body["event"].update(version=2), "event is of a version"),
        ("consumed", setting(spent={"renyi": {}}), "spent does not stand under the budget's member filters"),
        ("consumed", setting(held=7), "held does not stand under the budget's member filters"),
        ("consumed", setting(lifetime=[1]), "lifetime does not stand under the budget's member filters"),
        ("consumed", setting(charge="1"), "charge does not stand under the budget's member filters"),
        ("consumed", lambda body: body["spent"].update(basic={"epsilon": "1"}), "spent.basic is not delta and epsilon"),
        ("consumed", lambda body: body["budget"].pop("promise"), "budget is not made of member filters"),
        ("consumed", lambda body: body["budget"].pop("basic"), "budget is not made of member filters"),
        ("consumed", lambda body: body["budget"].update(pld={}), "budget is not made of member filters"),
        ("consumed", lambda body: body["budget"]["renyi"].pop("order"), "budget.renyi is not conversion_delta and"),
        (
            "consumed",
            lambda body: body["budget"]["renyi"].update(order="8"),
            "renyi.order is not a whole number from 2",
        ),
        ("consumed", lambda body: body["budget"]["renyi"].update(order=1), "renyi.order is not a whole number"),
        ("consumed", lambda body: body["budget"]["zcdp"].update(order=8), "budget.zcdp is not conversion_delta and"),
        ("consumed", lambda body: body["spent"]["basic"].update(epsilon="-1"), "must be the text of a decimal"),
        ("consumed", lambda body: body["spent"]["basic"].update(epsilon="1e3"), "must be the text of a decimal"),
        ("consumed", lambda body: body["spent"]["basic"].update(epsilon="NaN"), "must be the text of a decimal"),
        ("consumed", lambda body: body["spent"]["basic"].update(epsilon=1), "must be the text of a decimal"),
        ("consumed", setting(renewal_days=0), "renewal_days is not a whole number from 1"),
        ("consumed", setting(renewal_days=True), "renewal_days is not a whole number from 1"),
        ("consumed", setting(renewal_days="30"), "renewal_days is not a whole number from 1"),
        ("consumed", setting(renewal_days=2**52), "renewal_days leads out of the calendar"),
        ("consumed", setting(legal_hold=False), "legal_hold is not true, which is all that it can be"),
        ("consumed", setting(legal_hold=1), "legal_hold is not true, which is all that it can be"),
        ("consumed", setting(crossed="tenant window"), "crossed is not a list of scopes"),
        ("consumed", setting(crossed=[7]), "crossed is not a list of scopes"),
        ("consumed", setting(crossed=["tenant lifetime"]), "crossed names other scopes than the entry charges"),
        ("consumed", setting(crossed=["data set visits"]), "crossed names other scopes than the entry charges"),
        ("consumed", setting(crossed=["tenant window"] * 2), "crossed names other scopes than the entry charges"),
        (
            "consumed",
            setting(crossed=["data set patients", "tenant window"]),
            "crossed names other scopes than the entry charges",
        ),
        ("held", setting(due_at="soon"), "due_at is not a moment in UTC"),
        ("renewed", setting(due_at="2026-02-01T03:04:05.000678Z"), "due_at is not the end of its window"),
        ("budget_set", dropping("due_at"), "due_at is not the end of its window"),
        ("budget_set", dropping("renewal_days"), "due_at is not the end of its window"),
        ("committed", dropping("details"), "gives something back without saying how many steps were run"),
        ("committed", lambda body: [body.pop(name) for name in ("charge", "dataset")], "or the other way"),
        ("committed", lambda body: [body.pop(name) for name in ("charge", "details")], "to a data set alone"),
        ("committed", setting(details={"steps": -1}), "details are not those of a commit"),
        ("committed", setting(details={"steps": "4"}), "details are not those of a commit"),
        ("committed", setting(details={"steps": 4, "more": 1}), "details are not those of a commit"),
        ("adjusted", setting(details={"reason": "x"}), "details are not those of an adjustment: a signed statement"),
        ("adjusted", setting(details={"statement": 7}), "details are not those of an adjustment: a signed statement"),
        ("retention_released", setting(legal_hold=True), "lifts a legal hold that is still in force after it"),
    ],
)
def test_a_body_that_no_ledger_writes_is_refused(kind: str, change: Change, reason: str) -> None:
    """Wrong types, wrong forms, members that do not fit each other."""
    refused(changed(kind, change), reason)


@pytest.mark.parametrize(
    "scopes", [["tenant window"], ["data set patients"], ["tenant window", "data set patients"]], ids=len
)
def test_the_scopes_that_an_entry_charges_may_run_low(scopes: list[str]) -> None:
    """They are named in the order in which they are charged; that they ran low is for events, and not derived here."""
    document = changed("consumed", setting(crossed=scopes))
    report = verify_document(signed(document))
    assert not any("crossed" in reason for reason in report.reasons)


# What an entry says of a data set.


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("consumed", setting(dataset="patients"), "dataset does not have the members that belong to its kind"),
        ("consumed", lambda body: body["dataset"].pop("charge"), "dataset does not have the members that belong"),
        ("consumed", lambda body: body["dataset"].pop("exposed"), "dataset does not have the members that belong"),
        ("consumed", lambda body: body["dataset"].update(unit="patient"), "dataset does not have the members that"),
        ("consumed", lambda body: body["dataset"].update(partition=""), "dataset.partition is not text"),
        ("consumed", lambda body: body["dataset"].update(partition=None), "dataset.partition is not text"),
        ("consumed", lambda body: body["dataset"].update(dataset_id=7), "dataset.dataset_id is not text"),
        ("consumed", lambda body: body["dataset"].update(exposed={}), "dataset.exposed does not stand under"),
        ("consumed", lambda body: body["dataset"].update(spent={}), "dataset.spent does not stand under"),
        ("consumed", lambda body: body["dataset"]["budget"].pop("promise"), "dataset.budget is not made of"),
        ("dataset_set", lambda body: body["dataset"].pop("unit"), "dataset does not have the members that belong"),
        ("dataset_set", lambda body: body["dataset"].pop("basis"), "dataset does not have the members that belong"),
        ("dataset_set", lambda body: body["dataset"].update(partition="north"), "dataset does not have the members"),
        ("dataset_set", lambda body: body["dataset"].update(charge={}), "dataset does not have the members that"),
        ("dataset_set", lambda body: body["dataset"].update(adjacency="near"), "dataset.adjacency is none that"),
        ("dataset_set", lambda body: body["dataset"].update(unit=7), "dataset.unit is not text"),
        ("dataset_set", lambda body: body["dataset"].update(basis=""), "dataset.basis is not text"),
        ("dataset_set", lambda body: body["dataset"].update(partitions="north"), "dataset.partitions are no list"),
        ("dataset_set", lambda body: body["dataset"].update(partitions=[]), "dataset.partitions are no list, or an"),
        ("dataset_set", lambda body: body["dataset"].update(partitions=[7]), "dataset.partitions is not text"),
        ("dataset_set", lambda body: body["dataset"].update(partitions=["a", "a"]), "names a partition twice"),
    ],
)
def test_a_data_set_that_no_ledger_writes_is_refused(kind: str, change: Change, reason: str) -> None:
    """Charges and registrations have members of their own."""
    refused(changed(kind, change), reason)


# The versions before.


def earlier(version: int) -> Ledger:
    """A history as the releases before wrote it."""
    held = budget(PrivacyLoss(Decimal(9), Decimal("0.1")), [Share(EVERY_BASIC, Decimal("0.1"))])
    ledger = Ledger(held if version == 1 else ALL_MEMBERS, version=version)
    ledger.allocate(CLAIM)
    ledger.commit(ledger.allocate(LAPLACE, ttl_seconds=60))
    ledger.void(ledger.allocate(GAUSSIAN, DELTA, ttl_seconds=60))
    return ledger


EVERY_BASIC = ALL_MEMBERS.members[0].kind


@pytest.mark.parametrize("version", [1, 2])
def test_entries_of_earlier_versions_are_proved_too(version: int) -> None:
    """A history may begin in any version, and goes on in a later one."""
    ledger = earlier(version)
    accepted(ledger.proof())
    ledger.version = 3
    ledger.allocate(CLAIM)
    ledger.commit(ledger.allocate(LAPLACE, ttl_seconds=60))
    ledger.adjust(ledger.entries[1])
    ledger.set_budget(PrivacyLoss(ledger.entries[0].budget.promise.epsilon, Decimal("0.1")), 30)
    ledger.wait(31)
    ledger.allocate(CLAIM)
    document = ledger.proof()
    assert {json.loads(entry["body"])["v"] for entry in entries_of(document)} == {version, 3}
    accepted(document)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dropping("actor"), "does not have the members of a ledger entry"),
        (setting(extra=1), "does not have the members of a ledger entry"),
        (setting(held=None), "does not have the members of a ledger entry"),
        (setting(v=1), "is not made of member filters"),
        (setting(kind="expired_spent"), "kind 'expired_spent' is not known"),
        (setting(prev_hash=None), "prev_hash is not text"),
        (setting(details=None), "details are not an object"),
        (setting(details={"ttl_seconds": "9"}), "ttl_seconds is not a whole number"),
        (setting(details={"ttl_seconds": -9}), "ttl_seconds is not a whole number"),
        (setting(details={"ttl_seconds": True}), "details are not text and whole numbers"),
        (setting(charge=None), "charge is not that of a consumed entry"),
        (setting(event=None), "has an event though it opens no allocation"),
        (setting(kind="budget_set"), "charge is not that of a budget_set entry"),
    ],
)
def test_a_body_that_no_ledger_of_version_2_wrote_is_refused(change: Change, reason: str) -> None:
    """As strictly as ever."""
    document = earlier(2).proof()
    with_body(document["certificates"][0]["entry"], change)
    refused(document, reason)


def test_a_time_to_live_beyond_the_calendar_is_refused() -> None:
    """Not with an exception."""
    document = earlier(2).proof()
    with_body(document["certificates"][1]["entry"], setting(details={"ttl_seconds": 2**52}))
    refused(document, "ttl_seconds leads out of the calendar")
