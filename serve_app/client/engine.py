"""What an engine's author uses: spends, holds, releases and asks, with typed requests, answers and errors.

`PrivacyEngine` blocks, `AsyncPrivacyEngine` awaits; they have the same methods. Every call that charges has a key
before it is sent, in the journal if there is one, so that it is charged once whatever is lost on the way.
"""

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from serve_app.client import answers, calls, keyed
from serve_app.client.answers import Allocation, Budget, PlanPrice, Release
from serve_app.client.async_engine import AsyncPrivacyEngine as AsyncPrivacyEngine
from serve_app.client.calls import Call
from serve_app.client.client import POLICY, PrivacyClient, Token
from serve_app.client.errors import PrivacyEngineError
from serve_app.client.holds import Hold
from serve_app.client.journal import Journal, Unfinished
from serve_app.client.keyed import Keyed, end, ends, read_by, typed
from serve_app.client.many import Many, Result
from serve_app.client.requests import Apply, Plan, Select, Spend
from serve_app.client.retries import RetryPolicy
from serve_app.client.steps import PrivateSteps

T = TypeVar("T")
R = TypeVar("R")


class PrivacyEngine:
    """An engine's end of the service. Use as a context manager, or call `close`; threads may share one.

    Args:
        base_url: Address of the service.
        token: A bearer token, or a function that gives the present one.
        journal: A file for keys that must survive a crash, or None. Each process needs a file of its own.
        timeout: Seconds to wait for one answer.
        retries: How long to try.
    """

    def __init__(
        self,
        base_url: str,
        token: Token,
        *,
        journal: Journal | Path | str | None = None,
        timeout: float = 30.0,
        retries: RetryPolicy = POLICY,
    ) -> None:
        self._journal = Journal(journal) if isinstance(journal, Path | str) else journal
        self._client = PrivacyClient(base_url, token, timeout=timeout, retries=retries)
        self._retries = retries

    def allocate(self, request: Spend, *, key: str | None = None) -> Allocation:
        """Spends budget. Read the data after it has returned, not before.

        Args:
            request: What to spend.
            key: An idempotency key, where the operation has a name of its own; else one is made.

        Raises:
            BudgetExhaustedError: If it does not fit. Nothing was charged.
            RefusedError: If it is refused for another reason; the class says which.
            ServiceUnreachableError: If nobody answers. Whether it was charged is not known: repeat with its `key`.
        """
        return self._ask(keyed.spend(request, key))

    def allocate_many(self, requests: Sequence[Spend]) -> list[Result]:
        """Spends many times, in calls of at most 1,000; each has its own outcome, in the order of the requests.

        Returns:
            For each request its answer, or the error that `allocate` would have raised.
        """
        return self._ask_many([keyed.spend(request, None) for request in requests])

    def reserve(self, request: Spend, *, ttl_seconds: int | None = None, key: str | None = None) -> Hold:
        """Budget to hold while a ``with`` block runs: held when it is entered, committed when it is left.

        Args:
            request: What to hold.
            ttl_seconds: After how many seconds the hold counts as spent, if it has not been ended; an hour if absent.
            key: As for `allocate`.
        """
        return Hold(self, request, ttl_seconds, key)

    def hold(self, request: Spend, *, ttl_seconds: int | None = None, key: str | None = None) -> Allocation:
        """Holds budget without a block; end it by `commit` or `void`, else it counts as spent. Errors as `allocate`."""
        return self._ask(keyed.hold(request, ttl_seconds, key))

    def commit(self, allocation_id: str, *, steps: int | None = None, tenant_id: str | None = None) -> Allocation:
        """Commits a hold; of a repeated event only `steps` repetitions, where that is sound.

        Raises:
            ConflictError: If it has ended in another way.
        """
        return self._ask(keyed.commit(allocation_id, steps, tenant_id))

    def void(self, allocation_id: str, *, tenant_id: str | None = None) -> Allocation:
        """Takes back a hold. By calling it you state that no data was read. Errors as for `commit`."""
        return self._ask(keyed.void(allocation_id, tenant_id))

    def apply(self, request: Apply, *, key: str | None = None) -> Release:
        """Releases a statistic with noise. Errors as for `allocate`."""
        return self._ask(keyed.apply(request, key))

    def select(self, request: Select, *, key: str | None = None) -> Release:
        """Chooses the best candidates by private scores. Errors as for `allocate`."""
        return self._ask(keyed.select(request, key))

    def plan(self, request: Plan) -> PlanPrice:
        """Prices steps before anything is spent. Nothing is charged."""
        return read_by(self._client.send(calls.plan(request.body())), answers.plan_price)

    def budget(self, tenant_id: str) -> Budget:
        """How a tenant's budget stands."""
        return read_by(self._client.send(calls.budget(tenant_id)), answers.budget)

    def proof(self, job_id: str) -> bytes:
        """The signed proof of a job, for a file that ``privacy-engine verify`` checks."""
        return self._client.send_raw(calls.proof(job_id)).content

    def send(self, call: Call) -> Any:  # noqa: ANN401 - JSON
        """The JSON answer to any other call of `serve_app.client.calls`. It is not written to the journal."""
        return self._client.send(call)

    def private_steps(
        self, step: Spend, *, steps: int, ttl_seconds: int | None = None
    ) -> Callable[[Callable[..., R]], PrivateSteps[R]]:
        """A decorator for a training step: holds that many repetitions of it, commits those that were begun.

        Args:
            step: What one step does, by its event.
            steps: How many there are at most.
            ttl_seconds: As for `reserve`; longer than the training takes.
        """
        return lambda function: PrivateSteps(self, step, steps, ttl_seconds, function)

    def unfinished(self) -> list[Unfinished]:
        """What was begun and has no known outcome, oldest first: after a crash, or where nobody answered."""
        return [] if self._journal is None else self._journal.unfinished()

    def resume(self) -> list[tuple[Unfinished, Any]]:
        """Repeats what is unfinished, with the same keys. What was charged before is not charged again.

        Returns:
            Each call with its JSON answer, or with the error; None for a release, of which the journal keeps no data:
            repeat that with its `key`. A hold that a crash left open is not ended by this: commit it, or leave it to
            count as spent.
        """
        return [(one, self._resumed(one)) for one in self.unfinished()]

    def close(self) -> None:
        """Closes connections, and the journal."""
        self._client.close()
        if self._journal is not None:
            self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _resumed(self, one: Unfinished) -> Any:  # noqa: ANN401 - JSON
        call = one.call()
        if call is None:
            return None
        try:
            return self._ask(Keyed(one.key, call, lambda document, _: document))
        except PrivacyEngineError as error:
            return error

    def _ask(self, asked: Keyed[T]) -> T:
        if self._journal is not None:
            self._journal.begin([(asked.key, asked.call)])
        try:
            answer = typed(asked, self._client.send_raw(asked.call))
        except PrivacyEngineError as error:
            error.key = asked.key
            end(self._journal, [(asked.key, error)])
            raise
        end(self._journal, [(asked.key, None)])
        return answer

    def _ask_many(self, asked: Sequence[Keyed[Allocation]]) -> list[Result]:
        many, began = Many(asked, self._retries), time.monotonic()
        if self._journal is not None:
            self._journal.begin([(one.key, one.call) for one in asked])
        while True:
            while (call := many.next_call()) is not None:
                try:
                    many.answered(self._client.send(call))
                except PrivacyEngineError as error:
                    many.failed(error)
            pause = many.next_round(time.monotonic() - began, random.random())
            if pause is None:
                break
            time.sleep(pause)
        results = many.results()
        end(self._journal, ends(asked, results))
        return results
