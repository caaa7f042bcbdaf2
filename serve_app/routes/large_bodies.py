"""Long vectors take turns: with its body, its values and OpenDP's exact numbers, each value takes half a kilobyte."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request

from serve_app.problems import Problem, unavailable
from serve_app.requests import MAX_BODY

PATIENCE_SECONDS = 20.0


class LargeBodies:
    """A dependency that lets one request with a large body at a time into a replica; others pass it by.

    A repetition of a request that is still drawing waits here too, and then finds what was drawn.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def __call__(self, request: Request) -> AsyncIterator[None]:
        """Waits for the turn, which ends with the request.

        Raises:
            Problem: `Code.UNAVAILABLE` if it does not come within `PATIENCE_SECONDS`; the body is not read then.
        """
        if not _is_large(request):
            yield
            return
        try:
            await asyncio.wait_for(self._turn.acquire(), PATIENCE_SECONDS)
        except TimeoutError:
            raise _busy() from None
        try:
            yield
        finally:
            self._turn.release()


def _is_large(request: Request) -> bool:
    length = request.headers.get("content-length", "")
    # Whoever does not say how long the body is may send a long one.
    return not (length.isascii() and length.isdigit()) or int(length) > MAX_BODY


def _busy() -> Problem:
    return unavailable("Other long vectors are being released, and nothing was charged for this one")
