"""Fixtures that every room's tests share."""

from pathlib import Path

import pytest

from kit.servers import Servers
from store.embedded import DatabaseUrls
from tests.hubs import World
from tests.turns import pytest_collection_modifyitems, pytest_runtest_protocol

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_protocol"]


@pytest.fixture(scope="session")
def servers(countersign_servers: Servers) -> Servers:
    """The session's real Postgres and Redis."""
    return countersign_servers


@pytest.fixture
def database(servers: Servers) -> DatabaseUrls:
    """A fresh, migrated database: urls of its owner, worker and web roles."""
    return servers.fresh_database()


@pytest.fixture(scope="session")
def shared_database(servers: Servers) -> DatabaseUrls:
    """One migrated database for tests that mind only their own rows: making one takes longer than most of them."""
    return servers.fresh_database()


@pytest.fixture(scope="session")
def bot_database(servers: Servers) -> DatabaseUrls:
    """Another shared one, for tests that open a `kit` bot: a bot does every work that is due, whoever asked for it."""
    return servers.fresh_database()


@pytest.fixture
def redis_url(servers: Servers) -> str:
    return servers.redis.url


@pytest.fixture
async def world(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> World:
    """A database with the cast, keys and the environment for processes."""
    made = World(database, redis_url, tmp_path)
    await made.prepare()
    return made
