"""A hub that closes leaves nothing behind: what is still being read is given up, and its connection with it."""

import asyncio
import hashlib

import pytest
from sqlalchemy import text

from bot.deadlines import NothingDone
from bot.hubs import open_hub
from commands.policies import Policy, compile_policy
from store.databases import ReadSession, transaction
from store.people import Account
from store.policies import apply_policy
from tests.bot.webs import Web
from tests.hubs import POLICY, World, disposing, until
from tests.stories.lines import true


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


async def test_what_open_pages_wait_for_is_heard_from_the_start(world: World) -> None:
    """A channel that was new to the listening connection was heard up to five seconds late, and the first page was told as late."""

    async def notify(session: ReadSession) -> None:
        await session.execute(text("SELECT pg_notify('countersign_work', 'work'), pg_notify('countersign_room', 'room')"))

    ready: list[str] = []
    heard: list[str] = []
    async with open_hub(world.settings()) as hub:
        hub.notices.on("countersign_other", ready.append)
        await until(lambda: true(ready), what="it listens")
        for channel in ("countersign_work", "countersign_room"):
            hub.notices.on(channel, heard.append)
        await hub.read(notify)
        await until(lambda: true(len(heard) == 2), seconds=4, what="both are heard")
    assert sorted(heard) == ["room", "work"]


async def test_a_policy_is_compiled_once_while_its_text_is_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    def compiling(body: str) -> Policy:
        compiled.append(body)
        return compile_policy(body)

    monkeypatch.setattr("commands.loading.compile_policy", compiling)
    async with open_hub(world.settings()) as hub, disposing(world.engine(role="owner")) as owner:
        first = await hub.rulebook()
        hub.forget()
        assert (await hub.rulebook()).policy.file is first.policy.file
        assert compiled == [POLICY]
        async with transaction(owner) as session:
            body = f"{POLICY}# a remark\n"
            await apply_policy(session, digest=hashlib.sha256(body.encode()).hexdigest(), body=body, by="max")
        hub.forget()
        assert (await hub.rulebook()).policy.body == body
        assert compiled == [POLICY, body]
