"""Each view of the page shows what the service knows, to the last digit that matters."""

from typing import Any

import pytest
from playwright.async_api import expect

from proofs.checker import verify_document
from serve_app.service import PREFIX
from tests.browser import Visitor
from tests.support import Caller, Live, new_name
from tests.training_orders import JOBS, new_owner, ordered


@pytest.fixture(scope="module")
def spender(live: Live) -> Caller:
    """An admin of a tenant that has spent, holds some, was refused once and has a data set."""
    admin = live.new("admin", epsilon="3")
    dataset = {"epsilon": "2", "delta": "0", "privacy_unit": "patient", "adjacency": "add_remove"}
    registered = admin.request("PUT", f"{PREFIX}/budget/{admin.tenant}/datasets/ward", json=dataset)
    assert registered.status_code == 200, registered.text
    engine = live.caller(admin.tenant, "engine", engine="tabular")
    counted = engine.allocate(job_id="counts", epsilon="0.3333333", dataset_id="ward", purpose="counts per ward")
    assert counted.status_code == 200, counted.text
    assert engine.allocate(job_id="held", epsilon="0.5", mode="reserve", ttl_seconds=3600).status_code == 200
    assert engine.allocate(job_id="large", epsilon="1.99").status_code == 200
    assert engine.allocate(job_id="refused", epsilon="1.5").status_code == 402
    return admin


async def test_the_budget_rounds_towards_caution_and_keeps_the_exact_number(visitor: Visitor, spender: Caller) -> None:
    """Used is rounded up, left is rounded down; the exact decimals of the answer are the elements' values."""
    exact = spender.budget()["exact"]
    assert (exact["used_epsilon"], exact["remaining_epsilon"]) == ("2.8233333", "0.1766667")
    await visitor.enter(spender, "budget")
    await expect(visitor.page.locator("#left-now")).to_contain_text("0.1766 of 3 ε")
    assert await visitor.page.locator("#left-now data").first.get_attribute("value") == exact["remaining_epsilon"]
    await expect(visitor.page.locator(".legend")).to_contain_text("Used 2.8234 ε")
    await expect(visitor.page.locator(".legend")).to_contain_text("of that held 0.5 ε")


async def test_the_budget_shows_every_filter_and_data_set(visitor: Visitor, spender: Caller) -> None:
    """Each member filter with its cap, and each data set with its own budget."""
    await visitor.enter(spender, "budget")
    page = visitor.page
    for name, standing in spender.budget()["filters"].items():
        title = {"basic": "Basic composition", "renyi": "Rényi DP"}[name]
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=title)).first
        currency = next(key for key in standing["cap"] if key != "delta")
        assert await row.locator("data").first.get_attribute("value") in (
            standing["cap"][currency],
            standing.get("conversion_delta"),
        )
    ward = page.get_by_role("article", name="ward")
    await expect(ward).to_contain_text("protects a patient")
    await expect(ward).to_contain_text("Used 0.3334 of 2 ε")
    await expect(ward).to_contain_text("left 1.6666 ε")


async def test_burn_down_has_a_picture_a_sentence_and_a_table(visitor: Visitor, spender: Caller) -> None:
    """The same numbers for whoever sees and whoever does not."""
    await visitor.enter(spender, "budget")
    page = visitor.page
    figure = page.locator("figure").first
    await expect(figure.get_by_role("img")).to_have_attribute(
        "aria-label", await figure.locator("figcaption").inner_text()
    )
    await figure.locator("summary").click()
    burn = spender.get(f"{PREFIX}/analytics/burn-rate", params={"days": 14}).json()
    row = figure.get_by_role("row").filter(has_text=burn["daily"][-1]["date"])
    await expect(row).to_contain_text("2.8234")


async def test_operations_are_listed_newest_first_and_lead_to_their_proof(visitor: Visitor, spender: Caller) -> None:
    """With state, engine and data set; the proof that opens is the allocation's own."""
    await visitor.enter(spender, "operations")
    page = visitor.page
    rows = page.get_by_role("row")
    await expect(rows).to_have_count(4)
    for index, words in (
        (1, ("large", "1.99", "spent")),
        (2, ("held", "0.5")),
        (3, ("counts", "0.3334", "ward", "tabular")),
    ):
        for word in words:
            await expect(rows.nth(index)).to_contain_text(word)
    await rows.nth(3).get_by_role("link").click()
    await expect(page.get_by_role("heading", name="Allocation")).to_be_visible()
    await expect(page.frame_locator("iframe").get_by_role("heading", level=1)).to_be_visible()


