"""The web process is killed again and again while three people decide: no decision is lost, none is doubled, and no answer was a lie."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.console.sessions import cookie_name
from store.databases import reading, transaction
from store.tokens import issue_token
from tests.bot.slack.doors import populate, settings_of
from tests.fakes.slack import SlackFake
from tests.hubs import World, disposing, until
from tests.stories.clerks import AT_ONCE, Caller, Clerk, Clicker, Reader, Relay
from tests.stories.waiting import make_waiting

AHEAD: Final = 4 * AT_ONCE
INSTANTS: Final = 0.06
"""Kills come at an instant within so many seconds of an answer: about as long as ten decisions take."""
_DECISIONS: Final = text("SELECT run_id, person, verdict, door FROM decisions")
_EVENTS: Final = text("SELECT run_id, kind, actor FROM audit_events WHERE kind IN ('decision:approve', 'decision:refused', 'run:queued')")
_REPLIES: Final = text("SELECT card->>'text' AS said, count(*) AS n FROM messages WHERE kind = 'reply' GROUP BY 1")


@pytest.mark.parametrize(
    "kills",
    [
        15,
        pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
async def test_a_web_process_is_killed_while_people_decide(world: World, kills: int) -> None:
    seed = int(os.environ.get("KILLS_SEED", str(time.time_ns() % 1_000_000)))
    dice, began = random.Random(seed), time.monotonic()
    async with disposing(world.engine(role="owner")) as engine, _staffed(world, engine) as (relay, clerks):
        await relay.ready()
        async with asyncio.TaskGroup() as group:
            for one in clerks:
                group.create_task(one.work())
            killing = group.create_task(_kill(relay, clerks, dice, kills))
            asked = await _ask(engine, clerks, killing)
        hit = await killing
        seconds = time.monotonic() - began
        counts = await _check(engine, clerks, asked)
    print(
        f"kills seed {seed}: {kills} kills, {hit} of them with decisions in the air, in {seconds:.1f} s; {asked} requests; {dict(counts)}"
    )
    assert hit > kills / 2
    assert counts["answers lost after the commit"]


@asynccontextmanager
async def _staffed(world: World, engine: AsyncEngine) -> AsyncIterator[tuple[Relay, list[Clerk]]]:
    """Lin in Slack, Kim in a browser and Max through REST, before web processes that begin."""
    world.extra["COUNTERSIGN_PUBLIC_URL"] = "http://127.0.0.1:8000"  # so that the cookie's name is the same whichever of them answers
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(SlackFake(rate_limits=False))
        populate(fake)
        settings = settings_of(world, fake)
        async with transaction(engine) as session:
            token = await issue_token(session, kind="api", person="max", label="test", scopes=("decide",), lifetime=3_600)
            cookie = await issue_token(session, kind="session", person="kim", label="test", scopes=(), lifetime=3_600)
        relay = Relay(world)
        stack.callback(relay.end)
        reader = Reader("kim", relay, cookie={cookie_name(settings): cookie})
        await relay.ready()
        await reader.open()
        yield relay, [Clicker("lin", relay, fake=fake), reader, Caller("max", relay, token=token)]


async def _ask(engine: AsyncEngine, clerks: Sequence[Clerk], killing: "asyncio.Task[Any]") -> int:
    """So many requests that nobody runs out of them before the last kill; each wants all three of them. Returns how many there were."""
    asked = 0
    while not killing.done():
        if min(one.todo.qsize() for one in clerks) < AHEAD:
            async with transaction(engine) as session:
                for run in await make_waiting(session, [len(clerks)] * AHEAD, asker="ada", by="deploy:approve"):
                    for one in clerks:
                        one.todo.put_nowait(run)
            asked += AHEAD
        await asyncio.sleep(0.01)
    for one in clerks:
        one.todo.put_nowait(None)
    return asked


async def _kill(relay: Relay, clerks: Sequence[Clerk], dice: random.Random, times: int) -> int:
    """Each time when decisions have come through the process that is killed; returns how often some were in the air."""
    hit = 0
    for _ in range(times):
        await relay.ready()
        answered = _answered(clerks)
        await until(lambda answered=answered: _more(clerks, answered), what="a decision comes through")  # type: ignore[misc]
        await asyncio.sleep(dice.random() * INSTANTS)
        hit += any(one.flying for one in clerks)
        relay.kill()
    return hit


async def _more(clerks: Sequence[Clerk], answered: int) -> bool:
    return _answered(clerks) > answered


def _answered(clerks: Sequence[Clerk]) -> int:
    return sum(len(one.told) for one in clerks)


async def _check(engine: AsyncEngine, clerks: Sequence[Clerk], asked: int) -> Counter[str]:
    """Every decision that was answered is there once, and nothing else is."""
    async with reading(engine) as session:
        decisions = Counter((str(one.run_id), one.person) for one in await session.execute(_DECISIONS))
        events = Counter((one.kind, str(one.run_id), one.actor) for one in await session.execute(_EVENTS))
        statuses = Counter((await session.scalars(text("SELECT status FROM runs"))).all())
        replies = {one.said: one.n for one in await session.execute(_REPLIES)}
    told = {(run, one.name) for one in clerks for run in one.told}
    assert len(told) == asked * len(clerks)
    assert not told - decisions.keys(), f"lost: {told - decisions.keys()}"
    assert not decisions.keys() - told, f"decided by nobody: {decisions.keys() - told}"
    assert max(decisions.values()) == 1, f"doubled: {[one for one, n in decisions.items() if n > 1]}"
    approved = {(run, actor): n for (kind, run, actor), n in events.items() if kind == "decision:approve"}
    assert approved == dict(decisions), "the record and the decisions are not the same"
    begun = Counter({run: n for (kind, run, _), n in events.items() if kind == "run:queued"})
    assert len(begun) == asked, "a run that everybody approved does not begin"
    assert max(begun.values()) == 1, "a run begins twice"
    assert statuses == {"queued": asked}
    # Slack was told nothing of how often a click came: each of Lin's has one answer, and it is the same one.
    assert sum(replies.values()) == asked, replies
    assert all(said.startswith("Approved") for said in replies), replies
    counts = sum((one.counts for one in clerks), Counter[str]())
    return counts + Counter({"second votes refused": sum(n for (kind, _, _), n in events.items() if kind == "decision:refused")})
