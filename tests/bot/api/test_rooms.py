"""The room for programs: what the terminal does with it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from store.databases import WriteSession, transaction
from store.people import deactivate
from store.tokens import end_token
from tests.bot.plans import plan_by_hand
from tests.bot.webs import Web, served
from tests.hubs import World, disposing

CARD = {"title": "#1 deploy api v2", "fallback": "ada asks", "text": "api: v1 → v2", "tone": "waiting"}


async def test_the_channels_are_there_and_no_others(web: Web) -> None:
    async with await web.caller("ada") as ada:
        found = (await ada.get("/api/v1/room/channels")).json()
        wrong = await ada.get("/api/v1/room/messages", params={"channel": "secrets"})
        said = await ada.post("/api/v1/room/say", json={"text": "help", "channel": "secrets"})
    assert [one["title"] for one in found["items"]] == ["#ops", "#deploys", "#incidents", "@ada"]
    assert (wrong.status_code, said.status_code) == (404, 404)
    assert wrong.json()["detail"] == "There is no channel 'secrets'; there are ops, deploys, incidents."


async def test_saying_asks_and_answers_the_asker_alone(web: Web) -> None:
    async with await web.caller("max") as max_:
        helped = (await max_.post("/api/v1/room/say", json={"text": "/help grant", "channel": "ops"})).json()
        asked = (await max_.post("/api/v1/room/say", json={"text": "/grant eve deployer", "channel": "ops", "key": "k"})).json()
        again = (await max_.post("/api/v1/room/say", json={"text": "/grant eve deployer", "channel": "ops", "key": "k"})).json()
        missing = (await max_.post("/api/v1/room/say", json={"text": "/grant eve", "channel": "ops"})).json()
        wrong = (await max_.post("/api/v1/room/say", json={"text": "/grnt eve", "channel": "ops"})).json()
        run = (await max_.get(f"/api/v1/runs/{asked['run']}")).json()
    assert "usage" in helped["reply"]["code"]
    assert asked["reply"]["text"].endswith("accepted; its plan follows.")
    assert again["run"] == asked["run"]
    assert [one["name"] for one in missing["form"]["inputs"]] == ["person", "role", "duration"]
    assert missing["form"]["inputs"][0]["initial"] == "eve"
    assert (wrong["refused"], wrong["run"]) == ("unknown_command", None)
    assert run["place"] == {"platform": "room", "team": "", "channel": "ops", "thread": "", "shared": False}
    assert run["door"] == "terminal"


async def test_a_form_is_sent_and_an_empty_answer_is_no_answer(web: Web) -> None:
    async with await web.caller("max") as max_:
        body = {"command": "grant", "answers": {"person": "eve", "role": "deployer", "duration": ""}, "channel": "ops"}
        asked = (await max_.post("/api/v1/room/form", json=body)).json()
        run = (await max_.get(f"/api/v1/runs/{asked['run']}")).json()
    assert run["origins"] == {"person": "typed", "role": "typed", "duration": "default"}


async def test_a_secret_is_never_typed_into_the_room(web: Web) -> None:
    async with await web.caller("ada") as ada:
        answer = await ada.post("/api/v1/room/say", json={"text": "x" * 8_001})
        empty = await ada.post("/api/v1/room/say", json={"text": ""})
    assert (answer.status_code, empty.status_code) == (422, 422)


async def test_lin_presses_what_she_was_shown(web: Web, world: World) -> None:
    async with await web.caller("max") as max_, await web.caller("lin") as lin:
        run = (await max_.post("/api/v1/room/say", json={"text": "grant eve deployer", "channel": "ops"})).json()["run"]
        digest = await plan_by_hand(world, run)
        press = {"intent": "approve", "target": run, "digest": digest}
        own = await max_.post("/api/v1/room/press", json=press | {"key": "same"})
        right = await lin.post("/api/v1/room/press", json=press | {"key": "same"})
        repeat = await lin.post("/api/v1/room/press", json=press | {"key": "same"})
        second = await lin.post("/api/v1/room/press", json=press)
        strange = await lin.post("/api/v1/room/press", json={"intent": "explode", "target": run})
        details = await max_.post("/api/v1/room/press", json={"intent": "details", "target": run})
    assert "someone else must approve your request" in own.json()["reply"]["text"]
    assert right.json()["reply"]["text"] == repeat.json()["reply"]["text"] == "Approved; it starts now."
    assert "already approved by lin" in second.json()["reply"]["text"]
    assert strange.json()["reply"]["text"] == "This button is not known any more."
    assert details.json()["reply"]["card"]["title"].startswith("#1 grant")


async def test_a_button_opens_a_form_whose_answers_go_the_same_way(web: Web, world: World) -> None:
    async with await web.caller("max") as max_:
        run = (await max_.post("/api/v1/room/say", json={"text": "grant eve deployer", "channel": "ops"})).json()["run"]
        await plan_by_hand(world, run)
        opened = (await max_.post("/api/v1/room/press", json={"intent": "edit", "target": run})).json()["reply"]["form"]
        body = {"intent": opened["intent"], "target": opened["target"], "digest": opened["carried"]["digest"]}
        given = {one["name"]: one["initial"] for one in opened["inputs"]}
        wrong = (await max_.post("/api/v1/room/press", json=body | {"answers": given | {"duration": "soon"}})).json()["reply"]
        right = (await max_.post("/api/v1/room/press", json=body | {"answers": given | {"role": "approver"}})).json()["reply"]
    assert given == {"role": "deployer", "person": "eve", "duration": ""}
    assert list(wrong["form"]["problems"]) == ["duration"]
    assert right["form"] is None
    assert right["text"].startswith("Changed role: deployer → approver.")


async def test_what_is_for_one_person_is_shown_to_nobody_else(web: Web) -> None:
    async with await web.caller("max") as max_, await web.caller("eve") as eve:
        run = (await max_.post("/api/v1/room/say", json={"text": "grant eve deployer", "channel": "ops"})).json()["run"]
        await web.show(run, CARD)
        await web.show(run, {"text": "for max alone", "card": None, "code": "", "form": None}, kind="reply", person="max")
        await web.show(run, CARD | {"title": "decide"}, kind="direct", channel="", person="lin")
        await web.show(run, CARD | {"title": "yours"}, kind="direct", channel="", person="max")
        ops = (await max_.get("/api/v1/room/messages", params={"channel": "ops"})).json()
        hers = (await eve.get("/api/v1/room/messages", params={"channel": "ops"})).json()
        direct = (await max_.get("/api/v1/room/messages")).json()
        new = (await max_.get("/api/v1/room/messages", params={"channel": "ops", "after": ops["next"]})).json()
    assert [one["kind"] for one in ops["items"]] == ["card", "reply"]
    assert ops["items"][0]["card"]["title"] == CARD["title"]
    assert ops["items"][1]["reply"]["text"] == "for max alone"
    assert [one["kind"] for one in hers["items"]] == ["card"]
    assert [one["card"]["title"] for one in direct["items"]] == ["yours"]
    assert new["items"] == []


async def test_events_tell_each_change_and_go_on_where_they_were(world: World) -> None:
    async with served(world) as web, await web.caller("ada") as ada, await web.caller("max") as max_:
        run = (await max_.post("/api/v1/room/say", json={"text": "grant eve deployer", "channel": "ops"})).json()["run"]
        old = await web.show(run, CARD | {"title": "from before"}, channel="deploys")
        async with _stream(ada, channel="ops") as events:
            message = await web.show(run, CARD)
            first = await anext(events)
            await web.edit(message, CARD | {"title": "edited\n\ndata: forged"}, version=2)
            second = await anext(events)
            await web.show(run, CARD | {"title": "elsewhere"}, channel="incidents")
            await web.show(run, {"text": "news"}, kind="reply", person="ada")
            third = await anext(events)
        assert [one["data"]["id"] for one in (first, second)] == [message, message]
        assert first["event"] == "message"
        assert second["data"]["card"]["title"] == "edited\n\ndata: forged"
        assert second["data"]["version"] == 2
        assert third["data"]["reply"]["text"] == "news"
        async with _stream(ada, channel="ops", after="0") as events:
            assert {(await anext(events))["data"]["id"] for _ in range(2)} == {message, third["data"]["id"]}
        async with _stream(ada, channel="deploys", after="0") as events:
            assert (await anext(events))["data"]["id"] == old


async def test_a_stream_ends_with_its_token(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("bot.rooms.HEARTBEAT_SECONDS", 0.05)
    async with served(world) as web:
        token = await web.token("api", "ada")
        async with web.client({"authorization": f"Bearer {token}"}) as ada, _stream(ada, channel="ops") as events:
            await asyncio.sleep(0.15)  # two heartbeats, which a living token survives

            async def end(session: WriteSession) -> None:
                await end_token(session, token)

            await web.hub.committed(end)
            async with asyncio.timeout(60):
                assert [one async for one in events] == []


async def test_who_has_left_is_not_told_one_message_more(world: World) -> None:
    """However busy the channel is: nothing waits for a heartbeat."""
    async with served(world) as web, await web.caller("ada") as ada, await web.caller("lin") as lin, disposing(world.engine()) as worker:
        run = (await lin.post("/api/v1/room/say", json={"text": "deploy api v2", "channel": "ops"})).json()["run"]
        async with _stream(ada, channel="ops") as events, _stream(lin, channel="ops") as others:
            await web.show(run, CARD)
            assert (await anext(events))["data"]["card"]
            async with transaction(worker) as session:
                assert await deactivate(session, "ada")
            await web.show(run, CARD | {"title": "for those who are here"}, kind="direct")
            assert [one async for one in events] == []
            assert await anext(others)
            assert (await anext(others))["data"]["card"]["title"] == "for those who are here"


@asynccontextmanager
async def _stream(client: httpx.AsyncClient, **query: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Server-sent events as they come, comments left out."""
    async with client.stream("GET", "/api/v1/room/events", params=query) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.aiter_lines()
        assert await anext(lines) == ": here"
        yield _events(lines)


async def _events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    found: dict[str, str] = {}
    async with asyncio.timeout(60):
        async for line in lines:
            name, _, value = line.partition(": ")
            if not line and found:
                yield {"event": found["event"], "id": found["id"], "data": json.loads(found["data"])}
                found = {}
            elif name:
                found[name] = found.get(name, "") + value
