"""Which requests leave a row in the audit log, and what it says: functions of who asked, for what, and the answer."""

import re
from dataclasses import dataclass

import structlog

from accounting.ledger.audited import Deed
from serve_app.auth.policy import RULES, Action, Kept
from serve_app.auth.principal import ANY_TENANT, Principal
from serve_app.identifiers import valid_name
from serve_app.problems import Code

ASKED = "privacy_engine.asked"
"""Where the ASGI scope has what is asked."""
DONE = "done"
DENIED = frozenset({Code.BUDGET_EXHAUSTED, Code.OPERATION_LIMIT, Code.IDEMPOTENCY_MISMATCH})
"""Charges that were refused: the ledger's own list of refusals has them."""
MAX_TARGET = 255
_PLAIN = re.compile(r"[A-Za-z0-9._:-]{0,128}\Z")
HIDDEN = "~"


@dataclass(slots=True)
class Asked:
    """What is known of a request while it is answered.

    Attributes:
        action: What is asked; None until its route is found.
        principal: Who asks; None until the token is verified.
        named: The tenant in its path or query, if it can be one.
    """

    action: Action | None = None
    principal: Principal | None = None
    named: str | None = None


def kept(asked: Asked, outcome: str) -> Kept:
    """Whether a request leaves a row.

    Args:
        asked: The request.
        outcome: `DONE`, or the code of the refusal.
    """
    if asked.action is None or outcome in DENIED:
        return Kept.NO
    return RULES[asked.action].kept if outcome == DONE else Kept.AFTER


def deed_of(asked: Asked, method: str, path: str, outcome: str, status: int) -> Deed:
    """What the row says.

    It belongs to the token's tenant, whatever tenant was named; that of a token for any tenant to the one in the path
    or query, if there is one. Where nobody was verified, nothing that the asker wrote is kept.
    """
    assert asked.action is not None
    who = asked.principal
    if who is None:
        return Deed(ANY_TENANT, None, asked.action, None, outcome, status)
    tenant = who.tenant_id
    if tenant == ANY_TENANT and asked.named is not None and valid_name(asked.named):
        tenant = asked.named
    return Deed(tenant, who.subject, asked.action, target_of(method, path), outcome, status)


def target_of(method: str, path: str) -> str:
    """What was asked for. A part of the path that is no plain name is hidden: it may be somebody's own."""
    parts = [part if _PLAIN.match(part) else HIDDEN for part in path.split("/")]
    return f"{method} {'/'.join(parts)}"[:MAX_TARGET]


def present_request_id() -> str | None:
    """The id of the request that is being answered, where it has one."""
    found = structlog.contextvars.get_contextvars().get("request_id")
    return found if isinstance(found, str) and valid_name(found) else None
