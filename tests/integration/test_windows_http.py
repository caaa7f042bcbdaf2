"""Renewing budgets over HTTP: what each window holds, and the lifetime loss that no window takes away."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounting.filters import budget_for_claims
from accounting.ledger.entry import Entry
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.policy import SetBudget, decide_budget
from serve_app.config import Settings
from serve_app.service import PREFIX
from tests.ledgers import asked, dataset_in, registered, spent
from tests.support import Live, assert_problem, new_name

DAY = timedelta(days=1)


async def past(store: PostgresLedgerStore, entries: Sequence[Entry]) -> str:
    """A tenant with that history; its name."""
    await store.append(entries)
    return entries[0].tenant_id


def renewing(days: int, since: datetime) -> Entry:
    """The first entry of a fresh tenant whose budget of (10, 1e-5) has renewed every so many days since then."""
    held = budget_for_claims(Decimal(10), Decimal("0.00001"))
    request = SetBudget(new_name("tenant"), held, "admin", renewal_days=days, renewal_stated=True)
    (entry,) = decide_budget(None, request, since).entries
    return entry


def ago(**much: int) -> datetime:
    """A moment that long ago."""
    return datetime.now(UTC) - timedelta(**much)


# Setting windows.


def test_a_budget_is_made_to_renew_and_shows_window_and_lifetime_side_by_side(live: Live) -> None:
    """Its window begins now and is as long as was said; what it had spent counts in the first window."""
    admin = live.new("admin", epsilon="4", delta="0")
    admin.allocate(epsilon="1")
    renewed = admin.put_budget(epsilon="4", renewal_days=7)
    assert renewed.status_code == 200, renewed.text
    answer = renewed.json()
    assert answer == admin.budget()
    start, end = (datetime.fromisoformat(answer[name]) for name in ("period_start", "period_end"))
    assert end - start == timedelta(days=7)
    assert (answer["auto_renew"], answer["renewal_days"], answer["scope"]) == (True, 7, "tenant window")
    assert (answer["used_epsilon"], answer["lifetime_epsilon"], answer["held_epsilon"]) == (1, 1, 0)
    allocated = admin.allocate(epsilon="0.5").json()
    assert (allocated["auto_renew"], allocated["period_end"]) == (True, answer["period_end"])
    assert (allocated["exact"]["used_epsilon"], allocated["exact"]["lifetime_epsilon"]) == ("1.5", "1.5")


@pytest.mark.parametrize(
    ("wish", "days"),
    [
        ({"auto_renew": True}, 30),
        ({"renewal_days": 1}, 1),
        ({"renewal_days": 3660, "auto_renew": True}, 3660),
        ({}, None),
    ],
)
def test_a_new_budget_has_the_windows_that_are_wished_for(live: Live, wish: dict[str, Any], days: int | None) -> None:
    """Without a length it is the operator's; without a wish the budget is for life."""
    answer = live.new("admin").put_budget(epsilon="4", **wish).json()
    assert (answer["renewal_days"], answer["auto_renew"]) == (days, days is not None)
    assert (answer["period_end"] is None) == (days is None)


def test_the_length_of_a_window_that_nobody_states_is_a_setting() -> None:
    """Thirty days unless the operator says otherwise, within the same bounds."""
    assert Settings().budget_renewal_days == 30
    assert Settings.model_validate({"budget_renewal_days": 7}).budget_renewal_days == 7
    with pytest.raises(ValueError, match="3660"):
        Settings.model_validate({"budget_renewal_days": 3_661})


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"renewal_days": 0}, "renewal_days"),
        ({"renewal_days": -1}, "renewal_days"),
        ({"renewal_days": 3661}, "renewal_days"),
        ({"renewal_days": 1.5}, "renewal_days"),
        ({"renewal_days": "7"}, "renewal_days"),
        ({"renewal_days": True}, "renewal_days"),
        ({"renewal_days": 7, "auto_renew": False}, "auto_renew"),
        ({"auto_renew": "yes"}, "auto_renew"),
    ],
)
def test_windows_that_make_no_sense_are_refused(live: Live, wish: dict[str, Any], field: str) -> None:
    """Out of range, of another kind or contradictory: refused by field, and nothing written."""
    admin = live.new("admin", epsilon="4", delta="0")
    before = admin.state()
    assert_problem(admin.put_budget(epsilon="4", **wish), 422, "invalid_request", field)
    assert admin.state() == before


def test_windows_stay_where_nobody_speaks_of_them(live: Live) -> None:
    """Raising a renewing budget keeps its windows; stating the same ones writes nothing."""
    admin = live.new("admin")
    first = admin.put_budget(epsilon="4", renewal_days=7).json()
    raised = admin.put_budget(epsilon="5").json()
    assert [raised[name] for name in ("renewal_days", "period_start")] == [7, first["period_start"]]
    before = admin.state()
    assert admin.put_budget(epsilon="5", renewal_days=7).status_code == 200
    assert admin.state() == before


def test_a_budget_that_no_longer_renews_counts_all_that_was_ever_spent(live: Live) -> None:
    """Switching back and forth gives nothing away."""
    admin = live.new("admin")
    admin.put_budget(epsilon="4", renewal_days=7)
    admin.allocate(epsilon="1")
    for wish in ({"auto_renew": False}, {"renewal_days": 1}, {"auto_renew": False}):
        answer = admin.put_budget(epsilon="4", **wish).json()
        assert (answer["used_epsilon"], answer["lifetime_epsilon"]) == (1, 1)
    assert (answer["renewal_days"], answer["period_end"], answer["scope"]) == (None, None, "tenant lifetime")


