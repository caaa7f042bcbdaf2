"""What an order of a training gets that cannot be carried out: it is told why, nothing is held, nothing is stored."""

from typing import Any

import pytest

from tests.support import Caller, Live, assert_problem, new_name
from tests.training_orders import (
    COLUMNS,
    DATASETS,
    JOBS,
    MARGINAL,
    MLP,
    ROWS,
    TVAE,
    declare,
    ended,
    new_owner,
    path_of,
    refused,
    rows_of,
    store,
)


@pytest.fixture(scope="module")
def owner(live: Live) -> tuple[Caller, str]:
    """An engine whose data set has its rows stored. What is refused changes nothing, so all tests here may share it."""
    return new_owner(live)


# Orders.


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "pate-gan"}, "kind"),
        ({"source_engine": "weather"}, "source_engine"),
        ({"epsilon": "1"}, "epsilon"),
        ({"target": None}, "target"),
        ({"target": "income"}, "target"),
        ({"target_epsilon": None}, "target_epsilon"),
        ({"target_epsilon": "0"}, "target_epsilon"),
        ({"target_epsilon": "-1"}, "target_epsilon"),
        ({"target_epsilon": "NaN"}, "target_epsilon"),
        ({"target_epsilon": "Infinity"}, "target_epsilon"),
        ({"target_epsilon": "1e9"}, "target_epsilon"),
        ({"target_delta": "0"}, "target_delta"),
        ({"target_delta": "-0.00001"}, "target_delta"),
        ({"target_delta": "NaN"}, "target_delta"),
        ({"target_delta": "0.005"}, "target_delta"),
        ({"target_delta": "1"}, "target_delta"),
        ({**MARGINAL, "target_delta": "0.005"}, "target_delta"),
        ({**MARGINAL, "target_delta": "0"}, "target_delta"),
        ({**TVAE, "target_delta": "0"}, "target_delta"),
        ({"epochs": 3}, "steps"),
        ({"steps": 0}, "steps"),
        ({"steps": -1}, "steps"),
        ({"steps": 1_000_000_000}, "steps"),
        ({"steps": None, "epochs": 0}, "epochs"),
        ({"steps": None, "epochs": "NaN"}, "epochs"),
        ({"steps": None, "epochs": "1e9"}, "epochs"),
        ({"steps": None, "epochs": 1_000_000}, "steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": -1}, "batch_size"),
        ({"batch_size": ROWS + 1}, "batch_size"),
        ({"steps": None, "epochs": 1, "batch_size": 0}, "batch_size"),
        ({**TVAE, "batch_size": 0}, "batch_size"),
        ({**TVAE, "batch_size": ROWS + 1}, "batch_size"),
        ({"max_grad_norm": 0}, "max_grad_norm"),
        ({"max_grad_norm": "NaN"}, "max_grad_norm"),
        ({**TVAE, "max_grad_norm": 0}, "max_grad_norm"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": 1e9}, "learning_rate"),
        ({**TVAE, "learning_rate": -1}, "learning_rate"),
        ({"hidden": []}, "hidden"),
        ({"hidden": [0]}, "hidden"),
        ({"hidden": [10**9]}, "hidden"),
        ({"hidden": [8] * 9}, "hidden"),
        ({"hidden": [8192] * 8}, "hidden"),
        ({"kind": "logistic"}, "hidden"),
        ({**TVAE, "hidden": [8, 8]}, "hidden"),
        ({**TVAE, "hidden": []}, "hidden"),
        ({**TVAE, "hidden": [10**9]}, "hidden"),
        ({"num_rows": 100}, "num_rows"),
        ({**MARGINAL, "num_rows": 0}, "num_rows"),
        ({**MARGINAL, "num_rows": 10**9}, "num_rows"),
        ({**MARGINAL, "target": "a"}, "target"),
        ({**MARGINAL, "target": "income"}, "target"),
        ({**MARGINAL, "epochs": 3}, "epochs"),
        ({**TVAE, "target": "c"}, "target"),
        ({**TVAE, "steps": 3}, "steps"),
        ({**TVAE, "image": [1, 1, 2]}, "image"),
        ({"image": [1, 1, 2]}, "image"),
        ({"kind": "cnn", "hidden": [4]}, "image"),
        ({"kind": "cnn", "hidden": [4], "image": [1, 5, 5]}, "image"),
        ({"kind": "cnn", "hidden": [4], "image": [-1, -1, 2]}, "image"),
        ({"kind": "cnn", "hidden": [4, 4, 4], "image": [1, 1, 2]}, "hidden"),
        ({"module": "tests.brought_modules:Small"}, "module"),
        ({"kind": "module", "hidden": None}, "module"),
        ({"kind": "module", "hidden": None, "module": "os:system"}, "module"),
        ({"arguments": {"x": 1}}, "arguments"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"ttl_seconds": 31 * 86_400}, "ttl_seconds"),
        ({"job_id": "two\nlines"}, "job_id"),
        ({"job_id": ""}, "job_id"),
        ({"job_id": "x" * 300}, "job_id"),
        ({"purpose": "x" * 3_000}, "purpose"),
        ({"purpose": "a NUL \x00"}, "purpose"),
        ({"launch": "nobody"}, "launch"),
    ],
    ids=lambda given: str(given)[:60],
)
def test_an_order_that_cannot_be_carried_out_is_refused(
    owner: tuple[Caller, str], changes: dict[str, Any], field: str
) -> None:
    """By the field that is at fault; nothing is held and there is nothing to dispatch."""
    body = changes if changes.get("kind") in ("dp-marginal", "dp-tvae") else MLP | changes
    problem = refused(owner, body, field)
    assert "module 'torch" not in problem["detail"]


