"""Pictures of every view of the page: ``python -m tests.web_pictures [--docs] FOLDER [VIEW ...]``.

Starts a Postgres and the whole service as the tests do, fills it with some days of three tenants, and looks at each
view at two widths, in light and in dark. With ``--docs`` each once, as it is on a wide screen, in light.
"""

import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
from playwright.async_api import Browser

from accounting.ledger.postgres import PostgresLedgerStore
from accounting.storage import embedded
from accounting.storage.migrate import Role, ensure_service_login, migrate
from serve_app.config import Settings
from serve_app.service import Service
from tests.browser import Visitor, chromium, visiting
from tests.support import ALLOCATE, Caller, Live, Serving, WholeService, free_port
from tests.training_orders import JOBS, declare, ended, ordered, store
from tests.web_history import history

WIDTHS = (390, 1280)
CLINIC = "northgate-clinic"
TENANTS = {
    CLINIC: {"epsilon": "12", "days": 12, "most": 6},
    "borealis-bank": {"epsilon": "20", "days": 9, "most": 3},
    "cedar-insurance": {"epsilon": "8", "days": 14, "most": 5},
}
AS_OF_THEN = """
CREATE FUNCTION as_of_then() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.recorded_at := (NEW.body::jsonb ->> 'at')::timestamptz; RETURN NEW; END $$;
CREATE TRIGGER as_of_then BEFORE INSERT ON prv_ledger FOR EACH ROW EXECUTE FUNCTION as_of_then();
"""
"""Days are counted by the database's own clock, which in this database believes what the entries say."""
VIEWS = {
    "login": None,
    "tenants": "Tenants",
    "budget": "Budget",
    "operations": "Operations",
    "denials": "Refusals",
    "plan": "Plan",
    "proofs": "Proofs",
    "training": "Training",
    "audit": "Audit log",
}


@contextmanager
def running(folder: Path) -> Iterator[Live]:
    """The whole service on a Postgres of its own."""
    admin_url = embedded.start(folder / "pg")
    try:
        asyncio.run(migrate(admin_url))
        service_url = asyncio.run(ensure_service_login(admin_url, "prv_shown", "onlyForPictures1"))
        recorder_url = asyncio.run(
            ensure_service_login(admin_url, "prv_shown_recorder", "onlyForPictures1", Role.RECORDER)
        )
        asyncio.run(fill_past(admin_url, service_url))
        listener = free_port()
        settings = Settings.model_validate({"home": folder / "home", "port": listener.getsockname()[1]})
        service = Service(settings, service_url, recorder_url)
        with (
            Serving(WholeService(service), listener),
            httpx.Client(base_url=settings.base_url, timeout=60) as client,
        ):
            yield Live(service, client, admin_url)
    finally:
        embedded.stop(folder / "pg")


async def fill_past(admin_url: str, service_url: str) -> None:
    """Some days of each tenant, straight into the ledger."""
    now = datetime.now(UTC)
    admin = await asyncpg.connect(admin_url)
    await admin.execute(AS_OF_THEN)
    await admin.close()
    ledger = await PostgresLedgerStore.open(service_url, connections=1)
    try:
        for seed, (tenant, how) in enumerate(TENANTS.items()):
            await ledger.append(history(tenant, now, seed=seed, **how))  # type: ignore[arg-type]
    finally:
        await ledger.close()


