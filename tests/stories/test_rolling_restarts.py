"""Upgrades under load: hosts are restarted into another version of a plugin and back, and nothing is lost, doubled or done unapproved."""

import os
import time
from pathlib import Path

import pytest

from kit.servers import Servers
from tests.fakes.ledgers import Ledger
from tests.hubs import World
from tests.stories.fleets import POLICY, Size, fleet
from tests.stories.freights import write_freight

SHORT = Size(restarts=4, gone=3.0, pause=0.3, stays=0)
LONG = Size(restarts=50, gone=6.0, pause=1.2, stays=150)


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(SHORT, id="4"),
        pytest.param(LONG, id="50", marks=[pytest.mark.long, pytest.mark.timeout(1_800)]),
    ],
)
async def test_restarts_between_two_versions_lose_nothing(servers: Servers, redis_url: str, tmp_path: Path, size: Size) -> None:
    seed = int(os.environ.get("FREIGHT_SEED", str(time.time_ns() % 1_000_000)))
    print(f"freight seed {seed}")
    world = World(servers.fresh_database(), redis_url, tmp_path, policy=POLICY)
    await world.prepare()
    folders = write_freight(tmp_path, pause=size.pause)
    began = time.monotonic()
    async with Ledger() as ledger:
        world.extra |= {"FREIGHT_LEDGER": ledger.url, "COUNTERSIGN_VERSION_SECONDS": str(size.gone)}
        async with fleet(world, folders, size, seed=seed) as made:
            try:
                await made.roll()
                await made.check(ledger)
            finally:
                print(f"freight seed {seed}: {made}; {time.monotonic() - began:.0f} s")
            assert len(made.stops) == size.restarts
            assert made.counts["times a version was gone"]
            assert made.counts["run:stale"]
            assert made.counts["run:given_back"]
