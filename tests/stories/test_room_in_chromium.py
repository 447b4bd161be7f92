"""The deploy story with three people in real browser tabs, workers and a real site behind it; then the same without JavaScript."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import httpx
import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from kit.servers import Servers
from tests.bot.webs import Web, served
from tests.forks import ROOT
from tests.hubs import World, until
from tests.stories.browsers import Chromium, chromium, come_in, find_chromium
from tests.stories.sites import serving_site

DEMO = ROOT / "bot" / "cli" / "up" / "demo.yaml"


@dataclass
class Stage:
    """A demo hub with workers, the site it deploys to, and a browser."""

    web: Web
    site: str
    chromium: Chromium
    windows: list[BrowserContext] = field(default_factory=list)

    async def come_in(self, *, scripts: bool = True, width: int = 1280, dark: bool = False) -> BrowserContext:
        """A browser window that is signed in to the demo."""
        context = await self.chromium.context(scripts=scripts, width=width, dark=dark)
        self.windows.append(context)
        page = await come_in(context, self.web.address, await self.web.token("link", None, scopes=("demo",)))
        await page.close()
        return context

    async def tab(self, context: BrowserContext, person: str, channel: str = "deploys") -> Page:
        page = await context.new_page()
        await page.goto(f"{self.web.address}/?channel={channel}&as={person}")
        return page

    async def running(self, env: str, service: str) -> str:
        """What the site really serves."""
        async with httpx.AsyncClient() as client:
            return (await client.get(f"{self.site}/{env}/{service}/version")).text.strip()


@pytest.fixture(scope="module")
async def house(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One for all stories: each asks for a run of its own."""
    find_chromium()
    folder = tmp_path_factory.mktemp("room")
    world = World(servers.fresh_database(), servers.redis.url, folder, policy=DEMO.read_text())
    await world.prepare()
    async with serving_site(folder / "site") as address:
        world.extra |= {"COUNTERSIGN_FLEET__ROOT": str(folder / "site"), "COUNTERSIGN_FLEET__URL": address}
        async with _stage(world, address) as made:
            yield made


@pytest.fixture
async def stage(house: Stage) -> AsyncIterator[Stage]:
    """Its windows are closed when the story ends, and what they complained about is the story's own."""
    house.chromium.complaints.clear()
    yield house
    while house.windows:
        await house.windows.pop().close()


@pytest.fixture
async def whole_stage(house: Stage) -> AsyncIterator[Stage]:
    """The same house, entered with the whole browser, which costs half as much again as its shell."""
    async with chromium(whole=True) as browser:
        yield replace(house, chromium=browser, windows=[])


async def test_three_people_deploy_to_prod_in_three_tabs(whole_stage: Stage) -> None:
    stage = whole_stage
    window = await stage.come_in()
    ada, lin, kim = [await stage.tab(window, name) for name in ("ada", "lin", "kim")]
    for tab in (ada, lin, kim):
        await expect(tab.locator("#live")).to_have_text("live")
    before = await stage.running("prod", "api")
    await ada.get_by_label("Command for #deploys").fill("/deploy api v2 env=prod")
    await ada.keyboard.press("Enter")
    await expect(ada.get_by_text("accepted; its plan follows.")).to_be_visible()
    what = "service=api version=v2 env=prod"
    for tab in (ada, lin, kim):
        await expect(_card(tab, what)).to_contain_text("0 of 2")
    await _press(ada, what, "Approve", says="someone else must approve your request")
    await _press(lin, what, "Approve", says="Approved; 1 more person has to approve.")
    await expect(_card(kim, what)).to_contain_text("1 of 2: lin")
    assert await stage.running("prod", "api") == before, "one of two is not enough"
    await _press(kim, what, "Approve", says="Approved; it starts now.")
    for tab in (ada, lin, kim):
        await expect(_message(tab, what).locator(":scope > .card.good")).to_contain_text("succeeded")
        await expect(_message(tab, what)).to_have_count(1)
    assert await stage.running("prod", "api") == "v2"
    assert stage.chromium.complaints == []


async def test_lin_denies_with_a_reason_and_nothing_typed_is_lost_meanwhile(stage: Stage) -> None:
    window = await stage.come_in()
    ada, lin, kim = [await stage.tab(window, name) for name in ("ada", "lin", "kim")]
    await ada.get_by_label("Command for #deploys").fill("/deploy web v3 env=prod")
    await ada.get_by_role("button", name="Send").click()
    what = "service=web version=v3 env=prod"
    card = _card(lin, what)
    await card.locator("summary", has_text="Deny").click()
    await card.get_by_label("Why?").fill("not on a Friday")
    await _press(kim, what, "Approve", says="1 more person has to approve")
    await expect(card).to_contain_text("1 of 2: kim")
    await expect(card.get_by_label("Why?")).to_have_value("not on a Friday")
    await card.locator("form.sure").get_by_role("button", name="Deny").click()
    await expect(_message(ada, what).locator(".card.bad")).to_contain_text("Denied by lin: not on a Friday")
    assert stage.chromium.complaints == []


