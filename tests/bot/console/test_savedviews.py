"""Views: filters under a name, for oneself or a group, and the one that is seen first; and the inbox searched by words."""

import re

import pytest

from tests.bot.console.pages import Page
from tests.bot.console.test_inert import CORPUS
from tests.bot.console.test_pages import ask_for_grant
from tests.bot.webs import Browser, Web
from tests.hubs import World


async def views_on(browser: Browser, path: str) -> list[str]:
    page = await browser.client.get(path)
    assert page.status_code == 200, page.text
    assert Page(page.text).wrong == []
    found = re.search(r'aria-label="Saved views">(.*?)</nav>', page.text, re.DOTALL)
    return re.findall(r">([^<>]+?)(?: <small>|</a>)", found[1]) if found else []


async def test_lin_saves_a_view_for_herself_and_sees_it_first(web: Web) -> None:
    lin, max_ = await web.browser("lin"), await web.browser("max")
    assert await views_on(lin, "/runs") == []
    assert await views_on(lin, "/runs?status=bad&asker=ada") == ["Save this view"]
    form = re.search(r'href="(/ask\?command=view\+save[^"]+)"', (await lin.client.get("/runs?status=bad&asker=ada")).text)
    assert form
    filled = await lin.client.get(form[1].replace("&amp;", "&"))
    assert 'value="asker=ada&amp;status=bad"' in filled.text
    said = await lin.say('view save runs "Broken" "asker=ada&status=bad" --first')
    assert "Saved: Broken of runs, which you see first." in said.text
    first = await lin.client.get("/runs")
    assert (first.status_code, first.headers["location"]) == (303, "/runs?asker=ada&status=bad")
    assert await views_on(lin, first.headers["location"]) == ["Broken", "Remove this view"]
    assert await views_on(lin, "/runs?all=1") == ["Broken"]
    assert 'href="/runs?all=1"' in (await lin.client.get("/runs?status=bad")).text
    assert await views_on(max_, "/runs") == [], "it is hers"
    assert (await lin.client.get("/inbox")).status_code == 200, "of another page"
    await lin.say("view remove runs Broken")
    assert (await lin.client.get("/runs")).status_code == 200
    assert "You have no view &#39;Broken&#39;" in (await lin.say("view remove runs Broken")).text


async def test_a_view_is_shared_with_a_group_of_ones_own(web: Web) -> None:
    lin, max_ = await web.browser("lin"), await web.browser("max")
    group = re.search(r"groups +(\w+)", (await lin.say("whoami")).text)
    assert group
    await lin.say(f'view save runs "Mine" "asker=lin" share={group[1]}')
    assert "lin" in (await lin.say("view list")).text
    assert "should be a group that you are in" in (await lin.say('view save runs "X" "asker=lin" share=nobodys')).text
    seen = await views_on(max_, "/runs")
    assert seen in (["Mine"], []), "as he is in the group or not"


WRONG = [("nothing=1", "is no filter of runs"), ("prod", "behind the question mark"), ("q=" + "x" * 201, "at most")]


@pytest.mark.parametrize(("query", "said"), WRONG)
async def test_what_is_no_filter_is_refused(web: Web, query: str, said: str) -> None:
    lin = await web.browser("lin")
    assert said in (await lin.say(f'view save runs X "{query}"')).text


async def test_names_of_views_are_inert(web: Web) -> None:
    lin = await web.browser("lin")
    for evil in CORPUS:
        await lin.send("/room/form", command="view save", more={"a.page": "runs", "a.name": evil[:40], "a.query": f"q={evil[:20]}"})
    page = await lin.client.get("/runs?all=1")
    assert Page(page.text).wrong == []


FOUND = {
    "": {"deployer", "approver"},
    "role=approver": {"approver"},
    "dep": {"deployer"},
    "max grant": {"deployer", "approver"},
    "none": set(),
}


async def test_the_inbox_is_searched_by_any_words_of_a_request(web: Web, world: World) -> None:
    lin, max_ = await web.browser("lin"), await web.browser("max")
    await ask_for_grant(web, world)
    await ask_for_grant(web, world, role="approver")
    for words, roles in FOUND.items():
        page = await lin.client.get("/inbox", params={"q": words})
        assert set(re.findall(r"grant role=(\w+)", page.text)) == roles, words
        assert Page(page.text).wrong == []
    asked = await max_.client.get("/inbox?tab=asked&q=approver")
    assert set(re.findall(r"grant role=(\w+)", asked.text)) == {"approver"}
    assert "Nothing here has these words." in (await max_.client.get("/inbox?tab=done&q=approver")).text
    told = (await lin.say("inbox approver")).text.split("This waits for you")[-1]
    assert "role=approver" in told
    assert "Nothing with these words waits for you." in (await lin.say("inbox nothing-like-it")).text
    for evil in CORPUS:
        assert Page((await lin.client.get("/inbox", params={"q": evil[:200]})).text).wrong == []
