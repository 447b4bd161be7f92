"""Inbox, list of runs, one run and Ask, in a browser without JavaScript."""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bot.console.pages import Page
from tests.bot.console.test_inert import CORPUS
from tests.bot.plans import COMMANDS, plan_by_hand
from tests.bot.webs import Browser, Web, hidden, web_of
from tests.hubs import World
from tests.plans import counted


async def ask_for_grant(web: Web, world: World, *, role: str = "deployer", reason: str = "", **plan: Any) -> tuple[str, str]:
    """Max asks for a grant, which waits for approval; the run's id and digest."""
    async with await web.caller("max") as caller:
        body = {"command": "grant", "arguments": {"person": "eve", "role": role}, "reason": reason}
        run = (await caller.post("/api/v1/runs", json=body)).json()["id"]
    return run, await plan_by_hand(world, run, **plan)


async def post(browser: Browser, page: httpx.Response, path: str, **fields: str) -> httpx.Response:
    """A form of a page, sent with what the page carries."""
    own = {name: hidden(page.text, name) for name in ("csrf", "key", "as")}
    return await browser.client.post(path, data=own | fields)


async def test_lin_decides_in_her_inbox_and_reads_what_came_of_it_there(web: Web, world: World) -> None:
    lin = await web.browser("lin")
    assert "Nothing waits for you." in (await lin.client.get("/inbox")).text
    run, digest = await ask_for_grant(web, world)
    page = await lin.client.get("/inbox")
    assert "grant role=deployer person=eve" in page.text
    assert '<span class="count" id="count-inbox">1</span>' in page.text
    assert Page(page.text).wrong == []
    answer = await post(lin, page, "/room/press", back="/inbox", intent="approve", target=run, digest=digest)
    assert answer.status_code == 303
    after = await lin.client.get(answer.headers["location"])
    assert "Approved; it starts now." in after.text
    assert "Nothing waits for you." in after.text
    assert "grant role=deployer" in (await lin.client.get("/inbox?tab=done")).text
    max_ = await web.browser("max")
    assert "grant role=deployer" in (await max_.client.get("/inbox?tab=asked")).text
    assert "Approved; it starts now." not in (await max_.client.get(answer.headers["location"])).text, "that was said to lin"


@pytest.mark.parametrize(
    "back", ["//evil.test", "https://evil.test/", "/\\evil.test", "javascript:alert(1)", "/inbox\r\nx: y", "/%2f%2fevil.test"]
)
async def test_an_answer_never_leads_to_another_site(web: Web, back: str) -> None:
    lin = await web.browser("lin")
    answer = await post(lin, await lin.page(), "/room/press", back=back, intent="details", target="x", channel="ops")
    assert answer.status_code == 200
    assert "location" not in answer.headers


async def test_runs_are_found_by_what_was_asked(web: Web, world: World) -> None:
    await ask_for_grant(web, world, role="deployer")
    await ask_for_grant(web, world, role="approver")
    lin = await web.browser("lin")

    async def found(query: str) -> list[str]:
        page = await lin.client.get(f"/runs?{query}")
        assert page.status_code == 200, page.text
        return re.findall(r"<code>grant role=(\w+)", page.text)

    assert await found("") == ["approver", "deployer"]
    assert await found("argument=role%3Ddeployer") == ["deployer"]
    assert await found("argument=role%3Ddeployer+person%3Dada") == []
    assert await found("asker=max&command=grant&door=api&status=awaiting_approval") == ["approver", "deployer"]
    assert await found("status=bad") == await found("asker=lin") == await found("until=2020-01-01") == await found("group=nobody") == []
    assert await found("since=2020-01-01&group=admins") == ["approver", "deployer"]
    assert await found("before=2") == ["deployer"]
    for wrong, why in (("argument=prod", "should be name=value"), ("since=soon", "should be a day"), ("status=odd", "There is no state")):
        page = await lin.client.get(f"/runs?{wrong}")
        assert page.status_code == 422
        assert why in page.text


async def test_a_run_has_a_page_with_its_story(web: Web, world: World) -> None:
    lookup, guard = {"check": {"title": "find(eve)"}}, {"check": {"title": "is_well()"}, "for": "10m"}
    step = {"title": "give(eve)", "undo": {"title": "take(eve)", "lookup": lookup}, "lookup": lookup, "guard": guard, "timeout": "30s"}
    run, digest = await ask_for_grant(web, world, reason="OPS-12", steps=[step])
    max_, lin = await web.browser("max"), await web.browser("lin")
    page = await lin.client.get("/runs/1")
    for one in ("grant role=deployer person=eve", "OPS-12", digest, run, "something will happen", "Nobody has decided yet."):
        assert one in page.text
    told = "undone by take(eve) · at most 30s · watched for 10m by is_well() · looked up by find(eve) if in doubt"
    assert f"{told} · its undo looked up by find(eve)" in page.text
    assert "· give(eve)  ◷ watched for 10m, looked up if in doubt" in page.text
    assert "Record (" not in page.text, "lin may not read the record"
    assert "Record (" in (await max_.client.get("/runs/1")).text
    assert f'data-live="/console/events?run={run}&amp;after=' in page.text
    part = await lin.client.get("/runs/1", headers={"countersign-part": "1"})
    assert "<html" not in part.text
    assert "grant role=deployer" in part.text
    assert (await lin.client.get("/runs/99")).status_code == 404


