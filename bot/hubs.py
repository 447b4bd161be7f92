"""What every door of this process shares: the rulebook, the writer, and the few use cases a door may call."""

import asyncio
import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import replace
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from commands.controls import call_control
from commands.limits import find_used_up
from commands.registries import Registry, Reloader, load_registry
from commands.rulebooks import Rulebook, read_rulebook
from commands.submit import Ask, Birth, ControlCall, NotBorn, prepare
from countersign.invocations import Invocation
from countersign.records import value
from countersign.replies import Form, Reply
from countersign.runs import RunStatus
from store import traces
from store.audits import AuditEvent, record
from store.databases import ReadSession, WriteSession, open_engine
from store.objects import Objects
from store.people import Account, Person, find_by_account
from store.runs import Born, NewRun
from store.secrets import Keys, Sealer
from store.settings import Settings

from .deadlines import NotConfirmed, NothingDone, answering, committed, given_up, read
from .notices import Notices
from .presses import Press, press
from .writers import Writer, run_writer, stop

_log = logging.getLogger(__name__)
T = TypeVar("T")
FRESH_SECONDS: Final = 5.0
UNCONFIRMED_SECONDS: Final = 600.0
CLOSE_SECONDS: Final = 0.5
MOST_PEOPLE: Final = 10_000


@value
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

    def __init__(
        self, settings: Settings, engine: AsyncEngine, *, writer: Writer[NewRun, Born], registry: Registry, sealer: Sealer, notices: Notices
    ):
        self.settings, self.engine, self.writer, self.notices = settings, engine, writer, notices
        self.objects = Objects(settings)
        self._sealer = sealer
        self._reloader = Reloader(registry, folder=settings.commands, runbooks=settings.runbooks)
        self._reading: asyncio.Task[Rulebook] | None = None
        self._rulebook: tuple[float, Rulebook] | None = None
        self._known: Rulebook | None = None
        self._people: OrderedDict[Account, tuple[float, Person]] = OrderedDict()
        self._looking: dict[Account, asyncio.Task[Person | None]] = {}
        self._readings: set[asyncio.Task[Any]] = set()
        self._changes = 0
        self._salt = os.urandom(32)
        self._unconfirmed: dict[bytes, tuple[float, str]] = {}
        notices.on("countersign_people", self.forget)

    async def rulebook(self) -> Rulebook:
        """The rulebook, at most 5 s old and never older than the last change that Postgres announced; read once for all who wait for it."""
        if self._rulebook is not None and time.monotonic() - self._rulebook[0] < FRESH_SECONDS:
            return self._rulebook[1]
        if self._reading is None or self._reading.done():
            self._reading = self.for_all(self._read_rulebook())
        return await _shared(self._reading)

    async def person(self, account: Account) -> Person | None:
        """The person an account is linked to, at most 5 s old; forgotten whenever people, groups or grants change."""
        found = self._people.get(account)
        if found and time.monotonic() - found[0] < FRESH_SECONDS:
            return found[1]
        looking = self._looking.get(account)
        if looking is None:
            looking = self._looking[account] = self.for_all(self._look_up(account))
            looking.add_done_callback(lambda _: self._looking.pop(account, None))
        return await _shared(looking)

    async def _look_up(self, account: Account) -> Person | None:
        changes = self._changes
        person = await self.read(lambda session: find_by_account(session, account))
        if person is not None and changes == self._changes:
            self._keep(account, person)
        return person

    def _keep(self, account: Account, person: Person) -> None:
        self._people[account] = (time.monotonic(), person)
        while len(self._people) > MOST_PEOPLE:
            self._people.popitem(last=False)

    async def submit(self, person: Person, invocation: Invocation) -> Answer:
        """What becomes of a request. Raises NothingDone or NotConfirmed when the database does not answer in time."""
        with answering() as deadline, traces.span("submit", invocation.trace, door=invocation.door):
            answer = await self._submitted(person, invocation)
            deadline.achieved = f"Your request was handled: {answer.reply.text[:300]}"
            return answer

    async def press(self, person: Person, one: Press) -> Reply:
        """What became of a click; the database is asked afresh."""
        with answering() as deadline, traces.span("press", "", intent=one.intent):
            rulebook = await self.rulebook()
            reply = await self.committed(
                lambda session: press(session, rulebook, person, one), what=f"Ask for run {one.target} to see whether it counted."
            )
            deadline.achieved = f"Your click was handled: {reply.text[:300]}"
            return reply

    async def record(self, events: list[AuditEvent]) -> None:
        """Records refusals that have no run."""
        await self.committed(lambda session: record(session, events))

    async def committed(self, work: Callable[[WriteSession], Awaitable[T]], *, what: str = "") -> T:
        """One transaction under the door's deadline; it may be begun again when its connection is lost before the COMMIT."""
        return await committed(self.engine, work, what=what)

    async def read(self, work: Callable[[ReadSession], Awaitable[T]]) -> T:
        """The same for what only reads, so that nothing can be in doubt."""
        return await read(self.engine, work)

    async def _submitted(self, person: Person, invocation: Invocation) -> Answer:
        rulebook = await self.rulebook()
        prepared = prepare(rulebook, person, invocation)
        if isinstance(prepared, ControlCall):
            reply = await self.committed(lambda session: call_control(session, rulebook, person, invocation, prepared))
            return Answer(reply, form=reply.form)
        if isinstance(prepared, Ask):
            return Answer(Reply(text=prepared.sentence), form=prepared.form)
        if isinstance(prepared, NotBorn):
            await self.record([prepared.event])
            return Answer(Reply(text=prepared.sentence), refused=str(prepared.event.detail["reason"]))
        birth = await self._within_limits(prepared) if prepared.limits else prepared
        born = await self._written(birth.run, person, invocation)
        refused = born.status is RunStatus.refused
        sentence = birth.sentence if refused else f"#{born.number} {birth.command.name}: {_said(born.status, fresh=born.fresh)}"
        reason = birth.run.because if refused else ""
        return Answer(Reply(text=sentence), None, born.run_id, born.number, born.status, born.fresh, reason)

    async def _within_limits(self, birth: Birth) -> Birth:
        """Refused here, where it can be said at once; the worker that plans counts, and decides."""
        used_up = await self.read(lambda session: find_used_up(session, birth.limits))
        return birth.refused(used_up) if used_up else birth

    async def _written(self, run: NewRun, person: Person, invocation: Invocation) -> Born:
        """Typing again what was not confirmed is the same request: it keeps its key until confirmed, which makes repeating safe."""
        content, now = b"", time.monotonic()
        if self._unconfirmed:
            content = self._content(person, invocation)
            self._unconfirmed = {one: (at, key) for one, (at, key) in self._unconfirmed.items() if now - at < UNCONFIRMED_SECONDS}
            if known := self._unconfirmed.get(content):
                run = replace(run, key=known[1])
        try:
            with traces.span("commit", run.trace, command=run.command):
                born = await self.writer.add(run)
                traces.tell(run=born.number)
        except NotConfirmed:
            self._unconfirmed.setdefault(content or self._content(person, invocation), (now, run.key))
            raise
        if self._unconfirmed:
            self._unconfirmed.pop(content or self._content(person, invocation), None)
        return born

    def _content(self, person: Person, invocation: Invocation) -> bytes:
        """What was asked, unreadable: text and secrets are not kept."""
        what = (invocation.text or invocation.command, sorted(invocation.arguments.items()), invocation.dry_run, invocation.start_at)
        asked = (person.name, *what)
        return hashlib.blake2b(repr(asked).encode(), key=self._salt).digest()

    async def _read_rulebook(self) -> Rulebook:
        asked, changes = time.monotonic(), self._changes
        if await asyncio.to_thread(self._reloader.refresh):
            _log.info("commands were reloaded")
        registry, sealer, address, known = self._reloader.registry, self._sealer, self.settings.url, self._known
        found = await self.read(lambda session: read_rulebook(session, registry=registry, sealer=sealer, address=address, known=known))
        self._known = found
        if changes == self._changes:
            self._rulebook = (asked, found)
        return found

    def forget(self, _: str = "") -> None:
        """Reads policy and people afresh at the next request; called whenever Postgres says that they changed."""
        self._changes += 1
        self._rulebook = self._reading = None
        self._people.clear()

    def for_all(self, reading: Coroutine[None, None, T]) -> "asyncio.Task[T]":
        """A reading that belongs to nobody's request: it has its own deadline, and nobody's leaving ends it."""
        task = asyncio.create_task(reading, context=Context())
        task.add_done_callback(lambda one: one.cancelled() or one.exception())
        self._readings.add(task)
        task.add_done_callback(self._readings.discard)
        return task

    async def close(self) -> None:
        """Ends what is still being read for whoever asks next; what ends by itself in a moment is let, as its connection is then free."""
        if readings := set(self._readings):
            _, late = await asyncio.wait(readings, timeout=CLOSE_SECONDS)
            for one in late:
                one.cancel()
            await asyncio.wait(readings)


