"""Anything anybody can do, in any order: nothing is carried out that the right people did not agree to.

The machine drives the real use cases on a real Postgres and looks at the ledger that steps sign. What it holds against them is an oracle
that shares no code with the product, over what the audit says and what the model knows of people.
"""

import asyncio
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
from store.audits import find_trail
from store.claims import find_due
from store.databases import ReadSession, reading, transaction
from store.people import Person, deactivate
from store.runs import find_run
from tests.machines.ledgers import write_ledger
from tests.machines.oracles import RuleModel, Said, Someone, StandIn, Wanted, agreed

NAMES = ("ada", "lin", "kim", "max", "eve")
HOMES: dict[str, set[str]] = {"ada": {"sre"}, "lin": {"sre", "leads"}, "kim": {"sre"}, "max": {"leads", "board"}, "eve": {"board"}}
MODELS = {
    "pair": RuleModel(((Wanted(("sre",), 2),),)),
    "chain": RuleModel(((Wanted(("sre",)),), (Wanted(("leads",)),))),
    "both": RuleModel(((Wanted(("sre",)), Wanted(("leads",))),)),
    "either": RuleModel(((Wanted(("leads",), 2), Wanted(("board",))),), any_of=True),
    "slow": RuleModel(((Wanted(("sre", "board")),),), deny=2),
}
POLICY = [
    {"name": "pair", "command": "pair", "approve": {"stages": [{"of": "group:sre", "count": 2}]}},
    {"name": "chain", "command": "chain", "approve": {"stages": [{"of": "group:sre"}, {"of": "group:leads"}]}},
    {"name": "both", "command": "both", "approve": {"stages": [{"all": [{"of": "group:sre"}, {"of": "group:leads"}]}]}},
    {"name": "either", "command": "either", "approve": {"stages": [{"any": [{"of": "group:leads", "count": 2}, {"of": "group:board"}]}]}},
    {"name": "slow", "command": "slow", "approve": {"stages": [{"of": ["group:sre", "group:board"]}], "deny": 2}},
]
MAY = ["ledger:sign", "countersign:use", "countersign:approve", "countersign:break-glass", "countersign:stop", "countersign:start"]

PLANNING = (RunStatus.submitted, RunStatus.planning)
EXECUTING = (RunStatus.queued, RunStatus.running, RunStatus.undoing)

people = st.sampled_from(NAMES)
commands = st.sampled_from(sorted(MODELS))
words = st.sampled_from(["a", "b", "c"])
picks = st.sampled_from([0, 0, 0, 1, 2, 5])
rarely = st.sampled_from([False, False, False, True])

