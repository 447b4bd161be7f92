"""How soon every page, list, filter and search answers over HTTP when there are a million runs and five million events.

`python -m benchmarks.pages FOLDER` looks at the mountain that `benchmarks.mountains` left there; one web process, no workers. Each page
is asked for with many different values, one request after the other, the kinds of pages taking turns. Prints p50 and p95 of each in
ms by the clock, the mean CPU time that the web process and Postgres take for it, which neighbours on the machine change little, and the
size of the largest page; at last what a browser that comes for the first time transfers. Exit 1 when a target is missed.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import httpx
from sqlalchemy import text

from benchmarks.loads import percentile
from benchmarks.machines import cpu_seconds
from benchmarks.mountains import COMMANDS, DAYS, LEADS, PEOPLE
from benchmarks.processes import Child
from benchmarks.rivals import UVICORN
from bot.console.numberpages import CHARTS
from bot.console.operationpages import TABS
from bot.console.sessions import cookie_name
from commands.policies import compile_policy
from commands.seed import seed
from store.databases import WriteSession, open_engine, transaction
from store.embedded.postgres import EmbeddedPostgres
from store.embedded.servers import free_port
from store.migrating import migrate
from store.people import save_people
from store.policies import apply_policy
from store.secrets import Keys
from store.settings import Settings
from store.tokens import issue_token

P95_MS: Final = 200.0
MOST_BYTES: Final = 150_000
POLICY: Final = json.dumps(
    {
        "profile": "team",
        "people": {"max": {"email": "max@example.test", "groups": ["admins"]}}
        | {
            f"person{n}": {"email": f"person{n}@example.test", "groups": ["developers", "leads"] if n % LEADS == 0 else ["developers"]}
            for n in range(PEOPLE)
        },
        "roles": {"admin": ["*:*"], "developer": ["deploy:run"], "lead": ["deploy:approve", "countersign:approve"]},
        "groups": {"admins": ["admin"], "developers": ["developer"], "leads": ["lead"]},
    }
)
BEFORE: Final = POLICY.replace('"deploy:run"', '"deploy:run", "ops:run"')
"""The policy before this one."""
Query = Callable[[Random, "Mountain"], str]


class Mountain:
    """What there is to ask for."""

    def __init__(self, runs: int, events: Sequence[UUID]) -> None:
        self.runs, self.events = runs, events

    def day(self, dice: Random) -> str:
        """A day of the mountain's years."""
        return f"{datetime.now(UTC) - timedelta(days=dice.randrange(DAYS)):%Y-%m-%d}"


def _of(path: str, **given: str | Callable[[Random, Mountain], object]) -> Query:
    def ask(dice: Random, mountain: Mountain) -> str:
        values = {name.rstrip("_"): one(dice, mountain) if callable(one) else one for name, one in given.items()}
        return f"{path}?{urlencode(values)}" if values else path

    return ask


def _number(dice: Random, mountain: Mountain) -> int:
    return dice.randrange(60, mountain.runs)


def _person(dice: Random, _: Mountain) -> str:
    return f"person{dice.randrange(PEOPLE)}"


def _command(dice: Random, _: Mountain) -> str:
    return dice.choice(COMMANDS)


def _service(dice: Random, _: Mountain) -> str:
    return f"service-{dice.randrange(300)}"


def _version(dice: Random, mountain: Mountain) -> str:
    return f"v{dice.randrange(max(1, mountain.runs // 1000))}.{dice.randrange(1000)}"


def _ticket(dice: Random, mountain: Mountain) -> str:
    return f"OPS-{dice.randrange(max(1, mountain.runs // 10))}"


def _day(dice: Random, mountain: Mountain) -> str:
    return mountain.day(dice)


def _status(dice: Random, _: Mountain) -> str:
    return dice.choice(["open", "bad", "failed", "denied", "succeeded", "interrupted", "awaiting_approval", "rolled_back", "expired"])


def _door(dice: Random, _: Mountain) -> str:
    return dice.choice(["slack", "browser", "api", "schedule", "trigger", "terminal"])


def _few_letters(dice: Random, mountain: Mountain) -> str:
    return _service(dice, mountain)[:9]


def _long_ago(dice: Random, mountain: Mountain) -> str:
    """What begins one word in ten of a tenth of all runs, most of them old."""
    return _version(dice, mountain)[:3]


def _nothing(dice: Random, _: Mountain) -> str:
    return f"deploy nothing{dice.randrange(1000)}"


def _kind(dice: Random, _: Mountain) -> str:
    return dice.choice(["run:submitted", "run:failed", "decision:approve", "run:none"])


