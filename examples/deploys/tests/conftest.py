"""A site in a fresh folder, a real server in front of it, and the integration as workers open it."""

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from countersign_deploys.demos import prepare
from countersign_deploys.server import Server
from countersign_deploys.sites import Site
from integrations.catalogs import Catalog


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "site")
    prepare(made)
    return made


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    with Server(site, "127.0.0.1", 0) as made:
        serving = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield made
        made.shutdown()
        serving.join()


@pytest.fixture
async def catalog(site: Site, server: Server) -> AsyncIterator[Catalog]:
    made = Catalog(
        {
            "COUNTERSIGN_FLEET__ROOT": str(site.root),
            "COUNTERSIGN_FLEET__URL": server.url,
            "COUNTERSIGN_FLEET__CHECKS": "3",
            "COUNTERSIGN_FLEET__PAUSE": "0.01s",
        }
    )
    yield made
    await made.close()
