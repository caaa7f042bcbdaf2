"""The way into the page, and what each role is shown."""

import pytest
from playwright.async_api import expect

from tests.browser import Visitor
from tests.support import Live, assert_problem, new_name

VIEWS_BY_ROLE = {
    "viewer": ["Budget", "Operations", "Proofs", "Training"],
    "analyst": ["Budget", "Operations", "Plan", "Proofs", "Training"],
    "engine": ["Budget", "Operations", "Plan", "Proofs", "Training"],
    "auditor": ["Budget", "Operations", "Refusals", "Proofs", "Training", "Audit log"],
    "admin": ["Budget", "Operations", "Refusals", "Plan", "Proofs", "Training", "Audit log"],
}


async def test_a_token_that_the_service_refuses_is_not_kept(visitor: Visitor, live: Live) -> None:
    """What is wrong is said at the field, and the session storage stays empty."""
    page = visitor.page
    await page.goto(visitor.base_url)
    await expect(page.get_by_text("privacy-engine token --tenant acme --role viewer")).to_be_visible()
    expired = live.token("acme", ["viewer"], lifetime_seconds=-3600)
    for refused, words in (("nonsense", "This is not a token"), (expired, "The token has expired")):
        await page.get_by_label("Token").fill(refused)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.locator("#token-wrong")).to_contain_text(words)
        await expect(page.get_by_label("Token")).to_have_attribute("aria-invalid", "true")
        assert await page.evaluate("sessionStorage.length") == 0


async def test_the_token_stays_in_the_tab_and_out_of_every_address(visitor: Visitor, live: Live) -> None:
    """It survives a reload, is in no address that was asked for, and is gone after logging out."""
    caller = live.new("viewer", epsilon="1")
    await visitor.enter(caller)
    await visitor.page.reload()
    await expect(visitor.page.get_by_role("heading", name="Budget", level=1)).to_be_visible()
    assert caller.token is not None
    assert not [address for address in visitor.addresses if caller.token in address]
    assert caller.token not in await visitor.page.evaluate("JSON.stringify(localStorage) + document.cookie")
    await visitor.page.get_by_role("button", name="Log out").click()
    await expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible()
    assert await visitor.page.evaluate("sessionStorage.length") == 0


async def test_a_session_that_has_expired_ends_with_a_word(visitor: Visitor, live: Live) -> None:
    """A token that expires while the page is open leads back to the login, which says why."""
    tenant = live.new("viewer", epsilon="1").tenant
    leeway = int(live.service.settings.token_leeway_seconds)
    await visitor.enter(live.caller(tenant, "viewer", lifetime_seconds=4 - leeway))
    await expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible(timeout=30_000)
    await expect(visitor.page.get_by_role("alert").first).to_contain_text(
        "The token has expired. Log in with a new one."
    )


@pytest.mark.parametrize(("role", "views"), VIEWS_BY_ROLE.items())
async def test_a_role_is_shown_what_it_may_do(visitor: Visitor, live: Live, role: str, views: list[str]) -> None:
    """The list has exactly the views whose calls the service admits for the role."""
    await visitor.enter(live.caller(live.new("viewer", epsilon="1").tenant, role))
    assert await visitor.page.locator("#nav a").all_inner_texts() == views


async def test_what_is_hidden_is_refused_as_well(visitor: Visitor, live: Live) -> None:
    """A viewer who goes to the address of another role's view is told so, and the service itself answers 403."""
    viewer = live.new("viewer", epsilon="1")
    await visitor.enter(viewer)
    for hidden in ("denials", "plan", "audit", "tenants"):
        await visitor.look_at(hidden, "Not for this token")
    assert_problem(viewer.get(f"/api/v1/privacy/budget/{viewer.tenant}/denials"), 403, "forbidden")
    assert_problem(viewer.get("/api/v1/privacy/audit"), 403, "forbidden")


async def test_an_auditor_of_all_sees_tenants_and_goes_to_one(visitor: Visitor, live: Live) -> None:
    """Each tenant leads to its budget; a view about one tenant asks for one where none is named."""
    engine = live.new(epsilon="4")
    assert engine.allocate(epsilon="0.5").status_code == 200
    await visitor.enter(live.caller("*", "auditor"))
    page = visitor.page
    await expect(page.get_by_role("heading", name="Tenants", level=1)).to_be_visible()
    await visitor.look_at("operations", "Operations")
    await page.get_by_label("Tenant").fill(engine.tenant)
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("row").filter(has_text="0.5")).to_have_count(1)
    await page.locator("#nav").get_by_role("link", name="Budget").click()
    await expect(page.locator("#left-now")).to_contain_text("3.5 of 4 ε")


async def test_every_tenant_is_in_the_auditors_list(visitor: Visitor, live: Live) -> None:
    """The list shows a tenant's use and leads to its budget."""
    tenant = new_name("aaa")
    assert live.caller(tenant, "admin").put_budget(epsilon="4", delta="0").status_code == 200
    assert live.caller(tenant).allocate(epsilon="1").status_code == 200
    await visitor.enter(live.caller("*", "auditor"))
    row = visitor.page.get_by_role("row").filter(has_text=tenant)
    await expect(row).to_contain_text("25 % of 4 ε")
    await row.get_by_role("link", name=tenant).click()
    await expect(visitor.page.locator("#left-now")).to_contain_text("3 of 4 ε")
