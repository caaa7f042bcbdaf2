"""Data sets over HTTP: a budget of its own for the people in each, partitions, and all scopes charged or none."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest

from serve_app.service import PREFIX
from tests.support import BATCH, PLAN, Caller, Live, assert_problem, new_name

HOSPITALS: dict[str, Any] = {
    "partitions": ["north", "south"],
    "partition_basis": "the hospital that treated the patient",
}


class Registrar(Caller):
    """An administrator of a tenant, and the data sets that are registered there."""

    def path(self, dataset_id: str = "") -> str:
        """Where the tenant's data sets are."""
        return f"{PREFIX}/budget/{self.tenant}/datasets" + (f"/{dataset_id}" if dataset_id else "")

    def register(self, dataset_id: str = "cohort", **changes: Any) -> httpx.Response:  # noqa: ANN401
        """Registers a data set of patients with a budget of (3, 0) under basic composition, unless said otherwise."""
        body = {"epsilon": "3", "delta": "0", "privacy_unit": "patient", "adjacency": "add_remove", **changes}
        return self.request("PUT", self.path(dataset_id), json=body)

    def dataset(self, dataset_id: str = "cohort") -> dict[str, Any]:
        """A data set as it stands."""
        response = self.get(self.path(dataset_id))
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def left(self, partition: str | None = None) -> str:
        """The epsilon that is left of the cohort, or of a partition of it."""
        answer = self.dataset()
        parts = {part["partition"]: part for part in answer["partitions"]}
        of: dict[str, Any] = answer if partition is None else parts[partition]
        left: str = of["exact"]["remaining_epsilon"]
        return left


@pytest.fixture
def admin(live: Live) -> Registrar:
    """The administrator of a fresh tenant, who may spend as well."""
    tenant = new_name("tenant")
    return Registrar(live.client, tenant, live.token(tenant, ["admin"]))


@pytest.fixture
def cohort(admin: Registrar) -> Registrar:
    """The same, with a registered cohort of two hospitals."""
    assert admin.register(**HOSPITALS).status_code == 200
    return admin


# Registering.


def test_a_data_set_is_registered_with_unit_adjacency_and_a_budget_of_its_own(admin: Registrar) -> None:
    """The answer is what a reader gets, and writes one entry to the tenant's history."""
    before = admin.state().seq
    registered = admin.register(**HOSPITALS)
    assert registered.status_code == 200, registered.text
    answer = registered.json()
    assert answer == admin.dataset()
    assert (answer["tenant_id"], answer["dataset_id"]) == (admin.tenant, "cohort")
    assert (answer["privacy_unit"], answer["adjacency"]) == ("patient", "add_remove")
    assert answer["partition_basis"] == "the hospital that treated the patient"
    assert [part["partition"] for part in answer["partitions"]] == ["north", "south"]
    assert answer["promise"] == {"epsilon": "3", "delta": "0"}
    for part in (answer, *answer["partitions"]):
        assert part["filters"]["basic"]["cap"] == {"epsilon": "3", "delta": "0"}
        assert part["filters"]["basic"]["spent"] == {"epsilon": "0", "delta": "0"}
        assert part["exact"]["remaining_epsilon"] == "3"
    assert admin.state().seq == before + 1


def test_the_same_registration_again_writes_nothing(cohort: Registrar) -> None:
    """Equal numbers written differently are the same."""
    before = cohort.state()
    assert cohort.register(epsilon="3.00", **HOSPITALS).status_code == 200
    assert cohort.state() == before


def test_a_data_set_is_raised_and_gets_more_partitions(cohort: Registrar) -> None:
    """What was spent stays; new partitions stand at the end."""
    cohort.allocate(epsilon="1", dataset_id="cohort", partition="north")
    more = {**HOSPITALS, "partitions": ["north", "south", "east"]}
    raised = cohort.register(epsilon="4", **more)
    assert raised.status_code == 200, raised.text
    assert cohort.left("north") == "3"
    assert cohort.left("east") == "4"


