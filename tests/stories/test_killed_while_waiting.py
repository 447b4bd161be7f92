"""Workers are killed while a guard watches and while a child is asked for or under way, or by the run itself: none is lost or doubled."""

import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.hubs import World, until
from tests.stories.houses import House, executing, open_house

SOURCE = '''
"""Things that are watched, and things that ask for others."""

import asyncio
import os
import signal
from pathlib import Path

from countersign import Context, Plan, PlanningContext, command, step, submit

TRACE = Path({trace!r})


def put(line: str) -> None:
    with TRACE.open("a") as file:
        file.write(line + "\\n")


@step(idempotent=True)
async def place(ctx: Context, name: str, wait: float = 0.0) -> str:
    """Puts it there."""
    put(f"place {{name}} {{ctx.key}}")
    await asyncio.sleep(wait)
    return name


@step(idempotent=True)
async def take(ctx: Context, name: str) -> None:
    """Takes it away."""
    put(f"take {{name}} {{ctx.key}}")


@step(reads=True)
async def stands(ctx: Context, name: str) -> bool:
    """Looks at it, slowly."""
    put(f"look {{name}}")
    await asyncio.sleep(0.3)
    return not name.startswith("weak")


@step(idempotent=True)
async def blast(ctx: Context, name: str) -> None:
    """Takes its worker down."""
    put(f"blast {{name}} {{ctx.key}}")
    os.kill(os.getpid(), signal.SIGKILL)


@command("clear", permission="house:build", risk="low")
async def clear(ctx: PlanningContext, name: str) -> Plan:
    """Make room by force."""
    return Plan(f"{{name}} is cleared", blast(name))


@command("build", permission="house:build", risk="low")
async def build(ctx: PlanningContext, name: str) -> Plan:
    """Put something up and watch it."""
    watched = place(name).undone_by(take(name)).guarded(stands(name), for_="2s", every="1s")
    return Plan(f"{{name}} is built", watched, place(f"flag on {{name}}"))


@command("order", permission="house:build", risk="low")
async def order(ctx: PlanningContext, name: str) -> Plan:
    """Have something brought."""
    child = submit("bring", name=name)
    return Plan(f"{{name}} is ordered", child, place(child.result["result"]))


@command("bring", permission="house:build", risk="low")
async def bring(ctx: PlanningContext, name: str) -> Plan:
    """Bring something."""
    return Plan(f"{{name}} is brought", place(f"the {{name}}", 0.3))
'''
POLICY = """
profile: strict
people: {ada: {groups: [staff]}}
roles: {builder: ["house:build"]}
groups: {staff: [builder]}
"""
_BEGUN = "SELECT r.arguments->>'name' FROM steps s JOIN runs r ON r.id = s.run_id WHERE r.command = 'order' AND s.position = 0"
_RUNS = "SELECT r.command || ' ' || (r.arguments->>'name') || ' ' || r.status FROM runs r"


@pytest.fixture
async def house(world: World) -> AsyncIterator[House]:
    async with open_house(world, SOURCE, POLICY, LEASE_SECONDS="3") as house:
        yield house


async def killing(house: House, supervisor: int, line: str, *, times: int) -> None:
    """Kills the executing worker as soon as the trace has one more such line, so many times."""
    for _ in range(times):
        before = house.trace.read_text().count(line)

        async def there(before: int = before) -> bool:
            return house.trace.read_text().count(line) > before

        await until(there, what=f"one more {line!r}")
        for pid in executing(supervisor):
            os.kill(pid, signal.SIGKILL)


async def all_ended(house: House, wanted: set[str]) -> None:
    async def ended() -> bool:
        return wanted <= set(await house.rows(_RUNS))

    try:
        await until(ended)
    except AssertionError:
        raise AssertionError("\n".join(await house.rows("SELECT row(command, status, outcome)::text FROM runs"))) from None


def effects(trace: Path) -> Counter[str]:
    """What was done, by the key that an outside system tells repeats by: each once, whatever was repeated."""
    return Counter(line.rpartition(" ")[0] for line in set(trace.read_text().splitlines()) if not line.startswith("look"))


async def test_a_guard_outlives_whoever_looks(house: House) -> None:
    with house.world.workers() as supervisor:
        for name in ("wall", "weak wall"):
            await house.ask(f"build '{name}'")
        await killing(house, supervisor.pid, "look wall", times=1)
        await killing(house, supervisor.pid, "look weak", times=1)
        await all_ended(house, {"build wall succeeded", "build weak wall rolled_back"})
    assert effects(house.trace) == Counter({"place wall": 1, "place flag on wall": 1, "place weak wall": 1, "take weak wall": 1})


async def test_a_child_is_asked_for_once_whenever_its_parents_worker_dies(house: House) -> None:
    names = ["sand", "stone", "wood"]
    seed = random.randrange(1_000_000)
    dice = random.Random(seed)
    with house.world.workers() as supervisor:
        for name in names:
            await house.ask(f"order {name}")

            async def begun(name: str = name) -> bool:
                return name in await house.rows(_BEGUN)

            await until(begun, what=f"{name} is being asked for")
            if dice.random() < 0.5:
                await killing(house, supervisor.pid, f"place the {name}", times=1)
            else:
                for pid in executing(supervisor.pid):
                    os.kill(pid, signal.SIGKILL)
            await all_ended(house, {f"bring {name} succeeded"})  # three deaths beneath one run would be a person's to judge
        await all_ended(house, {f"{command} {name} succeeded" for name in names for command in ("order", "bring")})
        runs = Counter(line.partition(" ")[0] for line in await house.rows(_RUNS))
    assert runs == Counter(order=3, bring=3), seed
    assert effects(house.trace) == Counter({f"place the {name}": 2 for name in names}), seed


async def test_a_run_that_takes_every_worker_down_is_a_persons_to_judge(house: House) -> None:
    """After three deaths in its call; the runs beside it, whose workers it kills, end as if nothing were."""
    with house.world.workers():
        await house.ask("clear rock")
        for name in ("sand", "stone"):
            await house.ask(f"bring {name}")
        await all_ended(house, {"clear rock interrupted", "bring sand succeeded", "bring stone succeeded"})
        outcomes = await house.rows("SELECT outcome FROM runs WHERE command = 'clear'")
    assert outcomes == ["Its worker died each time it was resumed."]
    assert house.trace.read_text().count("blast rock") == 3
    assert effects(house.trace) == Counter({"blast rock": 1, "place the sand": 1, "place the stone": 1})