async def test_operations_are_paged(visitor: Visitor, live: Live) -> None:
    """Older ones are a page away, and newest a page back."""
    admin = live.new("admin", epsilon="3")
    for number in range(26):
        assert live.caller(admin.tenant).allocate(job_id=f"job-{number}", epsilon="0.01").status_code == 200
    await visitor.enter(admin, "operations")
    page = visitor.page
    await expect(page.get_by_role("row")).to_have_count(26)
    await page.get_by_role("link", name="Older").click()
    await expect(page.get_by_role("rowheader")).to_have_text(["job-0"])
    await page.get_by_role("link", name="Newest").click()
    await expect(page.get_by_role("row")).to_have_count(26)


async def test_a_refusal_says_why_in_words(visitor: Visitor, spender: Caller) -> None:
    """What was asked, by whom, and the reason."""
    await visitor.enter(spender, "denials")
    row = visitor.page.get_by_role("row").nth(1)
    for words in ("does not hold this charge under any of its filters", "1.5 ε", "refused", "tabular"):
        await expect(row).to_contain_text(words)


async def test_a_plan_is_priced_under_every_theorem_and_spends_nothing(visitor: Visitor, live: Live) -> None:
    """The tightest valid theorem is the service's own choice, and the ledger stays as it was."""
    admin = live.new("admin", epsilon="5")
    before = admin.state()
    await visitor.enter(admin, "plan")
    page = visitor.page
    await page.locator("#step-0-count").fill("20")
    await page.get_by_role("button", name="Price the plan").click()
    await expect(page.locator("#answer")).to_contain_text("It fits.")
    await expect(page.locator("#answer tr.best")).to_have_count(1)
    for theorem in ("Basic", "Advanced", "Optimal", "Zero-concentrated", "Rényi", "Privacy loss distribution"):
        await expect(page.locator("#answer").get_by_role("rowheader", name=theorem)).to_have_count(1)
    event = {"kind": "self_composed", "event": {"kind": "gaussian", "sigma": "10", "sensitivity": "1"}, "count": 20}
    body = {"name": "same", "event": event, "composition_method": "tightest"}
    priced: dict[str, Any] = admin.post(f"{PREFIX}/composition/plan", json=body).json()
    best = next(one for one in priced["theorems"] if one["name"] == priced["tightest"])
    assert await page.locator("#answer h2 data").first.get_attribute("value") == best["total_epsilon"]
    assert admin.state() == before


async def test_a_plan_can_be_made_with_the_keyboard_alone(visitor: Visitor, live: Live) -> None:
    """Add, choose, reorder, remove and price, with nothing but keys; the focus never falls off the page."""
    await visitor.enter(live.new("analyst", epsilon="5"), "plan")
    page = visitor.page

    async def focus() -> str:
        return str(await page.evaluate("document.activeElement.id"))

    async def tab_to(wanted: str) -> None:
        for _ in range(60):
            if await focus() == wanted:
                return
            await page.keyboard.press("Tab")
        raise AssertionError(f"the keyboard does not reach {wanted}")

    await tab_to("add-step")
    await page.keyboard.press("Enter")
    assert await focus() == "step-1-kind"
    await page.keyboard.type("DP-SGD")
    await expect(page.locator("#step-1-steps")).to_be_visible()
    assert await focus() == "step-1-kind"
    await page.keyboard.press("Shift+Tab")
    assert await focus() == "step-1-remove"
    await page.keyboard.press("Shift+Tab")
    assert await focus() == "step-1-up"
    await page.keyboard.press("Enter")
    assert await page.locator("#step-0-kind").input_value() == "dp_sgd"
    assert await focus() == "step-0-down"
    await tab_to("step-1-remove")
    await page.keyboard.press("Enter")
    assert await focus() == "step-0-kind"
    await tab_to("step-0-count")
    await page.keyboard.press("Enter")
    await expect(page.locator("#answer h2")).to_be_focused()
    await expect(page.locator("#answer h2")).to_contain_text("The plan costs ε")


