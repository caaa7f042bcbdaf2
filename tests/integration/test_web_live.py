"""What happens while somebody looks appears without a reload."""

import asyncio
from typing import Any

import httpx
from playwright.async_api import Browser, Route, expect

from serve_app.service import PREFIX
from tests.browser import Visitor, visiting
from tests.sse import Sent, SseReader
from tests.support import Caller, Live, assert_problem
from tests.training_orders import JOBS, new_owner, ordered

STREAM = f"{PREFIX}/training/events"


async def _loads(visitor: Visitor) -> int:
    """How often the document was asked for."""
    return sum(address.split("#")[0] == f"{visitor.base_url}/" for address in visitor.addresses)


async def test_an_allocation_appears_without_a_reload(visitor: Visitor, live: Live) -> None:
    """In the operations, and in what is left."""
    admin = live.new("admin", epsilon="3")
    await visitor.enter(admin, "operations")
    page = visitor.page
    await expect(page.locator(".live")).to_have_text("Live")
    loads = await _loads(visitor)
    assert live.caller(admin.tenant).allocate(job_id="just-now", epsilon="1").status_code == 200
    await expect(page.get_by_role("rowheader", name="just-now")).to_be_visible()
    await visitor.look_at("budget", "Budget")
    await expect(page.locator("#left-now")).to_contain_text("2 of 3 ε")
    assert live.caller(admin.tenant).allocate(epsilon="0.5").status_code == 200
    await expect(page.locator("#left-now")).to_contain_text("1.5 of 3 ε")
    assert await _loads(visitor) == loads


async def test_news_keep_the_focus_and_what_was_opened(visitor: Visitor, live: Live) -> None:
    """Whoever reads a table or stands on a control stays there."""
    admin = live.new("admin", epsilon="3")
    assert live.caller(admin.tenant).allocate(epsilon="1").status_code == 200
    await visitor.enter(admin, "budget")
    page = visitor.page
    await expect(page.locator(".live")).to_have_text("Live")
    await page.locator("#tenant-filters summary").click()
    assert live.caller(admin.tenant).allocate(epsilon="1").status_code == 200
    await expect(page.locator("#left-now")).to_contain_text("1 of 3 ε")
    await expect(page.locator("#tenant-filters")).to_have_attribute("open", "")


async def test_news_leave_the_menu_and_the_list_of_views_alone(browser: Browser, live: Live) -> None:
    """An open menu stays open, and who is on their way through the views with the keyboard stays there."""
    admin = live.new("admin", epsilon="3")
    narrow = {"width": 360, "height": 740}
    async with visiting(browser, live.service.settings.base_url, viewport=narrow) as visitor:
        await visitor.enter(admin, "budget")
        page = visitor.page
        await expect(page.locator(".live")).to_have_text("Live")
        await page.get_by_role("button", name="Menu").click()
        await page.locator("#nav").get_by_role("link", name="Training").focus()
        assert live.caller(admin.tenant).allocate(epsilon="1").status_code == 200
        await expect(page.locator("#left-now")).to_contain_text("2 of 3 ε")
        await expect(page.get_by_role("button", name="Menu")).to_have_attribute("aria-expanded", "true")
        await expect(page.locator("#nav").get_by_role("link", name="Training")).to_be_focused()


async def test_a_view_that_news_overtake_takes_the_focus_all_the_same(visitor: Visitor, live: Live) -> None:
    """What happens while a view is on its way makes it new before it was there."""
    admin = live.new("admin", epsilon="3")
    page = visitor.page
    await visitor.enter(admin, "operations")
    await expect(page.locator(".live")).to_have_text("Live")
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    await page.route("**/analytics/burn-rate*", hold)
    await page.locator("#nav").get_by_role("link", name="Budget").click()
    await expect(page.get_by_text("Loading…")).to_be_visible()
    assert live.caller(admin.tenant).allocate(epsilon="1").status_code == 200
    await _until_asked(held, 2)
    for route in held:
        await route.continue_()
    await expect(page.locator("#left-now")).to_contain_text("2 of 3 ε")
    await expect(page.get_by_role("heading", name="Budget", level=1)).to_be_focused()


async def test_a_view_that_is_come_back_to_is_there_though_nothing_is_new(visitor: Visitor, live: Live) -> None:
    """Left before the next one was there, then overtaken by news that bring what had been seen before."""
    admin = live.new("admin", epsilon="3")
    page = visitor.page
    async with page.expect_response("**/analytics/operations*") as answer:
        await visitor.enter(admin, "operations")
    seen = await (await answer.value).text()
    await expect(page.get_by_text("Nothing was charged")).to_be_visible()
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    await page.route("**/training/jobs*", hold)
    await page.route("**/analytics/operations*", hold)
    await page.evaluate("location.hash = '#/training'")
    await _until_asked(held, 1)
    await page.evaluate("location.hash = '#/operations'")
    await _until_asked(held, 2)
    await expect(page.locator(".live")).to_have_text("Live")
    assert live.caller(admin.tenant).allocate(epsilon="1").status_code == 200
    await _until_asked(held, 3)
    await held[0].abort()
    for route in held[1:]:
        await route.fulfill(body=seen, content_type="application/json")
    await expect(page.get_by_text("Nothing was charged")).to_be_visible()
    visitor.complaints = [text for text in visitor.complaints if "ERR_FAILED" not in text]


async def _until_asked(held: list[Route], times: int) -> None:
    async with asyncio.timeout(15):
        while len(held) < times:
            await asyncio.sleep(0.05)


