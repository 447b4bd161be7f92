"""Two worker hosts and a web whose version is swapped by restarting them, people who go on asking meanwhile, and the count afterwards."""

import asyncio
import contextlib
import random
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from countersign.runs import FINISHED, RunStatus
from store.databases import reading, transaction
from store.embedded.servers import free_port
from store.tokens import issue_token
from tests.fakes.ledgers import Ledger
from tests.forks import Fork
from tests.hubs import World, disposing, until
from tests.stories.freights import LOADS, VERSIONS

POLICY: Final = """
profile: strict
people: {ada: {groups: [staff]}, lin: {groups: [leads]}}
roles: {runner: ["freight:run"], approver: ["freight:approve"]}
groups: {staff: [runner], leads: [approver]}
"""
STOP_SECONDS: Final = 60.0
START_SECONDS: Final = 60.0
LADEN_SECONDS: Final = 5.0
CHILDREN: Final = 3
_WAITING: Final = text("""
SELECT r.id, q.digest, r.arguments->>'name' AS name FROM runs r JOIN approval_requests q ON q.run_id = r.id AND q.revision = r.revision
WHERE r.status = 'awaiting_approval' AND r.arguments->>'name' NOT LIKE 'keep-%'
AND NOT (r.arguments->>'name' LIKE 'first-%' AND r.revision > 1)
""")
_RUNNING: Final = text("SELECT count(*) FROM runs WHERE status = 'running'")
_MOVING: Final = text("""
SELECT count(*) FROM runs WHERE NOT status = ANY(:resting) AND NOT (status = 'awaiting_approval'
AND (arguments->>'name' LIKE 'keep-%' OR (arguments->>'name' LIKE 'first-%' AND revision > 1)))
""")
_RUNS: Final = text("""
SELECT r.id, r.status, r.command, r.revision, r.outcome, r.arguments->>'name' AS name,
       EXISTS (SELECT FROM steps s WHERE s.run_id = r.id AND s.revision = r.revision AND s.state = 'calling') AS calling,
       EXISTS (SELECT FROM decisions d WHERE d.run_id = r.id AND d.verdict = 'approve' AND d.person = 'lin' AND d.digest = r.digest)
       AS approved
FROM runs r
""")


@dataclass
class Program:
    """The workers of one host, or the web, from the plugin of a version."""

    world: World
    folders: dict[str, Path]
    words: tuple[str, ...]
    version: str = VERSIONS[0]
    process: Fork | None = None

    def start(self) -> None:
        role = "worker" if self.words == ("automations",) else "web"
        environment = self.world.environment(role=role) | {"COUNTERSIGN_COMMANDS": str(self.folders[self.version])}
        self.process = Fork(self.words, environment, self.world.folder / f"{role}.log")

    async def swap(self) -> float:
        """Ends it as whoever rolls out an upgrade does, and starts the other version; returns the seconds until it had ended."""
        seconds = await asyncio.to_thread(self.stop)
        self.version = VERSIONS[1 - VERSIONS.index(self.version)]
        self.start()
        return seconds

    def stop(self) -> float:
        """SIGTERM; raises AssertionError unless it ends by itself and well."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        assert code in (0, -signal.SIGTERM), f"{self.words} ended with {code}"
        return time.monotonic() - began

    def end(self) -> None:
        """However the story went, nothing is left of it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True)
class Size:
    """`gone` is for how many seconds nobody may have offered a version before others look at its runs; `stays` is one in so many runs."""

    restarts: int
    gone: float
    pause: float
    stays: int


