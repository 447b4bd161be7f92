"""Whatever happens to Postgres, every request is answered in time and no answer contradicts the database."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

import pytest
from sqlalchemy import text

from bot.deadlines import NotConfirmed, answering
from kit.servers import Servers, data_folder, running_servers
from store.databases import reading
from tests.bot.slack.doors import slack_of
from tests.bot.webs import web_of
from tests.fakes.proxies import DelayingProxy
from tests.hubs import World, until
from tests.stories.lines import Asked, Line, Said, bad_line, proxied

pytestmark = pytest.mark.alone
LONGEST: Final = 2.5
LATE_EFFECTS: Final = 7.0
Kind = Literal["submit", "press", "control"]
_SAID: Final[dict[str, Said]] = {
    "nothing was done": "nothing done",
    "Not confirmed": "not confirmed",
    "may still be done": "not confirmed",
    "accepted": "done",
}
KINDS: Final[tuple[Kind, ...]] = ("submit", "submit", "press", "control")


@pytest.fixture
def own_servers() -> Iterator[Servers]:
    """A Postgres of this story's own, because it is stopped."""
    with data_folder() as folder, running_servers(folder) as servers:
        yield servers


@pytest.fixture
async def line(servers: Servers, tmp_path: Path) -> AsyncIterator[Line]:
    async with bad_line(servers, tmp_path, waiting=40) as made:
        yield made


@pytest.mark.parametrize("kind", ["submit", "press", "control"])
async def test_a_request_delivered_three_times_has_one_effect(line: Line, kind: Kind) -> None:
    one = line.new(kind)
    answers = [(await line.ask(one)).sentence for _ in range(3)]
    assert one.said == "done"
    assert await line.effects(one) == 1
    assert kind == "submit" or len(set(answers)) == 1


@pytest.mark.parametrize("kind", ["submit", "press", "control"])
async def test_a_request_delivered_three_times_at_once_has_one_effect(line: Line, kind: Kind) -> None:
    for _ in range(5):
        one = line.new(kind)
        await asyncio.gather(*(line.ask(one) for _ in range(3)))
        assert one.said == "done", one.sentence
        assert await line.effects(one) == 1


async def test_a_key_that_belongs_to_another_request_does_nothing_and_harms_nobody(line: Line) -> None:
    control, run = line.new("control"), line.new("submit")
    await line.ask(control)
    run.key = control.key
    with pytest.raises(Exception, match="this key was used for another request"):
        await line.ask(run)
    assert (await line.ask(line.new("submit"))).said == "done"


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
    await _check(line, "lost answers")


