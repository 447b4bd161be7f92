"""The pytest plugin: the fixture `bot`. Installed with the server, found by pytest through its entry point."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from automations.services import open_services
from bot.hubs import open_hub
from store.databases import open_engine
from store.embedded import DatabaseUrls
from store.secrets import Keys
from store.settings import Settings

from .bots import Bot
from .servers import Servers, data_folder, running_servers


@pytest.fixture(scope="session")
def countersign_servers() -> Iterator[Servers]:
    """The session's real Postgres and Redis."""
    with data_folder(in_memory=True) as folder, running_servers(folder) as servers:
        yield servers


@pytest.fixture
async def bot(countersign_servers: Servers, tmp_path: Path) -> AsyncIterator[Bot]:
    """A hub of its own for this test, with every installed command, empty of people until `bot.cast(…)` names some."""
    with countersign_servers.lending():
        async with open_bot(countersign_servers.fresh_database(), tmp_path) as made:
            yield made


@asynccontextmanager
async def open_bot(urls: DatabaseUrls, folder: Path, **settings: Any) -> AsyncIterator[Bot]:
    """A hub on this database, with its keys in this folder; `settings` are those of `store.settings.Settings`."""
    Keys.prepared(folder / "keys")
    read = Settings.read(data_dir=folder, database_url=urls.web, listen_database_url=urls.listen, **settings)
    services = open_services(read.model_copy(update={"database_url": urls.worker}), name="kit", pool=6)
    services.labels = tuple(sorted({one.runs_on for one in services.registry.commands.values() if one.runs_on}))
    owner = open_engine(urls.owner, name="kit", pool=1, door=False)
    try:
        async with open_hub(read, registry=services.registry) as hub:
            yield Bot(hub, services, owner)
    finally:
        await services.close()
        await owner.dispose()
