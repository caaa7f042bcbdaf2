"""The page is for everybody: screen readers, keyboards, narrow screens, light and dark, numbers without surprises."""

import random
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from serve_app.routes.web import page as served
from tests.browser import Visitor, visiting
from tests.support import Caller, Live
from tests.training_orders import new_owner, ordered

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
"""axe-core's rules (https://github.com/dequelabs/axe-core), evaluated: the page's own policy lets no script in."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TOO_WIDE = """
document.documentElement.scrollWidth <= 360 ? [] : [...document.querySelectorAll("main *")]
    .filter((element) => element.getBoundingClientRect().right > 360).map((element) => element.outerHTML.slice(0, 200))
"""
"""What sticks out, where the page can be scrolled sideways."""
VIEWS = {
    "budget": "Budget",
    "operations": "Operations",
    "denials": "Refusals",
    "plan": "Plan",
    "proofs?job=one": "Proofs",
    "training": "Training",
    "audit": "Audit log",
}


@pytest.fixture(scope="module")
def admin(live: Live) -> Caller:
    """An admin of a tenant that has something in each view."""
    owner, name = new_owner(live)
    assert owner.allocate(job_id="one", epsilon="0.5", purpose="counts").status_code == 200
    assert owner.allocate(job_id="two", epsilon="0.25", mode="reserve", ttl_seconds=900).status_code == 200
    assert owner.allocate(job_id="much", epsilon="1.999", source_engine="healthcare").status_code == 422
    ordered(owner, name)
    return live.caller(owner.tenant, "admin")


async def _broken_rules(visitor: Visitor) -> list[str]:
    await visitor.page.evaluate(AXE)
    options: dict[str, Any] = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    # The proof's frame runs no script, so nothing in it can be looked at from here.
    found = await visitor.page.evaluate("options => axe.run({ exclude: ['iframe'] }, options)", options)
    return [
        f"{rule['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_view_breaks_a_rule_of_accessibility(browser: Browser, live: Live, admin: Caller, theme: str) -> None:
    """Names, roles, headings, landmarks, contrast of at least 4.5: no rule of axe-core is broken, open or closed."""
    async with visiting(browser, live.service.settings.base_url, color_scheme=theme) as visitor:
        await visitor.page.goto(visitor.base_url)
        await expect(visitor.page.get_by_label("Token")).to_be_visible()
        assert await _broken_rules(visitor) == []
        await visitor.enter(admin)
        for view, heading in VIEWS.items():
            await visitor.look_at(view, heading)
            await visitor.page.evaluate("document.querySelectorAll('details').forEach(one => (one.open = true))")
            if view == "plan":
                await visitor.page.get_by_role("button", name="Price the plan").click()
                await expect(visitor.page.locator("#answer h2")).to_be_visible()
            assert await _broken_rules(visitor) == [], view


async def test_no_view_is_wider_than_a_narrow_screen(browser: Browser, live: Live, admin: Caller) -> None:
    """At 360 pixels nothing has to be scrolled sideways, and the menu is a button."""
    async with visiting(browser, live.service.settings.base_url, viewport={"width": 360, "height": 740}) as visitor:
        await visitor.enter(admin)
        for view, heading in VIEWS.items():
            await visitor.look_at(view, heading)
            if view == "plan":
                await visitor.page.get_by_role("button", name="Price the plan").click()
                await expect(visitor.page.locator("#answer h2")).to_be_visible()
            assert await visitor.page.evaluate(TOO_WIDE) == [], view
        menu = visitor.page.get_by_role("button", name="Menu")
        await expect(menu).to_have_attribute("aria-expanded", "false")
        await menu.click()
        await expect(menu).to_have_attribute("aria-expanded", "true")
        await visitor.page.locator("#nav").get_by_role("link", name="Budget").click()
        await expect(visitor.page.get_by_role("heading", name="Budget", level=1)).to_be_visible()
        await expect(menu).to_have_attribute("aria-expanded", "false")


async def test_the_theme_follows_the_system_until_somebody_chooses(visitor: Visitor, live: Live) -> None:
    """System, light, dark, and system again; a choice outlives a reload."""
    page = visitor.page
    background = "getComputedStyle(document.body).backgroundColor"
    await page.emulate_media(color_scheme="light")
    await page.goto(visitor.base_url)
    light = await page.evaluate(background)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(background)
    assert light != dark
    await page.get_by_role("button", name="Theme: system").click()
    assert await page.evaluate(background) == light
    await page.reload()
    await expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
    assert await page.evaluate(background) == light
    await page.get_by_role("button", name="Theme: light").click()
    await page.get_by_role("button", name="Theme: dark").click()
    await expect(page.get_by_role("button", name="Theme: system")).to_be_visible()


async def test_the_skip_link_comes_first_and_leads_to_the_content(visitor: Visitor, admin: Caller) -> None:
    """One key past everything that stands before the view."""
    await visitor.enter(admin, "operations")
    # The view that comes takes the focus.
    await expect(visitor.page.get_by_role("heading", name="Operations", level=1)).to_be_focused()
    await visitor.page.locator("#skip").focus()
    await expect(visitor.page.locator("#skip")).to_be_in_viewport()
    await visitor.page.keyboard.press("Enter")
    await expect(visitor.page.locator("#main")).to_be_focused()
    assert await visitor.page.evaluate("location.hash") == "#/operations"


async def test_a_view_that_is_gone_to_takes_the_focus(visitor: Visitor, admin: Caller) -> None:
    """So that a screen reader says where one is."""
    await visitor.enter(admin, "budget")
    await visitor.page.locator("#nav").get_by_role("link", name="Training").click()
    await expect(visitor.page.get_by_role("heading", name="Training", level=1)).to_be_focused()


async def test_numbers_are_rounded_towards_caution(visitor: Visitor) -> None:
    """What is shown as spent is never below the exact decimal, what is left never above, and both are close."""
    chance = random.Random(20261121)
    texts = ["0", "0.0", "10", "1E-7", "0.00001", "0.9999999", "9.99995", "1234567.00001", "-0.00012345", "1e+3"]
    texts += [f"{chance.randint(0, 10**12)}E{chance.randint(-20, 3)}" for _ in range(300)]
    await visitor.page.goto(visitor.base_url)
    shown = await visitor.page.evaluate(
        """async ([module, texts]) => {
            const { rounded } = await import(module);
            return texts.map((text) => ["up", "down", "exact"].map((way) => rounded(text, way)));
        }""",
        [f"/web/{served().version}/js/numbers.js", texts],
    )
    for text, (up, down, exact) in zip(texts, shown, strict=True):
        number = Decimal(text)
        assert _read(exact) == number, text
        assert _read(down) <= number <= _read(up), text
        step = max(abs(number) / 100, Decimal("0.0001")) if abs(number) >= Decimal("0.001") else abs(number) / 50
        assert _read(up) - _read(down) <= step, text


async def test_one_is_not_counted_as_several(visitor: Visitor) -> None:
    """Whether the number comes as such or as its text, and however it was rounded."""
    await visitor.page.goto(visitor.base_url)
    counted = await visitor.page.evaluate(
        """async (module) => {
            const { several } = await import(module);
            return [0, 1, "1", 2, "1 000"].map((number) => several(number, "day"));
        }""",
        f"/web/{served().version}/js/words.js",
    )
    assert counted == ["0 days", "1 day", "1 day", "2 days", "1 000 days"]


def _read(shown: str) -> Decimal:
    """The number that a person reads."""
    plain = shown.replace("\u202f", "").replace("−", "-")
    raised = plain.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    if raised == plain:
        return Decimal(plain)
    sign, digits = (-1, raised[1:]) if raised.startswith("-") else (1, raised)
    mantissa, _, power = digits.rpartition("×")
    return sign * Decimal(mantissa or 1) * Decimal(10) ** int(power.removeprefix("10"))
