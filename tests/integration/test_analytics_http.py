"""Looking back over HTTP: summaries, burn rates, operations and the list of tenants, from the real ledger."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from serve_app.service import PREFIX
from tests.support import Caller, Live, assert_problem, new_name

ANALYTICS = f"{PREFIX}/analytics"
TEN = {"kind": "self_composed", "event": {"kind": "laplace", "scale": 10, "sensitivity": 1}, "count": 10}


@pytest.fixture
def engine(live: Live) -> Caller:
    """An engine whose tenant has charges by two engines, a hold of each kind, a data set and a refusal."""
    caller = live.new("admin", epsilon="4")
    path = f"{PREFIX}/budget/{caller.tenant}/datasets/cohort"
    body = {"epsilon": "3", "privacy_unit": "patient", "adjacency": "add_remove"}
    assert caller.request("PUT", path, json=body).status_code == 200
    caller.allocate(epsilon="0.1", source_engine="tabular", dataset_id="cohort", purpose="ages")
    caller.allocate(epsilon="0.2", source_engine="text")
    held = caller.allocate(epsilon="1", source_engine="text", mode="reserve").json()["allocation_id"]
    caller.settle(held, "void")
    parted = caller.allocate(event=TEN, source_engine="tabular", mode="reserve").json()["allocation_id"]
    caller.settle(parted, "commit", steps=4)
    caller.allocate(epsilon="0.5", mode="reserve")
    assert caller.allocate(epsilon="50").status_code == 402
    return caller


def test_a_summary_says_of_the_budget_what_the_budget_says(engine: Caller) -> None:
    """Used, held, left and lifetime are those of the budget's own answer; beside them stands who used it."""
    told, budget = engine.get(f"{ANALYTICS}/budget-summary").json(), engine.budget()
    assert told["budget"]["exact"] == budget["exact"]
    for name, value in told["budget"].items():
        assert value == budget[name]
    assert told["operations"] == {"admitted": 4, "open_holds": 1, "denied_last_7_days": 1}
    shares = {one["source_engine"]: (one["exact"]["epsilon"], one["operations"]) for one in told["by_engine"]}
    assert shares == {"tabular": ("0.5", 2), "text": ("0.2", 2), None: ("0.5", 1)}
    assert sum(one["share_pct"] for one in told["by_engine"]) == pytest.approx(100, abs=1e-5)
    (dataset,) = told["datasets"]
    assert (dataset["dataset_id"], dataset["unit"], dataset["partitions"]) == ("cohort", "patient", 0)
    assert dataset["exact"]["remaining_epsilon"] == "2.9"


def test_a_burn_rate_adds_up_to_what_was_charged(engine: Caller) -> None:
    """Today's epsilon is the lifetime's, a void and an unused part taken off; the engines' shares add up to it."""
    told = engine.get(f"{ANALYTICS}/burn-rate", params={"days": 3}).json()
    exact = engine.budget()["exact"]
    assert told["exact"] == {"epsilon": exact["lifetime_epsilon"], "remaining_epsilon": exact["remaining_epsilon"]}
    assert [day["exact"]["epsilon"] for day in told["daily"]] == ["0", "0", "1.2"]
    assert [day["remaining_epsilon"] for day in told["daily"]] == [None, None, float(exact["remaining_epsilon"])]
    assert sum(Decimal(one["exact"]["epsilon"]) for one in told["by_engine"]) == Decimal("1.2")
    assert sum(one["operations"] for one in told["by_engine"]) == told["operations"] == 5
    assert told["known_days"] == 1
    assert told["projection"]["exhausted_at"] is None
    assert "second day" in told["projection"]["basis"]


def test_a_data_sets_burn_rate_is_its_own(engine: Caller) -> None:
    """Of a data set only what was charged on it is told, and what its own budget has left."""
    told = engine.get(f"{ANALYTICS}/burn-rate", params={"dataset_id": "cohort"}).json()
    assert told["exact"] == {"epsilon": "0.1", "remaining_epsilon": "2.9"}
    assert told["daily"][-1]["remaining_epsilon"] == 2.9
    assert told["projection"]["renews_at"] is None


def test_operations_are_told_with_what_became_of_them(engine: Caller) -> None:
    """The latest first, page by page, each once; with its state, its cost and what was given back."""
    first = engine.get(f"{ANALYTICS}/operations", params={"limit": 3}).json()
    second = engine.get(f"{ANALYTICS}/operations", params={"limit": 3, "before": first["next"]}).json()
    assert second["next"] is None
    found = first["operations"] + second["operations"]
    told = [(one["status"], one["exact"]["epsilon"], one["exact"]["epsilon_given_back"]) for one in found]
    assert told == [
        ("held", "0.5", "0"),
        ("committed", "1", "0.6"),
        ("voided", "1", "1"),
        ("consumed", "0.2", "0"),
        ("consumed", "0.1", "0"),
    ]
    oldest = found[-1]
    assert (oldest["dataset_id"], oldest["purpose"], oldest["event_kind"]) == ("cohort", "ages", "claim")
    assert found[0]["due_at"] is not None


