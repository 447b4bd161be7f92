"""Fixtures that every room's tests share."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import make_url

from kit.bots import Bot
from kit.fixtures import open_bot
from kit.servers import TEMPLATE, Servers
from store.embedded import DatabaseUrls
from store.secrets import Keys
from tests.engines import Kept
from tests.handovers import Handover
from tests.hubs import World
from tests.pieces import pytest_xdist_make_scheduler
from tests.turns import pytest_collection, pytest_collection_modifyitems, pytest_runtest_protocol

# How long an example takes says more about what else the machine does than about what is tested.
settings.register_profile("beside others", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("beside others")

__all__ = ["pytest_collection", "pytest_collection_modifyitems", "pytest_runtest_protocol", "pytest_xdist_make_scheduler"]


@pytest.fixture(scope="session")
def servers(countersign_servers: Servers) -> Servers:
    """The session's real Postgres and Redis."""
    return countersign_servers


@pytest.fixture(autouse=True)
def lending(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test makes for itself is gone after it; hundreds of databases would fill what they are kept in."""
    if "countersign_servers" not in request.fixturenames:
        yield
        return
    lent: Servers = request.getfixturevalue("countersign_servers")
    with lent.lending():
        yield


@pytest.fixture(scope="module")
async def empty_databases(countersign_servers: Servers) -> AsyncIterator[Handover]:
    """A file's databases in which nothing is."""
    async with aclosing(Handover(countersign_servers, TEMPLATE)) as made:
        yield made


@pytest.fixture
async def database(empty_databases: Handover) -> AsyncIterator[DatabaseUrls]:
    """A migrated database of its own: urls of its owner, worker and web roles."""
    async with empty_databases.lent() as urls:
        yield urls


@pytest.fixture
async def bot(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Bot]:
    """What `kit` has for authors, on a database of its own."""
    async with open_bot(database, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
async def shared_database(servers: Servers) -> AsyncIterator[DatabaseUrls]:
    """One migrated database for a file's tests that mind only their own rows: making one takes longer than most of them."""
    async with aclosing(Kept(servers.fresh_database())) as kept:
        yield kept.urls


@pytest.fixture(scope="module")
async def bot_database(servers: Servers) -> AsyncIterator[DatabaseUrls]:
    """Another one, for a file's tests that open a `kit` bot: a bot does every work that is due, whoever asked for it.

    No longer than a file's: who enrols a passkey, for one, changes for good what the hub asks of everybody.
    """
    async with aclosing(Kept(servers.fresh_database())) as kept:
        yield kept.urls


@pytest.fixture
def redis_url(servers: Servers) -> str:
    return servers.redis.url


@pytest.fixture(scope="session")
def cast_database(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database with the cast in it, to copy: making them known each time took as long as all the rest."""
    made = World(servers.fresh_database(), "", tmp_path_factory.mktemp("cast"))
    with ThreadPoolExecutor(1) as pool:  # this thread's event loop is pytest's
        pool.submit(asyncio.run, made.prepare()).result()
    return str(make_url(made.urls.owner).database)


@pytest.fixture(scope="module")
async def cast_databases(countersign_servers: Servers, cast_database: str) -> AsyncIterator[Handover]:
    """A file's databases with the cast in them."""
    async with aclosing(Handover(countersign_servers, cast_database)) as made:
        yield made


@pytest.fixture
async def world(cast_databases: Handover, redis_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A database with the cast, keys and the environment for processes."""
    Keys.prepared(tmp_path / "keys")
    async with cast_databases.lent() as urls:
        yield World(urls, redis_url, tmp_path)