def test_a_data_set_may_have_filters_of_its_own(admin: Registrar) -> None:
    """They are chosen as for a budget, and kept."""
    wished = [{"filter": "basic", "delta_share": "0.5"}, {"filter": "zcdp", "conversion_share": "0.5"}]
    registered = admin.register(delta="0.0001", filters=wished)
    assert registered.status_code == 200, registered.text
    assert list(registered.json()["filters"]) == ["basic", "zcdp"]
    changed = admin.register(delta="0.0001", filters=[{"filter": "basic", "delta_share": "1"}])
    document = assert_problem(changed, 422, "invalid_request", "filters")
    assert "this one has basic, zcdp" in document["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"privacy_unit": "visit"},
        {"adjacency": "replace_one"},
        {"partitions": ["north"]},
        {"partitions": []},
        {"partitions": ["south", "north"]},
        {"partition_basis": "year of birth"},
    ],
)
def test_what_protects_people_is_never_changed(cohort: Registrar, change: dict[str, Any]) -> None:
    """Neither the unit nor the neighbours, nor a partition that is registered, nor what partitions rest on."""
    before = cohort.state()
    changed = {**HOSPITALS, **change}
    if not changed["partitions"]:
        del changed["partition_basis"]
    assert_problem(cohort.register(**changed), 422, "invalid_request", "dataset")
    assert cohort.state() == before


def test_a_data_sets_budget_is_never_lowered(live: Live, cohort: Registrar) -> None:
    """The refusal tells what the data set promises, not what the tenant does."""
    document = assert_problem(cohort.register(epsilon="2", **HOSPITALS), 422, "invalid_request", "epsilon")
    assert "it now promises epsilon 3, delta 0" in document["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"epsilon": None}, "epsilon"),
        ({"epsilon": "0"}, "epsilon"),
        ({"privacy_unit": None}, "privacy_unit"),
        ({"privacy_unit": ""}, "privacy_unit"),
        ({"privacy_unit": "x" * 201}, "privacy_unit"),
        ({"adjacency": None}, "adjacency"),
        ({"adjacency": "both"}, "adjacency"),
        ({"partitions": ["north"]}, "partition_basis"),
        ({"partition_basis": "by hospital"}, "partition_basis"),
        ({**HOSPITALS, "partition_basis": "x" * 2_001}, "partition_basis"),
        ({**HOSPITALS, "partition_basis": "a\x00b"}, "partition_basis"),
        ({**HOSPITALS, "partitions": ["north", "north"]}, "partitions"),
        ({**HOSPITALS, "partitions": ["north", ""]}, "partitions"),
        ({**HOSPITALS, "partitions": ["a\x00"]}, "partitions"),
        ({**HOSPITALS, "partitions": [str(number) for number in range(1_001)]}, "partitions"),
        ({"renewal_days": 30}, "renewal_days"),
        ({"filters": [{"filter": "basic"}], "delta": None}, "delta"),
    ],
)
def test_a_registration_that_is_none_is_refused(admin: Registrar, body: dict[str, Any], field: str) -> None:
    """Missing, malformed or contradictory parts are refused by field, a window too: a data set never renews."""
    before = admin.state()
    given = {"epsilon": "3", "delta": "0", "privacy_unit": "patient", "adjacency": "add_remove"} | body
    wished = {name: value for name, value in given.items() if value is not None}
    assert_problem(admin.request("PUT", admin.path("cohort"), json=wished), 422, "invalid_request", field)
    assert admin.state() == before


@pytest.mark.parametrize("role", ["engine", "analyst", "viewer", "auditor"])
def test_only_an_administrator_registers(live: Live, cohort: Registrar, role: str) -> None:
    """Everybody of the tenant may read."""
    other = Registrar(live.client, cohort.tenant, live.token(cohort.tenant, [role]))
    assert_problem(other.register(epsilon="5", **HOSPITALS), 403, "forbidden")
    assert other.dataset() == cohort.dataset()


