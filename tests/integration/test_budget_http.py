"""Budgets, holds and their ends over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest

from serve_app.service import PREFIX
from tests.support import Caller, Live, assert_problem, new_name

UNKNOWN = "00000000-0000-8000-8000-000000000000"


def hold(engine: Caller, **body: Any) -> str:  # noqa: ANN401
    """A hold of (1, 1e-6); its id."""
    response = engine.allocate(epsilon="1", delta="0.000001", mode="reserve", **body)
    assert response.status_code == 200, response.text
    assert response.json()["state"] == "held"
    identity: str = response.json()["allocation_id"]
    return identity


# Creating and raising.


def test_an_administrator_creates_and_raises_a_budget(live: Live) -> None:
    """Creating and raising each write one ledger entry, and reading gives back the last answer."""
    admin = live.new("admin")
    created = admin.put_budget(epsilon="3", delta="0.0001")
    assert created.status_code == 200
    assert (created.json()["total_epsilon"], created.json()["ledger_seq"]) == (3, 1)
    raised = admin.put_budget(total_epsilon="3.5", total_delta=0.0001)
    assert (raised.json()["total_epsilon"], raised.json()["ledger_seq"]) == (3.5, 2)
    assert admin.budget() == raised.json()


def test_the_same_budget_again_writes_nothing(live: Live) -> None:
    """Equal numbers written differently are the same budget, and the ledger is unchanged."""
    admin = live.new("admin", epsilon="3", delta="0.0001")
    before = admin.state()
    assert admin.put_budget(epsilon="3.00", delta="1e-4").status_code == 200
    assert admin.state() == before


@pytest.mark.parametrize("lower", [{"epsilon": "2.9", "delta": "0.0001"}, {"epsilon": "4", "delta": "0.00009"}])
def test_a_budget_is_never_lowered(live: Live, lower: dict[str, str]) -> None:
    """Lowering either epsilon or delta is refused, even if the other rises; the ledger is unchanged."""
    admin = live.new("admin", epsilon="3", delta="0.0001")
    before = admin.state()
    assert_problem(admin.put_budget(**lower), 422, "invalid_request", "epsilon")
    assert admin.state() == before


@pytest.mark.parametrize("role", ["engine", "analyst", "viewer", "auditor"])
def test_only_an_administrator_sets_a_budget(live: Live, role: str) -> None:
    """Every other role is forbidden to set its own tenant's budget; the ledger is unchanged."""
    other = live.new(role, epsilon="3")
    before = other.state()
    assert_problem(other.put_budget(epsilon="100", delta="0.1"), 403, "forbidden")
    assert other.state() == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "epsilon"),
        ({"epsilon": "NaN"}, "epsilon"),
        ({"epsilon": "sNaN", "total_epsilon": "sNaN"}, "epsilon"),
        ({"epsilon": 0}, "epsilon"),
        ({"epsilon": "-1"}, "epsilon"),
        ({"epsilon": "1e999999"}, "epsilon"),
        ({"epsilon": 1, "delta": 1}, "delta"),
        ({"epsilon": 1, "total_epsilon": 2}, "epsilon"),
        ({"epsilon": 1, "renewal": "daily"}, "renewal"),
        ({"epsilon": True}, "epsilon"),
    ],
)
def test_a_budget_that_is_none_is_refused(live: Live, body: dict[str, Any], field: str) -> None:
    """A missing, malformed or contradictory budget is refused by field; the ledger is unchanged."""
    admin = live.new("admin", epsilon="3")
    before = admin.state()
    assert_problem(admin.put_budget(**body), 422, "invalid_request", field)
    assert admin.state() == before


def test_one_administrator_is_nothing_to_another_tenant(live: Live) -> None:
    """The administrator of one tenant may neither set nor read the budget of another."""
    tenant = live.new(epsilon="3")
    stranger = Caller(live.client, tenant.tenant, live.new("admin").token)
    assert_problem(stranger.put_budget(epsilon="100", delta="0.1"), 403, "forbidden")
    assert_problem(stranger.get(f"{PREFIX}/budget/{tenant.tenant}"), 403, "forbidden")
    assert_problem(stranger.get(f"{PREFIX}/budget/status/{tenant.tenant}"), 403, "forbidden")


