"""An inbox that is open in a real browser: what comes is chosen and decided with what was there, and what was chosen stays so."""

from playwright.async_api import expect

from tests.bot.console.test_pages import ask_for_grant
from tests.bot.webs import served
from tests.hubs import World
from tests.stories.browsers import chromium, come_in, find_chromium


async def test_what_comes_while_lin_chooses_is_decided_with_the_rest(world: World) -> None:
    find_chromium()
    async with served(world) as web, chromium() as browser:
        await ask_for_grant(web, world)
        lin = await come_in(await browser.context(), web.address, await web.token("link", "lin", scopes=()))
        await lin.goto(f"{web.address}/inbox")
        await expect(lin.locator("#live")).to_have_text("live")
        boxes, approve = lin.get_by_role("checkbox"), lin.get_by_role("button", name="Approve those chosen")
        await expect(boxes).to_have_count(0)
        await expect(approve).to_be_hidden()
        await ask_for_grant(web, world)
        await expect(boxes).to_have_count(2)
        await boxes.first.check()
        await ask_for_grant(web, world, role="approver")
        await expect(boxes).to_have_count(3)
        await expect(boxes.first).to_be_checked()
        await boxes.last.check()
        await approve.click()
        await expect(lin.get_by_text("Approved; it starts now.")).to_have_count(2)
        await lin.goto(f"{web.address}/inbox?q=approver")
        await expect(lin.locator("#live")).to_have_text("live")
        await ask_for_grant(web, world)
        await ask_for_grant(web, world, role="approver")
        await expect(lin.locator("ol.log > li")).to_have_count(1)
        await expect(lin.locator("ol.log")).to_contain_text("approver")
        assert browser.complaints == []