async def test_a_step_that_is_refused_says_what_is_wrong_with_it(visitor: Visitor, live: Live) -> None:
    """The problem's own words, and nothing else changes."""
    await visitor.enter(live.new("analyst", epsilon="5"), "plan")
    await visitor.page.locator("#step-0-sigma").fill("-1")
    await visitor.page.get_by_role("button", name="Price the plan").click()
    await expect(visitor.page.get_by_role("alert")).to_contain_text("sigma")


async def test_a_proof_is_shown_in_a_frame_that_runs_nothing(visitor: Visitor, spender: Caller) -> None:
    """The service's own derivation, with its style, sandboxed; the JSON that is downloaded verifies."""
    await visitor.enter(spender, "proofs?job=counts")
    page = visitor.page
    frame = page.frame_locator("iframe")
    await expect(frame.get_by_role("heading", level=1)).to_be_visible()
    assert await page.locator("iframe").get_attribute("sandbox") == ""
    # The inner document's style sheet is in force: it centres what it calls its header.
    assert await frame.locator("header").evaluate("element => getComputedStyle(element).textAlign") == "center"
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Download JSON").click()
    document = (await (await downloading.value).path()).read_text()
    assert verify_document(document).valid


async def test_a_proof_of_nothing_says_so(visitor: Visitor, spender: Caller) -> None:
    """A job that is not there is told in the service's words, and the finder stays."""
    await visitor.enter(spender, "proofs?job=nobody")
    await expect(visitor.page.get_by_role("alert")).to_contain_text("no allocation of that job")
    await expect(visitor.page.get_by_label("Name or id")).to_have_value("nobody")


async def test_a_training_shows_its_steps_and_is_cancelled_by_whoever_may(visitor: Visitor, live: Live) -> None:
    """A viewer sees it without the button; an analyst stops it."""
    owner, name = new_owner(live)
    job = ordered(owner, name)
    await visitor.enter(live.caller(owner.tenant, "viewer"), "training")
    page = visitor.page
    await expect(page.get_by_role("region", name=f"dp-marginal on {name}")).to_contain_text("waiting")
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    await page.get_by_role("button", name="Log out").click()
    await visitor.enter(live.caller(owner.tenant, "analyst"), "training")
    page.once("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("region", name=f"dp-marginal on {name}")).to_contain_text("cancel")
    assert owner.get(f"{JOBS}/{job}").json()["cancelled"]


async def test_the_audit_log_shows_who_did_what(visitor: Visitor, live: Live) -> None:
    """An administrator's own change of a budget is there."""
    admin = live.new("admin", epsilon="2")
    await visitor.enter(live.caller(admin.tenant, "auditor"), "audit")
    await expect(visitor.page.get_by_role("row").filter(has_text="set budget").first).to_contain_text("done")


async def test_what_is_not_there_yet_says_so(visitor: Visitor, live: Live) -> None:
    """A fresh tenant has empty views with words, not empty tables."""
    await visitor.enter(live.new("admin", epsilon="1"), "operations")
    await expect(visitor.page.get_by_text("Nothing was charged yet")).to_be_visible()
    await visitor.look_at("denials", "Refusals")
    await expect(visitor.page.get_by_text("Nothing was refused")).to_be_visible()
    await visitor.look_at("training", "Training")
    await expect(visitor.page.get_by_text("No trainings yet")).to_be_visible()
    await visitor.look_at("budget", "Budget")
    await expect(visitor.page.get_by_role("heading", name="Nothing was spent in these days")).to_be_visible()


async def test_foreign_text_is_text(visitor: Visitor, live: Live) -> None:
    """A job that is named like HTML is shown as it is named, and runs nothing."""
    admin = live.new("admin", epsilon="1")
    name = f"<img src=x onerror=alert(1)>{new_name('job')}"
    assert live.caller(admin.tenant).allocate(job_id=name, epsilon="0.1").status_code == 200
    await visitor.enter(admin, "operations")
    await expect(visitor.page.get_by_role("rowheader")).to_contain_text(name)
    await expect(visitor.page.locator("main img")).to_have_count(0)
