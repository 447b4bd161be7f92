"""One run, approved in Slack and in the browser: whoever looks sees it within two seconds."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Page, expect
from sqlalchemy import text

from store.databases import reading
from store.embedded import DatabaseUrls
from tests.bot.slack.doors import COMMANDS, populate, settings_of
from tests.bot.webs import Web, served
from tests.fakes.slack import Message, SlackFake
from tests.hubs import World, until
from tests.stories.browsers import Chromium, chromium, come_in, find_chromium

CURRENT: Final = 2.0
View = Callable[[], Awaitable[str]]
_ALONE = 'risk="high", slash=True'
_BOTH = _ALONE + ', approval=Approval(by="deploy:approve", count=2)'


@dataclass
class Doors:
    """The hub with workers, the workspace and the browser before it."""

    web: Web
    fake: SlackFake
    chromium: Chromium
    late: list[str] = field(default_factory=list)

    async def window(self, who: str, path: str) -> Page:
        context = await self.chromium.context()
        page = await come_in(context, self.web.address, await self.web.token("link", who, scopes=()))
        await page.goto(self.web.address + path)
        await expect(page.locator("#live")).to_have_text("live")
        return page

    async def ended(self, number: int) -> float:
        """When the run succeeded, by our clock."""
        query = text("SELECT extract(epoch FROM countersign_now() - moved_at) FROM runs WHERE number = :number AND status = 'succeeded'")

        async def look() -> float | None:
            async with reading(self.web.hub.engine) as session:
                since = (await session.execute(query, {"number": number})).scalar()
            return None if since is None else time.monotonic() - float(since)

        return float(await until(look, what="the run ends"))

    async def current(self, since: float, words: str, **views: View) -> None:
        """Waits until each of the views shows these words, and notes those that took longer than two seconds."""
        texts: dict[str, str] = {}
        seconds: dict[str, float] = {}

        async def look() -> bool:
            for name in views.keys() - seconds.keys():
                texts[name] = await views[name]()
                if words in texts[name]:
                    seconds[name] = time.monotonic() - since
            return len(seconds) == len(views)

        try:
            await until(look)
        except AssertionError:
            pytest.fail(f"{words!r} is not in {[one for one in texts.items() if one[0] not in seconds]}")
        self.late += [f"{words!r} in {name} after {took:.2f} s" for name, took in seconds.items() if took > CURRENT]


@pytest.fixture
async def doors(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[Doors]:
    find_chromium()
    world = World(database, redis_url, tmp_path)
    async with SlackFake("http", rate_limits=False) as fake:
        populate(fake)
        settings_of(world, fake)
        (tmp_path / "commands" / "ship.py").write_text(
            COMMANDS.replace("import Context", "import Approval, Context").replace(_ALONE, _BOTH)
        )
        await world.prepare()
        async with served(world) as web, chromium() as browser:
            fake.target_url = f"{web.address}/slack/events"
            with world.workers():
                yield Doors(web, fake, browser)


def slack(message: Message) -> View:
    async def look() -> str:
        return message.content

    return look


def shown(page: Page, where: str) -> View:
    async def look() -> str:
        return " ".join(await page.locator(where).all_inner_texts())

    return look


@pytest.mark.quiet
async def test_lin_approves_in_slack_and_kim_in_the_browser(doors: Doors) -> None:
    ada, lin = doors.fake.user("U0ADA"), doors.fake.user("U0LIN")
    await ada.slash("/ship", "api v2", channel="C_OPS")
    card = await doors.fake.wait_message(channel="C_OPS", containing="waiting for approval")
    number = card.content.partition("#")[2].split()[0]
    inbox, run, runs = [await doors.window(*one) for one in (("kim", "/inbox"), ("ada", f"/runs/{number}"), ("ada", "/runs"))]
    clicked = time.monotonic()
    await lin.click(card, "Approve")
    views = {"slack": slack(card), "inbox": shown(inbox, ".log .card"), "run": shown(run, ".message .card")}
    await doors.current(clicked, "1 of 2: lin", **views)
    clicked = time.monotonic()
    await inbox.locator(".log .card summary", has_text="Approve").click()
    await inbox.locator(".log .card form.sure").get_by_role("button", name="Approve").click()
    await doors.current(clicked, "Nothing waits for you.", inbox=shown(inbox, "[data-live]"))
    await doors.current(clicked, "kim: approve, through browser", decisions=shown(run, "[aria-label=Decisions]"))
    await doors.current(clicked, "2 of 2: lin, kim", slack=slack(card), run=views["run"])
    await doors.current(await doors.ended(int(number)), "succeeded", slack=slack(card), run=views["run"], runs=shown(runs, "tbody"))
    assert doors.late == []
    assert doors.chromium.complaints == []