async def test_a_listener_that_is_cut_off_or_hears_only_silence_listens_anew(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []
    line.hub.notices.on("countersign_work", heard.append)
    await until(lambda: _true(heard), what="it listens")
    for trouble in (line.proxy.cut, line.proxy.stall):
        heard.clear()
        caplog.clear()
        trouble()
        await until(lambda: _true("notices are interrupted" in caplog.text), what="the trouble is noticed")
        line.proxy.resume()
        await until(lambda: _true(heard), what="it listens again")


async def test_what_was_done_is_never_denied_by_what_comes_after(line: Line) -> None:
    one = line.new("submit")
    with answering():
        assert "accepted" in await line.deliver(one)
        line.proxy.stall()
        with pytest.raises(NotConfirmed, match="accepted"):
            await line.hub.read(lambda session: session.execute(text("SELECT 1")))
    line.proxy.resume()
    assert await line.effects(one) == 1


@pytest.mark.timeout(150)
async def test_no_answer_is_late_and_none_contradicts_the_database(own_servers: Servers, tmp_path: Path) -> None:
    seed = int(os.environ.get("TROUBLE_SEED", str(time.time_ns() % 1_000_000)))
    dice = random.Random(seed)
    print(f"trouble seed {seed}")
    async with bad_line(own_servers, tmp_path, waiting=120) as line:
        await line.well_again()
        troubles = [_slow, _stalled, _stopped, _swallowed, _cut, _restarted, _stalled, _slow]
        dice.shuffle(troubles)
        for trouble in troubles:
            await trouble(line, dice)
            back = await line.well_again()
            print(f"  {trouble.__name__[1:]}: carried out again after {back:.1f} s")
        assert len(line.asked) >= 100
        await asyncio.sleep(LATE_EFFECTS)  # what was sent slowly may still arrive; nothing that was denied may
        await _check(line, f"trouble seed {seed}")


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


async def _check(line: Line, story: str) -> None:
    """Answers against the database; then everything is repeated with its key, and has exactly one effect."""
    counts: Counter[str] = Counter()
    for one in line.asked:
        effects = await line.effects(one)
        counts[f"{one.said}{', yet it was' if effects and one.said == 'not confirmed' else ''}"] += 1
        assert one.seconds < LONGEST, f"{story}: {one} was answered late"
        allowed = {"done": {1}, "nothing done": {0}, "not confirmed": {0, 1}}[one.said]
        assert effects in allowed, f"{story}: {one} contradicts the database, which has {effects}"
    print(f"{story}: {len(line.asked)} requests, the slowest {max(one.seconds for one in line.asked):.2f} s: {dict(counts)}")
    for one in list(line.asked):
        await line.ask(one)
        assert one.said == "done", f"{story}: {one} cannot be repeated"
        assert await line.effects(one) == 1, f"{story}: {one} was repeated and has more than one effect"


async def _burst(line: Line, dice: random.Random, count: int, meanwhile: Callable[[], Awaitable[None]] | None = None) -> list[Asked]:
    """Requests of all kinds within a second or so, while something happens to the line."""

    async def ask() -> Asked:
        await asyncio.sleep(dice.random())
        return await line.ask(line.new(dice.choice(KINDS)))

    tasks = [asyncio.create_task(ask()) for _ in range(count)]
    if meanwhile:
        await meanwhile()
    return list(await asyncio.gather(*tasks))


async def _slow(line: Line, dice: random.Random) -> None:
    line.proxy.delay = 5
    await _burst(line, dice, 14)
    line.proxy.delay = 0


async def _stalled(line: Line, dice: random.Random) -> None:
    async def stall() -> None:
        await asyncio.sleep(dice.random() / 2)
        line.proxy.stall()

    await _burst(line, dice, 14, stall)
    line.proxy.resume()


async def _stopped(line: Line, dice: random.Random) -> None:
    await line.proxy.refuse()
    answers = await _burst(line, dice, 14)
    assert "done" not in {one.said for one in answers}, answers  # what was sent on a connection before its end showed is in doubt
    await line.proxy.accept()


async def _swallowed(line: Line, dice: random.Random) -> None:
    """The server gets a run, and is gone before it answers."""

    async def swallow(*, forward: bool) -> None:
        one, cuts = line.new("submit"), line.proxy.cuts
        line.proxy.cut_on(one.key.encode(), forward=forward)
        asking = asyncio.create_task(line.ask(one))
        await until(lambda: _true(line.proxy.cuts > cuts), what="the answer is swallowed")
        await line.proxy.refuse()
        assert (await asking).said != "nothing done", one
        await line.proxy.accept()
        await line.well_again()

    for forward in (True, True, False):
        await swallow(forward=forward)


async def _cut(line: Line, dice: random.Random) -> None:
    async def cut() -> None:
        for _ in range(10):
            await asyncio.sleep(0.1)
            line.proxy.cut()

    await _burst(line, dice, 14, cut)


async def _restarted(line: Line, dice: random.Random) -> None:
    async def restart() -> None:
        await asyncio.sleep(0.3)
        await asyncio.to_thread(line.servers.postgres.stop)
        await asyncio.to_thread(line.servers.postgres.start)

    await _burst(line, dice, 14, restart)
    await line.direct.dispose()  # its connections ended with the server; those of the hub are the hub's own business


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
        assert one.seconds < LONGEST, one
        assert one.said == "not confirmed" or (one.said == "done") == (one.key in there), one


async def _works(ask: Callable[[Asked], Awaitable[None]]) -> bool:
    one = Asked(f"again-{uuid4()}", "submit")
    await ask(one)
    return one.said == "done"


async def _true(value: object) -> bool:
    return bool(value)
