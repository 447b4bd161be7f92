"""Postgres and Redis for the hub: yours where a URL is set, else its own; migrated, seeded and ready for the processes."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from bot.cli.endings import Failed
from bot.cli.files import read_text
from bot.cli.reaching import WORKER_URL, committed, first_line
from commands.policies import PolicyError
from commands.registries import RegistryError, load_registry
from commands.seed import DEFAULT_POLICY, seed
from store.databases import WriteSession
from store.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedRedis
from store.migrating import migrate
from store.people import find_all_people
from store.settings import Settings
from store.tokens import issue_token

from . import demos

LINK_SECONDS: Final = 15 * 60.0


@dataclass(frozen=True)
class Servers:
    """How each process reaches the databases; nothing of it is ever printed."""

    owner: str = field(repr=False)
    worker: str = field(repr=False)
    web: str = field(repr=False)
    listen: str = field(repr=False)
    redis: str = field(repr=False)


async def start_servers(settings: Settings, stack: AsyncExitStack) -> Servers:
    """Starts the servers for which no URL is set; the stack stops them. Raises Failed."""
    redis_url = settings.redis_url.get_secret_value()
    postgres = None if settings.database_url else EmbeddedPostgres(settings.data_dir)
    redis = None if redis_url else EmbeddedRedis(settings.data_dir)
    own = [one for one in (postgres, redis) if one]
    for one in own:
        stack.push_async_callback(asyncio.to_thread, one.stop)
    # Both are waited for even if one fails, because only a server that is done with starting can be stopped.
    for end in await asyncio.gather(*(asyncio.to_thread(one.start) for one in own), return_exceptions=True):
        if isinstance(end, EmbeddedError):
            raise Failed(str(end)) from None
        if end is not None:
            raise end
    redis_url = redis.url if redis else redis_url
    if postgres:
        urls = postgres.urls
        return Servers(urls.owner, urls.worker, urls.web, urls.listen, redis_url)
    web = settings.database_url
    return Servers(settings.migrate_database_url, os.environ.get(WORKER_URL) or web, web, settings.listen_database_url or web, redis_url)


async def furnish(settings: Settings, servers: Servers) -> str:
    """Migrates, seeds the first policy and, for the demo, the tokens; returns the one-time link's path, or "" when there is none.

    Without an owner's URL the schema and the policy are left as they are. Raises Failed.
    """
    if not servers.owner and settings.demo:
        raise Failed("A demo in a Postgres of yours needs COUNTERSIGN_MIGRATE_DATABASE_URL, which names it as the tables' owner.")
    if not servers.owner:
        return await committed(servers.web, _link(settings))
    await asyncio.to_thread(migrate_database, servers.owner)

    async def furnish_all(session: WriteSession) -> str:
        await seed_policy(session, settings)
        if settings.demo:
            await demos.prepare_tokens(session, settings.data_dir / "demo" / "tokens.json")
        return await _link(settings)(session)

    return await committed(servers.owner, furnish_all)


def migrate_database(url: str) -> None:
    """Brings the schema to the newest version; raises Failed."""
    try:
        migrate(url)
    except (SQLAlchemyError, CommandError) as error:
        raise Failed(f"The database could not be migrated: {first_line(error)}") from None


async def seed_policy(session: WriteSession, settings: Settings) -> None:
    """Puts the first policy in force: the demo's, the file that COUNTERSIGN_POLICY names, or the default. Raises Failed."""
    if settings.demo:
        await demos.seed_demo(session)
        return
    if await demos.is_demo(session):
        raise Failed("This database was made by --demo, whose people are made up: start with --demo, or choose another folder with --data.")
    if settings.policy is None:
        await seed(session, DEFAULT_POLICY)
        return
    try:
        commands = load_registry(folder=settings.commands, runbooks=settings.runbooks).commands
        await seed(session, read_text(settings.policy), commands=commands)
    except PolicyError as error:
        raise Failed(f"{settings.policy}: {error}") from None
    except (RegistryError, TypeError) as error:
        raise Failed(f"The commands cannot be loaded: {error}") from None


def _link(settings: Settings) -> Callable[[WriteSession], Awaitable[str]]:
    """For the demo, a link that may be anybody of the cast; else one for the only person there is, who then sits at this machine."""

    async def issue(session: WriteSession) -> str:
        people = [one.name for one in await find_all_people(session) if not one.service]
        if settings.demo:
            token = await issue_token(
                session, kind="link", person=None, label="countersign up", scopes=("demo",), lifetime=demos.LINK_SECONDS
            )
        elif len(people) == 1:
            token = await issue_token(session, kind="link", person=people[0], label="countersign up", scopes=(), lifetime=LINK_SECONDS)
        else:
            return ""
        return f"/enter/{token}"

    return issue