PAGES: Final[Mapping[str, Query]] = {
    "room": _of("/"),
    "room, direct messages": _of("/", channel=""),
    "inbox": _of("/inbox"),
    "inbox, asked": _of("/inbox", tab="asked"),
    "inbox, done": _of("/inbox", tab="done"),
    "inbox, word": _of("/inbox", q=_service),
    "inbox, done, word": _of("/inbox", tab="done", q=_service),
    "runs": _of("/runs"),
    "runs, deep page": _of("/runs", before=_number),
    "runs by command": _of("/runs", command=_command),
    "runs by asker": _of("/runs", asker=_person),
    "runs by group": _of("/runs", group=lambda dice, _: dice.choice(["developers", "leads", "admins"])),
    "runs by door": _of("/runs", door=_door),
    "runs by state": _of("/runs", status=_status),
    "runs of a day": _of("/runs", since=_day, until=_day),
    "runs by state of a day": _of("/runs", status=_status, until=_day),
    "runs by argument": _of("/runs", argument=lambda dice, m: f"service={_service(dice, m)} env=prod"),
    "runs by rare argument": _of("/runs", argument=lambda dice, m: f"version={_version(dice, m)}"),
    "runs by all filters": _of("/runs", command=_command, asker=_person, door=_door, status=_status, argument="env=prod"),
    "runs, word": _of("/runs", q=_ticket),
    "runs, common word": _of("/runs", q="deploy"),
    "runs, beginning of a word": _of("/runs", q=_few_letters),
    "runs, three words": _of("/runs", q=lambda dice, m: f"{_command(dice, m)} {_service(dice, m)} {_person(dice, m)}"),
    "runs, word of long ago": _of("/runs", q=_long_ago),
    "runs, nothing": _of("/runs", q=_nothing),
    "runs to come": _of("/runs", coming="1"),
    "one run": lambda dice, m: f"/runs/{_number(dice, m)}",
    "one run as it was": lambda dice, m: f"/audit/runs/{_number(dice, m)}",
    "audit": _of("/audit"),
    "audit by kind": _of("/audit", kind=_kind),
    "audit by actor": _of("/audit", actor=_person),
    "audit by kind and actor": _of("/audit", kind="decision:approve", actor=_person),
    "audit of a run": _of("/audit", run=_number),
    "audit of a day": _of("/audit", since=_day, until=_day),
    "audit, word": _of("/audit", q=_ticket),
    "audit, who and what": _of("/audit", q=lambda dice, m: f"{_person(dice, m)} {_service(dice, m)}"),
    "audit, argument": _of("/audit", q=lambda dice, m: f"service={_service(dice, m)} env=prod"),
    "audit, common word": _of("/audit", q="approve"),
    "audit, beginning of a word": _of("/audit", q=lambda dice, m: _version(dice, m)[:4]),
    "audit, word of long ago": _of("/audit", q=_long_ago),
    "audit, words of a day": _of("/audit", q=_service, until=_day),
    "audit, nothing": _of("/audit", q=_nothing),
    "one event": lambda dice, m: f"/audit/events/{dice.choice(m.events)}",
    "ask": _of("/ask"),
    "catalogue": _of("/catalogue"),
    "people": _of("/people"),
    "people, further": _of("/people", after=_person),
    "people, beginning of a name": _of("/people", q=_person),
    "access": _of("/access"),
    "access, further": _of("/access", after=_person),
    "access, beginning of a name": _of("/access", q=_person),
    "one person": lambda dice, m: f"/people/{_person(dice, m)}",
    "policy": _of("/policy"),
    "policy compared": _of("/policy", compare=lambda _, __: compile_policy(BEFORE).digest),
    "sessions": _of("/sessions"),
    "sessions of everybody": _of("/sessions", of="everybody"),
    "passkeys": _of("/passkeys"),
    "numbers": _of("/numbers"),
    "numbers of 90 days": _of("/numbers", days="90"),
    **{f"numbers as CSV, {name}": _of(f"/numbers/{name}.csv", days="90") for name in CHARTS},
    **{f"operations, {tab or 'health'}": _of("/operations", tab=tab) for tab in TABS},
    "API: runs": _of("/api/v1/runs"),
    "API: runs by command": _of("/api/v1/runs", command=_command),
    "API: runs by asker": _of("/api/v1/runs", asker=_person),
    "API: runs by state": _of("/api/v1/runs", status=lambda dice, _: dice.choice(["failed", "denied", "expired", "interrupted"])),
    "API: runs by all filters": _of("/api/v1/runs", command=_command, asker=_person, status="failed"),
    "API: one run": lambda dice, m: f"/api/v1/runs/{_number(dice, m)}",
    "API: inbox": _of("/api/v1/inbox"),
    "API: audit": _of("/api/v1/audit"),
    "API: audit by kind and actor": _of("/api/v1/audit", kind="decision:approve", actor=_person),
    "API: audit, word": _of("/api/v1/audit", q=_ticket),
    "API: evidence": lambda dice, m: f"/api/v1/audit/evidence/{_number(dice, m)}",
    "API: commands": _of("/api/v1/commands"),
    "API: schedules": _of("/api/v1/schedules"),
    "API: runs to come": _of("/api/v1/coming"),
    "API: conversation": lambda dice, m: f"/api/v1/runs/{_number(dice, m)}/conversation",
    "API: log": lambda dice, m: f"/api/v1/runs/{_number(dice, m)}/log",
    "API: files": lambda dice, m: f"/api/v1/runs/{_number(dice, m)}/artifacts",
    "API: channels": _of("/api/v1/room/channels"),
    "API: room": _of("/api/v1/room/messages", channel="ops"),
}
_ASSETS: Final = re.compile(r'(?:href|src)="(/static/[^"]+)"')


