"""What is to start later, with real workers: they come and go, Redis forgets, the clock moves on, and it starts once and not before."""

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import redis.asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.hubs import Hub, open_hub
from bot.presses import Press
from commands.policies import compile_policy
from countersign.invocations import Door, Invocation, Place
from countersign.moments import instant
from store.audits import find_trail
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.people import Person, find_person
from store.policies import apply_policy
from store.runs import RunRow, find_run
from tests.automations.carts import write_cart
from tests.hubs import World, disposing, until

PEOPLE = """
profile: strict
timezone: Europe/Berlin
people:
  ada: {groups: [staff], timezone: Europe/Berlin}
  lin: {groups: [leads]}
  kim: {groups: [releases]}
roles: {filler: ["cart:fill"], lead: ["cart:approve"], release: ["cart:freeze"]}
groups: {staff: [filler], leads: [lead], releases: [release]}
"""
TIMES = """
windows: {nights: {days: mon-thu, from: 22:00, to: 4:00}}
freezes: {sale: {from: 2027-03-24 00:00, to: 2027-03-25 00:00, command: cart, approve: {by: "cart:freeze"}}}
rules:
  - {name: all, command: cart, approve: {by: "cart:approve", valid: 1h}}
  - {name: big ones at night, command: cart, when: {how: gone}, window: nights}
"""


@dataclass
class Shop:
    """A hub, its database, and what its people do."""

    world: World
    hub: Hub
    owner: AsyncEngine
    trace: Path

    async def asked(self, line: str) -> RunRow:
        """Ada's run, planned and approved by Lin."""
        place = Place("room", "", "ops")
        answer = await self.hub.submit(await self.person("ada"), Invocation(key=str(uuid4()), door=Door.browser, place=place, text=line))
        assert answer.run_id is not None, answer.reply.text
        run = await self.reaches(answer.run_id, "awaiting_approval")
        await self.approve("lin", run)
        return run

    async def approve(self, name: str, run: RunRow) -> str:
        click = Press(str(uuid4()), "approve", str(run.id), Door.browser, digest=run.digest or "")
        return (await self.hub.press(await self.person(name), click)).text

    async def reaches(self, run_id: UUID, status: str, *, outcome: str = "") -> RunRow:
        async def there() -> RunRow | None:
            async with reading(self.owner) as session:
                run = await find_run(session, run_id)
            return run if run and run.status == status and outcome in run.outcome else None

        found: RunRow = await until(there, what=f"{run_id} is {status} {outcome}")
        return found

    async def person(self, name: str) -> Person:
        async with reading(self.owner) as session:
            found = await find_person(session, name)
        assert found is not None
        return found

    async def trail(self, run: RunRow) -> list[str]:
        async with reading(self.owner) as session:
            return [one.kind for one in await find_trail(session, run.id)]

    async def to(self, moment: str) -> None:
        async with transaction(self.owner) as session:
            await session.execute(text("UPDATE clock SET shift = :at - clock_timestamp()"), {"at": instant(moment)})
        self.hub.forget()


@pytest.fixture
async def shop(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """It is Monday, 2027-03-22, noon in Berlin."""
    trace = write_cart(tmp_path)
    # Longer than the clock is put forward under living workers, which would else be taken for dead.
    extra = {"COUNTERSIGN_COMMANDS": str(tmp_path / "commands"), "COUNTERSIGN_LEASE_SECONDS": "600"}
    world = World(database, redis_url, tmp_path, policy=PEOPLE, extra=extra)
    await world.prepare()
    async with disposing(world.engine(role="owner")) as owner, open_hub(world.settings()) as hub:
        async with transaction(owner) as session:
            whole = compile_policy(PEOPLE + TIMES)
            await apply_policy(session, digest=whole.digest, body=whole.body, by="test")
        made = Shop(world, hub, owner, trace)
        await made.to("2027-03-22 12:00 Europe/Berlin")
        yield made


async def test_it_starts_once_and_not_before_whatever_becomes_of_workers_and_redis(shop: Shop) -> None:
    with shop.world.workers() as process:
        wanted = await shop.asked("cart how='all well' --at 21:00")
        held = await shop.asked("cart how=gone")
        await shop.reaches(held.id, "queued", outcome="it opens 2027-03-22 22:00 Europe/Berlin")
        os.killpg(process.pid, signal.SIGKILL)
    await shop.to("2027-03-22 20:59:58 Europe/Berlin")
    assert shop.trace.read_text() == "", "nobody began anything"
    async with redis.asyncio.Redis.from_url(shop.world.redis_url) as client:
        await client.flushall()
    with shop.world.workers(), shop.world.workers():
        done = await shop.reaches(wanted.id, "succeeded")
        assert done.moved_at >= instant("2027-03-22 21:00 Europe/Berlin")
        assert (await shop.reaches(held.id, "queued")).outcome.startswith("Waits for the window nights")
    await shop.to("2027-03-22 21:59:58 Europe/Berlin")
    with shop.world.workers():
        done = await shop.reaches(held.id, "succeeded")
        assert done.moved_at >= instant("2027-03-22 22:00 Europe/Berlin")
    assert shop.trace.read_text().split() == ["+a", "+b", "+a", "+b"]
    for run in (wanted, held):
        assert (await shop.trail(run)).count("run:running") == 1


async def test_a_freeze_that_begins_while_it_waits_is_put_to_its_approvers(shop: Shop) -> None:
    with shop.world.workers():
        run = await shop.asked("cart how=gone --at '2027-03-23 23:59'")
        assert run.plan is not None
        assert "frozen" not in run.plan
    await shop.to("2027-03-24 00:00:01 Europe/Berlin")
    with shop.world.workers():
        again = await shop.reaches(run.id, "awaiting_approval")
        assert again.plan is not None
        assert again.plan["changed"] == ["freezes: nothing → sale"]
        await shop.approve("lin", again)
        assert (await shop.approve("kim", again)).startswith("Approved; it starts")
        await shop.reaches(run.id, "succeeded")
    assert "run:stale" in await shop.trail(run)
