"""The real engine under a test: what a person says is planned, approved, executed and recorded as in production, in this process."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import yaml
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from automations.announcing import Deliverer, announce
from automations.delivering import Room
from automations.executing import execute_runs
from automations.housekeeping.following import Follower
from automations.housekeeping.minding import mind_tasks
from automations.housekeeping.rerouting import reroute
from automations.housekeeping.scheduling import schedule
from automations.housekeeping.tending import ask_for_reviews, tend_requests
from automations.housekeeping.waking import wake_free, wake_ripe
from automations.makingplans import make_plan
from automations.planning import plan_runs
from automations.receiving import receive
from automations.services import Services
from automations.switching import SwitchTender
from bot.hubs import Answer, Hub
from bot.presses import Press
from commands.ending import tend_grants
from commands.policies import compile_policy
from countersign.arguments import Duration
from countersign.errors import NotYet
from countersign.invocations import Door, Invocation, Place
from countersign.replies import Card, Reply
from countersign.runs import RunStatus
from store.approvals import find_requests
from store.audits import find_trail
from store.claims import find_due
from store.databases import ReadSession, reading, transaction
from store.logs import find_last_lines
from store.people import Person, find_people, save_people
from store.policies import apply_policy
from store.rosters import ADMIN, forget_vouchers
from store.runs import RunRow, find_run, find_runs
from store.secrets import find_secrets

from .signers import Signers

_PLAN = (RunStatus.submitted, RunStatus.planning)
_EXECUTE = (RunStatus.queued, RunStatus.running, RunStatus.undoing)
_TRAILS = text("SELECT run_id, kind FROM audit_events WHERE run_id = ANY(:runs) ORDER BY at_us, seq")
_LINES = 200


@dataclass
class RunHandle:
    """A run as the test sees it; refreshed after everything anybody does."""

    id: UUID
    reply: Reply
    status: RunStatus = RunStatus.submitted
    outcome: str = ""
    summary: str = ""
    digest: str = ""
    trail: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    result: Any = None
    answer: Reply | None = None
    changed: list[str] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        return self.status is RunStatus.succeeded


@dataclass(frozen=True)
class Member:
    """Somebody of the cast."""

    bot: "Bot"
    name: str

    async def say(self, text: str, *, dry_run: bool = False) -> RunHandle:
        """Types a command; returns its run, planned and, if nothing was to be approved, executed.

        Raises AssertionError with the answer when no run came of it; `ask` is for that.
        """
        answer = await self.ask(text, dry_run=dry_run)
        assert answer.run_id is not None, f"{self.name} was told: {answer.reply.text}"
        return await self.bot.watch(answer.run_id, answer.reply)

    async def ask(self, text: str, *, dry_run: bool = False) -> Answer:
        """Types a command that answers at once, or that is to be refused."""
        invocation = Invocation(key=str(uuid4()), door=Door.browser, place=Place("room", "", "ops"), text=text, dry_run=dry_run)
        return await self.bot.hub.submit(await self.bot.person(self.name), invocation)

    async def submit(self, command: str, **arguments: Any) -> RunHandle:
        """Fills a command's form, the way secrets are given."""
        invocation = Invocation(key=str(uuid4()), door=Door.browser, place=Place("room", "", "ops"), command=command, arguments=arguments)
        answer = await self.bot.hub.submit(await self.bot.person(self.name), invocation)
        assert answer.run_id is not None, f"{self.name} was told: {answer.reply.text}"
        return await self.bot.watch(answer.run_id, answer.reply)

    async def approve(self, run: RunHandle, *, expect: str = "", digest: str = "", reason: str = "") -> str:
        """Clicks Approve on the card as it was shown; returns the answer, which contains `expect`."""
        return await self._press(run, "approve", expect, digest=digest, reason=reason)

    async def deny(self, run: RunHandle, *, reason: str = "", expect: str = "") -> str:
        return await self._press(run, "deny", expect, reason=reason)

    async def sign(self, run: RunHandle, verdict: str = "approve", *, expect: str = "", reason: str = "") -> str:
        """Decides with a passkey of one's own, which is enrolled the first time: commands of critical risk want it."""
        said = await self.bot.signers.decide(await self.bot.person(self.name), run.id, verdict, reason)
        assert expect.lower() in said.lower(), f"{self.name} was told: {said}"
        await self.bot.refresh()
        return said

    async def cancel(self, run: RunHandle, *, expect: str = "") -> str:
        return await self._press(run, "cancel", expect)

    async def resume(self, run: RunHandle, choice: str, *, expect: str = "") -> str:
        """One of the four buttons of an interrupted run: happened, again, undo or stop."""
        return await self._press(run, f"resume_{choice}", expect)

    async def edit(self, run: RunHandle, *, expect: str = "", digest: str = "", **arguments: Any) -> str:
        """Sends the card's Edit form with these arguments; those left out get their defaults."""
        return await self.send("edit", run.id, expect=expect, digest=digest or run.digest, **arguments)

    async def do(self, text: str, *, expect: str = "") -> str:
        """Types what answers at once, such as `withdraw 12`; returns the answer, which contains `expect`."""
        reply = (await self.ask(text)).reply
        assert expect.lower() in reply.text.lower(), f"{self.name} was told: {reply.text}"
        await self.bot.refresh()
        return reply.text

    async def send(self, intent: str, target: UUID | str, *, expect: str = "", digest: str = "", **answers: Any) -> str:
        """Sends the form that a button with this intent has opened; returns the answer, which contains `expect`."""
        click = Press(str(uuid4()), intent, str(target), Door.browser, digest=digest, answers=answers)
        reply = await self.bot.hub.press(await self.bot.person(self.name), click)
        assert expect.lower() in reply.text.lower(), f"{self.name} was told: {reply.text}"
        await self.bot.refresh()
        return reply.text

    async def _press(self, run: RunHandle, intent: str, expect: str, *, reason: str = "", digest: str = "") -> str:
        click = Press(str(uuid4()), intent, str(run.id), Door.browser, digest=digest or run.digest, reason=reason)
        reply = await self.bot.hub.press(await self.bot.person(self.name), click)
        assert expect.lower() in reply.text.lower(), f"{self.name} was told: {reply.text}"
        await self.bot.refresh()
        return reply.text


