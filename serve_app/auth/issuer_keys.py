"""The keys of one outside issuer, fetched beside the requests and never by each of them."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from serve_app.auth.issuers import Issuer, IssuerKey, KeySet, is_address, key_set
from serve_app.problems import Code, Problem

log = structlog.get_logger()

REFRESH_SECONDS = 300.0
"""How often keys are read anew: a key that the issuer has withdrawn is good here for so long at most."""
COOL_DOWN_SECONDS = 10.0
"""Between two readings, whoever asks: a flood of tokens with made-up key ids becomes no flood of fetches."""
KEPT_SECONDS = 3_600.0
"""How long keys are good where the issuer cannot be reached. After that its tokens are refused."""
PATIENCE_SECONDS = 5.0
MAX_CONTENT = 256 * 1024


class IssuerKeys:
    """What an issuer's key set said when it was last read."""

    def __init__(
        self,
        issuer: Issuer,
        on_change: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Makes ready; reads when it is first asked.

        Args:
            issuer: The operator's word on it.
            on_change: Called when other keys were read than before.
            clock: Unix time.
        """
        self._issuer = issuer
        self._on_change = on_change
        self._clock = clock
        self._set: KeySet | None = None
        self._read_at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def good_until(self) -> float:
        """Unix time until which the keys are good, unless they are read again before."""
        return self._read_at + KEPT_SECONDS

    def has(self, kid: str) -> bool:
        """Whether the key was in the set when it was last read."""
        return self._set is not None and kid in self._set.keys

    async def key(self, kid: str) -> IssuerKey | None:
        """The key of that id; None if the issuer has none.

        An id that is not known may be of a new key: the set is read again, unless that was tried a moment ago.

        Raises:
            Problem: `Code.UNAVAILABLE` if the keys could not be read, or not for too long.
        """
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name=f"keys of {self._issuer.issuer}")
        if self._clock() >= self.good_until or not self.has(kid):
            await self._read_again()
        if self._set is None or self._clock() >= self.good_until:
            detail = (
                "The keys of the token's issuer cannot be read now, so the token cannot be checked. Nothing was "
                "charged; try again in a moment."
            )
            raise Problem(Code.UNAVAILABLE, detail, headers={"Retry-After": str(int(COOL_DOWN_SECONDS))})
        return self._set.keys.get(kid)

    async def refresh(self) -> None:
        """Reads the keys, whatever is known. What goes wrong is logged, and what is known stays."""
        self._tried_at = self._clock()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                content = await read(self._issuer.jwks)
            found = key_set(content, self._issuer.algorithms)
        except Exception as error:
            # Whatever it is, the next reading may go well; until then the keys grow old.
            log.warning("issuer_keys_not_read", issuer=self._issuer.issuer, error=repr(error))
            return
        if found.left_out and (self._set is None or self._set.left_out != found.left_out):
            log.warning("issuer_keys_left_out", issuer=self._issuer.issuer, keys=found.left_out)
        before, self._set, self._read_at = self._set, found, self._clock()
        if before is not None and before != found:
            self._on_change()

    async def _read_again(self) -> None:
        """One reading for all who wait for one, and none so soon after another."""
        if self._reading is None or self._reading.done():
            if self._clock() - self._tried_at < COOL_DOWN_SECONDS:
                return
            self._reading = asyncio.create_task(self.refresh())
        # Whoever hangs up must not end what others wait for.
        await asyncio.shield(self._reading)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()


async def read(jwks: str) -> bytes:
    """The content of a file or of an https address, which is not followed to another one.

    Raises:
        OSError: If the file cannot be read.
        httpx.HTTPError: If the address does not answer with a key set.
        ValueError: If it is too long.
    """
    if not is_address(jwks):
        return await asyncio.to_thread(Path(jwks).expanduser().read_bytes)
    # Loaded only where there is an issuer.
    import httpx

    async with (
        httpx.AsyncClient(timeout=PATIENCE_SECONDS, follow_redirects=False) as client,
        client.stream("GET", jwks, headers={"Accept": "application/json"}) as response,
    ):
        if response.status_code != 200:
            raise httpx.HTTPError(f"HTTP status {response.status_code}")
        content = b""
        async for part in response.aiter_bytes():
            content += part
            if len(content) > MAX_CONTENT:
                raise ValueError(f"longer than {MAX_CONTENT} bytes")
    return content
