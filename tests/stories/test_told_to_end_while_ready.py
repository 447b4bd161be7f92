"""A worker is told to end while a run that it has made ready waits for its slot: another one carries that run out, once."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hubs import World, until
from tests.stories.houses import House, executing, open_house

SOURCE = '''
"""Errands, and a door that somebody has to open from outside."""

import asyncio
from pathlib import Path

from countersign import Context, Plan, PlanningContext, command, step

TRACE = Path({trace!r})


def put(line: str) -> None:
    with TRACE.open("a") as file:
        file.write(line + "\\n")


@step()
async def wait(ctx: Context) -> None:
    """Waits at the door."""
    put("waits")
    while not TRACE.with_name("open").exists():
        await asyncio.sleep(0.02)
    put("goes on")


@step(idempotent=True)
async def walk(ctx: Context, where: str) -> None:
    """Walks there."""
    put(f"walks to the {{where}}")


@command("door", permission="house:walk", risk="low")
async def door(ctx: PlanningContext) -> Plan:
    """Wait at the door."""
    return Plan("waits at the door", wait())


@command("errand", permission="house:walk", risk="low")
async def errand(ctx: PlanningContext, where: str) -> Plan:
    """Go there and back."""
    return Plan(f"goes to the {{where}}", walk(where), walk("house again"))
'''
POLICY = """
profile: strict
people: {ada: {groups: [staff]}}
roles: {walker: ["house:walk"]}
groups: {staff: [walker]}
"""
_FIRST = """
SELECT state || ' at ' || tries || CASE WHEN r.worker IS NULL THEN ', nobody has it' ELSE '' END
FROM steps s JOIN runs r ON r.id = s.run_id WHERE position = 0 AND arguments->>'where' = 'baker'
"""
_ENDS = "SELECT status FROM runs"
_WORKERS = "SELECT DISTINCT worker FROM steps WHERE name LIKE '%wa%'"


@pytest.fixture
async def house(world: World) -> AsyncIterator[House]:
    async with open_house(world, SOURCE, POLICY, SLOTS="1") as house:
        yield house


def lines(trace: Path) -> list[str]:
    return trace.read_text().splitlines()


async def test_a_run_that_has_begun_ahead_is_handed_on_uncalled(house: House) -> None:
    with house.world.workers() as supervisor:
        await house.ask("errand mill")  # a slot that becomes free soon: from now on a few runs are made ready

        async def back() -> bool:
            return await house.rows(_ENDS) == ["succeeded"]

        await until(back, what="the first errand is done")
        await house.ask("door")

        async def waits() -> bool:
            return "waits" in lines(house.trace)

        await until(waits, what="somebody waits at the door")
        await house.ask("errand baker")
        await until(lambda: first(house, "calling at 1"), what="the second errand has begun without a slot")
        for pid in executing(supervisor.pid):
            os.kill(pid, signal.SIGTERM)
        await until(lambda: first(house, "not_done at 1, nobody has it"), what="it is handed on")
        assert "walks to the baker" not in lines(house.trace)
        house.trace.with_name("open").touch()

        async def ended() -> bool:
            return await house.rows(_ENDS) == ["succeeded"] * 3

        await until(ended)
    assert lines(house.trace)[-3:] == ["goes on", "walks to the baker", "walks to the house again"]
    assert lines(house.trace).count("walks to the baker") == 1
    assert await house.rows(_FIRST) == ["done at 1, nobody has it"], "that it was handed on is no try"
    assert len(await house.rows(_WORKERS)) == 2


async def first(house: House, told: str) -> bool:
    return await house.rows(_FIRST) == [told]