async def test_forms_help_and_refusals_by_keyboard(stage: Stage) -> None:
    window = await stage.come_in()
    ada, eve = await stage.tab(window, "ada", "ops"), await stage.tab(window, "eve", "ops")
    await ada.get_by_label("Command for #ops").fill("/deploy api")
    await ada.keyboard.press("Enter")
    form = ada.locator("form.questions")
    await expect(form.get_by_label("service", exact=True)).to_have_value("api")
    await expect(form.get_by_label("version", exact=True).locator("option")).to_have_text(["choose …", "broken", "v1", "v2", "v3"])
    await form.get_by_label("version", exact=True).select_option("v3")
    await form.get_by_label("version", exact=True).focus()
    await ada.keyboard.press("Tab")
    await expect(form.get_by_label("env", exact=True)).to_be_focused()
    await ada.keyboard.press("Tab")
    await ada.keyboard.press("Enter")
    await until(lambda: _runs(stage, "staging", "api", "v3"), what="staging needs nobody's approval")
    await eve.get_by_label("Command for #ops").fill("/deploy api v1")
    await eve.keyboard.press("Enter")
    await expect(eve.locator(".said")).to_contain_text("This needs the permission deploy:run")
    await eve.get_by_label("Command for #ops").fill("/deplyo")
    await eve.keyboard.press("Enter")
    await expect(eve.locator(".said.bad")).to_contain_text("There is no command 'deplyo'")
    await expect(eve.get_by_label("Command for #ops")).to_have_value("/deplyo")
    complaints = [one for one in stage.chromium.complaints if "422" not in one]
    assert complaints == [], "a refusal is a status, and nothing else is an error"


async def test_the_same_without_javascript(stage: Stage) -> None:
    window = await stage.come_in(scripts=False)
    ada, lin, kim = [await stage.tab(window, name) for name in ("ada", "lin", "kim")]
    await ada.get_by_label("Command for #deploys").fill("/deploy api v3 env=prod")
    await ada.get_by_role("button", name="Send").click()
    await expect(ada.get_by_text("accepted; its plan follows.")).to_be_visible()
    what = "service=api version=v3 env=prod"
    for tab, says in ((lin, "1 more person has to approve"), (kim, "Approved; it starts now.")):
        await _until_shown(tab, what, "Approve")
        await _card(tab, what).get_by_role("button", name="Approve").click()
        await expect(tab.locator(".said")).to_contain_text(says)
    await until(lambda: _runs(stage, "prod", "api", "v3"), what="v3 is live")


async def test_it_fits_every_screen(stage: Stage) -> None:
    for width, dark in ((360, False), (360, True), (1280, True), (2560, False)):
        window = await stage.come_in(width=width, dark=dark)
        ada = await stage.tab(window, "ada", "incidents")
        for line in ("/help", "/deploys", "/help deploy"):
            await ada.get_by_label("Command for #incidents").fill(line)
            await ada.keyboard.press("Enter")
            await expect(ada.locator(".echo").last).to_have_text(line)
        assert await ada.evaluate("document.documentElement.scrollWidth") <= width
        shades = await ada.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)")
        assert (sum(shades[:3]) < 200) == dark
        await ada.keyboard.press("Shift+Tab")
        assert await ada.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", "one sees where the keyboard is"
        await window.close()


def _message(tab: Page, what: str) -> Locator:
    """The messages in the room about the run with these arguments."""
    return tab.locator("#log > .message[id]", has_text=what)


def _card(tab: Page, what: str) -> Locator:
    return _message(tab, what).locator(".card")


async def _press(tab: Page, what: str, button: str, *, says: str) -> None:
    await _card(tab, what).get_by_role("button", name=button).click()
    await expect(_message(tab, what).locator(":scope > .answers")).to_contain_text(says)


async def _runs(stage: Stage, env: str, service: str, version: str) -> bool:
    return await stage.running(env, service) == version


async def _until_shown(tab: Page, what: str, button: str) -> None:
    async def look() -> bool:
        await tab.reload()
        return bool(await _card(tab, what).get_by_role("button", name=button).count())

    await until(look, what=f"{button} is on the card")


@asynccontextmanager
async def _stage(world: World, site: str) -> AsyncIterator[Stage]:
    async with served(world, DEMO="true") as web, chromium() as browser:
        with world.workers():
            await until(lambda: _is_ready(web), what="workers are seen")
            yield Stage(web, site, browser)


async def _is_ready(web: Web) -> bool:
    async with web.client() as anybody:
        return (await anybody.get("/ready")).status_code == 200
