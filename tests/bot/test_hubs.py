"""A hub that closes leaves nothing behind: what is still being read is given up, and its connection with it."""

import asyncio

import pytest
from sqlalchemy import text

from bot.deadlines import NothingDone
from bot.hubs import open_hub
from store.databases import ReadSession
from store.people import Account
from tests.bot.webs import Web
from tests.hubs import World


async def test_what_is_under_way_is_given_up(world: World) -> None:
    begun = asyncio.Event()

    async def slow(session: ReadSession) -> None:
        begun.set()
        await session.execute(text("SELECT pg_sleep(30)"))

    async with open_hub(world.settings()) as hub:
        asked = asyncio.create_task(hub.read(slow))
        await begun.wait()
    assert asked.done()
    with pytest.raises(NothingDone):
        await asked
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_is_read_for_whoever_asks_next_ends(world: World) -> None:
    async with open_hub(world.settings()) as hub:
        asked = [asyncio.create_task(hub.rulebook()), asyncio.create_task(hub.person(Account("api", "", "ada")))]
        await asyncio.sleep(0)
        for one in asked:
            one.cancel()
        await asyncio.wait(asked)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_pages_hear_again_after_the_database_did_not_answer(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    pulse, fails = web.app.state.pulse, asyncio.Event()

    async def failing() -> None:
        fails.set()
        raise NothingDone

    heard = pulse.watch(None, after=0)
    await anext(heard)
    with monkeypatch.context() as broken:
        broken.setattr(pulse, "_changed", failing)
        pulse._noticed.set()
        await fails.wait()
    assert not pulse._looking.done()
    await heard.aclose()