async def test_a_busy_ledger_is_looked_at_once_at_a_time_and_shown(visitor: Visitor, live: Live) -> None:
    """However fast events arrive and however slow the answers are: no second look begins before the first is shown."""
    admin = live.new("admin", epsilon="100")
    page, under_way, most = visitor.page, 0, 0
    await visitor.enter(admin, "budget")
    await expect(page.locator(".live")).to_have_text("Live")

    async def slowly(route: Route) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(1)
        under_way -= 1
        await route.continue_()

    await page.route("**/analytics/burn-rate*", slowly)
    for number in range(25):
        answer = await asyncio.to_thread(live.caller(admin.tenant).allocate, epsilon="1")
        assert answer.status_code == 200
        await asyncio.sleep(0.1)
        if number == 20:
            # Some of it is shown while more goes on.
            await expect(page.locator("#left-now")).not_to_contain_text("100 of 100 ε")
    await expect(page.locator("#left-now")).to_contain_text("75 of 100 ε")
    assert most == 1


async def test_a_refusal_appears_without_a_reload(visitor: Visitor, live: Live) -> None:
    """Though no ledger entry tells of it. Refusals are read, which is recorded, only when there is a new one."""
    admin = live.new("admin", epsilon="1")
    await visitor.enter(admin, "denials")
    await expect(visitor.page.get_by_text("Nothing was refused")).to_be_visible()
    assert live.caller(admin.tenant).allocate(job_id="greedy", epsilon="1.5").status_code == 402
    await expect(visitor.page.get_by_role("row").filter(has_text="greedy")).to_be_visible()
    assert sum(address.split("?")[0].endswith("/denials") for address in visitor.addresses) == 2


async def test_a_training_moves_on_without_a_reload(visitor: Visitor, live: Live) -> None:
    """Steps and epsilon so far, as its process reports them."""
    owner, name = new_owner(live)
    job = ordered(owner, name, kind="mlp", target="c", hidden=[8], batch_size=20, steps=10)
    await visitor.enter(live.caller(owner.tenant, "viewer"), "training")
    page = visitor.page
    card = page.get_by_role("region", name=f"mlp on {name}")
    await expect(card).to_contain_text("0 of 10 steps")
    _report(owner, job, kind="started", attempt=1)
    _report(owner, job, kind="reading", attempt=1, facts={})
    _report(owner, job, kind="progress", attempt=1, done=4, through=5)
    await expect(card).to_contain_text("4 of 10 steps")
    so_far = owner.get(f"{JOBS}/{job}").json()["epsilon_so_far"]
    assert await card.locator(f'data[value="{so_far}"]').count() == 1


async def test_the_page_says_when_it_is_not_live_and_comes_back(visitor: Visitor, live: Live) -> None:
    """A broken stream is tried again with the last id, and what happened meanwhile is shown."""
    admin = live.new("admin", epsilon="3")
    page = visitor.page
    await page.route("**/log/events*", lambda route: route.abort())
    await visitor.enter(admin, "operations")
    await expect(page.locator(".live")).to_have_text("Reconnecting…")
    assert live.caller(admin.tenant).allocate(job_id="meanwhile", epsilon="1").status_code == 200
    await page.unroute("**/log/events*")
    await expect(page.locator(".live")).to_have_text("Live", timeout=40_000)
    await expect(page.get_by_role("rowheader", name="meanwhile")).to_be_visible()
    visitor.complaints = [text for text in visitor.complaints if "ERR_FAILED" not in text]


# The stream of trainings itself.


def _report(owner: Caller, job: str, **body: Any) -> None:  # noqa: ANN401
    response = owner.post(f"{JOBS}/{job}/reports", json=body)
    assert response.status_code == 200, response.text


def _events(live: Live, caller: Caller, number: int, **headers: str) -> list[Sent]:
    """So many events of a stream that is opened now."""
    reader, found = SseReader(), list[Sent]()
    asked = {"Authorization": f"Bearer {caller.token}", **headers}
    with httpx.stream("GET", f"{live.service.settings.base_url}{STREAM}", headers=asked, timeout=30) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            sent = reader.line(line)
            found += [sent] if sent else []
            if len(found) == number:
                break
    return found


def test_the_stream_tells_each_training_as_it_stands(live: Live) -> None:
    """Every one at first, in the words of the list."""
    owner, name = new_owner(live)
    jobs = [ordered(owner, name), ordered(owner, name)]
    told = _events(live, owner, 2)
    assert sorted(event.data["id"] for event in told) == sorted(jobs)
    assert {event.name for event in told} == {"waiting"}
    assert told[0].data == next(one for one in owner.get(JOBS).json()["jobs"] if one["id"] == told[0].data["id"])
    _report(owner, jobs[0], kind="started", attempt=1)
    assert {event.data["id"]: event.name for event in _events(live, owner, 2)} == {
        jobs[0]: "starting",
        jobs[1]: "waiting",
    }


def test_the_stream_refuses_a_strange_id_and_a_strangers_tenant(live: Live) -> None:
    """422 for an id that is none of its own, 403 for another tenant, 401 for nobody."""
    caller = live.new("viewer", epsilon="1")
    headers = {"Last-Event-ID": "yesterday"}
    assert_problem(caller.get(STREAM, headers=headers), 422, "invalid_request", "Last-Event-ID")
    assert_problem(caller.get(STREAM, params={"tenant_id": "another"}), 403, "forbidden")
    assert_problem(live.stranger("nobody").get(STREAM), 401, "unauthenticated")


def test_the_stream_ends_when_the_token_does(live: Live) -> None:
    """So that whoever reads it has to come back with a new one."""
    caller = live.new("viewer", epsilon="1")
    short = live.caller(caller.tenant, "viewer", lifetime_seconds=2)
    asked = {"Authorization": f"Bearer {short.token}"}
    with httpx.stream("GET", f"{live.service.settings.base_url}{STREAM}", headers=asked, timeout=30) as response:
        assert response.status_code == 200
        assert b"retry: 1000" in response.read()
