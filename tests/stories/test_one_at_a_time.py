"""One lock, real workers that are killed again and again, people who are asked in between: counted outside, never two inside; none lost."""

import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from bot.presses import Press
from countersign.invocations import Door
from tests.hubs import World, until
from tests.stories.houses import House, executing, open_house

RUNS = 5
KILLS = 5
SOURCE = '''
"""A room for one."""

import asyncio
from pathlib import Path

from countersign import Context, Plan, PlanningContext, ask_done, command, step

TRACE = Path({trace!r})


def put(line: str) -> None:
    with TRACE.open("a") as file:
        file.write(line + "\\n")


@step(idempotent=True)
async def go_in(ctx: Context, name: str) -> None:
    """Goes in."""
    put(f"in {{name}}")
    await asyncio.sleep(0.2)


@step(idempotent=True)
async def come_out(ctx: Context, name: str) -> None:
    """Comes out."""
    await asyncio.sleep(0.2)
    put(f"out {{name}}")


@command("visit", permission="room:visit", risk="low", lock="room")
async def visit(ctx: PlanningContext, name: str, asked: bool = False) -> Plan:
    """Be in the room alone."""
    return Plan(f"{{name}} visits", go_in(name), *([ask_done("lin", f"Look at {{name}}")] if asked else []), come_out(name))
'''
POLICY = """
profile: strict
people: {ada: {groups: [staff]}, lin: {}}
roles: {visitor: ["room:visit"]}
groups: {staff: [visitor]}
"""


@pytest.fixture
async def house(world: World) -> AsyncIterator[House]:
    async with open_house(world, SOURCE, POLICY, LEASE_SECONDS="3", EXECUTING_PROCESSES="2") as house:
        yield house


def visits(trace: Path) -> list[str]:
    """Who was in, one after the other; fails when somebody comes in while another is there."""
    inside, found = "", []
    for line in trace.read_text().splitlines():
        what, _, name = line.partition(" ")
        assert inside in ("", name), f"{name} comes {what} while {inside} is there"
        inside = name
        if what == "out":
            found.append(name)
            inside = ""
    return found


async def test_never_two_at_once_whatever_dies_and_whoever_is_asked(house: House) -> None:
    seed = random.randrange(1_000_000)
    dice = random.Random(seed)
    with house.world.workers() as supervisor:
        runs = [await house.ask(f"visit v{n} {'yes' if n in (1, 3) else 'no'}") for n in range(RUNS)]
        killed = 0

        async def all_done() -> bool:
            nonlocal killed
            wanted = dice.random() < 0.06 or (not killed and house.trace.exists())  # the first one while somebody is inside
            if killed < KILLS and wanted and (victims := executing(supervisor.pid)):
                os.kill(dice.choice(victims), signal.SIGKILL)
                killed += 1
            for task in await house.rows("SELECT id FROM tasks WHERE state = 'open'"):
                click = Press(str(uuid4()), "task", task, Door.browser, digest="done")
                await house.hub.press(await house.person("lin"), click)
            states = await house.rows("SELECT status FROM runs")
            assert "failed" not in states, seed
            return len(states) == RUNS and set(states) == {"succeeded"}

        try:
            await until(all_done, seconds=100, what=f"all visits end (seed {seed})")
        except AssertionError:
            states = await house.rows(
                "SELECT row(r.number, r.status, r.due_at, r.worker, r.lease_until, r.failures, r.outcome)::text FROM runs r"
            )
            waits = await house.rows(
                "SELECT w::text FROM waits w UNION ALL SELECT l::text FROM locks l UNION ALL SELECT t::text FROM tasks t"
            )
            raise AssertionError("\n".join([str(killed), *states, *waits])) from None
    found = visits(house.trace)
    assert sorted(set(found)) == [f"v{n}" for n in range(RUNS)], seed
    assert killed, seed
    assert len(runs) == RUNS
    assert not await house.rows("SELECT run_id FROM waits w JOIN runs r ON r.id = w.run_id WHERE r.status <> 'succeeded'")
