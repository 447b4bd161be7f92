"""People leave and join while others wait for their approval, with real workers: within seconds the card says who is left to give it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.hubs import Hub, open_hub
from commands.policies import compile_policy
from countersign.invocations import Door, Invocation, Place
from store.databases import reading, transaction
from store.embedded import DatabaseUrls
from store.people import find_person, save_people
from store.policies import apply_policy
from tests.automations.carts import write_cart
from tests.hubs import World, disposing, until

PEOPLE: dict[str, Any] = {"ada": ["staff"], "lin": ["leads"], "kim": ["leads"], "eve": ["staff"]}
POLICY = f"""
profile: strict
people: {{{", ".join(f"{name}: {{groups: [{groups[0]}]}}" for name, groups in PEOPLE.items())}}}
roles: {{filler: ["cart:fill"]}}
groups: {{staff: [filler], leads: []}}
"""
RULES = 'rules: [{name: carts, command: cart, approve: {stages: [{of: "group:leads"}]}}]'
SOON = 30.0


@dataclass
class Shop:
    """A hub with workers, and one run that waits for the leads."""

    hub: Hub
    worker: AsyncEngine
    run: UUID

    async def regroup(self, **groups: list[str]) -> None:
        """As a worker writes it."""
        async with transaction(self.worker) as session:
            await save_people(session, {name: {"groups": one} for name, one in (PEOPLE | groups).items()})

    async def card(self) -> str:
        rows = await self._rows("SELECT card->>'text' AS text FROM messages WHERE run_id = :run AND kind = 'card' AND card IS NOT NULL")
        return rows[0].text if rows else ""

    async def told(self, name: str) -> bool:
        query = "SELECT 1 FROM messages WHERE run_id = :run AND kind = 'direct' AND person = :name AND shown > 0"
        return bool(await self._rows(query, name=name))

    async def _rows(self, query: str, **values: Any) -> list[Any]:
        async with reading(self.worker) as session:
            return list(await session.execute(text(query), {"run": self.run} | values))


@pytest.fixture
async def shop(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    write_cart(tmp_path)
    world = World(database, redis_url, tmp_path, policy=POLICY, extra={"COUNTERSIGN_COMMANDS": str(tmp_path / "commands")})
    await world.prepare()
    body = POLICY + RULES
    async with disposing(world.engine(role="owner")) as owner, transaction(owner) as session:
        await apply_policy(session, digest=compile_policy(body).digest, body=body, by="test")
    async with disposing(world.engine()) as worker, open_hub(world.settings()) as hub:
        with world.workers():
            ada = await hub.read(lambda session: find_person(session, "ada"))
            assert ada is not None
            invocation = Invocation(key=str(uuid4()), door=Door.browser, place=Place("room", "", "ops"), text="cart gone")
            answer = await hub.submit(ada, invocation)
            assert answer.run_id is not None, answer.reply.text
            yield Shop(hub, worker, answer.run_id)


async def test_the_card_says_within_seconds_who_is_left_and_whoever_joins_is_asked(shop: Shop) -> None:
    async def asked() -> bool:
        return await shop.told("lin") and await shop.told("kim")

    await until(asked, what="the leads are asked")
    assert "No one can approve" not in await shop.card()

    async def nobody() -> bool:
        return "No one can approve this: it needs group leads, and nobody can." in await shop.card()

    await shop.regroup(lin=["staff"], kim=["staff"])
    await until(nobody, seconds=SOON, what="the card says that nobody is left")

    async def somebody() -> bool:
        return await shop.told("eve") and "No one can approve" not in await shop.card()

    await shop.regroup(lin=["staff"], kim=["staff"], eve=["leads"])
    await until(somebody, seconds=SOON, what="Eve is asked, and the card says nothing more about it")
