"""Workers of two hosts call an outside system no more often together than it bears, and nobody's run fails because of it."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from bot.hubs import Hub, open_hub
from countersign.invocations import Door, Invocation, Place
from countersign.runs import FINISHED
from store.databases import reading
from store.embedded import DatabaseUrls
from store.people import find_person
from store.runs import find_runs
from tests.hubs import World, disposing, until

RUNS, COUNT, SECONDS = 12, 4, 3.0
LATE = 1.0
"""Seconds by which a call may come after its turn on a busy machine; a limit that each process counted for itself is off by far more."""
POLICY = """
profile: strict
people: {ada: {groups: [staff]}}
roles: {pusher: ["gauge:push"]}
groups: {staff: [pusher]}
"""
COMMANDS = '''
"""A command whose one step calls a gauge."""

import os
import time
from pathlib import Path

from countersign import Context, Integration, action, acts


class Gauge(Integration):
    @acts(repeat="once")
    async def push(self) -> None:
        with Path(TRACE).open("a") as file:
            file.write(f"{time.time()} {os.getpid()}\\n")


@action("push", permission="gauge:push", risk="low")
async def push(ctx: Context) -> None:
    """Push it."""
    await ctx.use(Gauge).push()
'''


async def ask(hub: Hub, world: World) -> UUID:
    async with disposing(world.engine()) as engine, reading(engine) as session:
        ada = await find_person(session, "ada")
    assert ada is not None
    answer = await hub.submit(ada, Invocation(key=str(uuid4()), door=Door.browser, place=Place("room", "", "ops"), text="push"))
    assert answer.run_id is not None, answer.reply.text
    return answer.run_id


@pytest.mark.long
async def test_two_hosts_together_keep_to_the_limit(database: DatabaseUrls, redis_url: str, tmp_path: Path) -> None:
    trace, folder = tmp_path / "trace", tmp_path / "commands"
    folder.mkdir()
    (folder / "gauges.py").write_text(COMMANDS.replace("TRACE", repr(str(trace))))
    limit = {"COUNTERSIGN_GAUGE__RATE_LIMIT": f"{COUNT}/{SECONDS:g}s", "COUNTERSIGN_SLOTS": "1"}  # so that no process has all the runs
    extra = {"COUNTERSIGN_COMMANDS": str(folder)} | limit
    world = World(database, redis_url, tmp_path, policy=POLICY, extra=extra)
    await world.prepare()
    async with disposing(world.engine()) as engine, open_hub(world.settings()) as hub:
        with world.workers(), world.workers():
            runs = [await ask(hub, world) for _ in range(RUNS)]

            async def over() -> list[str]:
                async with reading(engine) as session:
                    found = await find_runs(session, runs)
                return [one.status for one in found.values()] if all(one.status in FINISHED for one in found.values()) else []

            assert await until(over, seconds=60, what="all have ended") == ["succeeded"] * RUNS
    calls = sorted((float(at), pid) for at, pid in (line.split() for line in trace.read_text().splitlines()))
    assert len(calls) == RUNS
    assert len({pid for _, pid in calls}) > 1, "more than one process called"
    apart = [after - before for (before, _), (after, _) in zip(calls, calls[COUNT:], strict=False)]
    assert min(apart) > SECONDS - LATE, apart
