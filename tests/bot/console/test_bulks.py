"""Several requests are decided at once, each by itself: what moved meanwhile, is critical or is one's own is not."""

import re
from uuid import uuid4

from tests.bot.console.pages import Page
from tests.bot.console.test_inert import CORPUS
from tests.bot.console.test_pages import ask_for_grant, post
from tests.bot.webs import Web
from tests.hubs import World


async def test_lin_decides_two_of_three_and_each_has_its_answer(web: Web, world: World) -> None:
    lin, max_ = await web.browser("lin"), await web.browser("max")
    (one, seen), (two, _), (three, other) = [await ask_for_grant(web, world, role=role) for role in ("deployer", "approver", "deployer")]
    page = await lin.client.get("/inbox")
    assert Page(page.text).wrong == []
    picks = dict(re.findall(r'name="(pick\.\d+)" value="([^"]+)"', page.text))
    assert [value.split()[0] for value in picks.values()] == [one, two, three]
    chosen = {"pick.1": f"{one} {seen}", "pick.2": f"{two} {'0' * 64}"}
    answer = await post(lin, page, "/inbox/decide", verdict="approve", reason="as agreed", **chosen)
    assert answer.status_code == 200, answer.text
    assert Page(answer.text).wrong == []
    assert answer.text.count("Approved; it starts now.") == 1, "the other was not shown like that"
    left = dict(re.findall(r'name="(pick\.\d+)" value="([^"]+)"', (await lin.client.get("/inbox")).text))
    assert [value.split()[0] for value in left.values()] == [two, three]
    mine = await post(max_, await max_.client.get("/inbox"), "/inbox/decide", verdict="approve", **{"pick.1": f"{three} {other}"})
    assert "someone else must approve your request" in mine.text.lower()
    denied = await post(lin, page, "/inbox/decide", verdict="deny", key=f"{uuid4()}", **{"pick.1": f"{three} {other}"})
    assert "Denied" in denied.text
    again = await post(lin, page, "/inbox/decide", verdict="approve", key=f"{uuid4()}", **{"pick.1": f"{three} {other}"})
    assert "Approved" not in again.text


async def test_nonsense_decides_nothing(web: Web) -> None:
    lin = await web.browser("lin")
    page = await lin.client.get("/inbox")
    assert "You chose none, so nothing was done." in (await post(lin, page, "/inbox/decide", verdict="approve")).text
    assert (await post(lin, page, "/inbox/decide", verdict="maybe")).status_code == 400
    many = {f"pick.{number}": f"{uuid4()} x" for number in range(21)}
    assert (await post(lin, page, "/inbox/decide", verdict="approve", **many)).status_code == 400
    for evil in CORPUS:
        answer = await post(lin, page, "/inbox/decide", verdict="approve", key=f"{uuid4()}", **{"pick.1": evil[:200]})
        assert Page(answer.text).wrong == []
        assert "Approved" not in answer.text
