"""Wakes whoever waits for the log to grow. One loop looks at the log for all of them."""

import asyncio


class Watch:
    """How long the log is, as this process last saw it."""

    def __init__(self) -> None:
        self._grown = asyncio.Condition()
        self.size = 0
        self.closed = False

    async def saw(self, size: int) -> None:
        """The log holds that many entries."""
        if size == self.size:
            return
        async with self._grown:
            self.size = size
            self._grown.notify_all()

    async def close(self) -> None:
        """Nobody looks any more: all who wait are woken, and who asks later does not wait."""
        async with self._grown:
            self.closed = True
            self._grown.notify_all()

    async def reaches(self, position: int, seconds: float) -> bool:
        """Waits until the log has an entry at that position, at most so many seconds; says whether it has."""
        async with self._grown:
            try:
                async with asyncio.timeout(seconds):
                    await self._grown.wait_for(lambda: self.closed or self.size > position)
            except TimeoutError:
                pass
            return self.size > position
