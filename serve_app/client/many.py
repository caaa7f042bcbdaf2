"""Many allocations in few calls: which to send next, and what each came to. No network here."""

import copy
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from serve_app.client.answers import Allocation, understood
from serve_app.client.calls import Call, allocate_batch
from serve_app.client.errors import InvalidRequestError, PrivacyEngineError, RefusedError, TooLargeError
from serve_app.client.keyed import Keyed, split_results
from serve_app.client.retries import Outcome, RetryPolicy, next_pause

MAX_BATCH = 1_000
"""Allocations that the service takes in one call."""

Result = Allocation | PrivacyEngineError
"""What one allocation of many came to: its answer, or the error that a single call would have raised."""


class Many:
    """Allocations on their way, each with its own key and its own outcome.

    Args:
        asked: The allocations, each with its key.
        policy: How often those are repeated that met a passing failure of their own, while others were answered.
    """

    def __init__(self, asked: Sequence[Keyed[Allocation]], policy: RetryPolicy) -> None:
        if len({one.key for one in asked}) < len(asked):
            raise ValueError("two of the allocations have the same key: give each a key of its own, or none")
        self._asked = list(asked)
        self._policy = policy
        self._results: dict[int, Result] = {}
        self._waiting: list[int] = []
        self._queue: deque[range | list[int]] = deque(_parts(range(len(asked))))
        self._round = 0

    def next_call(self) -> Call | None:
        """The next call to make; None if this round is over. Say `answered` or `failed` after it."""
        if not self._queue:
            return None
        # A key goes as operation_id, which the service takes as it takes the header of a single call.
        bodies = [{**(self._asked[at].call.json or {}), "operation_id": self._asked[at].key} for at in self._queue[0]]
        return allocate_batch(bodies)

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Takes the answer to the last call."""
        places = self._queue.popleft()
        asked = [self._asked[at] for at in places]
        try:
            results = understood(lambda: split_results(asked, answer["results"]))
        except PrivacyEngineError as error:
            results = [copy.copy(error) for _ in asked]
        for at, result in zip(places, results, strict=True):
            self._put(at, result)
            if isinstance(result, RefusedError) and result.passing:
                self._waiting.append(at)

    def failed(self, error: PrivacyEngineError) -> None:
        """Takes the failure of the last call. One allocation that nobody can read spoils no others."""
        places = list(self._queue.popleft())
        if isinstance(error, InvalidRequestError | TooLargeError) and len(places) > 1:
            # The whole call was refused, so nothing was charged: find out which of them it was.
            middle = len(places) // 2
            self._queue.extendleft([places[middle:], places[:middle]])
        else:
            # The client has repeated the call as often as it may.
            for at in places:
                self._put(at, copy.copy(error))

    def next_round(self, elapsed: float, draw: float) -> float | None:
        """Seconds until those that met a passing failure are sent again; None if there are none, or no time."""
        if not self._waiting:
            return None
        pause = next_pause(
            self._policy, repeatable=True, attempt=self._round, outcome=Outcome(503), elapsed=elapsed, draw=draw
        )
        if pause is not None:
            self._round += 1
            self._queue.extend(_parts(sorted(self._waiting)))
            self._waiting = []
        return pause

    def results(self) -> list[Result]:
        """What each came to, in the order in which they were asked."""
        return [self._results[at] for at in range(len(self._asked))]

    def _put(self, at: int, result: Result) -> None:
        if isinstance(result, PrivacyEngineError):
            result.key = self._asked[at].key
        self._results[at] = result


def _parts(places: Sequence[int]) -> list[range | list[int]]:
    return [list(places[start : start + MAX_BATCH]) for start in range(0, len(places), MAX_BATCH)]
