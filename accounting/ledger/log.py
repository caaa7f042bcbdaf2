"""The log: all tenants' entries in one order, each at a position that never changes.

A tenant's history is chained by hash, but nobody sees from one history that another was cut short. The log strings all
histories together in the order in which they became durable: its positions are the leaves of a Merkle tree
(`accounting.ledger.merkle`), its size is what a signed head is about, and events leave in its order. An entry is in the
ledger first, in the same transaction that acknowledges it; the log takes it up a moment later and can always be made
again from the ledger up to where it stands.
"""

from dataclasses import dataclass
from typing import Protocol

from accounting.ledger.entry import Entry


@dataclass(frozen=True, slots=True)
class Logged:
    """An entry and its place in the log.

    Attributes:
        position: 0 for the first entry of all; the index of its leaf.
        entry: The ledger entry. The leaf's data is the entry's hash, 32 bytes.
    """

    position: int
    entry: Entry


class EntryLog(Protocol):
    """All tenants' entries in order of commit. Any number of processes may call it: positions are fenced."""

    async def sequence(self, limit: int = 10_000) -> int:
        """Takes up entries that are durable and not yet in the log, in order of commit; a tenant's by their seq.

        Returns:
            How many were taken up: 0 when the log has everything.

        Raises:
            StoreUnavailableError: If the store did not answer.
        """
        ...

    async def size(self) -> int:
        """How many entries the log holds; the position that the next one will have."""
        ...

    async def read(self, start: int, limit: int = 1_000) -> list[Logged]:
        """The entries at `start` and after, in order, at most `limit`."""
        ...

    async def position(self, tenant_id: str, seq: int) -> int | None:
        """Where an entry stands; None while the log has not taken it up."""
        ...

    async def nodes(self, level: int, start: int, stop: int) -> list[bytes]:
        """Stored nodes of the Merkle tree: at level k, node i is the root over the 256^k leaves from i * 256^k on.

        Only complete nodes are stored; level 0 are the leaves' own hashes.
        """
        ...

    async def relayed(self, relay: str) -> int:
        """Up to which position (exclusive) a relay has passed events on; 0 at first."""
        ...

    async def set_relayed(self, relay: str, position: int) -> None:
        """Remembers that a relay has passed on everything before `position`."""
        ...
