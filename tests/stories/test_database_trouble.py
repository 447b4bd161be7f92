"""Whatever happens to Postgres, every request is answered in time and no answer contradicts the database."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from kit.servers import Servers, data_folder, running_servers
from tests.hubs import until
from tests.stories.lines import KINDS, Asked, Line, bad_line, check, true

pytestmark = pytest.mark.quiet
LATE_EFFECTS: Final = 7.0
SEED: Final = os.environ.get("TROUBLE_SEED") or os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(time.time_ns())
"""The same in each process, so that the halves are those of one order."""


@pytest.fixture
def own_servers() -> Iterator[Servers]:
    """A Postgres of this story's own, because it is stopped."""
    with data_folder() as folder, running_servers(folder) as servers:
        yield servers


@pytest.mark.parametrize("half", [0, 1])
async def test_no_answer_is_late_and_none_contradicts_the_database(own_servers: Servers, tmp_path: Path, half: int) -> None:
    """All troubles in a drawn order, one half beside the other: each has a hub and a Postgres of its own."""
    print(f"trouble seed {SEED}")
    troubles, dice = [_slow, _stalled, _stopped, _swallowed, _cut, _restarted, _stalled, _slow], random.Random(f"{SEED} {half}")
    random.Random(SEED).shuffle(troubles)
    async with bad_line(own_servers, tmp_path, waiting=80) as line:
        await line.well_again()
        for trouble in troubles[half::2]:
            await trouble(line, dice)
            back = await line.well_again()
            print(f"  {trouble.__name__[1:]}: carried out again after {back:.1f} s")
        assert len(line.asked) >= 50
        await asyncio.sleep(LATE_EFFECTS)  # what was sent slowly may still arrive; nothing that was denied may
        await check(line, f"trouble seed {SEED}")


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
