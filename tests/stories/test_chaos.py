"""1,000 runs, 60 SIGKILLs of every role, 3 total losses of Redis: counted at the outside system, nothing is lost, doubled or unapproved."""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from countersign.runs import FINISHED, RunStatus
from kit.servers import Servers
from store.databases import reading, transaction
from store.embedded import EmbeddedRedis
from store.embedded.servers import free_port
from store.journals import StepState, find_steps
from store.runs import find_run
from store.tokens import issue_token
from tests.fakes.ledgers import Ledger
from tests.forks import Fork
from tests.hubs import World, disposing, until

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


@dataclass
class Web:
    """A web process that is killed and started again, as whatever supervises it would."""

    world: World
    port: int
    process: Fork | None = None

    def start(self) -> None:
        words = ("uvicorn", "--factory", "bot.app:create_app", "--port", str(self.port), "--no-access-log")
        self.process = Fork(words, self.world.environment(role="web"), self.world.folder / "web.log")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@dataclass
class Storm:
    """Everything the story needs at once."""

    world: World
    web: Web
    redis: EmbeddedRedis
    supervisor: int
    dice: random.Random
    engine: AsyncEngine
    clients: dict[str, httpx.AsyncClient]
    asked: dict[UUID, str] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.mark.timeout(170)
async def test_nothing_is_lost_doubled_or_unapproved(servers: Servers, own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", str(time.time_ns() % 1_000_000)))
    print(f"chaos seed {seed}")
    world = World(servers.fresh_database(), own_redis.url, tmp_path, policy=POLICY)
    await world.prepare()
    (tmp_path / "commands").mkdir()
    shutil.copy(Path(__file__).with_name("chaos.py"), tmp_path / "commands" / "chaos.py")
    async with Ledger() as ledger, disposing(world.engine(role="owner")) as engine:
        world.extra |= {
            "COUNTERSIGN_COMMANDS": str(tmp_path / "commands"),
            "CHAOS_LEDGER": ledger.url,
            "COUNTERSIGN_LEASE_SECONDS": "3",
            "COUNTERSIGN_EXECUTING_PROCESSES": "2",
        }
        web = Web(world, free_port(None))
        clients = {name: await _client(engine, name, web.port) for name in ("ada", "lin")}
        with world.workers() as supervisor:
            web.start()
            storm = Storm(world, web, own_redis, supervisor.pid, random.Random(seed), engine, clients)
            try:
                await _rage(storm)
                await until(lambda: _quiet(engine), seconds=90, what="every run ends")
                counts = await _check(storm, ledger)
            finally:
                web.kill()
                for client in clients.values():
                    await client.aclose()
    print(f"chaos seed {seed}: {dict(counts)}; killed {dict(storm.killed)}, Redis lost {LOSSES} times")


async def _client(engine: AsyncEngine, person: str, port: int) -> httpx.AsyncClient:
    async with transaction(engine) as session:
        token = await issue_token(session, kind="api", person=person, label="chaos", scopes=("read", "submit", "decide"), lifetime=3_600)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", headers={"authorization": f"Bearer {token}"}, timeout=10)


async def _rage(storm: Storm) -> None:
    """Asks, approves, denies, kills and wipes, all at once."""
    killer = asyncio.create_task(_kill(storm))
    approver = asyncio.create_task(_approve(storm))
    names = iter(range(RUNS))
    await asyncio.gather(*(_ask(storm, names) for _ in range(4)))
    await killer
    await asyncio.sleep(1)
    storm.ended.set()
    await approver


async def _ask(storm: Storm, numbers: Iterator[int]) -> None:
    """Asks until it is answered: the idempotency key makes repeating safe, whatever died meanwhile."""
    for n in numbers:
        name = f"{'deny' if n % 20 == 1 else 'keep' if n % 20 == 3 else 'run'}-{n}"
        body = {"command": "pay" if n % 2 else "book", "arguments": {"name": name}, "idempotency_key": f"chaos-{n}"}
        answer = await _answered(storm.clients["ada"], "/runs", body)
        storm.asked[UUID(answer["id"])] = name
        await asyncio.sleep(storm.dice.random() * 0.12)


async def _answered(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    while True:
        with contextlib.suppress(httpx.TransportError):
            answer = await client.post(path, json=body)
            if answer.status_code < 500:
                return dict(answer.json())
        await asyncio.sleep(0.1)


async def _kill(storm: Storm) -> None:
    """Kills at random moments, every role in turn, and loses all of Redis three times."""
    await asyncio.sleep(2)
    roles = ["cs-planning", "cs-executing", "cs-executing", "cs-housekeeping"[:15]]
    for n in range(KILLS):
        await asyncio.sleep(0.2 + storm.dice.random() * 0.5)
        role = "web" if n % 10 == 4 else roles[n % len(roles)]
        victims = [pid for pid, name in _children(storm.supervisor) if name == role]
        if role == "web":
            await asyncio.to_thread(storm.web.kill)
            storm.web.start()
        elif victims:
            os.kill(storm.dice.choice(victims), signal.SIGKILL)
        storm.killed[role] += bool(victims or role == "web")
        if n % (KILLS // LOSSES) == KILLS // LOSSES // 2:
            await asyncio.to_thread(storm.redis.wipe)
            await asyncio.to_thread(storm.redis.start)


def _children(supervisor: int) -> list[tuple[int, str]]:
    pids = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    found = []
    for pid in pids:
        try:
            found.append((int(pid), Path(f"/proc/{pid}/comm").read_text().strip()))
        except OSError:  # it has ended meanwhile
            continue
    return found


async def _approve(storm: Storm) -> None:
    """Lin decides whatever waits: approves, denies the deny-…, leaves the keep-… alone."""
    while True:
        last = storm.ended.is_set()
        for run_id, digest, name in await _waiting(storm.engine):
            verdict = "deny" if name.startswith("deny") else "approve"
            await _answered(storm.clients["lin"], f"/runs/{run_id}/decisions", {"verdict": verdict, "digest": digest})
        if last:
            return
        await asyncio.sleep(0.05)


async def _waiting(engine: AsyncEngine) -> list[tuple[UUID, str, str]]:
    async with reading(engine) as session:
        rows = await session.execute(
            text(
                "SELECT r.id, q.digest, r.arguments->>'name' AS name FROM runs r JOIN approval_requests q ON q.run_id = r.id"
                " AND q.revision = r.revision WHERE r.status = 'awaiting_approval' AND r.arguments->>'name' NOT LIKE 'keep-%'"
            )
        )
        return [(row.id, row.digest, row.name) for row in rows]


async def _quiet(engine: AsyncEngine) -> bool:
    """Whether every run has ended, but for those interrupted and those nobody decides on."""
    resting = [*FINISHED, RunStatus.interrupted]
    async with reading(engine) as session:
        moving = await session.execute(
            text(
                "SELECT count(*) FROM runs WHERE NOT status = ANY(:resting)"
                " AND NOT (status = 'awaiting_approval' AND arguments->>'name' LIKE 'keep-%')"
            ),
            {"resting": resting},
        )
        return bool(moving.scalar_one() == 0)


async def _check(storm: Storm, ledger: Ledger) -> Counter[str]:
    counts: Counter[str] = Counter()
    assert len(storm.asked) == RUNS
    assert sum(storm.killed.values()) >= KILLS * 0.9
    for run_id, name in storm.asked.items():
        async with reading(storm.engine) as session:
            run = await find_run(session, run_id)
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
            async with reading(storm.engine) as session:
                steps = await find_steps(session, run.id, revision=run.revision)
            assert any(one.state == StepState.calling for one in steps), f"{name} was interrupted with no call in flight: {run.outcome}"
            counts["interrupted and called"] += max(effects)
    assert counts[RunStatus.interrupted] <= RUNS * 0.03
    return counts
