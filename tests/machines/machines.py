"""Anything anybody can do, in any order: nothing is carried out that the right people did not agree to.

The machine drives the real use cases on a real Postgres and looks at the ledger that steps sign. What it holds against them is an oracle
that shares no code with the product, over what the audit says and what the model knows of people.
"""

import asyncio
import gc
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import uvloop
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from automations.executing import execute_runs
from automations.housekeeping.tending import tend_requests
from automations.planning import plan_runs
from bot.deadlines import answering
from bot.hubs import Answer
from bot.presses import Press
from countersign.invocations import Door, Invocation, Place
from countersign.runs import RunStatus
from kit.bots import Bot
from kit.fixtures import open_bot
from kit.servers import Servers
from store.databases import reading, transaction
from store.people import Person, deactivate
from tests.machines.casts import HOMES, MAY, MODELS, NAMES, POLICY, commands, people, picks, sides, words
from tests.machines.checks import check_run
from tests.machines.ledgers import write_ledger
from tests.machines.oracles import Someone
from tests.waitings import waiting_here

PLANNING = (RunStatus.submitted, RunStatus.planning)
EXECUTING = (RunStatus.queued, RunStatus.running, RunStatus.undoing)
MOST_WAITING = 4


class ApprovalMachine(RuleBasedStateMachine):
    """One example: five people, the runs they ask for, and whatever happens to both."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    bot: ClassVar[Bot]
    folder: ClassVar[Path]
    executed: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.people = {name: Someone(True, set(groups)) for name, groups in HOMES.items()}
        self.runs: list[UUID] = []
        self.digests: dict[UUID, list[str]] = {}
        self.states: dict[UUID, str] = {}
        self.late: set[tuple[UUID, str]] = set()
        self.waiting: list[UUID] = []
        self.changed = False
        self.allowed: list[tuple[str, str]] = []
        self.presses: list[tuple[str, Press]] = []
        self.known: dict[str, Person] = {}
        self.world = 0
        self.path = self.folder / "ledger"
        self.signed, self.size = len(self.ledger()), self._size()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Without a door's haste: an answer that comes late on a busy machine is no matter of this machine's."""
        with answering(60):
            return self.loop.run_until_complete(work)

    def ledger(self) -> list[str]:
        return self.path.read_text().split()

    def _size(self) -> int:
        return self.path.stat().st_size

    # ---- what people do

    @initialize(who=people, command=commands)
    def as_at_home(self, who: str, command: str) -> None:
        self.do(self._restore())
        self._submit(who, f"{command} a")

    @rule(who=people, command=commands, what=words)
    def asks(self, who: str, command: str, what: str) -> None:
        if not self._crowded():  # no precondition: what can be drawn must not hang on what Postgres said
            self._submit(who, f"{command} {what}")

    @rule(who=people, pick=picks, yes=st.sampled_from([True, True, True, False]), old=st.booleans())
    def votes(self, who: str, pick: int, yes: bool, old: bool) -> None:
        self.do(self._look())
        if run := (self._outdated() if old else None) or self._picked(pick):
            known = self.digests.get(run) or ["none"]
            if run in self.waiting or self._first_late(run):
                self._press(who, Press(str(uuid4()), "approve" if yes else "deny", str(run), Door.browser, digest=known[0 if old else -1]))

    @rule(pick=picks, order=st.permutations(NAMES), work=st.booleans())
    def most_approve(self, pick: int, order: list[str], work: bool) -> None:
        """Most of what chance puts together leads nowhere; this often leads to something that could be carried out."""
        self._approve(pick, order[:3])
        if work:
            self.do(self._work(forged=False))

    @rule(what=sides)
    def somebody_does_something_else(self, what: tuple[str, dict[str, Any]]) -> None:
        name, arguments = what
        getattr(self, name)(**arguments)

    def presses_again(self, pick: int, who: str) -> None:
        """The same click delivered again, or the same button under somebody else's finger."""
        if self.presses:
            giver, press = self.presses[pick % len(self.presses)]
            self._press(giver, press)
            self._press(who, Press(str(uuid4()), press.intent, press.target, press.door, press.digest))

    def stands_in(self, asker: str, command: str, pair: tuple[str, str], really: bool) -> None:
        """Somebody's stand-in votes, and then they do themselves."""
        if not really:
            return
        who, to = pair
        self._submit(who, f"delegate {to} 60m", voted_on=False)
        self.do(self._work(forged=False))
        self._submit(asker, f"{command} a")
        self._approve(0, [to, who])
        self.do(self._work(forged=False))

    def edits(self, who: str, pick: int, what: str, approved_by: list[str], old: bool) -> None:
        """And then some may approve, of whom one may have edited it, and all of whom may look at the card as it was."""
        if run := self._open(pick):
            self._type(who, f"edit {run} what={what}")
            self.do(self._until_nothing_is_due())
            self.changed = True
            if approved_by:
                self._approve(pick, approved_by[:2], old=old)
                self.do(self._work(forged=False))

    def takes_back(self, who: str, pick: int, verb: str) -> None:
        if run := self._picked(pick):
            self._type(who, f"{verb} {run}")

    def hands_over(self, who: str, pick: int, to: str) -> None:
        if run := self._open(pick):
            self._type(who, f"handover {run} {to}")

    def breaks_the_glass(self, who: str, pick: int, what: str) -> None:
        if run := self._open(pick):
            self._type(who, f"break-glass {run} {what} --reason 'nobody answers and it burns'")
            self.changed = True

    def delegates(self, who: str, to: str, minutes: int) -> None:
        self._submit(who, f"delegate {to} {minutes}m", voted_on=False)

    def ends_a_delegation(self, who: str, to: str) -> None:
        self._submit(who, f"undelegate {to}", voted_on=False)

    def asks_for_a_standing_approval(self, who: str, command: str, what: str, for_whom: str, uses: int, approved_by: list[str]) -> None:
        """And whoever gets it may ask once more than it allows."""
        if not approved_by and self._crowded():
            return
        self._submit(who, f"standing allow '{command} what={what}' {for_whom} {uses} 1h")
        if approved_by:
            self._approve(0, approved_by[:3])
            self.do(self._work(forged=False))
            for _ in range(uses + 1):
                self._submit(for_whom, f"{command} {what}")
        self.allowed.append((for_whom, f"{command} {what}"))

    def asks_for_what_is_allowed(self, pick: int) -> None:
        """Now or when its time is over."""
        if self.allowed:
            who, what = self.allowed[-1 - pick % len(self.allowed)]
            self._submit(who, what)

    def turns_the_kill_switch(self, who: str, on: bool) -> None:
        if on:
            self._type(who, "stop everything --reason 'it burns'")
        else:
            self.do(self._sql("UPDATE switches SET off_at = countersign_now() WHERE off_at IS NULL"))
            self.bot.hub.forget()

    # ---- what happens to them

    def leaves(self, who: str, really: bool, pick: int, order: list[str]) -> None:
        """Somebody approves and is gone, and then others do."""
        if really:
            self._approve(pick, [who])
            self.people[who].active = False
            self.do(self._deactivated(who))
            self._approve(pick, order[:2])
            self.do(self._work(forged=False))

    def comes_back(self, who: str) -> None:
        self.people[who].active = True
        self.do(self._sql("UPDATE people SET active = true WHERE name = :who", who=who))

    def changes_groups(self, who: str, group: str) -> None:
        groups = self.people[who].groups
        groups ^= {group}
        statement = (
            'INSERT INTO memberships (person, "group") VALUES (:who, :group) ON CONFLICT DO NOTHING'
            if group in groups
            else 'DELETE FROM memberships WHERE person = :who AND "group" = :group'
        )
        self.do(self._sql(statement, who=who, group=group))

    def time_passes(self, minutes: int) -> None:
        self.do(self._sql("UPDATE clock SET shift = shift + make_interval(mins => :minutes)", minutes=minutes))

    def the_world_changes(self) -> None:
        self.world += 1
        (self.folder / "world").write_text(str(self.world))

    @rule(forged=st.booleans())
    def workers_work(self, forged: bool) -> None:
        """Due runs are carried out; a forged hint names every run there is, whatever its state."""
        self.do(self._work(forged))

    # ---- what must be true

    @invariant()
    def only_what_was_agreed_is_done(self) -> None:
        if (size := self._size()) == self.size:
            return
        lines, self.size = self.ledger(), size
        fresh, self.signed = lines[self.signed :], len(lines)
        for run in fresh:
            type(self).executed += 1
            self.do(check_run(self.bot.services.engine, UUID(run), self.people))
        assert len(set(lines)) == len(lines), "a run was carried out twice"

    # ---- how

    def _picked(self, pick: int) -> UUID | None:
        return self.runs[-1 - pick % len(self.runs)] if self.runs else None

    def _outdated(self) -> UUID | None:
        """A run that waits with another plan than it first had, so that old cards of it are about."""
        return next((one for one in self.waiting if len(self.digests[one]) > 1), None)

    def _crowded(self) -> bool:
        """Whether so many requests wait that one more would only be carried along."""
        self.do(self._look())
        return len(self.waiting) >= MOST_WAITING

    def _open(self, pick: int) -> UUID | None:
        """A run that waits for approvals, if there is one; else any."""
        self.do(self._look())
        return self.waiting[-1 - pick % len(self.waiting)] if self.waiting else self._picked(pick)

    def _submit(self, who: str, words: str, *, voted_on: bool = True) -> None:
        self.do(self._submitted(who, words, voted_on))

    async def _submitted(self, who: str, words: str, voted_on: bool) -> None:
        answer = await self._asked(who, words)
        if answer.run_id is not None:
            await plan_runs(self.bot.services, [answer.run_id])
            if voted_on and answer.run_id not in self.runs:
                self.runs.append(answer.run_id)
                self.changed = True

    def _type(self, who: str, words: str) -> None:
        self.do(self._asked(who, words))

    async def _asked(self, who: str, words: str) -> Answer:
        asked = Invocation(key=str(uuid4()), door=Door.browser, place=Place("room", "", "ops"), text=words)
        return await self.bot.hub.submit(await self._person(who), asked)

    def _press(self, who: str, press: Press) -> None:
        self.presses.append((who, press))
        self.changed = True
        self.do(self._pressed(who, press))

    async def _pressed(self, who: str, press: Press) -> None:
        await self.bot.hub.press(await self._person(who), press)

    async def _person(self, name: str) -> Person:
        """As a door knows them: read again whenever something has changed about anybody."""
        if name not in self.known:
            self.known[name] = await self.bot.person(name)
        return self.known[name]

    def _approve(self, pick: int, names: list[str], *, old: bool = False) -> None:
        """These people approve what they are shown of a run that waits, if there is one; on an old card what was shown at first."""
        if run := self._open(pick):
            digest = (self.digests.get(run) or ["none"])[0 if old else -1]
            for who in names:
                if run in self.waiting or self._first_late(run):
                    self._press(who, Press(str(uuid4()), "approve", str(run), Door.browser, digest=digest))
                    self.do(self._look())

    def _first_late(self, run: UUID) -> bool:
        """Whether nobody has clicked on the run in the state that it is in, where a click is too late: one says what all would."""
        seen = (run, self.states.get(run, ""))
        first = seen not in self.late
        self.late.add(seen)
        return first

    async def _look(self) -> None:
        """The newest cards, whose digests people press from then on."""
        if not self.changed:
            return
        async with reading(self.bot.services.engine) as session:
            rows = (await session.execute(_LATEST, {"ids": self.runs[-8:]})).all()
        self.changed, self.waiting = False, []
        for row in rows:
            self.states[row.id] = row.status
            if row.digest and row.digest not in self.digests.setdefault(row.id, []):
                self.digests[row.id].append(row.digest)
            if row.status == RunStatus.awaiting_approval:
                self.waiting.append(row.id)

    async def _work(self, forged: bool) -> None:
        if forged:
            await execute_runs(self.bot.services, self.runs)
        await tend_requests(self.bot.services)
        await self._until_nothing_is_due()
        self.changed = True

    async def _until_nothing_is_due(self) -> None:
        for _ in range(3):
            async with reading(self.bot.services.engine) as session:
                due = (await session.execute(_DUE)).all()
            if planning := [row.id for row in due if row.status in PLANNING]:
                await plan_runs(self.bot.services, planning)
            if executing := [row.id for row in due if row.status in EXECUTING]:
                await execute_runs(self.bot.services, executing)
            if not due:
                return

    async def _deactivated(self, who: str) -> None:
        async with transaction(self.bot.services.engine) as session:
            await deactivate(session, who)
        self.known.clear()

    async def _sql(self, statement: str, **values: Any) -> None:
        async with transaction(self.bot.owner) as session:
            await session.execute(text(statement), values)
        self.known.clear()

    async def _restore(self) -> None:
        """Everybody as at home, and nothing left of the example before."""
        gc.collect()
        gc.freeze()  # what examples leave for Hypothesis to learn from grows, and was a tenth of all time to look through
        async with transaction(self.bot.owner) as session:
            for statement in _CLEAN:
                await session.execute(text(statement))
            for name, groups in HOMES.items():
                await session.execute(
                    text('INSERT INTO memberships (person, "group") SELECT :name, unnest(cast(:groups AS text[])) ON CONFLICT DO NOTHING'),
                    {"name": name, "groups": sorted(groups)},
                )
        self.bot.hub.forget()
        self.bot.services.forget()


