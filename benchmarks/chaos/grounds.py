"""The ground that a storm needs: a Postgres, a Redis, the outside system, wires that can be cut, and two machines of the hub."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from benchmarks.chaos.disks import Disk, small_disk
from benchmarks.chaos.host import main as live
from benchmarks.chaos.sizes import Size
from kit.servers import Servers, running_servers
from store.databases import transaction
from store.embedded import DatabaseUrls, EmbeddedRedis
from store.embedded.servers import free_port
from store.tokens import issue_token
from tests.fakes.ledgers import Ledger
from tests.fakes.proxies import DelayingProxy
from tests.forks import Fork
from tests.hubs import World, disposing, until

POLICY: Final = """
profile: strict
people: {ada: {groups: [staff]}, lin: {groups: [leads]}}
roles: {runner: ["chaos:run"], approver: ["chaos:approve"]}
groups: {staff: [runner], leads: [approver]}
"""
COMMANDS: Final = Path(__file__).with_name("commands")
SKEW_SECONDS: Final = 600
START_SECONDS: Final = 120
STOP_SECONDS: Final = 30


@dataclass
class Host:
    """A machine: a web process, and a supervisor with its workers. `skew` is how many seconds its clock is ahead."""

    folder: Path
    world: World
    skew: int
    port: int
    process: Fork | None = None

    def start(self) -> None:
        """Starts it; when it answers is for the caller to find out."""
        self.folder.mkdir()
        for role in ("web", "worker"):
            given = self.world.environment(role=role)
            own = [f"{name}={value}" for name, value in given.items() if name.startswith("COUNTERSIGN_")]
            (self.folder / f"{role}.env").write_text("\n".join(own))
        plain = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERSIGN_")}
        chaos = {name: value for name, value in self.world.extra.items() if name.startswith("CHAOS_")}
        environment = plain | chaos | {"CHAOS_HOST": str(self.folder), "CHAOS_CLOCK": str(self.skew)}
        self.process = Fork(("host", str(self.port)), environment, self.folder / "log", program=live)

    def end(self) -> None:
        """Lets all of it end."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Returns when all of it has ended."""
        self.end()
        if self.process is not None:
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def processes(self) -> list[tuple[int, str]]:
        """Process ids and roles of all that lives here, the supervisor and the web included."""
        own = _children(self.process.pid) if self.process else []
        return [*own, *(one for pid, role in own if role == "supervisor" for one in _children(pid))]


