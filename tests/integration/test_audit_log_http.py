"""The audit log over HTTP: every kind of refusal leaves a row, every administrator's change too, and floods fold."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from serve_app.cli.main import app as cli
from serve_app.service import PREFIX
from tests.support import PLAN, Caller, Live, assert_problem, new_name

AUDIT = f"{PREFIX}/audit"
NO_ALLOCATION = "00000000-0000-8000-8000-000000000000"


def rows(asking: Caller, **params: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """What the audit log says now, but for these questions themselves; the newest first."""
    response = asking.get(AUDIT, params={"limit": 1_000, **params})
    assert response.status_code == 200, response.text
    return [row for row in response.json()["records"] if row["action"] != "read_audit"]


def until(asking: Caller, found: Callable[[dict[str, Any]], bool], **params: Any) -> dict[str, Any]:  # noqa: ANN401
    """The row, once it is there: what is refused is written a moment after the answer."""
    for _ in range(1_000):
        for row in rows(asking, **params):
            if found(row):
                return row
        time.sleep(0.02)
    raise AssertionError("there is no such row")


@pytest.fixture
def auditor(live: Live) -> Caller:
    """Somebody who may see every tenant's rows."""
    return live.caller("*", "auditor")


@pytest.fixture
def admin(live: Live) -> Caller:
    """The administrator of a tenant with a budget."""
    return live.new("admin", epsilon="3")


Ask = Callable[[Caller], Any]
REFUSALS: dict[str, tuple[str, str, Ask]] = {
    "hot, by role": ("viewer", "allocate", lambda one: one.allocate(epsilon=1)),
    "hot, by tenant": ("engine", "allocate", lambda one: one.allocate(epsilon=1, tenant_id="another")),
    "hot, not valid": ("engine", "allocate", lambda one: one.allocate(epsilon=-1)),
    "by role": ("engine", "set_budget", lambda one: one.put_budget(epsilon=100)),
    "by tenant": ("viewer", "read_proofs", lambda one: one.get(f"{PREFIX}/proof/x", params={"tenant_id": "another"})),
    "not valid": ("admin", "set_budget", lambda one: one.put_budget(epsilon="x")),
    "not found": ("engine", "settle", lambda one: one.settle(NO_ALLOCATION, "void")),
    "release": ("viewer", "release", lambda one: one.apply(mechanism="laplace")),
    "plan": ("auditor", "plan", lambda one: one.post(PLAN, json={})),
    "training": ("viewer", "order_training", lambda one: one.post(f"{PREFIX}/training/jobs", json={})),
    "log": ("task", "read_log", lambda one: one.get(f"{PREFIX}/log/head")),
    "picture": ("task", "read_loss", lambda one: one.get(f"{PREFIX}/loss/visualize")),
}


def test_every_kind_of_refusal_leaves_a_row(live: Live) -> None:
    """Who, what, why and under which id; on each app and on the hot path."""
    asked = []
    for refusal, (role, action, ask) in REFUSALS.items():
        tenant = live.new(epsilon="3").tenant
        asked.append((refusal, tenant, action, ask(live.caller(tenant, role, subject="ann"))))
    for refusal, tenant, action, response in asked:
        assert 400 <= response.status_code < 500, (refusal, response.text)
        row = until(live.caller(tenant, "admin"), lambda row: row["actor"] == "ann")
        del row["id"], row["at"]
        assert row == {
            "actor": "ann",
            "tenant_id": tenant,
            "action": action,
            "target": f"{response.request.method} {response.request.url.path}",
            "outcome": response.json()["code"],
            "status": response.status_code,
            "request_id": response.headers["x-request-id"],
            "count": 1,
        }, refusal


def test_a_refused_item_of_a_batch_leaves_a_row(live: Live, admin: Caller) -> None:
    """Though the batch itself is answered 200."""
    engine = live.caller(admin.tenant, "engine", subject="bob")
    items = [{"job_id": "a", "epsilon": 1}, {"job_id": "b", "epsilon": 1, "tenant_id": "another"}]
    response = engine.post(f"{PREFIX}/budget/allocate:batch", json={"allocations": items})
    assert [item["status_code"] for item in response.json()["results"]] == [200, 403]
    row = until(admin, lambda row: row["actor"] == "bob")
    assert (row["outcome"], row["status"]) == ("forbidden", 403)


@pytest.mark.parametrize("path", ["/budget/allocate", "/mechanism/apply"])
def test_a_bad_token_leaves_a_row_without_the_token(live: Live, auditor: Caller, path: str) -> None:
    """Nor anything else that its bearer wrote; the row belongs to no tenant, and only an auditor of all sees it."""
    tenant, named = new_name("tenant"), new_name("request")
    token = live.token(tenant, ["admin"], lifetime_seconds=-60)
    stranger = live.stranger(tenant, token)
    response = stranger.post(PREFIX + path, headers={"X-Request-ID": named}, json={"job_id": "secret"})
    assert_problem(response, 401, "unauthenticated")
    row = until(auditor, lambda row: row["outcome"] == "unauthenticated" and row["request_id"] == named)
    assert (row["actor"], row["tenant_id"], row["target"]) == (None, None, None)
    assert token.split(".")[2] not in str(row)
    assert all(seen["request_id"] != named for seen in rows(live.caller(tenant, "admin")))


def test_one_tenant_never_sees_anothers(live: Live, admin: Caller) -> None:
    """Neither by asking nor by naming; an auditor of all sees each, and all."""
    other = live.new("admin", epsilon="3")
    theirs = until(other, lambda row: row["action"] == "set_budget")
    assert {row["tenant_id"] for row in rows(admin)} == {admin.tenant}
    assert_problem(admin.get(AUDIT, params={"tenant_id": other.tenant}), 403, "forbidden")
    assert_problem(live.caller("*", "engine", "admin").get(AUDIT), 403, "forbidden")
    auditor = live.caller("*", "auditor")
    assert theirs in rows(auditor, tenant_id=other.tenant)
    assert {admin.tenant, other.tenant} <= {row["tenant_id"] for row in rows(auditor)}


