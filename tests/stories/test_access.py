"""A role for a while, with real workers: they come and go and the clock moves on, and it is held for exactly as long as others approved."""

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.hubs import Hub, open_hub
from bot.presses import Press
from countersign.invocations import Door, Invocation, Place
from store.audits import find_trail
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.grants import Grant, find_grants
from store.people import Person, find_person
from store.runs import RunRow, find_run
from tests.automations.convoys import traced, write_convoy
from tests.hubs import World, disposing, until

LEASE = timedelta(minutes=10)  # longer than the clock is put forward under a living worker, which would else be taken for dead
POLICY = """
profile: strict
people:
  ada: {groups: [staff]}
  lin: {groups: [staff, leads]}
  max: {groups: [admins]}
roles: {asker: ["access:request"], driver: ["convoy:run"], admin: ["*:*"]}
groups: {staff: [asker], leads: [], admins: [admin]}
owners: {role: {driver: ["group:leads"]}}
access: {driver: {max: 4h}}
"""


@dataclass
class Street:
    """A hub, its database, and what its people do."""

    world: World
    hub: Hub
    owner: AsyncEngine

    async def ask(self, name: str, line: str) -> RunRow:
        """The run of this line, planned."""
        invocation = Invocation(key=str(uuid4()), door=Door.browser, place=Place("room", "", "ops"), text=line)
        answer = await self.hub.submit(await self.person(name), invocation)
        assert answer.run_id is not None, answer.reply.text
        return await self.reaches(answer.run_id, "awaiting_approval", "running", "succeeded", "failed")

    async def press(self, name: str, run: RunRow, intent: str, *, reason: str = "") -> str:
        click = Press(str(uuid4()), intent, str(run.id), Door.browser, digest=run.digest or "", reason=reason)
        return (await self.hub.press(await self.person(name), click)).text

    async def approved(self, name: str, line: str) -> RunRow:
        """Asked by this person, approved by Lin, and done."""
        run = await self.ask(name, line)
        assert await self.press("lin", run, "approve") == "Approved; it starts now."
        return await self.reaches(run.id, "succeeded")

    async def reaches(self, run_id: UUID, *statuses: str) -> RunRow:
        async def there() -> RunRow | None:
            async with reading(self.owner) as session:
                run = await find_run(session, run_id)
            return run if run and run.status in statuses else None

        found: RunRow = await until(there, what=f"{run_id} is {' or '.join(statuses)}")
        return found

    async def person(self, name: str) -> Person:
        async with reading(self.owner) as session:
            found = await find_person(session, name)
        assert found is not None
        return found

    async def grants(self) -> list[Grant]:
        async with reading(self.owner) as session:
            return await find_grants(session, subject="ada", ended=True)

    async def trail(self, run: RunRow) -> list[str]:
        async with reading(self.owner) as session:
            return [one.kind for one in await find_trail(session, run.id)]

    async def told(self) -> list[str]:
        """What Ada was told about her roles beside the runs' own messages, once it is shown to her."""
        async with reading(self.owner) as session:
            rows = await session.execute(
                text("SELECT card FROM messages WHERE person = 'ada' AND run_id IS NULL AND shown > 0 ORDER BY created_at, id")
            )
            return [(row.card["card"] or {}).get("title") or row.card["text"] for row in rows]

    async def later(self, length: timedelta) -> None:
        async with transaction(self.owner) as session:
            await session.execute(text("UPDATE clock SET shift = shift + cast(:length AS interval)"), {"length": length})