def test_another_tenants_data_sets_are_none_of_ones_business(live: Live, cohort: Registrar) -> None:
    """Neither to read, nor to set, nor to spend on: its own tenant has none of that name."""
    stranger = Registrar(live.client, cohort.tenant, live.new("admin").token)
    assert_problem(stranger.get(stranger.path()), 403, "forbidden")
    assert_problem(stranger.get(stranger.path("cohort")), 403, "forbidden")
    assert_problem(stranger.register(), 403, "forbidden")
    assert_problem(stranger.allocate(epsilon="1", dataset_id="cohort"), 404, "not_found", "dataset_id")


def test_all_data_sets_of_a_tenant_are_listed_with_its_budget(admin: Registrar) -> None:
    """Each with what is left of it, by name; a tenant without any has an empty list."""
    assert admin.get(admin.path()).json() == {"tenant_id": admin.tenant, "datasets": []}
    assert admin.budget()["datasets"] == []
    admin.register("b", epsilon="2")
    admin.register("a/ä b", **HOSPITALS)
    admin.allocate(epsilon="1", dataset_id="b")
    listed = admin.get(admin.path()).json()["datasets"]
    assert [(one["dataset_id"], one["partition_count"]) for one in listed] == [("a/ä b", 2), ("b", 0)]
    assert [one["exact"]["remaining_epsilon"] for one in listed] == ["3", "1"]
    assert admin.budget()["datasets"] == listed
    assert admin.dataset("a/ä b")["dataset_id"] == "a/ä b"


def test_a_data_set_that_is_not_registered_is_not_found(admin: Registrar) -> None:
    """404 with the field, for reading and for spending alike; and nothing is charged."""
    before = admin.state()
    assert_problem(admin.get(admin.path("nothing")), 404, "not_found", "dataset_id")
    assert_problem(admin.allocate(epsilon="1", dataset_id="nothing"), 404, "not_found", "dataset_id")
    assert admin.state() == before


# Spending.


def test_an_allocation_charges_tenant_and_data_set_in_one_entry(cohort: Registrar) -> None:
    """The answer tells what is left of both; plain allocations do not speak of data sets."""
    before = cohort.state()
    answer = cohort.allocate(epsilon="1.25", dataset_id="cohort").json()
    assert answer["dataset"] == {
        "dataset_id": "cohort",
        "partition": None,
        "remaining_epsilon": 1.75,
        "remaining_delta": 0,
        "exact": {"remaining_epsilon": "1.75", "remaining_delta": "0"},
    }
    assert answer["exact"]["remaining_epsilon"] == "8.75"
    assert cohort.state().seq == before.seq + 1
    assert (cohort.state().spent, cohort.left()) == ("1.25", "1.75")
    assert "dataset" not in cohort.allocate(epsilon="0.5").json()
    assert cohort.left() == "1.75"


def test_a_replay_tells_of_the_data_set_what_the_first_answer_told(cohort: Registrar) -> None:
    """Whatever was charged to it in between, on any partition."""
    first = cohort.allocate(job_id="j", epsilon="0.5", dataset_id="cohort", partition="north")
    cohort.allocate(epsilon="1", dataset_id="cohort")
    again = cohort.allocate(job_id="j", epsilon="0.5", dataset_id="cohort", partition="north")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()


@pytest.mark.parametrize("scopes", [{}, {"dataset_id": "cohort"}, {"dataset_id": "cohort", "partition": "south"}])
def test_the_same_key_for_another_scope_is_refused(cohort: Registrar, scopes: dict[str, str]) -> None:
    """Where a charge goes is part of the request."""
    cohort.allocate(job_id="j", epsilon="0.5", dataset_id="cohort", partition="north")
    assert_problem(cohort.allocate(job_id="j", epsilon="0.5", **scopes), 422, "idempotency_mismatch")


