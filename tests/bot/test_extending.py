"""The word before a role ends, and its button, at the doors: a form opens, filled in, and asks for more time."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from commands.ending import tend_grants
from store.databases import transaction
from store.deliveries import Delivered, mark_delivered, take_due
from store.grants import find_grant, give
from store.runs import NewRun, create
from tests.bot.webs import Web
from tests.hubs import World, disposing


@pytest.fixture
async def word(web: Web, world: World) -> dict[str, Any]:
    """The card that tells Ada in the room that her role `approver` ends; workers have given it and shown the card."""
    run = NewRun(
        key=str(uuid4()), command="access request", code_version="c1", risk=3, visibility="staff", asker="ada", door="browser",
        place={"platform": "room", "channel": "ops"}, arguments={}, origins={}, policy="p",
    )  # fmt: skip
    grant = uuid4()
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        await create(session, [run])
        await give(session, grant=grant, subject="ada", role="approver", length=timedelta(minutes=11), run=run.id, approved_by=["max"])
        given = await find_grant(session, grant)
        assert given is not None
        await later(world, timedelta(minutes=2))
        await tend_grants(session, chat="slack")
        (row,) = await take_due(session, limit=10)
        await mark_delivered(session, [Delivered(row.id, row.wanted, row.card)])
    card: dict[str, Any] = row.card["card"]
    return card


async def later(world: World, length: timedelta) -> None:
    async with disposing(world.engine(role="owner")) as engine, engine.begin() as connection:
        await connection.execute(text("UPDATE clock SET shift = shift + cast(:length AS interval)"), {"length": length})


async def test_a_program_reads_the_word_and_is_given_the_form(web: Web, word: dict[str, Any]) -> None:
    async with await web.caller("ada") as ada, await web.caller("lin") as lin:
        (message,) = (await ada.get("/api/v1/room/messages", params={"channel": ""})).json()["items"]
        assert (message["run"], message["private"], message["reply"]["card"]) == (None, True, word)
        (button,) = word["buttons"]
        pressed = {name: button[name] for name in ("intent", "target", "digest")}
        reply = (await ada.post("/api/v1/room/press", json=pressed)).json()["reply"]
        assert reply["text"] == "For how much longer do you need the role approver? Others approve it again."
        assert {one["name"]: one["initial"] for one in reply["form"]["inputs"]} == {"role": "approver", "duration": "1h"}
        others = (await lin.post("/api/v1/room/press", json=pressed)).json()["reply"]
        assert (others["text"], others["form"]) == ("There is no such grant of yours.", None)
        answers = {one["name"]: one["initial"] for one in reply["form"]["inputs"]}
        sent = (await ada.post("/api/v1/room/form", json={"command": reply["form"]["target"], "answers": answers, "channel": "ops"})).json()
        assert sent["reply"]["text"].endswith("access extend: accepted; its plan follows.")


async def test_a_browser_shows_the_form_in_the_answer_to_the_click(web: Web, word: dict[str, Any]) -> None:
    ada = await web.browser("ada")
    page = await ada.page(channel="")
    assert "Role approver ends soon" in page.text
    (button,) = word["buttons"]
    answer = await ada.send("/room/press", channel="", part=True, intent=button["intent"], target=button["target"])
    assert "For how much longer do you need the role approver?" in answer.text
    assert 'name="command" value="access extend"' in answer.text
    assert 'name="a.duration"' in answer.text


async def test_a_button_that_has_outlived_its_role_says_so(web: Web, world: World, word: dict[str, Any]) -> None:
    await later(world, timedelta(minutes=10))
    (button,) = word["buttons"]
    async with await web.caller("ada") as ada:
        body = {"intent": button["intent"], "target": button["target"]}
        reply = (await ada.post("/api/v1/room/press", json=body)).json()["reply"]
    assert reply["text"] == "The role approver has ended already. To ask for it again: access request approver 1h"