SIDE_ARGUMENTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "presses_again": {"pick": picks, "who": people},
    "edits": {"who": people, "pick": picks, "what": words},
    "takes_back": {"who": people, "pick": picks, "verb": st.sampled_from(["withdraw", "takeback", "cancel"])},
    "hands_over": {"who": people, "pick": picks, "to": people},
    "breaks_the_glass": {"who": people, "pick": picks, "what": words},
    "delegates": {"who": people, "to": people, "minutes": st.integers(1, 60)},
    "ends_a_delegation": {"who": people, "to": people},
    "asks_for_a_standing_approval": {"who": people, "command": commands, "what": words, "for_whom": people, "uses": st.integers(1, 2)},
    "turns_the_kill_switch": {"who": people, "on": rarely},
    "leaves": {"who": people, "really": rarely},
    "comes_back": {"who": people},
    "changes_groups": {"who": people, "group": st.sampled_from(["sre", "leads", "board"])},
    "time_passes": {"minutes": st.sampled_from([1, 1, 10, 10, 61, 60 * 24])},
    "the_world_changes": {},
}
SIDES = sorted(SIDE_ARGUMENTS)


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
        self.presses: list[tuple[str, Press]] = []
        self.known: dict[str, Person] = {}
        self.world = 0
        self.signed = len(self.ledger())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Without a door's haste: an answer that comes late on a busy machine is no matter of this machine's."""
        with answering(60):
            return self.loop.run_until_complete(work)

    def ledger(self) -> list[str]:
        return (self.folder / "ledger").read_text().split()

    # ---- what people do

    @initialize()
    def as_at_home(self) -> None:
        self.do(self._restore())

    @rule(who=people, command=commands, what=words)
    def asks(self, who: str, command: str, what: str) -> None:
        self._submit(who, f"{command} {what}")

    @rule(who=people, pick=picks, yes=st.sampled_from([True, True, True, False]), old=st.booleans())
    def votes(self, who: str, pick: int, yes: bool, old: bool) -> None:
        if run := self._picked(pick):
            known = self.digests.get(run) or ["none"]
            self._press(who, Press(str(uuid4()), "approve" if yes else "deny", str(run), Door.browser, digest=known[0 if old else -1]))

    @rule(pick=picks, order=st.permutations(NAMES), work=st.booleans())
    def most_approve(self, pick: int, order: list[str], work: bool) -> None:
        """Most of what chance puts together leads nowhere; this often leads to something that could be carried out."""
        if run := self._picked(pick):
            for who in order[:3]:
                digest = (self.digests.get(run) or ["none"])[-1]
                self._press(who, Press(str(uuid4()), "approve", str(run), Door.browser, digest=digest))
        if work:
            self.do(self._work(forged=False))

    @rule(what=st.sampled_from(SIDES).flatmap(lambda name: st.tuples(st.just(name), st.fixed_dictionaries(SIDE_ARGUMENTS[name]))))
    def somebody_does_something_else(self, what: tuple[str, dict[str, Any]]) -> None:
        name, arguments = what
        getattr(self, name)(**arguments)

    def presses_again(self, pick: int, who: str) -> None:
        """The same click delivered again, or the same button under somebody else's finger."""
        if self.presses:
            giver, press = self.presses[pick % len(self.presses)]
            self._press(giver, press)
            self._press(who, Press(str(uuid4()), press.intent, press.target, press.door, press.digest))

    def edits(self, who: str, pick: int, what: str) -> None:
        if run := self._picked(pick):
            self._type(who, f"edit {run} what={what}")
            self._plan()

    def takes_back(self, who: str, pick: int, verb: str) -> None:
        if run := self._picked(pick):
            self._type(who, f"{verb} {run}")

    def hands_over(self, who: str, pick: int, to: str) -> None:
        if run := self._picked(pick):
            self._type(who, f"handover {run} {to}")

    def breaks_the_glass(self, who: str, pick: int, what: str) -> None:
        if run := self._picked(pick):
            self._type(who, f"break-glass {run} {what} --reason 'nobody answers and it burns'")

    def delegates(self, who: str, to: str, minutes: int) -> None:
        self._submit(who, f"delegate {to} {minutes}m", voted_on=False)

    def ends_a_delegation(self, who: str, to: str) -> None:
        self._submit(who, f"undelegate {to}", voted_on=False)

    def asks_for_a_standing_approval(self, who: str, command: str, what: str, for_whom: str, uses: int) -> None:
        self._submit(who, f"standing allow '{command} what={what}' {for_whom} {uses} 1h")

    def turns_the_kill_switch(self, who: str, on: bool) -> None:
        if on:
            self._type(who, "stop everything --reason 'it burns'")
        else:
            self.do(self._sql("UPDATE switches SET off_at = countersign_now() WHERE off_at IS NULL"))
            self.bot.hub.forget()

    # ---- what happens to them

    def leaves(self, who: str, really: bool) -> None:
        if really:
            self.people[who].active = False
            self.do(self._deactivated(who))

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
        lines = self.ledger()
        fresh, self.signed = lines[self.signed :], len(lines)
        for run in fresh:
            type(self).executed += 1
            self.do(self._check(UUID(run)))
        assert len(set(lines)) == len(lines), "a run was carried out twice"

    async def _check(self, run_id: UUID) -> None:
        async with reading(self.bot.services.engine) as session:
            run = await find_run(session, run_id)
            assert run is not None
            trail = await find_trail(session, run_id)
            stand_ins = await self._stand_ins()
        begun = [one for one in trail if one.kind == "run:running"]
        assert len(begun) == 1, "it began once"
        queued = [one for one in trail if one.kind == "run:queued"][-1]
        if run.badge:
            broken = [one for one in trail if one.kind == "break-glass:broken"]
            assert broken, "the badge is the audit's"
            assert queued.actor == broken[-1].actor
            assert self.people[broken[-1].actor].active
            return
        never = {name for name in (run.asker, run.edited_by, run.handed_to) if name}
        assert self.people[run.asker].active, "whoever asked is still here"
        model = MODELS[run.command]
        if "standing" in queued.detail:
            await self._check_standing(UUID(str(queued.detail["standing"])), run.command, never, model, stand_ins)
            return
        approvals = _approvals(trail, run.digest or "")
        assert agreed(model, approvals, self.people, stand_ins, never=never, ordered=True), f"{run.command}: {approvals} {self.people}"
        denials = {one.actor for one in trail if one.kind == "decision:deny" and one.detail["digest"] == run.digest}
        assert len(denials) < model.deny, "enough people denied it"

    async def _check_standing(self, standing: UUID, command: str, never: set[str], model: RuleModel, stand_ins: list[StandIn]) -> None:
        async with reading(self.bot.services.engine) as session:
            row = (await session.execute(text("SELECT * FROM standings WHERE id = :id"), {"id": standing})).one()
            used = (
                await session.execute(text("SELECT count(*) FROM standing_uses WHERE standing_id = :id"), {"id": standing})
            ).scalar_one()
            now = (await session.execute(text("SELECT countersign_now()"))).scalar_one()
            made = await find_run(session, row.run_id)
            trail = await find_trail(session, row.run_id)
        assert made is not None
        assert row.command == command
        assert used <= row.uses
        assert row.until > now
        approvals = _approvals(trail, made.digest or "")
        never = never | {name for name in (made.asker, made.edited_by, made.handed_to) if name}
        assert agreed(model, approvals, self.people, stand_ins, never=never, ordered=False), f"standing {command}: {approvals}"

    # ---- how

    def _picked(self, pick: int) -> UUID | None:
        return self.runs[-1 - pick % len(self.runs)] if self.runs else None

    def _submit(self, who: str, words: str, *, voted_on: bool = True) -> None:
        answer = self.do(self._asked(who, words))
        if voted_on and answer.run_id is not None and answer.run_id not in self.runs:
            self.runs.append(answer.run_id)
        self._plan()

    def _type(self, who: str, words: str) -> None:
        self.do(self._asked(who, words))

    async def _asked(self, who: str, words: str) -> Answer:
        asked = Invocation(key=str(uuid4()), door=Door.browser, place=Place("room", "", "ops"), text=words)
        return await self.bot.hub.submit(await self._person(who), asked)

    def _press(self, who: str, press: Press) -> None:
        self.presses.append((who, press))
        self.do(self._pressed(who, press))

    async def _pressed(self, who: str, press: Press) -> None:
        await self.bot.hub.press(await self._person(who), press)

    async def _person(self, name: str) -> Person:
        """As a door knows them: read again whenever something has changed about anybody."""
        if name not in self.known:
            self.known[name] = await self.bot.person(name)
        return self.known[name]

    def _plan(self) -> None:
        self.do(self._planned())

    async def _planned(self) -> None:
        """Whatever is due is planned, and the cards show the newest plans."""
        async with reading(self.bot.services.engine) as session:
            if due := await find_due(session, statuses=PLANNING, quiet=0, limit=100):
                await plan_runs(self.bot.services, due)
                await self._show(session)

    async def _show(self, session: ReadSession) -> None:
        rows = await session.execute(text("SELECT id, digest FROM runs WHERE id = ANY(:ids)"), {"ids": self.runs[-6:]})
        for row in rows:
            if row.digest and row.digest not in self.digests.setdefault(row.id, []):
                self.digests[row.id].append(row.digest)

    async def _work(self, forged: bool) -> None:
        if forged:
            await execute_runs(self.bot.services, self.runs)
        await tend_requests(self.bot.services)
        await self._planned()
        async with reading(self.bot.services.engine) as session:
            due = await find_due(session, statuses=EXECUTING, quiet=0, limit=100)
            if due:
                await execute_runs(self.bot.services, due)
            if due or forged:
                await self._show(session)
        if due or forged:
            await self._planned()

    async def _stand_ins(self) -> list[StandIn]:
        async with reading(self.bot.services.engine) as session:
            rows = await session.execute(
                text("SELECT person, delegate, starts_at, least(until, coalesce(ended_at, until)) AS ends FROM delegations")
            )
            return [StandIn(row.person, row.delegate, row.starts_at, row.ends) for row in rows]

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