def test_disjoint_partitions_cost_the_largest(cohort: Registrar) -> None:
    """Nobody is in both hospitals, so nobody was exposed to more than the larger charge and what all were."""
    for part, epsilon in (("north", "2"), ("south", "1.5")):
        answer = cohort.allocate(epsilon=epsilon, dataset_id="cohort", partition=part)
        assert answer.status_code == 200, answer.text
    assert [cohort.left(part) for part in (None, "north", "south")] == ["1", "1", "1.5"]
    cohort.allocate(epsilon="1", dataset_id="cohort")
    assert [cohort.left(part) for part in (None, "north", "south")] == ["0", "0", "0.5"]
    refused = cohort.allocate(epsilon="0.1", dataset_id="cohort")
    assert_problem(refused, 402, "budget_exhausted")
    assert cohort.allocate(epsilon="0.5", dataset_id="cohort", partition="south").status_code == 200
    # The tenant's budget is a cap on everything that was done.
    assert cohort.state().spent == "5"


def test_where_a_unit_may_move_the_two_largest_add(admin: Registrar) -> None:
    """Under replace-one a neighbour may have a patient in another hospital, who is then exposed in both."""
    admin.register(adjacency="replace_one", **HOSPITALS)
    admin.allocate(epsilon="2", dataset_id="cohort", partition="north")
    assert [admin.left(part) for part in (None, "north", "south")] == ["1", "1", "1"]
    document = assert_problem(
        admin.allocate(epsilon="1.5", dataset_id="cohort", partition="south"), 402, "budget_exhausted"
    )
    assert document["scope"] == "data set cohort, partition south"
    assert admin.allocate(epsilon="1", dataset_id="cohort", partition="south").status_code == 200
    assert [admin.left(part) for part in (None, "north", "south")] == ["0", "0", "0"]


def test_a_partition_that_is_not_registered_is_refused(cohort: Registrar) -> None:
    """And so is one without its data set; nothing is charged."""
    before = cohort.state()
    assert_problem(
        cohort.allocate(epsilon="1", dataset_id="cohort", partition="west"), 422, "invalid_request", "partition"
    )
    assert_problem(cohort.allocate(epsilon="1", partition="north"), 422, "invalid_request", "partition")
    assert cohort.state() == before


def test_the_wish_for_parallel_composition_changes_nothing(cohort: Registrar) -> None:
    """Only a registered partition does."""
    for _ in range(2):
        cohort.allocate(epsilon="1", dataset_id="cohort", composition_type="parallel")
    assert cohort.left() == "1"
    cohort.allocate(epsilon="1", composition_type="parallel")
    assert cohort.state().spent == "3"


def test_the_scope_that_refuses_is_named_with_what_would_fit_everywhere(live: Live) -> None:
    """First the tenant is asked, then the data set; what is offered is the least that is left of both."""
    tenant = live.new(epsilon="4", delta="0").tenant
    admin = Registrar(live.client, tenant, live.token(tenant, ["admin"]))
    admin.register(epsilon="3")
    admin.allocate(epsilon="1.5", dataset_id="cohort")
    by_dataset = assert_problem(admin.allocate(epsilon="2", dataset_id="cohort"), 402, "budget_exhausted")
    assert by_dataset["scope"] == "data set cohort"
    assert (by_dataset["remaining_budget"], by_dataset["largest_charge"]["epsilon"]) == (1.5, "1.5")
    assert "The data set cohort budget does not hold this charge" in by_dataset["detail"]
    by_tenant = assert_problem(admin.allocate(epsilon="3", dataset_id="cohort"), 402, "budget_exhausted")
    assert by_tenant["scope"] == "tenant lifetime"
    assert (by_tenant["remaining_budget"], by_tenant["largest_charge"]["epsilon"]) == (2.5, "1.5")
    assert admin.allocate(epsilon="1.5", dataset_id="cohort").status_code == 200
    admin.allocate(epsilon="0.75")
    both_low = assert_problem(admin.allocate(epsilon="0.5", dataset_id="cohort"), 402, "budget_exhausted")
    assert (both_low["scope"], both_low["largest_charge"]["epsilon"]) == ("tenant lifetime", "0")