def test_more_than_one_operation_may_cost_is_refused(owner: tuple[Caller, str]) -> None:
    """As for any other charge."""
    refused(owner, {**MARGINAL, "target_epsilon": "2.5"}, "target_epsilon", code="operation_limit")


def test_rows_that_nobody_declared_or_stored_are_told_of(live: Live, owner: tuple[Caller, str]) -> None:
    """404, with what to send first."""
    unknown = refused(owner, {**MARGINAL, "dataset_id": new_name("unknown")}, "dataset_id", 404, "not_found")
    assert "columns" in unknown["detail"]
    name = new_name("declared")
    declare(owner[0], name)
    empty = refused(owner, {**MARGINAL, "dataset_id": name}, "dataset_id", 404, "not_found")
    assert "rows" in empty["detail"]


def test_too_few_rows_for_marginals_are_told_of(live: Live) -> None:
    """Noise would be most of what is measured."""
    caller, name = live.new(), new_name("few")
    declare(caller, name)
    assert store(caller, name, rows_of(20)).status_code == 200
    caller.budget()
    refused((caller, name), MARGINAL, "records")


def test_too_little_budget_is_told_before_a_byte_is_read(live: Live) -> None:
    """402 for rows whose file does not even exist any more."""
    caller, name = live.new(epsilon="0.5"), new_name("gone")
    declare(caller, name)
    assert store(caller, name, rows_of()).status_code == 200
    path_of(live, caller, name).unlink()
    refused((caller, name), MARGINAL, None, 402, "budget_exhausted")


@pytest.mark.parametrize("body", ["", "[]", "null", "{", '{"kind": NaN}', '{"target_epsilon": NaN}'])
def test_a_body_that_is_no_order_is_refused(owner: tuple[Caller, str], body: str) -> None:
    """Told as what it is."""
    caller, _ = owner
    before = caller.state()
    assert_problem(caller.post(JOBS, content=body), 422, "invalid_request", "body")
    assert caller.state() == before


def test_a_body_that_is_too_large_is_refused(owner: tuple[Caller, str]) -> None:
    """413, whatever is in it."""
    caller, _ = owner
    assert_problem(caller.post(JOBS, content=b" " * (5 * 1024 * 1024)), 413, "too_large")


def test_an_order_that_is_too_long_to_be_kept_is_refused(owner: tuple[Caller, str]) -> None:
    """What is to be done is stored with the hold, which bounds it."""
    body = {"kind": "module", "hidden": None, "module": "tests.brought_modules:Small", "arguments": {"x": "y" * 30_000}}
    refused(owner, MLP | body, "arguments")


def test_names_beyond_ascii_are_names(live: Live, owner: tuple[Caller, str]) -> None:
    """A job may be called as people write."""
    caller, name = owner
    body = {**MARGINAL, "target_epsilon": "0.1", "dataset_id": name, "job_id": "Prüfung \U0001f600", "launch": "caller"}
    response = caller.post(JOBS, json=body)
    assert response.status_code == 202, response.text
    again = caller.post(JOBS, json=body)
    assert again.json()["id"] == response.json()["id"]
    assert caller.request("DELETE", f"{JOBS}/{response.json()['id']}").status_code == 202


