"""Who may read the numbers: programs on this machine; with a token in the settings, whoever sends it and nobody else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from bot.refusals import Refusals
from store.settings import WrongSetting
from store.switches import switch_on
from tests.bot.webs import Web, web_of
from tests.hubs import World

TOKEN = "0123456789-monitoring"


@asynccontextmanager
async def caller_at(web: Web, address: str, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(web.app, client=(address, 5))
    async with httpx.AsyncClient(transport=transport, base_url=web.address, headers=httpx.Headers(headers, encoding="latin-1")) as client:
        yield client


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("127.8.8.8", {}, 200),
        ("::1", {}, 200),
        ("10.0.0.7", {}, 401),
        ("203.0.113.9", {}, 401),
        ("testclient", {}, 401),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}, 401),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}, 401),
        ("127.0.0.1", {"via": "1.1 proxy"}, 401),
        ("203.0.113.9", {"authorization": f"Bearer {TOKEN}"}, 401),
    ],
)
async def test_without_a_token_only_this_machine_reads_them(world: World, address: str, headers: dict[str, str], status: int) -> None:
    async with web_of(world) as web, caller_at(web, address, **headers) as program:
        assert (await program.get("/metrics")).status_code == status


async def test_with_a_token_only_the_token_counts(world: World) -> None:
    async with web_of(world, METRICS_TOKEN=TOKEN) as web:
        for wrong in ("", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \u00ff"):
            async with caller_at(web, "127.0.0.1", authorization=wrong) as program:
                answer = await program.get("/metrics")
                assert answer.status_code == 401, wrong
                assert "COUNTERSIGN_METRICS_TOKEN" in answer.json()["detail"]
        async with caller_at(web, "203.0.113.9", authorization=f"Bearer {TOKEN}") as monitoring:
            assert "countersign_ready" in (await monitoring.get("/metrics")).text
        refusals: Refusals = web.app.state.refusals
        assert refusals._waiting["metrics", "no_token"] == 5


async def test_strangers_read_that_something_is_stopped_and_not_by_whom(world: World) -> None:
    async with web_of(world) as web, caller_at(web, "203.0.113.9") as stranger, caller_at(web, "127.0.0.1") as here:
        await web.hub.committed(lambda session: switch_on(session, kind="command", target="deploy", by="max", reason="fire"))
        assert (await stranger.get("/ready")).json()["stopped"] == ["A command is stopped."]
        assert "deploy is stopped by max" in (await here.get("/ready")).json()["stopped"][0]


async def test_a_token_that_can_be_guessed_stops_the_start(world: World) -> None:
    with pytest.raises(WrongSetting, match=r"COUNTERSIGN_METRICS_TOKEN: should be at least 20 .*for instance"):
        async with web_of(world, METRICS_TOKEN="secret"):
            pass
