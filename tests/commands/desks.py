"""A database with the cast and runs in any state, and the use cases as a door calls them: as the role `web`, each in its transaction.

Tests share the database, so a run's number means nothing: in every answer it reads #1.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid6 import uuid7

from commands.authorizing import Refused
from commands.cancel import Cancelled, cancel
from commands.decide import Decided, Vote, decide
from commands.policies import bind, compile_policy
from commands.registries import Registry
from commands.resume import Choice, Resumed, resume
from commands.rulebooks import Rulebook
from countersign import Approval
from countersign.invocations import Door
from countersign.runs import RunStatus
from countersign.tallies import Verdict
from store.approvals import NewRequest, open_requests
from store.audits import AuditRow, find_trail, search
from store.claims import claim
from store.databases import open_engine, reading, transaction
from store.embedded import DatabaseUrls
from store.people import Person, find_person, save_people
from store.policies import apply_policy
from store.runs import Move, NewRun, RunRow, create, find_run, move
from store.secrets import Keys
from tests.commands.samples import COMMANDS

POLICY = """
profile: team
people:
  ada: {groups: [developers]}
  lin: {groups: [leads]}
  kim: {groups: [leads]}
  max: {groups: [admins]}
  eve: {}
roles: {deployer: [deploy:run], approver: [deploy:approve], admin: ["*:*"]}
groups: {developers: [deployer], leads: [deployer, approver], admins: [admin]}
"""
DIGEST = "d" * 64
PLAN = {
    "summary": "api moves to v2",
    "steps": [{"name": "a.move", "title": "move(api)", "arguments": {}, "idempotent": False, "timeout": "1m", "undo": None}],
    "watched": {},
    "fields": [],
    "preview": "",
    "warning": "",
}
TWO = Approval(by="deploy:approve", count=2)


@dataclass
class Desk:
    """One hub's database and rulebook."""

    web: AsyncEngine
    worker: AsyncEngine
    owner: AsyncEngine
    rulebook: Rulebook
    since: int = 0

    async def person(self, name: str) -> Person:
        async with reading(self.web) as session:
            found = await find_person(session, name)
        assert found is not None
        return found

    async def run(self, *, asker: str = "ada", **more: Any) -> UUID:
        """A submitted run."""
        fields: dict[str, Any] = {
            "key": str(uuid4()),
            "command": "deploy",
            "code_version": "c1",
            "risk": 3,
            "visibility": "staff",
            "asker": asker,
            "door": "browser",
            "place": {"platform": "room", "team": "", "channel": "ops", "thread": "", "shared": False},
            "arguments": {"service": "api", "version": "v2", "env": "prod", "force": False},
            "origins": {},
            "policy": self.rulebook.policy.digest,
            "trace": "t",
        }
        one = NewRun(**fields | more)
        async with transaction(self.web) as session:
            await create(session, [one])
        return one.id

    async def waiting(self, *, rule: Approval = TWO, expires: float = 3_600, **more: Any) -> UUID:
        """A run that waits for an approval of its plan, whose digest is DIGEST."""
        run = await self.run(**more)
        async with transaction(self.worker) as session:
            await move(session, [Move(run, RunStatus.planning, by="countersign")])
            await move(session, [Move(run, RunStatus.awaiting_approval, by="countersign", plan=PLAN, digest=DIGEST, revision=1)])
            await open_requests(session, [NewRequest(UUID(bytes=uuid7().bytes), run, 1, DIGEST, rule.as_json(), "p", expires)])
        return run

    async def running(self, *then: RunStatus, **more: Any) -> UUID:
        """A run that a worker executes, and what became of it."""
        run = await self.waiting(**more)
        await self.moved(run, RunStatus.queued)
        async with transaction(self.worker) as session:
            (held,) = await claim(session, [run], statuses=[RunStatus.queued], worker="w1", lease=60, versions=["c1"])
            assert await move(session, [Move(run, RunStatus.running, by="countersign", attempt=held.attempt, keep_lease=True)])
        await self.moved(run, *then)
        return run

    async def moved(self, run: UUID, *to: RunStatus) -> None:
        for one in to:
            async with transaction(self.worker) as session:
                assert await move(session, [Move(run, one, by="countersign")]), one

    async def decide(
        self, name: str, run: UUID, verdict: Verdict = Verdict.approve, *, digest: str = DIGEST, reason: str = ""
    ) -> Decided | Refused:
        async with transaction(self.web) as session:
            return _numberless(
                await decide(session, self.rulebook, await self.person(name), Vote(run, verdict, Door.slack, digest, reason))
            )

    async def cancel(self, name: str, run: UUID) -> Cancelled | Refused:
        async with transaction(self.web) as session:
            return _numberless(await cancel(session, self.rulebook, await self.person(name), run, door=Door.slack))

    async def resume(self, name: str, run: UUID, choice: Choice) -> Resumed | Refused:
        async with transaction(self.web) as session:
            return _numberless(await resume(session, self.rulebook, await self.person(name), run, choice=choice, door=Door.slack))

    async def row(self, run: UUID) -> RunRow:
        async with reading(self.web) as session:
            found = await find_run(session, run)
        assert found is not None
        return found

    async def status(self, run: UUID) -> str:
        return (await self.row(run)).status

    async def trail(self, run: UUID, *, kinds: str = "") -> list[str]:
        async with reading(self.web) as session:
            return [one.kind for one in await find_trail(session, run) if one.kind.startswith(kinds)]

    async def events(self, kind: str) -> list[AuditRow]:
        async with reading(self.web) as session:
            return [one for one in await search(session, kind=kind, limit=1_000) if one.cursor.seq > self.since]

    async def execute(self, sql: str, **values: Any) -> None:
        """As the owner: what no process of ours may do."""
        async with transaction(self.owner) as session:
            await session.execute(text(sql), values)

    async def pass_time(self, time: str) -> None:
        """Moves the database's clock, which is the only one that counts."""
        await self.execute("UPDATE clock SET shift = shift + cast(:time AS interval)", time=time)


Answer = TypeVar("Answer", Decided | Refused, Cancelled | Refused, Resumed | Refused)


def _numberless(answer: Answer) -> Answer:
    return replace(answer, sentence=re.sub(r"#\d+", "#1", answer.sentence))


@asynccontextmanager
async def open_desk(urls: DatabaseUrls, folder: Path, policy: str = POLICY) -> AsyncIterator[Desk]:
    """A desk for the cast of the policy, with the sample commands."""
    compiled = compile_policy(policy)
    sealer = Keys.prepared(folder / "keys").sealer()
    engines = [open_engine(url, name="desk", pool=12, door=False) for url in (urls.web, urls.worker, urls.owner)]
    rulebook = Rulebook(registry=Registry(COMMANDS), policy=bind(compiled, COMMANDS), sealer=sealer)
    desk = Desk(engines[0], engines[1], engines[2], rulebook)
    try:
        async with transaction(desk.owner) as session:
            await apply_policy(session, digest=compiled.digest, body=policy, by="test")
            await save_people(session, compiled.file.roster())
            await session.execute(text("UPDATE people SET active = true"))
            await session.execute(text("UPDATE clock SET shift = '0'"))
            desk.since = (await session.execute(text("SELECT coalesce(max(seq), 0) FROM audit_events"))).scalar_one()
        yield desk
    finally:
        for engine in engines:
            await engine.dispose()