@dataclass
class Fleet:
    """Everything the story needs at once."""

    size: Size
    world: World
    hosts: list[Program]
    web: Program
    dice: random.Random
    engine: AsyncEngine
    clients: dict[str, httpx.AsyncClient]
    asked: dict[UUID, str] = field(default_factory=dict)
    stops: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rolled: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def roll(self) -> None:
        """People ask and approve while one host after the other is restarted; returns when every run has come to rest."""
        self.web.start()
        for host in self.hosts:
            host.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._approve())
            async with asyncio.TaskGroup() as asking:
                numbers = count()
                for _ in range(3):
                    asking.create_task(self._ask(numbers))
                asking.create_task(self._restart())
            await until(self._quiet, seconds=150, what="every run comes to rest")
            self.ended.set()

    async def _restart(self) -> None:
        """One host after the other; every fifth time the web as well. Sometimes a version is gone for long enough to count."""
        await asyncio.sleep(1)
        for n in range(self.size.restarts):
            before = await self._workers()
            with contextlib.suppress(AssertionError):  # on a busy machine it came to pass that no host had anything to give back
                await until(self._laden, seconds=LADEN_SECONDS)
            self.stops.append(await self.hosts[n % 2].swap())
            if self.dice.random() < 0.8:  # an orchestrator waits until it is up, not everybody does
                await until(lambda before=before: self._more(before), seconds=START_SECONDS, what="the host is up")  # type: ignore[misc]
            if n % 5 == 3:
                await self.web.swap()
                self.counts["restarts of the web"] += 1
            one_version = len({one.version for one in self.hosts}) == 1
            gone = one_version and (self.dice.random() < 0.2 or not self.counts["times a version was gone"])
            self.counts["times a version was gone"] += gone
            await asyncio.sleep(self.size.gone + 2 if gone else 0.3 + self.dice.random())
        self.rolled.set()

    async def _laden(self) -> bool:
        async with reading(self.engine) as session:
            return int((await session.execute(_RUNNING)).scalar_one()) >= len(self.hosts)

    async def _workers(self) -> int:
        async with reading(self.engine) as session:
            return int((await session.execute(text("SELECT count(*) FROM workers"))).scalar_one())

    async def _more(self, before: int) -> bool:
        return await self._workers() >= before + CHILDREN

    async def _ask(self, numbers: Iterator[int]) -> None:
        """Asks until all restarts are done. Whatever is not answered is asked again: the idempotency key makes that safe."""
        while not self.rolled.is_set():
            n = next(numbers)
            name, command = _wanted(n, self.size)
            body = {"command": command, "arguments": {"name": name}, "idempotency_key": f"freight-{n}"}
            answer = await self._answered("ada", "/runs", body)
            self.asked[UUID(answer["id"])] = name
            await asyncio.sleep(self.dice.random() * 0.6)

    async def _approve(self) -> None:
        """Lin decides whatever waits, but the `keep-…`; a `first-…` she approves only once, not again when its plan is another."""
        while not self.ended.is_set():
            async with reading(self.engine) as session:
                waiting = (await session.execute(_WAITING)).all()
            for run_id, digest, name in waiting:
                verdict = "deny" if name.startswith("deny") else "approve"
                await self._answered("lin", f"/runs/{run_id}/decisions", {"verdict": verdict, "digest": digest})
            await asyncio.sleep(0.5 + self.dice.random() * 1.5)

    async def _answered(self, who: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await self.clients[who].post(path, json=body)
                if answer.status_code < 500:
                    return dict(answer.json())
            self.counts["requests repeated"] += 1
            await asyncio.sleep(0.1)

    async def _quiet(self) -> bool:
        async with reading(self.engine) as session:
            moving = await session.execute(_MOVING, {"resting": [*FINISHED, RunStatus.interrupted]})
            return bool(moving.scalar_one() == 0)

    async def check(self, ledger: Ledger) -> None:
        """Raises AssertionError naming the run that was lost, doubled or done without approval."""
        async with reading(self.engine) as session:
            rows = {row.id: row for row in await session.execute(_RUNS)}
            kinds = await session.execute(
                text("SELECT cast(canonical AS jsonb)->>'kind' AS kind, count(*) AS n FROM audit_events GROUP BY 1")
            )
            events = {row.kind: row.n for row in kinds}
        lost = [name for run_id, name in self.asked.items() if run_id not in rows]
        assert not lost, f"lost: {lost}"
        assert len(rows) == len(self.asked) == len(set(self.asked.values()))
        done: dict[str, dict[str, int]] = defaultdict(dict)
        for key, times in ledger.effects.items():
            name, _, what = key.partition(".")
            done[name][what] = times
        for row in rows.values():
            self.counts[row.status] += 1
            self._judge(row, done[row.name])
        for kind in ("run:stale", "run:given_back", "run:reclaimed"):
            self.counts[kind] = events.get(kind, 0)

    def _judge(self, row: Row[Any], done: dict[str, int]) -> None:
        told = f"{row.name} ({row.command}) is {row.status}: {row.outcome}; done: {done}"
        assert max(done.values(), default=0) <= 1, f"doubled: {told}"
        if row.command == "ship":
            assert len(done) <= 1, f"doubled: {told}"
            assert all(len(set(what.split("."))) == 1 for what in done), f"planned by one version and done by another: {told}"
        if row.command in ("ship", "pay") and done:
            assert row.approved, f"unapproved: {told}"
        if row.status == RunStatus.succeeded:
            assert len(done) == (LOADS if row.command == "haul" else 1), f"lost: {told}"
            assert not row.name.startswith(("deny", "keep")), f"unapproved: {told}"
        elif row.status == RunStatus.interrupted:
            self.counts[f"{row.command} interrupted {'in a call' if row.calling else 'without its code'}"] += 1
            assert row.calling or (row.command == "ship" and not done and "code" in row.outcome), f"nothing was in flight: {told}"
        else:
            self._judge_undone(row, done, told)

    def _judge_undone(self, row: Row[Any], done: dict[str, int], told: str) -> None:
        assert not done, f"unapproved: {told}"
        again = row.name.startswith("first") and row.command == "ship" and row.revision > 1
        self.counts["asked about again and left alone"] += again
        expected = RunStatus.denied if row.name.startswith("deny") else RunStatus.awaiting_approval
        assert row.status == expected, f"lost: {told}"
        assert row.name.startswith(("deny", "keep")) or again, f"lost: {told}"

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {what}" for what, n in sorted(self.counts.items()))
        return f"{len(self.asked)} runs, {len(self.stops)} restarts, the slowest stop {max(self.stops, default=0):.1f} s; {counts}"


@asynccontextmanager
async def fleet(world: World, folders: dict[str, Path], size: Size, *, seed: int) -> AsyncIterator[Fleet]:
    """Two hosts of workers and a web, not yet started, and Ada's and Lin's clients; afterwards all of it has ended."""
    port = free_port(None)
    web = ("uvicorn", "--factory", "bot.app:create_app", "--port", str(port), "--no-access-log")
    hosts = [Program(world, folders, ("automations",)) for _ in range(2)]
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(disposing(world.engine(role="owner")))
        clients = {name: await stack.enter_async_context(await _client(engine, name, port)) for name in ("ada", "lin")}
        made = Fleet(size, world, hosts, Program(world, folders, web), random.Random(seed), engine, clients)
        for one in (made.web, *hosts):
            stack.callback(one.end)
        yield made


async def _client(engine: AsyncEngine, person: str, port: int) -> httpx.AsyncClient:
    async with transaction(engine) as session:
        token = await issue_token(session, kind="api", person=person, label="fleet", scopes=("read", "submit", "decide"), lifetime=3_600)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", headers={"authorization": f"Bearer {token}"}, timeout=60)


def _wanted(n: int, size: Size) -> tuple[str, str]:
    """The name and the command of the run of this number."""
    if size.stays and n % size.stays == size.stays // 2:
        return f"run-{n}", "stay"
    command = "haul" if n % 20 == 3 else ("book", "ship", "pay", "ship")[n % 4]
    if command in ("ship", "pay"):
        word = {1: "deny", 2: "keep"}.get(n % 24, "first" if n % 3 == 0 else "run")
        return f"{word}-{n}", command
    return f"run-{n}", command