_CLEAN = (
    "UPDATE runs SET status = 'cancelled', due_at = NULL, lease_until = NULL WHERE due_at IS NOT NULL OR status = 'awaiting_approval'",
    "UPDATE approval_requests SET state = 'superseded' WHERE state = 'open'",
    "UPDATE delegations SET ended_at = starts_at WHERE ended_at IS NULL",
    "UPDATE standings SET ended_at = countersign_now() WHERE ended_at IS NULL",
    "UPDATE switches SET off_at = countersign_now() WHERE off_at IS NULL",
    "UPDATE people SET active = true",
    "DELETE FROM memberships WHERE \"group\" IN ('sre', 'leads', 'board')",
)


def _approvals(trail: list[Any], digest: str) -> list[Said]:
    """Who approved this digest, which they were shown, and has not taken it back."""
    said: dict[str, Said] = {}
    for one in trail:
        if one.kind == "decision:approve" and one.detail["digest"] == digest == one.detail["shown"]:
            said[one.actor] = Said(one.actor, one.detail.get("on_behalf", ""), int(one.detail.get("stage", 0)), one.at)
        elif one.kind == "takeback:made":
            said.pop(one.actor, None)
    return list(said.values())


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
        run_state_machine_as_test(seed(chance)(ApprovalMachine), settings=chosen)
        return ApprovalMachine.executed
    finally:
        loop.run_until_complete(opened.__aexit__(None, None, None))
        loop.close()
