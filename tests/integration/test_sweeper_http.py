"""The sweeper of a running service: time ends what nobody ended, through the budget's own interface."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from accounting.filters import basic_budget
from accounting.ledger.entry import Entry
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.policy import SetBudget, decide_budget
from tests.integration.test_log_http import events, until
from tests.ledgers import asked, loss, opened, spent
from tests.support import Caller, Live, assert_problem, new_name


async def written(service_url: str, *entries: Entry) -> None:
    """Writes entries as an owner would."""
    store = await PostgresLedgerStore.open(service_url)
    await store.append(entries)
    await store.close()


async def database_now(service_url: str) -> datetime:
    """Database time."""
    store = await PostgresLedgerStore.open(service_url)
    await store.tails({})
    now = store.now()
    await store.close()
    return now


def hold(engine: Caller, epsilon: str, ttl: int) -> dict[str, Any]:
    """A hold."""
    answer: dict[str, Any] = engine.allocate(epsilon=epsilon, mode="reserve", ttl_seconds=ttl).json()
    return answer


def test_a_hold_that_nobody_ends_is_spent_when_its_time_has_passed(engine: Caller) -> None:
    """The expiry is an entry and an event of its own, costs nothing more, and can no longer be voided."""
    brief, long = hold(engine, "1", 1), hold(engine, "2", 600)
    (*_, told) = events(engine, 4)
    assert (told.data["kind"], told.data["allocation_id"]) == ("expired_spent", brief["allocation_id"])
    assert told.data["epsilon_consumed"] == 0
    assert engine.state().spent == "3"
    assert_problem(engine.settle(brief["allocation_id"], "void"), 409, "conflict")
    assert engine.settle(long["allocation_id"], "void").status_code == 200
    assert engine.state().spent == "1"


def test_a_hold_that_became_durable_long_after_it_was_due_is_found(live: Live, service_url: str) -> None:
    """Whatever its time, and though the sweeper has looked there before."""
    tenant = new_name("tenant")
    now = asyncio.run(database_now(service_url)) - timedelta(hours=5)
    head = opened(tenant, now=now)
    late = spent(head, asked(tenant, "1", ttl=60), now)
    asyncio.run(written(service_url, head, late))
    (*_, told) = events(live.caller(tenant), 3)
    assert (told.data["kind"], told.data["allocation_id"]) == ("expired_spent", late.allocation_id)


def test_a_window_that_has_ended_begins_anew_by_itself(live: Live, service_url: str) -> None:
    """Nobody has to ask for anything; the event says what the new window holds."""
    tenant = new_name("tenant")
    begun = asyncio.run(database_now(service_url)) - timedelta(days=1, minutes=5)
    wish = SetBudget(tenant, basic_budget(loss("10")), "admin", renewal_days=1, renewal_stated=True)
    (head,) = decide_budget(None, wish, begun).entries
    asyncio.run(written(service_url, head, spent(head, asked(tenant, "4"), begun)))
    (told,) = events(live.caller(tenant), 1, topic="privacy.budget.renewed")
    assert (told.data["seq"], told.data["remaining_epsilon"]) == (3, 10.0)
    end = head.period_end
    assert end is not None
    assert datetime.fromisoformat(told.data["period_start"]) == end
    assert datetime.fromisoformat(told.data["period_end"]) == end + timedelta(days=1)


def test_an_end_that_comes_first_is_left_alone(engine: Caller) -> None:
    """A commit before the hold's time stands, and no expiry follows."""
    first = hold(engine, "1", 1)
    assert engine.settle(first["allocation_id"], "commit").status_code == 200
    second = hold(engine, "1", 1)
    kinds = [sent.data["kind"] for sent in events(engine, 5)]
    assert kinds == ["budget_set", "held", "committed", "held", "expired_spent"]
    assert until(lambda: engine.budget()["allocation_count"]) == 2
    assert second["allocation_id"] != first["allocation_id"]


def test_what_stays_due_does_not_hold_up_the_others(service_url: str, engine: Caller) -> None:
    """An entry that makes no sense to the budget is asked about again and again, and others are ended beside it."""
    tenant = new_name("tenant")
    now = asyncio.run(database_now(service_url)) - timedelta(minutes=1)
    head = opened(tenant, now=now)
    # Falls due by its column, but not by what the budget knows of it.
    odd = replace(head, due_at=now)
    asyncio.run(written(service_url, odd))
    brief = hold(engine, "1", 1)
    (*_, told) = events(engine, 3)
    assert told.data["allocation_id"] == brief["allocation_id"]
