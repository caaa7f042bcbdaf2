"""The table of who may do what: whole, as the document says it, and what every decision goes by."""

from pathlib import Path

import pytest

from serve_app.auth.policy import RULES, Action, Role, actions_of, document
from serve_app.auth.principal import ANY_TENANT, Principal
from serve_app.problems import Code, Problem

DOCUMENT = Path(__file__).parents[2] / "docs" / "roles.md"


def asker(*roles: Role, tenant: str = "t") -> Principal:
    """Somebody with these roles."""
    return Principal("somebody", tenant, frozenset(roles), None, float("inf"))


def refused(asking: Principal, named: str | None, action: Action) -> Code:
    """With which code a tenant is refused."""
    with pytest.raises(Problem) as problem:
        asking.tenant(named, action)
    return problem.value.code


def test_every_action_has_a_rule() -> None:
    """The table has a row for each action, in the same order, so none is decided elsewhere."""
    assert list(RULES) == list(Action)


def test_the_document_is_the_generated_one() -> None:
    """What people read is what the service decides by; `python -m serve_app.auth.policy` writes it."""
    assert DOCUMENT.read_text(encoding="utf-8") == document()


def test_a_task_may_work_on_its_training_and_nothing_else() -> None:
    """The token in a task's process is good for nothing that its training does not need."""
    assert actions_of(frozenset({Role.TASK})) == [Action.WORK_ON_TRAINING]


def test_whoever_may_speak_for_any_tenant_may_do_the_action_at_all() -> None:
    """The column for any tenant widens whom an action is for, never who may do it."""
    assert all(rule.across <= rule.roles for rule in RULES.values())


@pytest.mark.parametrize("action", Action)
def test_a_role_may_do_what_its_row_says_and_is_told_otherwise(action: Action) -> None:
    """A refusal names the action and the roles that may."""
    for role in RULES[action].roles:
        asker(role).may(action)
    for role in set(Role) - RULES[action].roles:
        with pytest.raises(Problem) as problem:
            asker(role).may(action)
        assert problem.value.code is Code.FORBIDDEN
        assert problem.value.extra == {"action": action.value, "roles": sorted(RULES[action].roles)}
        assert action in problem.value.detail


@pytest.mark.parametrize("action", Action)
def test_a_tenants_token_is_good_for_that_tenant_alone(action: Action) -> None:
    """Whatever the action and with all roles together."""
    asking = asker(*Role)
    assert asking.tenant(None, action) == asking.tenant("t", action) == asking.tenant_or_all(None, action) == "t"
    assert refused(asking, "other", action) is Code.FORBIDDEN


@pytest.mark.parametrize("action", Action)
def test_a_token_for_any_tenant_is_good_where_the_table_says(action: Action) -> None:
    """It has to name a tenant, and for other actions it is good for none."""
    for role in RULES[action].across:
        asking = asker(role, tenant=ANY_TENANT)
        assert asking.tenant("named", action) == "named"
        assert asking.tenant_or_all(None, action) is None
        assert refused(asking, None, action) is Code.INVALID_REQUEST
    for role in set(Role) - RULES[action].across:
        asking = asker(role, tenant=ANY_TENANT)
        assert refused(asking, "named", action) is Code.FORBIDDEN
        with pytest.raises(Problem):
            asking.tenant_or_all(None, action)
