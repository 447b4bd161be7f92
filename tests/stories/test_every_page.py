"""Every page in a real browser: it answers, whoever cannot see or use a mouse finds the way, it fits a phone, and pictures are made."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Locator, Page, ViewportSize, expect

from kit.servers import Servers
from tests.stories.browsers import Chromium, chromium, come_in, find_chromium, tab_to
from tests.stories.galleries import Gallery, keep_record, open_gallery
from tests.stories.tours import FIRST, OTHERS, PAGES, Stop, shown

WIDE: Final[ViewportSize] = {"width": 1280, "height": 900}
PHONE: Final[ViewportSize] = {"width": 360, "height": 780}
AXE: Final = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
_AXE: Final = """([rules]) =>
  axe.run(document, { resultTypes: ["violations"], preload: false, iframes: false, ...(rules ? { runOnly: rules } : {}) }).then((found) =>
  found.violations.filter((one) => ["serious", "critical"].includes(one.impact)).flatMap((one) =>
    one.nodes.map((node) => `${one.id} at ${node.target.join(" ")}: ${node.failureSummary?.split("\\n")[1]?.trim()}`)))"""
_OVERFLOWING: Final = """() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map((one) => one.outerHTML.slice(0, 80))"""

_OUT_OF_REACH: Final = """() =>
  [...document.querySelectorAll("a[href], button, summary, input:not([type=hidden]), select, textarea, pre, .table")]
  .filter((one) => one.checkVisibility() && one.tabIndex < 0).map((one) => one.outerHTML.slice(0, 80))"""


@dataclass
class Tour:
    """The hub, a browser with a window for everybody, and where pictures go: of every address, or of the first of each page."""

    gallery: Gallery
    chromium: Chromium
    pictures: Path
    every_picture: bool
    _left: Page | None = None
    windows: dict[str, Page] = field(default_factory=dict)

    async def window(self, who: str, *, scripts: bool = True) -> Page:
        """Everybody has a window of their own, and one more where scripts are off."""
        name = who if scripts else f"{who} without scripts"
        if name not in self.windows:
            context, web = await self.chromium.context(scripts=scripts), self.gallery.web
            link = await web.token("link", who, scopes=()) if who else ""
            self.windows[name] = await come_in(context, web.address, link) if who else await context.new_page()
        return self.windows[name]

    async def look(self, stop: Stop) -> list[str]:
        """What is wrong with a page; makes its pictures in light and on a phone, and of each page one in dark."""
        page = await self.window(stop.who)
        if self._left is not None and self._left is not page:
            await self._left.goto("about:blank")  # a page that is left open reads itself again
        self._left = page
        await page.set_viewport_size(WIDE)
        await page.emulate_media(color_scheme="light")
        answer = await page.goto(self.gallery.web.address + stop.at(self.gallery))
        assert answer is not None
        if answer.status != stop.status:
            return [f"{stop.name} answers {answer.status}"]
        wrong = await self._measured(page, None)
        wrong += [f"no key reaches {one}" for one in await page.evaluate(_OUT_OF_REACH)]
        await self._picture(page, stop, "light")
        if stop in FIRST:
            await page.emulate_media(color_scheme="dark")
            wrong += await self._measured(page, ["color-contrast"])
            await self._picture(page, stop, "dark")
            await page.emulate_media(color_scheme="light")
        await page.set_viewport_size(PHONE)
        wrong += [f"on a phone it is too wide: {one}" for one in await page.evaluate(_OVERFLOWING)]
        await self._picture(page, stop, "phone")
        return [f"{stop.name}: {one}" for one in wrong]

    async def _measured(self, page: Page, rules: list[str] | None) -> list[str]:
        """What axe finds serious, by all of its rules or by these."""
        if rules is None:
            await page.evaluate(AXE)
        found: list[Any] = await page.evaluate(_AXE, [rules])
        return [str(one) for one in found]

    async def _picture(self, page: Page, stop: Stop, kind: str) -> None:
        if stop in FIRST or self.every_picture:
            await page.screenshot(path=self.pictures / f"{stop.name}-{kind}.png", full_page=True, animations="disabled")


@pytest.fixture(scope="module")
async def tour(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Tour]:
    find_chromium()
    kept = os.environ.get("COUNTERSIGN_PICTURES")
    pictures = Path(kept) if kept else tmp_path_factory.mktemp("pictures")
    async with open_gallery(servers.fresh_database(), tmp_path_factory.mktemp("gallery")) as gallery, chromium() as browser:
        yield Tour(gallery, browser, pictures, bool(kept))


async def test_every_page_is_on_the_tour(tour: Tour) -> None:
    known = set(PAGES) | set(OTHERS)
    assert shown(tour.gallery.web.app) == known, "a new page needs its addresses in tests/stories/tours.py"


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_can_be_read_by_everybody_and_everywhere(tour: Tour, path: str) -> None:
    wrong = [one for stop in PAGES[path] for one in await tour.look(stop)]
    assert not wrong, "\n".join(wrong)
    unexpected = [one for one in tour.chromium.complaints if "the server responded with a status of 4" not in one]
    assert unexpected == []


async def test_everything_that_can_be_done_is_reached_and_done_by_keys_alone(tour: Tour) -> None:
    kim, ada = await tour.window("kim"), await tour.window("ada")
    await _in_the_inbox(tour, kim)
    await _on_a_runs_page(tour, kim)
    await _under_ask(tour, ada)
    await _in_the_room(tour, kim)


async def test_what_runs_ask_of_people_is_answered_by_keys_alone(tour: Tour) -> None:
    lin = await tour.window("lin")
    await _asked_of(tour, lin, "Label the boxes", "Done")
    await _asked_of(tour, lin, "Which supplier?", "North & Sons", key="Space")
    await tour.gallery.bot.settle()
    answers = await _asked_of(tour, lin, "Its address", "Answer", says="Its address")
    await lin.keyboard.type("12 Mill Lane")
    await tab_to(lin, "Send")
    await lin.keyboard.press("Enter")
    await expect(answers).to_contain_text("Thank you.")
    answers = await _asked_of(tour, lin, "Prices for autumn", "Ask somebody else", says="Person, or @group")
    await lin.keyboard.type("@leads")
    await tab_to(lin, "Ask them")
    await lin.keyboard.press("Enter")
    await expect(answers).to_contain_text("@leads is asked now.")
    answers = await _asked_of(tour, lin, "Prices for autumn", "Review", says="1. price")
    await lin.keyboard.type("r")
    await tab_to(lin, "2. price")
    await lin.keyboard.type("41")
    await tab_to(lin, "Send")
    await lin.keyboard.press("Enter")
    await expect(answers).to_contain_text("Thank you.")
    await tour.gallery.bot.settle()
    said = "SELECT string_agg(result::text, ' ') FROM steps WHERE name LIKE '%ask%' AND state = 'done'"
    results = await tour.gallery.one(said)
    assert all(one in results for one in ("North & Sons", "12 Mill Lane", '"price": 41', '"rejected": [{"item": "rope"')), results


async def _asked_of(tour: Tour, page: Page, title: str, button: str, *, key: str = "Enter", says: str = "Thank you.") -> Locator:
    """Goes to a task in the inbox and presses this button of its card; where the answer stands then."""
    await _pick(tour, page, title)
    await tab_to(page, button)
    await page.keyboard.press(key)
    answers = page.locator(".message", has_text=title).locator(":scope > .answers")
    await expect(answers).to_contain_text(says)
    return answers


async def _pick(tour: Tour, page: Page, words: str) -> Locator:
    """Walks down the inbox with j to what has these words."""
    await _open(tour, page, "/inbox")
    picked = page.locator(".picked")
    for _ in range(40):
        await page.keyboard.press("j")
        if words in (await picked.all_inner_texts() or [""])[0]:
            await expect(picked).to_be_focused()
            return picked
    raise AssertionError(f"{words} is not in the inbox")


async def _in_the_inbox(tour: Tour, kim: Page) -> None:
    """j and k walk, a approves, d asks why, o opens."""
    picked = await _pick(tour, kim, "service=web version=v5")
    await kim.keyboard.press("a")
    await expect(picked.locator(":scope > .answers")).to_contain_text("Approved; it starts now.")
    await kim.keyboard.press("o")
    await kim.wait_for_url("**/runs/*")
    await tour.gallery.bot.settle()
    await expect(kim.locator(".message .card").first).to_contain_text("succeeded")


async def _on_a_runs_page(tour: Tour, kim: Page) -> None:
    await _open(tour, kim, f"/runs/{tour.gallery.places['deciding']}")
    await tab_to(kim, "Deny")
    await kim.keyboard.press("Enter")
    await tab_to(kim, "Why? The asker will read it.")
    await kim.keyboard.type("the index is not rebuilt yet")
    await tab_to(kim, "Deny")
    await kim.keyboard.press("Enter")
    await expect(kim.locator(".message .card").first).to_contain_text("Denied by kim: the index is not rebuilt yet")


async def _under_ask(tour: Tour, ada: Page) -> None:
    await _open(tour, ada, "/ask")
    await tab_to(ada, "ship")
    await ada.keyboard.press("Enter")
    await ada.wait_for_url("**/ask?command=ship*")
    for label, typed in (("service", "search"), ("version", "v6"), ("env", "p"), ("reason", "by hand")):
        await tab_to(ada, label)
        await ada.keyboard.type(typed)
    await tab_to(ada, "Ask for it")
    await ada.keyboard.press("Enter")
    await ada.wait_for_url("**/runs/*")
    await tour.gallery.bot.settle()
    card = ada.locator(".message .card").first
    await expect(card).to_contain_text("waiting for approval")
    await tab_to(ada, "Edit")
    await ada.keyboard.press("Enter")
    await expect(ada.locator(".answers .questions")).to_be_visible()
    await tab_to(ada, "version")
    await ada.keyboard.type("v7")
    await tab_to(ada, "Change it")
    await ada.keyboard.press("Enter")
    await tour.gallery.bot.settle()
    await expect(card).to_contain_text("version=v7")


async def _in_the_room(tour: Tour, kim: Page) -> None:
    await _open(tour, kim, "/?channel=deploys")
    await kim.keyboard.type("/whoami")
    await kim.keyboard.press("Enter")
    await expect(kim.locator(".said").last).to_contain_text("You are kim.")
    for _ in range(60):
        await kim.keyboard.press("Shift+Tab")
        if await kim.evaluate(
            "document.activeElement.closest('.card')?.textContent.includes('version=v7') && document.activeElement.innerText === 'Approve'"
        ):
            break
    await kim.keyboard.press("Enter")
    await expect(kim.locator("#log .answers").last).to_contain_text("Approved; 1 more person has to approve.")


async def test_without_javascript_everything_but_the_live_update_works(tour: Tour) -> None:
    ada, lin, kim = [await tour.window(who, scripts=False) for who in ("ada", "lin", "kim")]
    number = await _asked_by_form(tour, ada, service="billing", version="v2")
    for page, says in ((lin, "Approved; 1 more person has to approve."), (kim, "Approved; it starts now.")):
        await _open(tour, page, "/inbox")
        await page.locator(".message", has_text="service=billing").get_by_role("button", name="Approve").click()
        await expect(page.locator(".said")).to_contain_text(says)
        assert "/inbox" in page.url, "the answer is told where the button was"
    await tour.gallery.bot.settle()
    await _open(tour, ada, f"/runs/{number}")
    await expect(ada.locator(".message .card").first).to_contain_text("succeeded")
    await _cancelled_and_found(tour, ada)


async def _cancelled_and_found(tour: Tour, ada: Page) -> None:
    number = await _asked_by_form(tour, ada, service="mail", version="v9")
    card = ada.locator(".message .card").first
    await card.get_by_role("button", name="Cancel").click()
    await expect(card).to_contain_text("cancelled")
    await keep_record(tour.gallery.bot.services)
    await _open(tour, ada, "/runs")
    await ada.get_by_label("Search").fill("mail")
    await ada.get_by_role("button", name="Show").click()
    await expect(ada.locator("tbody tr")).to_have_count(1)
    await _open(tour, ada, "/runs")
    await ada.locator("summary", has_text="Filters").click()
    await ada.get_by_label("Arguments").fill("service=mail version=v9")
    await ada.get_by_label("State").select_option("cancelled")
    await ada.get_by_role("button", name="Show").click()
    await expect(ada.locator("tbody tr")).to_have_count(1)
    await ada.locator("tbody a").first.click()
    assert ada.url.endswith(f"/runs/{number}")


async def _asked_by_form(tour: Tour, page: Page, **answers: str) -> str:
    """Asks for a prod release on the page of its command; the number of its run, whose page is open then."""
    await _open(tour, page, "/ask?command=ship")
    for label, value in answers.items():
        await page.get_by_label(label, exact=True).fill(value)
    await page.get_by_label("env", exact=True).select_option("prod")
    await page.get_by_role("button", name="Ask for it").click()
    await tour.gallery.bot.settle()
    await page.reload()
    await expect(page.locator(".message .card").first).to_contain_text("waiting for approval")
    return page.url.rpartition("/")[2]


async def _open(tour: Tour, page: Page, path: str) -> None:
    await page.set_viewport_size(WIDE)
    await page.goto(tour.gallery.web.address + path)