@asynccontextmanager
async def open_hub(settings: Settings, *, registry: Registry | None = None) -> AsyncIterator[Hub]:
    """The hub with its writer and its listener running; with a registry that this process has loaded already, if there is one."""
    engine = open_engine(settings.database_url, name="countersign-web", pool=8, door=True)
    own = open_engine(settings.database_url, name="countersign-writer", pool=1, door=True)
    registry = registry or load_registry(folder=settings.commands, runbooks=settings.runbooks)
    notices = Notices(settings.listen_database_url or settings.database_url)
    sealer = Keys(settings.data_dir / "keys").sealer()
    hub = Hub(settings, engine, writer=run_writer(own), registry=registry, sealer=sealer, notices=notices)
    writing, listening = asyncio.create_task(hub.writer.run()), asyncio.create_task(notices.run())
    try:
        yield hub
    finally:
        hub.writer.close()
        await stop(writing, seconds=1)
        await stop(listening)
        await hub.close()
        await given_up(engine)
        await engine.dispose()
        await own.dispose()


def _said(status: RunStatus, *, fresh: bool) -> str:
    return "accepted; its plan follows." if fresh else f"this request was accepted before; it is {status.replace('_', ' ')} now."


async def _shared(task: "asyncio.Task[T]") -> T:
    """What the task reads, within this request's own deadline."""
    with answering() as deadline:
        done, _ = await asyncio.wait({task}, timeout=deadline.left)
        if not done or isinstance(task.exception(), NothingDone):
            raise deadline.nothing_done()
        return task.result()
