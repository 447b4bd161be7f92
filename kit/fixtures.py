"""The pytest plugin: the fixture `bot`. Installed with the server, found by pytest through its entry point."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from automations.services import open_services
from bot.hubs import open_hub
from store.databases import open_engine
from store.secrets import Keys
from store.settings import Settings

from .bots import Bot
from .servers import Servers, data_folder, running_servers


@pytest.fixture(scope="session")
def countersign_servers() -> Iterator[Servers]:
    """The session's real Postgres and Redis."""
    with data_folder() as folder, running_servers(folder) as servers:
        yield servers


@pytest.fixture
async def bot(countersign_servers: Servers, tmp_path: Path) -> AsyncIterator[Bot]:
    """A hub of its own for this test, with every installed command, empty of people until `bot.cast(…)` names some."""
    urls = countersign_servers.fresh_database()
    Keys.prepared(tmp_path / "keys")
    settings = Settings.read(data_dir=tmp_path, database_url=urls.web, listen_database_url=urls.listen)
    services = open_services(settings.model_copy(update={"database_url": urls.worker}), name="kit", pool=6)
    owner = open_engine(urls.owner, name="kit", pool=1, door=False)
    try:
        async with open_hub(settings) as hub:
            yield Bot(hub, services, owner)
    finally:
        await services.close()
        await owner.dispose()
