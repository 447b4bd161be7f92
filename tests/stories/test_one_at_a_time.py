"""One lock, real workers that are killed again and again, people who are asked in between: counted outside, never two inside; none lost."""

import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from bot.hubs import Hub, open_hub
from bot.presses import Press
from countersign.invocations import Door, Invocation, Place
from store.databases import reading
from store.people import Person, find_person
from tests.hubs import World, disposing, until

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


@dataclass
class House:
    """A hub and the trace that the steps leave."""

    world: World
    hub: Hub
    trace: Path

    async def person(self, name: str) -> Person:
        async def find() -> Person | None:
            async with reading(self.hub.engine) as session:
                return await find_person(session, name)

        found: Person = await until(find)
        return found

    async def ask(self, line: str) -> UUID:
        invocation = Invocation(key=str(uuid4()), door=Door.browser, place=Place("room", "", "ops"), text=line)
        answer = await self.hub.submit(await self.person("ada"), invocation)
        assert answer.run_id is not None, answer.reply.text
        return answer.run_id

    async def rows(self, query: str) -> list[str]:
        async with disposing(self.world.engine(role="owner")) as engine, reading(engine) as session:
            return [str(row[0]) for row in await session.execute(text(query))]


@pytest.fixture
async def house(world: World) -> AsyncIterator[House]:
    world.policy = POLICY
    await world.prepare()
    folder = world.folder / "commands"
    folder.mkdir()
    trace = world.folder / "trace"
    trace.touch()
    (folder / "rooms.py").write_text(SOURCE.format(trace=str(trace)))
    world.extra |= {"COUNTERSIGN_COMMANDS": str(folder), "COUNTERSIGN_LEASE_SECONDS": "1", "COUNTERSIGN_EXECUTING_PROCESSES": "2"}
    async with open_hub(world.settings()) as hub:
        yield House(world, hub, trace)


def executing(supervisor: int) -> list[int]:
    pids = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(one) for one in pids if Path(f"/proc/{one}/comm").read_text().strip() == "cs-executing"]


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
            if killed < KILLS and dice.random() < 0.06 and (victims := executing(supervisor.pid)):
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