@pytest.mark.parametrize("role", ["engine", "analyst", "viewer", "task"])
def test_only_administrators_and_auditors_read_it(live: Live, role: str) -> None:
    """It tells of everybody's doings."""
    assert_problem(live.new(role).get(AUDIT), 403, "forbidden")


def test_an_administrators_change_is_written_before_the_answer(live: Live) -> None:
    """So it is there as soon as the change is known to be."""
    admin = live.new("admin")
    path = f"{PREFIX}/budget/{admin.tenant}"
    dataset = {"privacy_unit": "person", "adjacency": "add_remove", "epsilon": "1", "delta": "0"}
    for place, body in (
        ("", {"epsilon": "3", "delta": "0.00001"}),
        ("/datasets/people", dataset),
        ("/legal-hold", {"in_force": True, "reason": "a case"}),
    ):
        before = len(rows(admin))
        response = admin.request("PUT", path + place, json=body)
        assert response.status_code == 200, response.text
        newest, *others = rows(admin)
        assert len(others) == before
        assert (newest["outcome"], newest["status"]) == ("done", 200)
        assert newest["target"] == f"PUT {response.request.url.path}"
        assert newest["request_id"] == response.headers["x-request-id"]


def test_reads_of_what_is_confidential_leave_a_row(live: Live, admin: Caller) -> None:
    """Proofs, refusals, and the audit log itself."""
    engine = live.caller(admin.tenant, "engine")
    assert engine.allocate(job_id="job", epsilon=1).status_code == 200
    reader = live.caller(admin.tenant, "auditor", subject="eve")
    for path in (f"{PREFIX}/proof/job", f"{PREFIX}/budget/{admin.tenant}/denials", AUDIT):
        assert reader.get(path).status_code == 200

    def actions() -> set[str]:
        found = admin.get(AUDIT, params={"limit": 1_000}).json()["records"]
        return {row["action"] for row in found if row["actor"] == "eve" and row["outcome"] == "done"}

    for _ in range(500):
        if actions() == {"read_proofs", "read_denials", "read_audit"}:
            return
        time.sleep(0.02)
    raise AssertionError(actions())


def test_what_the_ledger_says_is_not_said_again(live: Live, admin: Caller) -> None:
    """An admitted allocation has its actor in the ledger, a charge that does not fit is among the refused charges."""
    engine = live.caller(admin.tenant, "engine", subject="quiet")
    assert engine.allocate(epsilon=1).status_code == 200
    held = engine.allocate(epsilon="0.5", mode="reserve").json()
    assert engine.settle(held["allocation_id"], "void").status_code == 200
    assert engine.allocate(epsilon="2.5").status_code == 402
    assert engine.apply(mechanism="laplace", epsilon=1, sensitivity=1, data=1).status_code == 200
    assert engine.get(f"{PREFIX}/proof/nothing").status_code == 404
    # Deeds are written in their order, so what came before the last one would be there too.
    until(admin, lambda row: row["actor"] == "quiet" and row["action"] == "read_proofs")
    until(live.caller(admin.tenant, "admin"), lambda row: row["actor"] == "quiet")
    assert {row["action"] for row in rows(admin) if row["actor"] == "quiet"} == {"read_proofs"}


def test_a_flood_folds(live: Live, admin: Caller) -> None:
    """Equal refusals within a moment are one row that counts them, and none is lost."""
    viewer = live.caller(admin.tenant, "viewer", subject="flood")
    for _ in range(200):
        assert viewer.allocate(epsilon=1).status_code == 403

    def counted() -> list[int]:
        return [row["count"] for row in rows(admin) if row["actor"] == "flood"]

    for _ in range(1_000):
        if sum(counted()) == 200:
            break
        time.sleep(0.02)
    assert sum(counted()) == 200
    assert len(counted()) < 50


def test_pages_follow_each_other(live: Live, admin: Caller) -> None:
    """Newest first, without gap or repetition, to the end."""
    for epsilon in ("4", "5", "6"):
        assert admin.put_budget(epsilon=epsilon, delta="0.00001").status_code == 200
    whole = [row["id"] for row in rows(admin)]
    assert whole == sorted(whole, reverse=True)
    assert len(whole) == 4
    seen: list[int] = []
    after = whole[0] + 1
    while True:
        page = admin.get(AUDIT, params={"limit": 2, "after": after}).json()
        seen += [row["id"] for row in page["records"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == whole


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 1_001}, {"after": 0}, {"after": "x"}, {"tenant_id": "a b"}])
def test_what_cannot_be_asked_is_refused(auditor: Caller, params: dict[str, Any]) -> None:
    """With the field."""
    assert_problem(auditor.get(AUDIT, params=params), 422, "invalid_request", next(iter(params)))


def test_the_command_shows_it(live: Live, admin: Caller) -> None:
    """As a table, and as JSON; of a tenant, and of all."""
    address = ["--url", live.service.settings.base_url]
    told = CliRunner().invoke(cli, ["audit-log", *address, "--token", str(admin.token)])
    assert told.exit_code == 0, told.output
    assert "set_budget" in told.output
    token = live.token("*", ["auditor"])
    told = CliRunner().invoke(cli, ["audit-log", "--all-tenants", "--limit", "1", "--json", *address, "--token", token])
    assert told.exit_code == 0, told.output
    assert '"records"' in told.output
    told = CliRunner().invoke(cli, ["audit-log", "--all-tenants", "--tenant", "t", *address])
    assert told.exit_code == 2
