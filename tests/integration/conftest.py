"""One headless browser for all tests of the page, and a visitor for each."""

from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser

from tests.browser import Visitor, chromium, visiting
from tests.support import Live


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The machine's own Chromium."""
    async with chromium() as started:
        yield started


@pytest_asyncio.fixture
async def visitor(browser: Browser, live: Live) -> AsyncIterator[Visitor]:
    """Somebody with a fresh browser profile. At the end nothing left the origin and nothing was complained of."""
    async with visiting(browser, live.service.settings.base_url) as looking:
        yield looking