def test_the_next_window_is_named_for_a_budget_that_renews(live: Live) -> None:
    """The projection says when the window ends, and that this comes first where nothing runs out before."""
    admin = live.new("admin")
    assert admin.put_budget(epsilon="3", delta="0.00001", renewal_days=30).status_code == 200
    admin.allocate(epsilon="0.5")
    found = admin.get(f"{ANALYTICS}/burn-rate").json()["projection"]
    assert datetime.fromisoformat(found["renews_at"]) > datetime.now(UTC) + timedelta(days=29)
    assert found["renews_before"] is True


def test_an_auditor_of_all_sees_the_tenants_side_by_side(live: Live, engine: Caller) -> None:
    """By name, page by page, each as its own budget has it; and may look into any of them."""
    auditor = live.caller("*", "auditor")
    after = engine.tenant[:-1]
    page = auditor.get(f"{ANALYTICS}/tenants", params={"after": after, "limit": 1}).json()
    (told,) = page["tenants"]
    budget = engine.budget()
    assert told["tenant_id"] == page["next"] == engine.tenant
    for name in ("total_epsilon", "used_epsilon", "remaining_epsilon", "epsilon_utilization_pct"):
        assert told[name] == budget[name]
    assert (told["operations"], told["epsilon_per_day"], told["days_left"]) == (4, 1.2, None)
    everyone = auditor.get(f"{ANALYTICS}/tenants", params={"limit": 200}).json()["tenants"]
    names = [one["tenant_id"] for one in everyone]
    assert names == sorted(set(names))
    asked = {"tenant_id": engine.tenant}
    assert auditor.get(f"{ANALYTICS}/burn-rate", params=asked).json()["exact"]["epsilon"] == "1.2"


def test_an_auditor_of_all_has_to_say_whom(live: Live) -> None:
    """A token for any tenant that names none is told so."""
    response = live.caller("*", "auditor").get(f"{ANALYTICS}/budget-summary")
    assert_problem(response, 422, "invalid_request", "tenant_id")


def test_the_list_of_tenants_is_for_an_auditor_of_all(live: Live, engine: Caller) -> None:
    """A tenant's own auditor and a platform engine are refused it."""
    for caller in (live.caller(engine.tenant, "auditor"), live.caller("*", "engine")):
        assert_problem(caller.get(f"{ANALYTICS}/tenants"), 403, "forbidden")


@pytest.mark.parametrize("path", ["budget-summary", "burn-rate", "operations"])
def test_another_tenants_numbers_are_refused(live: Live, engine: Caller, path: str) -> None:
    """Naming another tenant is forbidden, and without a token there is nothing."""
    asked = {"tenant_id": engine.tenant}
    assert_problem(live.new("viewer").get(f"{ANALYTICS}/{path}", params=asked), 403, "forbidden")
    assert_problem(live.stranger(engine.tenant).get(f"{ANALYTICS}/{path}"), 401, "unauthenticated")


def test_one_tenants_numbers_have_nothing_of_anothers(live: Live, engine: Caller) -> None:
    """What others do changes nothing of a tenant's own numbers."""
    before = engine.get(f"{ANALYTICS}/burn-rate").json()["by_engine"]
    live.new("admin", epsilon="5").allocate(epsilon="3", source_engine="text")
    assert engine.get(f"{ANALYTICS}/burn-rate").json()["by_engine"] == before


@pytest.mark.parametrize("path", ["budget-summary", "burn-rate"])
def test_a_tenant_without_a_budget_is_unknown(live: Live, path: str) -> None:
    """There is nothing to look back on, and looking creates nothing."""
    viewer = live.new("viewer")
    assert_problem(viewer.get(f"{ANALYTICS}/{path}"), 404, "unknown_tenant")
    assert viewer.get(f"{ANALYTICS}/operations").json() == {"operations": [], "next": None}


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("burn-rate", "days", "0"),
        ("burn-rate", "days", "91"),
        ("burn-rate", "dataset_id", "a\nb"),
        ("operations", "limit", "1001"),
        ("operations", "before", "0"),
        ("budget-summary", "tenant_id", "no such name!"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_name(engine: Caller, path: str, name: str, value: str) -> None:
    """Each is told with the parameter that is wrong."""
    assert_problem(engine.get(f"{ANALYTICS}/{path}", params={name: value}), 422, "invalid_request", name)


def test_a_data_set_that_is_not_there_has_no_burn_rate(engine: Caller) -> None:
    """It is told that the data set is not known, not an empty sum."""
    response = engine.get(f"{ANALYTICS}/burn-rate", params={"dataset_id": new_name("none")})
    assert_problem(response, 404, "not_found", "dataset_id")
