"""Script written into everything that a person, another system or a run can write into is text on every page, and does nothing."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final

import pytest
from playwright.async_api import Page as Tab
from sqlalchemy import text

from countersign.replies import Card, Reply
from integrations.slack.blocks import card_blocks, reply_blocks
from integrations.slack.validation import problems
from kit.servers import Servers
from store.databases import reading
from tests.bot.console.pages import Form, Forms, Page
from tests.bot.webs import Browser
from tests.integrations.slack.test_blocks import assert_inert
from tests.stories.browsers import Chromium, chromium, come_in, find_chromium
from tests.stories.columns import CHOSEN_BY_NOBODY
from tests.stories.galleries import HOSTILE, Gallery, open_gallery
from tests.stories.tours import FIRST, Stop, stops

WORDS: Final = (
    "\"'><img class=planted src=x onerror=alert(1)></textarea></pre></title><svg class=planted onload=alert(2)>"
    "<script class=planted>alert(3)</script><a class=planted href=javascript:alert(4)>{{1234*1234}}"
)
HEAD: Final = WORDS[:16]
_WHAT_IS_THERE: Final = """() => document.documentElement.textContent
  + [...document.querySelectorAll("*")].flatMap((one) => [...one.attributes].map((each) => each.value)).join(" ")"""
_WHAT_WAS_MADE: Final = """() => [...document.querySelectorAll("*")].filter((one) => one.classList.contains("planted")
  || one.getAttributeNames().some((name) => name.startsWith("on") || name === "style")
  || (one.hasAttribute("href") && !["http:", "https:"].includes(new URL(one.getAttribute("href"), document.baseURI).protocol))
  || (one.localName === "script" && !new URL(one.src, "http://nowhere.test").pathname.startsWith("/static/"))
  ).map((one) => one.outerHTML.slice(0, 120))"""
_NEVER_SHOWN: Final = ("delivery v3", "delivery none", "without a version")
"""Ids by which a delivery that comes again is known, and the body of one from which no run came."""
_ENDS: Final = ("/leave", "/sessions/end", "/enter/", "/sign-in")


@dataclass
class Walk:
    """A browser with a window for everybody, and what its pages had to say."""

    gallery: Gallery
    chromium: Chromium
    windows: dict[str, Tab] = field(default_factory=dict)
    dialogs: list[str] = field(default_factory=list)

    async def window(self, who: str) -> Tab:
        if who not in self.windows:
            context, web = await self.chromium.context(), self.gallery.web
            tab = await come_in(context, web.address, await web.token("link", who, scopes=())) if who else await context.new_page()
            tab.on("dialog", self._dialog)
            self.windows[who] = tab
        return self.windows[who]

    async def _dialog(self, dialog: object) -> None:
        self.dialogs.append(str(dialog))

    async def read(self, stop: Stop) -> tuple[str, list[str]]:
        """Everything that stands on a page, in attributes as well, and what should never have been made of it."""
        tab = await self.window(stop.who)
        await tab.goto(self.gallery.web.address + stop.at(self.gallery))
        found: str = await tab.evaluate(_WHAT_IS_THERE)
        made: list[str] = await tab.evaluate(_WHAT_WAS_MADE)
        return found, [f"{stop.name}: {one}" for one in made]

    async def everything(self, among: Iterable[Stop]) -> str:
        """The text of these pages; fails if anything on any of them is more than text."""
        texts, wrong = [], []
        for stop in among:
            found, made = await self.read(stop)
            texts.append(found)
            wrong += made
        assert wrong == []
        assert self.dialogs == []
        complaints = [one for one in self.chromium.complaints if "the server responded with a status of 4" not in one]
        assert complaints == [], "nothing was even tried that the content policy forbids"
        return " ".join(texts)


@pytest.fixture(scope="module")
async def walk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Walk]:
    find_chromium()
    folder = tmp_path_factory.mktemp("planted")
    async with open_gallery(servers.fresh_database(), folder, words=WORDS) as gallery, chromium() as browser:
        yield Walk(gallery, browser)


async def test_what_people_systems_and_runs_wrote_is_text_on_every_page(walk: Walk) -> None:
    shown = await walk.everything(stops())
    unseen = [one for one in walk.gallery.planted if one not in _NEVER_SHOWN and f"{one} {HEAD}" not in shown]
    assert not unseen, f"{unseen}: what is on no page was not tried"
    assert "1522756" not in shown.partition("{{1234*1234}}")[2][:12]


async def test_what_was_shown_says_nothing_to_slack_and_no_alert_leads_anywhere_else(walk: Walk) -> None:
    """Every card and answer of the room as Slack would be given it; an address that is none of a page is not kept."""
    async with reading(walk.gallery.bot.owner) as session:
        shown = (await session.execute(text("SELECT kind, card FROM messages WHERE shown > 0 AND card IS NOT NULL"))).all()
        links = set(await session.scalars(text("SELECT link FROM alert_groups UNION SELECT link FROM alerts")))
    assert any("<script class=planted>" in str(one.card) for one in shown)
    for one in shown:
        reply, card = Reply.model_validate, Card.model_validate
        blocks = reply_blocks(reply(one.card)) if one.kind == "reply" else card_blocks(card(one.card))
        assert problems(blocks, surface="message") == []
        assert_inert(blocks)
        assert HOSTILE not in str(blocks)
    assert sorted(one.partition(" ")[0] for one in links) == ["", "https://alerts.example.test", "https://alerts.example.test/checkout"]


async def test_what_is_written_into_every_form_of_every_page_is_text(walk: Walk) -> None:
    """Each kind of form that there is on any page is sent with script in all of its fields, as a browser without scripts sends it."""
    tried: set[tuple[str, ...]] = set()
    browsers = {who: await walk.gallery.web.browser(who) for who in ("ada", "lin", "kim", "max", "eve")}
    for stop in [one for one in stops() if one.who]:
        address = stop.at(walk.gallery)
        page = await browsers[stop.who].client.get(address)
        for form in Forms(page.text, address).found:
            if form.kind not in tried and not form.action.startswith(_ENDS):
                tried.add(form.kind)
                await _send(browsers[stop.who], form)
    assert len(tried) > 25
    await walk.gallery.bot.settle()
    await walk.everything(FIRST)


async def test_everything_that_is_kept_as_text_was_written_to_or_is_nobodys_to_choose(walk: Walk) -> None:
    columns = (
        "SELECT c.table_name AS place, c.column_name AS name"
        " FROM information_schema.columns c JOIN pg_class k ON k.oid = c.table_name::regclass"
        " WHERE c.table_schema = 'public' AND c.data_type IN ('text', 'jsonb', 'ARRAY')"
        " AND k.relkind IN ('r', 'p') AND NOT k.relispartition"
    )
    untouched = set()
    async with reading(walk.gallery.bot.owner) as session:
        for one in (await session.execute(text(columns))).all():
            held = f"SELECT 1 FROM {one.place} WHERE position('class=planted' in \"{one.name}\"::text) > 0 LIMIT 1"  # noqa: S608  of the catalogue
            if (await session.execute(text(held))).first() is None:
                untouched.add(f"{one.place}.{one.name}")
    unexplained = {one for one in untouched if one not in CHOSEN_BY_NOBODY and one.partition(".")[2] not in CHOSEN_BY_NOBODY}
    told = ", ".join(sorted(unexplained))
    assert not unexplained, f"plant words in tests/stories/galleries.py, or say in tests/stories/columns.py why nobody can: {told}"


async def _send(browser: Browser, form: Form) -> None:
    for button in form.buttons or {("", "")}:
        fields = form.filled(WORDS) | ({button[0]: button[1]} if button[0] else {})
        fields |= {"key": fields["key"][:-4] + f"{len(button[1]):04}"} if "key" in fields else {}
        if form.method == "get":
            answer = await browser.client.get(form.action, params=fields)
        else:
            answer = await browser.client.post(form.action, data=fields, follow_redirects=True)
        assert answer.status_code < 500, (form, answer.text)
        assert Page(answer.text).wrong == [], form
