"""A hub with everybody of the tables in it: the real application, Slack before it, and runs to try things on."""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid6 import uuid7

from bot.slack.connections import Connection
from bot.slack.routes import Events
from commands.stories import tell
from countersign.approvals import Approval
from countersign.runs import RunStatus
from store.approvals import NewRequest, open_requests
from store.databases import reading, transaction
from store.deliveries import Delivered, mark_delivered
from store.messages import NewMessage, add_messages
from store.runs import Move, NewRun, create, find_run, move
from store.tokens import issue_token
from tests.bot.webs import Web, web_of
from tests.fakes.slack import SlackFake
from tests.hubs import World, disposing

NAMES: Final = {"staff": "eve", "approver": "lin", "asker": "ada", "admin": "max", "leaver": "gus", "service": "ci"}
"""Who stands for whom; nobody, the guest and the outsider are no persons here."""
POLICY: Final = """
profile: team
people:
  ada: {email: ada@example.test, groups: [developers]}
  lin: {email: lin@example.test, groups: [leads]}
  kim: {email: kim@example.test, groups: [leads]}
  max: {email: max@example.test, groups: [admins]}
  eve: {email: eve@example.test}
  gus: {email: gus@example.test, groups: [developers, leads, admins]}
identity: {slack: {link_by_email: true}}
directories: {scim: {groups: {}}}
roles:
  developer: [vault:open]
  approver: ["vault:approve", "countersign:approve"]
  admin: ["*:*"]
groups: {developers: [developer], leads: [approver], admins: [admin]}
"""
COMMANDS: Final = '''
from countersign import Approval, Context, Plan, PlanningContext, command, step


@step(idempotent=True)
async def turn(ctx: Context, what: str) -> None:
    """Turns it."""


@command("open vault", permission="vault:open", visibility="private", approval=Approval(by="vault:approve"))
async def open_vault(ctx: PlanningContext, box: str) -> Plan:
    """Open a box of the vault."""
    return Plan("opened", turn(box))


@command("oil hinge", permission="vault:open", approval=Approval(by="vault:approve"))
async def oil_hinge(ctx: PlanningContext, box: str) -> Plan:
    """Oil the hinge of a box."""
    return Plan("oiled", turn(box))
'''
RUNBOOK: Final = """
command: air room
help: Open the windows.
permission: room:air
risk: low
visibility: private
run: [./air.sh]
"""
PRIVATE, STAFF = "zq-private", "zq-staff"
"""What stands in the arguments, plan, reason, log and result of every private run, and of every other."""
ENTITLED: Final = frozenset({"approver", "asker", "admin"})
"""Who may read anything of a private run."""
_COMMAND: Final = {"private": "open vault", "staff": "oil hinge"}
_BATCH: Final = 24


@dataclass(frozen=True)
class Run:
    """A run of Ada's, and the digest of its plan."""

    id: UUID
    number: int
    box: str
    digest: str = "d" * 64