@pytest.fixture
async def street(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[Street]:
    """Ada may ask for the role `driver`; Lin, a lead, owns it; Max is the admin."""
    write_convoy(tmp_path)
    extra = {"COUNTERSIGN_COMMANDS": str(tmp_path / "commands"), "COUNTERSIGN_LEASE_SECONDS": str(LEASE.seconds)}
    world = World(database, redis_url, tmp_path, policy=POLICY, extra=extra)
    await world.prepare()
    async with disposing(world.engine(role="owner")) as owner, open_hub(world.settings()) as hub:
        yield Street(world, hub, owner)


async def test_it_lasts_as_long_as_was_approved_whatever_becomes_of_the_workers(street: Street) -> None:
    with street.world.workers():
        run = await street.ask("ada", '/access request driver 2h --reason "INC-7"')
        await street.later(timedelta(hours=5))
        assert "driver" not in (await street.person("ada")).roles
        await street.press("lin", run, "approve")
        await street.reaches(run.id, "succeeded")
        extension = await street.approved("ada", "/access extend driver 1h")
    await street.later(timedelta(hours=2, minutes=59))
    assert "driver" in (await street.person("ada")).roles
    with street.world.workers():

        async def told() -> list[str]:
            return await street.told()

        assert await until(told, what="Ada is told") == ["Role driver ends soon"]
    await street.later(timedelta(minutes=2))
    assert "driver" not in (await street.person("ada")).roles, "nobody has to run for it to end"
    with street.world.workers(), street.world.workers():

        async def expired() -> bool:
            return "grant:expired" in await street.trail(run)

        await until(expired, what="its end is written down")

        async def told_again() -> bool:
            return len(await street.told()) > 1

        await until(told_again, what="Ada is told of the end")
        denied = await street.ask("ada", "/access request driver 1h")
        await street.press("lin", denied, "deny", reason="It is quiet now")
    (grant,) = await street.grants()
    assert grant.until is not None
    assert grant.ended_at == grant.until == grant.granted_at + timedelta(hours=3)
    assert (grant.ended_how, grant.approved_by, grant.reason) == ("expired", ("lin",), "INC-7")
    assert grant.extensions == ((extension.number, ("lin",)),)
    assert (await street.trail(run)).count("grant:expired") == 1, "two hosts of housekeepers write it down once"
    assert [one.partition(":")[0] for one in await street.told()] == ["Role driver ends soon", "You do not have the role driver any more"]
    assert (await street.reaches(denied.id, "denied")).outcome == "Denied by lin: It is quiet now"


async def test_what_cannot_be_is_said_at_once_and_what_is_given_back_is_gone_at_once(street: Street) -> None:
    with street.world.workers():
        for line, sentence in (
            ("/access request pilot 1h", "There is no role 'pilot'; policy defines admin, asker, driver."),
            ("/access request driver 5h", "The role driver is given for 4h at most."),
            ("/access extend driver 1h", "You do not have the role driver for a while. Ask for it: access request driver 1h"),
        ):
            assert (await street.ask("ada", line)).outcome == sentence
        await street.approved("ada", "/access request driver 1h")
        assert "driver" in (await street.person("ada")).roles
        back = await street.ask("ada", "/access return driver")
        await street.reaches(back.id, "succeeded")
        assert "driver" not in (await street.person("ada")).roles
        assert (await street.grants())[0].ended_how == "returned"


async def in_the_middle(street: Street) -> RunRow:
    """Ada's convoy, at its second step, with the role that she has for three minutes."""
    await street.approved("ada", "/access request driver 3m")
    run = await street.ask("ada", "convoy")

    async def waiting() -> bool:
        return "waits" in traced(street.world.folder)

    await until(waiting, what="the second step begins")
    return run


async def test_an_end_in_the_middle_of_a_run_stops_it_before_the_next_step(street: Street) -> None:
    with street.world.workers():
        run = await in_the_middle(street)
        await street.later(timedelta(minutes=4))
        (street.world.folder / "gate").touch()
        stopped = await street.reaches(run.id, "interrupted")
        assert stopped.outcome == (
            "Stopped before put(what=c): ada may not run convoy any more. This needs the permission convoy:run; it belongs to the role"
            " admin or driver. What was done before can be undone."
        )
        await street.approved("ada", "/access request driver 1h")
        assert await street.press("ada", stopped, "resume_happened") == f"Run #{run.number}: it happened: go on."
        await street.reaches(run.id, "succeeded")
    assert traced(street.world.folder) == "+a waits +c"


async def test_an_end_while_the_worker_is_dead_is_found_by_the_next_one(street: Street) -> None:
    with street.world.workers() as process:
        run = await in_the_middle(street)
        for pid in (process.pid, *children(process.pid)):
            os.kill(pid, signal.SIGKILL)
    await street.later(2 * LEASE)
    (street.world.folder / "gate").touch()
    with street.world.workers():
        stopped = await street.reaches(run.id, "interrupted")
        assert stopped.outcome == (
            "Stopped before wait(): ada may not run convoy any more. This needs the permission convoy:run; it belongs to the role admin or"
            " driver. That step was under way when its worker died; it may have happened. What was done before can be undone."
        )
        await street.press("max", stopped, "resume_undo")
        await street.reaches(run.id, "rolled_back")
    assert traced(street.world.folder) == "+a waits -a"


def children(supervisor: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()]