async def test_a_list_asks_as_little_about_many_private_runs_as_about_one(world: World, tmp_path: Path) -> None:
    (tmp_path / "valves").mkdir()
    (tmp_path / "valves" / "valves.py").write_text(COMMANDS)
    async with web_of(world, COMMANDS=str(tmp_path / "valves")) as web, await web.caller("max") as max_:
        own = (await web.browser("max")).client
        lists = [((await web.browser("lin")).client, "/runs"), (max_, "/api/v1/runs"), (own, "/inbox?tab=asked")]
        asked = []
        for more in (1, 7):
            for _ in range(more):
                assert (await max_.post("/api/v1/runs", json={"command": "look inside"})).status_code == 201
            for client, path in lists:
                await client.get(path)
                with counted(web.hub.engine) as statements:
                    assert (await client.get(path)).status_code == 200
                asked.append(statements.total())
        assert len((await max_.get("/api/v1/runs")).json()["items"]) == 8
        assert "No run that you may see is like this." in (await lists[0][0].get("/runs")).text
        assert (await own.get("/inbox?tab=asked")).text.count("look inside") >= 8
    assert asked[:3] == asked[3:]


async def test_ask_says_what_policy_would_and_keeps_what_was_typed(world: World, tmp_path: Path) -> None:
    (tmp_path / "valves").mkdir()
    (tmp_path / "valves" / "valves.py").write_text(COMMANDS)
    async with web_of(world, COMMANDS=str(tmp_path / "valves")) as web:
        max_ = await web.browser("max")
        assert "open valve" in (await max_.client.get("/ask")).text
        page = await max_.client.get("/ask?command=open+valve")
        given = {"command": "open valve", "a.valve": "main", "a.code": "hunter2-xyz", "a.turns": "2"}
        told = await post(max_, page, "/ask", go="explain", **given)
        wrong = await post(max_, page, "/ask", go="ask", **given | {"a.turns": "many"})
        dry = await post(max_, page, "/ask", go="dry", **given)
        grant = await post(max_, page, "/ask", go="explain", command="grant", **{"a.person": "eve", "a.role": "deployer"})
        async with await web.caller("max") as caller:
            runs = (await caller.get("/api/v1/runs")).json()["items"]
    assert "It needs" in told.text
    assert "It needs approval" in grant.text
    assert "1 of: " in grant.text
    assert wrong.status_code == 422
    assert 'value="main"' in wrong.text
    assert 'value="many"' in wrong.text
    assert dry.headers["location"] == "/runs/1"
    assert [(one["command"], one["dry_run"]) for one in runs] == [("open valve", True)]
    for one in (told, wrong):
        assert "hunter2" not in one.text, "a secret is asked for again"


async def test_eve_is_told_nothing_of_a_command_that_she_has_not(web: Web) -> None:
    lin = await web.browser("lin")
    unknown, hidden_one = await lin.client.get("/ask?command=nonesuch"), await lin.client.get("/ask?command=grant")
    assert unknown.status_code == hidden_one.status_code == 404
    told, hidden_told = [re.sub("request <code>[0-9a-f-]+</code>", "", one.text) for one in (unknown, hidden_one)]
    assert told != unknown.text, "each has the id by which it is found in logs and record"
    assert told.replace("nonesuch", "grant") == hidden_told


async def test_evil_arguments_are_inert_on_every_page(web: Web, world: World) -> None:
    for evil in CORPUS:
        async with await web.caller("max") as caller:
            body = {"command": "grant", "arguments": {"person": "eve", "role": evil.replace("\n", " ")}, "reason": evil}
            answer = await caller.post("/api/v1/runs", json=body)
        if answer.status_code == 201:
            await plan_by_hand(world, answer.json()["id"], summary=evil, preview=evil, warning=evil)
    lin = await web.browser("lin")
    for path in (
        "/inbox",
        "/runs",
        "/runs/1",
        "/runs/2",
        f"/runs?command={CORPUS[0]}&asker={CORPUS[3]}",
        f"/ask?command=grant&a.role={CORPUS[1]}",
    ):
        page = await lin.client.get(path)
        assert Page(page.text).wrong == [], path
