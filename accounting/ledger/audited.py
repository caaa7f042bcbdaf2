"""What the audit log says: who did what, to what, and with which outcome."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that somebody did, or was refused.

    Attributes:
        tenant_id: Whose audit log it is in; ``*`` where no tenant was verified.
        actor: The token's subject; None where no token was verified.
        action: What was asked.
        target: The path that was asked for, if the asker is known.
        outcome: ``done``, or the code of the refusal.
        status: HTTP status.
    """

    tenant_id: str
    actor: str | None
    action: str
    target: str | None
    outcome: str
    status: int


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A row of the audit log.

    Attributes:
        deed: What happened.
        request_id: Of the first request that it counts, if that had one.
        count: How many equal ones it stands for.
        id: Its place among all rows; 0 before it is stored.
        at: When it was stored; None before that.
    """

    deed: Deed
    request_id: str | None
    count: int
    id: int = 0
    at: datetime | None = None
