"""A lane: requests on their way to one writer, which has one write under way at a time."""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from accounting.admission import Allocate, Verdict
from accounting.policy import Renew, SetBudget, SetDataset, SetLegalHold
from accounting.settlement import Settle
from deployments.budget.draft import Draft

Command = Allocate | SetBudget | Renew | SetDataset | SetLegalHold | Settle


@dataclass(slots=True, eq=False)
class Waiting:
    """A request and the future that its caller waits on; `mark` is its observer's."""

    command: Command
    answer: asyncio.Future[Verdict]
    mark: object = None

    @property
    def tenant_id(self) -> str:
        """Whose budget it is about."""
        return self.command.tenant_id

    def reply(self, verdict: Verdict) -> None:
        """Answers, if anybody still listens."""
        # The caller may have hung up, which cancels the future; setting a result would then kill the loop.
        if not self.answer.done():
            self.answer.set_result(verdict)

    def fail(self, error: Exception) -> None:
        """Answers with an error, if anybody still listens."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Decided(NamedTuple):
    """A request's verdict, with the position of the entry that a refusal was decided on."""

    waiting: Waiting
    verdict: Verdict
    seq: int


@dataclass(slots=True)
class Batch:
    """Requests that were decided together and are written together."""

    draft: Draft
    decided: list[Decided] = field(default_factory=list)

    def requests(self) -> list[Waiting]:
        """The requests, in the order in which they were decided."""
        return [one.waiting for one in self.decided]


class Lane:
    """Requests that wait for one writer.

    Attributes:
        queue: Not decided yet.
        ahead: Decided while a write is under way, on the draft that is being written; None while nothing may be.
    """

    def __init__(self) -> None:
        self.queue: list[Waiting] = []
        self.ahead: Batch | None = None
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self.queue) + (0 if self.ahead is None else len(self.ahead.decided))

    def put(self, *waiting: Waiting) -> None:
        """Adds to the queue."""
        self.queue += waiting
        self._arrived.set()

    async def take(self, limit: int) -> list[Waiting]:
        """The first requests of the queue, at most `limit`, once there are any."""
        await self._arrived.wait()
        batch = self.queue[:limit]
        del self.queue[: len(batch)]
        if not self.queue:
            self._arrived.clear()
        return batch

    def open_ahead(self, draft: Draft) -> None:
        """From now on what arrives may be decided on that draft. Not while others wait, who would wait for ever."""
        if not self.queue:
            self.ahead = Batch(Draft(draft))

    def close_ahead(self) -> Batch | None:
        """What was decided meanwhile, if anything: the draft that it was decided on has become memory."""
        ahead, self.ahead = self.ahead, None
        if ahead is None or not ahead.decided:
            return None
        ahead.draft.below = None
        return ahead

    def abandon_ahead(self) -> None:
        """What was decided meanwhile has to be decided again."""
        ahead, self.ahead = self.ahead, None
        if ahead is not None and ahead.decided:
            self.put(*ahead.requests())
