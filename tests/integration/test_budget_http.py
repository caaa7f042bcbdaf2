"""Budgets, holds and their ends over HTTP."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
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


@pytest.mark.parametrize(
    "lower",
    [
        {"epsilon": "2.9", "delta": "0.0001"},
        {"epsilon": "4", "delta": "0.00009"},
        {"epsilon": "4", "delta": "0"},
        {"epsilon": "0.0001"},
    ],
)
def test_a_budget_is_never_lowered(live: Live, lower: dict[str, str]) -> None:
    """Lowering either epsilon or delta is refused, even if the other rises; the ledger is unchanged."""
    admin = live.new("admin", epsilon="3", delta="0.0001")
    before = admin.state()
    document = assert_problem(admin.put_budget(**lower), 422, "invalid_request", "epsilon")
    assert "it now promises epsilon 3, delta 0.0001" in document["detail"]
    assert admin.state() == before


def test_a_delta_that_is_left_out_stays(live: Live) -> None:
    """Raising epsilon alone keeps the promised delta; a new budget without a delta promises none."""
    admin = live.new("admin", epsilon="3", delta="0.0001")
    assert admin.put_budget(epsilon="4").json()["promise"] == {"epsilon": "4", "delta": "0.0001"}
    pure = live.new("admin").put_budget(epsilon="4").json()
    assert pure["promise"] == {"epsilon": "4", "delta": "0"}
    assert list(pure["filters"]) == ["basic"]


# Filters.

BOTH = [
    {"filter": "basic", "delta_share": "0.5"},
    {"filter": "zcdp", "delta_share": "0.1", "conversion_share": 0.3},
]


def test_an_administrator_chooses_the_filters_and_their_shares(live: Live) -> None:
    """Shares are exact parts of the promised delta, whatever order the filters come in; raising keeps them."""
    admin = live.new("admin")
    created = admin.put_budget(epsilon="3", delta="0.0001", filters=BOTH[::-1])
    assert created.status_code == 200, created.text
    filters = created.json()["filters"]
    assert list(filters) == ["basic", "zcdp"]
    assert filters["basic"]["cap"] == {"epsilon": "3", "delta": "0.00005"}
    assert filters["zcdp"]["cap"]["delta"] == "0.00001"
    assert filters["zcdp"]["conversion_delta"] == "0.00003"
    raised = admin.put_budget(epsilon="4", delta="0.0002", filters=BOTH).json()
    assert raised["ledger_seq"] == 2
    assert raised["filters"]["zcdp"]["conversion_delta"] == "0.00006"
    assert Decimal(raised["filters"]["zcdp"]["cap"]["rho"]) > Decimal(filters["zcdp"]["cap"]["rho"])
    assert admin.budget() == raised


def test_a_renyi_filter_keeps_the_order_that_was_chosen(live: Live) -> None:
    """The order is the administrator's, or the best one where none is named."""
    wishes: list[dict[str, Any]] = [{"filter": "basic"}, {"filter": "renyi", "conversion_share": "1", "order": 7}]
    chosen = live.new("admin").put_budget(epsilon="3", delta="0.0001", filters=wishes).json()
    assert chosen["filters"]["renyi"]["order"] == 7
    del wishes[1]["order"]
    best = live.new("admin").put_budget(epsilon="3", delta="0.0001", filters=wishes).json()["filters"]["renyi"]
    # How many Gaussians of one rho fit is the cap divided by the order.
    assert Decimal(best["cap"]["renyi"]) / best["order"] > Decimal(chosen["filters"]["renyi"]["cap"]["renyi"]) / 7


