"""Whether the ledger may be decided on at all: asked before the first request, and then every second."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from accounting.ledger.heads import Log
from deployments.budget.owner import BudgetOwner
from deployments.outbox import guard
from deployments.outbox.guard import Verdict
from deployments.outbox.witness import Witness

log = structlog.get_logger()

Standing = Callable[[], Awaitable[str | None]]
"""Gives a sentence that says why nothing may be decided, for operators; None where all is well."""

PAUSE_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
UNKNOWN = "It is not known yet whether this ledger is the one whose head was published"
_TOLD = {
    Verdict.BEHIND: "The database has fewer entries than the last published head: it went back to an earlier state",
    Verdict.FORKED: "The database lacks entries of the last published head: it went back, or was changed",
    Verdict.ANOTHER_LOG: "The database is not the one whose head was published last",
    Verdict.UNKNOWN: "The last published head cannot be read",
}
"""What callers are told. The service's log says the rest, with what to do."""


def guarded(witness: Witness, published: Callable[[], Log]) -> Standing:
    """The standing of a ledger beside the head that was published last."""
    last = Verdict.FINE

    async def standing() -> str | None:
        nonlocal last
        found = await guard.standing(witness, published())
        if found.verdict is not last:
            last = found.verdict
            (log.info if found.fine else log.error)("ledger_standing", verdict=found.verdict, sentence=found.sentence)
        return _TOLD.get(found.verdict)

    return standing


@asynccontextmanager
async def watched(owner: BudgetOwner, standing: Standing | None) -> AsyncIterator[None]:
    """Halts the owner whenever the standing has a reason for it, for as long as the block lasts.

    Whoever cannot be asked changes nothing: the last standing holds. Before the first answer nothing is decided.

    Args:
        owner: Who is halted.
        standing: Whom to ask; None where nobody is there to be asked, and nothing is halted.
    """
    if standing is None:
        yield
        return
    owner.halt(UNKNOWN)
    await _ask(owner, standing)
    asking = asyncio.create_task(_keep_asking(owner, standing), name="standing")
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _keep_asking(owner: BudgetOwner, standing: Standing) -> None:
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        await _ask(owner, standing)


async def _ask(owner: BudgetOwner, standing: Standing) -> None:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reason = await standing()
    except Exception as error:
        log.warning("standing_unknown", error=repr(error))
        return
    owner.halt(reason)