def _cpu(web: int, postmaster: int) -> float:
    """Seconds of CPU of the web process and of all processes of its Postgres, so far."""
    backends = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return cpu_seconds([web, *map(int, backends)])


async def measure(address: str, cookie: Mapping[str, str], token: str, mountain: Mountain, pids: tuple[int, int], *, samples: int) -> bool:
    """Prints what was found; whether every target was met."""
    bearer = {"authorization": f"Bearer {token}"}
    dice, found = Random(5), {name: list[float]() for name in PAGES}
    sizes, spent = dict.fromkeys(PAGES, 0), dict.fromkeys(PAGES, 0.0)
    async with httpx.AsyncClient(base_url=address, cookies=dict(cookie), timeout=30, trust_env=False) as client:
        for turn in range(samples + 2):
            for name, query in PAGES.items():
                cpu, began = _cpu(*pids), time.perf_counter()
                path = query(dice, mountain)
                answer = await client.get(path, headers=bearer if path.startswith("/api/") else {})
                took = (time.perf_counter() - began) * 1000
                assert answer.status_code == 200, (name, answer.url, answer.text[:2000])
                sizes[name] = max(sizes[name], len(answer.content))
                if turn >= 2:  # the first ones open connections
                    found[name].append(took)
                    spent[name] += (_cpu(*pids) - cpu) * 1000 / samples
        first = await _first(client)
    print(f"A first visit transfers {first / 1000:.1f} kB; target {MOST_BYTES / 1000:.0f} kB")
    met = first <= MOST_BYTES
    for name, times in found.items():
        p95 = percentile(times, 95)
        wrong = p95 > P95_MS or sizes[name] > MOST_BYTES
        met &= not wrong
        clock = f"p50 {percentile(times, 50):7.1f} ms  p95 {p95:7.1f} ms  CPU {spent[name]:6.1f} ms"
        print(f"{name:<28} {clock}  {sizes[name] / 1000:6.1f} kB{'  MISSED' if wrong else ''}")
    return met


async def _first(client: httpx.AsyncClient) -> int:
    """The bytes of the room and of everything that it is made of."""
    page = await client.get("/")
    parts = [await client.get(one) for one in sorted(set(_ASSETS.findall(page.text)))]
    assert all(one.status_code == 200 for one in parts)
    return sum(len(one.content) for one in (page, *parts))


def _postmaster(folder: Path) -> int:
    """The number of the server's first process (its own file says it), whose children serve connections."""
    return int(next(folder.glob("postgres/**/postmaster.pid")).read_text().split()[0])


async def settle(session: WriteSession) -> None:
    """Puts the one policy in force and then the other, with everybody in it."""
    await seed(session, BEFORE)
    policy = compile_policy(POLICY)
    await apply_policy(session, digest=policy.digest, body=POLICY, by="max")
    await save_people(session, policy.file.roster())


async def _prepare(postgres: EmbeddedPostgres) -> tuple[str, str, Mountain]:
    """Max with a session and a token of theirs; what there is."""
    engine = open_engine(postgres.urls.owner, name="bench", pool=1, door=False)
    async with transaction(engine) as session:
        await settle(session)
        value = await issue_token(session, kind="session", person="max", label="bench", scopes=(), lifetime=36_000)
        token = await issue_token(session, kind="api", person="max", label="bench", scopes=("read",), lifetime=36_000)
        runs = (await session.execute(text("SELECT max(number) FROM runs"))).scalar_one()
        sample = text("SELECT event_id FROM audit_leaves WHERE block = ANY(ARRAY(SELECT n FROM audit_blocks ORDER BY random() LIMIT 20))")
        events = list(await session.scalars(sample))
    await engine.dispose()
    return value, token, Mountain(int(runs), events)


async def _run(folder: Path, *, samples: int) -> bool:
    postgres, port = EmbeddedPostgres(folder), free_port(None)
    postgres.start()
    web: Child | None = None
    try:
        await asyncio.to_thread(migrate, postgres.urls.owner)
        Keys.prepared(folder / "keys")
        value, token, mountain = await _prepare(postgres)
        own = {"COUNTERSIGN_DATABASE_URL": postgres.urls.web, "COUNTERSIGN_DATA_DIR": str(folder), "COUNTERSIGN_PORT": str(port)}
        web = Child([*UVICORN, "--port", str(port), "--factory", "bot.app:create_app"], environment=own, log=folder / "web.log")
        await web.listens(port)
        name = cookie_name(Settings(data_dir=folder, port=port))
        pids = (web.pid, _postmaster(folder))
        return await measure(f"http://127.0.0.1:{port}", {name: value}, token, mountain, pids, samples=samples)
    finally:
        if web is not None:
            web.stop()
        postgres.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=40)
    given = parser.parse_args()
    sys.exit(0 if asyncio.run(_run(given.folder, samples=given.samples)) else 1)


if __name__ == "__main__":
    main()
