"""Every route there is, asked by every role: 403 exactly where the table says so."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from serve_app.auth.policy import RULES, Action, Role, actions_of
from serve_app.service import PREFIX
from tests.support import Live, assert_problem, new_name

OPEN = ("/health/", "/.well-known/", "/openapi.json")


@dataclass(frozen=True)
class Operation:
    """A method and path of the interface's own description, with what it says of who may."""

    method: str
    path: str
    said: dict[str, Any]

    def answer(self, live: Live, token: str, tenant: str) -> tuple[int, dict[str, Any]]:
        """Status and body of an empty request; of a stream only that it began."""
        path = re.sub(r"{[^}]*}", "something", self.path.replace("{tenant_id}", tenant))
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = None if self.method in ("GET", "DELETE") else b"{}"
        with live.client.stream(self.method, path, headers=headers, content=body) as response:
            if response.headers["content-type"] != "application/problem+json":
                return response.status_code, {}
            response.read()
            return response.status_code, response.json()


def operations(live: Live) -> Iterator[Operation]:
    """All that are not open to everybody."""
    for path, described in live.client.get("/openapi.json").json()["paths"].items():
        if not path.startswith(OPEN):
            for method, said in described.items():
                yield Operation(method.upper(), path, said)


def test_every_route_says_who_may_as_the_table_does(live: Live) -> None:
    """Its action and roles stand in the document, and no action of the table is without a route."""
    said = {operation.said["x-action"]: operation.said["x-roles"] for operation in operations(live)}
    assert said == {action.value: sorted(rule.roles) for action, rule in RULES.items()}


@pytest.mark.parametrize("role", Role)
def test_a_route_refuses_a_role_exactly_where_the_table_does(live: Live, role: Role) -> None:
    """Before it looks at what was sent: the bodies here are all empty."""
    tenant = new_name("tenant")
    token = live.token(tenant, [role])
    for operation in operations(live):
        status, told = operation.answer(live, token, tenant)
        where = f"{role}: {operation.method} {operation.path} answered {status} {told}"
        if role in operation.said["x-roles"]:
            assert "roles" not in told, where
            assert status < 500, where
        else:
            assert status == 403, where
            assert told["action"] == operation.said["x-action"], where
            assert told["roles"] == operation.said["x-roles"], where


@pytest.mark.parametrize("role", Role)
def test_a_token_for_any_tenant_is_good_exactly_where_the_table_says(live: Live, role: Role) -> None:
    """Where a tenant is in the path, so that nothing but the token can be wrong with it."""
    tenant = new_name("tenant")
    token = live.token("*", [role])
    asked = [one for one in operations(live) if "{tenant_id}" in one.path and one.method == "GET"]
    assert len(asked) >= 5
    for operation in asked:
        status, told = operation.answer(live, token, tenant)
        good = role in RULES[Action(operation.said["x-action"])].across
        assert (status == 403) is not good, f"{role}: {operation.method} {operation.path} answered {status} {told}"


def test_an_auditor_of_all_looks_and_opens_no_budget(live: Live) -> None:
    """A tenant's own first request opens its default budget; naming a tenant that nobody knows does not."""
    tenant = new_name("tenant")
    auditor = live.caller("*", "auditor")
    path = f"{PREFIX}/budget/{tenant}"
    assert_problem(auditor.get(path), 404, "unknown_tenant")
    owner = live.caller(tenant, "viewer")
    assert owner.get(path).status_code == 200
    seen = auditor.get(path)
    assert seen.status_code == 200
    assert seen.json() == owner.budget()


def test_one_may_ask_who_one_is(live: Live) -> None:
    """With what the token says, and what it may do."""
    tenant = new_name("tenant")
    asking = live.caller(tenant, "analyst", "viewer", engine="text", subject="ann")
    told = asking.get(f"{PREFIX}/access/me").json()
    assert told.pop("expires_at").endswith("Z")
    assert told == {
        "subject": "ann",
        "tenant_id": tenant,
        "roles": ["analyst", "viewer"],
        "engine": "text",
        "may": [action.value for action in actions_of(frozenset({Role.ANALYST, Role.VIEWER}))],
    }


def test_the_table_may_be_asked_for(live: Live) -> None:
    """Each role's actions, and a sentence for each action."""
    told = live.new("viewer").get(f"{PREFIX}/access/roles").json()
    assert told["roles"] == {role.value: actions_of(frozenset({role})) for role in Role}
    assert told["actions"] == {action.value: rule.sentence for action, rule in RULES.items()}
