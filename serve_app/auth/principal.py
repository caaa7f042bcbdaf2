"""Who is asking, and for whom they may speak."""

from dataclasses import dataclass
from enum import StrEnum

from serve_app.problems import Code, Problem

ANY_TENANT = "*"
TASK_KEEPER = "privacy-engine-tasks"
"""The subject that alone ends the holds of tasks."""


class Role(StrEnum):
    """What a token may do."""

    ADMIN = "admin"
    ENGINE = "engine"
    ANALYST = "analyst"
    VIEWER = "viewer"
    AUDITOR = "auditor"
    TASK = "task"
    """One task's process, which reports on that task and does nothing else. The service gives it its token."""


SPENDERS = frozenset({Role.ADMIN, Role.ENGINE, Role.ANALYST})
"""Who may charge a budget."""
READERS = frozenset(Role) - {Role.TASK}
"""Who may look at a tenant's budget, proofs and pictures."""
AUDITORS = frozenset({Role.AUDITOR})
"""Who may look at all tenants' entries, with a token for any tenant."""
ADMINS = frozenset({Role.ADMIN})
"""Who may create or raise a budget."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A verified token.

    Attributes:
        subject: Who.
        tenant_id: For which tenant; `ANY_TENANT` for a platform engine's service token, and for an auditor of all.
        roles: With which roles.
        engine: Which engine it is, where it is one.
        expires_at: Unix time after which the token is no longer valid.
    """

    subject: str
    tenant_id: str
    roles: frozenset[Role]
    engine: str | None
    expires_at: float

    def require(self, allowed: frozenset[Role]) -> None:
        """Refuses a token without any of the roles.

        Raises:
            Problem: `Code.FORBIDDEN`.
        """
        if self.roles.isdisjoint(allowed):
            needed = ", ".join(sorted(allowed))
            raise Problem(Code.FORBIDDEN, f"This needs a token with one of the roles: {needed}.")

    def tenant(self, named: str | None, *, engine_call: bool = False) -> str:
        """The tenant to act for, given the one that the request names, if it names one.

        Args:
            named: Tenant in the path or body.
            engine_call: Whether a platform engine's service token may speak for the tenant named.

        Raises:
            Problem: `Code.FORBIDDEN` if the token is another tenant's; `Code.INVALID_REQUEST` if none is named.
        """
        if self.tenant_id != ANY_TENANT:
            if named is not None and named != self.tenant_id:
                raise Problem(Code.FORBIDDEN, "The token belongs to another tenant than the one that is named.")
            return self.tenant_id
        if not engine_call or Role.ENGINE not in self.roles:
            raise Problem(Code.FORBIDDEN, "A service token speaks for tenants on the engine calls alone.")
        if named is None:
            raise Problem(
                Code.INVALID_REQUEST, "tenant_id: is missing: a service token has to name one", {"field": "tenant_id"}
            )
        return named

    def watched(self, named: str | None) -> str | None:
        """Whose entries in the log to show, given the tenant that the request names, if it names one.

        Returns:
            The tenant; None for all tenants, which only an auditor with a token for any tenant may see.

        Raises:
            Problem: `Code.FORBIDDEN` if the token does not allow it.
        """
        self.require(READERS)
        if self.tenant_id != ANY_TENANT:
            return self.tenant(named)
        if self.roles.isdisjoint(AUDITORS):
            raise Problem(Code.FORBIDDEN, "Of the tokens for any tenant, only an auditor's reads the log.")
        return named
