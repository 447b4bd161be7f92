"""People, one person and the policy, as admins, others and nobody see them."""

import re

from tests.bot.console.pages import Page
from tests.bot.console.test_inert import CORPUS
from tests.bot.console.test_pages import post
from tests.bot.webs import Web


async def test_max_sees_everybody_and_eve_herself(web: Web) -> None:
    max_, lin = await web.browser("max"), await web.browser("lin")
    everybody, own = await max_.client.get("/people"), await lin.client.get("/people")
    for name in ("ada", "lin", "kim", "max"):
        assert f'href="/people/{name}"' in everybody.text
    assert 'href="/people/lin"' in own.text
    assert 'href="/people/ada"' not in own.text
    assert (await lin.client.get("/people/lin")).status_code == 200
    hidden, unknown = await lin.client.get("/people/ada"), await lin.client.get("/people/nobody-here")
    assert hidden.status_code == unknown.status_code == 404
    assert len({re.sub("request <code>[0-9a-f]+</code>", "", one.text) for one in (hidden, unknown)}) == 1
    assert re.findall(r'href="/people/(\w+)"', (await max_.client.get("/people?q=ki")).text) == ["kim"]
    for one in (everybody, own, hidden):
        assert Page(one.text).wrong == []


async def test_a_person_has_links_to_the_commands_that_change_them(web: Web) -> None:
    max_, lin = await web.browser("max"), await web.browser("lin")
    page = (await max_.client.get("/people/eve")).text
    assert 'href="/ask?command=grant&amp;a.person=eve"' in page
    assert 'href="/ask?command=link&amp;a.person=eve"' in page
    assert "command=grant" not in (await lin.client.get("/people/lin")).text
    assert "command=grant" not in (await max_.client.get("/people/max")).text, "nobody grants to themselves"
    form = await max_.client.get("/ask?command=grant&a.person=eve")
    assert 'value="eve"' in form.text


async def test_policy_shows_its_rules_to_max_and_explains_to_everybody(web: Web) -> None:
    max_, lin = await web.browser("max"), await web.browser("lin")
    full, short = await max_.client.get("/policy"), await lin.client.get("/policy")
    for one in (full, short):
        assert "profile" in one.text
        assert Page(one.text).wrong == []
    assert 'aria-label="Rules"' in full.text
    assert 'aria-label="Rules"' not in short.text
    told = await post(lin, short, "/ask", go="ask", command="policy explain", **{"a.person": "lin", "a.command": "grant eve deployer"})
    assert told.status_code == 200
    assert "may run" in told.text
    assert (await max_.client.get("/policy?compare=none")).status_code == 404


async def test_who_has_what_is_shown_to_admins_with_the_way_to_a_review(web: Web) -> None:
    max_, lin = await web.browser("max"), await web.browser("lin")
    page = await max_.client.get("/access")
    assert page.status_code == 200, page.text
    assert re.search(r"group \w+", page.text), "what comes with a group is shown with it"
    assert "not lately" in page.text
    assert 'href="/ask?command=access+review"' in page.text
    assert 'href="/access"' in (await max_.client.get("/people")).text
    assert Page(page.text).wrong == []
    assert (await lin.client.get("/access")).status_code == 403
    assert 'href="/access' not in (await lin.client.get("/people")).text


async def test_evil_names_are_inert(web: Web) -> None:
    max_ = await web.browser("max")
    for evil in CORPUS:
        for path in ("/people", "/policy", "/people/x", "/access"):
            page = await max_.client.get(path, params={"q": evil[:64], "after": evil[:64], "compare": evil[:64]})
            assert page.status_code in (200, 404)
            assert Page(page.text).wrong == [], (path, evil)