def fill_present(live: Live) -> None:
    """Holds, refusals and trainings of the clinic, through the interface."""
    engine = live.caller(CLINIC, "engine", engine="healthcare", subject="healthcare-engine")
    engine.allocate(job_id="ward-forecast", epsilon="0.2", mode="reserve", ttl_seconds=3600, purpose="ward forecast")
    engine.post(ALLOCATE, json={"job_id": "too-much", "epsilon": "0.75", "source_engine": "healthcare"})
    tabular = live.caller(CLINIC, "engine", engine="tabular", subject="tabular-engine")
    tabular.allocate(job_id="everything", epsilon="11", purpose="all at once")
    tabular.allocate(job_id="linkage", epsilon="0.1", dataset_id="registry")
    tabular.allocate(job_id="bed-occupancy", epsilon="0.05", purpose="occupancy by hour", dataset_id="admissions")
    analyst = live.caller(CLINIC, "analyst", subject="ada@northgate")
    declare(analyst, "admissions")
    store(analyst, "admissions", "a,b,c\n" + "\n".join(_row() for _ in range(400)))
    done = ordered(analyst, "admissions", launch="service", kind="dp-marginal", target_epsilon="0.5", num_rows=200)
    ended(analyst, done)
    under_way = ordered(analyst, "admissions", kind="mlp", target="c", hidden=[8], batch_size=20, steps=600)
    for report in (
        {"kind": "started", "attempt": 1},
        {"kind": "reading", "attempt": 1, "facts": {}},
        {"kind": "progress", "attempt": 1, "done": 240, "through": 260, "seconds_left": 95},
    ):
        analyst.post(f"{JOBS}/{under_way}/reports", json=report)


def _row() -> str:
    return f"{random.random():.3f},{random.random():.3f},{random.choice(('yes', 'no'))}"


async def pictures(live: Live, folder: Path, chosen: list[str], *, docs: bool) -> None:
    """A PNG of each view: for the documents one screen of it, else all of it in each width and theme."""
    folder.mkdir(parents=True, exist_ok=True)
    looks = [(WIDTHS[-1], "light")] if docs else [(width, theme) for width in WIDTHS for theme in ("light", "dark")]
    async with chromium() as browser:
        for width, theme in looks:
            names = {name: folder / (f"page-{name}.png" if docs else f"{name}-{width}-{theme}.png") for name in chosen}
            await _pictures(browser, live, names, width, theme, full_page=not docs)


async def _pictures(
    browser: Browser, live: Live, names: Mapping[str, Path], width: int, theme: str, *, full_page: bool
) -> None:
    base_url = live.service.settings.base_url
    viewport = {"width": width, "height": 860 if full_page else 1120}
    async with visiting(browser, base_url, viewport=viewport, color_scheme=theme, reduced_motion="reduce") as visitor:
        for name, path in names.items():
            who = _who(live, name)
            await visitor.page.goto("about:blank")
            await visitor.page.goto(base_url)
            await visitor.page.evaluate("sessionStorage.clear()")
            await visitor.page.reload()
            await visitor.page.get_by_role("heading", name="Log in").wait_for()
            heading = VIEWS[name]
            if heading is not None:
                await visitor.enter(who)
                await visitor.look_at(_place(live, name), heading)
                await _prepare(visitor, name)
            await visitor.page.wait_for_timeout(600)
            await visitor.page.screenshot(path=path, full_page=full_page)


def _who(live: Live, name: str) -> Caller:
    if name == "tenants":
        return live.caller("*", "auditor", subject="auditor@example")
    return live.caller(CLINIC, "admin", subject="ines@northgate")


def _place(live: Live, name: str) -> str:
    return "proofs?job=bed-occupancy" if name == "proofs" else name


async def _prepare(visitor: Visitor, name: str) -> None:
    page = visitor.page
    if name == "plan":
        await page.get_by_role("button", name="Add a step").click()
        await page.locator("#step-1-kind").select_option("dp_sgd")
        await page.get_by_role("button", name="Price the plan").click()
        await page.locator("#answer h2").wait_for()


def main() -> None:
    """Makes the pictures that are asked for."""
    docs = "--docs" in sys.argv
    folder, *chosen = (argument for argument in sys.argv[1:] if argument != "--docs")
    with tempfile.TemporaryDirectory() as home, running(Path(home)) as live:
        fill_present(live)
        asyncio.run(pictures(live, Path(folder), chosen or list(VIEWS), docs=docs))


if __name__ == "__main__":
    main()