def test_a_refusal_by_one_scope_charges_none(cohort: Registrar) -> None:
    """All scopes or none."""
    cohort.allocate(epsilon="1.5", dataset_id="cohort")
    before, left = cohort.state(), cohort.left()
    assert_problem(cohort.allocate(epsilon="1.75", dataset_id="cohort"), 402, "budget_exhausted")
    assert (cohort.state(), cohort.left()) == (before, left)


def test_events_for_other_neighbours_or_units_are_refused(admin: Registrar) -> None:
    """An event that says nothing takes over what is registered; one that contradicts it is not charged."""
    admin.register(delta="0.0001", **HOSPITALS)
    laplace = {"kind": "laplace", "scale": 10, "sensitivity": 1}
    for more in ({}, {"unit": "patient"}, {"adjacency": "add_remove"}):
        assert admin.allocate(event=laplace | more, dataset_id="cohort").status_code == 200
    for more, said in (({"unit": "visit"}, "visit"), ({"adjacency": "replace_one"}, "replace_one")):
        refused = admin.allocate(event=laplace | more, dataset_id="cohort")
        assert said in assert_problem(refused, 422, "invalid_request", "event")["detail"]


def test_a_sample_of_fixed_size_is_of_the_whole_data_set(admin: Registrar) -> None:
    """A unit that moves changes two populations, so a partition has none that all neighbours share."""
    admin.register(epsilon="8", delta="0.0001", adjacency="replace_one", **HOSPITALS)
    event = {"kind": "fixed_size_gaussian", "sigma": 20, "sensitivity": 1, "sample_size": 10, "population": 1000}
    asked = {"event": event, "delta": "0.000001", "dataset_id": "cohort"}
    refused = admin.allocate(**asked, partition="north")
    assert "fixed size" in assert_problem(refused, 422, "invalid_request", "event")["detail"]
    repeated = {"kind": "self_composed", "event": event, "count": 3}
    assert_problem(admin.allocate(**(asked | {"event": repeated}), partition="north"), 422, "invalid_request", "event")
    assert admin.allocate(**asked).status_code == 200


def test_a_batch_charges_each_item_in_its_own_scopes(cohort: Registrar) -> None:
    """One unknown data set or exhausted partition refuses its own item alone."""
    items = [
        {"job_id": new_name("job"), "epsilon": "2", "dataset_id": "cohort", "partition": "north"},
        {"job_id": new_name("job"), "epsilon": "2", "dataset_id": "cohort", "partition": "north"},
        {"job_id": new_name("job"), "epsilon": "2", "dataset_id": "cohort", "partition": "south"},
        {"job_id": new_name("job"), "epsilon": "1", "dataset_id": "nothing"},
        {"job_id": new_name("job"), "epsilon": "1"},
    ]
    results = cohort.post(BATCH, json={"allocations": items}).json()["results"]
    assert [result["status_code"] for result in results] == [200, 402, 200, 404, 200]
    assert results[2]["allocation"]["dataset"]["exact"]["remaining_epsilon"] == "1"
    assert results[3]["problem"]["field"] == "dataset_id"


def test_requests_at_once_never_overspend_a_data_set(live: Live, cohort: Registrar) -> None:
    """Sixteen engines on two partitions and the whole: what is admitted fits everybody's budget."""
    parts = ["north", "south", None, "north"] * 6

    def ask(part: str | None) -> int:
        scope = {"dataset_id": "cohort"} | ({"partition": part} if part else {})
        return cohort.allocate(epsilon="0.25", **scope).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, parts))
    spent = {
        part: Decimal("0.25") * sum(status == 200 for status, of in zip(statuses, parts, strict=True) if of == part)
        for part in ("north", "south", None)
    }
    assert spent[None] + max(spent["north"], spent["south"]) <= 3
    assert cohort.left("north") == str((3 - spent[None] - spent["north"]).normalize())
    assert set(statuses) <= {200, 402}