_LATEST = text("SELECT id, digest, status FROM runs WHERE id = ANY(:ids) ORDER BY id")
_DUE = text(
    "SELECT id, status FROM runs WHERE due_at IS NOT NULL AND due_at <= countersign_now()"
    " AND (lease_until IS NULL OR lease_until < countersign_now()) ORDER BY due_at LIMIT 100"
)
_CLEAN = (
    "UPDATE runs SET status = 'cancelled', due_at = NULL, lease_until = NULL WHERE due_at IS NOT NULL OR status = 'awaiting_approval'",
    "UPDATE approval_requests SET state = 'superseded' WHERE state = 'open'",
    "UPDATE delegations SET ended_at = starts_at WHERE ended_at IS NULL",
    "UPDATE standings SET ended_at = countersign_now() WHERE ended_at IS NULL",
    "UPDATE switches SET off_at = countersign_now() WHERE off_at IS NULL",
    "UPDATE people SET active = true",
    "DELETE FROM memberships WHERE \"group\" IN ('sre', 'leads', 'board')",
)


def run_machine(servers: Servers, folder: Path, *, examples: int, steps: int, part: int = 0) -> int:
    """Runs the machine; returns how many runs were carried out, so that one sees that it is not about nothing.

    Parts differ by their seed. MACHINE_SEED in the environment repeats what was printed.
    """
    chance = int(os.environ.get("MACHINE_SEED", str(time.time_ns() % 1_000_000_000 + part)))
    print(f"machine seed {chance}")
    loop = uvloop.new_event_loop()
    write_ledger(folder, tuple(MODELS))
    opened = open_bot(servers.fresh_database(), folder, commands=folder / "commands")
    bot = loop.run_until_complete(opened.__aenter__())
    try:
        bot.cast(*NAMES, may=MAY)
        bot.policy(people={name: {"groups": sorted(groups)} for name, groups in HOMES.items()}, rules=POLICY)
        loop.run_until_complete(bot.person("ada"))
        ApprovalMachine.loop, ApprovalMachine.bot, ApprovalMachine.folder, ApprovalMachine.executed = loop, bot, folder, 0
        chosen = settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        )
        gc.collect()
        gc.freeze()  # what the tests before have left in this process is not looked through all the time
        gc.disable()
        with waiting_here():
            run_state_machine_as_test(seed(chance)(ApprovalMachine), settings=chosen)
        return ApprovalMachine.executed
    finally:
        gc.enable()
        gc.unfreeze()
        loop.run_until_complete(opened.__aexit__(None, None, None))
        loop.close()