@pytest.mark.parametrize("filters", [BOTH[:1], [*BOTH[:1], {"filter": "gdp", "conversion_share": "0.4"}]])
def test_the_filters_of_a_budget_are_never_changed(live: Live, filters: list[dict[str, Any]]) -> None:
    """Other filters than those it has are refused even where the promise is raised; the ledger is unchanged."""
    admin = live.new("admin")
    assert admin.put_budget(epsilon="3", delta="0.0001", filters=BOTH).status_code == 200
    before = admin.state()
    refused = admin.put_budget(epsilon="4", delta="0.0002", filters=filters)
    document = assert_problem(refused, 422, "invalid_request", "filters")
    assert "this one has basic, zcdp" in document["detail"]
    assert admin.state() == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filters": []}, "filters"),
        ({"filters": [{"filter": "zcdp", "conversion_share": 1}]}, "filters"),
        ({"filters": [{"filter": "pld"}]}, "filters[0].filter"),
        ({"filters": [{"filter": "basic"}, {"filter": "basic"}]}, "filters"),
        ({"filters": [{"filter": "basic", "delta_share": "0.9"}, *BOTH[1:]]}, "filters"),
        ({"filters": [{"filter": "basic", "delta_share": "1.5"}]}, "filters.basic.delta_share"),
        ({"filters": [{"filter": "basic", "delta_share": "-0.1"}]}, "filters.basic.delta_share"),
        ({"filters": [{"filter": "basic", "delta_share": "sNaN"}]}, "filters.basic.delta_share"),
        ({"filters": [{"filter": "basic", "conversion_share": "0.1"}]}, "filters.basic.conversion_delta"),
        ({"filters": [{"filter": "basic"}, {"filter": "zcdp"}]}, "filters.zcdp.conversion_delta"),
        ({"filters": [{"filter": "basic", "order": 3}]}, "filters.basic.order"),
        ({"filters": [{"filter": "basic", "cap": 3}]}, "filters[0].cap"),
        ({"filters": BOTH, "delta": None}, "delta"),
    ],
)
def test_filters_that_keep_no_promise_are_refused(live: Live, body: dict[str, Any], field: str) -> None:
    """Unknown, doubled or missing filters and impossible shares are refused by field, and no budget is made."""
    admin = live.new("admin")
    given = {name: value for name, value in ({"epsilon": "3", "delta": "0.0001"} | body).items() if value is not None}
    assert_problem(admin.put_budget(**given), 422, "invalid_request", field)
    assert admin.budget()["ledger_seq"] == 1


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
        "total_delta": "0.000011111111111111111111111111", "used_delta": "0", "remaining_delta": "0.00001",
        "lifetime_epsilon": "0", "lifetime_delta": "0", "held_epsilon": "0", "held_delta": "0",
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
    """Each filter shows cap, spent and remaining as exact text in its own currency, and the theorem it rests on."""
    engine.allocate(epsilon="2", delta="0.000004")
    budget = engine.budget()
    assert budget["promise"] == {"epsilon": "10", "delta": "0.000011111111111111111111111111"}
    basic, renyi = budget["filters"]["basic"], budget["filters"]["renyi"]
    assert basic["cap"] == {"epsilon": "10", "delta": "0.00001"}
    assert basic["spent"] == {"epsilon": "2", "delta": "0.000004"}
    assert basic["remaining"] == {"epsilon": "8", "delta": "0.000006"}
    assert (basic["holds"], renyi["holds"]) == (True, False)  # 4e-6 is more than the Renyi filter's own share
    assert "Rogers" in basic["theorem"]
    assert "Theorem 4.3" in renyi["theorem"]
    assert renyi["order"] >= 2
    assert set(renyi["cap"]) == set(renyi["spent"]) == set(renyi["remaining"]) == {"renyi", "delta"}
    assert renyi["spent"]["delta"] == "0.000004"
    assert 0 < Decimal(renyi["spent"]["renyi"]) <= 2
    shares = (basic["cap"]["delta"], renyi["cap"]["delta"], renyi["conversion_delta"])
    assert sum(map(Decimal, shares)) == Decimal(budget["promise"]["delta"])


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
    # The sweeper may be first and end it as expired. Either way it has ended, and stays spent.
    committed = engine.settle(identity, "commit")
    if committed.status_code == 200:
        assert committed.json()["state"] == "committed"
    else:
        assert_problem(committed, 409, "conflict")
    budget = engine.budget()
    assert (budget["used_epsilon"], budget["held_epsilon"]) == (1, 0)


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


def test_a_cap_that_two_accountants_do_not_agree_on_is_refused(live: Live) -> None:
    """A share of delta that doubles take for 1 has no Gaussian; the filters are named and no budget is made."""
    admin = live.new("admin")
    wished = [{"filter": "basic", "delta_share": 0, "conversion_share": 0}, {"filter": "gdp", "conversion_share": 1}]
    refused = admin.put_budget(epsilon=1, delta="0.99999999999999999", filters=wished)
    problem = assert_problem(refused, 422, "invalid_request", "filters")
    assert "two accountants" in problem["detail"]
