"""1,000 runs, 60 SIGKILLs of every role, 3 total losses of Redis: counted at the outside system, nothing is lost, doubled or unapproved."""

import asyncio
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from bot.deadlines import NotConfirmed, NothingDone
from bot.hubs import Hub, open_hub
from bot.presses import Press
from countersign.invocations import Door, Invocation, Place
from countersign.runs import FINISHED, RunStatus
from kit.servers import Servers
from store.databases import reading
from store.embedded import EmbeddedRedis
from store.journals import StepState, find_steps
from store.people import find_people
from store.runs import find_run
from tests.fakes.ledgers import Ledger
from tests.hubs import World, until

RUNS = 1_000
KILLS = 60
LOSSES = 3
POLICY = """
profile: strict
people: {ada: {groups: [staff]}, lin: {groups: [leads]}}
roles: {runner: ["chaos:run"], approver: ["chaos:approve"]}
groups: {staff: [runner], leads: [approver]}
"""


@pytest.fixture
def own_redis(servers: Servers) -> Iterator[EmbeddedRedis]:
    """A Redis of this story's own, because it is killed and wiped."""
    folder = servers.folder / "chaos"
    folder.mkdir(mode=0o711)
    redis = EmbeddedRedis(folder)
    redis.start()
    yield redis
    redis.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(150)
