"""Who is asking, and for whom they may speak."""

from dataclasses import dataclass

from serve_app.auth.policy import RULES, Action, Role
from serve_app.identifiers import NAME_RULE, valid_name
from serve_app.problems import Code, Problem, invalid

ANY_TENANT = "*"
TASK_KEEPER = "privacy-engine-tasks"
"""The subject that alone ends the holds of tasks."""
SWEEPER = "privacy-engine-sweeper"
"""The subject that ends holds whose time has passed."""
OWN_SUBJECTS = frozenset({TASK_KEEPER, SWEEPER})
"""Of the service itself: nobody else's token may carry them."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified token.

    Attributes:
        subject: Who.
        tenant_id: For which tenant; `ANY_TENANT` for a platform engine's service token, and for an auditor of all.
        roles: With which roles.
        engine: Which engine it is, where it is one.
        expires_at: Unix time after which the token is no longer valid.
        token_id: Tells tokens apart: a digest of what was signed.
    """

    subject: str
    tenant_id: str
    roles: frozenset[Role]
    engine: str | None
    expires_at: float
    token_id: str = ""

    def may(self, action: Action) -> None:
        """Refuses a token without any of the roles that may do it.

        Raises:
            Problem: `Code.FORBIDDEN`, which names the action and the roles.
        """
        allowed = RULES[action].roles
        if self.roles.isdisjoint(allowed):
            needed = sorted(allowed)
            detail = f"The action {action} needs a token with one of the roles: {', '.join(needed)}."
            raise Problem(Code.FORBIDDEN, detail, {"action": action.value, "roles": needed})

    def tenant(self, named: str | None, action: Action) -> str:
        """The tenant to act for, given the one that the request names, if it names one.

        Args:
            named: Tenant in the path, query or body.
            action: What is asked. The policy says whose token for any tenant is good for it.

        Raises:
            Problem: `Code.FORBIDDEN` if the token is another tenant's; `Code.INVALID_REQUEST` if none is named.
        """
        if self.tenant_id != ANY_TENANT:
            if named is not None and named != self.tenant_id:
                raise Problem(Code.FORBIDDEN, "The token belongs to another tenant than the one that is named.")
            return self.tenant_id
        self._check_across(action)
        if named is None:
            detail = "tenant_id: is missing: a token for any tenant has to name one"
            raise Problem(Code.INVALID_REQUEST, detail, {"field": "tenant_id"})
        if not valid_name(named):
            raise invalid("tenant_id", NAME_RULE)
        return named

    def tenant_or_all(self, named: str | None, action: Action) -> str | None:
        """As `tenant`, but a token for any tenant that names none asks for all of them: None."""
        if self.tenant_id == ANY_TENANT and named is None:
            self._check_across(action)
            return None
        return self.tenant(named, action)

    def _check_across(self, action: Action) -> None:
        across = RULES[action].across
        if self.roles.isdisjoint(across):
            whose = f"that of the role {', '.join(sorted(across))} alone" if across else "none"
            raise Problem(Code.FORBIDDEN, f"Of the tokens for any tenant, {whose} is good for the action {action}.")