class Bot:
    """One hub with a database of its own. `settle` does what planning and executing workers do, here and now.

    Messages go to `deliverers`, by the platform each is for.
    """

    def __init__(self, hub: Hub, services: Services, owner: AsyncEngine) -> None:
        self.hub, self.services, self.owner = hub, services, owner
        self.signers = Signers(hub, services)
        self.deliverers: dict[str, Deliverer] = {"room": Room()}
        self._may: dict[str, set[str]] = {}
        self._sections: dict[str, Any] = {}
        self._text = ""
        self._runs: dict[UUID, RunHandle] = {}
        self._dirty = True
        self._held = False
        self._switches = SwitchTender()
        self._follower = Follower(services)

    def cast(self, *names: str, may: Iterable[str] = ()) -> Sequence[Member]:
        """People with these permissions; called again, it adds to what somebody may. Takes effect with the next thing anybody does."""
        for name in names:
            self._may.setdefault(name, set()).update(may)
        self._dirty = True
        return tuple(Member(self, name) for name in names)

    async def person(self, name: str) -> Person:
        """The person as policy sees them now."""
        await self._apply()
        async with reading(self.services.engine) as session:
            return (await find_people(session, [name]))[name]

    async def watch(self, run_id: UUID, reply: Reply) -> RunHandle:
        handle = self._runs.setdefault(run_id, RunHandle(run_id, reply))
        await self.refresh()
        return handle

    async def refresh(self) -> None:
        """Does all work that is due and brings every handle up to date."""
        await self.settle()
        async with reading(self.services.engine) as session:
            await _fill(session, self._runs)

    async def settle(self) -> None:
        """Plans and executes until nothing is due; each plan is made twice, and a difference fails the test."""
        await reroute(self.services)
        while await tend_requests(self.services) + await ask_for_reviews(self.services) + await mind_tasks(self.services):
            pass
        async with self.services.transaction() as session:
            await tend_grants(session, chat="room")
        while await receive(self.services):
            pass
        while True:
            await self._switches.tend(self.services)
            await wake_ripe(self.services)
            while await schedule(self.services):
                pass
            await wake_free(self.services)
            async with reading(self.services.engine) as session:
                plan = await self._due(session, _PLAN)
                execute = await self._due(session, _EXECUTE)
            execute = [] if self._held else execute
            if not plan and not execute:
                break
            await plan_runs(self.services, plan)
            await self._plan_twice(plan)
            await execute_runs(self.services, execute)
        await self._follower.follow()
        while await announce(self.services, self.deliverers):
            pass

    async def _due(self, session: ReadSession, statuses: Sequence[RunStatus]) -> list[UUID]:
        labels = ("", *self.services.labels)
        return [run for one in labels for run in await find_due(session, statuses=statuses, quiet=0, limit=100, label=one)]

    async def later(self, duration: str) -> None:
        """Lets time pass by the database's clock, as in `2h`, and does what is due then."""
        await self._apply()
        async with transaction(self.owner) as session:
            await session.execute(text("UPDATE clock SET shift = shift + cast(:by AS interval)"), {"by": Duration.parse(duration)})
        self.hub.forget()  # what was read knows the time it was read at
        self.services.forget()
        await self.refresh()

    def policy(self, **sections: Any) -> None:
        """Further sections of the policy, such as `rules` or `schedules`; takes effect with the next thing anybody does.

        `people`, `roles` and `groups` are added to what `cast` makes: `people={"ada": {"manager": "lin", "groups": ["sre"]}}`.
        """
        self._sections.update(sections)
        self._dirty = True

    def policy_file(self, text: str) -> None:
        """A whole policy as a file has it, people included, instead of what `cast` and `policy` make; takes effect as they do."""
        self._text, self._dirty = text, True

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """As if no worker executed meanwhile: approved runs wait."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    async def messages(self, person: str) -> list[Any]:
        """The rows of the messages that this person alone was sent, oldest first."""
        async with reading(self.services.engine) as session:
            rows = await session.execute(
                text("SELECT kind, run_id, card FROM messages WHERE person = :person ORDER BY created_at, id"), {"person": person}
            )
            return list(rows)

    async def trail(self, run: RunHandle) -> list[Any]:
        """The audit events of a run, oldest first: kind, actor, detail, at."""
        async with reading(self.services.engine) as session:
            return list(await find_trail(session, run.id))

    async def beneath(self, run: RunHandle) -> dict[str, list[str]]:
        """What stands beneath each card of a run, by its channel or `@person`, as it was shown, first to last."""
        async with reading(self.services.engine) as session:
            rows = await session.execute(
                text(
                    "SELECT channel, person, card ->> 'text' AS said FROM messages WHERE run_id = :run AND follows IS NOT NULL"
                    " AND shown > 0 ORDER BY line"
                ),
                {"run": run.id},
            )
            found: dict[str, list[str]] = {}
            for row in rows:
                found.setdefault(f"@{row.person}" if row.person else row.channel, []).append(row.said)
            return found

    async def card(self, run: RunHandle) -> Card:
        """The card of a run as the asker sees it."""
        answer = await Member(self, (await self._row(run)).asker).ask(f"run {run.id}")
        assert answer.reply.card is not None, answer.reply.text
        return answer.reply.card

    async def _plan_twice(self, ids: Sequence[UUID]) -> None:
        for run_id in ids:
            async with reading(self.services.engine) as session:
                run = await find_run(session, run_id)
                if run is None or run.digest is None or run.status == RunStatus.failed:
                    continue
                person = (await find_people(session, [run.asker]))[run.asker]
                secrets = await find_secrets(session, run_id, self.services.opener)
            try:
                again = await make_plan(self.services, run, self.services.registry.commands[run.command], person, secrets)
            except NotYet:
                continue  # nobody but this test plans twice, so an integration's limit need not allow it
            assert again.digest == run.digest, f"planning {run.command} twice gave two plans: {run.plan} and {again.plan}"

    async def _row(self, handle: RunHandle) -> RunRow:
        async with reading(self.services.engine) as session:
            row = await find_run(session, handle.id)
        assert row is not None
        return row

    async def _apply(self) -> None:
        if not self._dirty:
            return
        self._dirty = False
        compiled = compile_policy(self._text or _policy_of(self._may, self._sections))
        async with transaction(self.owner) as session:
            await apply_policy(session, digest=compiled.digest, body=compiled.body, by="kit")
            await save_people(session, compiled.file.roster())
            await forget_vouchers(session, source=ADMIN, active=False, people=self._may)  # whoever is cast is here
        self.hub.forget()
        self.services.forget()


async def _fill(session: ReadSession, handles: Mapping[UUID, RunHandle]) -> None:
    if not handles:
        return
    ids = list(handles)
    rows, requests, logs = (
        await find_runs(session, ids),
        await find_requests(session, ids),
        await find_last_lines(session, ids, last=_LINES),
    )
    trails: dict[UUID, list[str]] = {one: [] for one in ids}
    for event in await session.execute(_TRAILS, {"runs": ids}):
        trails[event.run_id].append(event.kind)
    for run_id, row in rows.items():
        handle, request = handles[run_id], requests.get(run_id)
        plan: Mapping[str, Any] = row.plan or {}
        handle.status, handle.outcome, handle.summary = RunStatus(row.status), row.outcome, plan.get("summary", "")
        handle.digest = request.digest if request else row.digest or ""
        handle.changed = list(plan.get("changed", ()))
        handle.trail, handle.log = trails[run_id], logs[run_id]
        handle.answer = Reply.model_validate(row.result) if row.result and row.status == RunStatus.answered else None
        handle.result = row.result.get("result") if row.result and handle.answer is None else None


def _policy_of(may: Mapping[str, Iterable[str]], sections: Mapping[str, Any]) -> str:
    """A strict policy: everybody is alone in a group that carries exactly what they may, and in those the sections name."""
    people = {name: dict(sections.get("people", {}).get(name, {})) for name in may}
    data: dict[str, Any] = {"profile": "strict"} | {
        name: one for name, one in sections.items() if name not in ("people", "roles", "groups")
    }
    named: dict[str, Any] = {group: [] for entry in people.values() for group in entry.get("groups", ())} | sections.get("groups", {})
    data["people"] = {name: entry | {"groups": [f"only-{name}", *entry.get("groups", ())]} for name, entry in people.items()}
    data["roles"] = {f"role-{name}": sorted(permissions) for name, permissions in may.items()} | sections.get("roles", {})
    data["groups"] = {f"only-{name}": [f"role-{name}"] for name in may} | named
    return yaml.safe_dump(data, sort_keys=False)
