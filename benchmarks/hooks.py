"""How fast deliveries to a trigger are taken: written durably before the 202, at 64 connections and at 150 a second.

The other side is a route of FastAPI that checks the signature and inserts one row: no limits, no record, and nothing that it starts. Ours
is measured twice: the web process alone, and at the lower rate with all workers, where each delivery starts a run on the same machine.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID, uuid4

import psycopg

from benchmarks import programs
from benchmarks.errors import BenchmarkError
from benchmarks.hubs import OURS
from benchmarks.loads import Load, percentile, spaced, sustained
from benchmarks.machines import libpq_url, require_durable
from benchmarks.ours import Countersign
from benchmarks.processes import Child
from benchmarks.programs import Options
from benchmarks.rivals import UVICORN
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from benchmarks.sides import bare_hook
from store.databases import ReadSession, WriteSession, open_engine, reading
from store.embedded.servers import free_port
from store.hookdeliveries import find_deliveries
from store.runs import NewRun, create
from store.secrets import Keys
from store.triggers import add_trigger

CONNECTIONS = 64
MOST = 40_000
WALKERS = 32
HALF = 150
SECRET = secrets.token_hex(16)
SETTLING_SECONDS = 180.0
RATE = f"deliveries taken at {CONNECTIONS} connections, 1/s"
PACED = f"deliveries taken at {HALF}/s, 1/s"
P99 = f"p99 at {HALF}/s, ms"
P50 = f"p50 at {HALF}/s, ms"
NOT_OK = "deliveries that were not 202"
WITH_WORKERS = ", with workers"
BARE = "bare FastAPI"
POLICY = """
profile: strict
people: {ada: {email: ada@example.test, groups: [staff]}}
service_accounts: {svc-work: {groups: [staff]}}
roles: {worker: ["work:run"]}
groups: {staff: [worker]}
"""


class HookedHub:
    """A hub with one trigger of GitHub's kind, which runs `work`."""

    def __init__(self, services: Services, *, workers: bool) -> None:
        self.trigger = uuid4()
        self.hub = Countersign(services, workers=workers, fill=self._fill, policy=POLICY)
        self.url = ""

    async def start(self) -> None:
        addresses = await self.hub.start()
        require_durable(addresses.database_urls)
        self.url = addresses.slack_url.replace("/slack/events", f"/hooks/{self.trigger}")

    async def settled(self) -> None:
        assert self.hub.urls is not None
        engine = open_engine(self.hub.urls.worker, name="bench", pool=1, door=False)
        deadline = time.monotonic() + SETTLING_SECONDS
        try:
            while await self._waits(engine):
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"Deliveries still wait {SETTLING_SECONDS:.0f} s after the last one.")
                await asyncio.sleep(0.2)
        finally:
            await engine.dispose()

    async def _waits(self, engine: object) -> bool:
        async with reading(engine) as session:  # type: ignore[arg-type]
            return bool(await find_deliveries(ReadSession(session), states=["waiting"], limit=1))

    async def _fill(self, session: WriteSession) -> None:
        run = NewRun(
            key=uuid4().hex,
            command="work",
            code_version="",
            risk=0,
            visibility="staff",
            asker="ada",
            door="api",
            place={"platform": "api", "team": "", "channel": "", "thread": "", "shared": False},
            arguments={},
            origins={},
            policy="",
        )
        made = UUID(str((await create(session, [run]))[run.key].run_id))
        await add_trigger(
            session,
            self.trigger,
            name="releases",
            kind="command",
            sender="github",
            body={"run": "work", "mapping": "id=payload.release.id", "only": "payload.action == 'published'"},
            secret=Keys(self.hub.folder / "keys").hook_sealer().seal(SECRET),
            account="svc-work",
            holder="ada",
            run=made,
        )


class BareHook:
    """`benchmarks.sides.bare_hook` in one uvicorn process."""

    def __init__(self, services: Services) -> None:
        self._services, self.url = services, ""
        self._child: Child | None = None

    async def start(self) -> None:
        self._services.postgres.create_database("bare_hook")
        url = self._services.postgres.urls_for("bare_hook").owner
        require_durable([url])
        with psycopg.connect(libpq_url(url)) as connection:
            connection.execute(bare_hook.TABLE)
        port = free_port(None)
        self._child = Child(
            [*UVICORN, "--port", str(port), "--factory", "benchmarks.sides.bare_hook:create_app"],
            environment={"BENCH_DATABASE_URL": libpq_url(url), "BENCH_HOOK_SECRET": SECRET},
            log=self._services.folder / "bare-hook.log",
        )
        await self._child.listens(port)
        self.url = f"http://127.0.0.1:{port}/hooks/releases"

    async def stop(self) -> None:
        """End uvicorn."""
        if self._child:
            self._child.stop()


async def _sample(url: str, seconds: float) -> Mapping[str, float]:
    """One round of a web process alone."""
    busy = await sustained(url, _signed(url, MOST), connections=CONNECTIONS, seconds=seconds)
    paced = await _paced(url, seconds)
    return {RATE: busy.rate, PACED: paced[PACED], P99: paced[P99], P50: paced[P50], NOT_OK: busy.not_ok + paced[NOT_OK]}


async def _ours(alone: HookedHub, whole: HookedHub, seconds: float) -> Mapping[str, float]:
    """The same, and at the lower rate with workers; it ends when they have worked on everything."""
    web = await _sample(alone.url, seconds)
    paced = await _paced(whole.url, seconds)
    await whole.settled()
    return {**web, **{f"{name}{WITH_WORKERS}": value for name, value in paced.items()}}


async def _paced(url: str, seconds: float) -> Mapping[str, float]:
    walks = await asyncio.gather(*(_walk(url, seconds) for _ in range(WALKERS)))
    latencies = [one for walk in walks for one in walk.latencies]
    return {
        PACED: sum(walk.rate for walk in walks),
        P99: percentile(latencies, 99) * 1_000,
        P50: percentile(latencies, 50) * 1_000,
        NOT_OK: float(sum(walk.not_ok for walk in walks)),
    }


async def _walk(url: str, seconds: float) -> Load:
    pause = WALKERS / HALF * 0.88  # the rest is the wait for the answer
    await asyncio.sleep(secrets.randbelow(1_000) / 1_000 * pause)
    return await spaced(url, _signed(url, int(seconds / pause)), pause=pause)


def _signed(url: str, count: int) -> Sequence[bytes]:
    """Whole requests, no two alike."""
    batch = secrets.token_hex(6)
    host = url.split("/")[2]
    path = url.split(host)[1]
    made = []
    for n in range(count):
        body = json.dumps({"action": "published", "release": {"tag_name": f"v{n}", "id": f"{batch}-{n}"}, "more": "x" * 1_500}).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nX-GitHub-Event: release\r\n"
            f"X-GitHub-Delivery: {batch}-{n}\r\nX-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def measure(services: Services, options: Options) -> list[Figure]:
    """The figures of both sides; no time is spent on workers while the web is measured alone."""
    alone, whole, bare = HookedHub(services, workers=False), HookedHub(services, workers=True), BareHook(services)
    try:
        for side in (alone, whole, bare):
            await side.start()
        await _ours(alone, whole, 0.5)
        await _sample(bare.url, 0.5)
        sides = {OURS: partial(_ours, alone, whole, options.seconds), BARE: partial(_sample, bare.url, options.seconds)}
        return await interleaved(sides, rounds=options.rounds)
    finally:
        await alone.hub.stop()
        await whole.hub.stop()
        await bare.stop()


if __name__ == "__main__":
    programs.main(measure)
