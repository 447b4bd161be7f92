"""A log is followed while it is written, at the API and in a terminal, and the stream ends with the run."""

import asyncio
import json
from typing import Any
from uuid import UUID

import httpx
import pytest

from bot.cli.apps import app
from countersign.runs import RunStatus
from store.claims import claim
from store.databases import transaction
from store.journals import Phase, StepKey
from store.logs import add_lines
from store.runs import Move, move
from tests.bot.cli.lines import called
from tests.bot.webs import served
from tests.hubs import World, disposing


async def begun(world: World, run: UUID) -> StepKey:
    """The run as a worker carries it out."""
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        assert await move(session, [Move(run, RunStatus.planning, by="w")])
        assert await move(session, [Move(run, RunStatus.queued, by="w", code_version="c1")])
        (claimed,) = await claim(session, [run], statuses=list(RunStatus), worker="w1", lease=60, versions=("c1",))
        assert await move(session, [Move(run, RunStatus.running, by="w1", attempt=claimed.attempt, keep_lease=True)])
    return StepKey(run, 1, 0, Phase.do, claimed.attempt)


async def say(world: World, key: StepKey, *lines: str) -> None:
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        await add_lines(session, key, lines)


async def end(world: World, key: StepKey, how: RunStatus) -> None:
    async with disposing(world.engine()) as engine, transaction(engine) as session:
        assert await move(session, [Move(key.run_id, how, by="w1", attempt=key.attempt, outcome="that was it")])


async def asked(client: httpx.AsyncClient) -> UUID:
    answer = await client.post("/api/v1/runs", json={"text": "grant eve deployer"})
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["id"])


async def test_lines_come_as_they_are_written_and_the_end_last(world: World) -> None:
    async with served(world) as web, await web.caller("max") as max_:
        key = await begun(world, await asked(max_))
        await say(world, key, "before", "data: forged\n\nevent: end")
        path = f"/api/v1/runs/{key.run_id}/log/events"
        async with max_.stream("GET", path) as response, asyncio.timeout(60):
            told = _told(response)
            assert [(await anext(told))[1]["line"] for _ in range(2)] == ["before", "data: forged\n\nevent: end"]
            await say(world, key, "while one looks")
            name, line = await anext(told)
            assert (name, line["line"], line["step"]) == ("line", "while one looks", 0)
            await end(world, key, RunStatus.succeeded)
            assert await anext(told) == ("end", {"status": "succeeded", "outcome": "that was it"})
            assert [one async for one in told] == []
        async with max_.stream("GET", path, headers={"last-event-id": str(line["n"])}) as response:
            assert [name async for name, _ in _told(response)] == ["end"], "who comes back goes on where they were"


async def test_a_terminal_follows_and_ends_as_the_run_did(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(world) as web, await web.caller("max") as max_:
        monkeypatch.setenv("COUNTERSIGN_URL", web.address)
        monkeypatch.setenv("COUNTERSIGN_TOKEN", await web.token("api", "max"))
        key = await begun(world, await asked(max_))
        await say(world, key, "one", "two \x1b[2J")
        shown = await asyncio.to_thread(called, app, "logs", str(key.run_id))
        assert (shown.code, shown.out) == (0, "one\ntwo \N{REPLACEMENT CHARACTER}[2J\n")
        following = asyncio.create_task(asyncio.to_thread(called, app, "logs", str(key.run_id), "-f", "-n", "1", "--json"))
        await say(world, key, "three")
        await end(world, key, RunStatus.failed)
        async with asyncio.timeout(60):
            followed = await following
        assert [json.loads(line)["line"] for line in followed.out.splitlines()][-1] == "three"
        assert (followed.code, "failed: that was it" in followed.err) == (1, True)
        nobody = await asyncio.to_thread(called, app, "logs", "999999", "-f")
        assert (nobody.code, nobody.out) == (1, "")


async def _told(response: httpx.Response) -> Any:
    """Each event's name and data."""
    name, data = "", ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data += line.removeprefix("data: ")
        elif not line and data:
            yield name, json.loads(data)
            name, data = "", ""
