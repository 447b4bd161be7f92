"""Schedules with real workers on two hosts: asked for once, on time, at once when somebody says so, and after a night without anybody."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.hubs import Hub, open_hub
from countersign.invocations import Door, Invocation, Place
from countersign.moments import instant
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.people import find_person
from tests.automations.carts import write_cart
from tests.hubs import World, disposing, until

POLICY = """
profile: team
people: {ada: {groups: [staff], timezone: Europe/Berlin}, lin: {}}
service_accounts: {svc-cart: {groups: [staff]}}
roles: {filler: ["cart:fill"]}
groups: {staff: [filler]}
"""


@dataclass
class Shop:
    """A hub, its database, and Ada."""

    world: World
    hub: Hub
    owner: AsyncEngine
    trace: Path

    async def say(self, line: str) -> None:
        async with reading(self.owner) as session:
            ada = await find_person(session, "ada")
        assert ada is not None
        answer = await self.hub.submit(ada, Invocation(str(uuid4()), Door.browser, Place("room", "", "ops"), text=line))
        assert answer.run_id is not None, answer.reply.text
        await self.reaches(1, asker="ada", command=" ".join(line.split()[:2]))

    async def reaches(self, count: int, **where: str) -> None:
        """So many runs like this have succeeded."""
        column = " AND ".join(f"{name} = :{name}" for name in where)

        async def there() -> bool:
            async with reading(self.owner) as session:
                found = await session.execute(text(f"SELECT count(*) FROM runs WHERE status = 'succeeded' AND {column}"), where)  # noqa: S608  built from constants
                return bool(found.scalar_one() == count)

        await until(there, what=f"{count} runs {where}")

    async def to(self, moment: str) -> None:
        async with transaction(self.owner) as session:
            await session.execute(text("UPDATE clock SET shift = :at - clock_timestamp()"), {"at": instant(moment)})
        self.hub.forget()


@pytest.fixture
async def shop(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """It is the last evening of winter time in Berlin."""
    trace = write_cart(tmp_path)
    extra = {"COUNTERSIGN_COMMANDS": str(tmp_path / "commands"), "COUNTERSIGN_LEASE_SECONDS": "600"}
    world = World(database, redis_url, tmp_path, policy=POLICY, extra=extra)
    await world.prepare()
    async with disposing(world.engine(role="owner")) as owner, open_hub(world.settings()) as hub:
        made = Shop(world, hub, owner, trace)
        await made.to("2027-03-27 22:00 Europe/Berlin")
        yield made


async def test_two_hosts_ask_once_on_time_at_once_and_after_a_night_without_anybody(shop: Shop) -> None:
    asked = {"source": "schedule nightly", "command": "cart"}
    with shop.world.workers(), shop.world.workers():
        await shop.say("schedule add nightly '30 2 * * *' 'cart gone' svc-cart")
        await shop.say("schedule run nightly")
        await shop.reaches(1, **asked)
    await shop.to("2027-03-28 09:00 Europe/Berlin")
    with shop.world.workers(), shop.world.workers():
        await shop.reaches(2, **asked)
        await shop.to("2027-03-29 02:29:58 Europe/Berlin")
        await shop.reaches(3, **asked)
    async with reading(shop.owner) as session:
        rows = await session.execute(text("SELECT slot FROM schedule_slots WHERE kind = 'due' ORDER BY slot"))
        assert [row.slot for row in rows] == [instant("2027-03-28 03:00 Europe/Berlin"), instant("2027-03-29 02:30 Europe/Berlin")]
    assert shop.trace.read_text().split() == ["+a", "+b"] * 3
