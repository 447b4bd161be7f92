"""The Slack door before a fake Slack: over real HTTP or Socket Mode, with the cast in its workspace and no workers behind it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

import uvicorn
from sqlalchemy import text
from starlette.applications import Starlette

from bot.hubs import Hub, open_hub
from bot.slack import SlackDoor, open_slack
from commands.stories import tell
from countersign.approvals import Approval
from countersign.runs import RunStatus
from integrations.slack.blocks import card_blocks
from store.approvals import NewRequest, open_requests
from store.databases import reading, transaction
from store.runs import Move, find_run, move
from store.settings import Settings
from tests.fakes.slack import Actor, Message, SlackFake
from tests.hubs import World, disposing, until

CAST = ("ada", "lin", "kim", "max", "eve")
COMMANDS = '''
from enum import Enum

from countersign import Context, Plan, PlanningContext, Reply, Secret, command, step


class Env(Enum):
    staging = "staging"
    prod = "prod"


@step(idempotent=True)
async def move(ctx: Context, service: str, version: str) -> None:
    await ctx.log(f"{service} is at {version}")


@command("ship", permission="ship:run", risk="high", slash=True)
async def ship(ctx: PlanningContext, service: str, version: str, env: Env = Env.staging) -> Plan:
    """Move a service to a version."""
    return Plan(f"{service} to {version}", move(service, version))


@command("say", permission="say:run", risk="read", slash=True)
async def say(ctx: PlanningContext, words: str) -> Reply:
    """Say it again."""
    return Reply(text=words)


@command("unlock", permission="unlock:run", risk="low")
async def unlock(ctx: PlanningContext, door: str, password: Secret) -> Reply:
    """Try a password."""
    return Reply(text=door)
'''


@dataclass
class Slack:
    """The fake, the hub and the door between them."""

    fake: SlackFake
    hub: Hub
    door: SlackDoor
    world: World

    def person(self, name: str) -> Actor:
        return self.fake.user(f"U0{name.upper()}")

    async def rows(self, query: str, **values: Any) -> list[Any]:
        """What the database holds, as its owner reads it."""
        async with disposing(self.world.engine(role="owner")) as engine, reading(engine) as session:
            return list((await session.execute(text(query), values)).all())

    async def audit(self, kind: str) -> list[dict[str, Any]]:
        """The details of the events of one kind, each with its actor."""
        rows = await self.rows(
            "SELECT audit_detail(canonical, payload) AS detail, actor FROM audit_events WHERE kind = :kind ORDER BY seq", kind=kind
        )
        return [{"actor": row.actor, **row.detail} for row in rows]

    async def replies(self) -> list[Any]:
        """What was left for the sender, oldest first."""
        return await self.rows("SELECT * FROM messages WHERE kind = 'reply' ORDER BY created_at, id")

    async def waiting_run(self, asker: str = "ada") -> UUID:
        """A run that waits for one approval, as planning leaves it."""
        before = await self.rows("SELECT id FROM runs")
        await self.person(asker).slash("/ship", "api v2", channel="C_OPS")
        known = {row.id for row in before}
        [run] = [row.id for row in await self.rows("SELECT id FROM runs") if row.id not in known]
        plan = {"summary": "api to v2", "steps": [{"title": "move api", "undo": None}], "fields": []}
        rule = Approval(by="countersign:approve")
        async with disposing(self.world.engine()) as engine, transaction(engine) as session:
            await move(session, [Move(run, RunStatus.planning, by="countersign")])
            planned = Move(run, RunStatus.awaiting_approval, by="countersign", plan=plan, digest="d1", revision=1)
            assert await move(session, [planned])
            await open_requests(session, [NewRequest(uuid4(), run, 1, "d1", rule.as_json(), "policy", 3_600)])
        return UUID(str(run))

    async def card(self, run: UUID, channel: str = "C_OPS") -> Message:
        """The run's card, as the sender posts it."""
        async with disposing(self.world.engine()) as engine, reading(engine) as session:
            row = await find_run(session, run)
            assert row is not None
            card = await tell(session, row)
        return self.fake.world.add_message(self.fake.world.channel(channel), card.fallback, card_blocks(card))

    async def status(self, run: UUID) -> str:
        [row] = await self.rows("SELECT status FROM runs WHERE id = :id", id=run)
        return str(row.status)


def settings_of(world: World, fake: SlackFake, **more: str) -> Settings:
    """The web process's settings for this fake."""
    folder = world.folder / "commands"
    folder.mkdir(exist_ok=True)
    (folder / "ship.py").write_text(COMMANDS)
    tokens = {"SLACK_BOT_TOKEN": fake.bot_token, "SLACK_API_URL": fake.api_url, "COMMANDS": str(folder)}
    tokens |= {"SLACK_SIGNING_SECRET": fake.signing_secret} if fake.mode == "http" else {"SLACK_APP_TOKEN": fake.app_token}
    world.extra.update({f"COUNTERSIGN_{name}": value for name, value in (tokens | more).items()})
    return world.settings()


def populate(fake: SlackFake) -> None:
    for name in CAST:
        fake.add_user(f"U0{name.upper()}", name=name, email=f"{name}@example.test")
    fake.add_channel("C_OPS", name="ops", members=[f"U0{name.upper()}" for name in CAST])


@asynccontextmanager
async def slack_of(world: World, mode: Literal["http", "socket"] = "http", **options: Any) -> AsyncIterator[Slack]:
    """A fake Slack, a hub, and the door open between them."""
    patient: dict[str, Any] = {"cutoff": 10.0}  # a test's machine may be busy; who minds Slack's three seconds measures them
    fake = SlackFake(mode, rate_limits=False, **(patient | options))
    async with fake:
        populate(fake)
        async with open_hub(settings_of(world, fake)) as hub, open_slack(hub) as door:
            slack = Slack(fake, hub, door, world)
            if mode == "http":
                async with serving(slack):
                    yield slack
            else:
                await fake.wait_for(lambda: fake.sockets.connections, what="a Socket Mode connection")
                yield slack


@asynccontextmanager
async def serving(slack: Slack) -> AsyncIterator[None]:
    """The door's routes behind a real server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = Starlette(routes=slack.door.routes)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started or task.done()

    await until(started, what="the server starts")
    slack.fake.target_url = f"http://127.0.0.1:{port}/slack/events"
    try:
        yield
    finally:
        server.should_exit = True
        await task
