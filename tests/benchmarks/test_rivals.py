"""The other sides really do what they are compared for."""

import asyncio
from functools import partial

import pytest
import uvloop

from benchmarks.hubs import Hub, running
from benchmarks.loads import spaced
from benchmarks.machines import cpu_seconds, require_durable
from benchmarks.rivals import BareBolt, NaiveStack
from benchmarks.services import services
from benchmarks.sides.blmove import Blmove
from benchmarks.slashes import signed_slashes


@pytest.mark.long
def test_each_side_answers_ada_and_those_that_promise_it_post_the_result() -> None:
    uvloop.run(_each_side_answers())


async def _each_side_answers() -> None:
    async with asyncio.timeout(60), services() as shared:
        bolt = partial(BareBolt, shared)
        hubs: list[Hub] = [NaiveStack(shared), *(bolt(name=name, factory=name) for name in ("direct", "default", "responding"))]
        async with running(hubs) as addresses:
            for hub in addresses.values():
                require_durable(hub.database_urls)
                slashes = signed_slashes(2, hub=hub, response_url=shared.sink.response_url)
                load = await spaced(hub.slack_url, slashes.requests, pause=0)
                assert (load.counted, load.not_ok) == (2, 0)
                assert await shared.sink.wait_for(slashes.ids if hub.posts_results else [], seconds=20) == 0
        blmove = Blmove(shared.redis.url, shared.folder)
        try:
            await blmove.start()
            assert 0 < await blmove.hand_over() < 5
            assert cpu_seconds(blmove.worker_pids()) > 0
        finally:
            await blmove.stop()
