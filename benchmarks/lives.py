"""What it costs the web process to keep open pages current: 200 of twenty people, while runs change their state five times a second.

`python -m benchmarks.lives [--seconds 60] [--pages 200] [--rate 5]` starts a Postgres and one web process of their own and opens the
pages as browsers do: each page once, then its stream, and what the stream asks to be read again. Of ten pages four are lists of runs
(all, not finished, of one command, of one person), three inboxes, one a run that is under way and two the room. Runs are asked for,
planned, decided, carried out and shown in a channel as workers do it, without workers. Printed is the web process's CPU time in % of
one core, at rest and with the changes, and how long after a change the pages that show it had it; exit 1 when a target is missed.
"""

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.loads import percentile
from benchmarks.machines import cpu_seconds
from benchmarks.processes import Child
from benchmarks.rivals import UVICORN
from bot.console.pages import PART_HEADER
from bot.console.sessions import cookie_name
from commands.audiences import Audience
from commands.seed import seed
from countersign.approvals import Approval
from countersign.replies import Card
from countersign.runs import RunStatus
from store.approvals import NewRequest, close_request, open_requests
from store.audiences import keep_audiences
from store.audits import AuditEvent, record
from store.databases import open_engine, transaction
from store.deliveries import Delivered, mark_delivered
from store.embedded.postgres import EmbeddedPostgres
from store.embedded.servers import free_port
from store.messages import NewMessage, add_messages
from store.migrating import migrate
from store.runs import Move, NewRun, create, move
from store.secrets import Keys
from store.settings import Settings
from store.tokens import issue_token

SHARE: Final = 10.0
LATE_SECONDS: Final = 2.0
PEOPLE: Final = tuple(f"person{n}" for n in range(20))
LEADS: Final = PEOPLE[:4]
COMMANDS: Final = ("deploy", "rollback", "restart", "scale")
CHANNELS: Final = ("ops", "deploys", "incidents")
RULE: Final = Approval(by="group:leads")
POLICY: Final = f"""
profile: team
people: {{{", ".join(f"{one}: {{groups: [{'leads' if one in LEADS else 'staff'}]}}" for one in PEOPLE)}}}
roles: {{approver: ["deploy:approve"], runner: ["deploy:run"]}}
groups: {{leads: [approver, runner], staff: [runner]}}
"""
_STREAM: Final = re.compile(r'data-(?:live|events)="([^"]+)"')


@dataclass
class Stage:
    """Runs under way, each a little further on at every call."""

    engine: AsyncEngine
    changed: dict[int, float] = field(default_factory=dict)
    numbers: dict[UUID, int] = field(default_factory=dict)

    async def play(self, *, rate: float, seconds: float) -> int:
        """So many changes a second; returns how many there were."""
        made, began = 0, time.monotonic()
        lives = [self._life() for _ in range(6)]
        for one in cycle(range(len(lives))):
            if time.monotonic() - began > seconds:
                return made
            await asyncio.sleep(max(0.0, began + made / rate - time.monotonic()))
            try:
                run = await anext(lives[one])
            except StopAsyncIteration:
                lives[one] = self._life()
                run = await anext(lives[one])
            self.changed[self.numbers[run]] = time.monotonic()
            made += 1
        return made

    async def _life(self) -> AsyncIterator[UUID]:
        """One run from its birth to its end, one change at a time."""
        n = len(self.numbers)
        run, asker, command = uuid4(), PEOPLE[n % len(PEOPLE)], COMMANDS[n % len(COMMANDS)]
        async with transaction(self.engine) as session:
            born = await create(session, [_born(run, asker, command)])
            self.numbers[run] = next(iter(born.values())).number
        yield run
        await self._move(run, RunStatus.planning)
        yield run
        digest, request, audience = f"{n:064x}", uuid4(), Audience(command, RULE.steps)
        channel = CHANNELS[n % len(CHANNELS)]
        message = NewMessage(run, "card", "room", "", channel, card=_card(self.numbers[run], command, "waits").model_dump(mode="json"))
        async with transaction(self.engine) as session:
            plan = {"summary": f"{command} it", "steps": [], "watched": {}, "fields": [], "preview": "", "warning": ""}
            await keep_audiences(session, {audience.id: audience.as_json()})
            planned = Move(run, RunStatus.awaiting_approval, by="countersign", plan=plan, digest=digest, revision=1)
            await move(session, [planned])
            await open_requests(session, [NewRequest(request, run, 1, digest, RULE.as_json(), "p", 3_600, audience=audience.id)])
            await add_messages(session, [message])
        await self._show(run, message.id, "waits", version=1)
        yield run
        async with transaction(self.engine) as session:
            await session.execute(_VOTE, {"id": uuid4(), "request": request, "run": run, "person": LEADS[n % len(LEADS)], "digest": digest})
            await record(session, [AuditEvent("decision:approve", LEADS[n % len(LEADS)], run, {})])
            await close_request(session, request, state="approved")
            await move(session, [Move(run, RunStatus.queued, by="countersign")])
        yield run
        for version, status in enumerate((RunStatus.running, RunStatus.succeeded), start=2):
            await self._move(run, status)
            await self._show(run, message.id, status.value, version=version)
            yield run

    async def _move(self, run: UUID, to: RunStatus) -> None:
        async with transaction(self.engine) as session:
            assert await move(session, [Move(run, to, by="countersign")]), to

    async def _show(self, run: UUID, message: UUID, state: str, *, version: int) -> None:
        card = _card(self.numbers[run], "run", state).model_dump(mode="json")
        async with transaction(self.engine) as session:
            await session.execute(text("UPDATE messages SET card = :card WHERE id = :id"), {"card": Jsonb(card), "id": message})
            await mark_delivered(session, [Delivered(message, version, card)])


