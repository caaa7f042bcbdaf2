"""What is stored of work under holds, and of files of rows; what it means is `deployments.training`'s."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task and the last of its states.

    Attributes:
        tenant_id: Whose.
        task_id: The id of its hold.
        body: What is to be done: the text whose digest the hold has.
        number: The last state's number; 0 where there is none yet.
        state: That state, as JSON; None likewise.
        created_at: When the hold was made.
        changed_at: When the last state was stored.
    """

    tenant_id: str
    task_id: str
    body: str
    number: int
    state: str | None
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class StoredState:
    """One state of a task."""

    number: int
    state: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known of a file of rows; a newer version takes the place of an older one."""

    dataset_id: str
    version: int
    body: str
