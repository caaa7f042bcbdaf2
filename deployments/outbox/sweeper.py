"""Ends what time has ended: holds that nobody ended, and windows of renewing budgets.

The sweeper only looks for what is due, and asks the budget for each as an engine would; the budget decides, by database
time. Nothing depends on its being quick: a hold counts as spent from the start, and a window begins at the latest with
the first request in it. It remembers nothing. Each round looks at

* what fell due in the last minute, which is where new things are found; and
* one page further back, from the newest to the oldest and then from the start again, where it finds what an outage
  left behind and what became durable long after it was due.

So a round costs the same however many holds there ever were.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta

import structlog

from accounting.ledger.due import Due, DueEntries, Mark
from deployments.outbox.loops import ToldError

log = structlog.get_logger()

ROUND_SECONDS = 1.0
RECENT = timedelta(minutes=1)
PAGE = 500
"""Entries looked at in one query, ended ones included."""
AT_ONCE = 8
"""Requests to the budget under way."""

End = Callable[[Due], Awaitable[None]]
"""Asks the budget to end what is due. Raises whatever went wrong; what has ended already is no error."""


class SweepError(ToldError):
    """Nothing of what is due could be ended. It is found again."""


class Sweeper:
    """Looks for what is due, round after round."""

    def __init__(self, entries: DueEntries, end: End, page: int = PAGE) -> None:
        self._entries = entries
        self._end = end
        self._page = page
        self._back: Mark | None = None
        """How far the look back has come; None where it begins with the newest."""
        self.ended = 0
        """How many were ended so far."""
        self.found = 0
        """How many were due in the last round."""

    async def step(self) -> float:
        """One round. See `loops.Step`.

        Raises:
            SweepError: If there is something due and none of it could be ended.
            StoreUnavailableError: If the ledger did not answer.
        """
        due = _once([*await self._recent(), *await self._further_back()])
        self.found = len(due)
        places = asyncio.Semaphore(AT_ONCE)
        failures = [error for error in await asyncio.gather(*(self._try(one, places) for one in due)) if error]
        self.ended += len(due) - len(failures)
        # What fails for a reason of its own must not slow down the search for the others.
        if failures and len(failures) == len(due):
            raise SweepError(f"none of {len(due)} that are due could be ended") from failures[0]
        return ROUND_SECONDS

    async def _recent(self) -> list[Due]:
        found: list[Due] = []
        mark = None
        while True:
            page = await self._entries.due(mark, self._page)
            found += page.open
            if page.last is None or page.now - page.last.due_at > RECENT:
                return found
            mark = page.last

    async def _further_back(self) -> Sequence[Due]:
        page = await self._entries.due(self._back, self._page)
        self._back = page.last
        return page.open

    async def _try(self, due: Due, places: asyncio.Semaphore) -> Exception | None:
        async with places:
            try:
                await self._end(due)
            except Exception as error:
                log.warning("not_ended", tenant=due.tenant_id, allocation=due.allocation_id, error=repr(error))
                return error
        return None


def _once(found: Iterable[Due]) -> list[Due]:
    """Each of them once; a tenant's window too, whose budget may have been raised since it began."""
    return list({(due.tenant_id, due.allocation_id): due for due in found}.values())