# Windows that pass.


async def test_a_new_window_frees_the_budget_and_not_the_lifetime(live: Live, postgres: PostgresLedgerStore) -> None:
    """Looking at the budget is enough to begin it; the answer to a charge tells both."""
    first = renewing(1, ago(days=1, hours=2))
    tenant = await past(postgres, [first, spent(first, asked(first.tenant_id, "2"), ago(days=1, hours=1))])
    engine = live.caller(tenant)
    budget = engine.budget()
    assert (budget["used_epsilon"], budget["lifetime_epsilon"], budget["allocation_count"]) == (0, 2, 1)
    assert (budget["exact"]["remaining_epsilon"], budget["ledger_seq"]) == ("10", 3)
    assert datetime.fromisoformat(budget["period_start"]) == first.at + DAY
    assert budget["lifetime"]["basic"] == {"epsilon": "2", "delta": "0"}
    assert engine.budget() == budget
    answer = engine.allocate(epsilon="1.5").json()
    assert [answer["exact"][name] for name in ("used_epsilon", "lifetime_epsilon")] == ["1.5", "3.5"]
    assert (answer["used_epsilon"], answer["lifetime_epsilon"]) == (1.5, 3.5)


async def test_windows_that_nobody_used_are_skipped(live: Live, postgres: PostgresLedgerStore) -> None:
    """However many have passed, the present one begins where it would have, by one entry."""
    first = renewing(7, ago(days=100))
    tenant = await past(postgres, [first])
    answer = live.caller(tenant).allocate(epsilon="1").json()
    start = datetime.fromisoformat(answer["period_start"])
    assert start == first.at + timedelta(days=98)
    assert answer["ledger_seq"] == 3


async def test_a_hold_that_is_open_across_the_boundary_counts_in_both_windows(
    live: Live, postgres: PostgresLedgerStore
) -> None:
    """It is told as held; committing it changes neither sum, voiding it both, and neither twice."""
    first = renewing(1, ago(days=1, hours=2))
    kept = spent(first, asked(first.tenant_id, "2", ttl=86_400 * 3), ago(days=1, hours=1))
    given = spent(kept, asked(first.tenant_id, "1", ttl=86_400 * 3), ago(days=1, hours=1))
    engine = live.caller(await past(postgres, [first, kept, given]))
    budget = engine.budget()
    assert [budget[name] for name in ("used_epsilon", "held_epsilon", "lifetime_epsilon")] == [3, 3, 3]
    assert budget["held"]["basic"]["epsilon"] == "3"
    assert kept.allocation_id is not None
    assert given.allocation_id is not None
    engine.settle(kept.allocation_id, "commit")
    engine.settle(given.allocation_id, "void")
    budget = engine.budget()
    assert [budget[name] for name in ("used_epsilon", "held_epsilon", "lifetime_epsilon")] == [2, 0, 2]


async def test_a_key_of_an_earlier_window_is_still_a_replay(live: Live, postgres: PostgresLedgerStore) -> None:
    """Keys never expire: the first answer again, with the balance of its window."""
    engine = live.new()
    body = {"job_id": "j", "epsilon": "2"}
    answer = engine.allocate(**body).json()
    history = await postgres.history(engine.tenant)
    first = renewing(1, ago(days=1, hours=2))
    earlier = spent(
        first,
        replace(asked(first.tenant_id, "2", key="j", job="j"), request_hash=history[1].request_hash or ""),
        ago(days=1, hours=1),
    )
    again = live.caller(await past(postgres, [first, earlier])).allocate(**body)
    assert again.status_code == 200, again.text
    assert again.headers["idempotency-replayed"] == "true"
    assert (again.json()["used_epsilon"], again.json()["ledger_seq"]) == (answer["used_epsilon"], 2)


async def test_a_data_set_does_not_renew(live: Live, postgres: PostgresLedgerStore) -> None:
    """What was learnt about a person last month is still known: only the tenant's cap begins anew."""
    first = renewing(1, ago(days=1, hours=2))
    cohort = registered(first, now=ago(days=1, hours=2))
    request = asked(first.tenant_id, "2", dataset="cohort")
    used = spent(cohort, request, ago(days=1, hours=1), dataset_in([first, cohort]))
    engine = live.caller(await past(postgres, [first, cohort, used]))
    assert (engine.budget()["used_epsilon"], engine.budget()["datasets"][0]["used_epsilon"]) == (0, 2)
    refused = engine.allocate(epsilon="1.5", dataset_id="cohort")
    assert assert_problem(refused, 402, "budget_exhausted")["scope"] == "data set cohort"


async def test_a_plan_is_set_against_the_window_that_is_now(live: Live, postgres: PostgresLedgerStore) -> None:
    """Whether anybody has begun it yet or not."""
    first = renewing(1, ago(days=1, hours=2))
    used = first
    entries = [first]
    for _ in range(5):
        used = spent(used, asked(first.tenant_id, "2"), ago(days=1, hours=1))
        entries.append(used)
    tenant = await past(postgres, entries)
    plan = {"name": "p", "steps": [{"step_name": "s", "mechanism": "laplace", "epsilon": 2}]}
    answer = live.caller(tenant).post(f"{PREFIX}/composition/plan", json=plan).json()
    assert answer["is_feasible"] is True
