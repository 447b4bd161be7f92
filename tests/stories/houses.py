"""A hub with commands of a story's own, whose steps leave a trace, and the workers that a story kills."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.hubs import Hub, open_hub
from countersign.invocations import Door, Invocation, Place
from store.databases import reading
from store.people import Person, find_person
from tests.hubs import World, disposing, until


@dataclass
class House:
    """A hub and the trace that the steps leave."""

    world: World
    hub: Hub
    trace: Path
    owner: AsyncEngine

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
        async with reading(self.owner) as session:
            return [str(row[0]) for row in await session.execute(text(query))]


@asynccontextmanager
async def open_house(world: World, source: str, policy: str, **settings: str) -> AsyncIterator[House]:
    """`source` is told where the `trace` is; further settings are named as in LEASE_SECONDS."""
    world.policy = policy
    await world.prepare()
    folder, trace = world.folder / "commands", world.folder / "trace"
    folder.mkdir()
    trace.touch()
    (folder / "houses.py").write_text(source.format(trace=str(trace)))
    world.extra |= {"COUNTERSIGN_COMMANDS": str(folder)} | {f"COUNTERSIGN_{name}": value for name, value in settings.items()}
    async with open_hub(world.settings()) as hub, disposing(world.engine(role="owner")) as owner:
        yield House(world, hub, trace, owner)


def executing(supervisor: int) -> list[int]:
    """The processes that carry runs out."""
    pids = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [int(one) for one in pids if Path(f"/proc/{one}/comm").read_text().strip() == "cs-executing"]
