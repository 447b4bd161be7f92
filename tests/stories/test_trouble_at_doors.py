"""When Postgres is silent, gone or cut off, what a door says is what is true, and it says it in time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

import pytest
from sqlalchemy import text

from bot.deadlines import NotConfirmed, answering
from store.databases import reading
from tests.bot.slack.doors import slack_of
from tests.bot.webs import web_of
from tests.fakes.proxies import DelayingProxy
from tests.hubs import World, until
from tests.stories.lines import KINDS, LONGEST_SECONDS, Asked, Line, Said, check, proxied

pytestmark = pytest.mark.quiet
_SAID: Final[dict[str, Said]] = {
    "nothing was done": "nothing done",
    "Not confirmed": "not confirmed",
    "may still be done": "not confirmed",
    "accepted": "done",
}


async def test_the_answer_to_a_commit_may_be_lost(line: Line) -> None:
    """The connection dies inside COMMIT, or around the writer's one statement, before or after the server got it."""
    await line.well_again()
    for n in range(24):
        one = line.new(KINDS[n % 4])
        # A BEGIN may name the level READ COMMITTED, so the end of the message belongs to what is looked for.
        line.proxy.cut_on(one.key.encode() if one.kind == "submit" else b"COMMIT\0", forward=n % 3 > 0)
        await line.ask(one)
        assert one.said == ("done" if one.kind == "submit" else "not confirmed"), (one, "the writer finds out by asking again")
        assert line.proxy.cuts == n + 1
    await check(line, "lost answers")


async def test_what_was_done_is_never_denied_by_what_comes_after(line: Line) -> None:
    one = line.new("submit")
    with answering():
        assert "accepted" in await line.deliver(one)
        line.proxy.stall()
        with pytest.raises(NotConfirmed, match="accepted"):
            await line.hub.read(lambda session: session.execute(text("SELECT 1")))
    line.proxy.resume()
    assert await line.effects(one) == 1


async def test_the_api_says_the_same(line: Line) -> None:
    """201 means that it is there; 503 says which of the other two it is."""
    async with web_of(line.world) as web:
        client = await web.caller("ada")

        async def post(one: Asked) -> None:
            body = {"command": "book", "arguments": {"name": one.key}, "idempotency_key": one.key}
            began = time.monotonic()
            answer = await client.post("/api/v1/runs", json=body)
            one.seconds, told = time.monotonic() - began, answer.json()
            one.said = "done" if answer.status_code in (200, 201) else told["reason"].replace("_", " ")
            one.sentence = answer.text

        for start, end in _pairs(line):
            asked = [Asked(f"api-{start.__name__}-{n}", "submit") for n in range(6)]
            await _through(asked, post, start, end)
            async with reading(line.direct) as session:
                found = await session.execute(text("SELECT arguments->>'name' AS name FROM runs WHERE door = 'api'"))
                _agree(asked, {row.name for row in found})
            await until(lambda: _works(post), what="the API answers again")
        await client.aclose()


async def test_slack_says_the_same(world: World) -> None:
    """A signed slash command, over HTTP, with the hub behind a bad line."""
    async with proxied(world) as proxy, slack_of(world) as slack:

        async def slash(one: Asked) -> None:
            began = time.monotonic()
            told = await slack.person("ada").slash("/ship", f"{one.key} v2", channel="C_OPS")
            one.seconds = time.monotonic() - began
            assert told.ephemeral is not None
            one.sentence = told.ephemeral.content
            one.said = _SAID[next(words for words in _SAID if words in one.sentence)]

        await slash(Asked("warm", "submit"))
        for start, end in _pairs(proxy):
            asked = [Asked(f"slack-{start.__name__}-{n}", "submit") for n in range(4)]
            await _through(asked, slash, start, end)
            _agree(asked, {row.name for row in await slack.rows("SELECT arguments->>'service' AS name FROM runs")})
            await until(lambda: _works(slash), what="Slack is answered again")


def _pairs(line: Line | DelayingProxy) -> list[tuple[Callable[[], object], Callable[[], object]]]:
    """How each trouble begins and ends."""
    proxy = line.proxy if isinstance(line, Line) else line
    return [(proxy.stall, proxy.resume), (proxy.refuse, proxy.accept), (proxy.cut, proxy.resume)]


async def _through(
    asked: list[Asked], ask: Callable[[Asked], Awaitable[None]], start: Callable[[], object], end: Callable[[], object]
) -> None:
    """Asks while the trouble lasts, and returns when what it held up has arrived."""
    await _done(start())
    await asyncio.gather(*(ask(one) for one in asked))
    await _done(end())
    await asyncio.sleep(0.5)


async def _done(made: object) -> None:
    if isinstance(made, Awaitable):
        await made


def _agree(asked: list[Asked], there: set[str]) -> None:
    for one in asked:
        assert one.seconds < LONGEST_SECONDS, one
        assert one.said == "not confirmed" or (one.said == "done") == (one.key in there), one


async def _works(ask: Callable[[Asked], Awaitable[None]]) -> bool:
    one = Asked(f"again-{uuid4()}", "submit")
    await ask(one)
    return one.said == "done"