# Reading.


def test_the_first_request_of_a_tenant_opens_its_default_budget(live: Live) -> None:
    """A mere reading opens the default budget as entry one, and a second reading adds nothing."""
    viewer = live.new("viewer")
    budget = viewer.budget()
    assert budget["exact"] == {
        "total_epsilon": "10", "used_epsilon": "0", "remaining_epsilon": "10",
        "total_delta": "0.00001", "used_delta": "0", "remaining_delta": "0.00001",
    }  # fmt: skip
    assert (budget["allocation_count"], budget["ledger_seq"]) == (0, 1)
    assert viewer.budget() == budget


def test_a_tenants_first_requests_at_once_open_one_budget(live: Live) -> None:
    """Sixteen concurrent first requests share one opening entry, with no gap or fork after it."""
    engine = live.new()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: engine.allocate(epsilon="0.1").json()["ledger_seq"], range(16)))
    assert sorted(answers) == list(range(2, 18))


def test_a_budget_shows_each_member_filter(engine: Caller) -> None:
    """The basic filter shows cap, spent and remaining as exact text, and the theorem it rests on."""
    engine.allocate(epsilon="2", delta="0.000004")
    basic = engine.budget()["filters"]["basic"]
    assert basic["cap"] == {"epsilon": "10", "delta": "0.00001"}
    assert basic["spent"] == {"epsilon": "2", "delta": "0.000004"}
    assert basic["remaining"] == {"epsilon": "8", "delta": "0.000006"}
    assert "3.16" in basic["theorem"]


def test_a_name_that_is_none_is_refused(live: Live) -> None:
    """A tenant name with a space is refused by its field, even to a token for all tenants."""
    refused = live.caller("*", "engine").get(f"{PREFIX}/budget/a%20b")
    assert_problem(refused, 422, "invalid_request", "tenant_id")


# Holds.


def test_a_hold_counts_at_once_and_for_good_once_committed(engine: Caller) -> None:
    """Committing a hold changes nothing in what is spent, and it cannot be voided any more."""
    identity = hold(engine)
    assert engine.state().spent == "1"
    committed = engine.settle(identity, "commit")
    assert committed.status_code == 200
    answer = committed.json()
    assert (answer["state"], answer["allocated_epsilon"], answer["delta_allocated"]) == ("committed", 1, 1e-6)
    assert answer["exact"]["allocated_delta"] == "0.000001"
    assert engine.state().spent == "1"
    assert_problem(engine.settle(identity, "void"), 409, "conflict")


def test_a_void_gives_the_hold_back(engine: Caller) -> None:
    """Voiding frees exactly the hold, its answer agrees with the budget, and it cannot be committed."""
    engine.allocate(epsilon="0.5")
    identity = hold(engine)
    voided = engine.settle(identity, "void", reason="no data was read")
    assert voided.status_code == 200
    answer, budget = voided.json(), engine.budget()
    assert answer["state"] == "voided"
    for name in ("used_epsilon", "remaining_epsilon", "used_delta", "remaining_delta"):
        assert answer["exact"][name] == budget["exact"][name]
        assert answer[name] == budget[name]
    assert (answer["ledger_seq"], answer["ledger_hash"]) == (budget["ledger_seq"], budget["ledger_hash"])
    assert budget["allocation_count"] == 1
    assert engine.state().spent == "0.5"
    assert_problem(engine.settle(identity, "commit"), 409, "conflict")


@pytest.mark.parametrize("end", ["commit", "void"])
def test_an_end_repeated_is_a_replay(engine: Caller, end: str) -> None:
    """Ending a hold twice the same way gives the same answer, marked, and leaves the ledger unchanged."""
    identity = hold(engine)
    first = engine.settle(identity, end)
    before = engine.state()
    again = engine.settle(identity, end)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    assert engine.state() == before