@dataclass
class Ground:
    """Everything that the storm works on. The second host reaches Postgres and Redis by the proxies."""

    servers: Servers
    redis: EmbeddedRedis
    urls: DatabaseUrls
    folder: Path
    ledger: Ledger
    wires: dict[str, DelayingProxy]
    engine: AsyncEngine
    disk: Disk | None
    hosts: list[Host] = field(default_factory=list)
    clients: dict[str, list[httpx.AsyncClient]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


@asynccontextmanager
async def ground(folder: Path, size: Size, *, seed: int) -> AsyncIterator[Ground]:
    """All of it, up and answering, in this folder; afterwards nothing is left running."""
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(running_servers(folder, durable=True))
        redis = stack.enter_context(_own_redis(folder))
        urls = _by_tcp(await asyncio.to_thread(servers.fresh_database))
        disk = stack.enter_context(small_disk(folder, servers.postgres, str(make_url(urls.owner).database)))
        ledger = await stack.enter_async_context(Ledger(delays={"idempotent": 0.3, "once": 0.002}))
        wires = {
            "Postgres": await stack.enter_async_context(DelayingProxy("127.0.0.1", make_url(urls.web).port or 0)),
            "Redis": await stack.enter_async_context(DelayingProxy("127.0.0.1", make_url(redis.url).port or 0)),
        }
        engine = await stack.enter_async_context(disposing(create_async_engine(urls.owner, pool_size=4, pool_pre_ping=True)))
        made = Ground(servers, redis, urls, folder, ledger, wires, engine, disk)
        await _furnish(made, size, seed)
        for host in made.hosts:
            stack.push_async_callback(asyncio.to_thread, host.stop)  # this thread is the wires' until all have ended
            host.start()
        for host in made.hosts:  # called first: no host waits for the other's end
            stack.callback(host.end)
        for client in (one for clients in made.clients.values() for one in clients):
            stack.push_async_callback(client.aclose)
        await until(lambda: _answering(made), seconds=START_SECONDS, what=f"both hosts answer (their logs are in {folder})")
        yield made


async def _furnish(made: Ground, size: Size, seed: int) -> None:
    extra = {
        "COUNTERSIGN_COMMANDS": str(COMMANDS),
        "COUNTERSIGN_LEASE_SECONDS": str(size.lease),
        "COUNTERSIGN_EXECUTING_PROCESSES": "2",
        "COUNTERSIGN_SLOTS": "4",  # of two hosts on two cores: a worker takes no more than it can carry out, and leaves less when it dies
        "CHAOS_LEDGER": made.ledger.url,
        "CHAOS_SEED": str(seed),
        "CHAOS_MINES": str(size.mines),
        "CHAOS_CALL_MINES": str(size.mines),
        "CHAOS_MINES_FILE": str(made.folder / "mines"),
    }
    world = World(made.urls, made.redis.url, made.folder, policy=POLICY, extra=extra)
    await world.prepare()
    behind = replace(
        made.urls, **{role: _moved(getattr(made.urls, role), made.wires["Postgres"].port) for role in ("web", "worker", "listen")}
    )
    far = replace(world, urls=behind, redis_url=_moved(made.redis.url, made.wires["Redis"].port))
    made.hosts = [
        Host(made.folder / "near", world, SKEW_SECONDS, free_port(None)),
        Host(made.folder / "far", far, -SKEW_SECONDS, free_port(None)),
    ]
    if made.disk is None:
        made.missing.append("a full disk (only root can mount a small one)")
    async with transaction(made.engine) as session:
        for name in ("ada", "lin"):
            scopes = ("read", "submit", "decide")
            token = await issue_token(session, kind="api", person=name, label="chaos", scopes=scopes, lifetime=7_200)
            made.clients[name] = [_client(host, token) for host in made.hosts]


def _client(host: Host, token: str) -> httpx.AsyncClient:
    address = f"http://127.0.0.1:{host.port}/api/v1"
    return httpx.AsyncClient(base_url=address, headers={"authorization": f"Bearer {token}"}, timeout=10)


async def _answering(made: Ground) -> bool:
    for client in made.clients["ada"]:
        try:
            if (await client.get("/commands")).status_code != 200:
                return False
        except httpx.TransportError:
            return False
    async with made.engine.connect() as connection:
        roles = await connection.execute(text("SELECT count(DISTINCT name) FROM workers"))
        return bool(roles.scalar_one() >= 8)


def _by_tcp(urls: DatabaseUrls) -> DatabaseUrls:
    """A server that starts again listens on the port it had."""
    return DatabaseUrls(**{role: _moved(getattr(urls, role), None) for role in ("owner", "worker", "web", "listen")})


def _moved(url: str, port: int | None) -> str:
    made = make_url(url)
    moved = made.set(host="127.0.0.1", port=port or int(str(made.query["port"])), query={})
    return moved.render_as_string(hide_password=False)


@contextmanager
def _own_redis(folder: Path) -> Iterator[EmbeddedRedis]:
    redis = EmbeddedRedis(folder)
    redis.start()
    try:
        yield redis
    finally:
        redis.stop()


def _children(pid: int) -> list[tuple[int, str]]:
    try:
        pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [(int(one), Path(f"/proc/{one}/comm").read_text().strip().removeprefix("cs-")) for one in pids if not has_ended(int(one))]
    except OSError:  # one of them has ended meanwhile
        return []


def has_ended(pid: int) -> bool:
    """Whether nothing of it is left but what its parent has to be told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] in "ZX"
    except OSError:
        return True
