"""Headless Chromium, and visitors who look at the page with it.

Whatever a visitor does, three things hold: no request leaves the service's origin, nothing breaks in the console, and
the content security policy is not violated.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from tests.support import Caller

PATIENCE_MILLISECONDS = 15_000
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# A refusal is an answer; Chromium calls it an error.
_ANSWERED = "Failed to load resource: the server responded with a status of"


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The machine's own Chromium, for as long as the block lasts."""
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(_QUIET))
        try:
            yield browser
        finally:
            await browser.close()


class Visitor:
    """Somebody with a browser of his own, and a record of what it asked for and complained of."""

    def __init__(self, context: BrowserContext, page: Page, base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        self.addresses: list[str] = []
        self.complaints: list[str] = []
        context.on("request", self._asked)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.set_default_timeout(PATIENCE_MILLISECONDS)

    def _asked(self, request: Request) -> None:
        self.addresses.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_ANSWERED):
            self.complaints.append(message.text)

    async def enter(self, caller: Caller, view: str = "") -> None:
        """Logs in as the caller, with the form, and goes to a view."""
        await self.page.goto(f"{self.base_url}/#/{view}")
        assert caller.token is not None
        await self.page.get_by_label("Token").fill(caller.token)
        await self.page.get_by_role("button", name="Log in").click()
        await expect(self.page.locator("#nav a").first).to_be_attached()

    async def look_at(self, view: str, heading: str) -> None:
        """Goes to a view of the page that is open, and waits until it is there."""
        await self.page.evaluate("view => { location.hash = `#/${view}` }", view)
        await expect(self.page.get_by_role("heading", name=heading, level=1)).to_be_visible()

    async def text(self, selector: str) -> str:
        """The text of an element, as it is shown."""
        return await self.page.locator(selector).inner_text()

    def assert_at_home(self) -> None:
        """Nothing left the origin, and nothing was complained of."""
        home = urlsplit(self.base_url).netloc
        away = [
            address
            for address in self.addresses
            if not address.startswith("blob:") and urlsplit(address).netloc != home
        ]
        assert away == []
        assert self.complaints == []


@asynccontextmanager
async def visiting(browser: Browser, base_url: str, **options: Any) -> AsyncIterator[Visitor]:  # noqa: ANN401
    """A visitor with a fresh browser profile.

    Args:
        browser: Of the session.
        base_url: Of the service.
        options: Of the profile, as Playwright names them.
    """
    context = await browser.new_context(**{"locale": "en-GB", "timezone_id": "Europe/Berlin", **options})
    try:
        visitor = Visitor(context, await context.new_page(), base_url)
        yield visitor
        visitor.assert_at_home()
    finally:
        await context.close()
