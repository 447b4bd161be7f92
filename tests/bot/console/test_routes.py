"""The room in a browser without JavaScript: every form is sent and the page comes back with the answer."""

import re
from pathlib import Path

import pytest

from bot.deadlines import NothingDone
from tests.bot.console.pages import Page
from tests.bot.plans import COMMANDS, plan_by_hand
from tests.bot.webs import Web, hidden, served, web_of
from tests.hubs import World


async def test_ada_finds_her_way(web: Web) -> None:
    ada = await web.browser("ada")
    page = (await ada.page()).text
    for one in ("#ops", "#deploys", "#incidents", "@ada", "Nothing has happened in #ops yet", "What you may run here"):
        assert one in page
    assert "/grant" not in page
    assert Page(page).wrong == []
    assert (await ada.page(channel="nowhere")).status_code == 404
    for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
        found = await ada.client.get(name)
        assert found.status_code == 200
        assert "immutable" in found.headers["cache-control"]


async def test_typing_helps_asks_and_remembers_what_was_wrong(web: Web) -> None:
    max_ = await web.browser("max")
    helped = await max_.say("/help grant")
    asked = await max_.say("/grant eve deployer")
    wrong = await max_.say("/grnt eve deployer")
    nothing = await max_.say("   ")
    part = await max_.say("/whoami", part=True)
    assert "usage" in helped.text
    assert "accepted; its plan follows." in asked.text
    assert 'value=""' in re.findall(r'<input id="line"[^>]*>', asked.text)[0]
    assert wrong.status_code == nothing.status_code == 422
    assert "Did you mean grant" in wrong.text
    assert 'value="/grnt eve deployer"' in wrong.text
    assert "Type a command first" in nothing.text
    assert part.text.strip().startswith("<div")
    assert "<html" not in part.text


async def test_sending_the_same_form_twice_is_one_request(web: Web) -> None:
    max_ = await web.browser("max")
    for _ in range(2):
        await max_.say("/grant eve deployer", key="the-same-key")
    async with await web.caller("max") as caller:
        assert len((await caller.get("/api/v1/runs")).json()["items"]) == 1


async def test_missing_arguments_become_a_form_that_keeps_what_was_given(world: World, tmp_path: Path) -> None:
    (tmp_path / "valves").mkdir()
    (tmp_path / "valves" / "valves.py").write_text(COMMANDS)
    async with web_of(world, COMMANDS=str(tmp_path / "valves")) as web:
        ada = await web.browser("ada")
        given = {"a.valve": "main", "a.code": "hunter2-xyz"}
        opened = await ada.page(form="open valve")
        missing = await ada.say("/open valve main")
        wrong = await ada.send("/room/form", command="open valve", more=given | {"a.turns": "many"})
        right = await ada.send("/room/form", command="open valve", more=given | {"a.turns": ""})
        typed = await ada.say("/open valve main code=hunter2-xyz")
        unknown = await ada.page(form="grant")
    assert re.search(r'<input [^>]*name="a.code" required[^>]* type="password" value=""', opened.text)
    assert re.search(r'<input [^>]*name="a.valve" required[^>]* type="text" value="main"', missing.text)
    assert "code: is required" in missing.text
    assert wrong.status_code == 422
    assert 'value="main"' in wrong.text
    assert 'value="many"' in wrong.text
    assert "accepted; its plan follows." in right.text
    assert "never typed into chat" in typed.text
    assert unknown.status_code == 404, "ada may not grant"
    for one in (wrong, right, typed):
        assert "hunter2" not in one.text


async def test_lin_approves_with_the_buttons_of_the_card(web: Web, world: World) -> None:
    max_, lin = await web.browser("max"), await web.browser("lin")
    await max_.say("/grant eve deployer")
    async with await web.caller("max") as caller:
        run = (await caller.get("/api/v1/runs")).json()["items"][0]["id"]
        digest = await plan_by_hand(world, run)
        card = (await caller.get(f"/api/v1/runs/{run}")).json()["card"]
    await web.show(run, card)
    page = await lin.page()
    assert "Approve grant role=deployer person=eve?" in page.text, "a risky button asks with the target's name"
    assert "Why? The asker will read it." in page.text
    own = await max_.send("/room/press", intent="approve", target=run, digest=digest)
    right = await lin.send("/room/press", intent="approve", target=run, digest=digest)
    details = await lin.send("/room/press", intent="details", target=run, part=True)
    assert "someone else must approve your request" in own.text
    assert "Approved; it starts now." in right.text
    assert "#1 grant role=deployer person=eve" in details.text


async def test_max_changes_his_request_in_the_form_of_its_card(web: Web, world: World) -> None:
    max_ = await web.browser("max")
    await max_.say("/grant eve deployer")
    async with await web.caller("max") as caller:
        run = (await caller.get("/api/v1/runs")).json()["items"][0]["id"]
        await plan_by_hand(world, run)
    opened = await max_.send("/room/press", intent="edit", target=run, part=True)
    assert 'action="/room/press"' in opened.text
    assert 'name="a.role"' in opened.text
    answers = {"a.person": "eve", "a.role": "approver", "a.duration": "soon"}
    form = {"intent": "edit", "target": run, "digest": "d" * 64}
    wrong = await max_.send("/room/press", part=True, more=form | answers)
    assert wrong.status_code == 422
    assert 'value="approver"' in wrong.text, "what was typed stays"
    right = await max_.send("/room/press", part=True, more=form | answers | {"a.duration": ""})
    assert "Changed role: deployer → approver." in right.text


async def test_when_the_database_is_gone_nothing_typed_is_lost(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object, **__: object) -> None:
        raise NothingDone

    max_ = await web.browser("max")
    form = {name: hidden((await max_.page()).text, name) for name in ("csrf", "key", "channel")}
    monkeypatch.setattr(web.hub, "read", gone)
    answer = await max_.client.post("/room/say", data=form | {"text": "/grant eve deployer"})
    part = await max_.client.post("/room/say", data=form | {"text": "/grant eve deployer"}, headers={"countersign-part": "1"})
    assert answer.status_code == part.status_code == 503
    assert "nothing was done" in answer.text
    assert "/grant eve deployer" in answer.text
    assert "nothing was done" in part.text


async def test_the_page_is_live(world: World) -> None:
    async with served(world) as web:
        max_, lin = await web.browser("max"), await web.browser("lin")
        await max_.say("/grant eve deployer")
        async with await web.caller("max") as caller:
            run = (await caller.get("/api/v1/runs")).json()["items"][0]["id"]
        page = (await lin.page()).text
        events = re.findall(r'data-events="([^"]+)"', page)[0].replace("&amp;", "&")
        async with lin.client.stream("GET", events) as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            message = await web.show(run, {"title": "#1 <b>grant</b>\r\nevent: x", "fallback": "f"})
            told = [await anext(lines) for _ in range(8)]
    assert told[1] == "event: message"
    assert f'data: <li class="message" id="m-{message}"' in "\n".join(told)
    assert all(line.startswith(("event: message", "id: ", "data: ")) or not line for line in told)
