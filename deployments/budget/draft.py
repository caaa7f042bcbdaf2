"""What memory will be once a write has succeeded. Until then it exists here only."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from accounting.ledger.entry import OPENING_KINDS, Entry
from accounting.ledger.state import TenantState, fold


@dataclass(slots=True)
class Draft:
    """The working copy of one write.

    Attributes:
        below: The draft of the write under way that this one is made on: what is not in this one is looked up there.
        entries: What is to be written, in order.
        states: The tenants' states after it.
        keys: The entries under new idempotency keys.
        ends: The entries after the first of allocations, by tenant and allocation.
    """

    below: "Draft | None" = None
    entries: list[Entry] = field(default_factory=list)
    states: dict[str, TenantState] = field(default_factory=dict)
    keys: dict[tuple[str, str], Entry] = field(default_factory=dict)
    ends: dict[tuple[str, str], list[Entry]] = field(default_factory=dict)

    def state(self, tenant_id: str) -> TenantState | None:
        """A tenant's state by this draft; None where it says nothing of the tenant."""
        found = self.states.get(tenant_id)
        return self.below.states.get(tenant_id) if found is None and self.below is not None else found

    def key(self, key: tuple[str, str]) -> Entry | None:
        """The entry under a tenant's key, if it is new."""
        found = self.keys.get(key)
        return self.below.keys.get(key) if found is None and self.below is not None else found

    def ended(self, allocation: tuple[str, str]) -> list[Entry]:
        """What ends a tenant's allocation, or takes it back, that is new."""
        below = [] if self.below is None else self.below.ends.get(allocation, [])
        return below + self.ends.get(allocation, [])

    def add(self, state: TenantState | None, entries: Iterable[Entry]) -> TenantState | None:
        """Moves a tenant's state on by its next entries."""
        for entry in entries:
            state = fold([entry]) if state is None else state.after(entry)
            assert state is not None
            self.entries.append(entry)
            self.states[entry.tenant_id] = state
            if entry.idempotency_key is not None:
                self.keys[entry.tenant_id, entry.idempotency_key] = entry
            if entry.allocation_id is not None and entry.kind not in OPENING_KINDS:
                self.ends.setdefault((entry.tenant_id, entry.allocation_id), []).append(entry)
        return state
