"""How the service reaches a database."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """With which logins the service connects.

    Attributes:
        service: A member of ``prv_service``: all that serves requests.
        recorder: A member of ``prv_recorder``: the log alone.
    """

    service: str
    recorder: str
