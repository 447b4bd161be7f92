"""Whatever happens to Postgres, every request is answered in time and no answer contradicts the database."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, Literal

import pytest

from kit.servers import Servers, data_folder, running_servers
from tests.hubs import until
from tests.stories.lines import Asked, Line, bad_line, true

pytestmark = pytest.mark.quiet
LONGEST: Final = 2.5
LATE_EFFECTS: Final = 7.0
Kind = Literal["submit", "press", "control"]
KINDS: Final[tuple[Kind, ...]] = ("submit", "submit", "press", "control")


@pytest.fixture
def own_servers() -> Iterator[Servers]:
    """A Postgres of this story's own, because it is stopped."""
    with data_folder() as folder, running_servers(folder) as servers:
        yield servers


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
        await until(lambda: true(line.proxy.cuts > cuts), what="the answer is swallowed")
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
