"""What is kept of signed heads: what the log was at certain sizes, and who said so.

`proofs.heads` makes and checks them; to the ledger they are a size, a root and a text.
"""

from dataclasses import dataclass
from typing import Protocol

from accounting.ledger.log import EntryLog


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A signed head as it was published.

    Attributes:
        size: How many entries the log had.
        root: The Merkle tree's root over them, 32 bytes.
        signed: The head in its signed form.
    """

    size: int
    root: bytes
    signed: str


class HeadStore(Protocol):
    """The published heads of one log, at most one for each size. None is ever changed."""

    async def log_id(self) -> str:
        """The log's name: a random UUID, made with it."""
        ...

    async def store_head(self, head: StoredHead) -> None:
        """Keeps a head, unless there is one of that size already: the first stays."""
        ...

    async def heads(self, after: int = -1, limit: int = 1_000) -> list[StoredHead]:
        """Heads of sizes above `after`, the smallest first, at most `limit`."""
        ...

    async def last_head(self) -> StoredHead | None:
        """The head of the largest size, if there is any."""
        ...


class Log(EntryLog, HeadStore, Protocol):
    """A log with its heads."""
