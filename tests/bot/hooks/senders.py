"""A hub with a trigger, and another system that delivers to it."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
from sqlalchemy import text

from bot.hooks import open_hooks
from bot.refusals import Refusals
from countersign.replies import Reply
from kit.bots import Bot, Member, RunHandle
from kit.fixtures import open_bot
from store.databases import reading
from store.embedded import DatabaseUrls
from store.hookdeliveries import DeliveryRow, find_deliveries
from tests.automations.carts import write_cart

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
ROBOTS: dict[str, Any] = {
    "service_accounts": {"svc-cart": {"groups": ["robots"]}},
    "roles": {"carter": ["cart:fill"]},
    "groups": {"robots": ["carter"]},
}


@dataclass
class Post:
    """Somebody who delivers."""

    bot: Bot
    client: httpx.AsyncClient
    triggers: dict[str, UUID] = field(default_factory=dict)

    @property
    def ada(self) -> Member:
        return Member(self.bot, "ada")

    @property
    def lin(self) -> Member:
        return Member(self.bot, "lin")

    async def add(self, name: str, **how: Any) -> RunHandle:
        """Ada asks for a trigger, and Lin approves it."""
        given = {"sender": "github", "account": "svc-cart", "run": "cart", "secret": SECRET, "mapping": "how=payload.how"} | how
        run = await self.ada.submit("trigger add", name=name, **given)
        await self.lin.approve(run)
        assert run.succeeded, run.outcome
        self.triggers[name] = UUID(run.result if isinstance(run.result, str) else await self.id_of(name))
        self.bot.hub.forget()
        return run

    async def id_of(self, name: str) -> str:
        async with reading(self.bot.services.engine) as session:
            found = await session.execute(text("SELECT id FROM triggers WHERE name = :name AND ended_at IS NULL"), {"name": name})
            return str(found.scalar_one())

    async def send(self, name: str | UUID, body: bytes, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """The bytes as they are, as JSON unless `headers` say otherwise."""
        target = self.triggers[name] if isinstance(name, str) else name
        return await self.client.post(f"/hooks/{target}", content=body, headers={"content-type": "application/json", **(headers or {})})

    async def github(
        self,
        name: str,
        payload: Any,
        *,
        secret: str = SECRET,
        delivery: str = "",
        event: str = "release",
        more: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """As GitHub delivers."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        sent = {"x-hub-signature-256": f"sha256={signature}", "x-github-event": event, "x-github-delivery": delivery or str(uuid4())}
        return await self.send(name, body, {**sent, **(more or {})})

    async def rows(self, name: str) -> list[DeliveryRow]:
        """What is kept of what came, the latest first."""
        async with reading(self.bot.services.engine) as session:
            return await find_deliveries(session, trigger=self.triggers[name])

    async def runs(self, name: str) -> list[RunHandle]:
        """The runs that came of it, the latest first."""
        await self.bot.settle()
        return [await self.bot.watch(row.run_id, Reply()) for row in await self.rows(name) if row.run_id]


@asynccontextmanager
async def post_of(urls: DatabaseUrls, folder: Path, **settings: Any) -> AsyncIterator[Post]:
    write_cart(folder)
    async with open_bot(urls, folder, commands=folder / "commands", **settings) as bot:
        bot.cast("ada", may=["countersign:triggers", "countersign:use"])
        bot.cast("lin", may=["countersign:approve", "cart:approve", "countersign:use"])
        bot.policy(**ROBOTS)
        await bot.person("ada")
        async with open_hooks(bot.hub, Refusals(bot.hub)) as hooks:
            transport = httpx.ASGITransport(hooks, client=("10.1.2.3", 4_000))
            async with httpx.AsyncClient(base_url="http://hub", transport=transport) as client:
                yield Post(bot, client)