# What ends an allocation ends it in every scope.


def test_a_void_gives_back_in_every_scope(cohort: Registrar) -> None:
    """The answer tells what is left of the data set after it."""
    identity = cohort.allocate(epsilon="2", mode="reserve", dataset_id="cohort", partition="north").json()[
        "allocation_id"
    ]
    cohort.allocate(epsilon="0.5", dataset_id="cohort")
    assert cohort.left("north") == "0.5"
    voided = cohort.settle(identity, "void").json()
    assert voided["dataset"]["exact"]["remaining_epsilon"] == "2.5"
    assert (cohort.left("north"), cohort.state().spent) == ("2.5", "0.5")


def test_a_partial_commit_gives_back_in_every_scope(cohort: Registrar) -> None:
    """By each scope's own filters."""
    event = {"kind": "self_composed", "event": {"kind": "laplace", "scale": 10, "sensitivity": 1}, "count": 10}
    held = cohort.allocate(event=event, mode="reserve", dataset_id="cohort").json()
    assert cohort.left() == "2"
    assert cohort.settle(held["allocation_id"], "commit", steps=4).status_code == 200
    assert (cohort.left(), cohort.state().spent) == ("2.6", "0.4")


# Through the service's other doors.


def test_a_release_is_charged_to_its_data_set(cohort: Registrar) -> None:
    """The mechanism's charge goes where the caller says; an unknown data set is told before any noise is drawn."""
    release = {"mechanism": "laplace", "epsilon": "1", "sensitivity": 1, "data": [3], "job_id": "j"}
    assert cohort.apply(**release, dataset_id="cohort", partition="north").status_code == 200
    assert (cohort.left("north"), cohort.left("south"), cohort.state().spent) == ("2", "3", "1")
    assert_problem(cohort.apply(**release, dataset_id="nothing"), 404, "not_found", "dataset_id")
    assert_problem(cohort.apply(**release, partition="north"), 422, "invalid_request", "partition")
    assert cohort.state().spent == "1"


def test_a_plan_is_set_against_the_data_set_and_held_there(cohort: Registrar) -> None:
    """Feasible only where every scope holds it, and what would be left is the least of both."""
    event = {"kind": "self_composed", "event": {"kind": "laplace", "scale": 1, "sensitivity": 1}, "count": 2}
    plan = {"name": "p", "event": event, "delta": 0, "dataset_id": "cohort", "partition": "north"}
    fits = cohort.post(PLAN, json=plan | {"hold": True, "job_id": "j"}).json()
    assert (fits["is_feasible"], fits["exact"]["remaining_epsilon_after"]) == (True, "1")
    assert fits["hold"]["dataset"]["exact"]["remaining_epsilon"] == "1"
    missing = cohort.post(PLAN, json=plan).json()
    assert missing["is_feasible"] is False
    assert "data set cohort, partition north budget" in missing["feasibility_basis"]
    other = cohort.post(PLAN, json=plan | {"partition": "south"}).json()
    assert other["is_feasible"] is True
    for wrong, status, code, field in (
        ({"dataset_id": "nothing"}, 404, "not_found", "dataset_id"),
        ({"dataset_id": "a\x00b"}, 422, "invalid_request", "dataset_id"),
        ({"partition": "west"}, 422, "invalid_request", "partition"),
        ({"dataset_id": None}, 422, "invalid_request", "partition"),
        ({"event": event | {"adjacency": "replace_one"}}, 422, "invalid_request", "event"),
    ):
        assert_problem(cohort.post(PLAN, json=plan | wrong), status, code, field)