@dataclass
class Town:
    """Everything that the matrix is tried on."""

    world: World
    web: Web
    fake: SlackFake
    owner: AsyncEngine
    worker: AsyncEngine
    heard: list[str] = field(default_factory=list)
    opened: dict[str, str] = field(default_factory=dict)
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    _urgency: float = 20_000
    _pools: dict[tuple[str, str], list[Run]] = field(default_factory=lambda: defaultdict(list))
    _turns: dict[tuple[str, str], asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def slack(self) -> Connection:
        """Our end of the workspace."""
        return self.events._connection

    @property
    def events(self) -> Events:
        found: Events = self.web.app.state.slack
        return found

    def noise(self) -> int:
        """How many requests of strangers were counted."""
        counted = (self.web.app.state.refusals._waiting, self.events._refusals._waiting)
        return sum(sum(one.values()) for one in counted)

    async def rows(self, query: str, **values: Any) -> list[Any]:
        """As the database's owner reads it."""
        async with reading(self.owner) as session:
            return list((await session.execute(text(query), values)).all())

    async def execute(self, *statements: str, **values: Any) -> None:
        async with transaction(self.owner) as session:
            for one in statements:
                await session.execute(text(one), values)

    async def run(self, visibility: str, state: str = "waiting") -> Run:
        """A run that nobody has touched, in this state: waiting or one of those in `_FURNISHED`."""
        pool = self._pools[visibility, state]
        async with self._turns[visibility, state]:
            if not pool:
                pool += await _make_runs(self, visibility, state, count=_BATCH)
            return pool.pop()

    async def fresh(self, visibility: str) -> Run:
        """The newest run and the most urgent request, which is on the first page of every list: nobody has a task before it."""
        self._urgency -= 100  # more than the seconds that pass in between
        await self.execute("UPDATE tasks SET state = 'closed' WHERE state = 'open'")
        [made] = await _make_runs(self, visibility, "waiting", count=1, expires=self._urgency)
        return made

    async def shared(self, visibility: str, state: str = "waiting") -> Run:
        """The run that everybody may try things on who must not succeed."""
        pool = self._pools[visibility, f"shared {state}"]
        async with self._turns[visibility, f"shared {state}"]:
            if not pool:
                pool.append(await self.run(visibility, state))
            return pool[0]


@asynccontextmanager
async def open_town(world: World) -> AsyncIterator[Town]:
    """The town, with a token, a session and a Slack account for everybody."""
    commands, runbooks = write_commands(world.folder)
    async with SlackFake("http", rate_limits=False) as fake:
        populate(fake)
        settings = {
            "PUBLIC_URL": "http://localhost:8000",
            "SLACK_BOT_TOKEN": fake.bot_token,
            "SLACK_SIGNING_SECRET": fake.signing_secret,
            "SLACK_API_URL": fake.api_url,
            "COMMANDS": commands,
            "RUNBOOKS": runbooks,
        }
        with patch("bot.refusals.FLUSH_SECONDS", 3_600.0):
            async with web_of(world, **settings) as web, _engines(world) as (owner, worker):
                town = Town(world, web, fake, owner, worker)
                with _listening(town), _watching(town):
                    await _settle(town)
                    yield town


def write_commands(folder: Path) -> tuple[str, str]:
    """The folders with the town's own commands and runbooks."""
    commands, runbooks = folder / "commands", folder / "runbooks"
    commands.mkdir()
    runbooks.mkdir()
    (commands / "vaults.py").write_text(COMMANDS)
    (runbooks / "air.yaml").write_text(RUNBOOK)
    script = runbooks / "air.sh"
    script.write_text("#!/bin/sh\necho aired\n")
    script.chmod(0o755)
    return str(commands), str(runbooks)


def populate(fake: SlackFake) -> None:
    """The cast's accounts, a guest's, one of another company, and a bot's."""
    for name in ("eve", "lin", "ada", "max", "gus", "kim"):
        fake.add_user(f"U0{name.upper()}", name=name, email=f"{name}@example.test")
    fake.add_user("U0GIL", name="gil", email="gil@example.test", guest="single")
    fake.add_user("U0OLE", team="T2", name="ole", email="ole@elsewhere.test", stranger=True)
    fake.add_user("U0CI", name="ci", bot=True)
    fake.add_channel("C_OPS", name="ops", members=list(fake.world.users))


@asynccontextmanager
async def _engines(world: World) -> AsyncIterator[tuple[AsyncEngine, AsyncEngine]]:
    async with disposing(world.engine(role="owner")) as owner, disposing(world.engine()) as worker:
        yield owner, worker


@contextmanager
def _listening(town: Town) -> Iterator[None]:
    """Keeps what the process logs, as its operators read it."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            town.heard.append(f"{record.getMessage()} {record.__dict__.get('event', '')}")

    ours, ear = logging.getLogger("bot"), Ear(logging.DEBUG)
    ours.addHandler(ear)
    ours.propagate = False
    try:
        yield
    finally:
        ours.removeHandler(ear)
        ours.propagate = True


@contextmanager
def _watching(town: Town) -> Iterator[None]:
    """Keeps the forms that are opened and the Homes that are published, as they are sent to Slack."""

    async def open_view(trigger: str, view: dict[str, Any]) -> None:
        town.opened[trigger] = json.dumps(view, ensure_ascii=False)

    async def publish_home(user: str, view: dict[str, Any], **_: Any) -> None:
        town.opened[f"home of {user}"] = json.dumps(view, ensure_ascii=False)

    with patch.object(town.slack.client, "open_view", open_view), patch.object(town.slack.client, "publish_home", publish_home):
        yield


async def _settle(town: Town) -> None:
    linked = (
        "INSERT INTO chat_accounts (platform, team, account, person, linked_by) VALUES ('slack', 'T1', 'U0' || upper('{0}'), '{0}', 'test')"
    )
    await town.execute(
        "INSERT INTO people (name, service) VALUES ('ci', true)",
        "INSERT INTO memberships (person, \"group\") VALUES ('ci', 'developers')",
        *(linked.format(name) for name in NAMES.values() if name != "ci"),
    )
    for persona, name in NAMES.items():
        for kind in ("api", "session"):
            town.tokens[persona, kind] = await town.web.token(kind, name, lifetime=3_600)
    town.tokens["guest", "api"] = "cs_api_somebody-made-it-up"
    town.tokens["outsider", "api"] = await town.web.token("api", "max", lifetime=-1)
    async with transaction(town.owner) as session:
        town.tokens["directory", "api"] = await issue_token(session, kind="scim", person=None, label="d", scopes=(), lifetime=3_600)
    # Everything that was theirs still lies around: nobody has tidied up after them yet.
    await town.execute("UPDATE people SET active = false WHERE name = 'gus'")
    for visibility in ("private", "staff"):
        await _show(town, visibility, await town.shared(visibility))
    town.web.hub.forget()


async def _make_runs(town: Town, visibility: str, state: str, *, count: int, expires: float = 36_000) -> list[Run]:
    mark = PRIVATE if visibility == "private" else STAFF
    runs = [_new_run(visibility, mark) for _ in range(count)]
    plan = {
        "summary": f"{mark}-summary",
        "steps": [{"name": "folder.turn", "title": f"turn({mark}-step)", "undo": None, "arguments": {}}],
        "fields": [{"label": "Inside", "value": f"{mark}-field"}],
        "preview": f"{mark}-preview",
        "warning": "",
        "order": ["box"],
    }
    rule, ids = Approval(by="vault:approve").as_json(), [one.id for one in runs]
    async with transaction(town.worker) as session:
        born = await create(session, runs)
        await move(session, [Move(one, RunStatus.planning, by="countersign") for one in ids])
        waiting = [Move(one, RunStatus.awaiting_approval, by="countersign", plan=plan, digest="d" * 64, revision=1) for one in ids]
        assert len(await move(session, waiting)) == count
        await open_requests(session, [NewRequest(UUID(bytes=uuid7().bytes), one, 1, "d" * 64, rule, "p", expires) for one in ids])
    await _bring(town, ids, state, mark)
    return [Run(one.id, born[one.key].number, f"{mark}-argument") for one in runs]


def _new_run(visibility: str, mark: str) -> NewRun:
    return NewRun(
        key=str(uuid4()),
        command=_COMMAND[visibility],
        code_version="c1",
        risk=3,
        visibility=visibility,
        asker="ada",
        door="browser",
        place={"platform": "room", "team": "", "channel": "ops", "thread": "", "shared": False},
        arguments={"box": f"{mark}-argument"},
        origins={"box": "typed"},
        policy="p",
        reason=f"{mark}-reason",
    )


async def _bring(town: Town, ids: Sequence[UUID], state: str, mark: str) -> None:
    """From waiting to the state that is wanted."""
    ways: dict[str, tuple[RunStatus, ...]] = {
        "interrupted": (RunStatus.queued, RunStatus.running, RunStatus.interrupted),
        "done": (RunStatus.queued, RunStatus.running, RunStatus.succeeded),
        "broken": (RunStatus.queued, RunStatus.running),
        "running": (RunStatus.queued, RunStatus.running),
        "tasked": (RunStatus.queued, RunStatus.running, RunStatus.waiting),
        "paused": (RunStatus.queued, RunStatus.running, RunStatus.waiting),
    }
    async with transaction(town.worker) as session:
        for status in ways.get(state, ()):
            ended = {"outcome": f"{mark}-outcome", "result": {"result": f"{mark}-result"}} if status is RunStatus.succeeded else {}
            await move(session, [Move(one, status, by="countersign", **ended) for one in ids])  # type: ignore[arg-type]
    async with transaction(town.owner) as session:
        for furnishing in _FURNISHED.get(state, ()):
            await session.execute(text(furnishing), [{"run": one, "mark": mark} for one in ids])
    for one in ids if state == "done" else ():
        await town.web.hub.objects.put(f"{one}/{one}", f"{mark}-file".encode())


_STEP: Final = """INSERT INTO steps (run_id, revision, position, phase, name, state, attempt, worker)
VALUES (:run, 1, 0, 'do', 'folder.turn', 'done', 1, 'w')"""
_LOGGED: Final = "INSERT INTO log_chunks (run_id, position, size, lines) VALUES (:run, 0, 1, ARRAY[:mark || '-log'])"
_FILED: Final = """INSERT INTO artifacts (id, run_id, position, name, content_type, size, sha256, stored_at)
VALUES (:run, :run, 0, 'report.txt', 'text/' || cast(:mark AS text), octet_length(:mark || '-file'), '', countersign_now())"""
_VOTES: Final = """INSERT INTO decisions (id, request_id, run_id, person, verdict, reason, digest, door, policy)
SELECT gen_random_uuid(), id, run_id, unnest(ARRAY['lin', 'max']), 'approve', '', digest, 'slack', 'p'
FROM approval_requests WHERE run_id = :run"""
_QUESTION: Final = """INSERT INTO conversations (id, run_id, kind, person, said)
VALUES (:run, :run, 'question', 'lin', 'asks: ' || :mark || '-question')"""
_GRANT: Final = """INSERT INTO grants (id, subject, role, until, run_id)
VALUES (:run, 'ada', 'extended', countersign_now() + interval '1 hour', :run)"""
_TRIGGER: Final = """INSERT INTO triggers (id, name, revision, kind, sender, body, secret, account, holder, run_id)
VALUES (:run, cast(:run AS text), 1, 'alertmanager', 'bearer', '{"channel": "ops", "runbooks": "Oil: oil hinge box=labels.box"}', '',
        'ada', 'ada', :run)"""
_ALERT: Final = """INSERT INTO alert_groups (id, trigger_id, key, status, title, labels, annotations)
VALUES (:run, :run, 'key', 'firing', 'slow', jsonb_build_object('box', 'red-' || cast(:run AS text)), '{}')"""
_TASK: Final = """INSERT INTO tasks (id, run_id, revision, position, asked, assignees)
SELECT :run, :run, 1, 0, jsonb_build_object('kind', 'form', 'title', cast(:mark AS text) || '-task', 'inputs',
jsonb_build_array(jsonb_build_object('name', 'text', 'label', 'Your words'))), ARRAY['lin']"""
_CLOSED: Final = "UPDATE approval_requests SET state = '{}' WHERE run_id = :run"
_FURNISHED: Final[dict[str, tuple[str, ...]]] = {
    "done": (
        _CLOSED.format("approved"),
        _STEP,
        _LOGGED,
        _FILED,
    ),
    "interrupted": (_CLOSED.format("approved"),),
    "broken": (_CLOSED.format("broken"), "INSERT INTO reviews (run_id, involved) VALUES (:run, ARRAY['ada', 'kim'])"),
    "approved": (_VOTES,),
    "granted": (_GRANT,),
    "running": (_CLOSED.format("approved"),),
    "tasked": (_CLOSED.format("approved"), _TASK),
    "paused": (_CLOSED.format("approved"), "UPDATE runs SET paused_by = 'max' WHERE id = :run"),
    "asked": (_QUESTION,),
    "alerted": (_TRIGGER, _ALERT),
}
"""What the database holds besides, for a run in this state. A question, and a grant of Ada's, have the id of their run."""


async def _show(town: Town, visibility: str, run: Run) -> None:
    """The run in the room, as the sender of messages leaves it: in a channel, to an approver and to its asker."""
    async with reading(town.worker) as session:
        row = await find_run(session, run.id)
        assert row is not None
        rulebook = await town.web.hub.rulebook()
        shared, whole = await tell(session, row, rulebook=rulebook, shared=True), await tell(session, row, rulebook=rulebook)
    mark = PRIVATE if visibility == "private" else STAFF
    messages = [
        (NewMessage(run.id, "card", "room", "", "ops"), shared.model_dump(mode="json")),
        (NewMessage(run.id, "direct", "room", "", person="lin"), whole.model_dump(mode="json")),
        (NewMessage(run.id, "reply", "room", "", "ops", person="ada"), {"text": f"{mark}-reply"}),
    ]
    async with transaction(town.worker) as session:
        for message, card in messages:
            await add_messages(session, [NewMessage(**message.__dict__ | {"card": card})])
            await mark_delivered(session, [Delivered(message.id, 1, card)])