async def test_nothing_is_lost_doubled_or_unapproved(servers: Servers, own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", str(time.time_ns() % 1_000_000)))
    print(f"chaos seed {seed}")
    dice = random.Random(seed)
    world = World(servers.fresh_database(), own_redis.url, tmp_path, policy=POLICY)
    await world.prepare()
    commands = tmp_path / "commands"
    commands.mkdir()
    shutil.copy(Path(__file__).with_name("chaos.py"), commands / "chaos.py")
    async with Ledger() as ledger:
        world.extra |= {
            "COUNTERSIGN_COMMANDS": str(commands),
            "CHAOS_LEDGER": ledger.url,
            "COUNTERSIGN_LEASE_SECONDS": "3",
            "COUNTERSIGN_EXECUTING_PROCESSES": "2",
        }
        with world.workers() as supervisor:
            async with open_hub(world.settings()) as hub:
                asked = await _storm(hub, world, own_redis, supervisor.pid, dice)
                await until(lambda: _quiet(hub, asked), seconds=90, what="every run ends")
                counts = await _check(hub, asked, ledger)
    print(f"chaos seed {seed}: {dict(counts)}")


async def _storm(hub: Hub, world: World, redis: EmbeddedRedis, supervisor: int, dice: random.Random) -> dict[str, str]:
    """Asks, approves, denies, kills and wipes, all at once; returns the run's name by id."""
    ended = asyncio.Event()
    killer = asyncio.create_task(_kill(redis, supervisor, dice, ended))
    approver = asyncio.create_task(_approve(hub, ended))
    asked: dict[str, str] = {}
    async with reading(hub.engine) as session:
        ada = (await find_people(session, ["ada"]))["ada"]
    for n in range(RUNS):
        name = f"{'deny' if n % 20 == 1 else 'keep' if n % 20 == 3 else 'run'}-{n}"
        command = "pay" if n % 2 else "book"
        invocation = Invocation(f"chaos-{n}", Door.api, Place("api"), command=command, arguments={"name": name})
        asked[str(await _submitted(hub, ada, invocation))] = name
        if n % 10 == 9:
            await asyncio.sleep(dice.random() * 0.3)
    await killer
    await asyncio.sleep(1)
    ended.set()
    await approver
    return asked


async def _submitted(hub: Hub, person: object, invocation: Invocation) -> object:
    while True:
        try:
            return (await hub.submit(person, invocation)).run_id  # type: ignore[arg-type]
        except (NothingDone, NotConfirmed):
            await asyncio.sleep(0.05)


async def _kill(redis: EmbeddedRedis, supervisor: int, dice: random.Random, ended: asyncio.Event) -> None:
    """Kills children at random moments, every role in turn, and loses all of Redis three times."""
    roles = ["cs-planning", "cs-executing", "cs-executing", "cs-housekeeping"[:15]]
    for n in range(KILLS):
        await asyncio.sleep(0.2 + dice.random() * 0.5)
        victims = [pid for pid, role in _children(supervisor) if role == roles[n % len(roles)]]
        if victims:
            os.kill(dice.choice(victims), signal.SIGKILL)
        if n % (KILLS // LOSSES) == KILLS // LOSSES // 2:
            await asyncio.to_thread(redis.wipe)
            await asyncio.to_thread(redis.start)


def _children(supervisor: int) -> list[tuple[int, str]]:
    pids = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    found = []
    for pid in pids:
        try:
            found.append((int(pid), Path(f"/proc/{pid}/comm").read_text().strip()))
        except OSError:  # it has ended meanwhile
            continue
    return found


async def _approve(hub: Hub, ended: asyncio.Event) -> None:
    """Lin decides whatever waits: approves, denies the deny-…, leaves the keep-… alone."""
    async with reading(hub.engine) as session:
        lin = (await find_people(session, ["lin"]))["lin"]
    while True:
        last = ended.is_set()
        async for run_id, digest, name in _waiting(hub):
            intent = "deny" if name.startswith("deny") else "approve"
            try:
                await hub.press(lin, Press(f"{run_id}-{digest}", intent, run_id, Door.api, digest=digest))
            except (NothingDone, NotConfirmed):
                continue
        if last:
            return
        await asyncio.sleep(0.05)


async def _waiting(hub: Hub) -> AsyncIterator[tuple[str, str, str]]:
    async with reading(hub.engine) as session:
        rows = await session.execute(
            text(
                "SELECT r.id, q.digest, r.arguments->>'name' AS name FROM runs r JOIN approval_requests q ON q.run_id = r.id"
                " AND q.revision = r.revision WHERE r.status = 'awaiting_approval' AND r.arguments->>'name' NOT LIKE 'keep-%'"
            )
        )
        found = rows.all()
    for row in found:
        yield str(row.id), row.digest, row.name


async def _quiet(hub: Hub, asked: dict[str, str]) -> bool:
    """Whether every run has ended, but for those interrupted and those nobody decides on."""
    resting = [*FINISHED, RunStatus.interrupted]
    async with reading(hub.engine) as session:
        moving = await session.execute(
            text(
                "SELECT count(*) FROM runs WHERE NOT status = ANY(:resting)"
                " AND NOT (status = 'awaiting_approval' AND arguments->>'name' LIKE 'keep-%')"
            ),
            {"resting": resting},
        )
        return bool(moving.scalar_one() == 0)


async def _check(hub: Hub, asked: dict[str, str], ledger: Ledger) -> Counter[str]:
    counts: Counter[str] = Counter()
    assert len(asked) == RUNS
    for run_id, name in asked.items():
        async with reading(hub.engine) as session:
            run = await find_run(session, run_id)  # type: ignore[arg-type]
        assert run is not None, f"{name} is lost"
        counts[run.status] += 1
        keys = [name] if run.command == "pay" else [f"{name}-a", f"{name}-b"]
        effects = [ledger.effects[key] for key in keys]
        assert max(effects) <= 1, f"{name} was done twice"
        if name.startswith(("deny", "keep")) and run.command == "pay":
            assert effects == [0], f"{name} was done without approval"
            assert run.status in (RunStatus.denied, RunStatus.awaiting_approval)
        elif run.status == RunStatus.succeeded:
            assert effects == [1] * len(keys), f"{name} succeeded without being done"
        else:
            assert run.status == RunStatus.interrupted, f"{name} ended {run.status}: {run.outcome}"
            async with reading(hub.engine) as session:
                steps = await find_steps(session, run.id, revision=run.revision)
            assert any(one.state == StepState.calling for one in steps), f"{name} was interrupted with no call in flight: {run.outcome}"
            counts["interrupted and called"] += max(effects)
    assert counts[RunStatus.interrupted] <= RUNS * 0.03
    return counts