_VOTE: Final = text(
    "INSERT INTO decisions (id, request_id, run_id, person, verdict, reason, digest, door, policy)"
    " VALUES (:id, :request, :run, :person, 'approve', '', :digest, 'slack', 'p')"
)


@dataclass
class Page:
    """One open page of one person."""

    address: str
    path: str
    cookie: Mapping[str, str]
    seen: list[tuple[float, str]] = field(default_factory=list)
    events: int = 0

    async def open(self, client: httpx.AsyncClient, opened: asyncio.Semaphore) -> None:
        """Reads the page and follows its stream until it is cancelled."""
        async with opened:
            first = (await self._get(client, self.path)).text
        stream = _STREAM.search(first)
        assert stream, (self.path, first[:500])
        address = self.address + stream[1].replace("&amp;", "&")
        async with client.stream("GET", address, headers=self._headers, timeout=None) as events:
            assert events.status_code == 200, (self.path, events.status_code)
            name, data = "", list[str]()
            async for line in events.aiter_lines():
                if line:
                    kind, _, value = line.partition(": ")
                    name, data = (value, data) if kind == "event" else (name, [*data, value] if kind == "data" else data)
                else:
                    await self._heard(client, name, "\n".join(data))
                    name, data = "", []

    async def _heard(self, client: httpx.AsyncClient, name: str, data: str) -> None:
        if name in ("", "same", "stopped"):
            return
        self.events += 1
        if name == "changed":
            data = (await self._get(client, self.path, **{PART_HEADER: "1"})).text
        self.seen.append((time.monotonic(), data))

    async def _get(self, client: httpx.AsyncClient, path: str, **headers: str) -> httpx.Response:
        answer = await client.get(self.address + path, headers=self._headers | headers)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:300])
        return answer

    @property
    def _headers(self) -> dict[str, str]:
        return {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookie.items())}

    def lags(self, changed: Mapping[int, float]) -> list[float]:
        """For every run that the page shows at its last change: how long after it. What is left out of lists and rooms is not counted."""
        found = []
        for number, at in changed.items() if self.path.startswith("/runs") and "status" not in self.path else ():
            after = [moment for moment, data in self.seen if moment >= at and re.search(rf"/runs/{number}\b", data)]
            if after:
                found.append(min(after) - at)
        return found


def paths_of(n: int, person: str, run: int) -> str:
    """The page that the n-th browser has open."""
    lists = ["/runs", "/runs?status=open", f"/runs?command={COMMANDS[n % len(COMMANDS)]}", f"/runs?asker={person}"]
    room = [f"/?channel={CHANNELS[n % len(CHANNELS)]}", "/?channel=ops"]
    return [*lists, "/inbox", "/inbox", "/inbox?tab=asked", f"/runs/{run}", *room][n % 10]


