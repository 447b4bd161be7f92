"""Answers that Slack has no room for: all of one comes after it as a file, once, whatever fails on the way, or is behind a link."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from countersign.replies import Reply
from store.databases import reading, transaction
from store.messages import NewMessage, add_messages
from store.runs import NewRun, create
from tests.automations.storms import FAULTS, sender
from tests.bot.slack.doors import settings_of
from tests.fakes.slack import SlackFake
from tests.fakes.slack.tokens import BOT_SCOPES, Token
from tests.hubs import World, disposing, until

CAST = ("ada", "lin", "kim", "max", "eve")
CALLS = ("files.getUploadURLExternal", "upload", "files.completeUploadExternal")
LONG = "\n".join(f"{number:06} nothing to see" for number in range(4_000))


@dataclass
class Desk:
    """A hub that sends, and the Slack it sends to."""

    fake: SlackFake
    engine: AsyncEngine

    async def answer(self, *people: str, code: str = LONG) -> list[UUID]:
        """Each of them is answered; returns the runs."""
        reply = Reply(text="What there is", code=code).model_dump(mode="json")
        runs = [_run(person) for person in people]
        async with transaction(self.engine) as session:
            await create(session, runs)
            await add_messages(session, [NewMessage(one.id, "reply", "slack", "T1", person=one.asker, card=reply) for one in runs])
        return [one.id for one in runs]

    async def until_calm(self) -> None:
        async def calm() -> bool:
            async with reading(self.engine) as session:
                return not (await session.execute(text("SELECT count(*) FROM messages WHERE due_at IS NOT NULL"))).scalar_one()

        await until(calm, seconds=60, what="all is shown")


def _run(asker: str) -> NewRun:
    return NewRun(
        key=str(uuid4()),
        command="list",
        code_version="c1",
        risk=0,
        visibility="staff",
        asker=asker,
        door="slack",
        place={"platform": "slack", "team": "T1", "channel": "C_OPS"},
        arguments={},
        origins={},
        policy="p",
    )


@asynccontextmanager
async def desk_of(world: World, *, senders: int = 1, **settings: str) -> AsyncIterator[Desk]:
    async with SlackFake() as fake, disposing(world.engine(role="owner")) as engine, AsyncExitStack() as stack:
        for name in CAST:
            fake.add_user(f"U0{name.upper()}", name=name, email=f"{name}@example.test")
        settings_of(world, fake, **settings)
        for number in range(senders):
            await stack.enter_async_context(sender(world, fake, number))
        yield Desk(fake, engine)


async def test_a_long_answer_comes_as_a_file_once_whatever_fails(world: World) -> None:
    async with desk_of(world, senders=2, SLACK_LONG_ANSWERS="file") as desk:
        desk.fake.fail_often(*CALLS, "conversations.history", seed=11, share=0.15, modes=FAULTS)
        desk.fake.fail_next(CALLS[2], "drop_after")
        await desk.answer(*CAST)
        await desk.until_calm()
        shown = desk.fake.uploads.shown
        assert sorted(one.channel for one in shown) == sorted({one.channel for one in shown}), "one file for each"
        assert len(shown) == len(CAST)
        assert {(one.content or b"").decode() for one in shown} == {f"What there is\n\n{LONG}\n"}
        assert desk.fake.faults > 1
        for channel in {one.channel for one in shown}:
            answer, file = [one for one in desk.fake.world.messages if one.channel == channel]
            assert ("Slack has no room" in answer.content, bool(file.files)) == (True, True)


async def test_a_file_that_may_have_been_shown_is_looked_for_before_it_is_sent_again(world: World) -> None:
    async with desk_of(world, SLACK_LONG_ANSWERS="file") as desk:
        desk.fake.fail_next(CALLS[2], "drop_after")
        await desk.answer("ada")
        await desk.until_calm()
        assert [len(desk.fake.calls(one)) for one in CALLS] == [1, 1, 1]
        assert len(desk.fake.uploads.shown) == 1


async def test_a_file_is_never_sent_to_an_address_that_is_not_slacks(world: World) -> None:
    async with desk_of(world, SLACK_LONG_ANSWERS="file") as desk:
        desk.fake.uploads.base = desk.fake.hooks_base.replace("127.0.0.1", "localhost")
        await desk.answer("ada")

        async def given_up() -> bool:
            async with reading(desk.engine) as session:
                return "does not lead to Slack" in ((await session.execute(text("SELECT max(error) FROM messages"))).scalar_one() or "")

        await until(given_up, what="it is kept for a person to look at")
        assert not desk.fake.calls("upload")


@pytest.mark.parametrize("kept", ["link", "no scope", "short"])
async def test_otherwise_there_is_a_link_alone(world: World, kept: str) -> None:
    async with desk_of(world, SLACK_LONG_ANSWERS="link" if kept == "link" else "file") as desk:
        if kept == "no scope":
            desk.fake.tokens.add(desk.fake.bot_token, Token("bot", BOT_SCOPES - {"files:write"}))
        (run,) = await desk.answer("ada", code="one line" if kept == "short" else LONG)
        await desk.until_calm()
        (answer,) = desk.fake.world.messages
        assert ("Show all of it" in answer.content) == (kept != "short")
        assert desk.fake.uploads.begun == {}
        async with reading(desk.engine) as session:
            rows = (await session.execute(text("SELECT count(*), count(dead_at) FROM messages WHERE run_id = :run"), {"run": run})).one()
        assert tuple(rows) == (2 if kept == "no scope" else 1, 0)
