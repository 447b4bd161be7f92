"""How fast deliveries to a trigger are taken: written durably before the 202, at 64 connections and at 150 a second.

Two sides: the web process alone, and at the lower rate with all workers, where each delivery starts a run on the same machine.
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

from benchmarks import programs
from benchmarks.errors import BenchmarkError
from benchmarks.loads import Load, percentile, spaced, sustained
from benchmarks.machines import require_durable
from benchmarks.ours import Countersign
from benchmarks.programs import Options
from benchmarks.rounds import Figure, interleaved
from benchmarks.services import Services
from store.databases import ReadSession, WriteSession, open_engine, reading
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
        self.name = "with workers" if workers else "web alone"
        self._workers, self._url = workers, ""

    async def start(self) -> None:
        addresses = await self.hub.start()
        require_durable(addresses.database_urls)
        self._url = addresses.slack_url.replace("/slack/events", f"/hooks/{self.trigger}")

    async def sample(self, *, seconds: float) -> Mapping[str, float]:
        """One round; with workers only at the lower rate, and it ends when they have worked on everything."""
        busy = None if self._workers else await sustained(self._url, self._signed(MOST), connections=CONNECTIONS, seconds=seconds)
        walks = await asyncio.gather(*(self._walk(seconds) for _ in range(WALKERS)))
        if self._workers:
            await self._settled()
        latencies = [one for walk in walks for one in walk.latencies]
        fast = {} if busy is None else {RATE: busy.rate}
        return fast | {
            PACED: sum(walk.rate for walk in walks),
            P99: percentile(latencies, 99) * 1_000,
            P50: percentile(latencies, 50) * 1_000,
            NOT_OK: (busy.not_ok if busy else 0.0) + sum(walk.not_ok for walk in walks),
        }

    async def _walk(self, seconds: float) -> Load:
        pause = WALKERS / HALF * 0.88  # the rest is the wait for the answer
        await asyncio.sleep(secrets.randbelow(1_000) / 1_000 * pause)
        return await spaced(self._url, self._signed(int(seconds / pause)), pause=pause)

    def _signed(self, count: int) -> Sequence[bytes]:
        """Whole requests, no two alike."""
        batch = secrets.token_hex(6)
        host = self._url.split("/")[2]
        path = self._url.split(host)[1]
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

    async def _settled(self) -> None:
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


async def measure(services: Services, options: Options) -> list[Figure]:
    """The figures of both sides; no time is spent on workers while the web is measured alone."""
    sides = [HookedHub(services, workers=workers) for workers in (False, True)]
    try:
        for side in sides:
            await side.start()
            await side.sample(seconds=0.5)
        return await interleaved({side.name: partial(side.sample, seconds=options.seconds) for side in sides}, rounds=options.rounds)
    finally:
        for side in sides:
            await side.hub.stop()


if __name__ == "__main__":
    programs.main(measure)