async def _measured(address: str, cookies: list[Mapping[str, str]], stage: Stage, web: int, given: argparse.Namespace) -> bool:
    await stage.play(rate=50, seconds=3)  # so that there is something to show
    under_way = asyncio.create_task(stage.play(rate=given.rate, seconds=10_000))
    runs = sorted(stage.numbers.values())
    pages = [
        Page(address, paths_of(n, PEOPLE[n // 10 % len(PEOPLE)], runs[-1 - n // 10 % 6]), cookies[n // 10 % len(PEOPLE)])
        for n in range(given.pages)
    ]
    under_way.cancel()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as client, asyncio.TaskGroup() as group:
        opened = asyncio.Semaphore(8)
        open_ = [group.create_task(one.open(client, opened)) for one in pages]
        await asyncio.sleep(max(8.0, given.pages / 12))
        rest = await _share(web, asyncio.sleep(10))
        for one in pages:
            one.seen.clear()
            one.events = 0
        stage.changed.clear()
        playing = asyncio.create_task(stage.play(rate=given.rate, seconds=given.seconds))
        share = await _share(web, playing)
        await asyncio.sleep(LATE_SECONDS + 1)
        for following in open_:
            following.cancel()
    lags = [lag for one in pages for lag in one.lags(stage.changed)]
    events, late = sum(one.events for one in pages), percentile(lags, 95)
    print(f"{given.pages} pages of {len(PEOPLE)} people, {playing.result()} changes in {given.seconds} s: {events} events")
    print(f"CPU of the web process: {rest:.1f} % of a core at rest, {share:.1f} % with the changes; target {SHARE:g} %")
    print(f"current after: p50 {percentile(lags, 50):.2f} s, p95 {late:.2f} s, most {max(lags):.2f} s ({len(lags)} seen)")
    return share <= SHARE and late <= LATE_SECONDS


async def _share(web: int, work: Any) -> float:
    cpu, began = cpu_seconds([web]), time.monotonic()
    await work
    return 100 * (cpu_seconds([web]) - cpu) / (time.monotonic() - began)


def _born(run: UUID, asker: str, command: str) -> NewRun:
    return NewRun(
        key=f"live-{run}",
        command=command,
        code_version="1",
        risk=3,
        visibility="staff",
        asker=asker,
        door="slack",
        place={},
        arguments={"service": "api", "env": "prod"},
        origins={},
        policy="p",
        id=run,
    )


def _card(number: int, command: str, state: str) -> Card:
    return Card(title=f"{command} #{number}", fallback=f"{command}: {state}", text=f"run {number} {state}")


async def _run(folder: Path, given: argparse.Namespace) -> bool:
    postgres, port = EmbeddedPostgres(folder), free_port(None)
    postgres.start()
    engine, web = open_engine(postgres.urls.owner, name="bench", pool=4, door=False), None
    async with AsyncExitStack() as stack:
        stack.callback(postgres.stop)
        await asyncio.to_thread(migrate, postgres.urls.owner)
        stack.push_async_callback(engine.dispose)
        Keys.prepared(folder / "keys")
        name = cookie_name(Settings(data_dir=folder, port=port))
        async with transaction(engine) as session:
            await seed(session, POLICY)
            values = [await issue_token(session, kind="session", person=one, label="bench", scopes=(), lifetime=36_000) for one in PEOPLE]
        own = {"COUNTERSIGN_DATABASE_URL": postgres.urls.web, "COUNTERSIGN_DATA_DIR": str(folder), "COUNTERSIGN_PORT": str(port)}
        web = Child([*UVICORN, "--port", str(port), "--factory", "bot.app:create_app"], environment=own, log=folder / "web.log")
        stack.callback(web.stop)
        await web.listens(port)
        return await _measured(f"http://127.0.0.1:{port}", [{name: one} for one in values], Stage(engine), web.pid, given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--rate", type=float, default=5.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="countersign-lives-") as folder:
        Path(folder).chmod(0o711)
        sys.exit(0 if asyncio.run(_run(Path(folder), given)) else 1)


if __name__ == "__main__":
    main()
