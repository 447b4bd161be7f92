"""The hub of this repository, as an operator runs it: one web process, the supervisor with its workers, Postgres committing durably."""

import asyncio
import hashlib
import secrets
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.errors import BenchmarkError
from benchmarks.hubs import OURS, HubAddresses
from benchmarks.processes import Child
from benchmarks.rivals import ASKER, SLACK_TOKEN, UVICORN
from benchmarks.services import Services
from commands.seed import seed
from store.databases import WriteSession, open_engine, transaction
from store.embedded import DatabaseUrls
from store.embedded.servers import free_port
from store.migrating import migrate
from store.runs import NewRun, create
from store.secrets import Keys

READY_SECONDS = 30.0
STARTED_SECONDS = 10.0
POLICY = """
profile: strict
people: {ada: {email: ada@example.test, groups: [staff]}}
identity: {slack: {link_by_email: true}}
roles: {worker: ["work:run"]}
groups: {staff: [worker]}
"""
WORK = '''
"""What the naive stack does too: one permission, one answer."""

import os
import socket
import time

from countersign import PlanningContext, Reply, command

_told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


@command("work", permission="work:run", risk="read", slash=True)
async def work(ctx: PlanningContext, id: str) -> Reply:
    """Say that it is done."""
    if address := os.environ.get("BENCH_STARTED"):
        _told.sendto(f"{time.monotonic()!r} {id}".encode(), address)
    return Reply(text=f"done: {id}")
'''


class Countersign:
    """Web and workers over a database of their own on the shared Postgres and Redis."""

    name = OURS

    def __init__(
        self,
        services: Services,
        *,
        web: bool = True,
        workers: bool = True,
        started: Path | None = None,
        fill: Callable[[WriteSession], Awaitable[None]] | None = None,
        policy: str = POLICY,
        commands: str = WORK,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`fill` writes what is there before anything starts, as the tables' owner."""
        self._services, self._web, self._workers, self._started, self._fill = services, web, workers, started, fill
        self._policy, self._commands, self._settings = policy, commands, settings or {}
        self.folder = services.folder / f"countersign-{uuid4().hex[:6]}"
        self._children: list[Child] = []
        self.urls: DatabaseUrls | None = None

    async def start(self) -> HubAddresses:
        """Migrate, seed and start everything; return when `/ready` says so."""
        self.urls = await self._make_database()
        port, secret = free_port(None), secrets.token_hex(16)
        common = {
            "COUNTERSIGN_DATA_DIR": str(self.folder),
            "COUNTERSIGN_COMMANDS": str(self.folder / "commands"),
            "COUNTERSIGN_SLACK_BOT_TOKEN": SLACK_TOKEN,
            "COUNTERSIGN_SLACK_SIGNING_SECRET": secret,
            "COUNTERSIGN_SLACK_API_URL": self._services.sink.api_url,
            "COUNTERSIGN_PORT": str(port),
            **self._settings,
        }
        worker = {**common, "COUNTERSIGN_DATABASE_URL": self.urls.worker, "COUNTERSIGN_REDIS_URL": self._services.redis.url}
        if self._started:
            worker["BENCH_STARTED"] = str(self._started)
        if self._workers:
            log = self._services.folder / "countersign-workers.log"
            self._children.append(Child([sys.executable, "-m", "automations"], environment=worker, log=log))
        if self._web:
            web = {**common, "COUNTERSIGN_DATABASE_URL": self.urls.web}
            command = [*UVICORN, "--port", str(port), "--factory", "bot.app:create_app"]
            self._children.append(Child(command, environment=web, log=self._services.folder / "countersign-web.log"))
            await self._children[-1].listens(port)
            await _answers(port, "ready" if self._workers else "live")
        return HubAddresses(
            f"http://127.0.0.1:{port}/slack/events",
            secret,
            asker=ASKER,
            posts_results=self._workers,
            database_urls=(self.urls.web, self.urls.worker),
        )

    async def stop(self) -> None:
        """End web and workers."""
        while self._children:
            self._children.pop().stop()

    def all_pids(self) -> list[int]:
        """The supervisor and all workers."""
        supervisor = self._children[0].pid
        return [supervisor, *(int(one) for one in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split())]

    def worker_pids(self) -> list[int]:
        """The planning worker."""
        supervisor = self._children[0].pid
        pids = [int(one) for one in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()]
        return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().strip() == "cs-planning"]

    async def _make_database(self) -> DatabaseUrls:
        name = f"countersign_{uuid4().hex[:6]}"
        self._services.postgres.create_database(name)
        urls = self._services.postgres.urls_for(name)
        await asyncio.to_thread(migrate, urls.owner)
        (self.folder / "commands").mkdir(parents=True)
        (self.folder / "commands" / "work.py").write_text(self._commands)
        Keys.prepared(self.folder / "keys")
        engine = open_engine(urls.owner, name="bench", pool=1, door=False)
        async with transaction(engine) as session:
            await seed(session, self._policy)
            if self._fill:
                await self._fill(session)
        await engine.dispose()
        return urls


class CountersignHandover:
    """A run is committed by this process, as a door does it; the planning worker says when the command's function began."""

    name = OURS

    def __init__(self, services: Services) -> None:
        self._address = services.folder / "started.sock"
        self._hub = Countersign(services, web=False, started=self._address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._engine: AsyncEngine | None = None

    async def start(self) -> None:
        """Start the workers and hand over once, so that every connection is there."""
        self._socket.bind(str(self._address))
        self._socket.setblocking(False)
        await self._hub.start()
        assert self._hub.urls is not None
        self._engine = open_engine(self._hub.urls.web, name="bench-door", pool=1, door=True)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                await self.hand_over()
                return
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise BenchmarkError("The planning worker did not begin a run.") from None

    async def stop(self) -> None:
        """End the workers."""
        await self._hub.stop()
        if self._engine is not None:
            await self._engine.dispose()
        self._socket.close()

    async def hand_over(self) -> float:
        """Seconds from the commit's answer to the first line of the command's function."""
        key = uuid4().hex
        run = NewRun(
            key=key,
            command="work",
            code_version=hashlib.sha256(WORK.encode()).hexdigest(),
            risk=0,
            visibility="staff",
            asker="ada",
            door="api",
            place={"platform": "api", "team": "", "channel": "", "thread": "", "shared": False},
            arguments={"id": key},
            origins={},
            policy="",
        )
        assert self._engine is not None
        async with transaction(self._engine) as session:
            await create(session, [run])
        committed = time.monotonic()
        async with asyncio.timeout(STARTED_SECONDS):
            while True:  # one that was given up may still begin, and says so
                started, _, said = (await asyncio.get_running_loop().sock_recv(self._socket, 100)).decode().partition(" ")
                if said == key:
                    return float(started) - committed

    def worker_pids(self) -> list[int]:
        """The planning worker."""
        return self._hub.worker_pids()


async def _answers(port: int, path: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not await asyncio.to_thread(_is_ok, f"http://127.0.0.1:{port}/{path}"):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"/{path} did not answer 200.")
        await asyncio.sleep(0.1)


def _is_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  our own loopback address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
