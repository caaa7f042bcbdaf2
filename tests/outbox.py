"""Logs with something in them, for tests of what leaves the service."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from accounting.filters import basic_budget
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.log import Logged
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.memory_log import MemoryLog
from accounting.policy import SetBudget, decide_budget, renewal
from tests.ledgers import NOW, asked, ended, loss, spent


class KilledError(BaseException):
    """The process ends here: no `except Exception` sees it."""


class FragileLog(MemoryLog):
    """A log whose relay dies when it remembers: before the progress is stored, or right after."""

    dies: str | None = None

    async def set_relayed(self, relay: str, position: int) -> None:
        dies, self.dies = self.dies, None
        if dies == "before":
            raise KilledError
        await super().set_relayed(relay, position)
        if dies == "after":
            raise KilledError


async def log_of(entries: Sequence[Entry]) -> FragileLog:
    """A log that holds those entries, in that order."""
    store = MemoryLedgerStore()
    await store.append(entries)
    log = FragileLog(store)
    await log.sequence(len(entries))
    return log


async def logged_in(log: MemoryLog) -> list[Logged]:
    """All that a log holds."""
    return await log.read(0, await log.size())


def history(tenant: str, operations: int = 6) -> list[Entry]:
    """A tenant that spends all but a little of a renewing budget, takes a hold back, and gets a new window."""
    opening = SetBudget(tenant, basic_budget(loss("10", "0.00001")), "admin", renewal_days=30, renewal_stated=True)
    entries = list(decide_budget(None, opening, NOW).entries)
    hold = spent(entries[-1], asked(tenant, "0.5", ttl=60, engine="tabular"))
    entries += [hold, ended(hold, hold, EntryKind.VOIDED)]
    for number in range(operations):
        request = asked(tenant, share_of_most(operations), "0.000000001", job=f"job-{number}", engine="text")
        entries.append(spent(entries[-1], replace(request, details={})))
    assert any(entry.crossed for entry in entries), "the history reaches the last tenth"
    begun = renewal(entries[-1], NOW + timedelta(days=31))
    assert begun is not None
    return [*entries, begun]


def share_of_most(operations: int) -> str:
    """An epsilon of which so many leave less than a tenth of ten."""
    return f"{9.3 / operations:.6f}"


def interleaved(*histories: Sequence[Entry]) -> list[Entry]:
    """The histories, an entry of each in turn."""
    longest = max(len(history) for history in histories)
    return [history[at] for at in range(longest) for history in histories if at < len(history)]


async def busy_log(tenants: int = 3, operations: int = 6, name: str = "tenant") -> FragileLog:
    """A log of several tenants that all the three topics tell something of."""
    return await log_of(interleaved(*(history(f"{name}-{number}", operations) for number in range(tenants))))