def test_what_was_consumed_cannot_be_taken_back(engine: Caller) -> None:
    """An allocation that never was a hold refuses a void, and a commit of it is only a replay."""
    identity = engine.allocate(epsilon=1).json()["allocation_id"]
    assert_problem(engine.settle(identity, "void"), 409, "conflict")
    assert engine.settle(identity, "commit").headers["idempotency-replayed"] == "true"
    assert engine.state().spent == "1"


def test_ends_at_once_agree_on_one(engine: Caller) -> None:
    """Of concurrent commits and voids one kind wins, the other conflicts, and one entry is written."""
    identity = hold(engine)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda end: engine.settle(identity, end), ["commit", "void"] * 6))
    assert sorted(answer.status_code for answer in answers) == [200] * 6 + [409] * 6
    assert len({answer.json()["state"] for answer in answers if answer.status_code == 200}) == 1
    assert engine.state().seq == 3


async def test_a_hold_whose_time_has_passed_is_spent_for_good(live: Live, engine: Caller) -> None:
    """Fail closed: nobody can say any more that no data was read."""
    identity = hold(engine, ttl_seconds=1)
    connection = await asyncpg.connect(live.admin_url)
    await connection.execute("SELECT pg_sleep(1.1)")  # the database's own time is what counts
    await connection.close()
    assert_problem(engine.settle(identity, "void"), 409, "conflict")
    assert engine.state().spent == "1"
    assert engine.settle(identity, "commit").json()["state"] == "committed"


def test_consume_commits_a_hold(engine: Caller) -> None:
    """Consuming is a commit by another name: the hold cannot be voided afterwards."""
    identity = hold(engine)
    response = engine.post(f"{PREFIX}/budget/consume", json={"allocation_id": identity})
    assert response.status_code == 200
    assert response.json()["state"] == "committed"
    assert_problem(engine.settle(identity, "void"), 409, "conflict")


@pytest.mark.parametrize("actual", ["1.000001", "NaN", "-1", "0", "1e999999"])
def test_a_consumption_that_cannot_be_leaves_the_hold_alone(engine: Caller, actual: str) -> None:
    """More than was allocated, or no number at all: refused before anything is written."""
    identity = hold(engine)
    before = engine.state()
    body = {"allocation_id": identity, "actual_epsilon_spent": actual}
    response = engine.post(f"{PREFIX}/budget/consume", json=body)
    assert_problem(response, 422, "invalid_request", "actual_epsilon_spent")
    assert engine.state() == before
    assert engine.settle(identity, "void").status_code == 200


@pytest.mark.parametrize("identity", [UNKNOWN, "nothing", "x" * 200])
def test_an_allocation_that_is_not_there(engine: Caller, identity: str) -> None:
    """An unknown or malformed id is a 404 alike for commit, void and consume."""
    for end in ("commit", "void"):
        assert_problem(engine.settle(identity, end), 404, "not_found", "allocation_id")
    response = engine.post(f"{PREFIX}/budget/consume", json={"allocation_id": identity})
    assert_problem(response, 404, "not_found", "allocation_id")


def test_another_tenants_hold_is_not_there(live: Live, engine: Caller) -> None:
    """Nobody learns of, or ends, the hold of another tenant, and what it holds stays spent."""
    identity = hold(engine)
    other = live.new()
    assert_problem(other.settle(identity, "void"), 404, "not_found", "allocation_id")
    assert_problem(other.settle(identity, "void", tenant_id=engine.tenant), 403, "forbidden")
    assert engine.state().spent == "1"


def test_a_platform_engine_ends_what_it_began(live: Live) -> None:
    """A token for all tenants ends a hold only when it also names the tenant."""
    platform, tenant = live.caller("*", "engine", engine="text"), new_name("tenant")
    identity = hold(platform, tenant_id=tenant)
    assert_problem(platform.settle(identity, "void"), 422, "invalid_request", "tenant_id")
    assert platform.settle(identity, "void", tenant_id=tenant).json()["state"] == "voided"
