"""Tokens: whose they are, what they may be used for, and when they stop working."""

import pytest
from sqlalchemy import text

from bot.refusals import Refusals
from store.audits import search
from store.databases import WriteSession, reading, transaction
from store.people import deactivate
from store.tokens import end_token
from tests.bot.webs import Web
from tests.hubs import World, disposing

RUN = "/api/v1/runs/12"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer cs_api_made-up", "Bearer é".encode(), "cs_api_x"])
async def test_without_a_live_token_nothing_is_said(web: Web, header: str | bytes | None) -> None:
    async with web.client() as stranger:
        if header is not None:
            stranger.headers.raw.append((b"authorization", header if isinstance(header, bytes) else header.encode()))
        for path in ("/runs", "/runs/1", "/commands", "/audit", "/room/channels", "/room/messages", "/room/events"):
            answer = await stranger.get(f"/api/v1{path}")
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["reason"] == "unauthorized"


@pytest.mark.parametrize(
    ("scopes", "works"),
    [(("read",), {"read"}), (("submit",), {"submit"}), (("decide",), {"decide"}), (("admin",), {"read", "submit", "decide"}), ((), set())],
)
async def test_a_token_does_what_it_was_made_for(web: Web, scopes: tuple[str, ...], works: set[str]) -> None:
    async with await web.caller("ada", scopes=scopes) as ada:
        answers = {
            "read": [await ada.get("/api/v1/runs"), await ada.get("/api/v1/commands"), await ada.get("/api/v1/room/messages")],
            "submit": [
                await ada.post("/api/v1/runs", json={"text": "whoami"}),
                await ada.post("/api/v1/room/say", json={"text": "whoami"}),
                await ada.post("/api/v1/room/form", json={"command": "whoami"}),
            ],
            "decide": [
                await ada.post(f"{RUN}/decisions", json={"verdict": "deny"}),
                await ada.post(f"{RUN}/resume", json={"choice": "stop"}),
                await ada.post("/api/v1/room/press", json={"intent": "approve", "target": "x"}),
            ],
        }
    for scope, found in answers.items():
        for one in found:
            denied = one.status_code == 403 and one.json()["reason"] == "missing_scope"
            assert denied == (scope not in works), (scope, one.text)


async def test_a_token_that_may_only_ask_cannot_decide_by_typing_nor_administer(web: Web) -> None:
    async with await web.caller("max", scopes=("read", "submit")) as max_:
        lines = ("approve 1", "/Deny 1", "grant eve deployer", "policy apply x")
        typed = [await max_.post("/api/v1/runs", json={"text": line}) for line in lines]
        named = await max_.post("/api/v1/runs", json={"command": "grant", "arguments": {"person": "eve", "role": "deployer"}})
        said = await max_.post("/api/v1/room/say", json={"text": "grant eve deployer"})
        filled = await max_.post("/api/v1/room/form", json={"command": "approve", "answers": {"number": "1"}})
    for one in (*typed, named, said, filled):
        assert (one.status_code, one.json()["reason"]) == (403, "missing_scope")
    async with reading(web.hub.engine) as session:
        rows = await search(session, kind="request:refused", actor="max")
    assert len(rows) == 7
    assert {row.detail["scope"] for row in rows} == {"decide", "admin"}


async def test_an_expired_an_ended_and_a_wrong_kind_of_token_are_dead(web: Web) -> None:
    ended = await web.token("api", "ada")

    async def end(session: WriteSession) -> None:
        await end_token(session, ended)

    await web.hub.committed(end)
    dead = [await web.token("api", "ada", lifetime=-1), ended, await web.token("session", "ada"), await web.token("link", "ada")]
    async with web.client() as ada:
        for value in dead:
            assert (await ada.get("/api/v1/runs", headers={"authorization": f"Bearer {value}"})).status_code == 401


async def test_who_has_left_is_out_at_once(web: Web, world: World) -> None:
    async with await web.caller("ada") as ada:
        assert (await ada.get("/api/v1/runs")).status_code == 200
        async with disposing(world.engine()) as engine, transaction(engine) as session:
            await session.execute(text("UPDATE people SET active = false WHERE name = 'ada'"))
        answer = await ada.get("/api/v1/runs")
    assert answer.status_code == 401
    assert answer.json()["detail"] == "Your account is not active any more."


async def test_who_was_deactivated_has_no_token_any_more(web: Web, world: World) -> None:
    async with await web.caller("ada") as ada:
        async with disposing(world.engine()) as engine, transaction(engine) as session:
            assert await deactivate(session, "ada")
        answer = await ada.get("/api/v1/runs")
    assert answer.status_code == 401
    assert answer.json()["detail"].startswith("This token is not known, has expired or was ended")


async def test_strangers_leave_one_row_a_minute_and_not_a_thousand(web: Web) -> None:
    async with web.client() as stranger:
        for _ in range(20):
            await stranger.get("/api/v1/runs")
        await stranger.get("/api/v1/runs", headers={"authorization": "Bearer cs_api_guess"})
    refusals: Refusals = web.app.state.refusals
    await refusals.flush()
    await refusals.flush()
    async with reading(web.hub.engine) as session:
        rows = await search(session, kind="request:refused")
    assert sorted((row.detail["reason"], row.detail["count"]) for row in rows) == [("no_token", 20), ("unknown_token", 1)]
