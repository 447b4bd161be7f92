"""What every door of this process shares: the rulebook, the writer, and the few use cases a door may call."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from commands.controls import call_control
from commands.registries import Registry, Reloader, load_registry
from commands.rulebooks import Rulebook, read_rulebook
from commands.submit import Ask, Birth, ControlCall, NotBorn, prepare
from countersign.invocations import Invocation
from countersign.replies import Form, Reply
from countersign.runs import RunStatus
from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession, open_engine
from store.people import Account, Person, find_by_account
from store.secrets import Keys, Sealer
from store.settings import Settings

from .deadlines import NotConfirmed, committed
from .notices import Notices
from .presses import Press, press
from .writers import Writer, stop

_log = logging.getLogger(__name__)
T = TypeVar("T")
FRESH_SECONDS: Final = 5.0
UNCONFIRMED_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Answer:
    """What a door shows the asker: a reply, perhaps a form, and the run if one was born; `refused` is the audit's word for why none was."""

    reply: Reply
    form: Form | None = None
    run_id: UUID | None = None
    number: int = 0
    status: RunStatus | None = None
    fresh: bool = True
    refused: str = ""


class Hub:
    """One per web process; made by `open_hub`."""

    def __init__(self, settings: Settings, engine: AsyncEngine, registry: Registry, sealer: Sealer, notices: Notices) -> None:
        self.settings, self.engine, self.notices = settings, engine, notices
        self._sealer = sealer
        self._reloader = Reloader(registry, folder=settings.commands, runbooks=settings.runbooks)
        self.writer = Writer(engine)
        self._rulebook: tuple[float, Rulebook] | None = None
        self._people: OrderedDict[Account, tuple[float, Person]] = OrderedDict()
        self._unconfirmed: dict[tuple[str, str, str], tuple[float, str]] = {}
        notices.on("countersign_people", self.forget)

    async def rulebook(self) -> Rulebook:
        """The rulebook, at most 5 s old and never older than the last change that Postgres announced."""
        if self._rulebook is None or time.monotonic() - self._rulebook[0] > FRESH_SECONDS:
            asked = time.monotonic()
            self._rulebook = (asked, await self.committed(self._read_rulebook))
        return self._rulebook[1]

    async def person(self, account: Account) -> Person | None:
        """The person an account is linked to, at most 5 s old; forgotten whenever people, groups or grants change."""
        found = self._people.get(account)
        if found and time.monotonic() - found[0] < FRESH_SECONDS:
            return found[1]
        person = await self.committed(lambda session: find_by_account(session, account))
        if person is not None:
            self._people[account] = (time.monotonic(), person)
            if len(self._people) > 10_000:
                self._people.popitem(last=False)
        return person

    async def submit(self, person: Person, invocation: Invocation) -> Answer:
        """What becomes of a request. Raises NothingDone or NotConfirmed when the database does not answer in time."""
        rulebook = await self.rulebook()
        invocation = self._same_key(person, invocation)
        prepared = prepare(rulebook, person, invocation)
        if isinstance(prepared, ControlCall):
            reply = await self.committed(lambda session: call_control(session, rulebook, person, invocation, prepared))
            return Answer(reply, form=reply.form)
        if isinstance(prepared, Ask):
            return Answer(Reply(text=prepared.sentence), form=prepared.form)
        if isinstance(prepared, NotBorn):
            await self.record([prepared.event])
            return Answer(Reply(text=prepared.sentence), refused=str(prepared.event.detail["reason"]))
        return await self._born(person, invocation, prepared)

    async def press(self, person: Person, one: Press) -> Reply:
        """What became of a click; the database is asked afresh."""
        rulebook = await self.rulebook()
        return await self.committed(
            lambda session: press(session, rulebook, person, one), what=f"Ask for run {one.target} to see whether it counted."
        )

    async def record(self, events: list[AuditEvent]) -> None:
        """Records refusals that have no run."""
        await self.committed(lambda session: record(session, events))

    async def committed(self, work: Callable[[WriteSession], Awaitable[T]], *, what: str = "") -> T:
        """One transaction under the door's deadline."""
        return await committed(self.engine, work, what=what)

    async def _born(self, person: Person, invocation: Invocation, prepared: Birth) -> Answer:
        try:
            born = await self.writer.add(prepared.run)
        except NotConfirmed:
            self._unconfirmed[_content(person, invocation)] = (time.monotonic(), invocation.key)
            raise
        refused = born.status is RunStatus.refused
        sentence = prepared.sentence if refused else f"#{born.number} {prepared.command.name}: {_said(born.status, fresh=born.fresh)}"
        reason = prepared.run.because if refused else ""
        return Answer(Reply(text=sentence), None, born.run_id, born.number, born.status, born.fresh, reason)

    def _same_key(self, person: Person, invocation: Invocation) -> Invocation:
        """Typing again what was not confirmed is the same request: that is what makes repeating safe."""
        now = time.monotonic()
        self._unconfirmed = {content: one for content, one in self._unconfirmed.items() if now - one[0] < UNCONFIRMED_SECONDS}
        found = self._unconfirmed.pop(_content(person, invocation), None)
        return replace(invocation, key=found[1]) if found else invocation

    async def _read_rulebook(self, session: ReadSession) -> Rulebook:
        if await asyncio.to_thread(self._reloader.refresh):
            _log.info("commands were reloaded")
        return await read_rulebook(session, registry=self._reloader.registry, sealer=self._sealer)

    def forget(self, _: str = "") -> None:
        """Reads policy and people afresh at the next request; called whenever Postgres says that they changed."""
        self._rulebook = None
        self._people.clear()


@asynccontextmanager
async def open_hub(settings: Settings) -> AsyncIterator[Hub]:
    """The hub with its writer and its listener running."""
    engine = open_engine(settings.database_url, name="countersign-web", pool=8, door=True)
    registry = load_registry(folder=settings.commands, runbooks=settings.runbooks)
    notices = Notices(settings.listen_database_url or settings.database_url)
    hub = Hub(settings, engine, registry, Keys(settings.data_dir / "keys").sealer(), notices)
    tasks = [asyncio.create_task(hub.writer.run()), asyncio.create_task(notices.run())]
    try:
        yield hub
    finally:
        for task in tasks:
            await stop(task)
        await engine.dispose()


def _content(person: Person, invocation: Invocation) -> tuple[str, str, str]:
    return (person.name, invocation.text or invocation.command, repr(sorted(invocation.arguments.items())))


def _said(status: RunStatus, *, fresh: bool) -> str:
    return "accepted; its plan follows." if fresh else f"this request was accepted before; it is {status.replace('_', ' ')} now."