# Rows.


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("", "body"),
        ("a,b,c", "rows"),
        ("a,b\n0.1,0.2", "c"),
        ("a,b,c\nNaN,0.2,yes", "a[0]"),
        ("a,b,c\n0.1,0.2,yes\n,0.2,yes", "a[1]"),
        ("a,b,c\n0.1,1.5,yes", "b[0]"),
        ("a,b,c\n0.1,-0.1,yes", "b[0]"),
        ("a,b,c\n0.1,inf,yes", "b[0]"),
        ("a,b,c\n0.1,much,yes", "b[0]"),
        ("a,b,c\n0.1,0.2", "rows[0]"),
        ("a,a,b,c\n0.1,0.1,0.2,yes", "a"),
        (b"a,b,c\n0.1,0.2,\xff\xfe", "path"),
    ],
)
def test_rows_that_do_not_fit_their_columns_are_not_kept(
    live: Live, owner: tuple[Caller, str], content: str, field: str
) -> None:
    """Told by column and row, never by value; what was stored before stays."""
    caller, name = owner
    known = caller.get(f"{DATASETS}/{name}").json()
    kept = sorted(live.service.settings.files_folder.rglob("*.csv"))
    problem = assert_problem(store(caller, name, content), 422, "invalid_request", field)
    for value in ("1.5", "much", "0.2"):
        assert value not in problem["detail"]
    assert caller.get(f"{DATASETS}/{name}").json() == known
    assert sorted(live.service.settings.files_folder.rglob("*.csv")) == kept


def test_rows_in_another_form_are_refused(owner: tuple[Caller, str]) -> None:
    """What is no CSV and no Parquet by its header, or no Parquet by its bytes."""
    caller, name = owner
    assert_problem(store(caller, name, rows_of(), "application/json"), 422, "invalid_request", "Content-Type")
    parquet = store(caller, name, rows_of(), "application/vnd.apache.parquet")
    assert_problem(parquet, 422, "invalid_request", "path")


def test_rows_of_which_nothing_was_declared_are_refused(owner: tuple[Caller, str]) -> None:
    """404, with what to send first."""
    assert_problem(store(owner[0], new_name("unknown"), rows_of()), 404, "not_found", "dataset_id")


def test_more_rows_than_are_taken_over_http_are_refused(
    owner: tuple[Caller, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """413, before they are looked at."""
    monkeypatch.setattr("serve_app.routes.files.MAX_FILE", 1_000)
    assert_problem(store(*owner, rows_of()), 413, "too_large")


def test_a_category_that_was_not_declared_is_taken_as_everything_else(live: Live) -> None:
    """As the schema has it: OTHER."""
    caller, name = live.new(), new_name("unseen")
    declare(caller, name)
    assert store(caller, name, "a,b,c\n0.1,0.2,perhaps\n0.1,0.2,yes").json()["rows"] == 2


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ([], "columns"),
        ([{"kind": "text", "name": "a"}], "columns[0].kind"),
        ([{"kind": "number", "name": "a", "edges": [1, 0]}], "columns[0].edges[1]"),
        ([*COLUMNS, COLUMNS[0]], "columns[3].name"),
        (
            [{"kind": "category", "name": f"c{n}", "values": [f"{'v' * 90}{m}" for m in range(900)]} for n in range(3)],
            "columns",
        ),
    ],
    ids=["none", "kind", "edges", "twice", "too long"],
)
def test_columns_that_are_none_are_refused(owner: tuple[Caller, str], columns: list[Any], field: str) -> None:
    """By their place. What is longer than a training's document may be is refused here, not when it is ordered."""
    caller, name = owner
    known = caller.get(f"{DATASETS}/{name}").json()
    response = caller.request("PUT", f"{DATASETS}/{name}", json={"columns": columns})
    assert_problem(response, 422, "invalid_request", field)
    assert caller.get(f"{DATASETS}/{name}").json() == known


# What happens to files between order and start.


def test_a_file_that_is_gone_before_the_start_was_not_read(live: Live) -> None:
    """The training fails, says so, and its hold is voided."""
    caller, name = live.new(), new_name("gone")
    declare(caller, name)
    assert store(caller, name, rows_of()).status_code == 200
    path_of(live, caller, name).unlink()
    free = caller.budget()["exact"]["used_epsilon"]
    response = caller.post(JOBS, json={**MARGINAL, "dataset_id": name})
    assert response.status_code == 202, response.text
    done = ended(caller, response.json()["id"])
    assert (done["status"], done["settlement"], done["attempt"]) == ("failed", "voided", 1)
    assert "shared folder" in done["message"]
    assert caller.budget()["exact"]["used_epsilon"] == free


def test_a_file_that_has_changed_was_read_to_find_out(live: Live) -> None:
    """The training fails, and its hold is not voided: records were looked at. No checkpoint stays behind."""
    caller, name = live.new(), new_name("changed")
    declare(caller, name)
    assert store(caller, name, rows_of()).status_code == 200
    path_of(live, caller, name).write_text(rows_of())
    response = caller.post(JOBS, json={**MARGINAL, "dataset_id": name})
    held = caller.budget()["exact"]["used_epsilon"]
    done = ended(caller, response.json()["id"])
    assert (done["status"], done["settlement"], done["attempt"]) == ("failed", "committed", 1)
    assert "not what it was" in done["message"]
    assert caller.budget()["exact"]["used_epsilon"] == held
