"""A real Chromium for stories, and what its pages complained about."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # All pages are of one site, which needs no process for each of them and none anew whenever one is left.
    "--disable-site-isolation-trials",
    "--process-per-site",
)
WHOLE: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SHELL: Final = ("chromium-headless-shell", "chrome-headless-shell")
"""The same engine without the browser around it: the stories of pages take two thirds of the time and of the processor."""
WAIT_MILLISECONDS: Final = 60_000

_FOCUSED: Final = """() => {
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  const marked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const seen = one === document.body || (marked && box.width > 0 && box.bottom > 0 && box.top < innerHeight);
  return { name: (one.labels?.[0]?.innerText ?? one.innerText ?? "").trim().split("\\n")[0], tag: one.localName, seen };
}"""


def find_chromium(*, whole: bool = False) -> str:
    """The path of Chromium's headless shell where there is one, unless the `whole` browser is wanted, and else of the browser.

    Skips the test where there is none, or fails it where programs are required.
    """
    found = next(filter(None, map(shutil.which, WHOLE if whole else (*SHELL, *WHOLE))), None)
    if found is None:
        sentence = "Chromium is not installed (Debian: apt-get install chromium), so the browser's room was not tried in a browser."
        if os.environ.get("COUNTERSIGN_REQUIRE_PROGRAMS") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return found


@dataclass
class Chromium:
    """A running browser; `complaints` are errors of scripts and of the content policy on any of its pages."""

    browser: Browser
    complaints: list[str] = field(default_factory=list)

    async def context(self, *, scripts: bool = True, width: int = 1280, dark: bool = False) -> BrowserContext:
        made = await self.browser.new_context(
            java_script_enabled=scripts, viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        made.set_default_timeout(WAIT_MILLISECONDS)
        made.on("console", lambda one: self.complaints.append(one.text) if one.type == "error" else None)
        made.on("weberror", lambda one: self.complaints.append(str(one.error)))
        return made


@asynccontextmanager
async def chromium(*, whole: bool = False) -> AsyncIterator[Chromium]:
    """The browser, closed afterwards with everything it started."""
    path = find_chromium(whole=whole)
    expect.set_options(timeout=WAIT_MILLISECONDS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield Chromium(browser)
        finally:
            await browser.close()


async def come_in(context: BrowserContext, address: str, link: str) -> Page:
    """Opens the one-time link and presses its button."""
    page = await context.new_page()
    await page.goto(f"{address}/enter/{link}")
    await page.get_by_role("button", name="Come in").click()
    await page.wait_for_url(f"{address}/")
    return page


async def tab_to(page: Page, name: str) -> None:
    """Goes on by Tab to what is called so; wherever the keyboard is on the way, one sees it."""
    for _ in range(150):
        await page.keyboard.press("Tab")
        focused: dict[str, Any] = await page.evaluate(_FOCUSED)
        assert focused["seen"], f"one does not see that the keyboard is at {focused}"
        if focused["name"] == name:
            return
    raise AssertionError(f"{name} is not reached by Tab on {page.url}")
